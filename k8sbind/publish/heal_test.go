package publish

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/triwatch/triwatch/k8sbind"
)

func TestEditsByHandAreSetRight(t *testing.T) {
	service := func(change func(*corev1.Service)) func(*server) {
		return func(s *server) { s.editService("redis-master", change) }
	}
	pod := func(name string, change func(*corev1.Pod)) func(*server) {
		return func(s *server) { s.editPod(name, change) }
	}
	edits := map[string]func(*server){
		"selector loses the instance": service(func(o *corev1.Service) { delete(o.Spec.Selector, k8sbind.LabelInstance) }),
		"selector names another pod":  service(func(o *corev1.Service) { o.Spec.Selector[k8sbind.LabelInstance] = "uid-redis-2" }),
		"selector names another role": service(func(o *corev1.Service) { o.Spec.Selector[k8sbind.LabelRole] = "replica" }),
		"service epoch lowered":       service(func(o *corev1.Service) { o.Annotations[k8sbind.AnnotationEpoch] = "3" }),
		"service epoch removed":       service(func(o *corev1.Service) { delete(o.Annotations, k8sbind.AnnotationEpoch) }),
		"service epoch garbage":       service(func(o *corev1.Service) { o.Annotations[k8sbind.AnnotationEpoch] = `<"é~1/">` }),
		"service epoch too big":       service(func(o *corev1.Service) { o.Annotations[k8sbind.AnnotationEpoch] = strings.Repeat("9", 30) }),
		"service annotations removed": service(func(o *corev1.Service) { o.Annotations = nil }),
		"replica called master":       pod("redis-1", func(o *corev1.Pod) { o.Labels[k8sbind.LabelRole] = "master" }),
		"master called replica":       pod("redis-0", func(o *corev1.Pod) { o.Labels[k8sbind.LabelRole] = "replica" }),
		"master made readable":        pod("redis-0", func(o *corev1.Pod) { o.Labels[k8sbind.LabelReads] = "yes" }),
		"reads taken away":            pod("redis-2", func(o *corev1.Pod) { delete(o.Labels, k8sbind.LabelReads) }),
		"reads changed":               pod("redis-2", func(o *corev1.Pod) { o.Labels[k8sbind.LabelReads] = "no" }),
		"instance label changed":      pod("redis-0", func(o *corev1.Pod) { o.Labels[k8sbind.LabelInstance] = "x" }),
		"pod epoch lowered":           pod("redis-0", func(o *corev1.Pod) { o.Annotations[k8sbind.AnnotationEpoch] = "1" }),
		"pod labels removed":          pod("redis-1", func(o *corev1.Pod) { o.Labels = nil }),
		"pod annotations removed":     pod("redis-1", func(o *corev1.Pod) { o.Annotations = nil }),
		"pod has nothing":             pod("redis-0", func(o *corev1.Pod) { o.Annotations, o.Labels = nil, nil }),
	}
	for name, edit := range edits {
		for _, checked := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					r.p.Set(orders(12, 0))
					after(10 * time.Second)
					edit(r.s)
					if checked {
						r.p.Check("orders")
						after(100 * time.Millisecond)
					} else {
						after(2 * time.Second)
					}
					r.settledAt("12", 0)
					require.Len(t, r.s.writes(), 1, "one patch heals it")
					require.Len(t, r.flipped(), 1, "healing is not a flip")
					app := (&lagging{s: r.s}).Service("db", "redis-master").Spec.Selector["app"]
					require.Equal(t, "redis", app)
				})
			})
		}
	}
}

func TestAnEpochRaisedByHandIsLeftToANewPlan(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.p.Set(orders(12, 0))
		after(time.Second)
		r.s.editService("redis-master", func(o *corev1.Service) { o.Annotations[k8sbind.AnnotationEpoch] = "40" })
		r.s.editPod("redis-1", func(o *corev1.Pod) { delete(o.Labels, k8sbind.LabelRole) })
		r.s.editPod("redis-2", func(o *corev1.Pod) { delete(o.Labels, k8sbind.LabelInstance) })
		after(time.Minute)
		require.Equal(t, "40 uid-redis-0 master", r.service("redis-master"))
		require.Equal(t, "uid-redis-1  yes 12", r.pod("redis-1"), "no role is written under a newer leader's eyes")
		require.Equal(t, "uid-redis-2 replica yes 12", r.pod("redis-2"), "an instance label is true whoever leads")
		_, _, pending := r.p.State("orders")
		require.Contains(t, pending, "service redis-master carries epoch 40, which is above the committed 12")
		told := r.s.events()
		require.Len(t, told, 1)
		require.Equal(t, "EpochAbove", told[0].Reason)
		require.Equal(t, corev1.EventTypeWarning, told[0].Type)
		require.Equal(t, 1, r.logged("object carries a higher epoch: left alone until a plan passes it"))

		r.p.Set(orders(41, 2))
		after(time.Second)
		r.settledAt("41", 2)
		_, _, pending = r.p.State("orders")
		require.Empty(t, pending)
	})
}

