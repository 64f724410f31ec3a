package sim

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// facts are truths about an instance with the moment since when they have held,
// negative if they do not hold. What the watchers believe is later than that.
type facts struct {
	down, frozen, loading, syncing, empty time.Duration
}

// slack is how old the knowledge behind a Begin may be: the confirm round, the
// time-out of a probe, and the commit.
const slack = 700 * time.Millisecond

// checker holds the invariants of design.md against everything that happens.
type checker struct {
	w *world
	// guaranteed is what must not get lost any more: what the committed master has
	// acknowledged, or what the promoted replica had after a failover. holder is
	// the instance whose acknowledgements extend it.
	guaranteed dataset
	holder     *instance
	served     map[sentinel.Epoch]sentinel.Assignment
	epoch      sentinel.Epoch // the highest used
	// noBegin forbids plans from a time on, and says why.
	noBegin string
	from    time.Duration

	begins, aborts, promotions     int
	beganAt, promotedAt            time.Duration
	held, refused, late            int
	ownWipes, lossyRestarts, alone int
	persons                        int
	disturbed                      time.Duration // when a way was last blocked
	answers                        []sentinel.Answer
	acked                          int
	lastRefusal                    string
	veto                           veto // the last one that counts
}

func newChecker(w *world) checker {
	return checker{w: w, served: map[sentinel.Epoch]sentinel.Assignment{}, beganAt: -1, promotedAt: -1, disturbed: -time.Hour}
}

// check brings an instance's facts up to date.
func (in *instance) check() {
	set := func(t *time.Duration, holds bool) {
		switch {
		case !holds:
			*t = -1
		case *t < 0:
			*t = in.w.now
		}
	}
	if in.facts == (facts{}) {
		in.facts = facts{-1, -1, -1, -1, -1}
	}
	f := &in.facts
	set(&f.down, !in.up)
	set(&f.frozen, in.frozen)
	set(&f.loading, in.up && in.loading)
	set(&f.syncing, in.link != nil && in.link.state == linkSyncing)
	set(&f.empty, in.ds.keys() == 0)
}

func (c *checker) long(t, slack time.Duration) bool { return t >= 0 && c.w.now-t > slack }

// acting: only a leader proposes, writes and speaks for the group.
func (c *checker) acting(wt *watcher, what string) {
	if !wt.leads {
		c.w.violate("%s does not lead, but its core issued %s", wt, what)
	}
}

// issued: no write without a committed plan or assignment of that epoch.
func (c *checker) issued(wt *watcher, d sentinel.Do) {
	ref := c.w.raft.committed()
	if ref == nil || d.Epoch > ref.Last {
		c.w.violate("%s issued %s for epoch %s, which is not committed", wt, d.Op, d.Epoch)
	}
}

// stepped: all watchers tell the same master for an epoch, and never an older one.
func (c *checker) stepped(wt *watcher) {
	s := wt.state()
	if s == nil {
		return
	}
	a := s.Served()
	if a == wt.served {
		return
	}
	if a.Epoch < wt.served.Epoch {
		c.w.violate("%s served epoch %s after %s", wt, a.Epoch, wt.served.Epoch)
	}
	wt.served = a
	if c.w.tracing {
		c.w.tracef("%s serves %s for epoch %s", wt, a.Addr, a.Epoch)
	}
	if told, ok := c.served[a.Epoch]; ok && told != a {
		c.w.violate("for epoch %s %s serves %s, another watcher served %s", a.Epoch, wt, a.Addr, told.Addr)
	}
	c.served[a.Epoch] = a
}

// committed looks at every log entry.
func (c *checker) committed(cmd sentinel.Command, res sentinel.Result, before sentinel.Committed) {
	if !res.Accepted {
		return
	}
	switch cmd.Type {
	case sentinel.CmdBegin:
		c.begun(cmd, before)
	case sentinel.CmdAdvance:
		if cmd.Phase == sentinel.PhasePromoted {
			c.promotions++
			c.promotedAt = c.w.now
		}
	case sentinel.CmdAbort:
		c.aborts++
	case sentinel.CmdAdopt:
		if cmd.At.Epoch != before.Master.Epoch {
			c.useEpoch(cmd.At.Epoch)
		}
		c.holder = c.w.byID(cmd.At.Instance)
		c.guaranteed = c.holder.ds
	case sentinel.CmdLineage:
		c.lineage(cmd, before)
	default:
	}
}

