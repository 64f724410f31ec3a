package process

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
)

// names checks that a watcher names that master.
func (r *rig) names(w *trio.Watcher, s *redisproc.Server) error {
	got, err := w.MasterAddr(r.t.Context(), name)
	if err == nil && got != s.Addr() {
		err = fmt.Errorf("%s names %s, not %s", w.Name, got, s.Addr())
	}
	return err
}

// get returns status and text of one of a watcher's endpoints.
func (r *rig) get(w *trio.Watcher, path string) (int, string, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, w.HTTP()+path, nil)
	if err != nil {
		return 0, "", err
	}
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// answers waits until an endpoint has that status and a text in it.
func (r *rig) answers(w *trio.Watcher, path string, status int, text string) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%s answers %d with %q", path, status, text), func() error {
		code, got, err := r.get(w, path)
		if err == nil && (code != status || !strings.Contains(got, text)) {
			err = fmt.Errorf("it answers %d %q", code, got)
		}
		return err
	})
}

func TestWithoutQuorumNothingChangesUntilOneIsBack(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old := r.redis[0]
		r.fill(old, 100)
		left, one, two := r.trio.Watchers[2], r.trio.Watchers[0], r.trio.Watchers[1]
		one.Kill()
		two.Kill()
		old.Kill()
		r.answers(left, "/readyz", http.StatusServiceUnavailable, "no leader")
		r.answers(left, "/healthz", http.StatusServiceUnavailable, "stale: no quorum")
		r.stays("replicas are left alone and questions are answered", 5*r.downAfter, func() error {
			for _, s := range r.redis[1:] {
				if err := r.has(s, "role", "slave"); err != nil {
					return err
				}
			}
			return errors.Join(r.names(left, old), r.untouched())
		})
		r.answers(left, "/livez", http.StatusOK, "ok")
		if got := r.redisCLI(left, "SENTINEL", "CKQUORUM", name); !strings.HasPrefix(got, "NOQUORUM 1 usable Sentinels.") {
			t.Fatalf("CKQUORUM: %q", got)
		}
		if got := r.redisCLI(left, "SENTINEL", "FAILOVER", name); !strings.Contains(got, "no quorum") {
			t.Fatalf("FAILOVER: %q", got)
		}
		if got := r.cli(left, "status", name); got.code != 3 || !strings.HasPrefix(got.out, "NO QUORUM: ") || !strings.Contains(got.out, "REPLICAOF NO ONE") {
			t.Fatalf("status: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		if got := r.cli(left, "failover", name, "--yes"); got.code != 3 {
			t.Fatalf("failover: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		var all httpapi.Masters
		if got := r.cliJSON(left, &all, "status"); got.code != 3 || all.HasQuorum || !all.Stale || len(all.Masters) != 1 {
			t.Fatalf("status -o json: exit status %d, %+v", got.code, all)
		}

		if err := one.Start(); err != nil {
			t.Fatal(err)
		}
		next := r.moved(old)
		r.settled("1")
		r.filled(next, 100)
		r.onlyPlan("failover", "1")
		r.answers(left, "/readyz", http.StatusOK, "ok")
	})
}

func TestAllWatchersRestartedKnowMasterAndEpochAtOnce(t *testing.T) {
	for how, end := range map[string]func(*trio.Watcher){"killed": (*trio.Watcher).Kill, "ended": (*trio.Watcher).End} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := start(t, setup{replicas: 1})
				r.fill(r.redis[0], 100)
				r.handover(r.follower())
				first := r.moved(r.redis[0])
				r.settled("1")
				r.follows(r.redis[0], first)
				if how == "killed" { // SIGTERM writes the file
					r.inFile(first, "1")
				}
				l := r.load(writer.Options{})
				var done []chan struct{}
				for _, w := range r.trio.Watchers {
					ch := make(chan struct{})
					done = append(done, ch)
					go func() { end(w); close(ch) }()
				}
				for _, ch := range done {
					<-ch
				}
				r.startOneByOne(first)
				r.steady(1)
				l.more(100)
				if p := r.plans(); len(p) != 1 {
					t.Fatalf("the restart has begun a plan: %+v", p)
				}
				l.keptAll(first)

				first.Kill()
				second := r.moved(first)
				r.settled("2")
				r.filled(second, 100)
				if p := r.plans(); len(p) != 2 || p[0].Epoch != "2" || p[0].Kind != "failover" {
					t.Fatalf("history has %+v", p)
				}
			})
		})
	}
}

