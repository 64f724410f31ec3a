package sim

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/faults"
)

var (
	seeds   = flag.Uint64("sim.seeds", 2000, "number of schedules that TestSchedules runs")
	from    = flag.Uint64("sim.from", 0, "the first of them")
	oneSeed = flag.Int64("sim.seed", -1, "run this schedule alone; with -v its whole trace is printed")
	stop    = flag.Bool("sim.stop", false, "stop at the first schedule that fails")
	tail    = flag.Int("sim.tail", 120, "lines of the trace printed for a schedule that fails")
)

// TestSchedules runs seeded schedules of faults and holds every invariant against them.
func TestSchedules(t *testing.T) {
	if *oneSeed >= 0 {
		w := play(uint64(*oneSeed), true)
		if testing.Verbose() {
			fmt.Println(strings.Join(w.lines, "\n"))
		}
		if w.bad != "" {
			t.Fatalf("seed %d: %s", *oneSeed, w.bad)
		}
		return
	}
	var next atomic.Uint64
	var wg sync.WaitGroup
	var mu sync.Mutex
	next.Store(*from)
	var failed atomic.Bool
	all := classes()
	failures := 0
	sum := map[string]*totals{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= *from+*seeds || *stop && failed.Load() {
					return
				}
				w := play(seed, false)
				mu.Lock()
				name := all[seed%uint64(len(all))].name
				if sum[name] == nil {
					sum[name] = &totals{}
				}
				sum[name].add(w)
				if w.bad != "" {
					failures++
					failed.Store(true)
					if failures <= 40 {
						t.Errorf("seed %d (%s): %s", seed, name, w.bad)
					}
					if failures == 1 {
						explain(t, seed)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, c := range all {
		if s := sum[c.name]; s != nil {
			t.Logf("%-20s %s", c.name, s)
		}
	}
}

// TestTheSameSeedIsTheSameRun compares whole traces: a difference means that something
// else than the seed decides, such as the order of a map.
func TestTheSameSeedIsTheSameRun(t *testing.T) {
	for seed := range uint64(50) {
		a, b := play(seed, true), play(seed, true)
		if hash(a.lines) == hash(b.lines) {
			continue
		}
		for i := range max(len(a.lines), len(b.lines)) {
			if i >= len(a.lines) || i >= len(b.lines) || a.lines[i] != b.lines[i] {
				t.Fatalf("seed %d: line %d differs:\n%s\n%s", seed, i, line(a, i), line(b, i))
			}
		}
	}
}

func line(w *world, i int) string {
	if i < len(w.lines) {
		return w.lines[i]
	}
	return "(no more lines)"
}

// TestTracingChangesNothing makes sure that the run that explains a failure is the run
// that failed.
func TestTracingChangesNothing(t *testing.T) {
	for seed := range uint64(20) {
		a, b := play(seed, true), play(seed, false)
		if a.q.seq != b.q.seq || a.now != b.now || a.bad != b.bad || len(a.raft.log) != len(b.raft.log) {
			t.Fatalf("seed %d: %d events until %v (%q) with a trace, %d until %v (%q) without", seed, a.q.seq, a.now, a.bad, b.q.seq, b.now, b.bad)
		}
	}
}

// onceFailed are schedules that fail when one guard is broken (TestGuardsAreNeeded found
// them); most of these guards were missing once, and the schedules showed it. They
// are named by class and seed, so that another class does not change them.
var onceFailed = []struct {
	class string
	seed  uint64
	shows string
}{
	{"frozen", 1143, "a copy with data is made to follow an empty master"},
	{"empty replica", 13, "an empty replica with the lowest priority number is promoted"},
	{"restarts", 953, "a replica in full sync is promoted"},
	{"watchers cut off", 6, "a replica that advances does not count"},
	{"one watcher cut off", 219, "one watcher alone decides"},
	{"restarts", 86, "a master that came back empty is accepted"},
	{"restarts", 13754, "what a master wrote after its restart hides what it lost in it"},
	{"handovers", 6445, "a handover promotes before the candidate has caught up"},
	{"handovers", 529, "a promoted master dies while the plan is open, and the plan waits for it"},
	{"chaos", 0, "a committed master comes back as a replica, and waits for ever"},
	{"frozen", 395, "the heartbeat's reports displace the fresh answers, and a frozen master is never replaced"},
	{"restarts", 16835, "a replica that loads is taken for one without data"},
	{testChaos, 12883, "a master is accepted back with less than copies that no watcher hears"},
	{"restarts", 18004, "an empty run of the master is accepted before its replica is asked again"},
}

// testChaos stands for the schedules of test/chaos, which are of no class.
const testChaos = "test/chaos"

// TestOnceFailedSchedules runs the schedules that have shown a mistake.
func TestOnceFailedSchedules(t *testing.T) {
	for _, o := range onceFailed {
		if o.class == testChaos {
			if w := playSchedule(faults.Generate(o.seed, labRounds), false); w.bad != "" {
				t.Errorf("%s %d (%s): %s", o.class, o.seed, o.shows, w.bad)
			}
			continue
		}
		found := false
		for _, c := range classes() {
			if c.name == o.class {
				found = true
				if w := playClass(c, o.seed, false); w.bad != "" {
					t.Errorf("%s %d (%s): %s", o.class, o.seed, o.shows, w.bad)
				}
			}
		}
		if !found {
			t.Errorf("no class %q", o.class)
		}
	}
}

// explain runs a failing schedule again and shows the end of its trace.
func explain(t *testing.T, seed uint64) {
	w := play(seed, true)
	lines := w.lines
	if n := len(lines) - *tail; n > 0 {
		lines = lines[n:]
	}
	t.Logf("the last lines of seed %d; all of them: go test ./test/sim -run TestSchedules -sim.seed=%d -v\n%s", seed, seed, strings.Join(lines, "\n"))
}

// totals counts what a class of schedules came to.
type totals struct {
	runs, failed, begins, aborts, promotions, held, late, ownWipes, lossy, persons, alone, acked, events int
	slowest, reactions                                                                                   time.Duration
}

func (s *totals) add(w *world) {
	c := &w.check
	s.runs++
	if w.bad != "" {
		s.failed++
	}
	s.begins += c.begins
	s.aborts += c.aborts
	s.promotions += c.promotions
	s.held += c.held
	s.late += c.late
	s.ownWipes += c.ownWipes
	s.lossy += c.lossyRestarts
	s.alone += c.alone
	s.persons += c.persons
	s.acked += c.acked
	s.events += int(w.q.seq)
	s.slowest = max(s.slowest, w.reaction)
	s.reactions += w.reaction
}

func (s *totals) String() string {
	return fmt.Sprintf("%d runs, %d failed; %d plans, %d aborted, %d promoted, %d held; late %d, wiped on their own %d, lossy restarts %d, up to a person %d, restarted unfenced %d; %d writes acknowledged, %d events; promoted after %v on average, %v at most",
		s.runs, s.failed, s.begins, s.aborts, s.promotions, s.held, s.late, s.ownWipes, s.lossy, s.persons, s.alone, s.acked, s.events, (s.reactions / time.Duration(s.runs)).Round(time.Millisecond), s.slowest.Round(time.Millisecond))
}
