package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/triwatch/triwatch/test/faults"
)

var (
	labSeeds = flag.Uint64("sim.lab", 0, "number of test/chaos' schedules that TestChaosSchedules plays; 0 plays -sim.seeds of them")
	labFile  = flag.String("sim.file", "", "schedule that TestChaosSchedules plays alone; with -v its whole trace is printed")
)

// labRounds is how many rounds a schedule has, as in test/chaos.
const labRounds = 4

// TestChaosSchedules plays the schedules of test/chaos: the same seed is the same faults.
func TestChaosSchedules(t *testing.T) {
	if *labFile != "" {
		w := playSchedule(readSchedule(t, *labFile), true)
		if testing.Verbose() {
			fmt.Println(strings.Join(w.lines, "\n"))
		}
		if w.bad != "" {
			t.Fatal(w.bad)
		}
		return
	}
	n := *labSeeds
	if n == 0 {
		n = *seeds
	}
	var next atomic.Uint64
	var failed atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum totals
	next.Store(*from)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= *from+n || *stop && failed.Load() {
					return
				}
				s := faults.Generate(seed, labRounds)
				w := playSchedule(s, false)
				mu.Lock()
				sum.add(w)
				if w.bad != "" {
					failed.Store(true)
					if sum.failed <= 20 {
						t.Errorf("chaos seed %d: %s", seed, w.bad)
					}
					if sum.failed == 1 {
						explainLab(t, s)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if sum.runs > 0 {
		t.Log(&sum)
	}
}

// TestKeptChaosSchedules plays those that test/chaos keeps.
func TestKeptChaosSchedules(t *testing.T) {
	files, err := filepath.Glob("../chaos/testdata/schedules/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schedules: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			s := readSchedule(t, f)
			for range 20 { // what the schedule leaves open
				if w := playSchedule(s, false); w.bad != "" {
					t.Fatalf("with seed %d: %s", s.Seed, w.bad)
				}
				s.Seed++
			}
		})
	}
}

// TestTheSameScheduleIsTheSameRun compares whole traces.
func TestTheSameScheduleIsTheSameRun(t *testing.T) {
	for seed := range uint64(30) {
		s := faults.Generate(seed, labRounds)
		a, b := playSchedule(s, true), playSchedule(s, true)
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

// TestEveryFaultIsPlayed: a verb that is not known here would be skipped silently.
func TestEveryFaultIsPlayed(t *testing.T) {
	for _, v := range faults.Verbs() {
		for _, target := range []string{"r1", "w1"} {
			e := faults.Event{Verb: v, A: target, B: "r2", Amount: "3s", For: 1}
			if v == faults.Lose {
				e.Amount = "3%"
			}
			w := calm(t)
			l := &lab{w: w}
			before := w.q.seq
			undo := l.begin(e, l.resolve(e.A), l.resolve(e.B))
			alone := (v == faults.Reuse || v == faults.Hangup) && target == "w1" || (v == faults.Clock || v == faults.Boot || v == faults.Full) && target == "r1"
			if done := undo != nil || w.q.seq > before; done == alone {
				t.Errorf("%s at %s: done=%v", v, target, done)
			}
		}
	}
}

func readSchedule(t *testing.T, file string) faults.Schedule {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := faults.Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s
}

// explainLab plays a failing schedule again and shows the end of its trace.
func explainLab(t *testing.T, s faults.Schedule) {
	w := playSchedule(s, true)
	lines := w.lines
	if n := len(lines) - *tail; n > 0 {
		lines = lines[n:]
	}
	t.Logf("%sthe last lines of its trace:\n%s", s, strings.Join(lines, "\n"))
}