// inFile waits until every running watcher's sentinel.conf names that master and epoch.
func (r *rig) inFile(master *redisproc.Server, epoch string) {
	r.t.Helper()
	r.wait("sentinel.conf names "+master.Addr(), func() error {
		for _, w := range r.running() {
			b, err := os.ReadFile(w.Conf())
			if err != nil {
				return err
			}
			for _, want := range []string{fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d ", name, master.Port()), "sentinel config-epoch " + name + " " + epoch + "\n"} {
				if !strings.Contains(string(b), want) {
					return fmt.Errorf("%s has no %q:\n%s", w.Conf(), want, b)
				}
			}
		}
		return nil
	})
}

// startOneByOne starts all watchers; each has to name the master from its first
// answer on, before a second one runs or anybody is elected.
func (r *rig) startOneByOne(master *redisproc.Server) {
	r.t.Helper()
	for _, w := range r.trio.Watchers {
		if err := w.Start(); err != nil {
			r.t.Fatal(err)
		}
		var first string
		r.wait(w.Name+" answers", func() (err error) {
			first, err = w.MasterAddr(r.t.Context(), name)
			return err
		})
		if first != master.Addr() {
			r.t.Fatalf("%s names %s after its restart, the master is %s", w.Name, first, master.Addr())
		}
	}
}

func TestWatcherThatLostItsStoreRejoinsUnderANewID(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{replicas: 1})
		old := r.redis[0]
		r.fill(old, 100)
		w := r.follower()
		was := r.self(w)
		w.Kill()
		if err := w.LoseStore(); err != nil {
			t.Fatal(err)
		}
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		r.wait("the watcher votes under a new ID and the old one is gone everywhere", func() error {
			for _, at := range r.trio.Watchers {
				p, err := at.Peers(t.Context())
				if err != nil {
					return err
				}
				voters := 0
				for _, one := range p.Peers {
					if one.ID == was {
						return fmt.Errorf("%s still knows %s: %+v", at.Name, was, p.Peers)
					}
					if one.Voter {
						voters++
					}
				}
				if voters != 3 || len(p.Peers) != 3 {
					return fmt.Errorf("%s knows %d voters of %d: %+v, waiting %q", at.Name, voters, len(p.Peers), p.Peers, p.Waiting)
				}
			}
			return nil
		})
		r.steady(1)
		r.calm()
		if now := r.self(w); now == was || now != r.redisCLI(w, "SENTINEL", "MYID") {
			t.Fatalf("the watcher was %s, its peers know it as %s", was, now)
		}

		// It counts: with one of the other two it is a majority.
		third := slices.IndexFunc(r.trio.Watchers, func(x *trio.Watcher) bool { return x != w })
		r.trio.Watchers[third].Kill()
		old.Kill()
		next := r.moved(old)
		r.settled("1")
		r.filled(next, 100)
		r.onlyPlan("failover", "1")
	})
}

// self is a watcher's own ID.
func (r *rig) self(w *trio.Watcher) string {
	r.t.Helper()
	p, err := w.Peers(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, one := range p.Peers {
		if one.Self {
			return one.ID
		}
	}
	r.t.Fatalf("%s does not know itself: %+v", w.Name, p)
	return ""
}

func TestLeaderEndedHandsTheLeadershipOverAndNothingElseHappens(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{replicas: 1})
		l := r.load(writer.Options{})
		leader := r.leader()
		began := time.Now()
		leader.End()
		if code := leader.Proc().ExitCode(); code != 0 {
			t.Fatalf("exit status %d after SIGTERM: %s", code, leader.Tail(5))
		}
		var next *trio.Watcher
		r.wait("the others agree on another leader", func() error {
			if next = r.trio.Leader(t.Context()); next == nil || next == leader {
				return errors.New("nobody leads")
			}
			return nil
		})
		// The old one ends only after it has handed over: without that the others would
		// have to notice its silence first.
		t.Logf("ended, and another led, after %s", time.Since(began))
		if !strings.Contains(leader.Tail(50), "leadership") {
			t.Fatalf("it does not say that it hands over:\n%s", leader.Tail(50))
		}
		r.stays("no plan", 2*r.downAfter, r.untouched)
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		r.steady(1)
		r.calm()
		l.keptAll(r.redis[0])
	})
}
