package raftsim

import (
	"fmt"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// The bounds of a run.
const (
	adoptedWithin = 10 * time.Second
	settledWithin = 20 * time.Second
	staysFor      = 3 * time.Second
)

// play runs the schedule of one seed. It must be called in a bubble.
func play(o setup) *world {
	w := newWorld(o)
	w.begin()
	w.await(adoptedWithin, "adopted")
	w.break_()
	w.heal()
	w.await(settledWithin, "settled")
	w.remains()
	var all []*process
	w.locked(func() {
		for _, n := range w.nodes {
			if n.proc != nil {
				all = append(all, n.proc)
			}
		}
		w.sum.span += w.now()
	})
	w.end()
	w.locked(func() {
		if w.bad == "" {
			w.check.agreed(all)
		}
	})
	return w
}

// await lets time pass until all is well.
func (w *world) await(limit time.Duration, what string) {
	for end := w.now() + limit; !w.failed(); {
		time.Sleep(100 * time.Millisecond)
		why := ""
		w.locked(func() {
			if why = w.unsettled(); why != "" && w.now() >= end {
				w.violate("not %s after %v: %s; last refusal: %s", what, limit, why, w.check.refusal)
			}
		})
		if why == "" {
			return
		}
	}
}

// remains: well is well, nothing happens any more.
func (w *world) remains() {
	if w.failed() {
		return
	}
	var begins int
	w.locked(func() { begins = w.sum.begins })
	time.Sleep(staysFor)
	w.locked(func() {
		if w.sum.begins != begins {
			w.violate("another plan was begun while all was well")
		}
		if why := w.unsettled(); why != "" {
			w.violate("it does not stay well: %s", why)
		}
	})
}

// break_ lets things go wrong for a while.
func (w *world) break_() {
	end := w.now() + w.schedule.between(10*time.Second, 20*time.Second)
	for !w.failed() {
		time.Sleep(w.schedule.between(50*time.Millisecond, 2500*time.Millisecond))
		if w.now() >= end {
			return
		}
		w.fault()
	}
}

// fault makes one thing go wrong, or two within 20 ms, and plans their end.
func (w *world) fault() {
	back := w.schedule.between(200*time.Millisecond, 4*time.Second)
	empty, whom, other := w.schedule.chance(0.15), w.schedule.below(100), w.schedule.chance(0.3)
	kind := w.schedule.below(12)
	if w.stalls && w.schedule.chance(0.25) {
		kind = 12
	}
	soon := w.schedule.upTo(20 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum.faults++
	n := w.nodes[whom%len(w.nodes)]
	if l := w.leader(); l != nil && !other {
		n = l.n
	}
	in := w.insts[whom%len(w.insts)]
	if m := w.master(); m != nil && !other {
		in = m
	}
	switch kind {
	case 0, 1:
		w.isolate(n, whom%3, empty, back)
	case 2:
		w.tasks.Go(func() {
			n.kill()
			w.wait(back)
			n.boot()
		})
	case 3, 4:
		in.kill()
		w.revive(in, empty, back)
	case 5:
		w.freeze(in, back)
	case 6:
		w.request(sentinel.RequestKind(1+whom%3), uint64(w.sum.faults))
	case 7:
		w.transfer()
	case 8: // the leader dies in the middle of a plan
		in.kill()
		w.revive(in, false, back)
		w.tasks.Go(func() {
			w.wait(soon)
			n.kill()
			w.wait(back)
			n.boot()
		})
	case 9, 10: // or is cut off
		w.request(sentinel.RequestHandover, uint64(w.sum.faults))
		w.later(soon, func() { w.locked(func() { w.isolate(n, whom%3, empty, back) }) })
	case 12: // the disks stall in the middle of a handover
		w.request(sentinel.RequestHandover, uint64(w.sum.faults))
		w.later(soon, func() {
			w.locked(func() {
				w.tracef("no entry is written for %v", back)
				w.stall = w.now() + back
			})
		})
	case 11: // another instance dies with the master, maybe the candidate
		in.kill()
		w.revive(in, empty, back)
		also := w.insts[(in.i+1+whom%2)%len(w.insts)]
		w.later(soon, func() { w.locked(also.kill) })
		w.revive(also, false, back+soon)
	}
}

// wait lets time pass; the end of the world cuts it short.
func (w *world) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.over:
	}
}

// isolate cuts a node off from the others, both ways (0, 1) or outwards only, and maybe
// from Redis. The caller holds mu.
func (w *world) isolate(n *node, way int, deaf bool, back time.Duration) {
	w.tracef("%s is cut off, way %d, deaf=%v", n, way, deaf)
	set := func(v bool) {
		for j := range w.nodes {
			w.cut[n.i][j] = v && j != n.i
			w.cut[j][n.i] = v && j != n.i && way < 2
		}
		w.deaf[n.i] = v && deaf
	}
	set(true)
	w.later(back, func() {
		w.locked(func() {
			w.tracef("%s is back", n)
			set(false)
		})
	})
}

