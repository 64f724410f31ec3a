package runner

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

var three = sentinel.Addr{Host: "10.0.0.3", Port: 6379}

// beside are the writes that are no step of a plan, and why.
var beside = map[sentinel.Op]string{sentinel.OpSetPing: "a setting of every instance, plan or not",
	sentinel.OpFindLimits: "reads only", sentinel.OpSetLimits: "a setting of the master, while no plan is open"}

func TestEveryWriteHasItsPoints(t *testing.T) {
	var names []string
	for _, p := range Points() {
		if slices.Contains(names, p.Name) || p.Description == "" {
			t.Errorf("point %q (%q) is there twice or not described", p.Name, p.Description)
		}
		names = append(names, p.Name)
	}
	last := sentinel.OpUnknown
	for op := sentinel.OpUnknown + 1; op.String() != ""; op++ {
		last = op
		step := writeStep(op)
		if beside[op] != "" {
			if step != "" {
				t.Errorf("%s has a point, and a reason to have none: %s", op, beside[op])
			}
			continue
		}
		if step == "" || !slices.Contains(names, beforeWrite+step) || !slices.Contains(names, afterWrite+step) {
			t.Errorf("the write %s has no points", op)
		}
	}
	if last < sentinel.OpSetLimits {
		t.Errorf("only the writes up to %s were looked at", last)
	}
	for _, c := range []sentinel.Command{{Type: sentinel.CmdBegin}, {Type: sentinel.CmdAdvance, Phase: sentinel.PhasePromoting},
		{Type: sentinel.CmdAdvance, Phase: sentinel.PhasePromoted}, {Type: sentinel.CmdDone}, {Type: sentinel.CmdAbort}} {
		if step := proposalStep(c); !slices.Contains(names, beforePropose+step) || !slices.Contains(names, afterCommit+step) {
			t.Errorf("the proposal %s %s has no points", c.Type, c.Phase)
		}
	}
	if !slices.Contains(names, AfterElection) || !slices.Contains(names, AfterPromotion) {
		t.Errorf("Sentinel's points are not among %q", names)
	}
}

// instances are three Redises that do as they are told.
type instances struct {
	mu    sync.Mutex
	info  map[sentinel.Addr]sentinel.Info
	stuck bool // no replica catches up
}

func newInstances() *instances {
	w := &instances{info: map[sentinel.Addr]sentinel.Info{}}
	for _, a := range []sentinel.Addr{one, two, three} {
		w.info[a] = sentinel.Info{RunID: "run" + a.Host, ReplID: "id", Role: sentinel.RoleReplica, Master: one, LinkUp: true, Offset: 100, Keys: 3, Priority: 100, ReadOnly: true, Full: true}
	}
	i := w.info[one]
	i.Role, i.Master, i.LinkUp = sentinel.RoleMaster, sentinel.Addr{}, false
	i.Replicas = []sentinel.Attached{{Addr: two, Online: true, Offset: 100}, {Addr: three, Online: true, Offset: 100}}
	w.info[one] = i
	return w
}

func (w *instances) do(_ context.Context, d sentinel.Do) sentinel.Done {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.info[d.Addr]
	switch d.Op {
	case sentinel.OpPromote, sentinel.OpUnfence:
		i.Role, i.Master, i.LinkUp = sentinel.RoleMaster, sentinel.Addr{}, false
	case sentinel.OpFence:
		i.Role, i.Master, i.LinkUp = sentinel.RoleReplica, sentinel.FenceAddr, false
	case sentinel.OpReplicate:
		i.Role, i.Master, i.LinkUp = sentinel.RoleReplica, d.To, true
	case sentinel.OpAwait:
		if w.stuck {
			return sentinel.Done{Result: sentinel.OutcomeFailed, Detail: "made to be behind"}
		}
	case sentinel.OpSetPing, sentinel.OpPauseWrites, sentinel.OpUnpause, sentinel.OpKillClients, sentinel.OpFindLimits, sentinel.OpSetLimits, sentinel.OpUnknown:
	}
	w.info[d.Addr] = i
	return sentinel.Done{Result: sentinel.OutcomeOK, Info: &i}
}

// probe tells the runner what everybody says, for a while.
func (w *instances) probe(r *rig, span time.Duration) {
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		for a, i := range w.info {
			r.Input(sentinel.Probe{Master: "orders", Instance: sentinel.InstanceID(a.String()), Addr: a, Reply: sentinel.ReplyOK, Asked: r.opt.Clock(), Info: &i})
		}
		w.mu.Unlock()
	}
}

