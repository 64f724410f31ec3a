package k8sbind

// Prefix begins every annotation and label of ours.
const Prefix = "triwatch.io/"

// Annotations of a StatefulSet. Watch makes it one of ours and names its master;
// the others are settings, named and valued as Sentinel's directives.
const (
	AnnotationWatch           = Prefix + "watch"
	AnnotationPort            = Prefix + "port"
	AnnotationDownAfter       = Prefix + "down-after"
	AnnotationFailoverTimeout = Prefix + "failover-timeout"
	AnnotationParallelSyncs   = Prefix + "parallel-syncs"
	AnnotationOnCrash         = Prefix + "on-crash"
	AnnotationMaxLoss         = Prefix + "max-loss"
	AnnotationMode            = Prefix + "mode"
	AnnotationFence           = Prefix + "fence"
	AnnotationUnfenced        = Prefix + "unfenced-failover"
	AnnotationAuthSecret      = Prefix + "auth-secret"
	AnnotationAnnounce        = Prefix + "announce"
	AnnotationWebhook         = Prefix + "webhook"
	AnnotationWebhookTimeout  = Prefix + "webhook-timeout"
	AnnotationBefore          = Prefix + "before-failover"
	AnnotationBeforeTimeout   = Prefix + "before-failover-timeout"
	AnnotationBeforeFailure   = Prefix + "before-failover-failure"
)

// AnnotationServe on a Service says whom it follows: NAME/master or NAME/replica.
const AnnotationServe = Prefix + "serve"

// AnnotationPriority on a pod takes the place of its replica-priority.
const AnnotationPriority = Prefix + "priority"

// AnnotationEpoch is on everything that we write, and holds the epoch for which it
// was written as a decimal number. Every write tests the value that it replaces.
const AnnotationEpoch = Prefix + "epoch"

// AnnotationRaftID is on a watcher's own pod: the Raft server ID that lives in it.
const AnnotationRaftID = Prefix + "raft-id"

// Labels of Redis pods.
const (
	// LabelInstance is the pod's own UID, so that a Service can select one pod.
	LabelInstance = Prefix + "instance"
	// LabelRole is RoleMaster or RoleReplica.
	LabelRole = Prefix + "role"
	// LabelReads is ReadsYes on replicas that are fit for reading, and absent else.
	LabelReads = Prefix + "reads"
)

// Values of the labels, and of the second part of AnnotationServe.
const (
	RoleMaster  = "master"
	RoleReplica = "replica"
	ReadsYes    = "yes"
)
