package raftsim

import (
	"encoding/json"

	"github.com/triwatch/triwatch/sentinel"
)

// checker holds the invariants against everything that happens. It is guarded by the
// world's mu.
type checker struct {
	w *world
	// states are the registries after each command, as the first watcher had them.
	states map[uint64]string
	top    uint64 // the highest index among them
	// truth is the master's state after it, nil before there is one.
	truth   *sentinel.Committed
	epoch   sentinel.Epoch // the highest used
	plans   map[sentinel.Epoch]sentinel.Assignment
	served  map[sentinel.Epoch]sentinel.Assignment
	leaders map[uint64]*node
	refusal string // the last one
	beganAt int64  // of the open plan's old master: its run when it was begun
}

func newChecker(w *world) checker {
	return checker{w: w, states: map[uint64]string{}, plans: map[sentinel.Epoch]sentinel.Assignment{},
		served: map[sentinel.Epoch]sentinel.Assignment{}, leaders: map[uint64]*node{}}
}

// same: the same log makes the same state everywhere. It reports whether nobody had
// applied that entry before.
func (c *checker) same(n *node, index uint64, reg *sentinel.Registry) bool {
	b, err := reg.Marshal()
	if err != nil {
		c.w.violate("marshal registry of %s: %v", n, err)
		return false
	}
	was, known := c.states[index]
	if known && was != string(b) {
		c.w.violate("after entry %d %s has another state than the first:\n%s\n%s", index, n, b, was)
	}
	c.states[index] = string(b)
	return !known
}

// applied looks at every entry on every watcher.
func (c *checker) applied(n *node, index uint64, cmd sentinel.Command, res sentinel.Result, before sentinel.Committed, reg *sentinel.Registry) {
	first := c.same(n, index, reg)
	after := reg.Masters[name]
	if after == nil {
		return
	}
	if after.Last < before.Last || after.Master.Epoch < before.Master.Epoch || after.Master.Epoch > after.Last {
		c.w.violate("epochs of %s went from %s/%s to %s/%s", n, before.Master.Epoch, before.Last, after.Master.Epoch, after.Last)
	}
	if first {
		c.entry(n, index, cmd, res, before, after)
	}
	c.planned(n, after)
}

// entry looks at an entry that nobody had applied before.
func (c *checker) entry(n *node, index uint64, cmd sentinel.Command, res sentinel.Result, before sentinel.Committed, after *sentinel.Committed) {
	c.w.tracef("entry %d (first %s): %s epoch=%s phase=%s accepted=%v %s%s", index, n, cmd.Type, cmd.Epoch, cmd.Phase, res.Accepted, cmd.Reason, res.Reason)
	if index <= c.top {
		c.w.violate("entry %d is applied for the first time after %d", index, c.top)
	}
	clone := after.Clone()
	c.top, c.truth = index, &clone
	c.w.sum.entries++
	if !res.Accepted {
		c.w.sum.refused++
		return
	}
	switch cmd.Type {
	case sentinel.CmdBegin:
		c.w.sum.begins++
		if before.Plan != nil {
			c.w.violate("epoch %s was begun while %s is open", cmd.Plan.Epoch, before.Plan.Epoch)
		}
		c.use(cmd.Plan.Epoch, cmd.Plan.New)
		if old := c.w.at(cmd.Plan.Old.Addr); old != nil {
			c.beganAt = int64(old.run)
		}
	case sentinel.CmdAdopt:
		if cmd.At.Epoch != before.Master.Epoch {
			c.use(cmd.At.Epoch, cmd.At)
		}
	case sentinel.CmdAdvance:
		if cmd.Phase == sentinel.PhasePromoted {
			c.w.sum.promotions++
		}
	case sentinel.CmdAbort:
		c.w.sum.aborts++
	default:
	}
}

func (c *checker) use(e sentinel.Epoch, a sentinel.Assignment) {
	if e <= c.epoch {
		c.w.violate("epoch %s was used after %s", e, c.epoch)
	}
	c.epoch, c.plans[e] = e, a
}

// planned: an epoch names one candidate, on every watcher and for ever.
func (c *checker) planned(n *node, com *sentinel.Committed) {
	if p := com.Plan; p != nil {
		if want := c.plans[p.Epoch]; want.Instance != p.New.Instance || p.New.Epoch != p.Epoch {
			c.w.violate("%s has %s for epoch %s, it was begun for %s", n, p.New.Instance, p.Epoch, want.Instance)
		}
		if p.Epoch != com.Last {
			c.w.violate("%s has epoch %s open, but %s was used", n, p.Epoch, com.Last)
		}
	}
}

