package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/triwatch/triwatch/sentinel"
)

func TestWholeNamespaceIsHandedOnAtTheStart(t *testing.T) {
	f := load(t, "orders.yaml", "tutorial.yaml")
	inWorld(t, f, []string{"tutorial", "shop", "shop"}, func(w *world) {
		require.True(t, w.w.Snapshot().Unsure)
		w.start()
		require.Equal(t, once(f), w.last())
		require.False(t, w.last().Unsure)
		w.sleep(time.Minute)
		require.Empty(t, w.told().problems)
		require.Empty(t, w.told().errs)
	})
}

func TestEmptyNamespaceIsHandedOnToo(t *testing.T) {
	inWorld(t, &fixture{}, []string{"shop"}, func(w *world) {
		w.start()
		require.Equal(t, []Snapshot{{}}, w.told().snaps)
	})
}

func TestDeletionIsHandedOnAtOnce(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		w.sleep(time.Minute)
		before, now := w.counts()[0], time.Now()
		w.pod("shop", "redis-0", deletePod)
		synctest.Wait()
		require.Equal(t, before+1, w.counts()[0])
		require.Equal(t, now, w.told().at[before], "nothing may wait between the event and the caller")
		got := w.last().Masters[0].Inventory.Instances[0]
		require.True(t, got.Deleting)
		require.Equal(t, 1200*time.Millisecond, got.Patience)
	})
}

func TestLostNodesPodIsDroppedByATimer(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		w.pod("shop", "redis-0", func(p *corev1.Pod) {
			deletePod(p)
			p.Status.Conditions[0].Status = corev1.ConditionUnknown
		})
		w.sleep(40*time.Second - time.Millisecond)
		require.Len(t, w.last().Masters[0].Inventory.Instances, 3)
		w.sleep(time.Millisecond)
		require.Len(t, w.last().Masters[0].Inventory.Instances, 2)
	})
}

func TestLabelEditTouchesButChangesNothing(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		before := w.counts()
		w.forgetTouched()
		w.pod("shop", "redis-1", func(p *corev1.Pod) { p.Labels["triwatch.io/role"] = "master" })
		synctest.Wait()
		services := w.client.CoreV1().Services("shop")
		s, err := services.Get(ctx, "redis-master", metav1.GetOptions{})
		require.NoError(t, err)
		s.Spec.Selector["triwatch.io/instance"] = "somebody"
		_, err = services.Update(ctx, s, metav1.UpdateOptions{})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, before[0], w.counts()[0])
		require.Equal(t, []string{"Pod shop/redis-1", "Service shop/redis-master"}, w.told().touched)
		require.Equal(t, "master", w.w.Pod("shop", "redis-1").Labels["triwatch.io/role"])
		require.Equal(t, "somebody", w.w.Service("shop", "redis-master").Spec.Selector["triwatch.io/instance"])
		require.Nil(t, w.w.Pod("shop", "redis-9"))
		require.Nil(t, w.w.Pod("elsewhere", "redis-1"))
		require.Nil(t, w.w.Service("shop", "redis-1"))
	})
}

func TestStrangersPodsAndServicesAreNotTouched(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		w.forgetTouched()
		_, err := w.client.CoreV1().Pods("shop").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = w.client.CoreV1().Services("shop").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		synctest.Wait()
		require.NotNil(t, w.w.Pod("shop", "web"))
		require.Empty(t, w.told().touched)
		require.NoError(t, w.client.CoreV1().Pods("shop").Delete(ctx, "redis-2", metav1.DeleteOptions{}))
		synctest.Wait()
		require.Equal(t, []string{"Pod shop/redis-2"}, w.told().touched)
		require.Len(t, w.last().Masters[0].Pods, 2)
	})
}

func TestCallbacksMayAskTheWatcher(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		changed, touched := w.w.opts.Changed, w.w.opts.Touched
		w.w.opts.Changed = func(s Snapshot) {
			require.Equal(t, s, w.w.Snapshot())
			changed(s)
		}
		w.w.opts.Touched = func(ns, kind, name string) {
			w.w.Pod(ns, name)
			w.w.Service(ns, name)
			touched(ns, kind, name)
		}
		w.start()
		require.Len(t, w.last().Masters, 1)
		require.NotEmpty(t, w.told().touched)
	})
}

