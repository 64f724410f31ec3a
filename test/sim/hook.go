package sim

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// hooked has somebody asked before automatic failovers.
func hooked(s *setup, rng *rand.Rand) {
	s.before = sentinel.Before{Timeout: []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}[rng.IntN(3)], HoldOnFailure: rng.IntN(3) == 0}
}

// vetoed is the chaos of other schedules while somebody is asked, who allows, vetoes,
// fails, is slow, or does not answer.
func vetoed(w *world) {
	switch w.rng.IntN(3) {
	case 0:
		w.chaos(2+w.rng.IntN(9), 12*time.Second)
	case 1:
		restarts(w)
	case 2:
		leadersInMidPlan(w)
	}
}

// veto is what a leader was told not to do.
type veto struct {
	wt    *watcher
	inc   int
	term  uint64
	epoch sentinel.Epoch
	to    sentinel.InstanceID
	until time.Duration
}

// askHook answers a question, now or late or never. Once the faults are over it allows.
func (wt *watcher) askHook(a sentinel.AskHook) {
	w := wt.w
	if w.before.Timeout == 0 {
		w.violate("%s asks, and nobody is there to be asked", wt)
	}
	w.check.veto = veto{} // the last answer was about something else
	ev := sentinel.HookAnswered{Master: a.Master, ID: a.ID}
	after := w.upTo(w.before.Timeout / 2)
	switch what := w.rng.IntN(6); {
	case w.healing:
	case what == 0, what == 1:
		ev.Veto = true
	case what == 2:
		ev.Failure = "made to fail"
	case what == 3:
		ev.Veto, after = w.chance(0.5), w.upTo(3*w.before.Timeout)
	case what == 4:
		return
	}
	inc, term := wt.inc, wt.term
	w.after(after, func() {
		wt.deliver(func() {
			if wt.inc != inc {
				return
			}
			if ev.Veto && wt.leads && wt.term == term && after < a.Timeout && w.now < wt.asked+a.Timeout {
				w.check.veto = veto{wt, inc, term, a.Epoch, a.To.Instance, w.now + vetoHolds}
			}
			wt.step(ev)
		})
	})
	wt.asked = w.now
}

// vetoHolds is for how long at least nothing is begun after a veto, as long as nobody is
// asked again.
const vetoHolds = 4 * time.Second

// vetoed: what a leader was told not to do is not proposed by it, unless a person asks
// or the master is back with less.
func (c *checker) vetoed(wt *watcher, cmd sentinel.Command) {
	v, p := c.veto, cmd.Plan
	if cmd.Type != sentinel.CmdBegin || p == nil || p.Kind != sentinel.KindFailover || p.Why == "asked" || strings.HasPrefix(p.Why, "back with less") {
		return
	}
	if v.wt == wt && v.inc == wt.inc && v.term == wt.term && v.epoch == p.Epoch && v.to == p.New.Instance && c.w.now < v.until {
		c.w.violate("%s begins epoch %s although that was vetoed: %s", wt, p.Epoch, p.Why)
	}
}
