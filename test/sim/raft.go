package sim

import (
	"slices"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// The times of election/config.go.
const (
	raftTick  = 50 * time.Millisecond
	raftLease = 250 * time.Millisecond
)

// raft is a modelled log: one leader per term, commits need a majority, a deposed
// leader does not know for up to the lease, and a proposal under way when the
// leadership goes may be committed all the same.
type raft struct {
	w       *world
	term    uint64
	leader  int // -1 for none
	electAt time.Duration
	contact time.Duration // when the leader last reached a majority
	log     []sentinel.Command
	ref     *sentinel.Registry
	held    []int // by watcher: entries that its store has
	pending []*proposal
	// adopting is set while a new leader commits what its predecessor left.
	adopting bool
}

// proposal is a command that the leader has appended and not committed.
type proposal struct {
	cmd  sentinel.Command
	from *watcher
	inc  int
}

func newRaft(w *world) raft {
	return raft{w: w, leader: -1, ref: sentinel.NewRegistry(), held: make([]int, w.setup.watchers)}
}

func (r *raft) committed() *sentinel.Committed { return r.ref.Masters[name] }

func (r *raft) start() {
	r.electAt = r.w.between(100*time.Millisecond, 400*time.Millisecond)
	r.tick()
}

func (r *raft) tick() {
	switch {
	case r.leader < 0:
		if r.w.now >= r.electAt {
			r.elect(-1)
		}
	case r.reaches(r.leader):
		r.contact = r.w.now
		r.replicate()
	case r.w.now-r.contact >= raftLease:
		r.stepDown(0)
	}
	r.w.after(raftTick, r.tick)
}

// reaches reports whether a watcher runs and talks with a majority, itself included.
func (r *raft) reaches(i int) bool {
	w := r.w
	if !w.watchers[i].running() {
		return false
	}
	n := 0
	for j, other := range w.watchers {
		if other.full || other.learning {
			continue
		}
		if i == j || (other.running() && w.net.both(i, j)) {
			n++
		}
	}
	return n > len(w.watchers)/2
}

// replicate brings everybody in reach up to date, a heartbeat later.
func (r *raft) replicate() {
	for j, wt := range r.w.watchers {
		if !wt.running() || (j != r.leader && !r.w.net.both(r.leader, j)) {
			continue
		}
		wt.leader = r.leader
		if wt.full && j != r.leader {
			continue
		}
		wt.learning = false
		if r.held[j] < len(r.log) || wt.applied < r.held[j] {
			r.held[j] = len(r.log)
			r.w.after(r.w.upTo(50*time.Millisecond), func() { wt.apply(r.held[j]) })
		}
	}
}

// elect makes a watcher leader that has every committed entry and a majority.
func (r *raft) elect(not int) {
	var able []int
	for i := range r.w.watchers {
		if wt := r.w.watchers[i]; i != not && !wt.full && !wt.learning && r.held[i] == len(r.log) && r.reaches(i) {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		r.electAt = r.w.now + r.w.between(150*time.Millisecond, 400*time.Millisecond)
		return
	}
	r.term++
	r.leader = able[r.w.rng.IntN(len(able))]
	r.contact = r.w.now
	r.w.tracef("raft: w%d leads term %d", r.leader, r.term)
	orphans := r.pending
	r.pending = nil
	r.adopting = true
	for _, p := range orphans {
		r.commit(p.cmd)
	}
	r.adopting = false
	wt, term := r.w.watchers[r.leader], r.term
	wt.leader = r.leader
	r.w.after(r.w.between(time.Millisecond, 20*time.Millisecond), func() {
		if r.leader != wt.i || r.term != term || !wt.up {
			return
		}
		wt.deliver(func() {
			wt.apply(len(r.log))
			if r.leader == wt.i && r.term == term {
				wt.led(true, term)
			}
		})
	})
}

// stepDown ends the leadership; the watcher learns it after late.
func (r *raft) stepDown(late time.Duration) {
	wt, term := r.w.watchers[r.leader], r.term
	r.w.tracef("raft: w%d no longer leads term %d", r.leader, r.term)
	r.leader = -1
	r.electAt = r.w.now + r.w.between(200*time.Millisecond, 900*time.Millisecond)
	// The first few of what was under way may have reached the next leader.
	keep := 0
	if len(r.pending) > 0 {
		keep = r.w.rng.IntN(len(r.pending) + 1)
	}
	for _, p := range r.pending {
		r.w.after(late, func() { p.from.proposed(p, sentinel.OutcomeUnknown, "leadership lost while committing") })
	}
	r.pending = r.pending[:keep:keep]
	inc := wt.inc
	r.w.after(late, func() {
		if wt.inc == inc {
			wt.deliver(func() {
				if wt.leads && wt.term == term {
					wt.led(false, term)
				}
			})
		}
	})
}

// transfer moves the leadership to another watcher; the old one believes in its own
// for up to the lease.
func (r *raft) transfer() {
	if r.leader < 0 {
		return
	}
	old := r.leader
	r.stepDown(r.w.upTo(raftLease))
	r.elect(old)
}

// propose takes a command from a watcher that believes it leads.
func (r *raft) propose(wt *watcher, cmd sentinel.Command) {
	bytes, err := cmd.Encode()
	if err == nil {
		cmd, err = sentinel.DecodeCommand(bytes)
	}
	if err != nil {
		r.w.violate("%s cannot be encoded: %v", cmd.Type, err)
		return
	}
	p := &proposal{cmd: cmd, from: wt, inc: wt.inc}
	if r.leader != wt.i || wt.term != r.term {
		result := sentinel.OutcomeNotLeader
		if r.w.chance(0.5) {
			result = sentinel.OutcomeUnknown
		}
		r.w.after(r.w.upTo(raftLease), func() { wt.proposed(p, result, "not the leader") })
		return
	}
	if wt.full {
		r.w.after(0, func() { wt.proposed(p, sentinel.OutcomeUnknown, "the log cannot be written") })
		r.stepDown(0)
		return
	}
	r.pending = append(r.pending, p)
	d := r.w.between(400*time.Microsecond, 3*time.Millisecond)
	if r.w.chance(0.05) {
		d += r.w.upTo(80 * time.Millisecond) // a slow fsync
	}
	r.w.after(d+r.trip(), func() { r.tryCommit(p) })
}

// trip is by how much a commit is later because of faults of the network: the leader
// needs as many others as make a majority, the nearest first.
func (r *raft) trip() time.Duration {
	var trips []time.Duration
	for j, wt := range r.w.watchers {
		if j != r.leader && wt.running() && r.w.net.both(r.leader, j) {
			trips = append(trips, r.w.net.extra(j)+r.w.net.extra(r.leader))
		}
	}
	slices.Sort(trips)
	if n := len(r.w.watchers) / 2; n <= len(trips) {
		return trips[n-1]
	}
	return 0
}

// tryCommit commits everything up to a proposal if a majority is in reach.
func (r *raft) tryCommit(p *proposal) {
	for i, x := range r.pending {
		if x != p {
			continue
		}
		if r.leader != p.from.i {
			return // an orphan: the next leader decides
		}
		if !r.reaches(r.leader) {
			r.w.after(20*time.Millisecond, func() { r.tryCommit(p) })
			return
		}
		done := r.pending[:i+1]
		r.pending = r.pending[i+1:]
		for _, d := range done {
			res := r.commit(d.cmd)
			wt := r.w.watchers[r.leader]
			wt.deliver(func() { wt.apply(len(r.log)) })
			if !res.Accepted {
				r.w.after(time.Millisecond, func() { d.from.proposed(d, sentinel.OutcomeRefused, res.Reason) })
			}
		}
		return
	}
}

// commit appends to the log. Who holds the entry, and all before it, is a majority; they
// learn that it is committed up to 99 ms late.
func (r *raft) commit(cmd sentinel.Command) sentinel.Result {
	w := r.w
	var before sentinel.Committed
	if c := r.committed(); c != nil {
		before = c.Clone()
	}
	res := r.ref.Apply(cmd)
	r.log = append(r.log, cmd)
	n := len(r.log)
	for j, wt := range w.watchers {
		switch {
		case j == r.leader:
			r.held[j] = n
		case wt.running() && !wt.full && !wt.learning && w.net.both(r.leader, j):
			r.held[j] = n
			w.after(w.between(time.Millisecond, 99*time.Millisecond), func() { wt.apply(n) })
		}
	}
	if w.tracing {
		w.tracef("log %d: %s epoch=%s phase=%s accepted=%v %s%s", n, cmd.Type, cmd.Epoch, cmd.Phase, res.Accepted, cmd.Reason, res.Reason)
	}
	w.check.committed(cmd, res, before)
	return res
}
