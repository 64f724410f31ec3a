package watch

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/triwatch/triwatch/sentinel"
)

// Snapshot is everything that Kubernetes knows about the masters at one moment.
// It is never changed after it was handed out.
type Snapshot struct {
	// Masters are sorted by name; no name is there twice.
	Masters []Master
	// Unsure is set while a namespace was never read, or while a new master's password
	// is still awaited: what is missing may exist all the same.
	Unsure bool
	// Problems are those that exist now, sorted; one that is gone is not among them.
	Problems []Problem
}

// Master is one watched StatefulSet.
type Master struct {
	Name                   string
	Namespace, StatefulSet string
	// UID is the StatefulSet's: a new one of the same name is another.
	UID types.UID
	// Inventory is what the core takes, settings included. Its instances leave out
	// pods that have ended or count as gone.
	Inventory sentinel.Inventory
	// User and Password come from the auth-secret; both are empty without one.
	User, Password string
	// Paused is mode: paused, as in Inventory.Config.
	Paused bool
	// Fence is fence: on.
	Fence bool
	// HoldUnfenced is unfenced-failover: hold.
	HoldUnfenced bool
	// AnnounceHostname is announce: hostname; instances keep the pod's IP, which is
	// where they are probed.
	AnnounceHostname bool
	// Governing is the headless Service that gives the pods their names, "" without one.
	Governing string
	// Outside is whom to tell and to ask.
	Outside Outside
	// Pods names all pods of the StatefulSet that the API server has, by UID; those
	// that are not in the inventory any more may still wear a label.
	Pods map[sentinel.InstanceID]string
	// Services are those that follow the master, sorted by name.
	Services []Service
}

// Service is a Service that is annotated to follow a master or its replicas.
type Service struct {
	Namespace, Name string
	// Role is k8sbind.RoleMaster or k8sbind.RoleReplica.
	Role string
}

// Problem is one thing that is wrong in what people wrote. Two problems are the
// same if all fields are equal.
type Problem struct {
	// Namespace, Kind and Name are of the object that an Event belongs on.
	Namespace, Kind, Name string
	// Reason is one of the constants below.
	Reason string
	// Message names the objects and the setting, and what is done instead.
	Message string
}

// Reasons of problems.
const (
	// ReasonInvalidAnnotation is a value that cannot be read or is out of range.
	ReasonInvalidAnnotation = "InvalidAnnotation"
	// ReasonUnknownAnnotation is a key of ours that means nothing on this object.
	ReasonUnknownAnnotation = "UnknownAnnotation"
	// ReasonInvalidSettings are settings that can be read but do not fit together.
	ReasonInvalidSettings = "InvalidSettings"
	// ReasonDuplicateName is a name that several StatefulSets have.
	ReasonDuplicateName = "DuplicateName"
	// ReasonNoReplica is a StatefulSet too small to have a replica.
	ReasonNoReplica = "NoReplica"
	// ReasonNoService is a master that no Service follows.
	ReasonNoService = "NoService"
	// ReasonUnknownMaster is a Service that names a master which is not there.
	ReasonUnknownMaster = "UnknownMaster"
	// ReasonRoleNotSelected is a Service whose selector does not tell master and
	// replicas apart.
	ReasonRoleNotSelected = "RoleNotSelected"
	// ReasonMissingSecret is an auth-secret that is not there, cannot be read, or has
	// no password.
	ReasonMissingSecret = "MissingSecret"
	// ReasonPodNotStarting is a container that waits for something that does not get
	// better by itself, such as an image that can't be pulled.
	ReasonPodNotStarting = "PodNotStarting"
)

// The kinds of objects that problems and Touched name.
const (
	kindStatefulSet = "StatefulSet"
	kindService     = "Service"
	kindPod         = "Pod"
)
