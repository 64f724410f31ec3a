package record

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhoIsGone(t *testing.T) {
	const id, addr = "dead", "10.0.0.2:36379"
	own := pod(1, announced("me"))
	for name, c := range map[string]struct {
		pods []*corev1.Pod
		gone bool
		why  string
	}{
		"no pod has its ID":                    {[]*corev1.Pod{own, pod(3, announced("other"))}, true, "no pod has announced it"},
		"its pod runs":                         {[]*corev1.Pod{own, pod(2, announced(id))}, false, "w2 is there"},
		"its pod is Unknown":                   {[]*corev1.Pod{own, pod(2, announced(id), phase(corev1.PodUnknown))}, false, "w2 is there"},
		"its pod runs elsewhere":               {[]*corev1.Pod{own, pod(5, announced(id))}, false, "w5 is there"},
		"its pod is being deleted":             {[]*corev1.Pod{own, pod(2, announced(id), dying(30))}, false, "w2 is there"},
		"its pod was evicted":                  {[]*corev1.Pod{own, pod(2, announced(id), phase(corev1.PodFailed))}, true, "has ended"},
		"its IP has another watcher":           {[]*corev1.Pod{own, func() *corev1.Pod { p := pod(6, announced("new")); p.Status.PodIP = "10.0.0.2"; return p }()}, true, "no pod"},
		"its IP has one who has not announced": {[]*corev1.Pod{own, pod(2)}, false, "w2 at 10.0.0.2 has not announced"},
		"its IP is a second one of a pod": {[]*corev1.Pod{own, pod(4, func(p *corev1.Pod) {
			p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.4"}, {IP: "10.0.0.2"}}
		})}, false, "has not announced"},
		"another IP has one who has not announced": {[]*corev1.Pod{own, pod(4)}, true, "no pod"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI()
			for _, p := range c.pods {
				if err := a.Tracker().Add(p); err != nil {
					t.Fatal(err)
				}
			}
			gone, why, err := keeper(t, a, 1).Gone(t.Context(), id, addr)
			if err != nil || gone != c.gone || !strings.Contains(why, c.why) {
				t.Errorf("got %v, %q, %v, want %v, %q", gone, why, err, c.gone, c.why)
			}
		})
	}
}

func TestNobodyIsGoneForOneWhoCannotTell(t *testing.T) {
	a := newAPI(pod(1), pod(3, announced("other")))
	k := keeper(t, a, 1)
	a.setDown(true)
	if gone, _, err := k.Gone(t.Context(), "dead", "10.0.0.2:1"); gone || err == nil {
		t.Errorf("the API is away: %v, %v", gone, err)
	}
	a.setDown(false)
	if gone, _, err := k.Gone(t.Context(), "dead", "10.0.0.2:1"); !gone || err != nil {
		t.Errorf("the API is back: %v, %v", gone, err)
	}
	stranger := keeper(t, a, 8) // its selector does not select its own pod
	if gone, _, err := stranger.Gone(t.Context(), "dead", "10.0.0.2:1"); gone || err == nil || !strings.Contains(err.Error(), selector) {
		t.Errorf("a selector that misses our own pod: %v, %v", gone, err)
	}
}

func TestADeletedPodIsGoneTenSecondsPastItsGrace(t *testing.T) {
	a := newAPI(pod(1), pod(2, announced("dead"), dying(30)))
	k := keeper(t, a, 1)
	now := time.Now()
	k.now = func() time.Time { return now }
	ask := func() bool {
		t.Helper()
		k.asOf = time.Time{}
		gone, why, err := k.Gone(t.Context(), "dead", "10.0.0.2:1")
		if err != nil {
			t.Fatal(err, why)
		}
		return gone
	}
	if ask() {
		t.Error("gone at first sight")
	}
	now = now.Add(39 * time.Second)
	if ask() {
		t.Error("gone before its grace was over by ten seconds")
	}
	now = now.Add(2 * time.Second)
	if !ask() {
		t.Error("not gone after its grace")
	}
}

