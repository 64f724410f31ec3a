package writer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// Resolver knows the address to write to.
type Resolver interface {
	// Resolve returns host:port. It is called after every error, by several goroutines, and must return soon after ctx ended.
	Resolve(ctx context.Context) (string, error)
	// Watch calls moved whenever it learns that the master has another address, until ctx ends; it returns after that. A resolver
	// that learns nothing by itself just waits for ctx.
	Watch(ctx context.Context, moved func(addr string))
}

// Fixed is one address that stays, such as a Kubernetes Service's.
type Fixed string

// Resolve returns the address.
func (f Fixed) Resolve(context.Context) (string, error) { return string(f), nil }

// Watch waits for ctx.
func (f Fixed) Watch(ctx context.Context, _ func(string)) { <-ctx.Done() }

// SentinelOptions say whom to ask.
type SentinelOptions struct {
	// Addrs are the watchers' host:port.
	Addrs []string
	// Master is the name that the watchers know the master by.
	Master string
	// User and Password are for the watchers.
	User, Password string
	// Timeout bounds every question; 0 is 200 ms.
	Timeout time.Duration
}

// Sentinel asks watchers that speak the Sentinel protocol, and listens to +switch-master on all of them. It is for one Writer.
type Sentinel struct {
	opts SentinelOptions

	mu     sync.Mutex // one question at a time; the others use its answer
	conn   *wire.Conn
	next   int // index of the watcher that answered last
	addr   string
	err    error
	answer time.Time
}

// NewSentinel checks the options and returns a Resolver that has not asked anybody yet.
func NewSentinel(o SentinelOptions) (*Sentinel, error) {
	if len(o.Addrs) == 0 || o.Master == "" {
		return nil, errors.New("configure writer: addresses of watchers and the name of the master are needed")
	}
	for _, a := range o.Addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("configure writer: the watcher %q must be host:port: %w", a, err)
		}
	}
	o.Timeout = or(o.Timeout, 200*time.Millisecond)
	return &Sentinel{opts: o}, nil
}

// fresh is how long an answer serves all writers: eight of them in an outage would otherwise ask eight thousand times a second.
const fresh = time.Millisecond

// Resolve asks the watcher that answered last, then the others in turn.
func (s *Sentinel) Resolve(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.answer.IsZero() && time.Since(s.answer) < fresh {
		return s.addr, s.err
	}
	var failed []error
	for range s.opts.Addrs {
		addr, err := s.ask(ctx)
		if err == nil {
			s.addr, s.err, s.answer = addr, nil, time.Now()
			return addr, nil
		}
		s.hangUp()
		if ctx.Err() != nil {
			return "", ctx.Err() // not kept: it says nothing about the master
		}
		failed = append(failed, err)
		s.next = (s.next + 1) % len(s.opts.Addrs)
	}
	s.addr, s.err, s.answer = "", fmt.Errorf("ask for master %s: %w", s.opts.Master, errors.Join(failed...)), time.Now()
	return "", s.err
}

// Close closes the connection that questions go over; Resolve opens a new one when it is called again.
func (s *Sentinel) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp()
}

func (s *Sentinel) hangUp() {
	if s.conn != nil {
		s.conn.Close() //nolint:errcheck // it is given up
		s.conn = nil
	}
}

// ask asks one watcher, over the connection that is there or a new one.
func (s *Sentinel) ask(ctx context.Context) (string, error) {
	at := s.opts.Addrs[s.next]
	if s.conn == nil {
		conn, err := wire.Dial(ctx, at, s.wire())
		if err != nil {
			return "", err
		}
		s.conn = conn
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	reply, err := conn.Do("SENTINEL", "get-master-addr-by-name", s.opts.Master)
	if err == nil {
		err = reply.Err()
	}
	if err == nil && len(reply.Items) != 2 {
		err = errors.New("it does not know the master")
	}
	if err != nil {
		return "", fmt.Errorf("watcher %s: %w", at, err)
	}
	return net.JoinHostPort(reply.Items[0].Str, reply.Items[1].Str), nil
}

func (s *Sentinel) wire() wire.Options {
	return wire.Options{User: s.opts.User, Password: s.opts.Password, Timeout: s.opts.Timeout}
}

// Watch listens to all watchers until ctx ends.
func (s *Sentinel) Watch(ctx context.Context, moved func(string)) {
	var all sync.WaitGroup
	for _, at := range s.opts.Addrs {
		all.Go(func() {
			for ctx.Err() == nil {
				s.listen(ctx, at, moved) //nolint:errcheck // the others still listen; this one is tried again
				sleep(ctx, 50*time.Millisecond)
			}
		})
	}
	all.Wait()
	s.Close()
}

// listen reads one watcher's events until the connection breaks.
func (s *Sentinel) listen(ctx context.Context, at string, moved func(string)) error {
	conn, err := wire.Dial(ctx, at, s.wire())
	if err != nil {
		return err
	}
	defer conn.Close()                                      //nolint:errcheck // only read from
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	reply, err := conn.Do("SUBSCRIBE", "+switch-master")
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return err
	}
	conn.SetTimeout(0) // the next event may be hours away
	for {
		event, err := conn.Receive()
		if err != nil {
			return err
		}
		// message, channel, "<name> <old ip> <old port> <new ip> <new port>"
		if len(event.Items) != 3 || event.Items[0].Str != "message" {
			continue
		}
		if f := strings.Fields(event.Items[2].Str); len(f) == 5 && f[0] == s.opts.Master {
			moved(net.JoinHostPort(f[3], f[4]))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
