package process

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
)

// recorder is a script that writes down its arguments, one line for each call, in a file
// for each process that calls it.
type recorder struct{ path, dir string }

func newRecorder(t *T, more string) recorder {
	t.Helper()
	dir := t.TempDir()
	r := recorder{path: filepath.Join(dir, "script.sh"), dir: dir}
	text := "#!/bin/sh\nline=$1; shift; for a; do line=\"$line|$a\"; done\nprintf '%s\\n' \"$line\" >> " + dir + "/$PPID.calls\n" + more + "\n"
	if err := os.WriteFile(r.path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

// calls are all lines of each process, sorted: scripts run side by side.
func (r recorder) calls(t *T, names *strings.Replacer) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(r.dir + "/*.calls")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(names.Replace(string(b))), "\n")
		slices.Sort(lines)
		out[filepath.Base(f)] = lines
	}
	return out
}

// all are the lines of all processes, each as often as it is there.
func (r recorder) all(t *T, names *strings.Replacer) []string {
	var out []string
	for _, lines := range r.calls(t, names) {
		out = append(out, lines...)
	}
	slices.Sort(out)
	return out
}

// named puts OLD and NEW in the place of the ports.
func named(old, next *redisproc.Server) *strings.Replacer {
	return strings.NewReplacer(strconv.Itoa(old.Port()), "OLD", strconv.Itoa(next.Port()), "NEW")
}

func scripts(r recorder) string {
	return "sentinel notification-script " + name + " " + r.path + "\nsentinel client-reconfig-script " + name + " " + r.path + "\n"
}

// sentinels runs the same failover with three redis-sentinels and returns what their
// scripts were told.
func sentinels(t *T) []string {
	t.Helper()
	rec := newRecorder(t, "")
	run := func(o redisproc.Options) *redisproc.Server {
		s, err := redisproc.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		return s
	}
	old := run(redisproc.Options{Port: given.redis(t)})
	next := run(redisproc.Options{Port: given.redis(t), ReplicaOf: old.Addr()})
	for range 3 {
		run(redisproc.Options{Port: given.redis(t), SentinelConf: fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 3000\n%s",
			name, old.Port(), name, name, scripts(rec))})
	}
	r := &rig{t: t}
	r.wait("the replica is in sync", func() error { return r.has(next, "master_link_status", "up") })
	r.pass(4 * time.Second) // they have to find each other, by greetings every two seconds
	old.Kill()
	var lines []string
	r.wait("redis-sentinel's scripts are told of the move", func() error {
		lines = rec.all(t, named(old, next))
		if n := strings.Count(strings.Join(lines, "\n"), "+switch-master"); n < 3 {
			return fmt.Errorf("%d were: %q", n, lines)
		}
		return nil
	})
	return lines
}

