package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

// rig is one Publisher that leads, before a server with one settled master "orders".
type rig struct {
	t      *testing.T
	s      *server
	cache  *lagging
	p      *Publisher
	resign context.CancelFunc
	logs   *observer.ObservedLogs

	mu       sync.Mutex
	flips    []string
	failures []string
	verified int
	verify   func() error
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newServer())
		r.s.addMaster("orders", "redis", 3)
		r.begin()
		f(t, r)
	})
}

func newRig(t *testing.T, s *server) *rig {
	r := &rig{t: t, s: s, cache: &lagging{s: s}, verify: func() error { return nil }}
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	r.p = New(Options{
		Client: s.client(t, "labels", -1), Flips: s.client(t, "flips", -1), Cache: r.cache, Logger: zap.New(core),
		Verify: func(context.Context) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.verified++
			return r.verify()
		},
		Flipped: func(master string, e sentinel.Epoch, service string, id sentinel.InstanceID, took time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.flips = append(r.flips, fmt.Sprintf("%s %s %s %s %s", master, e, service, id, took))
		},
		Failed: func(verb, resource string, _ error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failures = append(r.failures, verb+" "+resource)
		},
	})
	t.Cleanup(r.p.Stop)
	return r
}

// begin starts and leads.
func (r *rig) begin() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.resign = cancel
	r.p.Start()
	r.p.Lead(ctx)
}

// addMaster creates a StatefulSet's pods and Services as they are at epoch 12 under
// pod 0, with nothing to be written.
func (s *server) addMaster(master, set string, n int) {
	for i := range n {
		name := fmt.Sprintf("%s-%d", set, i)
		l := map[string]string{"app": set, k8sbind.LabelInstance: "uid-" + name, k8sbind.LabelRole: k8sbind.RoleReplica}
		if i == 0 {
			l[k8sbind.LabelRole] = k8sbind.RoleMaster
		} else {
			l[k8sbind.LabelReads] = k8sbind.ReadsYes
		}
		s.add(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "db", Name: name, UID: types.UID("uid-" + name), Labels: l,
			Annotations: map[string]string{k8sbind.AnnotationEpoch: "12"},
		}})
	}
	s.add(services, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: set + "-master", UID: types.UID("uid-svc-" + set), Annotations: map[string]string{
			k8sbind.AnnotationServe: master + "/master", k8sbind.AnnotationEpoch: "12",
		}},
		Spec: corev1.ServiceSpec{Selector: map[string]string{
			"app": set, k8sbind.LabelRole: k8sbind.RoleMaster, k8sbind.LabelInstance: "uid-" + set + "-0",
		}},
	})
	s.add(services, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "db", Name: set + "-replicas"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": set, k8sbind.LabelReads: k8sbind.ReadsYes}},
	})
}

// wish is what Set is given; with index -1 no master is adopted.
func wish(master, set string, n int, epoch sentinel.Epoch, index int) Desired {
	d := Desired{
		Master: master, Namespace: "db", StatefulSet: set, UID: types.UID("uid-" + set), Epoch: epoch,
		Services: []Service{{"db", set + "-master", k8sbind.RoleMaster}, {"db", set + "-replicas", k8sbind.RoleReplica}},
	}
	for i := range n {
		name := fmt.Sprintf("%s-%d", set, i)
		d.Pods = append(d.Pods, Pod{Name: name, ID: sentinel.InstanceID("uid-" + name), Reads: i != index})
		if i == index {
			d.Instance = d.Pods[i].ID
		}
	}
	return d
}

func orders(epoch sentinel.Epoch, index int) Desired { return wish("orders", "redis", 3, epoch, index) }

// service returns the epoch and instance that the API has for a Service.
func (r *rig) service(name string) string {
	o := (&lagging{s: r.s}).Service("db", name)
	return o.Annotations[k8sbind.AnnotationEpoch] + " " + o.Spec.Selector[k8sbind.LabelInstance] + " " + o.Spec.Selector[k8sbind.LabelRole]
}

// pod returns the labels and epoch that the API has for a pod.
func (r *rig) pod(name string) string {
	o := (&lagging{s: r.s}).Pod("db", name)
	return strings.Join([]string{
		o.Labels[k8sbind.LabelInstance], o.Labels[k8sbind.LabelRole], o.Labels[k8sbind.LabelReads], o.Annotations[k8sbind.AnnotationEpoch],
	}, " ")
}

// settledAt requires that everything shows an assignment of orders.
func (r *rig) settledAt(epoch string, index int) {
	r.t.Helper()
	require.Equal(r.t, fmt.Sprintf("%s uid-redis-%d master", epoch, index), r.service("redis-master"))
	for i := range 3 {
		name, role, reads := fmt.Sprintf("redis-%d", i), "replica", "yes"
		if i == index {
			role, reads = "master", ""
		}
		require.Equal(r.t, fmt.Sprintf("uid-%s %s %s %s", name, role, reads, epoch), r.pod(name))
	}
}

// after lets virtual time pass, and everything come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) logged(message string) int { return r.logs.FilterMessage(message).Len() }

// flipped returns what Flipped was called with so far.
func (r *rig) flipped() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.flips...)
}

func (r *rig) failed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.failures...)
}

func (r *rig) verifies() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verified
}

// hash makes delays that depend on nothing but the seed and what is written.
func hash(seed uint64, text string) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, seed, text)
	return h.Sum64()
}

func decode(b []byte) *corev1.Service {
	o := &corev1.Service{}
	if err := json.Unmarshal(b, o); err != nil {
		panic(err)
	}
	return o
}
