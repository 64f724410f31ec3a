package publish

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

func isService(c call) bool { return c.resource == services }
func isPod(c call) bool     { return c.resource == pods }
func isWrite(c call) bool   { return c.write() }
func anything(call) bool    { return true }

func TestAFlipIsWrittenInOneOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := ""
		r.s.after = func(c call) {
			if first == "" {
				first = r.pod("redis-1")
			}
		}
		r.p.Set(orders(13, 1))
		synctest.Wait()
		r.settledAt("13", 1)
		require.Equal(t, []string{
			"patch pods redis-1", "patch services redis-master", "patch pods redis-0", "patch pods redis-1", "patch pods redis-2",
		}, r.s.writes())
		require.Equal(t, "uid-redis-1 master yes 13", first, "the reads label must not go before the flip")
		require.Equal(t, []string{"orders 13 redis-master uid-redis-1 0s"}, r.flipped())
		e, f, pending := r.p.State("orders")
		require.Equal(t, sentinel.Epoch(13), e)
		require.Equal(t, sentinel.InstanceID("uid-redis-1"), f)
		require.Empty(t, pending)
		require.Empty(t, r.failed())
	})
}

func TestFlipAndItsLabelUseTheUnlimitedClient(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var from []string
		r.s.after = func(c call) { from = append(from, c.from) }
		r.p.Set(orders(13, 1))
		synctest.Wait()
		require.Equal(t, []string{"flips", "flips", "labels", "labels", "labels"}, from)
	})
}

func TestNothingIsWrittenWhenNothingDiffers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.p.Set(orders(12, 0))
		for range 100 {
			r.p.Check("orders")
			after(100 * time.Millisecond)
		}
		require.Zero(t, r.s.asked(anything))
		require.Zero(t, r.verifies(), "a pass without a difference needs no leadership")
		require.Equal(t, []string{"orders 12 redis-master uid-redis-0 0s"}, r.flipped(), "found made, told once")
	})
}

func TestEveryLeadershipIsToldWhatIsFlipped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.p.Set(orders(12, 0))
		synctest.Wait()
		r.resign()
		after(time.Minute)
		require.Len(t, r.flipped(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r.p.Lead(ctx)
		synctest.Wait()
		require.Len(t, r.flipped(), 2)
	})
}

func TestALaggingCacheCausesNoSecondWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		after(time.Minute)
		r.cache.lag = 2 * time.Second
		r.p.Set(orders(13, 1))
		for range 50 {
			r.p.Check("orders")
			after(100 * time.Millisecond)
		}
		require.Equal(t, 5, r.s.asked(anything))
		r.settledAt("13", 1)
	})
}

func TestACacheThatStandsStillCausesNoWrites(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		after(time.Minute)
		r.cache.lag = time.Hour // it shows the first versions for ever
		r.p.Set(orders(13, 1))
		after(time.Minute)
		require.Len(t, r.s.writes(), 5)
		r.settledAt("13", 1)
		require.Len(t, r.flipped(), 1)
		require.Empty(t, r.failed(), "a test refused because the cache is old is no failure")
	})
}

func TestAStaleLeaderIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.p.Set(orders(12, 0))
		after(time.Minute)
		r.cache.lag = time.Minute // what follows is not seen by this one
		newer := newRig(t, r.s)
		newer.begin()
		newer.p.Set(orders(14, 2))
		synctest.Wait()
		newer.settledAt("14", 2)
		newer.p.Stop()
		r.s.writes()

		r.p.Set(orders(13, 1)) // leads still, as far as it knows
		after(30 * time.Second)
		r.settledAt("14", 2)
		require.Empty(t, r.s.writes())
		_, _, pending := r.p.State("orders")
		require.Contains(t, pending, "carries epoch 14")
	})
}

func TestAStaleLeaderStopsAtTheServiceThatANewerOneFlipped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		after(time.Minute)
		r.cache.lag = time.Minute
		r.s.editService("redis-master", func(o *corev1.Service) { // its labels are still to come
			o.Annotations[k8sbind.AnnotationEpoch] = "14"
			o.Spec.Selector[k8sbind.LabelInstance] = "uid-redis-2"
		})
		r.p.Set(orders(13, 1))
		after(30 * time.Second)
		require.Equal(t, "14 uid-redis-2 master", r.service("redis-master"))
		require.Equal(t, "uid-redis-0 master  12", r.pod("redis-0"), "labels after the flip are not ours to write")
		require.Empty(t, r.flipped())
		require.Len(t, r.s.events(), 1, "told once")
	})
}