func TestScriptsAreCalledAsRedisSentinelCallsThem(t *testing.T) {
	scenario(t, func(t *T) {
		if _, err := redisproc.LookupBinary("redis-sentinel"); err != nil {
			t.Skip(err)
		}
		rec := newRecorder(t, "")
		r := start(t, setup{replicas: 1, conf: scripts(rec)})
		old, next := r.redis[0], r.redis[1]
		old.Kill()
		r.moved(old)
		r.settled("1")
		names := named(old, next)
		var lines []string
		r.wait("every watcher's scripts are told of the move", func() error {
			lines = rec.all(t, names)
			text := strings.Join(lines, "\n")
			if strings.Count(text, "+switch-master") != 3 || strings.Count(text, "|start|") != 3 || !strings.Contains(text, "+failover-end") {
				return fmt.Errorf("%q", lines)
			}
			return nil
		})
		theirs := sentinels(t)
		t.Logf("triwatch:\n%s\nredis-sentinel:\n%s", strings.Join(lines, "\n"), strings.Join(theirs, "\n"))
		// What only one of the two has: votes, epochs and addresses of Sentinels, and our words behind the numbers of +odown. And who seems
		// to be away for a moment, or the clock to jump, because the machine is busy, is a matter of each.
		for _, want := range theirs {
			event, about, _ := strings.Cut(want, "|")
			switch event {
			case "+sdown":
				if !strings.HasPrefix(about, "master ") {
					continue
				}
			case "-sdown", "+tilt", "-tilt", "+vote-for-leader", "+config-update-from", "+failover-state-select-slave", "-odown", "+new-epoch", "-failover-abort-not-elected":
				continue
			case "+failover-state-reconf-slaves", "+failover-end": // here the switch comes first
				want = strings.Replace(want, "OLD", "NEW", 1)
			case "+odown":
				want, _, _ = strings.Cut(want, " #quorum")
			}
			if !slices.ContainsFunc(lines, func(l string) bool { return l == want || event == "+odown" && strings.HasPrefix(l, want+" #quorum ") }) {
				t.Errorf("redis-sentinel's scripts are told %q, ours are not", want)
			}
		}
		roles := map[string]int{}
		for _, l := range lines {
			roles[l]++
		}
		if l, o := roles[name+"|leader|start|127.0.0.1|OLD|127.0.0.1|NEW"], roles[name+"|observer|start|127.0.0.1|OLD|127.0.0.1|NEW"]; l != 1 || o != 2 {
			t.Errorf("clients were reconfigured by %d leaders and %d observers: %q", l, o, lines)
		}
	})
}

func TestWatcherThatWasDownReconfiguresClientsOnceAndOldNewsAreNotTold(t *testing.T) {
	scenario(t, func(t *T) {
		rec := newRecorder(t, "")
		r := start(t, setup{replicas: 1, conf: scripts(rec)})
		old, next := r.redis[0], r.redis[1]
		r.inFile(old, "0")
		down := r.follower()
		down.End()
		old.Kill()
		r.moved(old)
		r.settled("1")
		if err := down.Start(); err != nil {
			t.Fatal(err)
		}
		names, who := named(old, next), strconv.Itoa(down.Proc().PID())+".calls"
		r.wait("the one that was down has told of the move", func() error {
			lines := rec.calls(t, names)[who]
			if !slices.Contains(lines, name+"|observer|start|127.0.0.1|OLD|127.0.0.1|NEW") {
				return fmt.Errorf("%q", lines)
			}
			return nil
		})
		r.inFile(next, "1")
		down.End()
		if err := down.Start(); err != nil {
			t.Fatal(err)
		}
		who = strconv.Itoa(down.Proc().PID()) + ".calls"
		r.wait("it is told at the start what is watched", func() error {
			if lines := rec.calls(t, names)[who]; !slices.Contains(lines, "+monitor|master "+name+" 127.0.0.1 NEW quorum 2") {
				return fmt.Errorf("%q", lines)
			}
			return nil
		})
		r.wait("it has caught up", func() error {
			m, st, err := down.Master(t.Context(), name)
			if err == nil && (st.Stale || m.Epoch != "1") {
				err = fmt.Errorf("epoch %s, %+v", m.Epoch, st)
			}
			return err
		})
		r.stays("old news are not told again", 2*time.Second, func() error {
			for _, l := range rec.calls(t, names)[who] {
				if strings.Contains(l, "|start|") || strings.HasPrefix(l, "+switch-master") || strings.HasPrefix(l, "+new-epoch") {
					return errors.New(l)
				}
			}
			return nil
		})
	})
}

