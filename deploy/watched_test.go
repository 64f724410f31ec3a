package deploy_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/triwatch/triwatch/k8sbind/watch"
)

// cluster holds the objects of an overlay as an API server would, in a namespace, and
// the pods that the StatefulSets' controller would make.
func cluster(objects []object) (*fake.Clientset, []string) {
	var out []runtime.Object
	namespaces := map[string]bool{}
	for i, o := range objects {
		if _, ok := o.(*corev1.Namespace); ok {
			continue
		}
		if o.GetNamespace() == "" {
			o.SetNamespace("default")
		}
		o.SetUID(types.UID("uid-" + strconv.Itoa(i)))
		out = append(out, o)
		s, ok := o.(*appsv1.StatefulSet)
		if !ok {
			continue
		}
		namespaces[s.Namespace] = true
		for n := range *s.Spec.Replicas {
			name := s.Name + "-" + strconv.Itoa(int(n))
			yes := true
			out = append(out, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{
					Name: name, Namespace: s.Namespace, UID: s.UID + types.UID("-"+name), Labels: s.Spec.Template.Labels,
					OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: s.Name, UID: s.UID, Controller: &yes}},
				},
				Spec:   s.Spec.Template.Spec,
				Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0." + strconv.Itoa(i) + "." + strconv.Itoa(int(n)+1)},
			})
		}
	}
	var names []string
	for name := range namespaces {
		names = append(names, name)
	}
	return fake.NewClientset(out...), names
}

// What triwatch itself says about the manifests: every master is found with its
// instances, Services and password, and it has nothing to complain about.
func TestWatchersFindNothingWrongInTheManifests(t *testing.T) {
	masters := map[string][]string{
		"overlays/all": {"redis"}, "overlays/persistent": {"redis"}, "overlays/tutorial": {"redis-sfs"}, "overlays/namespaces": {"carts", "orders"},
	}
	each(t, func(t *testing.T, objects []object) {
		_, overlay, _ := strings.Cut(t.Name(), "/")
		synctest.Test(t, func(t *testing.T) { watched(t, objects, masters[overlay], overlay != "overlays/tutorial") })
	})
}

// watched runs a watcher of the real code over the objects; the time is virtual.
func watched(t *testing.T, objects []object, masters []string, auth bool) {
	client, namespaces := cluster(objects)
	snapshots := make(chan watch.Snapshot, 100)
	problems := make(chan watch.Problem, 100)
	w := watch.New(watch.Options{
		Client: client, Namespaces: namespaces, Quorum: 2,
		Changed: func(s watch.Snapshot) { snapshots <- s }, Problem: func(p watch.Problem) { problems <- p },
	})
	require.NoError(t, w.Start(t.Context()))
	defer w.Stop()
	last, timeout := watch.Snapshot{Unsure: true}, time.After(20*time.Second)
	for last.Unsure {
		select {
		case last = <-snapshots:
		case <-timeout:
			require.Fail(t, "the watcher is never sure", "%+v", last)
		}
	}
	var names []string
	for _, m := range last.Masters {
		names = append(names, m.Name)
		assert.Len(t, m.Inventory.Instances, 3, "%s", m.Name)
		assert.NotEmpty(t, m.Services, "%s", m.Name)
		if auth {
			assert.Equal(t, "change-me", m.Password, "%s", m.Name)
			assert.Len(t, m.Services, 2, "%s", m.Name)
		}
	}
	assert.Equal(t, masters, names)
	// Problems between two objects are told once they have lasted for two seconds.
	select {
	case p := <-problems:
		assert.Fail(t, "the manifests have a problem", "%+v", p)
	case <-time.After(2500 * time.Millisecond):
	}
}
