package process

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer"
)

const fenceLine = "# triwatch: fence " + name + " on\n"

// limited returns an error unless a server has these min-replicas-to-write and -max-lag.
func (r *rig) limited(s *redisproc.Server, want string) error {
	var got []string
	for _, setting := range []string{"min-replicas-to-write", "min-replicas-max-lag"} {
		reply, err := s.Do(r.t.Context(), "CONFIG", "GET", setting)
		if err != nil || len(reply.Strings()) != 2 {
			return fmt.Errorf("%s: %v %v", s.Addr(), reply, err)
		}
		got = append(got, reply.Strings()[1])
	}
	if text := strings.Join(got, "/"); text != want {
		return fmt.Errorf("%s has min-replicas %s, not %s", s.Addr(), text, want)
	}
	return nil
}

// TestFenceFollowsTheMasterAndIsRelaxedAndGivenBack is the life of a fence.
func TestFenceFollowsTheMasterAndIsRelaxedAndGivenBack(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{conf: fenceLine, redis: redisproc.Options{Args: []string{"--min-replicas-max-lag", "7"}}})
		first := r.redis[0]
		fence := func(want string) func() error {
			return func() error {
				if got := r.state(r.leader()).Fence; !strings.HasPrefix(got, want) {
					return fmt.Errorf("fence %s, not %s", got, want)
				}
				return nil
			}
		}
		r.wait("the fence is on", func() error { return errors.Join(fence("on")(), r.limited(first, "1/2")) })
		l := r.load(writer.Options{})
		r.granted(r.leader(), "handover", name)
		next := r.moved(first)
		r.wait("the new one is fenced, the old one got back what it had", func() error {
			return errors.Join(r.limited(next, "1/2"), r.limited(first, "0/7"), fence("on")())
		})
		l.keptAll(next)
		for _, s := range r.others(next) {
			s.Kill()
		}
		l = r.load(writer.Options{})
		r.wait("relaxed", func() error { return errors.Join(r.limited(next, "0/2"), fence("relaxed (")()) })
		l.more(200)
		for _, s := range r.others(next) {
			if err := s.Restart(t.Context(), redisproc.RestartOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		r.wait("put up again", func() error { return r.limited(next, "1/2") })
		l.keptAll(next)
		r.cliOK(r.leader(), "release", name)
		r.wait("given back", func() error {
			var errs []error
			for _, s := range r.redis {
				errs = append(errs, r.limited(s, "0/7"))
			}
			return errors.Join(errs...)
		})
		r.cliOK(r.leader(), "resume", name)
		r.wait("put up after resume", func() error { return r.limited(next, "1/2") })
	})
}

// TestOldMasterIsFencedBeforeAnythingElse looks at what a master was sent, in its own
// words, from when it went on after another had taken its place.
func TestOldMasterIsFencedBeforeAnythingElse(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old := r.redis[0]
		r.do(old, "CONFIG", "SET", "slowlog-max-len", "2000")
		r.do(old, "CONFIG", "SET", "slowlog-log-slower-than", "0")
		r.do(old, "SLOWLOG", "RESET")
		if err := old.Freeze(); err != nil {
			t.Fatal(err)
		}
		next := r.moved(old)
		r.settled("1")
		if m := r.state(r.leader()); len(m.Unfenced) != 1 || m.Unfenced[0].Address != old.Addr() || m.Unfenced[0].Epoch != "1" {
			t.Fatalf("status does not say that %s was not fenced: %+v", old.Addr(), m.Unfenced)
		}
		if rec := r.onlyPlan("failover", "1"); rec.Fenced {
			t.Fatalf("history says that a frozen master was fenced: %+v", rec)
		}
		if err := old.Thaw(); err != nil {
			t.Fatal(err)
		}
		r.follows(old, next)
		if sent := r.sent(old); len(sent) == 0 || !strings.EqualFold(sent[0], "replicaof 127.0.0.1 0") {
			t.Fatalf("it was not fenced first: %q", sent)
		}
		r.wait("nobody is unfenced", func() error {
			if m := r.state(r.leader()); len(m.Unfenced) != 0 {
				return fmt.Errorf("unfenced %+v", m.Unfenced)
			}
			return nil
		})
		r.wait("history says that the old master was seen again", func() error {
			if rec := r.onlyPlan("failover", "1"); rec.Fenced || rec.Notes[len(rec.Notes)-1].What != "old master" {
				return fmt.Errorf("fenced=%v %+v", rec.Fenced, rec.Notes)
			}
			return nil
		})
	})
}

// sent are the commands that change something, in the order in which a server carried
// them out.
func (r *rig) sent(s *redisproc.Server) []string {
	r.t.Helper()
	reply, err := s.Do(r.t.Context(), "SLOWLOG", "GET", "-1")
	if err != nil || reply.Err() != nil {
		r.t.Fatal(reply, err)
	}
	var out []string
	for _, entry := range slices.Backward(reply.Items) {
		if len(entry.Items) < 4 {
			continue
		}
		cmd := strings.Join(entry.Items[3].Strings(), " ")
		for _, change := range []string{"replicaof", "slaveof", "config set", "config rewrite", "client kill", "client pause", "client unpause", "multi", "exec"} {
			if strings.HasPrefix(strings.ToLower(cmd), change) {
				out = append(out, cmd)
			}
		}
	}
	return out
}
