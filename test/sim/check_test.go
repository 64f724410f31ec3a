package sim

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// calm is a world in which all is well and a few writes were acknowledged.
func calm(t *testing.T) *world {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	cfg := sentinel.DefaultConfig()
	cfg.DownAfter, cfg.FailoverTimeout = time.Second, 10*time.Second
	w := newWorld(1, setup{watchers: 3, instances: 3, config: cfg, boot: bootStatic, persist: persistNone,
		writeEvery: 40 * time.Millisecond, syncTime: 100 * time.Millisecond, priority0: -1, preferred: -1}, rng, false)
	if !w.until(20*time.Second, 50*time.Millisecond, w.settled) {
		t.Fatalf("not well: %s%s", w.unsettled(), w.bad)
	}
	w.run(3 * time.Second)
	if w.bad != "" || w.check.acked == 0 {
		t.Fatalf("bad=%q, %d writes acknowledged", w.bad, w.check.acked)
	}
	return w
}

// plan opens a plan from the committed master to another instance, as a leader would.
func (w *world) plan(kind sentinel.Kind, to *instance) *sentinel.Plan {
	c := w.raft.committed()
	p := &sentinel.Plan{Epoch: c.Last + 1, Kind: kind, Old: c.Master, New: sentinel.Assignment{Epoch: c.Last + 1, Instance: to.id, Addr: to.addr}}
	w.raft.commit(sentinel.Command{Type: sentinel.CmdBegin, Master: name, Epoch: p.Epoch, Plan: p})
	return p
}

func order(w *world, op sentinel.Op, in *instance, to sentinel.Addr) *action {
	return &action{wt: w.watchers[0], inc: w.watchers[0].inc, in: in, sent: w.now, do: sentinel.Do{Op: op, Instance: in.id, Addr: in.addr, To: to}}
}

