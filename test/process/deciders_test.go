package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// The watchers' own user: what it is not allowed to do, and tries, is in Redis' ACL LOG.
const (
	watcherUser = "watcher"
	watcherPass = "quiet"
)

// The rights of a watcher that only looks, and of one that may do all but move a master,
// and cannot find that out before it tries.
const (
	lookingRules = "-@all +ping +info +client|setname +subscribe resetchannels &__sentinel__:hello &__triwatch__:watch"
	noMovesRules = "+@all -replicaof -slaveof -acl"
)

// Sentinels that do not fail over once more when the machine sleeps for a second.
const patient = "sentinel down-after-milliseconds " + name + " 4000\n"

// What a watcher asks to find out what it may do changes nothing.
var questions = []string{"acl|dryrun", "acl|getuser", "command|info", "config|get"}

// besideOthers starts a set on which the watchers have a user of their own, and
// everybody else the default one.
func besideOthers(t *T, rules string, s setup) *rig {
	t.Helper()
	s.conf += fmt.Sprintf("sentinel auth-user %s %s\nsentinel auth-pass %s %s\n", name, watcherUser, name, watcherPass)
	s.redis.Args = append([]string{"--user", watcherUser, "on", ">" + watcherPass, "~*", "&*"}, strings.Fields(rules)...)
	return brought(t, s, nil, nil)
}

// sentinels starts redis-sentinels on the same master, with the default user.
func (r *rig) sentinels(n, quorum int, extra string) []*redisproc.Server {
	r.t.Helper()
	if _, err := redisproc.LookupBinary("redis-sentinel"); err != nil {
		r.t.Skip(err)
	}
	var out []*redisproc.Server
	for i := range n {
		dir := filepath.Join(r.t.TempDir(), fmt.Sprintf("sentinel-%d", i))
		if err := os.MkdirAll(dir, 0o750); err != nil {
			r.t.Fatal(err)
		}
		s, err := redisproc.Start(r.t.Context(), redisproc.Options{Port: given.watcher(r.t), Dir: dir, SentinelConf: r.monitor(quorum) + extra})
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(s.Stop)
		out = append(out, s)
	}
	r.wait("the Sentinels know all", func() error {
		for _, s := range out {
			reply, err := s.Do(r.t.Context(), "SENTINEL", "MASTER", name)
			if err != nil {
				return err
			}
			f := reply.Strings()
			for _, want := range [][2]string{{"num-slaves", strconv.Itoa(len(r.redis) - 1)}, {"num-other-sentinels", strconv.Itoa(n - 1)}} {
				if i := slices.Index(f, want[0]); i < 0 || i+1 >= len(f) || f[i+1] != want[1] {
					return fmt.Errorf("%s has not %v: %v", s.Addr(), want, f)
				}
			}
		}
		return nil
	})
	return out
}

// decided is the server that a Sentinel calls master, nil if none is.
func (r *rig) decided(s *redisproc.Server) *redisproc.Server {
	reply, err := s.Do(r.t.Context(), "SENTINEL", "get-master-addr-by-name", name)
	if f := reply.Strings(); err == nil && len(f) == 2 {
		return r.at(f[0] + ":" + f[1])
	}
	return nil
}

// failedOver waits until a Sentinel has another master, and that is one.
func (r *rig) failedOver(s, old *redisproc.Server) *redisproc.Server {
	r.t.Helper()
	var next *redisproc.Server
	r.wait("the Sentinels fail over", func() error {
		if next = r.decided(s); next == nil || next == old {
			return errors.New("not yet")
		}
		return r.has(next, "role", "master")
	})
	return next
}

// attempts fails if a watcher ever tried what its user may not do. A server forgets
// that when it ends, so it is asked before.
func (r *rig) attempts(all ...*redisproc.Server) {
	r.t.Helper()
	for _, s := range all {
		if !s.Running() {
			continue
		}
		reply, err := s.Do(r.t.Context(), "ACL", "LOG")
		if err != nil || reply.Kind != wire.Array {
			r.t.Fatalf("%s: %+v %v", s.Addr(), reply, err)
		}
		for _, entry := range reply.Items {
			texts := entry.Strings()
			if i := slices.Index(texts, "object"); i < 0 || i+1 >= len(texts) || !slices.Contains(questions, texts[i+1]) {
				r.t.Fatalf("%s was asked for what a watcher was not to do: %q", s.Addr(), texts)
			}
		}
	}
}

