package runner

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// asking is one question before a failover.
var asking = sentinel.AskHook{ID: 7, Master: "orders", Epoch: 1, Timeout: 500 * time.Millisecond}

// asks has the runner ask as the core would.
func (r *rig) asks() { r.mail.put(func() { r.carryOut(asking) }) }

func TestQuestionBeforeAFailoverEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		began := time.Now()
		ended := make(chan time.Duration, 1)
		r.opt.Before = func(ctx context.Context, q sentinel.AskHook) sentinel.HookAnswered {
			if q != asking {
				t.Errorf("asked %+v", q)
			}
			<-ctx.Done()
			ended <- time.Since(began)
			return sentinel.HookAnswered{Failure: ctx.Err().Error()}
		}
		r.asks()
		if took := <-ended; took != asking.Timeout {
			t.Fatalf("asked for %v, want %v", took, asking.Timeout)
		}
	})
}

func TestQuestionBeforeAFailoverEndsWithTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		began, asked := time.Now(), false
		r.opt.Before = func(ctx context.Context, _ sentinel.AskHook) sentinel.HookAnswered {
			<-ctx.Done()
			asked = true
			return sentinel.HookAnswered{Veto: true}
		}
		r.asks()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !asked || time.Since(began) > 0 {
			t.Fatalf("asked=%v, over after %v: want it to end with the leadership", asked, time.Since(began))
		}
	})
}

func TestNobodyIsAskedWithoutALeadershipOrMoreThanAFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		var now, most, all int
		r.opt.Before = func(ctx context.Context, _ sentinel.AskHook) sentinel.HookAnswered {
			r.mu.Lock()
			now, all = now+1, all+1
			most = max(most, now)
			r.mu.Unlock()
			<-ctx.Done()
			r.mu.Lock()
			now--
			r.mu.Unlock()
			return sentinel.HookAnswered{}
		}
		r.asks()
		synctest.Wait()
		if all > 0 {
			t.Fatal("asked without leading")
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		for range 3 * maxAsked {
			r.asks()
		}
		time.Sleep(2 * asking.Timeout)
		r.mu.Lock()
		defer r.mu.Unlock()
		if most != maxAsked || now != 0 {
			t.Fatalf("%d asked at once, %d still are; want at most %d and none", most, now, maxAsked)
		}
	})
}