// Two leaders, the older of which doesn't know that it is deposed, write at the same
// time with caches of any age. The epoch on the Service never falls, and the newest
// assignment wins everywhere.
func TestEpochsOnAServiceNeverFall(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			s := newServer()
			s.addMaster("orders", "redis", 3)
			s.setIntercept(func(r *http.Request, c call) (int, error) {
				time.Sleep(time.Duration(hash(seed, c.body)%900) * time.Millisecond)
				return 0, nil
			})
			after(time.Minute)
			rigs := []*rig{newRig(t, s), newRig(t, s)}
			for _, r := range rigs {
				r.cache.lag = time.Duration(random.IntN(3000)) * time.Millisecond
				r.begin()
			}
			for epoch := sentinel.Epoch(13); epoch < 20; epoch++ {
				rigs[random.IntN(2)].p.Set(orders(epoch, int(epoch)%3))
				time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
			}
			rigs[1].p.Set(orders(20, 2))
			after(30 * time.Second)
			rigs[1].settledAt("20", 2)
			last := sentinel.Epoch(0)
			for _, v := range s.versions[objectKey(services, "db", "redis-master")] {
				o := decode(v.data)
				require.GreaterOrEqual(t, epochOf(o), last, "seed %d", seed)
				if epochOf(o) == last {
					continue
				}
				last = epochOf(o)
				if last > 12 {
					require.Equal(t, string(orders(last, int(last)%3).Instance), o.Spec.Selector[k8sbind.LabelInstance])
				}
			}
			for _, r := range rigs {
				r.p.Stop()
			}
		})
	}
}

func TestOnlyTheNewestWishIsWrittenWhenTheAPIIsBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		back := r.s.refuse(anything, 0, errRefused)
		for epoch := sentinel.Epoch(13); epoch <= 17; epoch++ {
			r.p.Set(orders(epoch, int(epoch)%3))
			after(3 * time.Second)
		}
		_, _, pending := r.p.State("orders")
		require.Contains(t, pending, "connection refused")
		require.NotEmpty(t, r.failed())
		require.Less(t, len(r.failed()), 120, "retries back off")
		back()
		after(time.Second)
		r.settledAt("17", 2)
		require.Len(t, r.s.writes(), 5)
		require.Len(t, r.flipped(), 1)
		require.Contains(t, r.flipped()[0], "orders 17 redis-master uid-redis-2 3.")
	})
}

func TestACheckTriesAgainAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		back := r.s.refuse(anything, 0, errRefused)
		r.p.Set(orders(13, 1))
		after(20*time.Second + 500*time.Millisecond)
		back()
		r.p.Check("orders")
		after(checkDelay)
		r.settledAt("13", 1)
	})
}

func TestAFlipWhoseAnswerIsLostIsToldOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		lost := false
		r.s.setIntercept(func(q *http.Request, c call) (int, error) {
			if c.write() && isService(c) && !lost {
				lost = true
				r.s.serve(c)
				return 0, errRefused
			}
			return 0, nil
		})
		r.cache.lag = time.Second
		r.p.Set(orders(13, 1))
		after(10 * time.Second)
		r.settledAt("13", 1)
		require.Equal(t, []string{"orders 13 redis-master uid-redis-1 50ms"}, r.flipped())
	})
}

func TestAHangingCallDelaysNoOtherMaster(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.addMaster("carts", "cache", 3)
		r.s.hang(func(c call) bool { return strings.HasPrefix(c.name, "redis") })
		r.p.Set(orders(13, 1))
		synctest.Wait()
		r.p.Set(wish("carts", "cache", 3, 13, 1))
		synctest.Wait() // no time passes
		require.Equal(t, "13 uid-cache-1 master", r.service("cache-master"))
		require.Equal(t, "12 uid-redis-0 master", r.service("redis-master"))
	})
}

