package redisio_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/test/redisproc"
)

func TestDialFailuresAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want sentinel.Reply
	}{
		"refused":     {syscall.ECONNREFUSED, sentinel.ReplyRefused},
		"host":        {syscall.EHOSTUNREACH, sentinel.ReplyUnreachable},
		"net":         {syscall.ENETUNREACH, sentinel.ReplyUnreachable},
		"name":        {&net.DNSError{Err: "no such host", Name: "redis-0", IsNotFound: true}, sentinel.ReplyUnresolved},
		"timeout":     {context.DeadlineExceeded, sentinel.ReplyTimeout},
		"tcp timeout": {syscall.ETIMEDOUT, sentinel.ReplyTimeout},
		"no ports":    {syscall.EADDRNOTAVAIL, sentinel.ReplyUnknown},
		"other":       {errors.New("strange"), sentinel.ReplyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			var dials atomic.Int32
			r := newRigWith(t, func(context.Context, string, string) (net.Conn, error) {
				dials.Add(1)
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: c.err}
			})
			r.watch(sentinel.Target{Instance: "redis-0", Addr: sentinel.Addr{Host: "redis-0", Port: 6379}, Ping: time.Minute, Timeout: time.Second})
			h := r.until("a probe", 0, func(heard) bool { return true })
			if h.Reply != c.want || h.Lost || h.Detail == "" {
				t.Errorf("unexpected %v", h)
			}
			r.pool.Close()
			if n := dials.Load(); n != 1 {
				t.Errorf("%d dials", n)
			}
		})
	}
}

func TestListenerThatAcceptsAndClosesIsNotDialedWithoutEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			c.Close() //nolint:errcheck // that is what it does
		}
	}()
	r := newRig(t)
	tgt := sentinel.Target{
		Instance: "redis-0", Addr: sentinel.Addr{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port},
		Ping: 100 * time.Millisecond, Timeout: 100 * time.Millisecond,
	}
	r.watch(tgt)
	first := r.untilReply(sentinel.ReplyAccepted, 0)
	r.until("half a second of it", first.at+5*tgt.Ping, func(h heard) bool { return h.Reply == sentinel.ReplyAccepted })
	if n := accepted.Load(); n > 30 {
		t.Errorf("%d connections", n)
	}
	l.Close() //nolint:errcheck // it is time
	<-done
	r.untilReply(sentinel.ReplyRefused, r.now())
}

func TestListenerThatClosesLastIsNotTakenForAlive(t *testing.T) {
	s := redis(t, redisproc.Options{})
	f := newFront(t, s.Addr())
	r := newRig(t)
	tgt := slow(s)
	tgt.Addr = f.addr()
	r.ready(s, tgt)
	from := r.now()
	f.dieSlowly()
	h := r.until("lost", from, func(h heard) bool { return h.Lost })
	if h.Reply != sentinel.ReplyRefused {
		t.Errorf("unexpected %v", h)
	}
	if n := f.late.Load(); n == 0 {
		t.Error("the redial did not meet the listener, nothing was tested")
	}
}

// front forwards connections and can die as a process does.
type front struct {
	l    net.Listener
	late atomic.Int32 // accepted while dying
	wg   sync.WaitGroup

	mu    sync.Mutex
	dying bool
	cs    []net.Conn
}

func newFront(t testing.TB, to string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{l: l}
	t.Cleanup(f.die)
	f.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			f.serve(in, to)
		}
	})
	return f
}

func (f *front) serve(in net.Conn, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dying {
		f.late.Add(1)
		f.l.Close()                    //nolint:errcheck // the listener goes while a connection waits
		in.(*net.TCPConn).SetLinger(0) //nolint:errcheck // the kernel resets what was not accepted
		in.Close()                     //nolint:errcheck // likewise
		return
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		in.Close() //nolint:errcheck // nothing to forward to
		return
	}
	f.cs = append(f.cs, in, out)
	f.wg.Go(func() { io.Copy(in, out) }) //nolint:errcheck // ends with the connections
	f.wg.Go(func() { io.Copy(out, in) }) //nolint:errcheck // likewise
}

func (f *front) addr() sentinel.Addr {
	return sentinel.Addr{Host: "127.0.0.1", Port: f.l.Addr().(*net.TCPAddr).Port}
}

// die closes the listener first.
func (f *front) die() {
	f.l.Close() //nolint:errcheck // it is the purpose
	f.closeAll()
	f.wg.Wait()
}

// dieSlowly closes the connections first, and the listener under the next one.
func (f *front) dieSlowly() {
	f.mu.Lock()
	f.dying = true
	f.mu.Unlock()
	f.closeAll()
	f.wg.Wait()
}

func (f *front) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.cs {
		c.Close() //nolint:errcheck // it is the purpose
	}
}
