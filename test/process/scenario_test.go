package process

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// A machine that stands still for longer than a leader lease, because it is a guest
// that gets no processor or because its disk does not answer, makes watchers right to
// do what a test calls wrong: to elect another leader in the middle of a handover, for
// instance. A scenario that fails is repeated if, and only if, that was so.
const (
	standstill = 200 * time.Millisecond
	attempts   = 3
)

// T is the testing.T of one attempt.
type T struct {
	*testing.T
	mu       sync.Mutex
	failed   bool
	skipped  string
	cleanups []func()
}

// scenario runs a test's body, side by side with other tests.
func scenario(t *testing.T, body func(*T)) {
	t.Helper()
	t.Parallel()
	for n := 1; ; n++ {
		a, from := &T{T: t}, time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer a.clean()
			body(a)
		}()
		<-done
		still := idle.longest(from)
		switch {
		case a.skipped != "":
			t.Skip(a.skipped)
		case !a.failed:
			return
		case still < standstill || n == attempts:
			t.FailNow()
		}
		t.Logf("the machine stood still for %s: attempt %d", still, n+1)
	}
}

func (t *T) clean() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// Cleanup runs f at the end of the attempt.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Failed reports whether the attempt failed.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// Error fails the attempt and goes on.
func (t *T) Error(args ...any) {
	t.T.Helper()
	t.mu.Lock()
	t.failed = true
	t.mu.Unlock()
	t.T.Log(args...)
}

// Errorf fails the attempt and goes on.
func (t *T) Errorf(format string, args ...any) { t.T.Helper(); t.Error(fmt.Sprintf(format, args...)) }

// Fatal ends the attempt; as with testing.T only the scenario's goroutine may call it.
func (t *T) Fatal(args ...any) {
	t.T.Helper()
	t.Error(args...)
	runtime.Goexit()
}

// Fatalf ends the attempt.
func (t *T) Fatalf(format string, args ...any) { t.T.Helper(); t.Fatal(fmt.Sprintf(format, args...)) }

// Skip ends the test.
func (t *T) Skip(args ...any) {
	t.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

// idle knows when this machine stood still.
var idle standstills

type pause struct {
	end  time.Time
	long time.Duration
}

type standstills struct {
	mu  sync.Mutex
	all []pause
}

// watch notes how long a moment's sleep and a small write to disk really took.
func (s *standstills) watch(dir string, stop <-chan struct{}) {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		began := time.Now()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if n%10 == 0 {
			touch(filepath.Join(dir, "pulse"))
		}
		if took := time.Since(began) - every; took > standstill/4 {
			s.mu.Lock()
			s.all = append(s.all, pause{time.Now(), took})
			s.mu.Unlock()
		}
	}
}

// touch writes a file as Raft's store does. Whether it works does not matter here.
func touch(path string) {
	f, err := os.Create(path)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // nothing in it is needed
	if _, err := f.WriteString("beat"); err == nil {
		f.Sync() //nolint:errcheck // only its time counts
	}
}

// longest is the longest standstill since a moment.
func (s *standstills) longest(since time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out time.Duration
	for _, p := range s.all {
		if p.end.After(since) {
			out = max(out, p.long)
		}
	}
	return out
}
