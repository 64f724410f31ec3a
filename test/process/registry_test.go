package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/trio"
)

// tell sends one command to a watcher and returns its reply, or the error, as text.
func (r *rig) tell(w *trio.Watcher, words ...any) string {
	c := w.Client()
	defer c.Close() //nolint:errcheck // only asked
	cmd := redis.NewCmd(r.t.Context(), words...)
	_ = c.Process(r.t.Context(), cmd) // the command has the error, too
	v, err := cmd.Result()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}

func (r *rig) asks(w *trio.Watcher, want string, words ...any) {
	r.t.Helper()
	if got := r.tell(w, words...); got != want {
		r.t.Fatalf("%s: %v: %q, want %q", w.Name, words, got, want)
	}
}

// files waits until the sentinel.conf of every watcher that runs has all of the lines
// and none with the other words.
func (r *rig) files(lines []string, without ...string) {
	r.t.Helper()
	r.wait(fmt.Sprintf("every sentinel.conf has %q and not %q", lines, without), func() error {
		for _, w := range r.running() {
			b, err := os.ReadFile(w.Conf())
			if err != nil {
				return err
			}
			for _, l := range lines {
				if !strings.Contains(string(b), "\n"+l+"\n") {
					return fmt.Errorf("%s lacks %q:\n%s", w.Name, l, b)
				}
			}
			for _, l := range without {
				if strings.Contains(string(b), l) {
					return fmt.Errorf("%s has %q:\n%s", w.Name, l, b)
				}
			}
		}
		return nil
	})
}

func TestEveryWatcherTakesChangesAndAllOfThemHaveThem(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		host, port, _ := strings.Cut(r.redis[0].Addr(), ":")
		// As scripts do: the same to every watcher. Each answers as a Sentinel of its own.
		for _, w := range r.running() {
			r.asks(w, "OK", "sentinel", "monitor", "carts", host, port, 2)
			r.asks(w, "ERR Duplicate master name.", "sentinel", "monitor", "carts", host, port, 2)
			r.asks(w, "OK", "sentinel", "set", "carts", "down-after-milliseconds", 2000, "failover-timeout", 60000)
			r.asks(w, "OK", "sentinel", "set", "carts", "master-reboot-down-after-period", 7000)
			r.asks(w, "OK", "sentinel", "set", "carts", "auth-user", "app one", "rename-command", "CONFIG", "x")
			r.asks(w, "1", "sentinel", "reset", "car*")
		}
		r.files([]string{
			"sentinel monitor carts " + host + " " + port + " 2", "sentinel down-after-milliseconds carts 2000", "sentinel failover-timeout carts 60000",
			"sentinel master-reboot-down-after-period carts 7000", `sentinel auth-user carts "app one"`, "sentinel rename-command carts config x",
		})
		w := r.follower()
		for _, wrong := range [][]any{{"quorum", 9}, {"down-after-milliseconds", 1}, {"failover-timeout", 1}} {
			if got := r.tell(w, append([]any{"sentinel", "set", "carts"}, wrong...)...); !strings.HasPrefix(got, "ERR Invalid argument '") {
				t.Fatalf("%v: %s", wrong, got)
			}
		}
		for _, w := range r.running() {
			r.asks(w, "OK", "sentinel", "remove", "carts")
			r.asks(w, "ERR No such master with that name", "sentinel", "remove", "carts")
			r.asks(w, "redis: nil", "sentinel", "get-master-addr-by-name", "carts")
		}
		r.files(nil, "carts")
		r.settled("0")
	})
}

func TestRemovedMasterStaysAwayThoughAFileNamesIt(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		host, port, _ := strings.Cut(r.redis[0].Addr(), ":")
		away := r.follower()
		r.asks(away, "OK", "sentinel", "monitor", "carts", host, port, 2)
		r.files([]string{"sentinel monitor carts " + host + " " + port + " 2"})
		away.Kill()
		var other *trio.Watcher
		for _, w := range r.running() {
			if w != away {
				other = w
			}
		}
		r.wait("the others remove it", func() error {
			if got := r.tell(other, "sentinel", "remove", "carts"); got != "OK" {
				return errors.New(got)
			}
			return nil
		})
		if err := away.Start(); err != nil {
			t.Fatal(err)
		}
		r.files(nil, "carts")
		r.wait("nobody knows it", func() error {
			for _, w := range r.running() {
				if got := r.tell(w, "sentinel", "get-master-addr-by-name", "carts"); got != "redis: nil" {
					return fmt.Errorf("%s says %s", w.Name, got)
				}
			}
			return nil
		})
		r.asks(away, "OK", "sentinel", "monitor", "carts", host, port, 1)
		r.asks(other, "ERR Duplicate master name.", "sentinel", "monitor", "carts", host, port, 2)
	})
}

func TestWithoutQuorumChangesAreRefusedAndQuestionsAnswered(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		last := r.follower()
		for _, w := range r.running() {
			if w != last {
				w.Kill()
			}
		}
		host, port, _ := strings.Cut(r.redis[0].Addr(), ":")
		for _, change := range [][]any{
			{"monitor", "carts", host, port, 1}, {"remove", name}, {"set", name, "quorum", 1}, {"set", name, "auth-pass", "x"}, {"reset", "*"}, {"failover", name},
		} {
			r.wait(fmt.Sprintf("%v is refused for want of a quorum", change), func() error {
				if got := r.tell(last, append([]any{"sentinel"}, change...)...); !strings.HasPrefix(got, "NOQUORUM ") {
					return errors.New(got)
				}
				return nil
			})
		}
		r.asks(last, "["+host+" "+port+"]", "sentinel", "get-master-addr-by-name", name)
		if got := r.tell(last, "sentinel", "info-cache", name); strings.Count(got, "# Replication") != 3 {
			t.Fatalf("INFO of three instances is cached, and shown is %s", got)
		}
		r.asks(last, "OK", "sentinel", "config", "set", "announce-port", 1234, "announce-ip", "127.0.0.1")
		r.asks(last, "OK", "acl", "setuser", "app", "on", ">x", "+@all", "~*", "&*")
		r.asks(last, "OK", "sentinel", "flushconfig")
		r.files([]string{"sentinel announce-port 1234", "sentinel announce-ip 127.0.0.1", "sentinel monitor " + name + " " + host + " " + port + " 2"}, "carts")
		_ = r.tell(last, "shutdown")
		r.wait("the watcher ends", func() error {
			if how, ended := last.Proc().Exited(); !ended {
				return errors.New("it runs: " + how)
			}
			return nil
		})
		if err := last.Start(); err != nil {
			t.Fatal(err)
		}
		r.wait("the user is there again", func() error {
			if got := r.tell(last, "acl", "users"); got != "[app default]" {
				return errors.New(got)
			}
			return nil
		})
	})
}
