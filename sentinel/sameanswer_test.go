package sentinel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/triwatch/triwatch/sentinel"
)

// mess is what a set of Redis may look like when somebody takes up the lead: all
// processes started anew, some dead, two masters, one made so by hand.
type mess struct {
	what [3]string
	keys [3]int64
	lag  [3]int64
}

var messes = []string{"stays", "dead", "data", "fenced", "empty", "empty-fenced", "by-hand", "by-hand-written", "chained"}

func drawMess(t *rapid.T) mess {
	var m mess
	for i := range m.what {
		m.what[i] = rapid.SampledFrom(messes).Draw(t, fmt.Sprintf("r%d", i+1))
		m.keys[i] = rapid.SampledFrom([]int64{400, 900, 1000}).Draw(t, "keys")
		m.lag[i] = rapid.SampledFrom([]int64{0, 14, 500}).Draw(t, "lag")
	}
	return m
}

// make brings it about in the order of the numbers.
func (m mess) make(w *world, order []int) {
	for _, i := range order {
		r := w.set.all[i]
		switch what := m.what[i]; what {
		case "stays":
		case "dead":
			r.dead, r.link, r.syncing = true, false, false
			r.drop()
		case "data", "fenced":
			r.restart(true, what == "fenced")
			r.keys, r.offset = m.keys[i], r.offset-m.lag[i]
			r.second = min(r.second, r.offset+1)
		case "empty", "empty-fenced":
			r.restart(false, what == "empty-fenced")
		case "by-hand", "by-hand-written":
			r.replicaOf(sentinel.Addr{})
			if what == "by-hand-written" && i > 0 {
				r.keys, r.offset = r.keys+7, r.offset+701
			}
		case "chained":
			r.replicaOf(w.set.all[(i+1)%3].addr)
		}
	}
}

// answer is what comes of it when that watcher takes up the lead, with the probes of
// all at those phases: who is master, what everybody is, and what a person is told.
func (m mess) answer(t *testing.T, order []int, leader int, phases []time.Duration) string {
	w := newWorld(t)
	w.cfg.FailoverTimeout = 3 * time.Second
	for i, name := range []string{"r1", "r2", "r3"} {
		r := w.set.add(name)
		r.offset = 1000
		if i > 0 {
			first := w.set.all[0]
			r.replicaOf(first.addr)
			r.link, r.everUp, r.replID, r.offset = true, true, first.replID, first.offset
		}
		r.keys = 1000
	}
	w.start(3)
	w.run(3500 * ms)
	w.lead(nil)
	w.run(200 * ms)
	// Nobody hears anything while it happens, so that the evidence is the same whatever the order.
	for _, wt := range w.ws {
		for _, r := range w.set.all {
			w.cutoff[string(wt.id)+" "+r.name] = true
		}
	}
	m.make(w, order)
	for i, wt := range w.ws {
		w.after(phases[i], func() {
			for _, r := range w.set.all {
				delete(w.cutoff, string(wt.id)+" "+r.name)
				w.lose(r)
			}
		})
	}
	w.after(100*ms, func() { w.lead(w.ws[leader]) })
	w.run(8 * time.Second)
	c := w.committed()
	out := fmt.Sprintf("master %s, plan %v", w.name(c.Master.Addr), c.Plan != nil)
	for _, r := range w.set.all {
		out += "; " + r.String()
	}
	return out
}

func TestSameEvidenceSameAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMess(rt)
		first := ""
		for n := range 3 {
			order := rapid.Permutation([]int{0, 1, 2}).Draw(rt, "order")
			if slices.Contains(m.what[:], "chained") || slices.Contains(m.what[:], "dead") {
				order = []int{0, 1, 2} // there the order is part of what happens to the processes themselves
			}
			phases := make([]time.Duration, 3)
			for i := range phases {
				phases[i] = time.Duration(rapid.IntRange(0, 60).Draw(rt, "phase")) * ms
			}
			got := m.answer(t, order, n, phases)
			if first == "" {
				first = got
			}
			if got != first {
				rt.Fatalf("%s\nled by w1: %s\nled by w%d, order %v: %s", strings.Join(m.what[:], " "), first, n+1, order, got)
			}
		}
	})
}
