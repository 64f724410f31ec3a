package upgrade

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

var asked = flag.Bool("upgrade", false, "roll watchers between builds of different levels; takes two to three minutes")

// settle is longer than all voters have to know a level before it is raised.
const settle = 13 * time.Second

func ask(t *testing.T) {
	t.Helper()
	if !*asked {
		t.Skip("takes minutes: run it with make test-upgrade")
	}
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
}

func TestRollBetweenTheLastLevelShippedAndThis(t *testing.T) {
	ask(t)
	dir, commit, level, err := shipped(t)
	if errors.Is(err, errNoHistory) || errors.Is(err, exec.ErrNotFound) {
		t.Skipf("%v: only the made-up level is rolled", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the last commit of another level is %.10s, level %d", commit, level)
	older := compile(t, dir, commit[:min(10, len(commit))], level)
	newer := present(t)
	if level > newer.level {
		older, newer = newer, older
	}
	t.Run("snapshot", func(t *testing.T) { olderRefusesSnapshot(t, dir) })
	r := newRig(t, older)
	r.upAndDown(older, newer)
	r.raiseAndGoBack(older, newer)
	r.kept()
}

func TestRollBetweenThisAndTheNextLevel(t *testing.T) {
	ask(t)
	older, newer := present(t), next(t)
	r := newRig(t, older)
	if older.level > sentinel.LevelFloor {
		r.awaitLevel(older.level)
	}
	r.raiseAndGoBack(older, newer)
	r.kept()
}

// upAndDown rolls all watchers up, kept at the older level, and down again: what is
// not used does not stand in the way.
func (r *rig) upAndDown(older, newer build) {
	r.Helper()
	r.failover("all older")
	keep := fmt.Sprintf("--max-level=%d", older.level)
	for i, w := range r.trio.Watchers {
		r.roll(w, newer, keep)
		r.steady()
		r.failover(fmt.Sprintf("%d newer, kept at level %d", i+1, older.level))
	}
	for i, w := range r.trio.Watchers {
		r.roll(w, older)
		r.steady()
		r.failover(fmt.Sprintf("%d of 3 back", i+1))
	}
}

// raiseAndGoBack rolls all watchers up, until the level is raised, and two of them down
// again, which is too late.
func (r *rig) raiseAndGoBack(older, newer build) {
	r.Helper()
	ws := r.trio.Watchers
	for i, w := range ws {
		r.roll(w, newer)
		r.steady()
		if i < 2 {
			r.notRaised(ws[:i+1], ws[i+1:], older.level)
		}
		r.failover(fmt.Sprintf("%d newer", i+1))
	}
	r.awaitLevel(newer.level)
	r.failover("raised")

	r.roll(ws[0], older)
	r.outdated[ws[0]] = true
	r.stuck(ws[0], older.level, newer.level)
	r.failover("raised, one outdated")
	r.stuck(ws[0], older.level, newer.level)

	// With two there is a quorum of the log and none that knows the master: nothing may
	// go wrong, and nothing has to go right before one is upgraded.
	r.roll(ws[1], older)
	r.outdated[ws[1]] = true
	r.stuck(ws[1], older.level, newer.level)
	before := r.master
	before.Kill()
	time.Sleep(3 * time.Second) //nolint:forbidigo // its subject is what does not happen meanwhile
	masters := 0
	for _, s := range r.redis {
		if s != before {
			if info, err := s.Info(r.Context(), "replication"); err == nil && info["role"] == "master" {
				masters++
			}
		}
	}
	if masters > 1 {
		r.Fatalf("%d masters", masters)
	}
	r.say("two outdated: %d replicas were promoted", masters)
	for _, w := range ws[:2] {
		r.roll(w, newer)
		delete(r.outdated, w)
	}
	r.moved(before)
	if err := before.Restart(r.Context(), redisproc.RestartOptions{}); err != nil {
		r.Fatal(err)
	}
	r.steady()
	r.failover("all newer again")
	r.awaitLevel(newer.level)
}

// notRaised checks that the level stays while an older watcher votes, also while a
// newer one leads.
func (r *rig) notRaised(newer, older []*trio.Watcher, level int) {
	r.Helper()
	leads := func() bool {
		for _, w := range newer {
			if w == r.trio.Leader(r.Context()) {
				return true
			}
		}
		return false
	}
	for range 5 {
		if leads() {
			break
		}
		if l := r.trio.Leader(r.Context()); l != nil {
			l.End()
			r.wait("a leader among the others", func() error {
				if next := r.trio.Leader(r.Context()); next == nil || next == l {
					return errors.New("nobody leads")
				}
				return nil
			})
			if err := l.Start(); err != nil {
				r.Fatal(err)
			}
		}
		r.steady()
	}
	if !leads() {
		r.say("no newer watcher came to lead in this mix, the level was watched all the same")
	}
	for end := time.Now().Add(settle); time.Now().Before(end); {
		for _, w := range newer {
			if got, err := r.level(w); err == nil && got > level {
				r.Fatalf("%s: the level is %d while %s knows %d", w.Name, got, older[0].Name, level)
			}
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // its subject is what does not happen meanwhile
	}
	r.say("%d newer: level %d stays, a newer watcher leads: %v", len(newer), level, leads())
}

func (r *rig) awaitLevel(level int) {
	r.Helper()
	r.wait(fmt.Sprintf("level %d", level), func() error {
		for _, w := range r.acting() {
			if got, err := r.level(w); err != nil || got != level {
				return errors.Join(err, fmt.Errorf("%s: level %d", w.Name, got))
			}
		}
		return nil
	})
	r.say("level %d is committed", level)
}

// stuck waits until an outdated watcher says which level it has and which it needs,
// does not lead, and still answers; and until the others say so too.
func (r *rig) stuck(w *trio.Watcher, has, needs int) {
	r.Helper()
	r.wait(w.Name+" says that it is outdated", func() error {
		status, text, err := r.ready(w)
		if err == nil && (status != 503 || !strings.Contains(text, fmt.Sprintf("needs %d", needs)) && !strings.Contains(text, fmt.Sprintf("needs level %d", needs)) ||
			!strings.Contains(text, fmt.Sprintf("level %d", has)) && !strings.Contains(text, fmt.Sprintf("knows %d", has))) {
			err = fmt.Errorf("readyz says %d: %s", status, text)
		}
		return err
	})
	_, text, _ := r.ready(w)
	r.say("%s: %s", w.Name, strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "))
	r.wait("the others say that it is outdated", func() error {
		for _, o := range r.acting() {
			p, err := o.Peers(r.Context())
			if err != nil {
				return err
			}
			if got := strings.Join(p.Outdated, "; "); !strings.Contains(got, fmt.Sprintf("%s runs an older build (level %d, the cluster needs %d)", w.PeerAddr(), has, needs)) {
				return fmt.Errorf("%s says %q", o.Name, got)
			}
		}
		return nil
	})
	r.wait("a leader that acts", func() error {
		if l := r.trio.Leader(r.Context()); l == nil || r.outdated[l] {
			return fmt.Errorf("leader is %+v", l)
		}
		return nil
	})
	if a, err := w.MasterAddr(r.Context(), name); err != nil || a == "" {
		r.Fatalf("%s answers clients no more: %q, %v", w.Name, a, err)
	}
	if _, ended := w.Proc().Exited(); ended {
		r.Fatalf("%s has ended", w.Name)
	}
}

// olderRefusesSnapshot has the older source read a snapshot of the present level.
func olderRefusesSnapshot(t *testing.T, dir string) {
	if err := os.MkdirAll(filepath.Join(dir, "cmd/readsnapshot"), 0o750); err != nil {
		t.Fatal(err)
	}
	text := `package main

import (
	"fmt"
	"io"
	"os"

	"github.com/triwatch/triwatch/sentinel"
)

func main() {
	b, err := io.ReadAll(os.Stdin)
	if err == nil {
		_, err = sentinel.UnmarshalRegistry(b)
	}
	fmt.Println(err)
}
`
	if err := os.WriteFile(filepath.Join(dir, "cmd/readsnapshot/main.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(level int) string {
		reg := sentinel.NewRegistry()
		reg.Level = level
		b, err := reg.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "run", "./cmd/readsnapshot")
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(b)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := read(sentinel.LevelFloor); got != "<nil>" {
		t.Errorf("the older build does not read a snapshot of its own level: %s", got)
	}
	got := read(sentinel.CommandLevel)
	t.Logf("the older build says of a snapshot of level %d: %s", sentinel.CommandLevel, got)
	if want := fmt.Sprintf("needs a triwatch of level %d", sentinel.CommandLevel); !strings.Contains(got, want) {
		t.Errorf("want an error with %q", want)
	}
}
