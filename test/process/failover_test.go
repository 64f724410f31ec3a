package process

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer"
)

func TestMasterKilledUnderLoadAndBackEmpty(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old, all := r.redis[0], r.running()
		r.fill(old, 1000)
		h := r.listen()
		client := r.failoverClient()
		l := r.load(writer.Options{})

		old.Kill()
		next := r.moved(old)
		l.more(200)
		r.switched(h, all, old, next)
		for _, s := range r.others(old) {
			if s != next {
				r.follows(s, next)
			}
		}
		if got := r.redisCLI(all[0], "SENTINEL", "get-master-addr-by-name", name); got != fmt.Sprintf("127.0.0.1\n%d", next.Port()) {
			t.Fatalf("redis-cli shows %q, the master is %s", got, next.Addr())
		}
		r.wait("go-redis' FailoverClient follows", func() error { return servedBy(t.Context(), client, next) })
		r.settled("1")
		rec := r.onlyPlan("failover", "1")
		if rec.Result != "done" || rec.From.Address != old.Addr() || rec.To.Address != next.Addr() || !strings.HasPrefix(rec.Why, "crash: ") || len(rec.Notes) < 3 {
			t.Fatalf("history has %+v", rec)
		}

		// Empty, and a master by its own command line: its emptiness must reach nobody.
		if err := old.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
			t.Fatal(err)
		}
		r.follows(old, next)
		l.keptReplicated(next)
		for _, s := range r.redis {
			r.filled(s, 1000)
		}
		r.steady(2)
		r.onlyPlan("failover", "1")
		if got := h.of(all[0].Name, "+switch-master"); len(got) != 1 {
			t.Fatalf("clients were told %q", got)
		}
	})
}

// failoverClient is a client as applications use it.
func (r *rig) failoverClient() *redis.Client {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: name, SentinelAddrs: r.trio.Addrs(), DialTimeout: time.Second, ReadTimeout: time.Second})
	r.t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing is pending
	return c
}

// servedBy checks that a client's writes arrive at that server.
func servedBy(ctx context.Context, c *redis.Client, s *redisproc.Server) error {
	if err := c.Set(ctx, "by-client", "1", 0).Err(); err != nil {
		return err
	}
	info, err := c.Info(ctx, "server").Result()
	if err == nil && !strings.Contains(info, "tcp_port:"+strconv.Itoa(s.Port())+"\r\n") {
		err = errors.New("it writes to another server")
	}
	return err
}

func TestMasterBackEmptyAfterHalfASecondLosesNothing(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old := r.redis[0]
		r.fill(old, 1000)
		old.Kill()
		r.pass(500 * time.Millisecond)
		if err := old.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
			t.Fatal(err)
		}
		next := r.moved(old)
		r.follows(old, next)
		r.steady(2)
		for _, s := range r.redis {
			r.filled(s, 1000)
		}
		r.onlyPlan("failover", "1")
	})
}

func TestFrozenMasterIsReplacedBySilenceAndFencedWhenItThaws(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old := r.redis[0]
		r.fill(old, 1000)
		l := r.load(writer.Options{})
		began := time.Now()
		if err := old.Freeze(); err != nil {
			t.Fatal(err)
		}
		next := r.moved(old)
		took := time.Since(began)
		l.more(500)
		r.settled("1")
		if err := old.Thaw(); err != nil {
			t.Fatal(err)
		}
		thawed := time.Now()
		r.wait("the old master is none any more", func() error { return r.has(old, "role", "slave") })
		alone := time.Since(thawed)
		r.follows(old, next)
		l.more(500)
		t.Logf("moved after %s, the old master was one for %s after it was thawed", took, alone)
		r.steady(2)
		if rec := r.onlyPlan("failover", "1"); !strings.HasPrefix(rec.Why, "silence: ") {
			t.Fatalf("history says %q", rec.Why)
		}
		// Writes that the frozen master finds in its socket when it wakes were never
		// acknowledged: the writers have hung up long before.
		l.keptReplicated(next)
		for _, s := range r.redis {
			r.filled(s, 1000)
		}
		if most := 5 * time.Second; alone > most {
			t.Fatalf("the thawed master said that it is master for %s", alone)
		}
	})
}

func TestLeaderKilledTogetherWithTheMaster(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		old, leader := r.redis[0], r.leader()
		l := r.load(writer.Options{})
		leader.Kill()
		old.Kill()
		next := r.moved(old)
		l.more(200)
		r.settled("1")
		r.onlyPlan("failover", "1")

		if err := old.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
			t.Fatal(err)
		}
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		r.steady(2)
		if m := r.state(leader); m.Current.Address != next.Addr() || m.Epoch != "1" {
			t.Fatalf("the watcher that is back shows %+v", m)
		}
		l.keptReplicated(next)
		r.onlyPlan("failover", "1")
	})
}

func TestFiveWatchersOutliveTwo(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{watchers: 5, quorum: 3, replicas: 1})
		old := r.redis[0]
		r.fill(old, 100)
		r.leader().Kill()
		r.running()[0].Kill()
		old.Kill()
		next := r.moved(old)
		r.settled("1")
		r.filled(next, 100)
		if rec := r.onlyPlan("failover", "1"); !strings.Contains(rec.Why, "/5 refused") {
			t.Fatalf("history says %q", rec.Why)
		}
	})
}

func TestOneWatcherAlone(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{watchers: 1, replicas: 1})
		old := r.redis[0]
		r.fill(old, 100)
		old.Kill()
		next := r.moved(old)
		r.filled(next, 100)
		if err := old.Restart(t.Context(), redisproc.RestartOptions{Empty: true}); err != nil {
			t.Fatal(err)
		}
		r.follows(old, next)
		r.steady(1)
		r.onlyPlan("failover", "1")
	})
}

func TestObserverWritesNothing(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{args: []string{"--observe-only"}})
		h := r.listen()
		before := map[*redisproc.Server]string{}
		for _, s := range r.redis[1:] {
			before[s] = r.do(s, "CONFIG", "GET", "repl-ping-replica-period")
		}
		r.redis[0].Kill()
		r.wait("+would", func() error {
			for _, w := range r.trio.Watchers {
				if got := h.of(w.Name, "+would"); len(got) > 0 && strings.Contains(got[0], "would fail over to 127.0.0.1:") {
					return nil
				}
			}
			return errors.New("nobody said what it would do")
		})
		r.stays("nothing is written", 3*r.downAfter, func() error {
			for _, s := range r.redis[1:] {
				if err := errors.Join(r.has(s, "role", "slave"), r.has(s, "master_port", strconv.Itoa(r.redis[0].Port()))); err != nil {
					return err
				}
			}
			return r.untouched()
		})
		for _, s := range r.redis[1:] {
			if now := r.do(s, "CONFIG", "GET", "repl-ping-replica-period"); now != before[s] {
				t.Fatalf("repl-ping-replica-period of %s was %s and is %s", s.Addr(), before[s], now)
			}
		}
		if got := r.do(r.redis[1], "INFO", "commandstats"); strings.Contains(got, "replicaof") || strings.Contains(got, "config|set") {
			t.Fatalf("an observer wrote: %s", got)
		}
	})
}
