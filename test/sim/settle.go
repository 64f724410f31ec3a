package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// unsettled says what is not yet as it should be when all faults are over, "" if
// nothing is.
func (w *world) unsettled() string {
	c := w.raft.committed()
	switch {
	case c == nil:
		return "the master is not watched"
	case !c.Adopted:
		return "no master is adopted"
	case c.Plan != nil:
		return fmt.Sprintf("the plan of epoch %s is open (%s)", c.Plan.Epoch, c.Plan.Phase)
	case w.raft.leader < 0:
		return "nobody leads"
	}
	m := w.byID(c.Master.Instance)
	if !m.writable() {
		return fmt.Sprintf("%s is the master and cannot be written to (up=%v follows=%s) %s", m, m.up, m.master, m.unwritten())
	}
	if c.Lineage.RunID != m.runID {
		return fmt.Sprintf("the run of %s is not recorded", m)
	}
	for _, in := range w.insts {
		switch {
		case in == m:
		case in.isMaster():
			return fmt.Sprintf("%s is a second master", in)
		case in.master != m.addr:
			return fmt.Sprintf("%s follows %s", in, in.master)
		case in.link == nil || in.link.state != linkUp:
			return fmt.Sprintf("the link of %s is not up", in)
		case c.Member(in.id) == nil:
			return fmt.Sprintf("%s is not a member", in)
		}
	}
	if why := w.unfenced(c); w.fence && why != "" {
		return why
	}
	for _, wt := range w.watchers {
		if !wt.running() || wt.applied != len(w.raft.log) || wt.state().Served() != c.Master {
			return fmt.Sprintf("%s has not heard of epoch %s", wt, c.Master.Epoch)
		}
	}
	return ""
}

// heard reports whether every watcher has applied the whole log.
func (w *world) heard() bool {
	return !slices.ContainsFunc(w.watchers, func(wt *watcher) bool { return wt.running() && wt.applied != len(w.raft.log) })
}

func (w *world) settled() bool { return w.unsettled() == "" }

// heal ends every fault.
func (w *world) heal() {
	w.tracef("all faults end")
	for i := range w.net.blocked {
		w.net.blocked[i] = 0
	}
	w.healing = true
	w.net.loss, w.net.slow, w.lateWrites = 0, 0, 0
	w.healed()
	for _, in := range w.insts {
		in.thaw()
		if !in.up {
			in.start(bootData{})
		}
	}
	for _, wt := range w.watchers {
		wt.resume()
		if !wt.up {
			wt.boot()
		}
	}
	w.check.noBegin = ""
}

// finish is the liveness part: all is well within a bound, and stays so.
func (w *world) finish(limit time.Duration) {
	if w.bad != "" {
		return
	}
	w.heal()
	w.run(time.Second) // what is under way or was asked for shows itself
	if !w.until(limit, 100*time.Millisecond, w.settled) {
		if w.bad == "" && w.person() {
			return
		}
		w.violate("%v after all faults: %s; last refusal: %s", limit, w.unsettled(), w.check.lastRefusal)
		return
	}
	if c := &w.check; c.begins > 3+2*w.faults {
		w.violate("%d plans for %d faults and requests: it flaps", c.begins, w.faults)
	}
	plans := w.check.begins
	w.run(4 * w.config.DownAfter)
	for range 20 { // what the master has by now is recorded all the time
		if w.heard() {
			break
		}
		w.run(50 * time.Millisecond)
	}
	if w.check.begins != plans {
		w.violate("another plan was begun while all was well")
	}
	if why := w.unsettled(); why != "" {
		w.violate("it does not stay well: %s", why)
	}
	w.kept()
	w.agreed()
	w.seenAgain()
}

// person reports whether a person has to decide, and rightly so: the committed master
// came back with little or nothing, and what is left has an unknown replication id.
func (w *world) person() bool {
	m := w.master()
	if !strings.Contains(w.check.lastRefusal, "a person must decide") {
		return false
	}
	c := w.raft.committed()
	for _, in := range w.insts {
		if in != m && in.ds.keys() > 2*m.ds.keys() && !c.Knows(in.replid) && !c.Knows(in.replid2) {
			w.check.persons++
			return true
		}
	}
	return false
}

// kept: what had to be kept is on the final master.
func (w *world) kept() {
	m, c := w.master(), &w.check
	if w.bad == "" && c.ownWipes == 0 && c.lossyRestarts == 0 && m == c.holder && !m.ds.includes(c.guaranteed) {
		w.violate("the final master %s has %s, but %s was guaranteed", m, m.ds, c.guaranteed)
	}
}

// agreed: the same log made the same state everywhere.
func (w *world) agreed() {
	if w.bad != "" {
		return
	}
	want, err := json.Marshal(w.raft.committed())
	if err != nil {
		w.violate("committed state: %v", err)
		return
	}
	for _, wt := range w.watchers {
		got, err := json.Marshal(wt.state().Committed())
		if err != nil || string(got) != string(want) {
			w.violate("%s has another committed state: %s, not %s (%v)", wt, got, want, err)
			return
		}
	}
}

// seenAgain: of every old master that could not be fenced, history says that it was seen
// again, unless it was made master since or replaced once more.
func (w *world) seenAgain() {
	c := w.raft.committed()
	later := map[sentinel.InstanceID]bool{c.Master.Instance: true}
	for _, r := range slices.Backward(c.History) {
		plan := r.Kind == sentinel.KindFailover.String() || r.Kind == sentinel.KindHandover.String()
		from := r.From.Instance
		if r.Kind == sentinel.KindFailover.String() && !r.Fenced && !later[from] && c.Member(from) != nil &&
			!slices.ContainsFunc(r.Notes, func(n sentinel.Note) bool { return n.What == "old master" }) {
			w.violate("history does not say that %s, which epoch %s replaced, was seen again", from, r.Epoch)
			return
		}
		if plan || r.Kind == "adopted" {
			later[from], later[r.To.Instance] = true, true
		}
	}
}