func (c *checker) useEpoch(e sentinel.Epoch) {
	if e <= c.epoch {
		c.w.violate("epoch %s was used after %s", e, c.epoch)
	}
	c.epoch = e
}

// begun: one open plan, a new epoch, and a candidate that may be promoted.
func (c *checker) begun(cmd sentinel.Command, before sentinel.Committed) {
	p := cmd.Plan
	c.begins++
	c.beganAt = c.w.now
	c.useEpoch(p.Epoch)
	if before.Plan != nil {
		c.w.violate("epoch %s was begun while %s is open", p.Epoch, before.Plan.Epoch)
	}
	if c.noBegin != "" && c.w.now >= c.from {
		c.w.violate("epoch %s was begun although %s: %s", p.Epoch, c.noBegin, p.Why)
	}
	in := c.w.byID(p.New.Instance)
	if in == nil || p.New.Instance == before.Master.Instance {
		c.w.violate("epoch %s names %s, which is no replica", p.Epoch, p.New.Instance)
		return
	}
	if in.i == c.w.priority0 {
		c.w.violate("epoch %s names %s, whose priority is 0", p.Epoch, in)
	}
	if !c.w.raft.adopting {
		known := slack
		if p.Why == "asked" {
			known += c.w.config.DownAfter // no confirm round, what was heard last counts
		}
		c.fit(in, p.Epoch, known)
	}
}

// fit: the candidate has not been unfit for so long that the leader must have known.
func (c *checker) fit(in *instance, e sentinel.Epoch, known time.Duration) {
	f := in.facts
	switch {
	case in.foreign && c.w.now-in.bootAt > known:
		c.w.violate("epoch %s names %s, where a stranger lives", e, in)
	case c.long(f.down, known):
		c.w.violate("epoch %s names %s, which is down", e, in)
	case c.long(f.frozen, known):
		c.w.violate("epoch %s names %s, which is frozen", e, in)
	case c.long(f.loading, known):
		c.w.violate("epoch %s names %s, which is loading", e, in)
	case c.long(f.syncing, known):
		c.w.violate("epoch %s names %s, which is in full sync", e, in)
	case c.long(f.empty, known) && c.copyElsewhere(in):
		c.w.violate("epoch %s names %s, which is empty, while another replica has data", e, in)
	}
}

// copyElsewhere reports whether another replica has guaranteed data for all to see.
func (c *checker) copyElsewhere(in *instance) bool {
	if c.w.now-c.disturbed < 3*time.Second || c.w.net.loss > 0 {
		return false
	}
	for _, other := range c.w.insts {
		f := other.facts
		if other != in && other != c.holder && other.up && !other.frozen && !other.loading && other.i != c.w.priority0 &&
			c.w.now-other.bootAt > 3*time.Second && f.empty < 0 && common(c.guaranteed, other.ds) > 0 {
			return true
		}
	}
	return false
}

// lineage: a master that came back is accepted only if nobody has more.
func (c *checker) lineage(cmd sentinel.Command, before sentinel.Committed) {
	m := c.w.master()
	if m == nil || c.w.raft.adopting || m.runID != cmd.Lineage.RunID {
		return
	}
	if m.ds.includes(c.guaranteed) {
		return
	}
	for _, in := range c.w.insts {
		if in != m && in.up && !in.frozen && !in.loading && c.w.now-in.bootAt > 3*time.Second && c.w.now-c.disturbed > 3*time.Second &&
			in.link == nil && common(in.ds, c.guaranteed) > common(m.ds, c.guaranteed) && (before.Knows(in.replid) || in.ds.keys() > 2*m.ds.keys()) {
			c.w.violate("%s is accepted back with %s, while %s has %s", m, m.ds, in, in.ds)
			return
		}
	}
	c.lossyRestarts++
	c.guaranteed, c.holder = m.ds, m
}

// promoting: REPLICAOF NO ONE lands for a committed plan only; in a handover the old
// master is fenced and the candidate has everything.
func (c *checker) promoting(a *action, late bool) {
	in, ref := a.in, c.w.raft.committed()
	p := ref.Plan
	planned := p != nil && p.New.Instance == in.id && p.Phase >= sentinel.PhasePromoting
	if !planned && ref.Master.Instance != in.id {
		if late {
			c.late++
			return
		}
		c.w.violate("%s is promoted by %s for epoch %s: no committed plan says so", in, a.wt, a.do.Epoch)
		return
	}
	if !planned || in.isMaster() || in.loading || p.Phase != sentinel.PhasePromoting {
		return
	}
	if p.Kind == sentinel.KindHandover {
		c.handedOver(in, c.w.byID(p.Old.Instance), p)
	}
	c.holder, c.guaranteed = in, in.ds
}