// TestCheckersNotice breaks each invariant by hand: a checker that does not notice
// would make every schedule pass.
func TestCheckersNotice(t *testing.T) {
	follower := func(w *world) *watcher {
		for _, wt := range w.watchers {
			if !wt.leads {
				return wt
			}
		}
		return nil
	}
	long := func(w *world) { w.now += 5 * time.Second }
	for what, c := range map[string]struct {
		do   func(w *world)
		says string
	}{
		"a follower proposes": {func(w *world) {
			follower(w).act(sentinel.Propose{Command: sentinel.Command{Type: sentinel.CmdNote, Master: name}})
		}, "does not lead, but its core issued Propose"},
		"a follower writes": {func(w *world) {
			follower(w).act(sentinel.Do{Op: sentinel.OpFence, Instance: w.insts[0].id, Addr: w.insts[0].addr})
		}, "does not lead, but its core issued Do"},
		"a write of an epoch that is not committed": {func(w *world) {
			w.watchers[w.raft.leader].act(sentinel.Do{Op: sentinel.OpFence, Instance: w.insts[0].id, Addr: w.insts[0].addr, Epoch: 7})
		}, "which is not committed"},
		"an epoch is used twice": {func(w *world) {
			w.plan(sentinel.KindFailover, w.insts[1])
			w.check.begun(sentinel.Command{Plan: w.raft.committed().Plan}, sentinel.Committed{})
		}, "was used after"},
		"a plan is begun while one is open": {func(w *world) {
			w.plan(sentinel.KindFailover, w.insts[1])
			c := w.raft.committed()
			next := *c.Plan
			next.Epoch++
			w.check.begun(sentinel.Command{Plan: &next}, *c)
		}, "is open"},
		"a plan is begun where none must be": {func(w *world) {
			w.check.noBegin = "nothing happened"
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "although nothing happened"},
		"two watchers serve two masters for an epoch": {func(w *world) {
			w.watchers[0].step(sentinel.Pushed{Master: name, Assignment: sentinel.Assignment{Epoch: 9, Instance: w.insts[1].id, Addr: w.insts[1].addr}})
			w.watchers[1].step(sentinel.Pushed{Master: name, Assignment: sentinel.Assignment{Epoch: 9, Instance: w.insts[2].id, Addr: w.insts[2].addr}})
		}, "another watcher served"},
		"a dead replica is chosen": {func(w *world) {
			w.insts[1].kill(false, false)
			long(w)
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "which is down"},
		"a frozen replica is chosen": {func(w *world) {
			w.insts[1].freeze()
			long(w)
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "which is frozen"},
		"a loading replica is chosen": {func(w *world) {
			w.insts[1].loading = true
			w.insts[1].check()
			long(w)
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "which is loading"},
		"a replica in full sync is chosen": {func(w *world) {
			w.insts[1].link.state = linkSyncing
			w.insts[1].check()
			long(w)
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "which is in full sync"},
		"an empty replica is chosen": {func(w *world) {
			w.insts[1].ds = dataset{w.newBranch(dataset{}, 0), 0}
			w.insts[1].check()
			long(w)
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "which is empty"},
		"priority 0 is chosen": {func(w *world) {
			w.priority0 = 1
			w.plan(sentinel.KindFailover, w.insts[1])
		}, "whose priority is 0"},
		"a replica is promoted without a plan": {func(w *world) {
			order(w, sentinel.OpPromote, w.insts[1], sentinel.Addr{}).land(false)
		}, "no committed plan says so"},
		"a handover promotes while the old master takes writes": {func(w *world) {
			w.insts[0].bootAt = -1
			w.plan(sentinel.KindHandover, w.insts[1])
			w.raft.committed().Plan.Phase = sentinel.PhasePromoting
			order(w, sentinel.OpPromote, w.insts[1], sentinel.Addr{}).land(false)
		}, "is not fenced"},
		"a handover loses a write": {func(w *world) {
			w.plan(sentinel.KindHandover, w.insts[1])
			w.raft.committed().Plan.Phase = sentinel.PhasePromoting
			w.insts[1].unlink()
			w.insts[0].clientWrite(w.writes, w.now)
			w.insts[0].replicaOf(sentinel.FenceAddr, w.now)
			order(w, sentinel.OpPromote, w.insts[1], sentinel.Addr{}).land(false)
		}, "loses acknowledged writes"},
		"writes are given back to a replica": {func(w *world) {
			order(w, sentinel.OpUnfence, w.insts[1], sentinel.Addr{}).land(false)
		}, "is not the master of epoch"},
		"somebody is told to follow a replica": {func(w *world) {
			order(w, sentinel.OpReplicate, w.insts[1], w.insts[2].addr).land(false)
		}, "which is not the master of epoch"},
		"a master is told to follow": {func(w *world) {
			w.insts[1].noOne()
			w.insts[1].bootAt = -1
			order(w, sentinel.OpReplicate, w.insts[1], w.insts[0].addr).land(false)
		}, "before it was fenced"},
		"a copy is wiped by an order": {func(w *world) {
			for _, wt := range w.watchers {
				wt.kill() // or they save it
			}
			in := w.insts[0]
			in.kill(false, false)
			in.start(bootData{empty: true})
			w.now += time.Millisecond
			w.insts[1].unlink()
			w.insts[1].master = sentinel.FenceAddr
			w.insts[1].replicaOf(in.addr, w.now)
			w.run(time.Second)
		}, "is wiped by a full sync"},
		"a deadline that never moves": {func(w *world) {
			wt := w.watchers[0]
			for range 30 {
				wt.spins++
			}
			wt.spinAt = w.now
			w.now = max(w.now, wt.router.Deadline()-wt.offset)
			wt.spinAt = w.now
			wt.tick()
		}, "spins"},
		"the final master lacks what was guaranteed": {func(w *world) {
			w.insts[0].ds = dataset{w.newBranch(dataset{}, 0), 0}
			w.kept()
		}, "was guaranteed"},
		"a watcher has another state": {func(w *world) {
			w.raft.committed().Lineage.Offset++
			w.agreed()
		}, "another committed state"},
		"it does not become well": {func(w *world) {
			w.raft.ref.Masters[name].Adopted = false
			w.finish(time.Second)
		}, "after all faults"},
		"it flaps": {func(w *world) {
			w.check.begins = 50
			w.finish(10 * time.Second)
		}, "it flaps"},
		"a master that has less is accepted back": {func(w *world) {
			m := w.insts[0]
			w.insts[1].unlink()
			w.insts[1].master = sentinel.FenceAddr
			m.ds = dataset{w.newBranch(dataset{}, 0), 0}
			long(w)
			w.check.lineage(sentinel.Command{Lineage: sentinel.Lineage{RunID: m.runID}}, *w.raft.committed())
		}, "is accepted back"},
	} {
		t.Run(strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
			w := calm(t)
			c.do(w)
			if !strings.Contains(w.bad, c.says) {
				t.Errorf("said %q, not %q", w.bad, c.says)
			}
		})
	}
}

func TestDatasetsCompareByAncestors(t *testing.T) {
	root := &branch{id: 1}
	a := dataset{root, 0}
	a.add(10, 0)
	a.add(14, -1)
	early := a
	a.add(10, 1)
	fork := dataset{&branch{id: 2, parent: early.b, parentPos: early.pos, start: early.offset()}, 0}
	fork.add(10, 2)
	other := dataset{&branch{id: 3}, 0}
	other.add(10, 3)
	for _, c := range []struct {
		what       string
		got, wants int64
	}{
		{"keys", a.keys(), 2}, {"keys of the fork", fork.keys(), 2}, {"shared with the fork", common(a, fork), 1},
		{"shared with another", common(a, other), 0}, {"offset", fork.offset(), 34}, {"shared with itself", common(a, a), 2},
	} {
		if c.got != c.wants {
			t.Errorf("%s: %d, not %d", c.what, c.got, c.wants)
		}
	}
	if !a.includes(early) || early.includes(a) || !prefix(early, fork) || prefix(a, fork) {
		t.Error("ancestors are not told from descendants")
	}
}
