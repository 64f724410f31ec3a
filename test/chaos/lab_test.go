//go:build linux

package chaos

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/proc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

func TestFaultsOfTheNetworkDoWhatTheyAreCalled(t *testing.T) {
	if err := open(t, *ready).reexecute(t, "TestInsideNetwork"); err != nil {
		t.Error(err)
	}
}

func TestInsideNetwork(t *testing.T) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		t.Skip("this is the inner half of another test")
	}
	if err := settle(dir); err != nil {
		t.Fatal(err)
	}
	l, err := newLab()
	if err != nil {
		t.Fatal(err)
	}
	argv := l.in("r1", "redis-server", "--bind", l.byName["r1"].IP, "--protected-mode", "no", "--save", "")
	p, err := proc.Spawn(exec.Command(argv[0], argv[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	ping := func(limit time.Duration) (time.Duration, error) {
		conn, err := wire.Dial(context.Background(), l.byName["r1"].IP+":6379", wire.Options{Timeout: limit})
		if err != nil {
			return 0, err
		}
		defer conn.Close() //nolint:errcheck // one question
		start := time.Now()
		_, err = conn.Do("PING")
		return time.Since(start), err
	}
	if err := trio.Wait(t.Context(), startLimit, func() error { _, err := ping(time.Second); return err }); err != nil {
		t.Fatal(err)
	}
	check := func(what string, begin func() (func() error, error), limit time.Duration, good func(time.Duration, error) bool) {
		t.Helper()
		undo, err := begin()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if took, err := ping(limit); !good(took, err) {
			t.Errorf("%s: an answer took %v, %v", what, took, err)
		}
		if err := undo(); err != nil {
			t.Errorf("%s: end: %v", what, err)
		}
		if took, err := ping(5 * time.Second); err != nil {
			t.Errorf("%s is over: an answer took %v, %v", what, took, err)
		}
	}
	none := func(_ time.Duration, err error) bool { return err != nil }
	c, r, other := []string{clientName}, []string{"r1"}, []string{"r2"}
	check("no way there", func() (func() error, error) { return l.cut(c, r) }, 300*time.Millisecond, none)
	check("no way back", func() (func() error, error) { return l.cut(r, c) }, 300*time.Millisecond, none)
	check("another way", func() (func() error, error) { return l.cut(other, r) }, time.Second, func(_ time.Duration, err error) bool { return err == nil })
	check("nearly everything lost", func() (func() error, error) { return l.lose("r1", 999) }, 300*time.Millisecond, none)
	check("delay", func() (func() error, error) { return l.delay("r1", 100*time.Millisecond, false) }, 2*time.Second,
		func(took time.Duration, err error) bool {
			return err == nil && took > 90*time.Millisecond && took < time.Second
		})
	check("jitter", func() (func() error, error) { return l.delay("r1", 100*time.Millisecond, true) }, 2*time.Second,
		func(took time.Duration, err error) bool {
			return err == nil && took > time.Millisecond && took < time.Second
		})
	held := func(text string) func() (func() error, error) {
		return func() (func() error, error) {
			h, err := l.hold("r1", clientName, text)
			return h.letGo, err
		}
	}
	check("held back from a word on", held("ping"), 300*time.Millisecond, none)
	check("held back from another word on", held("replicaof"), 5*time.Second, func(_ time.Duration, err error) bool { return err == nil })
	twice, err := l.cut(c, r)
	if err != nil {
		t.Fatal(err)
	}
	check("two cuts, of which one ends", func() (func() error, error) { return l.cut(c, r) }, 300*time.Millisecond, func(_ time.Duration, err error) bool {
		defer twice() //nolint:errcheck // what follows fails otherwise
		return err != nil
	})
}