func TestAPodWithARaisedEpochHoldsUpNoOtherPod(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editPod("redis-2", func(o *corev1.Pod) { o.Annotations[k8sbind.AnnotationEpoch] = "40" })
		r.p.Set(orders(13, 1))
		after(time.Minute)
		require.Equal(t, "13 uid-redis-1 master", r.service("redis-master"))
		require.Equal(t, "uid-redis-0 replica yes 13", r.pod("redis-0"))
		require.Equal(t, "uid-redis-2 replica yes 40", r.pod("redis-2"))
		require.Len(t, r.s.events(), 1)
	})
}

func TestAMasterPodWithARaisedEpochIsToldOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editPod("redis-1", func(o *corev1.Pod) {
			o.Annotations[k8sbind.AnnotationEpoch] = "40"
			delete(o.Labels, k8sbind.LabelInstance)
		})
		r.p.Set(orders(13, 1))
		after(time.Minute)
		require.Equal(t, "12 uid-redis-0 master", r.service("redis-master"), "a flip to a pod without the role would leave nobody")
		require.Len(t, r.s.events(), 1)
	})
}

func TestWithoutAMasterOnlyInstanceLabelsAreWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"redis-0", "redis-1", "redis-2"} {
			r.s.editPod(name, func(o *corev1.Pod) { o.Labels, o.Annotations = nil, nil })
		}
		r.p.Set(orders(0, -1))
		after(time.Second)
		require.Equal(t, []string{"patch pods redis-0", "patch pods redis-1", "patch pods redis-2"}, r.s.writes())
		require.Equal(t, "uid-redis-1   ", r.pod("redis-1"))
		require.Equal(t, "12 uid-redis-0 master", r.service("redis-master"))
	})
}

func TestFirstAdoptionStampsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"redis-0", "redis-1", "redis-2"} {
			r.s.editPod(name, func(o *corev1.Pod) { o.Labels, o.Annotations = nil, nil })
		}
		r.s.editService("redis-master", func(o *corev1.Service) {
			o.Annotations = nil
			delete(o.Spec.Selector, k8sbind.LabelInstance)
		})
		r.p.Set(orders(1, 0))
		after(time.Second)
		r.settledAt("1", 0)
		require.Empty(t, r.failed())
	})
}

func TestAPodOfTheSameNameWithAnotherUIDIsNotTouched(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		after(time.Minute)
		r.cache.lag = 30 * time.Second // it still shows the pod that is gone
		r.s.editPod("redis-2", func(o *corev1.Pod) { o.UID, o.Labels, o.Annotations = types.UID("fresh"), nil, nil })
		r.p.Set(orders(13, 1))
		after(time.Minute)
		require.Equal(t, "   ", r.pod("redis-2"))
		require.Equal(t, "13 uid-redis-1 master", r.service("redis-master"))
		require.Equal(t, "uid-redis-0 replica yes 13", r.pod("redis-0"))
	})
}

func TestAServiceWithoutSelectorIsNotTouched(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editService("redis-master", func(o *corev1.Service) { o.Spec.Selector = nil })
		r.p.Set(orders(13, 1))
		after(time.Minute)
		require.Equal(t, "12  ", r.service("redis-master"))
		require.Equal(t, 1, r.logged("object can't be written to: left alone"))
		_, _, pending := r.p.State("orders")
		require.Contains(t, pending, "has no selector")
	})
}

func TestAChangeThatTheServerRefusesForGoodIsNotHammered(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.refuse(func(c call) bool { return isService(c) && c.write() }, http.StatusUnprocessableEntity, nil)
		r.p.Set(orders(13, 1))
		after(time.Minute)
		n := r.s.asked(func(c call) bool { return isService(c) && c.write() })
		require.Greater(t, n, 50)
		require.Less(t, n, 75)
		require.Equal(t, 1, r.logged("kubernetes call failed"))
	})
}