func TestHookHoldsAFailoverUntilItAllows(t *testing.T) {
	scenario(t, func(t *T) {
		gate := filepath.Join(t.TempDir(), "maintenance")
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		rec := newRecorder(t, "if [ -e "+gate+" ]; then echo backup runs; exit 1; fi")
		r := start(t, setup{replicas: 1, args: []string{"--before-failover", rec.path, "--before-failover-timeout", "2s"}})
		old, next := r.redis[0], r.redis[1]
		old.Kill()
		r.wait("it is held", func() error {
			m, _, err := r.leader().Master(t.Context(), name)
			if err == nil && (m.State != "held" || m.Note != "vetoed by hook: backup runs") {
				err = fmt.Errorf("state %s: %s", m.State, m.Note)
			}
			return err
		})
		r.stays("nothing is begun", time.Second, r.untouched)
		if err := os.Remove(gate); err != nil {
			t.Fatal(err)
		}
		r.moved(old)
		r.settled("1")
		p := r.onlyPlan("failover", "1")
		if !slices.ContainsFunc(p.Notes, func(n httpapi.Note) bool { return n.What == "hook" }) {
			t.Errorf("the plan does not tell that it was asked about: %+v", p.Notes)
		}
		lines := rec.all(t, named(old, next))
		if len(lines) < 2 || !strings.HasPrefix(lines[0], name+"|127.0.0.1|OLD|127.0.0.1|NEW|") || !strings.Contains(lines[0], "|crash: ") {
			t.Errorf("asked %q", lines)
		}
	})
}

func TestHookThatHangsOrFailsDoesNotHoldAFailover(t *testing.T) {
	for what, text := range map[string]string{"hangs": "sleep 600", "fails": "exit 3"} {
		t.Run(what, func(t *testing.T) {
			scenario(t, func(t *T) {
				rec := newRecorder(t, text)
				r := start(t, setup{replicas: 1, args: []string{"--before-failover", rec.path}})
				old := r.redis[0]
				began := time.Now()
				old.Kill()
				r.moved(old)
				t.Logf("moved after %v", time.Since(began))
				r.settled("1")
				r.onlyPlan("failover", "1")
				if len(rec.all(t, strings.NewReplacer())) == 0 {
					t.Error("nobody was asked")
				}
			})
		})
	}
}

func TestHandoverIsNotAskedAbout(t *testing.T) {
	scenario(t, func(t *T) {
		rec := newRecorder(t, "exit 1")
		r := start(t, setup{replicas: 1, args: []string{"--before-failover", rec.path}})
		r.redisCLI(r.leader(), "SENTINEL", "FAILOVER", name)
		r.moved(r.redis[0])
		if lines := rec.all(t, strings.NewReplacer()); len(lines) > 0 {
			t.Errorf("asked %q", lines)
		}
	})
}

func TestLeaderPostsAMoveToTheWebhook(t *testing.T) {
	scenario(t, func(t *T) {
		got := make(chan string, 100)
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			b := make([]byte, 4096)
			n, _ := q.Body.Read(b)
			got <- string(b[:n])
		}))
		t.Cleanup(srv.Close)
		r := start(t, setup{replicas: 1, args: []string{"--webhook", srv.URL}})
		r.redis[0].Kill()
		r.moved(r.redis[0])
		r.wait("the webhook is told", func() error {
			for {
				select {
				case m := <-got:
					if strings.Contains(m, `"event":"+switch-master"`) && strings.Contains(m, `"kind":"failover"`) {
						return nil
					}
				default:
					return errors.New("no +switch-master came")
				}
			}
		})
		r.settled("1")
	})
}

func TestScriptThatCannotBeRunIsRefusedAtTheStart(t *testing.T) {
	scenario(t, func(t *T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "sentinel.conf")
		for line, words := range map[string]string{
			"notification-script":    "Notification script seems non existing or non executable.",
			"client-reconfig-script": "Client reconfiguration script seems non existing or non executable.",
		} {
			text := fmt.Sprintf("port %d\ndir %s\nsentinel monitor %s 127.0.0.1 1 1\nsentinel %s %s /etc/passwd\n", given.watcher(t), dir, name, line, name)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := command(t.Context(), program, "sentinel", file)
			if err != nil {
				t.Fatal(err)
			}
			if out := fmt.Sprint(got); !strings.Contains(out, words) || !strings.Contains(out, "sentinel.conf:4") {
				t.Errorf("%s: %s", line, out)
			}
		}
	})
}