// passed are the points that a handover comes by, in their order.
func passed(t *testing.T, stuck bool) (points []string, outcome sentinel.Answer) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, w := newRig(t), newInstances()
		defer r.Stop()
		r.doing, w.stuck = w.do, stuck
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.Member(sentinel.Membership{Me: "a", Voters: []sentinel.WatcherID{"a"}})
		c := monitor()
		c.Config.PauseWrites, c.Config.Quorum = true, 1
		r.Input(sentinel.Wanted{Monitors: []sentinel.Command{c}})
		r.Lead(ctx, 1)
		w.probe(r, time.Second)
		var mu sync.Mutex
		r.SetFault(func(point, master string) {
			mu.Lock()
			defer mu.Unlock()
			if master != "orders" {
				t.Errorf("%s of %q", point, master)
			}
			points = append(points, point)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			var err error
			if outcome, err = r.Request(ctx, sentinel.Request{Master: "orders", Kind: sentinel.RequestHandover}); err != nil {
				t.Error(err)
			}
		}()
		w.probe(r, 3*time.Second)
		<-done
		r.SetFault(nil)
		w.probe(r, time.Second)
	})
	return points, outcome
}

func TestHandoverComesByItsPointsInOrder(t *testing.T) {
	got, outcome := passed(t, false)
	want := []string{"before-propose-begin", "after-commit-begin", "before-pause-writes", "after-pause-writes", "before-fence", "after-fence",
		"before-await", "after-await", "before-propose-promoting", "after-commit-promoting", "before-promote", "after-promote",
		"before-propose-promoted", "after-commit-promoted", "before-unpause", "after-unpause", "before-kill-clients", "after-kill-clients",
		"before-propose-done", "after-commit-done"}
	if outcome.Result != sentinel.OutcomeOK {
		t.Fatalf("the handover ended with %+v", outcome)
	}
	at := -1
	for _, p := range want {
		i := slices.Index(got, p)
		if i < 0 {
			t.Errorf("it did not come by %s", p)
		}
		// Who follows the new master, and the old one's clients, are seen to side by side.
		if i < at && !strings.HasSuffix(p, "-unpause") && !strings.HasSuffix(p, "-kill-clients") {
			t.Errorf("%s came too early", p)
		}
		at = max(at, i)
	}
	for _, p := range []string{"before-replicate", "after-replicate"} {
		if !slices.Contains(got, p) {
			t.Errorf("it did not come by %s", p)
		}
	}
	if t.Failed() {
		t.Logf("it came by %q", got)
	}
}

func TestHandoverThatIsUndoneComesByItsPoints(t *testing.T) {
	got, outcome := passed(t, true)
	if outcome.Result != sentinel.OutcomeRefused {
		t.Fatalf("the handover ended with %+v", outcome)
	}
	for _, p := range []string{"before-propose-abort", "after-commit-abort", "before-unfence", "after-unfence", "before-unpause", "after-unpause"} {
		if !slices.Contains(got, p) {
			t.Errorf("it did not come by %s, but by %q", p, got)
		}
	}
	// What did not succeed was not done.
	for _, p := range []string{"after-await", "before-promote", "before-propose-promoting"} {
		if slices.Contains(got, p) {
			t.Errorf("it came by %s", p)
		}
	}
}

func TestWriteThatIsHeldAtItsPointIsNotSentByADeposedLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newRig(t), newInstances()
		defer r.Stop()
		r.doing = func(ctx context.Context, d sentinel.Do) sentinel.Done {
			if ctx.Err() != nil { // as redisio does
				return sentinel.Done{Result: sentinel.OutcomeFailed, Detail: "not sent"}
			}
			return w.do(ctx, d)
		}
		ctx, cancel := context.WithCancel(context.Background())
		r.lead(ctx)
		w.probe(r, time.Second)
		reached, goOn := make(chan struct{}), make(chan struct{})
		r.SetFault(func(point, _ string) {
			if point == "before-fence" {
				close(reached)
				<-goOn
			}
		})
		go r.Request(ctx, sentinel.Request{Master: "orders", Kind: sentinel.RequestHandover}) //nolint:errcheck // it does not end well
		w.probe(r, 500*time.Millisecond)
		<-reached
		cancel()
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if i := w.info[one]; i.Fenced() {
			t.Fatalf("a deposed leader fenced the master: %+v", i)
		}
	})
}

func TestFollowerComesByNoPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		r.SetFault(func(point, _ string) { t.Errorf("a follower came by %s", point) })
		r.Applied(1, monitor())
		r.Applied(2, sentinel.Command{Type: sentinel.CmdBegin, Master: "orders", Epoch: 1, Plan: &sentinel.Plan{Epoch: 1, Kind: sentinel.KindHandover}})
		synctest.Wait()
	})
}
