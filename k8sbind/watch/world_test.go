package watch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	clienttesting "k8s.io/client-go/testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// world is a fake API server with a watcher on it, in a bubble of virtual time.
type world struct {
	t      *testing.T
	client *fake.Clientset
	w      *Watcher

	mu      sync.Mutex
	watches []apiwatch.Interface
	refuse  func(verb, resource, namespace string) error // nil lets all calls pass
	tale
}

// tale is what the watcher told.
type tale struct {
	snaps    []Snapshot
	problems []Problem
	touched  []string
	errs     []string
	at       []time.Time // of the snapshots
}

// inWorld runs a test in a bubble, on a watcher that was not started yet.
func inWorld(t *testing.T, f *fixture, namespaces []string, test func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, client: fake.NewClientset(f.objects()...)}
		w.client.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
			err := w.refused(a)
			return err != nil, nil, err
		})
		w.client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, apiwatch.Interface, error) {
			if err := w.refused(a); err != nil {
				return true, nil, err
			}
			found, err := w.client.Tracker().Watch(a.GetResource(), a.GetNamespace())
			w.mu.Lock()
			defer w.mu.Unlock()
			w.watches = append(w.watches, found)
			return true, found, err
		})
		w.w = New(Options{
			Client: w.client, Namespaces: namespaces, Quorum: 2,
			Changed: func(s Snapshot) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.snaps, w.at = append(w.snaps, s), append(w.at, time.Now())
			},
			Touched: func(ns, kind, name string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.touched = append(w.touched, kind+" "+ns+"/"+name)
			},
			Problem: func(p Problem) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.problems = append(w.problems, p)
			},
			Errors: func(verb, resource, ns string, err error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.errs = append(w.errs, fmt.Sprintf("%s %s %s: %v", verb, resource, ns, err))
			},
		})
		defer w.w.Stop()
		test(w)
	})
}

func (w *world) refused(a clienttesting.Action) error {
	w.mu.Lock()
	refuse := w.refuse
	w.mu.Unlock()
	if refuse == nil {
		return nil
	}
	return refuse(a.GetVerb(), a.GetResource().Resource, a.GetNamespace())
}

func (w *world) refusing(f func(verb, resource, namespace string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = f
}

func (w *world) start() {
	w.t.Helper()
	require.NoError(w.t, w.w.Start(ctx))
	synctest.Wait()
}

// told returns what was told so far.
func (w *world) told() tale {
	w.mu.Lock()
	defer w.mu.Unlock()
	return tale{slices.Clone(w.snaps), slices.Clone(w.problems), slices.Clone(w.touched), slices.Clone(w.errs), slices.Clone(w.at)}
}

func (w *world) forgetTouched() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touched = nil
}

// sleep lets virtual time pass, and everything come to rest.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// away cuts all connections and refuses new ones, as a stopped API server does.
func (w *world) away() {
	w.refusing(func(string, string, string) error { return syscall.ECONNREFUSED })
	w.cut()
}

// cut ends all watches.
func (w *world) cut() {
	time.Sleep(2 * time.Second) // a watch that ends within a second is an error of its own
	w.mu.Lock()
	watches := w.watches
	w.watches = nil
	w.mu.Unlock()
	for _, one := range watches {
		one.Stop()
	}
	synctest.Wait()
}

// back lets calls pass again; watches have to begin anew, as after a restart.
func (w *world) back() {
	expired := map[string]bool{}
	w.refusing(func(verb, resource, namespace string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		key := resource + namespace
		if verb == "watch" && !expired[key] {
			expired[key] = true
			return apierrors.NewResourceExpired("too old resource version")
		}
		return nil
	})
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no Role"))
}

// last returns the latest snapshot, which Snapshot and Changed must agree upon.
func (w *world) last() Snapshot {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(w.t, w.snaps, "no snapshot was handed out")
	s := w.snaps[len(w.snaps)-1]
	require.Equal(w.t, s, w.w.Snapshot())
	return s
}

// counts returns how often Changed, Touched and Problem were called.
func (w *world) counts() [3]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return [3]int{len(w.snaps), len(w.touched), len(w.problems)}
}

// pod changes a pod on the server.
func (w *world) pod(namespace, name string, change func(*corev1.Pod)) {
	w.t.Helper()
	pods := w.client.CoreV1().Pods(namespace)
	p, err := pods.Get(ctx, name, metav1.GetOptions{})
	require.NoError(w.t, err)
	change(p)
	_, err = pods.Update(ctx, p, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

func deletePod(p *corev1.Pod) {
	at, grace := metav1.NewTime(time.Now().Add(30*time.Second)), int64(30)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &grace
}

// slowClient takes 3 s to list the StatefulSets of namespace shop.
type slowClient struct{ *fake.Clientset }

func (c slowClient) AppsV1() appsclient.AppsV1Interface { return slowApps{c.Clientset.AppsV1()} }

type slowApps struct{ appsclient.AppsV1Interface }

func (a slowApps) StatefulSets(namespace string) appsclient.StatefulSetInterface {
	return slowSets{a.AppsV1Interface.StatefulSets(namespace), namespace}
}

type slowSets struct {
	appsclient.StatefulSetInterface
	namespace string
}

func (s slowSets) List(ctx context.Context, o metav1.ListOptions) (*appsv1.StatefulSetList, error) {
	if s.namespace == "shop" {
		time.Sleep(3 * time.Second)
	}
	return s.StatefulSetInterface.List(ctx, o)
}
