package redisio_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/test/redisproc"
)

func now(redial bool) sentinel.ProbeNow {
	return sentinel.ProbeNow{Master: "orders", Instance: "redis-0", Redial: redial}
}

func slow(s *redisproc.Server) sentinel.Target {
	t := target(s)
	t.Ping, t.Info, t.Timeout = time.Minute, time.Minute, time.Second
	return t
}

func TestProbeNowAsksAfreshWithFullInfoOverTheOpenConnection(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, slow(s))
	before := connections(t, s)
	from := r.now()
	r.pool.ProbeNow(now(false))
	h := r.until("an answer", from, func(h heard) bool { return h.Asked >= from })
	if h.Reply != sentinel.ReplyOK || h.Info == nil || !h.Info.Full {
		t.Errorf("unexpected %v", h)
	}
	if got := connections(t, s) - before; got != 1 {
		t.Errorf("%d new connections", got-1)
	}
}

func TestProbeNowWithRedialProvesAListener(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, slow(s))
	before := connections(t, s)
	from := r.now()
	r.pool.ProbeNow(now(true))
	h := r.until("an answer", from, func(h heard) bool { return h.Asked >= from })
	if h.Reply != sentinel.ReplyOK || h.Info == nil || h.Lost {
		t.Errorf("unexpected %v", h)
	}
	if got := connections(t, s) - before; got != 2 {
		t.Errorf("%d new connections", got-1)
	}
}

func TestDelayedProbeNowWaits(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, slow(s))
	from := r.now()
	ask := now(false)
	ask.After = 50 * time.Millisecond
	r.pool.ProbeNow(ask)
	h := r.until("an answer", from, func(h heard) bool { return h.Asked >= from })
	if h.Asked < from+ask.After {
		t.Errorf("asked after %v", h.Asked-from)
	}
}

func TestManyProbeNowsAtOnceAreFewProbesButNoneIsTooOld(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, slow(s))
	from := r.now()
	var last sentinel.Time
	for range 1000 {
		last = r.now()
		r.pool.ProbeNow(now(false))
	}
	r.until("a probe after the last ask", from, func(h heard) bool { return h.Asked >= last })
	if err := s.WaitInfo(t.Context(), "role", "master"); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, h := range r.probes() {
		if h.Asked >= from {
			n++
		}
	}
	if n > 500 {
		t.Errorf("%d probes", n)
	}
	again := r.now()
	r.pool.ProbeNow(now(false))
	r.until("a probe of its own", again, func(h heard) bool { return h.Asked >= again })
}

func TestProbeNowDoesNotWaitForAHangingConnection(t *testing.T) {
	s := redis(t, redisproc.Options{})
	var dead atomic.Bool
	r := newRigWith(t, func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &mutable{Conn: c, dead: &dead}, err
	})
	r.ready(s, slow(s))
	// From here on, what is sent over the connections that exist gets no answer.
	dead.Store(true)
	from := r.now()
	r.pool.ProbeNow(now(false))
	r.eventually("the probe to hang", func() (string, bool) { return "", !dead.Load() })
	h := r.until("an answer by another way", from, func(h heard) bool { return h.Asked >= from })
	if h.Reply != sentinel.ReplyOK || h.Info == nil {
		t.Errorf("unexpected %v", h)
	}
	if took := h.at - from; took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// mutable swallows one write, and with it the answer, once dead is set.
type mutable struct {
	net.Conn
	dead *atomic.Bool
}

func (m *mutable) Write(b []byte) (int, error) {
	if m.dead.CompareAndSwap(true, false) {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func TestRedialOfAFrozenInstanceThatIsKilledSaysRefused(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, slow(s))
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		r.pool.ProbeNow(now(true))
	}
	from := r.now()
	s.Kill()
	r.until("refused", from, func(h heard) bool { return h.Reply == sentinel.ReplyRefused })
	from = r.now()
	r.pool.ProbeNow(now(true))
	h := r.until("refused again", from, func(h heard) bool { return h.Asked >= from })
	if h.Reply != sentinel.ReplyRefused || h.Lost {
		t.Errorf("unexpected %v", h)
	}
}

func TestProbeNowOfAStrangerIsIgnored(t *testing.T) {
	r := newRig(t)
	r.pool.ProbeNow(now(true))
	r.pool.Close()
	r.pool.ProbeNow(now(true))
	if seen := r.probes(); len(seen) != 0 {
		t.Errorf("unexpected %v", seen)
	}
}
