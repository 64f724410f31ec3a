package process

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/trio"
)

// crashed is what no message to people may look like.
var crashed = regexp.MustCompile(`panic|goroutine \d|runtime error|\.go:\d+|0x[0-9a-f]{6}|SIG[A-Z]+:`)

// attempt is one start of a watcher that is to fail.
type attempt struct {
	t    testing.TB
	dir  string
	port int
	conf string // path of the sentinel.conf
}

// newAttempt writes a sentinel.conf with a port, a directory and the given lines.
func newAttempt(t testing.TB, lines string) *attempt {
	t.Helper()
	a := &attempt{t: t, dir: t.TempDir(), port: given.watcher(t)}
	a.conf = filepath.Join(a.dir, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\n%s", a.port, a.dir, lines)
	if err := os.WriteFile(a.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// fails starts the watcher; it has to end by itself, with that status and one
// sentence that holds all the given texts, and leave its file as it is.
func (a *attempt) fails(code int, want []string, args ...string) {
	a.t.Helper()
	before, err := os.ReadFile(a.conf)
	if err != nil {
		a.t.Fatal(err)
	}
	got, err := command(a.t.Context(), program, append([]string{"sentinel", a.conf}, args...)...)
	if err != nil {
		a.t.Fatal(err)
	}
	oneSentence(a.t, got, code, want)
	after, err := os.ReadFile(a.conf)
	if err != nil || !bytes.Equal(before, after) {
		a.t.Errorf("sentinel.conf was %q and is %q (%v)", before, after, err)
	}
	left, err := filepath.Glob(filepath.Join(a.dir, "*.tmp*"))
	if err != nil || len(left) > 0 {
		a.t.Errorf("left behind: %v (%v)", left, err)
	}
}

// oneSentence checks how a command failed.
func oneSentence(t testing.TB, got output, code int, want []string) {
	t.Helper()
	if got.code != code {
		t.Errorf("exit status %d, want %d", got.code, code)
	}
	lines := strings.Split(strings.TrimRight(got.err, "\n"), "\n")
	said := 0
	for i, l := range lines {
		if strings.HasPrefix(l, "triwatch: ") {
			said++
			if i != len(lines)-1 {
				t.Errorf("the sentence is not the last line:\n%s", got.err)
			}
		}
	}
	if said != 1 {
		t.Errorf("%d sentences, want one:\n%s%s", said, got.out, got.err)
	}
	for _, w := range want {
		if !strings.Contains(lines[len(lines)-1], w) {
			t.Errorf("no %q in: %s", w, lines[len(lines)-1])
		}
	}
	if crashed.MatchString(got.err + got.out) {
		t.Errorf("this is not for people:\n%s%s", got.out, got.err)
	}
}

const monitored = "sentinel monitor orders 127.0.0.1 6379 1\n"

func TestWrongFilesAreRefused(t *testing.T) {
	t.Parallel()
	for how, c := range map[string]struct {
		lines string
		want  []string
	}{
		"wrong line":          {monitored + "sentinel down-after-milliseconds orders soon\n", []string{"sentinel.conf:5: ", "soon", "whole number"}},
		"unknown directive":   {monitored + "sentinel quorun orders 2\n", []string{"sentinel.conf:5: ", "sentinel quorun", "unknown directive"}},
		"name for an address": {"sentinel monitor orders redis-0 6379 1\n", []string{"sentinel.conf:4: ", "redis-0", "resolve-hostnames"}},
		"quorum too large":    {"sentinel monitor orders 127.0.0.1 6379 2\n", []string{"sentinel.conf:4: ", "quorum 2", `"orders"`, "number of watchers, 1"}},
		"down-after too short": {monitored + "sentinel down-after-milliseconds orders 10\n",
			[]string{"sentinel.conf:4: ", `"orders"`, "down-after is 10ms"}},
	} {
		t.Run(how, func(t *testing.T) {
			newAttempt(t, c.lines).fails(1, c.want)
		})
	}
}

func TestWhatIsMissingOrTakenIsNamed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "no.conf")
	got, err := command(t.Context(), program, "sentinel", missing)
	if err != nil {
		t.Fatal(err)
	}
	oneSentence(t, got, 1, []string{missing, "no such file"})

	for _, offset := range []int{0, 10000, 20000} {
		a := newAttempt(t, monitored)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port+offset))
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		a.fails(1, []string{addr, "address already in use"})
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	a := newAttempt(t, monitored)
	blocked := filepath.Join(a.dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a.fails(1, []string{blocked, "not a directory"}, "--data-dir", blocked)
	a.fails(1, []string{missing, "no such file"}, "--peer-secret-file", missing)
	a.fails(1, []string{blocked, "at least 16"}, "--peer-secret-file", blocked)
	a.fails(1, []string{"--raft-addr", "nonsense"}, "--raft-addr", "nonsense")
}

// lone is one watcher of one Redis.
func lone(t *T) (*rig, *trio.Watcher) {
	t.Helper()
	r := prepare(t, setup{watchers: 1, replicas: 1})
	r.steady(1)
	return r, r.trio.Watchers[0]
}

func TestDirectoryOfAnotherWatcherIsRefused(t *testing.T) {
	scenario(t, func(t *T) {
		r, w := lone(t)
		newAttempt(t, monitored).fails(1, []string{w.DataDir(), "used by another process", "directory of its own"}, "--data-dir", w.DataDir())
		r.stays("the other one goes on", r.downAfter/2, func() error { return r.names(w, r.redis[0]) })
		r.calm()
	})
}

func TestDamagedStoreIsNamedAndAFreshOneRejoins(t *testing.T) {
	scenario(t, func(t *T) {
		r, w := lone(t)
		w.Kill()
		path := filepath.Join(w.DataDir(), "raft.db")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// bbolt's files begin with two pages that describe the rest.
		behind := bytes.Repeat([]byte("garbage "), len(whole)/8)
		copy(behind, whole[:2*os.Getpagesize()])
		for how, b := range map[string][]byte{
			"garbage":               bytes.Repeat([]byte("garbage "), 4096),
			"empty pages":           make([]byte, len(whole)),
			"cut short":             whole[:os.Getpagesize()],
			"garbage behind page 2": behind,
		} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := command(t.Context(), program, "sentinel", w.Conf(), "--peers", w.PeerAddr())
			if err != nil {
				t.Errorf("%s: %v", how, err)
				continue
			}
			t.Log(how)
			oneSentence(t, got, 1, []string{path, "move the file"})
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		r.steady(1)
		r.calm()
	})
}

func TestUnknownMastersAndMisusedCommands(t *testing.T) {
	scenario(t, func(t *T) {
		r, w := lone(t)
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"get-master-addr-by-name", "carts"}, ""},
			{[]string{"master", "carts"}, "ERR No such master with that name"},
			{[]string{"failover", "carts"}, "ERR No such master with that name"},
			{[]string{"ckquorum", "carts"}, "ERR No such master with that name"},
			{[]string{"replicas", "carts"}, "ERR No such master with that name"},
			{[]string{"nonsense"}, "ERR unknown subcommand 'nonsense'. Try SENTINEL HELP."},
		} {
			if got := r.redisCLI(w, append([]string{"SENTINEL"}, c.args...)...); got != c.want {
				t.Errorf("SENTINEL %s: %q, want %q", strings.Join(c.args, " "), got, c.want)
			}
		}
		for _, args := range [][]string{{"status", "carts"}, {"history", "carts"}, {"check", "carts"}, {"handover", "carts"}, {"failover", "carts", "--yes"}} {
			oneSentence(t, r.cli(w, args...), 1, []string{"carts"})
		}
		oneSentence(t, r.cli(w, "handover", name, "--to", "10.9.8.7:6379"), 4, []string{"not the one asked for"})
		r.calm()
	})
}