func TestForbiddenNamespaceFailsAlone(t *testing.T) {
	inWorld(t, load(t, "orders.yaml", "tutorial.yaml"), []string{"shop", "tutorial"}, func(w *world) {
		w.refusing(func(_, resource, namespace string) error {
			if namespace == "tutorial" {
				return forbidden(resource)
			}
			return nil
		})
		w.start()
		require.True(t, w.last().Unsure)
		require.Equal(t, "orders", only(t, w.last()).Name)
		w.pod("shop", "redis-0", deletePod)
		synctest.Wait()
		require.True(t, w.last().Masters[0].Inventory.Instances[0].Deleting)

		w.sleep(61 * time.Second)
		for _, resource := range []string{"pods", "services", "statefulsets"} {
			var told []string
			for _, e := range w.told().errs {
				if strings.HasPrefix(e, "list "+resource+" tutorial: ") {
					told = append(told, e)
				}
			}
			require.GreaterOrEqual(t, len(told), 4, "it goes on being told: %v", w.told().errs)
			require.LessOrEqual(t, len(told), 7, "once per 10 s: %v", w.told().errs)
			require.Contains(t, told[0], "forbidden")
		}
		require.True(t, w.last().Unsure)

		w.refusing(nil)
		w.sleep(retryDenied)
		require.False(t, w.last().Unsure)
		require.Len(t, w.last().Masters, 2)
	})
}

func TestAccessTakenAwayLaterKeepsWhatIsKnown(t *testing.T) {
	inWorld(t, load(t, "orders.yaml", "tutorial.yaml"), []string{"shop", "tutorial"}, func(w *world) {
		w.start()
		before := w.last()
		w.refusing(func(_, resource, namespace string) error {
			if resource == "pods" && namespace == "tutorial" {
				return forbidden(resource)
			}
			return nil
		})
		w.cut()
		w.sleep(time.Minute)
		require.Equal(t, before, w.last())
		require.NotEmpty(t, w.told().errs)
		for _, e := range w.told().errs {
			require.Contains(t, e, "watch pods tutorial: ")
		}
	})
}

func TestSlowNamespaceDoesNotLoseItsNameToAYoungerOne(t *testing.T) {
	f := load(t, "orders.yaml", "tutorial.yaml")
	annotate(f.sets[1], "triwatch.io/watch", "orders")
	inWorld(t, f, []string{"shop", "tutorial"}, func(w *world) {
		w.w.opts.Client = slowClient{w.client}
		w.start()
		require.Empty(t, w.told().snaps)
		w.sleep(5 * time.Second)
		for _, s := range w.told().snaps {
			for _, m := range s.Masters {
				require.Equal(t, "shop", m.Namespace)
			}
		}
		require.Len(t, w.last().Masters, 1)
	})
}

func TestServerThatIsAwayChangesNothingAndIsBackSoon(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		before, snaps := w.last(), w.counts()[0]
		w.away()
		w.sleep(10 * time.Minute)
		require.Equal(t, before, w.last())
		require.Equal(t, snaps, w.counts()[0])
		require.Contains(t, strings.Join(w.told().errs, "\n"), "watch pods shop: connection refused")

		w.pod("shop", "redis-0", deletePod)
		w.back()
		now := time.Now()
		w.sleep(10 * time.Second)
		require.True(t, w.last().Masters[0].Inventory.Instances[0].Deleting)
		// Our own pause is at most 1 s; the reflector's, before it lists again, 1.6 s.
		require.LessOrEqual(t, w.told().at[snaps].Sub(now), retryMost+1600*time.Millisecond)
		require.Equal(t, snaps+1, w.counts()[0])
	})
}

func TestServerThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.refusing(func(string, string, string) error { return context.DeadlineExceeded })
		w.start()
		require.Equal(t, []Snapshot{{Unsure: true}}, w.told().snaps)
		w.sleep(10 * time.Minute)
		w.refusing(nil)
		w.sleep(2 * retryMost)
		require.False(t, w.last().Unsure)
		require.Len(t, w.last().Masters, 1)
		for _, s := range w.told().snaps {
			require.True(t, s.Unsure || len(s.Masters) == 1, "nothing may look missing: %+v", s)
		}
		require.Empty(t, w.told().problems)
	})
}

func TestStormOfListsRepeatsNothing(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		lists := func() int {
			return len(slices.DeleteFunc(w.client.Actions(), func(a clienttesting.Action) bool { return a.GetVerb() != "list" }))
		}
		before, listed := w.counts()[0], lists()
		for range 5 {
			w.back() // every watch is refused as too old once, which makes a list
			w.cut()
			w.sleep(5 * time.Minute)
		}
		require.GreaterOrEqual(t, lists(), listed+5*4)
		for i := range 50 {
			w.pod("shop", "redis-1", func(p *corev1.Pod) { annotate(p, "other.io/heartbeat", fmt.Sprint(i)) })
		}
		synctest.Wait()
		require.Equal(t, before, w.counts()[0])
		w.pod("shop", "redis-1", deletePod)
		synctest.Wait()
		require.Equal(t, before+1, w.counts()[0])
	})
}