func TestANewEpochDoesNotWaitForACallOfTheOldOne(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.hang(func(c call) bool { return c.name == "redis-0" }) // the old master's label
		r.p.Set(orders(13, 1))
		synctest.Wait()
		require.Equal(t, "13 uid-redis-1 master", r.service("redis-master"))
		r.p.Set(orders(14, 2))
		synctest.Wait()
		require.Equal(t, "14 uid-redis-2 master", r.service("redis-master"))
	})
}

func TestLabelsWaitForARefusedFlipButNotForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.editPod("redis-2", func(o *corev1.Pod) { delete(o.Labels, k8sbind.LabelInstance) })
		end := r.s.refuse(isService, http.StatusForbidden, nil)
		r.p.Set(orders(13, 1))
		after(4 * time.Second)
		require.Equal(t, []string{"patch pods redis-1", "patch pods redis-2"}, r.s.writes(), "the new master's role and the missing instance label")
		require.Equal(t, "uid-redis-2 replica yes 12", r.pod("redis-2"))
		after(2 * time.Second)
		require.Equal(t, "uid-redis-0 replica yes 13", r.pod("redis-0"))
		require.Equal(t, 1, r.logged("kubernetes call failed"))
		require.Contains(t, r.failed(), "patch services")
		end()
		after(time.Second)
		r.settledAt("13", 1)
		require.Equal(t, 1, r.logged("kubernetes call works again"))
	})
}

func TestNothingIsWrittenWithoutVerifiedLeadership(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.verify = func() error { return errors.New("no quorum") }
		r.p.Set(orders(13, 1))
		r.p.Event(Event{Object: Object{Kind: "Service", Namespace: "db", Name: "redis-master"}, Reason: "X"})
		after(10 * time.Second)
		require.Zero(t, r.s.asked(anything))
		_, _, pending := r.p.State("orders")
		require.Equal(t, "leadership is not verified", pending)
		r.mu.Lock()
		r.verify = func() error { return nil }
		r.mu.Unlock()
		after(time.Second)
		r.settledAt("13", 1)
	})
}

func TestLeadershipIsVerifiedAgainBeforeARetry(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		after(time.Minute)
		r.cache.lag = time.Minute
		r.s.editService("redis-master", func(o *corev1.Service) { o.Annotations[k8sbind.AnnotationEpoch] = "11" })
		r.verify = func() error {
			if r.verified > 1 {
				return errors.New("deposed")
			}
			return nil
		}
		r.p.Set(orders(13, 1))
		after(10 * time.Second)
		require.Equal(t, "11 uid-redis-0 master", r.service("redis-master"))
	})
}

func TestTheRestIsNotWrittenWhenLeadershipEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.s.after = func(c call) {
			if isService(c) {
				r.resign()
			}
		}
		r.p.Set(orders(13, 1))
		after(time.Minute)
		require.Equal(t, []string{"patch pods redis-1", "patch services redis-master"}, r.s.writes())
	})
}

func TestACallUnderWayEndsWithTheLeadership(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var ended atomic.Bool
		r.s.setIntercept(func(q *http.Request, c call) (int, error) {
			<-q.Context().Done()
			ended.Store(true)
			return 0, q.Context().Err()
		})
		r.p.Set(orders(13, 1))
		synctest.Wait()
		require.False(t, ended.Load())
		r.resign()
		synctest.Wait()
		require.True(t, ended.Load())
		require.Empty(t, r.failed())
	})
}

func TestNothingIsWrittenBeforeItLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newServer())
		r.s.addMaster("orders", "redis", 3)
		r.p.Set(orders(13, 1))
		r.p.Start()
		r.p.Set(orders(14, 2))
		r.p.Check("orders")
		after(time.Minute)
		require.Zero(t, r.s.asked(anything))
		r.begin()
		synctest.Wait()
		r.settledAt("14", 2)
		r.p.Forget("orders")
		r.s.editPod("redis-0", func(o *corev1.Pod) { o.Labels[k8sbind.LabelRole] = "x" })
		after(time.Minute)
		require.Equal(t, "uid-redis-0 x yes 14", r.pod("redis-0"))
		r.p.Stop()
	})
}