func TestMisusedCommandsExitWith2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"nonsense"}, {"--nonsense"}, {"sentinel"}, {"sentinel", "a", "b"}, {"sentinel", "a", "--nonsense"}, {"sentinel", "a", "--log-level", "loud"},
		{"sentinel", "a", "--log-format", "xml"}, {"status", "a", "b"}, {"status", "-o", "xml"}, {"history"}, {"history", name, "x"}, {"handover"},
		{"failover", name}, {"peers", "remove"}, {"peers", "nonsense"}, {"status", "--http-addr", "::::"}, {"status", "--timeout", "soon"}, {"demo", "nonsense"},
	} {
		got, err := command(t.Context(), program, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.Join(args, " "), func(t *testing.T) { oneSentence(t, got, 2, nil) })
	}
	a := newAttempt(t, monitored)
	got, err := command(t.Context(), program, "status", "--http-addr", net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port)))
	if err != nil {
		t.Fatal(err)
	}
	oneSentence(t, got, 1, []string{strconv.Itoa(a.port), "refused"})
}

func TestNameWithoutAnAddressIsAVisibleState(t *testing.T) {
	scenario(t, func(t *T) {
		r := &rig{t: t}
		t.Cleanup(r.end)
		var err error
		r.trio, err = trio.Start(trio.Options{Binary: program, Dir: t.TempDir(), Size: 1, Ports: []int{given.watcher(t)},
			Conf: "sentinel resolve-hostnames yes\nsentinel monitor " + name + " no-such-host.invalid 6379 1\n"})
		if err != nil {
			t.Fatal(err)
		}
		w := r.trio.Watchers[0]
		r.wait("the name is shown as unresolved", func() error {
			m, _, err := w.Master(t.Context(), name)
			if err == nil && (m.State == "ok" || len(m.Instances) != 1 || m.Instances[0].Reply != "name not resolved") {
				err = fmt.Errorf("it is shown as %+v", m)
			}
			return err
		})
		r.answers(w, "/healthz", 503, name)
		r.answers(w, "/readyz", 200, "ok")
	})
}
