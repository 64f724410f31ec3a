package sentinel_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/triwatch/triwatch/sentinel"
)

// fault does one random thing to the world.
func (w *world) fault(t *rapid.T) {
	r := w.set.all[rapid.IntRange(0, len(w.set.all)-1).Draw(t, "redis")]
	wt := w.ws[rapid.IntRange(0, len(w.ws)-1).Draw(t, "watcher")]
	switch what := rapid.SampledFrom([]string{"kill", "freeze", "thaw", "restart with data", "restart fenced", "restart empty and fenced", "cut", "mute", "heal", "lead", "nolead", "no one",
		"handover", "lost connections", "busy", "well", "deaf", "do is lost", "do lands unseen", "proposal is lost", "hook"}).Draw(t, "fault"); what {
	case "kill":
		r.dead = true
		r.drop()
		w.lose(r)
	case "freeze":
		r.frozen = !r.dead
	case "thaw":
		r.thaw()
	case "restart with data":
		// An empty one that takes writes empties its replicas by itself: not ours to keep.
		r.restart(true, r.keys == 0)
		w.lose(r)
	case "restart fenced":
		r.restart(true, true)
		w.lose(r)
	case "restart empty and fenced":
		r.restart(false, true)
		w.lose(r)
	case "cut":
		w.cutoff[string(wt.id)+" "+r.name] = true
	case "mute":
		w.cutoff[string(wt.id)] = true
	case "heal":
		clear(w.cutoff)
	case "lead":
		w.depose(wt)
	case "nolead":
		w.lead(nil)
	case "no one":
		if r.keys > 0 { // as above
			r.replicaOf(sentinel.Addr{})
		}
	case "handover":
		if w.leader != nil {
			w.leader.step(sentinel.Request{ID: 1, Master: masterName, Kind: sentinel.RequestHandover})
		}
	case "lost connections":
		w.lose(r)
	case "busy":
		r.reply = sentinel.ReplyBusy
	case "well":
		r.reply = sentinel.ReplyOK
	case "deaf":
		r.deaf = !r.deaf
	case "do is lost":
		w.hooks = append(w.hooks, &hook{match: "do ", times: 1, outcome: sentinel.OutcomeFailed})
	case "do lands unseen":
		w.hooks = append(w.hooks, &hook{match: "do ", times: 1, land: true, outcome: sentinel.OutcomeUnknown})
	case "proposal is lost":
		w.hooks = append(w.hooks, &hook{match: "propose ", times: 1})
	case "hook":
		w.drawHook(t)
	}
}

// drawHook has somebody asked before failovers, who answers in any way.
func (w *world) drawHook(t *rapid.T) {
	w.veto = nil
	for range rapid.IntRange(1, 3).Draw(t, "answers") {
		v := vetoing{after: rapid.SampledFrom([]time.Duration{0, ms, 40 * ms, 600 * ms}).Draw(t, "after"), lost: rapid.Bool().Draw(t, "lost")}
		switch rapid.SampledFrom([]string{"allow", "veto", "failure"}).Draw(t, "answer") {
		case "veto":
			v.answer.Veto = true
		case "failure":
			v.answer.Failure = "broken"
		}
		w.veto = append(w.veto, v)
	}
	w.hooked(sentinel.Before{Timeout: 500 * ms, HoldOnFailure: rapid.Bool().Draw(t, "hold on failure")})
}

// heal ends all faults.
func (w *world) heal() {
	clear(w.cutoff)
	w.hooks, w.veto = nil, []vetoing{{}}
	for _, r := range w.set.all {
		r.reply, r.deaf = sentinel.ReplyOK, false
		if r.dead {
			r.restart(true, true)
			w.lose(r)
		}
		r.thaw()
	}
	if w.leader == nil {
		w.lead(w.ws[0])
	}
}

// well reports whether everything is as it should be: no plan, the committed master is
// the only one, and everybody who may follows it.
func (w *world) well() bool {
	c := w.committed()
	if w.leader == nil || c.Plan != nil {
		return false
	}
	for _, r := range w.set.all {
		if r.addr == c.Master.Addr {
			if r.role != sentinel.RoleMaster {
				return false
			}
		} else if r.role != sentinel.RoleReplica || r.master != c.Master.Addr || !r.link {
			return false
		}
	}
	return true
}

// After any faults everything comes right by itself or a person is asked for, and where
// one copy of the data was left, it is still there.
func TestAnythingComesRightAgainAfterAnyFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := ready(t, time.Second, 1000, [3]time.Duration{0, 40 * ms, 90 * ms})
		w.t = failer{TB: t, rt: rt}
		for range rapid.IntRange(1, 12).Draw(rt, "faults") {
			w.fault(rt)
			w.run(rapid.SampledFrom([]time.Duration{0, ms, 3 * ms, 6 * ms, 20 * ms, 400 * ms, 1300 * ms, 3 * time.Second}).Draw(rt, "for"))
		}
		w.heal()
		w.seen = nil
		had := w.keys()
		for end := w.now + 60*time.Second; !w.well() && !w.asksAPerson(); {
			if w.now > end {
				rt.Fatalf("not right after 60 s: %s", w.status())
			}
			w.run(20 * ms)
		}
		if had > 0 && w.keys() == 0 {
			rt.Fatalf("the last copy is gone: %s", w.status())
		}
	})
}

// keys is the largest number of keys that anybody has.
func (w *world) keys() int64 {
	n := int64(0)
	for _, r := range w.set.all {
		n = max(n, r.keys)
	}
	return n
}

// asksAPerson reports whether the leader has said that it will not go on by itself.
func (w *world) asksAPerson() bool {
	for _, a := range w.seen {
		if e, ok := a.(sentinel.Emit); ok && e.Event.Name == sentinel.EventRefused {
			return true
		}
	}
	// What was said before the faults ended is not said again, but shown.
	if w.leader == nil || w.leader.r.State(masterName) == nil {
		return false
	}
	note := w.leader.r.State(masterName).View().Note
	return strings.Contains(note, "a person must decide") || strings.Contains(note, "no replica may be promoted")
}

// failer gives the world's complaints to rapid, so that they are shrunk.
type failer struct {
	testing.TB
	rt *rapid.T
}

func (f failer) Errorf(format string, args ...any) { f.rt.Fatalf(format, args...) }
func (f failer) Fatalf(format string, args ...any) { f.rt.Fatalf(format, args...) }
func (f failer) Fatal(args ...any)                 { f.rt.Fatal(fmt.Sprint(args...)) }
