package raftsim

import (
	"flag"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	seeds = flag.Uint64("simraft.seeds", 200, "number of schedules that TestSchedules runs")
	from  = flag.Uint64("simraft.from", 0, "the first of them")
	stall = flag.Bool("simraft.stalls", true, "also let entries be written late, while heartbeats pass")
	tail  = flag.Int("simraft.tail", 150, "lines of the trace printed for a schedule that fails")
)

// TestSchedules runs seeded schedules of faults and holds every invariant against them.
func TestSchedules(t *testing.T) {
	var next, failures atomic.Uint64
	var mu sync.Mutex
	var sum totals
	next.Store(*from)
	t.Run("all", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1) - 1; seed < *from+*seeds && failures.Load() < 5; seed = next.Add(1) - 1 {
					w := bubble(t, seed)
					mu.Lock()
					sum.add(w.sum)
					if w.bad != "" {
						sum.failure++
						failures.Add(1)
						explain(t, w)
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Log(sum.String())
	if sum.runs < 100 {
		return
	}
	// A schedule in which nothing happens shows nothing.
	if sum.promotions < sum.runs/2 || sum.elections < 2*sum.runs || sum.restores < sum.runs/2 || sum.snapshots < sum.runs || sum.unknown == 0 || sum.aborts == 0 {
		t.Errorf("too little happens in these schedules: %s", sum.String())
	}
}

// bubble plays a seed in virtual time.
func bubble(t *testing.T, seed uint64) *world {
	var w *world
	synctest.Test(t, func(*testing.T) { w = play(setup{seed: seed, stalls: *stall}) })
	return w
}

func explain(t *testing.T, w *world) {
	lines := w.lines
	if n := len(lines) - *tail; n > 0 {
		lines = lines[n:]
	}
	t.Errorf("seed %d: %s\nthe end of its trace (the next run of this seed may be another):\n%s", w.seed, w.bad, strings.Join(lines, "\n"))
}
