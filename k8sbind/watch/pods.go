package watch

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

const (
	// redisPort is both the name of the container port and, as a number, Redis'
	// default.
	redisPortName = "redis"
	redisPort     = 6379

	// handoverPatience lets kube-proxy's sync for the deletion itself pass, which
	// would otherwise hold the flip back for a second (seen: 1 010 ms, against 51 to
	// 56 ms when it comes 1.3 s after the deletion).
	handoverPatience = 1200 * time.Millisecond
	// patientHold and patientGrace are what a pod must offer to be worth waiting for:
	// time to stay up while that passes, and time to hand over after it.
	patientHold  = 2 * time.Second
	patientGrace = 5 * time.Second
	// defaultGrace is Kubernetes' own when a pod does not say.
	defaultGrace = 30 * time.Second
	// goneAfter is how long past its grace a deleted pod counts as gone. By then a
	// kubelet that lives has killed it.
	goneAfter = 10 * time.Second
)

// ending is a deletion that was seen. The moment is this watcher's own: the clock
// of the API server, by which deletionTimestamp is set, is not compared with.
type ending struct {
	grace time.Duration
	gone  time.Time
}

// addPods fills in the instances, the names of the pods, and the epochs on them.
func (p *pass) addPods(m *Master, s *appsv1.StatefulSet, set settings) {
	selector, err := metav1.LabelSelectorAsSelector(s.Spec.Selector)
	if err != nil {
		p.problem(kindStatefulSet, s, ReasonInvalidSettings, "spec.selector cannot be used: %v; the StatefulSet counts as having no pods", err)
		return
	}
	for _, pod := range p.view.podsOf(s.Namespace, s.UID) {
		if !selector.Matches(labelSet(pod.Labels)) {
			continue
		}
		p.seen[pod.UID] = true
		p.out.related[object{pod.Namespace, kindPod, pod.Name}] = true
		p.unknownKeys(kindPod, pod)
		p.waiting(s, pod)
		m.Pods[sentinel.InstanceID(pod.UID)] = pod.Name
		m.Inventory.Floor = max(m.Inventory.Floor, p.epoch(kindPod, pod))
		if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded || p.gone(pod) {
			continue
		}
		m.Inventory.Instances = append(m.Inventory.Instances, p.instance(s, pod, set))
	}
	slices.SortFunc(m.Inventory.Instances, func(a, b sentinel.Instance) int {
		return cmp.Or(cmp.Compare(a.Ordinal, b.Ordinal), cmp.Compare(a.Name, b.Name))
	})
}

func (p *pass) instance(s *appsv1.StatefulSet, pod *corev1.Pod, set settings) sentinel.Instance {
	in := sentinel.Instance{
		ID:       sentinel.InstanceID(pod.UID),
		Name:     pod.Name,
		Ordinal:  ordinal(s.Name, pod.Name),
		Data:     data(pod),
		Boots:    boots(pod),
		Priority: p.priority(pod),
	}
	if pod.Status.PodIP != "" {
		in.Addr = sentinel.Addr{Host: pod.Status.PodIP, Port: port(pod, set.port)}
	}
	if pod.DeletionTimestamp != nil || disrupted(pod) {
		in.Deleting = true
		in.Patience = patience(pod)
	}
	return in
}

// ordinal is the number at the end of the pod's name, -1 if there is none.
func ordinal(set, pod string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(pod, set+"-"))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// port prefers what the annotation says (0: nothing), then the container port that
// is named redis, then the first that there is.
func port(pod *corev1.Pod, annotated int) int {
	if annotated != 0 {
		return annotated
	}
	for _, c := range pod.Spec.Containers {
		for _, cp := range c.Ports {
			if cp.Name == redisPortName {
				return int(cp.ContainerPort)
			}
		}
	}
	if len(pod.Spec.Containers) > 0 && len(pod.Spec.Containers[0].Ports) > 0 {
		return int(pod.Spec.Containers[0].Ports[0].ContainerPort)
	}
	return redisPort
}