func TestAMissingPermissionIsLoggedOncePerNamespace(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.addMaster("carts", "cache", 3)
		end := r.s.refuse(func(c call) bool { return isPod(c) && strings.HasPrefix(c.name, "redis") && c.write() }, http.StatusForbidden, nil)
		r.p.Set(orders(13, 1))
		r.p.Set(wish("carts", "cache", 3, 13, 1))
		after(20 * time.Second)
		require.Equal(t, "13 uid-cache-1 master", r.service("cache-master"), "the other master goes on")
		require.Contains(t, r.failed(), "patch pods")
		require.LessOrEqual(t, r.logged("kubernetes call failed"), 2)
		end()
		after(2 * time.Second)
		r.settledAt("13", 1)
	})
}

func TestReadOnlyWritesNothingAndSaysWhatItWould(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := orders(13, 1)
		d.ReadOnly = true
		r.p.Set(d)
		after(time.Minute)
		require.Zero(t, r.s.asked(anything))
		require.Zero(t, r.verifies())
		require.Empty(t, r.flipped())
		said := r.logged("would patch")
		require.Equal(t, 5, said)
		after(time.Minute)
		require.Equal(t, said, r.logged("would patch"), "said once")
		d.ReadOnly = false
		r.p.Set(d)
		synctest.Wait()
		r.settledAt("13", 1)
	})
}

func TestPausingEndsTheWritesUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.hang(isWrite)
		d := orders(13, 1)
		r.p.Set(d)
		synctest.Wait()
		d.ReadOnly = true
		r.p.Set(d)
		synctest.Wait()
		r.s.setIntercept(nil)
		after(time.Minute)
		require.Empty(t, r.s.writes())
	})
}

func TestOurOwnRateLimitIsNoFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.p.o.Client = r.s.client(t, "labels", 0.1) // after a burst of 10
		d := wish("orders", "redis", 16, 13, 1)
		r.s.addMaster("orders", "redis", 16)
		r.p.Set(d)
		after(10 * time.Second)
		require.Equal(t, "13 uid-redis-1 master", r.service("redis-master"))
		require.Empty(t, r.failed())
		after(10 * time.Minute)
		require.Equal(t, "uid-redis-15 replica yes 13", r.pod("redis-15"))
	})
}

func TestReleaseKeepsTheServiceAnswering(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		d := orders(13, 1)
		r.p.Set(d)
		synctest.Wait()
		r.s.editPod("redis-0", func(o *corev1.Pod) { o.Labels[k8sbind.LabelRole] = "master" }) // would be selected too
		r.s.writes()
		require.NoError(t, r.p.Release(t.Context(), d))
		require.Equal(t, []string{"patch pods redis-0", "patch services redis-master"}, r.s.writes(), "roles before the key that masks them")
		after(time.Minute)
		require.Empty(t, r.s.writes(), "nothing puts it back")
		require.Equal(t, "  master", r.service("redis-master"))
		require.Equal(t, "uid-redis-1 master  13", r.pod("redis-1"))
		require.NoError(t, r.p.Release(t.Context(), d))
		require.Empty(t, r.s.writes())

		r.p.Set(orders(14, 2)) // taken up again
		synctest.Wait()
		r.settledAt("14", 2)
	})
}

func TestReleaseTakesNoSelectorApartThatNeedsTheInstance(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editService("redis-master", func(o *corev1.Service) { delete(o.Spec.Selector, k8sbind.LabelRole) })
		require.NoError(t, r.p.Release(t.Context(), orders(12, 0)))
		require.Equal(t, " uid-redis-0 ", r.service("redis-master"))
	})
}

func TestReleaseLeavesTheServiceWhenLabelsFail(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editPod("redis-1", func(o *corev1.Pod) { o.Labels[k8sbind.LabelRole] = "master" })
		r.s.refuse(isPod, http.StatusForbidden, nil)
		require.ErrorContains(t, r.p.Release(t.Context(), orders(12, 0)), "pod redis-1: Forbidden")
		require.Equal(t, "12 uid-redis-0 master", r.service("redis-master"))
		r.resign()
		require.ErrorIs(t, r.p.Release(t.Context(), orders(12, 0)), ErrNotLeading)
	})
}

func TestAnInstanceLabelIsNotPutOnTheNextPodOfThatName(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editPod("redis-2", func(o *corev1.Pod) { o.Labels = map[string]string{"app": "redis"} })
		after(time.Minute)
		r.cache.lag = 30 * time.Second
		r.s.editPod("redis-2", func(o *corev1.Pod) { o.UID = "fresh" })
		r.p.Set(orders(0, -1)) // the one patch that tests no epoch
		after(time.Second)
		require.Equal(t, "   12", r.pod("redis-2"))
	})
}

func TestANewEpochOfTheSameMasterFlipsFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.p.Set(orders(13, 0))
		synctest.Wait()
		r.settledAt("13", 0)
		require.Equal(t, "patch services redis-master", r.s.writes()[0])
	})
}