// revive starts an instance again. The caller holds mu.
func (w *world) revive(in *instance, empty bool, back time.Duration) {
	w.later(back, func() {
		w.locked(func() {
			if !in.up {
				in.start(empty)
			}
		})
	})
}

// freeze stops a process for a while. The caller holds mu.
func (w *world) freeze(in *instance, back time.Duration) {
	if !in.up || in.frozen {
		return
	}
	w.tracef("%s freezes", in)
	in.frozen = true
	run := in.run
	w.later(back, func() {
		w.locked(func() {
			if in.run == run {
				in.thaw()
			}
		})
	})
}

// request asks the leader for a plan. The caller holds mu.
func (w *world) request(kind sentinel.RequestKind, id uint64) {
	if l := w.leader(); l != nil {
		w.tracef("asked: %d of %s", kind, l.n)
		l.box.post(func() { l.step(sentinel.Request{ID: id, Master: name, Kind: kind}) })
	}
}

// transfer moves the leadership. The caller holds mu.
func (w *world) transfer() {
	l := w.leader()
	if l == nil {
		return
	}
	w.tracef("%s is told to hand the leadership over", l.n)
	f := l.raft.LeadershipTransfer()
	l.futures.Go(func() {
		if err := f.Error(); err != nil {
			w.locked(func() { w.tracef("leadership not handed over: %v", err) })
		}
	})
}

// heal ends every fault that has not ended by itself.
func (w *world) heal() {
	w.locked(func() {
		w.tracef("all faults end")
		for i := range w.cut {
			clear(w.cut[i])
		}
		clear(w.deaf)
		for _, in := range w.insts {
			in.thaw()
			if !in.up {
				in.start(false)
			}
		}
	})
	for _, n := range w.nodes {
		n.boot()
	}
	time.Sleep(4 * time.Second) // the last task that was planned is over by then
}

// unsettled says what is not as it should be when nothing is wrong, "" if all is. The
// caller holds mu.
func (w *world) unsettled() string {
	c, m, l := w.check.truth, w.master(), w.leader()
	switch {
	case c == nil || m == nil:
		return "the master is not watched"
	case !c.Adopted:
		return "no master is adopted"
	case c.Plan != nil:
		return fmt.Sprintf("the plan of epoch %s is open (%s)", c.Plan.Epoch, c.Plan.Phase)
	case l == nil:
		return "nobody leads, or more than one"
	case !m.up || !m.isMaster():
		return fmt.Sprintf("%s is the master of epoch %s and follows %s (up=%v)", m, c.Master.Epoch, m.master, m.up)
	case c.Lineage.RunID != m.runID:
		return fmt.Sprintf("the run of %s is not recorded", m)
	}
	for _, in := range w.insts {
		if in != m && (in.master != m.addr || !in.link) {
			return fmt.Sprintf("%s follows %s, link=%v", in, in.master, in.link)
		}
	}
	for _, n := range w.nodes {
		switch p := n.proc; {
		case p == nil:
			return fmt.Sprintf("%s does not run", n)
		case p.done != w.check.top || p.served != c.Master:
			return fmt.Sprintf("%s has taken up entry %d of %d and serves epoch %s", n, p.done, w.check.top, p.served.Epoch)
		}
	}
	return ""
}

// totals counts what runs came to.
type totals struct {
	faults, entries, refused, begins, aborts, promotions         int
	elections, snapshots, restores, unknown, late, runs, failure int
	span                                                         time.Duration
}

func (t *totals) add(o totals) {
	t.faults += o.faults
	t.entries += o.entries
	t.refused += o.refused
	t.begins += o.begins
	t.aborts += o.aborts
	t.promotions += o.promotions
	t.elections += o.elections
	t.snapshots += o.snapshots
	t.restores += o.restores
	t.unknown += o.unknown
	t.late += o.late
	t.span += o.span
	t.runs++
}

func (t *totals) String() string {
	return fmt.Sprintf("%d runs of %v on average, %d failed; %d faults, %d elections, %d entries (%d refused), %d plans, %d aborted, %d promoted; %d snapshots, %d restored; %d proposals unknown, %d orders late",
		t.runs, (t.span / time.Duration(max(1, t.runs))).Round(100*time.Millisecond), t.failure, t.faults, t.elections, t.entries, t.refused, t.begins, t.aborts, t.promotions,
		t.snapshots, t.restores, t.unknown, t.late)
}
