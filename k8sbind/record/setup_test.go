package record

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	namespace = "watchers"
	selector  = "app=triwatch"
	patience  = 10 * time.Second
)

var secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// api is a fake API server that gives Secrets a UID and a resource version and
// refuses updates of another version, which the plain fake does not do.
type api struct {
	*fake.Clientset
	mu      sync.Mutex
	version int
	down    bool
	writes  int
	lists   int
}

func newAPI(objects ...runtime.Object) *api {
	a := &api{Clientset: fake.NewClientset(objects...)}
	a.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.down {
			return true, nil, apierrors.NewServiceUnavailable("the API server is down")
		}
		return false, nil, nil
	})
	a.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		a.mu.Lock()
		a.lists++
		a.mu.Unlock()
		return false, nil, nil
	})
	a.PrependReactor("create", "secrets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		s := action.(clienttesting.CreateAction).GetObject().(*corev1.Secret).DeepCopy()
		if a.down {
			return true, nil, apierrors.NewServiceUnavailable("the API server is down")
		}
		a.version++
		a.writes++
		s.UID, s.ResourceVersion = types.UID(fmt.Sprint("secret-", a.version)), strconv.Itoa(a.version)
		err := a.Tracker().Create(secretResource, s, s.Namespace)
		return true, s, err
	})
	a.PrependReactor("update", "secrets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		s := action.(clienttesting.UpdateAction).GetObject().(*corev1.Secret).DeepCopy()
		o, err := a.Tracker().Get(secretResource, s.Namespace, s.Name)
		if err != nil {
			return true, nil, err
		}
		if have := o.(*corev1.Secret); have.ResourceVersion != s.ResourceVersion || have.UID != s.UID {
			return true, nil, apierrors.NewConflict(secretResource.GroupResource(), s.Name, fmt.Errorf("it is version %s", have.ResourceVersion))
		}
		a.version++
		a.writes++
		s.ResourceVersion = strconv.Itoa(a.version)
		return true, s, a.Tracker().Update(secretResource, s, s.Namespace)
	})
	return a
}

func (a *api) setDown(down bool) {
	a.mu.Lock()
	a.down = down
	a.mu.Unlock()
}

func (a *api) listed() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lists
}

func (a *api) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	s, err := a.CoreV1().Secrets(namespace).Get(t.Context(), DefaultName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pod makes a watcher's pod; change may set more.
func pod(k int, change ...func(*corev1.Pod)) *corev1.Pod {
	name := fmt.Sprint("w", k)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("uid-" + name), Labels: map[string]string{"app": "triwatch"}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprint("10.0.0.", k)},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func announced(id string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{annotationID: id} }
}

func dying(grace int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		now := metav1.Now()
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds, p.Finalizers = &now, &grace, []string{"test/holds"}
	}
}

func phase(ph corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = ph }
}

// keeper is the Keeper of pod k.
func keeper(t *testing.T, a *api, k int) *Keeper {
	t.Helper()
	p := pod(k)
	kp, err := New(Options{Client: a, Namespace: namespace, Pod: p.Name, UID: p.UID, IP: p.Status.PodIP, PeerPort: 36379, Selector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func started(t *testing.T, a *api, k int) *Keeper {
	t.Helper()
	kp := keeper(t, a, k)
	if err := kp.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kp.Stop)
	return kp
}

func eventually(t *testing.T, what string, cond func() (bool, string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		ok, state := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; last state: %s", patience, what, state)
		}
	}
}
