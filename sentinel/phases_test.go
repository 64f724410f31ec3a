package sentinel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// ready returns a world of three watchers and three Redis that is watched and in
// sync. Each watcher probes with a phase of its own.
func ready(t *testing.T, downAfter time.Duration, rate int64, phases [3]time.Duration) *world {
	t.Helper()
	w := newWorld(t)
	w.cfg.DownAfter = downAfter
	w.cfg.FailoverTimeout = max(w.cfg.FailoverTimeout, downAfter)
	r1 := w.set.add("r1")
	r1.keys, r1.offset = 1000, 1000
	for _, name := range []string{"r2", "r3"} {
		r := w.set.add(name)
		r.replicaOf(r1.addr)
		r.link, r.everUp, r.replID, r.offset, r.keys = true, true, r1.replID, r1.offset, r1.keys
	}
	for i, p := range phases {
		for _, r := range w.set.all {
			w.phase[fmt.Sprintf("w%d %s", i+1, r.name)] = p
		}
	}
	w.start(3)
	w.until("adopted and tuned", 20*time.Second, func() bool {
		c := w.committed()
		if c == nil || !c.Adopted || len(c.Members) != 3 {
			return false
		}
		for _, m := range c.Members {
			if m.PingPeriod != 1 {
				return false
			}
		}
		return true
	})
	r1.rate = rate
	w.run(3 * time.Second)
	w.seen = nil
	return w
}

// begun returns the plans that a leader proposed.
func (w *world) begun() []*sentinel.Plan {
	var out []*sentinel.Plan
	for _, a := range w.seen {
		if p, ok := a.(sentinel.Propose); ok && p.Command.Type == sentinel.CmdBegin {
			out = append(out, p.Command.Plan)
		}
	}
	return out
}

// phaseSets are the phases of three watchers, as fractions of the ping pace in eighths.
var phaseSets = [][3]time.Duration{{0, 0, 0}, {0, 3, 6}, {7, 1, 4}}

func eachPhase(t *testing.T, downAfter time.Duration, f func(t *testing.T, phases [3]time.Duration, offset time.Duration)) {
	pace := downAfter / 4
	for _, set := range phaseSets {
		phases := [3]time.Duration{}
		for i := range set {
			phases[i] = (set[i] * pace / 8).Truncate(ms)
		}
		for off := time.Duration(0); off < pace; off += max(pace/5, ms) {
			f(t, phases, off.Truncate(ms))
		}
	}
}

func TestMasterFrozenForSevenTenthsOfDownAfterIsKept(t *testing.T) {
	t.Parallel()
	for _, downAfter := range []time.Duration{200 * ms, time.Second} {
		for _, rate := range []int64{0, 100_000} {
			eachPhase(t, downAfter, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
				w := ready(t, downAfter, rate, phases)
				w.run(off)
				r1 := w.set.get("r1")
				r1.frozen = true
				w.run(downAfter * 7 / 10)
				r1.frozen = false
				w.run(2 * downAfter)
				if p := w.begun(); len(p) > 0 {
					t.Errorf("down-after %v, rate %d, phases %v, offset %v: %s", downAfter, rate, phases, off, p[0].Why)
				}
			})
		}
	}
}

func TestLoadedMasterFrozenForGoodIsReplacedAtDownAfter(t *testing.T) {
	t.Parallel()
	downAfter := time.Second
	eachPhase(t, downAfter, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
		w := ready(t, downAfter, 100_000, phases)
		w.run(off)
		w.set.get("r1").frozen = true
		from := w.now
		w.until("begun", 3*time.Second, func() bool { return len(w.begun()) > 0 })
		if took := w.now - from; took < downAfter*3/4 || took > downAfter*11/10 {
			t.Errorf("phases %v, offset %v: begun after %v", phases, off, took)
		}
		w.until("r2 or r3 is master", time.Second, func() bool { return w.committed().Master.Epoch == 1 })
	})
}

func TestIdleMasterFrozenForGoodIsReplacedWithinTwoPingPeriods(t *testing.T) {
	t.Parallel()
	downAfter := time.Second
	eachPhase(t, downAfter, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
		w := ready(t, downAfter, 0, phases)
		w.run(4 * off) // the pings come once a second
		w.set.get("r1").frozen = true
		from := w.now
		w.until("begun", 5*time.Second, func() bool { return len(w.begun()) > 0 })
		if took := w.now - from; took < downAfter*3/4 || took > downAfter*11/10+2*time.Second {
			t.Errorf("phases %v, offset %v: begun after %v", phases, off, took)
		}
	})
}