// restored: a snapshot is the state after some entry.
func (c *checker) restored(n *node, index uint64, reg *sentinel.Registry) {
	c.w.tracef("%s restores a snapshot of entry %d", n, index)
	c.w.sum.restores++
	if c.same(n, index, reg) && index != 0 {
		c.w.violate("%s restores the state after entry %d, which nobody has applied", n, index)
	}
	if com := reg.Masters[name]; com != nil {
		c.planned(n, com)
	}
}

// led: a term has one leader.
func (c *checker) led(n *node, term uint64) {
	if was := c.leaders[term]; was != nil && was != n {
		c.w.violate("%s and %s lead term %d", was, n, term)
	}
	c.leaders[term] = n
	c.w.sum.elections++
}

// serves: all watchers tell the same master for an epoch, and never an older one.
func (c *checker) serves(p *process, a sentinel.Assignment) {
	if a.Epoch < p.served.Epoch {
		c.w.violate("%s serves epoch %s after %s", p.n, a.Epoch, p.served.Epoch)
	}
	p.served = a
	if told, ok := c.served[a.Epoch]; ok && told != a {
		c.w.violate("for epoch %s %s serves %s, another watcher served %s", a.Epoch, p.n, a.Addr, told.Addr)
	}
	c.served[a.Epoch] = a
}

// issued: no write without a committed plan or assignment of that epoch.
func (c *checker) issued(p *process, d sentinel.Do) {
	c.w.tracef("%s does #%d %s on %s to=%s epoch=%s", p.n, d.ID, d.Op, d.Instance, d.To, d.Epoch)
	if c.truth == nil || d.Epoch > c.truth.Last {
		c.w.violate("%s issued %s for epoch %s, which is not committed", p.n, d.Op, d.Epoch)
	}
}

// promoting: REPLICAOF NO ONE lands for a committed plan or master only; in a
// handover the old master is fenced by then.
func (c *checker) promoting(in *instance, p *process, d sentinel.Do, late bool) {
	plan := c.truth.Plan
	planned := plan != nil && plan.New.Instance == in.id && plan.Phase >= sentinel.PhasePromoting
	switch {
	case late:
		c.w.sum.late++
		return
	case !planned && c.truth.Master.Instance != in.id:
		c.w.violate("%s is promoted by %s for epoch %s: no committed plan says so", in, p.n, d.Epoch)
	case !planned || in.isMaster() || plan.Kind != sentinel.KindHandover || plan.Phase != sentinel.PhasePromoting:
	default:
		if old := c.w.at(plan.Old.Addr); old.up && old.isMaster() && int64(old.run) == c.beganAt {
			c.w.violate("epoch %s: %s is promoted in a handover while %s is not fenced", plan.Epoch, in, old)
		}
	}
}

// unfencing: writes are given back to the committed master only, and never past a
// plan's point of no return.
func (c *checker) unfencing(in *instance, p *process, late bool) {
	plan := c.truth.Plan
	if late {
		c.w.sum.late++
		return
	}
	if c.truth.Master.Instance != in.id || (plan != nil && plan.Phase >= sentinel.PhasePromoting) {
		c.w.violate("%s gets its writes back from %s, but it is not the master of epoch %s", in, p.n, c.truth.Last)
	}
}

// replicating: nobody is told to follow anybody but the committed or planned master.
func (c *checker) replicating(in *instance, p *process, d sentinel.Do, late bool) {
	plan := c.truth.Plan
	planned := plan != nil && plan.Phase >= sentinel.PhasePromoting && plan.New.Addr == d.To
	switch {
	case late:
		c.w.sum.late++
	case !planned && c.truth.Master.Addr != d.To:
		c.w.violate("%s is told by %s to follow %s, which is not the master of epoch %s", in, p.n, d.To, c.truth.Last)
	}
}

// wiped: nobody with data is emptied.
func (c *checker) wiped(in, from *instance) {
	if in.keys > 0 && from.keys == 0 {
		c.w.violate("%s with %s is wiped by a full sync from %s, which is empty", in, in.data(), from)
	}
}

// agreed: what the routers made of the log is what the log says. The loops have ended.
func (c *checker) agreed(all []*process) {
	want, err := json.Marshal(c.truth)
	if err != nil {
		c.w.violate("committed state: %v", err)
		return
	}
	for _, p := range all {
		got, err := json.Marshal(p.router.State(name).Committed())
		if err != nil || string(got) != string(want) {
			c.w.violate("the router of %s has another committed state: %s, not %s (%v)", p.n, got, want, err)
		}
	}
}
