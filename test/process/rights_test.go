package process

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer"
)

// written is how often anything was written to an instance that a plan or a repair
// would write.
func (r *rig) written() string {
	r.t.Helper()
	var out []string
	for i, s := range r.redis {
		info, err := s.Info(r.t.Context(), "commandstats")
		if err != nil {
			r.t.Fatal(err)
		}
		for _, cmd := range []string{"replicaof", "slaveof", "client|kill", "client|pause", "config|set", "config|rewrite"} {
			// Without the time that it took.
			if stats, _, _ := strings.Cut(info["cmdstat_"+cmd], ","); stats != "" {
				out = append(out, fmt.Sprintf("redis-%d %s %s", i, cmd, stats))
			}
		}
	}
	return strings.Join(out, "; ")
}

// refusedHandover asks for a handover until it is refused for that reason, with exit
// status 4, and holds that nothing was begun nor written.
func (r *rig) refusedHandover(reason string) {
	r.t.Helper()
	before := r.written()
	r.wait("a handover is refused: "+reason, func() error {
		got := r.cli(r.follower(), "handover", name)
		if got.code == 0 {
			r.t.Fatalf("it was granted: %s", got.out)
		}
		if got.code != 4 || !strings.Contains(got.err, reason) {
			return fmt.Errorf("exit status %d: %s", got.code, got.err)
		}
		return nil
	})
	r.calm()
	if after := r.written(); after != before {
		r.t.Fatalf("written: %s, before: %s", after, before)
	}
}

func TestHandoverIsRefusedBeforeThePlanIfTheMasterCannotBeFenced(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{redis: redisproc.Options{User: "watch", Password: "s3cret"},
			conf: "sentinel auth-user " + name + " watch\nsentinel auth-pass " + name + " s3cret\n"})
		old := r.redis[0]
		l := r.load(writer.Options{User: "watch", Password: "s3cret"})
		r.do(old, "ACL", "SETUSER", "watch", "-replicaof", "-slaveof")
		r.refusedHandover("cannot be fenced: user watch may not send REPLICAOF")
		if m := r.state(r.leader()); m.State != "degraded" || !strings.Contains(m.Note, "user watch may not send REPLICAOF") {
			t.Fatalf("state %s, %q", m.State, m.Note)
		}
		r.do(old, "ACL", "SETUSER", "watch", "+replicaof")
		r.do(old, "CONFIG", "SET", "replica-read-only", "no")
		r.refusedHandover("replica-read-only is off")
		r.do(old, "CONFIG", "SET", "replica-read-only", "yes")
		r.granted(r.follower(), "handover", name)
		next := r.moved(old)
		r.settled("1")
		r.onlyPlan("handover", "1")
		l.keptAll(next)
	})
}

func TestRenamedReplicaofIsFoundBeforeThePlan(t *testing.T) {
	scenario(t, func(t *T) {
		r := brought(t, setup{redis: redisproc.Options{Args: []string{"--rename-command", "REPLICAOF", "r1", "--rename-command", "SLAVEOF", "s1"}}}, nil, nil)
		r.says("degraded", "the server has no command REPLICAOF (renamed or removed)")
		r.refusedHandover("cannot be fenced: the server has no command REPLICAOF (renamed or removed)")
		for _, i := range r.state(r.leader()).Instances {
			if !i.Master && !strings.Contains(i.Choice, "not chosen: the server has no command REPLICAOF") {
				t.Fatalf("%s: %s", i.Name, i.Choice)
			}
		}
		if got := r.cli(r.follower(), "check", name); got.code != 1 || !strings.Contains(got.out, "the server has no command REPLICAOF") {
			t.Fatalf("check: exit status %d\n%s%s", got.code, got.out, got.err)
		}
	})
}

func TestReplicaThatMayNotBePromotedIsLeftOutOfAFailover(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{redis: redisproc.Options{User: "watch", Password: "s3cret"},
			conf: "sentinel auth-user " + name + " watch\nsentinel auth-pass " + name + " s3cret\n"})
		old, barred := r.redis[0], r.redis[1]
		r.do(barred, "CONFIG", "SET", "replica-priority", "1")
		r.do(barred, "ACL", "SETUSER", "watch", "-replicaof", "-slaveof")
		// Asking for that one is refused, and makes it known.
		r.wait("it is known", func() error {
			got := r.cli(r.follower(), "handover", name, "--to", barred.Addr())
			if got.code == 0 {
				t.Fatalf("it was granted: %s", got.out)
			}
			if !strings.Contains(got.err, "user watch may not send REPLICAOF") {
				return errors.New(got.err)
			}
			return nil
		})
		old.Kill()
		next := r.moved(old)
		r.settled("1")
		rec := r.onlyPlan("failover", "1")
		if next != r.redis[2] || len(rec.LeftOut) != 1 || rec.LeftOut[0].Why != "user watch may not send REPLICAOF" {
			t.Fatalf("moved to %s, left out %+v", next.Addr(), rec.LeftOut)
		}
	})
}