// metric is the sum of a metric's samples that have all those labels, over all watchers.
func (r *rig) metric(metric string, labels ...string) float64 {
	r.t.Helper()
	sum := 0.0
	for _, w := range r.running() {
		for line := range strings.Lines(r.scrape(w.HTTP() + "/metrics")) {
			if !strings.HasPrefix(line, metric+"{") || !containsAll(line, labels) {
				continue
			}
			f := strings.Fields(line)
			v, err := strconv.ParseFloat(f[len(f)-1], 64)
			if err != nil {
				r.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

func (r *rig) scrape(url string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func TestSentinelsBesideTheWatchersAreHeldAndNotFought(t *testing.T) {
	for how, n := range map[string]int{"one": 1, "three": 3} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := besideOthers(t, noMovesRules, setup{})
				r.steady(2)
				old := r.redis[0]
				r.fill(old, 1000)
				h := r.listen()
				others := r.sentinels(n, n/2+1, patient)
				r.says("degraded", "another Sentinel watches it", others[0].Addr(), "triwatch adopt "+name)
				r.recorded("held", "another Sentinel watches it")
				r.wait("triwatch_foreign_sentinels", func() error {
					if got := r.metric("triwatch_foreign_sentinels"); got < float64(n) {
						return fmt.Errorf("it is %v", got)
					}
					return nil
				})
				l := r.leader()
				if len(h.of(l.Name, "+contested")) == 0 {
					t.Fatalf("%s published no +contested", l.Name)
				}
				// What they did up to here was before anybody else was there.
				r.attempts(r.redis...)

				old.Kill()
				next := r.failedOver(others[0], old)
				r.says("down", "held: another Sentinel watches it")
				r.recorded("held", "held: another Sentinel")
				r.stays("nothing is done", 3*r.downAfter, func() error { return errors.Join(r.untouched(), r.has(next, "role", "master")) })
				r.back(old)
				r.follows(old, next) // by the Sentinel
				r.says("somebody else moved it", "another Sentinel watches it")
				r.stays("nothing is done", 3*r.downAfter, func() error { return errors.Join(r.untouched(), r.has(next, "role", "master")) })
				r.attempts(r.redis...)
				for _, s := range r.redis {
					r.filled(s, 1000)
				}

				// A person says that it is ours all the same, and then ends the others.
				for _, s := range r.redis {
					r.do(s, "ACL", "SETUSER", watcherUser, "+@all")
				}
				r.cliOK(r.leader(), "adopt", name, "--to", next.Addr())
				for _, s := range others {
					s.Stop()
				}
				r.steady(2)
				r.oneMaster(next)
				next.Kill()
				again := r.moved(next)
				r.filled(again, 1000)
			})
		})
	}
}

// The others are gone after they have failed over, and the old master is still dead.
func TestSentinelThatFailedOverAndWentAway(t *testing.T) {
	scenario(t, func(t *T) {
		r := besideOthers(t, noMovesRules, setup{})
		r.steady(2)
		old := r.redis[0]
		r.fill(old, 1000)
		others := r.sentinels(1, 1, patient)
		r.says("another Sentinel watches it")
		old.Kill()
		next := r.failedOver(others[0], old)
		for _, s := range r.others(old) {
			if s != next {
				r.follows(s, next)
			}
		}
		others[0].Stop()
		r.says("down", "somebody else made "+next.Addr()+" master", "a person must decide", "adopt "+name)
		r.recorded("held", "somebody else made")
		r.attempts(r.redis...)
		for _, s := range r.others(old) {
			r.do(s, "ACL", "SETUSER", watcherUser, "+@all")
			r.filled(s, 1000)
		}
		r.cliOK(r.leader(), "adopt", name, "--to", next.Addr())
		r.back(old)
		r.do(old, "ACL", "SETUSER", watcherUser, "+@all") // it has forgotten
		r.steady(2)
		r.oneMaster(next)
	})
}
