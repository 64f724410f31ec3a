package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
	"github.com/triwatch/triwatch/test/writer/wire"
)

func TestPasswordsAndUsers(t *testing.T) {
	for how, s := range map[string]setup{
		"password": {redis: redisproc.Options{Password: "s3cret"}, conf: "sentinel auth-pass " + name + " s3cret\n"},
		"user": {redis: redisproc.Options{User: "watch", Password: "s3cret"},
			conf: "sentinel auth-user " + name + " watch\nsentinel auth-pass " + name + " s3cret\n"},
	} {
		t.Run(how, func(t *testing.T) {
			scenario(t, func(t *T) {
				r := start(t, s)
				old := r.redis[0]
				r.fill(old, 100)
				l := r.load(writer.Options{User: s.redis.User, Password: s.redis.Password})
				r.handover(r.follower())
				first := r.moved(old)
				r.settled("1")
				r.follows(old, first)
				r.steady(2)
				l.more(200)
				l.keptAll(first)
				first.Kill()
				second := r.moved(first)
				r.settled("2")
				if err := first.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
					t.Fatal(err)
				}
				r.follows(first, second)
				r.filled(first, 100)
				for _, w := range r.trio.Watchers {
					if strings.Contains(w.Tail(10000), "s3cret") {
						t.Fatalf("%s has the password in its log", w.Name)
					}
				}
			})
		})
	}
}

// rotate gives every server another password and hangs up on everybody who has used
// the old one. Asking goes on with the new one.
func (r *rig) rotate(password string) []*wire.Conn {
	r.t.Helper()
	var people []*wire.Conn
	for _, s := range r.redis {
		c, err := wire.Dial(r.t.Context(), s.Addr(), wire.Options{Password: "old", Timeout: 5 * time.Second})
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing is pending
		people = append(people, c)
	}
	for _, c := range people {
		r.ask(c, "CONFIG", "SET", "masterauth", password, "requirepass", password)
		r.ask(c, "CLIENT", "KILL", "TYPE", "normal")
		r.ask(c, "CLIENT", "KILL", "TYPE", "pubsub")
	}
	return people
}

// rewrite changes a watcher's file as a person does, beside the watcher, which may
// write it at the same moment.
func (r *rig) rewrite(w *trio.Watcher, from, to string) {
	r.t.Helper()
	r.wait(w.Conf()+" has the change", func() error {
		b, err := os.ReadFile(w.Conf())
		if err != nil || strings.Contains(string(b), to) {
			return err
		}
		if err := conf.WriteAtomic(w.Conf(), []byte(strings.ReplaceAll(string(b), from, to))); err != nil {
			return err
		}
		return errors.New("written, not looked at yet")
	})
}

func TestPasswordRotatedFirstOnRedisThenInTheFile(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{redis: redisproc.Options{Password: "old"}, conf: "sentinel auth-pass " + name + " old\n"})
		people := r.rotate("new")
		r.shows("auth refused")
		r.stays("no plan", 2*r.downAfter, r.untouched)
		if m := r.state(r.follower()); m.State != "degraded" || !strings.Contains(m.Note, "auth refused") {
			t.Fatalf("the state is %s: %s", m.State, m.Note)
		}
		r.answers(r.follower(), "/metrics", 200, "triwatch_instance_up")
		for i, w := range r.trio.Watchers {
			r.rewrite(w, "auth-pass "+name+" old", "auth-pass "+name+" new")
			if i == 0 { // the others find it by themselves
				if err := w.Proc().Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.steady(2)
		if err := r.untouched(); err != nil {
			t.Fatal(err)
		}

		r.redis[0].Kill()
		r.wait("a replica is promoted with the new password", func() error {
			for _, c := range people[1:] {
				if reply := r.ask(c, "ROLE"); reply.Items[0].Str == "master" {
					return nil
				}
			}
			return errors.New("both are replicas")
		})
		r.settled("1")
	})
}

func TestWrongPasswordIsAVisibleState(t *testing.T) {
	scenario(t, func(t *T) {
		r := prepare(t, setup{replicas: 1, redis: redisproc.Options{Password: "right"}, conf: "sentinel auth-pass " + name + " wrong\n"})
		r.shows("auth refused")
		w := r.leader()
		m := r.state(w)
		if m.State != "unadopted" || m.Note == "" {
			t.Fatalf("the state is %s: %s", m.State, m.Note)
		}
		if got := r.cli(w, "check", name); got.code != 1 || !strings.Contains(got.out, "WRONGPASS") || strings.Contains(got.out, "wrong\n") {
			t.Fatalf("check: exit status %d\n%s%s", got.code, got.out, got.err)
		}
		r.stays("no plan", r.downAfter, r.untouched)
		for _, w := range r.trio.Watchers {
			r.rewrite(w, "auth-pass "+name+" wrong", "auth-pass "+name+" right")
		}
		r.steady(1)
		if err := r.untouched(); err != nil {
			t.Fatal(fmt.Errorf("after the file was put right: %w", err))
		}
	})
}