// redisContainer is the one with the port or the name redis, else the first.
func redisContainer(pod *corev1.Pod) *corev1.Container {
	for i := range pod.Spec.Containers {
		for _, cp := range pod.Spec.Containers[i].Ports {
			if cp.Name == redisPortName {
				return &pod.Spec.Containers[i]
			}
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == redisPortName {
			return &pod.Spec.Containers[i]
		}
	}
	if len(pod.Spec.Containers) > 0 {
		return &pod.Spec.Containers[0]
	}
	return nil
}

// data names the claims that the pod's containers mount, joined; "" if none.
func data(pod *corev1.Pod) string {
	claims := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			claims[v.Name] = pod.Namespace + "/" + v.PersistentVolumeClaim.ClaimName
		}
	}
	var mounted []string
	for _, c := range pod.Spec.Containers {
		for _, mount := range c.VolumeMounts {
			if claim, ok := claims[mount.Name]; ok {
				mounted = append(mounted, claim)
			}
		}
	}
	slices.Sort(mounted)
	return strings.Join(slices.Compact(mounted), ",")
}

// boots tells how the pod's Redis starts, where its command line says so. A
// configuration file that is not seen here may say otherwise, but an option on the command
// line comes after it and wins. A shell's script proves nothing: in the common one,
// ordinal 0 takes another branch.
func boots(pod *corev1.Pod) sentinel.Boot {
	c := redisContainer(pod)
	if c == nil {
		return sentinel.BootUnknown
	}
	for _, arg := range slices.Concat(c.Command, c.Args) {
		if arg == "--replicaof" || arg == "--slaveof" {
			return sentinel.BootReplica
		}
	}
	return sentinel.BootUnknown
}

// disrupted reports an eviction that was announced before the pod is deleted.
func disrupted(pod *corev1.Pod) bool { return condition(pod, corev1.DisruptionTarget) }

func condition(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// grace is the time that the pod has from its deletion to SIGKILL.
func grace(pod *corev1.Pod) time.Duration {
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return defaultGrace
}

// patience is how long a handover should wait after the deletion. A pod without a
// preStop hook has SIGTERM already: hurry.
func patience(pod *corev1.Pod) time.Duration {
	c := redisContainer(pod)
	if c == nil || c.Lifecycle == nil || c.Lifecycle.PreStop == nil || grace(pod) < patientGrace {
		return 0
	}
	hook := c.Lifecycle.PreStop
	switch {
	case hook.Sleep != nil && time.Duration(hook.Sleep.Seconds)*time.Second >= patientHold:
		return handoverPatience
	case hook.Exec != nil, hook.HTTPGet != nil: // how long it takes cannot be known
		return handoverPatience
	}
	return 0
}

// gone reports whether a deleted pod should have ended long ago: its node is lost,
// and no event will tell. A kubelet that still reports the pod ready proves that
// it is not; the node controller takes that away from a lost node's pods.
func (p *pass) gone(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp == nil {
		return false
	}
	e, ok := p.ending[pod.UID]
	if g := grace(pod); !ok || e.grace != g {
		at := p.now.Add(g + goneAfter)
		if ok && e.gone.Before(at) {
			at = e.gone // a second delete can only shorten the first
		}
		e = ending{grace: g, gone: at}
		p.ending[pod.UID] = e
	}
	if p.now.Before(e.gone) {
		p.due(e.gone)
		return false
	}
	return !condition(pod, corev1.PodReady)
}

// priority is the pod's own, -1 leaves it to Redis.
func (p *pass) priority(pod *corev1.Pod) int {
	r := p.reader(kindPod, pod)
	return read(r, k8sbind.AnnotationPriority, -1, "replica-priority of the Redis", number(0, maxPriority))
}

// waiting reports containers that wait for something that a person has to mend.
func (p *pass) waiting(s *appsv1.StatefulSet, pod *corev1.Pod) {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.State.Waiting == nil {
			continue
		}
		reason := c.State.Waiting.Reason
		switch reason {
		case "ErrImagePull":
			reason = "ImagePullBackOff" // the two take turns; it is one problem
		case "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable",
			"CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		default:
			continue
		}
		p.problem(kindStatefulSet, s, ReasonPodNotStarting, "pod %s: container %s does not start: %s (image %s); it counts as missing until it does",
			pod.Name, c.Name, reason, c.Image)
	}
}
