package redisio_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// heard is one emitted probe and when it came.
type heard struct {
	sentinel.Probe
	at sentinel.Time
}

func (h heard) String() string {
	return fmt.Sprintf("%s reply=%s lost=%t info=%t asked=%v at=%v %q", h.Addr, h.Reply, h.Lost, h.Info != nil, h.Asked, h.at, h.Detail)
}

// rig is a Pool whose probes are collected.
type rig struct {
	t     *testing.T
	pool  *redisio.Pool
	start time.Time
	more  chan struct{}

	mu   sync.Mutex
	seen []heard
}

func newRig(t *testing.T) *rig {
	return newRigWith(t, nil)
}

func newRigWith(t *testing.T, dialer func(context.Context, string, string) (net.Conn, error)) *rig {
	t.Helper()
	r := &rig{t: t, start: time.Now(), more: make(chan struct{}, 1)}
	r.pool = redisio.New(redisio.Options{Clock: r.now, Emit: r.take, Dialer: dialer})
	t.Cleanup(r.pool.Close)
	return r
}

func (r *rig) now() sentinel.Time { return time.Since(r.start) }

func (r *rig) take(e sentinel.InputEvent) {
	h := heard{Probe: e.(sentinel.Probe), at: r.now()}
	r.mu.Lock()
	r.seen = append(r.seen, h)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *rig) probes() []heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]heard(nil), r.seen...)
}

// until returns the first probe asked at or after from that fits.
func (r *rig) until(what string, from sentinel.Time, fits func(heard) bool) heard {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		for _, h := range r.probes() {
			if h.at >= from && fits(h) {
				return h
			}
		}
		select {
		case <-r.more:
		case <-timeout:
			seen := r.probes()
			for _, h := range seen[max(0, len(seen)-20):] {
				r.t.Log(h)
			}
			r.t.Fatalf("no probe within %v: %s (from %v)", patience, what, from)
		}
	}
}

func (r *rig) untilReply(want sentinel.Reply, from sentinel.Time) heard {
	r.t.Helper()
	return r.until("reply "+want.String(), from, func(h heard) bool { return h.Reply == want })
}

func redis(t *testing.T, o redisproc.Options) *redisproc.Server {
	t.Helper()
	s, err := redisproc.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill() // SIGTERM would wait for saves and replicas
		s.Stop()
	})
	return s
}

func addrOf(s *redisproc.Server) sentinel.Addr {
	return sentinel.Addr{Host: "127.0.0.1", Port: s.Port()}
}

func target(s *redisproc.Server) sentinel.Target {
	return sentinel.Target{
		Instance: "redis-0", Addr: addrOf(s),
		Ping: 200 * time.Millisecond, Info: time.Second, Timeout: 2 * time.Second,
	}
}

func (r *rig) watch(ts ...sentinel.Target) {
	r.pool.Watch(sentinel.Watch{Master: "orders", Targets: ts})
}

// ready watches a server and waits until its listening connection is subscribed.
func (r *rig) ready(s *redisproc.Server, t sentinel.Target) {
	r.t.Helper()
	r.watch(t)
	r.untilReply(sentinel.ReplyOK, 0)
	r.listening(s)
}

func (r *rig) listening(s *redisproc.Server) {
	r.t.Helper()
	r.eventually("a subscriber on the watch channel", func() (string, bool) {
		reply, err := s.Do(r.t.Context(), "PUBSUB", "NUMSUB", redisio.WatchChannel)
		texts := reply.Strings()
		return fmt.Sprint(texts, reply.Str, err), len(texts) == 2 && texts[1] == "1"
	})
}

// eventually polls a condition outside of the rig.
func (r *rig) eventually(what string, cond func() (string, bool)) {
	r.t.Helper()
	eventually(r.t, what, cond)
}

func eventually(t *testing.T, what string, cond func() (string, bool)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		state, ok := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; last state: %s", patience, what, state)
		}
		<-tick.C
	}
}

// ask sends one command by other means than the code under test.
func ask(t *testing.T, s *redisproc.Server, args ...string) string {
	t.Helper()
	reply, err := s.Do(t.Context(), args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply.Str
}