// An idle master, cut off from all watchers but not from its replicas, which advance by
// one ping a second and nothing else.
func TestIdleMasterThatOnlyTheWatchersCannotReachIsHeld(t *testing.T) {
	t.Parallel()
	for _, downAfter := range []time.Duration{500 * ms, time.Second, 3 * time.Second} {
		eachPhase(t, time.Second, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
			w := ready(t, downAfter, 0, phases)
			w.run(4 * off)
			for _, x := range w.ws {
				w.cutoff[string(x.id)+" r1"] = true
			}
			w.run(downAfter + 8*time.Second)
			if p := w.begun(); len(p) > 0 {
				t.Errorf("down-after %v, phases %v, offset %v: %s", downAfter, phases, off, p[0].Why)
			}
			if v := w.leader.r.State(masterName).View(); v.State != "held" {
				t.Errorf("down-after %v, phases %v, offset %v: state is %s (%s)", downAfter, phases, off, v.State, v.Note)
			}
		})
	}
}

// The writers are on the watchers' side of the cut, so that the stream falls from loaded
// to idle in the moment in which the watchers hear nothing any more. A down-after of 1 s
// does not leave the time to tell that from a frozen master.
func TestLoadedMasterCutOffFromWatchersAndWritersIsHeld(t *testing.T) {
	t.Parallel()
	eachPhase(t, time.Second, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
		w := ready(t, 2500*ms, 100_000, phases)
		w.run(4 * off)
		for _, x := range w.ws {
			w.cutoff[string(x.id)+" r1"] = true
		}
		w.set.get("r1").rate = 0
		w.run(9 * time.Second)
		if p := w.begun(); len(p) > 0 {
			t.Errorf("phases %v, offset %v: %s", phases, off, p[0].Why)
		}
	})
}

func TestKilledClientConnectionsChangeNothing(t *testing.T) {
	t.Parallel()
	eachPhase(t, time.Second, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
		w := ready(t, time.Second, 100_000, phases)
		w.run(off)
		for range 5 {
			w.lose(w.set.get("r1"))
			w.run(3 * ms)
		}
		w.run(2 * time.Second)
		if p := w.begun(); len(p) > 0 {
			t.Errorf("phases %v, offset %v: %s", phases, off, p[0].Why)
		}
	})
}

func TestKilledMasterIsReplacedWithinMilliseconds(t *testing.T) {
	t.Parallel()
	eachPhase(t, time.Second, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
		w := ready(t, time.Second, 100_000, phases)
		w.run(off)
		r1 := w.set.get("r1")
		r1.dead = true
		r1.drop()
		w.lose(r1)
		from := w.now
		w.until("another is master", time.Second, func() bool { return w.committed().Master.Epoch == 1 })
		if took := w.now - from; took > 25*ms {
			t.Errorf("phases %v, offset %v: took %v", phases, off, took)
		}
	})
}

// A handover at every phase of the probes: nothing that the old master had is missing.
func TestHandoverAtAnyPhaseLosesNothing(t *testing.T) {
	t.Parallel()
	eachPhase(t, time.Second, func(t *testing.T, phases [3]time.Duration, off time.Duration) {
		w := ready(t, time.Second, 1_000_000, phases)
		w.run(off)
		w.leader.step(sentinel.Request{ID: 1, Master: masterName, Kind: sentinel.RequestHandover})
		w.until("another is master", time.Second, func() bool { return w.committed().Master.Epoch == 1 })
		old, promoted := w.set.get("r1"), w.set.at(w.committed().Master.Addr)
		if promoted.offset < old.offset {
			t.Errorf("phases %v, offset %v: %d bytes are missing", phases, off, old.offset-promoted.offset)
		}
		w.until("closed", 2*time.Second, func() bool { return w.committed().Plan == nil })
		if old.role != sentinel.RoleReplica || old.master != promoted.addr {
			t.Errorf("phases %v, offset %v: %s", phases, off, w.status())
		}
	})
}