func (c *checker) handedOver(in, old *instance, p *sentinel.Plan) {
	if old.up && !old.loading && old.isMaster() {
		if old.bootAt < c.beganAt {
			c.w.violate("epoch %s: %s is promoted in a handover while %s is not fenced", p.Epoch, in, old)
		}
		c.alone++ // it was restarted as a master between the fence and the promotion
	}
	if c.holder == old && !in.ds.includes(c.guaranteed) {
		c.w.violate("epoch %s: the handover to %s loses acknowledged writes: %s, but %s were acknowledged", p.Epoch, in, in.ds, c.guaranteed)
	}
}

// unfencing: writes are given back to the committed master only, and never past a
// plan's point of no return.
func (c *checker) unfencing(a *action, late bool) {
	in, ref := a.in, c.w.raft.committed()
	p := ref.Plan
	if ref.Master.Instance == in.id && (p == nil || p.Phase < sentinel.PhasePromoting) {
		return
	}
	if late {
		c.late++
		return
	}
	c.w.violate("%s gets its writes back from %s, but it is not the master of epoch %s", in, a.wt, ref.Last)
}

// replicating: nobody is told to follow anybody but the committed or the planned master.
func (c *checker) replicating(a *action, late bool) {
	ref := c.w.raft.committed()
	p := ref.Plan
	switch {
	case !a.in.isMaster() || late || a.in.bootAt >= a.sent:
	case a.in.lastLate >= 0 && a.sent-a.in.lastLate < heldUp:
		c.late++ // a late order made it master after it was last heard: nobody was told of it
	default:
		c.w.violate("%s is a master and told by %s to follow %s before it was fenced", a.in, a.wt, a.do.To)
	}
	planned := p != nil && p.Phase >= sentinel.PhasePromoting && p.New.Addr == a.do.To
	switch {
	case planned, ref.Master.Addr == a.do.To && (p == nil || p.Phase < sentinel.PhasePromoting):
	case late:
		c.late++
	default:
		c.w.violate("%s is told by %s to follow %s, which is not the master of epoch %s", a.in, a.wt, a.do.To, ref.Last)
	}
}

// wiped: no copy is replaced by one with less because triwatch said so.
func (c *checker) wiped(l *link) {
	old, now := l.dst.ds, l.copied
	// A master that holds as much, because it took up another stranger's data by itself before,
	// tells nothing apart: on hosts an instance is its address.
	if l.dst.foreign && old.keys() > 2*now.keys() {
		c.w.violate("%s, where a stranger lives, is wiped by a full sync from %s", l.dst, l.src)
		return
	}
	emptied := old.keys() > 0 && now.keys() == 0
	if !emptied && common(c.guaranteed, old) <= common(c.guaranteed, now) {
		return
	}
	// What answers at the source is another data set since it started, or since it
	// lost its own by itself.
	if since := max(l.src.bootAt, l.src.ownLoss); l.dst.ordered < since && l.src.lastPromoted < since {
		c.ownWipes++
		l.dst.ownLoss = c.w.now
		c.w.tracef("%s loses %s to %s of %s, on its own", l.dst, old, now, l.src)
		return
	}
	c.w.violate("%s with %s is wiped by a full sync of %s from %s; guaranteed is %s", l.dst, old, now, l.src, c.guaranteed)
}

// acknowledged: a client was told that its write is safe.
func (c *checker) acknowledged(in *instance, _ int32) {
	c.acked++
	if in == c.holder && !in.foreign && in.ds.includes(c.guaranteed) {
		c.guaranteed = in.ds
	}
}

func (c *checker) emitted(wt *watcher, e sentinel.Event) {
	switch e.Name {
	case sentinel.EventHeld:
		c.held++
	case sentinel.EventRefused:
		c.refused++
		c.lastRefusal = string(e.Instance) + ": " + e.Reason
	default:
	}
	if e.Name == "" || e.Master != name {
		c.w.violate("%s emitted a nameless event: %+v", wt, e)
	}
}

func (c *checker) answered(a sentinel.Answer) { c.answers = append(c.answers, a) }