func TestGoneAsksTheServerAfreshButNotMoreThanOnceASecond(t *testing.T) {
	a := newAPI(pod(1), pod(2, announced("x")))
	k := started(t, a, 1)
	eventually(t, "the cache is filled", func() (bool, string) { return k.informer.HasSynced(), "" })
	before := a.listed()
	for range 10 {
		if gone, why, err := k.Gone(t.Context(), "x", "10.0.0.2:1"); gone || err != nil {
			t.Fatal(gone, why, err)
		}
	}
	if n := a.listed() - before; n < 1 || n > 2 {
		t.Errorf("%d lists for ten questions", n)
	}
	if err := a.CoreV1().Pods(namespace).Delete(t.Context(), "w2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone", func() (bool, string) {
		gone, why, err := k.Gone(t.Context(), "x", "10.0.0.2:1")
		return gone, fmt.Sprint(why, err)
	})
}

func TestPeersAreDiscoveredFromThePods(t *testing.T) {
	foreign := pod(9)
	foreign.Labels = map[string]string{"app": "redis"}
	a := newAPI(pod(1), pod(2), pod(3, dying(30)), pod(4, phase(corev1.PodFailed)), foreign, pod(5, func(p *corev1.Pod) { p.Status.PodIP = "" }))
	k := keeper(t, a, 1)
	if _, err := k.Discover(t.Context()); err == nil {
		t.Error("an answer before the pods were listed")
	}
	k = started(t, a, 1)
	await := func(want ...string) {
		t.Helper()
		eventually(t, "the peers are found", func() (bool, string) {
			got, err := k.Discover(t.Context())
			return err == nil && slices.Equal(got, want), fmt.Sprint(got, err)
		})
	}
	await("10.0.0.2:36379", "10.0.0.3:36379")
	if _, err := a.CoreV1().Pods(namespace).Create(t.Context(), pod(6, func(p *corev1.Pod) { p.Status.PodIP = "fd00::6" }), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await("10.0.0.2:36379", "10.0.0.3:36379", "[fd00::6]:36379")
}

func TestTheIdentityIsAnnouncedAndPutBack(t *testing.T) {
	a := newAPI(pod(1), pod(2))
	k := started(t, a, 1)
	eventually(t, "the cache is filled", func() (bool, string) { return k.informer.HasSynced(), "" })
	if err := k.Announce(t.Context(), "abc"); err != nil {
		t.Fatal(err)
	}
	annotation := func() string {
		p, err := a.CoreV1().Pods(namespace).Get(t.Context(), "w1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Annotations[annotationID]
	}
	if got := annotation(); got != "abc" {
		t.Fatalf("%q", got)
	}
	p, _ := a.CoreV1().Pods(namespace).Get(t.Context(), "w1", metav1.GetOptions{})
	delete(p.Annotations, annotationID)
	if _, err := a.CoreV1().Pods(namespace).Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is put back", func() (bool, string) { k.look(); return annotation() == "abc", annotation() })
	a.setDown(true)
	if err := k.Announce(t.Context(), "new"); err == nil || !strings.Contains(err.Error(), "w1") {
		t.Error(err)
	}
	a.setDown(false)
	if err := keeper(t, a, 7).Announce(t.Context(), "x"); err == nil {
		t.Error("announced on a pod that is not there")
	}
}

func TestLeavingIsOurOwnPodsDeletion(t *testing.T) {
	for name, c := range map[string]struct {
		pods []*corev1.Pod
		want bool
	}{
		"it runs":             {[]*corev1.Pod{pod(1), pod(2, dying(30))}, false},
		"it is being deleted": {[]*corev1.Pod{pod(1, dying(30))}, true},
		"it is not there":     {[]*corev1.Pod{pod(2)}, true},
		"it is another one":   {[]*corev1.Pod{pod(1, func(p *corev1.Pod) { p.UID = "later" })}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI()
			for _, p := range c.pods {
				if err := a.Tracker().Add(p); err != nil {
					t.Fatal(err)
				}
			}
			for _, k := range []*Keeper{keeper(t, a, 1), started(t, a, 1)} {
				got, err := k.Leaving(t.Context())
				if err != nil || got != c.want {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	a := newAPI(pod(1, dying(30)))
	k := started(t, a, 1)
	eventually(t, "the cache is filled", func() (bool, string) { return k.informer.HasSynced(), "" })
	a.setDown(true)
	if got, err := k.Leaving(t.Context()); !got || err != nil {
		t.Errorf("from the cache: %v, %v", got, err)
	}
	if got, err := keeper(t, a, 2).Leaving(t.Context()); got || err == nil {
		t.Errorf("nobody can tell: %v, %v", got, err)
	}
}