func TestProblemIsToldOncePerAppearance(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		priority := func(text string) {
			w.pod("shop", "redis-1", func(p *corev1.Pod) { annotate(p, "triwatch.io/priority", text) })
			synctest.Wait()
		}
		priority("high")
		w.pod("shop", "redis-0", func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.9" })
		w.sleep(time.Minute)
		require.Len(t, w.told().problems, 1)
		require.Equal(t, w.told().problems, w.last().Problems)
		priority("5")
		require.Empty(t, w.last().Problems)
		require.Len(t, w.told().problems, 1)
		priority("higher")
		require.Len(t, w.told().problems, 2)
		require.Contains(t, w.told().problems[1].Message, "the last good value, 5, is used")
	})
}

func TestMissingServiceIsToldWhenItStaysMissing(t *testing.T) {
	f := load(t, "orders.yaml")
	master := f.svcs[0]
	f.svcs = f.svcs[1:]
	inWorld(t, f, []string{"shop"}, func(w *world) {
		w.start()
		w.sleep(settleTime - time.Millisecond)
		require.Empty(t, w.told().problems)
		w.sleep(time.Millisecond)
		require.Len(t, w.told().problems, 1)
		require.Equal(t, ReasonNoService, w.told().problems[0].Reason)
		require.False(t, w.last().Masters[0].Inventory.Serves)
		_, err := w.client.CoreV1().Services("shop").Create(ctx, master, metav1.CreateOptions{})
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, w.last().Problems)
		require.True(t, w.last().Masters[0].Inventory.Serves)
	})
}

func TestDeletedStatefulSetIsNoMasterAnyMore(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		require.NoError(t, w.client.AppsV1().StatefulSets("shop").Delete(ctx, "redis", metav1.DeleteOptions{}))
		synctest.Wait()
		require.Empty(t, w.last().Masters)
		require.False(t, w.last().Unsure)
		require.Empty(t, w.w.secrets.open)
	})
}

func TestNothingIsCalledAfterStop(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		w.w.Stop()
		before, errs := w.counts(), len(w.told().errs)
		w.pod("shop", "redis-0", deletePod)
		w.refusing(func(string, string, string) error { return forbidden("pods") })
		w.cut()
		w.sleep(time.Hour)
		require.Equal(t, before, w.counts())
		require.Len(t, w.told().errs, errs)
		w.w.Stop()
	})
}

func TestStopEndsCallsThatHang(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.refusing(func(string, string, string) error { return forbidden("everything") })
		w.start()
		w.w.Stop() // in the midst of a pause
		require.Equal(t, Snapshot{Unsure: true}, w.w.Snapshot())
	})
}

func TestContextsEndStopsTheWatcher(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		c, cancel := context.WithCancel(ctx)
		require.NoError(t, w.w.Start(c))
		synctest.Wait()
		cancel()
		synctest.Wait()
		before := w.counts()
		w.pod("shop", "redis-0", deletePod)
		synctest.Wait()
		require.Equal(t, before, w.counts())
	})
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	client := fake.NewClientset()
	for text, o := range map[string]Options{
		"no client":         {Namespaces: []string{"a"}, Quorum: 2},
		"no namespace":      {Client: client, Quorum: 2},
		"an empty name":     {Client: client, Namespaces: []string{"a", ""}, Quorum: 2},
		"at least 1":        {Client: client, Namespaces: []string{"a"}},
		"start kubernetes ": {},
	} {
		w := New(o)
		require.ErrorContains(t, w.Start(ctx), text)
		w.Stop()
	}
	w := New(Options{Client: client, Namespaces: []string{"a"}, Quorum: 1})
	require.NoError(t, w.Start(ctx))
	require.ErrorContains(t, w.Start(ctx), "started before")
	w.Stop()
	w = New(Options{Client: client, Namespaces: []string{"a"}, Quorum: 1})
	w.Stop()
	require.Error(t, w.Start(ctx))
}

func TestEvictionIsSeenBeforeTheDeletion(t *testing.T) {
	inWorld(t, load(t, "orders.yaml"), []string{"shop"}, func(w *world) {
		w.start()
		w.pod("shop", "redis-2", func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue})
		})
		synctest.Wait()
		got := w.last().Masters[0].Inventory.Instances[2]
		require.Equal(t, sentinel.InstanceID("uid-redis-2"), got.ID)
		require.True(t, got.Deleting)
	})
}
