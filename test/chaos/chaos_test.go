//go:build linux

package chaos

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/faults"
)

var (
	seed   = flag.Uint64("chaos.seed", 1, "seed of the first schedule; 0 draws one")
	length = flag.Duration("chaos.time", 0, "how long to run schedules; 0 runs the quick one only")
	rounds = flag.Int("chaos.rounds", 4, "rounds of each schedule")
	file   = flag.String("chaos.file", "", "schedule to run again and again instead of those of the seeds")
	ready  = flag.String("chaos.triwatch", "", "absolute path of the program to test, instead of one that is built now")
	always = flag.Bool("chaos.always", false, "keep what is known of every schedule")
	keep   = flag.String("chaos.keep", filepath.Join(os.TempDir(), "triwatch-chaos-failed"), "where what is known of a failed schedule goes")
)

func TestMain(m *testing.M) {
	if text := os.Getenv(busyEnv); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			os.Exit(2)
		}
		for end := time.Now().Add(d); time.Now().Before(end); {
		}
		os.Exit(0)
	}
	if os.Getenv(clockEnv) != "" {
		tellTime()
		return
	}
	os.Exit(m.Run())
}

// TestSmoke is one quick schedule, so that the lab cannot rot.
func TestSmoke(t *testing.T) {
	s, err := faults.Parse("seed 0\nround\n 0.2s handover\n 1.2s kill master for 300ms\n")
	if err != nil {
		t.Fatal(err)
	}
	open(t, *ready).play(t, s, *keep, *always)
}

// TestChaos runs the schedules of one seed after the other for as long as it was told.
func TestChaos(t *testing.T) {
	if *length == 0 {
		t.Skip("chaos runs when -chaos.time says for how long")
	}
	o := open(t, *ready)
	first := *seed
	if first == 0 {
		first = uint64(time.Now().Unix()) //nolint:gosec // after 1970
	}
	end := time.Now().Add(*length)
	for n := first; n == first || time.Now().Before(end); n++ {
		if *file != "" {
			t.Run(fmt.Sprintf("%s#%d", filepath.Base(*file), n-first+1), func(t *testing.T) { play(t, o, *file) })
			continue
		}
		t.Logf("again: make chaos SEED=%d TIME=1s", n)
		t.Run(fmt.Sprintf("seed=%d", n), func(t *testing.T) { o.play(t, faults.Generate(n, *rounds), *keep, *always) })
	}
}

// TestChaosOfKeptSchedules runs those that failed once.
func TestChaosOfKeptSchedules(t *testing.T) {
	if *length == 0 {
		t.Skip("chaos runs when -chaos.time says for how long")
	}
	files, err := filepath.Glob("testdata/schedules/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { play(t, open(t, *ready), f) })
	}
}

func play(t *testing.T, o *outside, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := faults.Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	o.play(t, s, *keep, *always)
}

// TestInside is the part of every other test that runs inside of the lab.
func TestInside(t *testing.T) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		t.Skip("this is the inner half of the other tests")
	}
	text, err := os.ReadFile(filepath.Join(dir, scheduleFile))
	if err != nil {
		t.Fatal(err)
	}
	s, err := faults.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := settle(dir); err != nil {
		t.Fatal(err)
	}
	var report []said
	w, err := newWorld(t.Context(), dir, s)
	if w != nil {
		defer w.end()
	}
	if err == nil {
		w.all(context.WithoutCancel(t.Context()))
		for _, text := range w.history.bad() {
			t.Error(text)
		}
	} else {
		t.Errorf("start: %v", err)
	}
	if w != nil {
		for _, who := range []string{"ROUND", "FAULT", "move", "CHECK", "engine"} {
			report = append(report, w.timeline.grep(who, "")...)
		}
		t.Log(w.timeline.text(report))
	}
	if (t.Failed() || os.Getenv(alwaysEnv) != "") && w != nil {
		if err := w.keepAll(os.Getenv(keepEnv)); err != nil {
			t.Errorf("keep what is known: %v", err)
		}
	}
}
