package resp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// CompatVersion is the Redis version whose Sentinel this server stands in for,
// as HELLO and INFO show it.
const CompatVersion = "7.0.15"

// HelloChannel is the only channel that clients may PUBLISH to.
const HelloChannel = "__sentinel__:hello"

// Options configures a server. The zero value of each field selects the default
// that its comment names.
type Options struct {
	// Password is what AUTH wants of the user "default". Empty: no AUTH needed.
	Password string

	// Users are those of the configuration besides. One named "default" counts instead
	// of Password.
	Users []User

	// Version is triwatch's own version, shown in INFO.
	Version string

	// MaxClients is the largest number of connections, default 10000. Others are
	// told so and closed, as Redis does.
	MaxClients int

	// AuthTimeout is the time in which a connection has to authenticate (and to
	// finish a TLS handshake), default 10 s. There is no other idle time-out.
	AuthTimeout time.Duration

	// WriteTimeout is how long one write to a client may take, default 30 s. It
	// may be cut off after half of that.
	WriteTimeout time.Duration

	// FailoverTimeout bounds Backend.Failover, default 30 s.
	FailoverTimeout time.Duration

	// MaxChannels is the largest number of channels and patterns of one
	// connection together, default 1024.
	MaxChannels int

	// SubscriberBuffer is how many bytes may wait for one subscriber before it is
	// disconnected, default 1 MiB.
	SubscriberBuffer int

	// InputBudget and OutputBudget bound, in bytes, what all connections
	// together may have waiting beyond their small first buffers, default 64 MiB
	// each. A connection that would exceed one is disconnected.
	InputBudget, OutputBudget int

	// Limits and PreAuthLimits bound what a client may send after and before
	// AUTH. Without a password only Limits count.
	Limits, PreAuthLimits Limits

	// UserFile is where the users came from, if not from lines of the configuration.
	UserFile UserFile

	// OnHello receives what clients PUBLISH to HelloChannel. It is called
	// concurrently and must not block. Nil: such messages are dropped.
	OnHello func(payload string)

	// Warn is called for what an operator should see (a slow subscriber cut off,
	// accept failing). The signature is that of zap's SugaredLogger.Warnw. It is
	// called concurrently. Nil: silence.
	Warn func(message string, keysAndValues ...any)
}

// Stats counts since the server was made.
type Stats struct {
	Connected    int    // connections now
	Subscribers  int    // connections with a subscription now
	Channels     int    // distinct channels subscribed to now
	Patterns     int    // distinct patterns subscribed to now
	Accepted     uint64 // connections ever, rejected ones included
	Rejected     uint64 // turned away because of MaxClients
	SlowClosed   uint64 // subscribers cut off because they did not read
	AuthFailed   uint64 // wrong passwords
	AuthTimeouts uint64 // connections closed because they did not authenticate
	Protocol     uint64 // connections closed for a protocol error or a limit
	Commands     uint64 // commands run
	Published    uint64 // messages published
	Delivered    uint64 // messages put into subscribers' queues
}

// Server serves the Sentinel protocol. Make it with NewServer. All methods may
// be called concurrently.
type Server struct {
	backend Backend
	opts    Options
	started time.Time
	hub     *hub
	tables  *tables
	in, out *budget
	stats   counters

	ctx    context.Context // ends when Stop is called
	cancel context.CancelFunc
	lastID atomic.Int64
	port   atomic.Int64
	// simulated are the armed failures as INFO shows them.
	simulated atomic.Int64

	debug  *debugParams
	acllog aclLog
	aclMu  sync.Mutex
	users  map[string]*user // guarded by aclMu

	mu        sync.Mutex // guards what follows, never held across I/O
	stopping  bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	wg        sync.WaitGroup // one per Serve and per connection
}

// counters are the running totals behind Stats.
type counters struct {
	accepted, rejected, slowClosed, authFailed, authTimeouts atomic.Uint64
	protocol, commands, published, delivered                 atomic.Uint64
}

// ErrStopped is returned by Serve if Stop was called before.
var ErrStopped = errors.New("the Sentinel protocol server is stopped")

// NewServer makes a server that answers from backend. It serves nothing until
// Serve is called, but Publish and Stats work already.
func NewServer(backend Backend, opts Options) (*Server, error) {
	if backend == nil {
		return nil, errors.New("make Sentinel protocol server: no backend given")
	}
	if err := opts.setDefaults(); err != nil {
		return nil, fmt.Errorf("make Sentinel protocol server: %w", err)
	}
	s := &Server{
		backend:   backend,
		opts:      opts,
		started:   time.Now(),
		in:        newBudget(opts.InputBudget),
		out:       newBudget(opts.OutputBudget),
		listeners: map[net.Listener]struct{}{},
		conns:     map[*conn]struct{}{},
		tables:    newTables(),
		hub:       newHub(),
		debug:     newDebugParams(),
	}
	if err := s.setUsers(opts.Password, opts.Users); err != nil {
		return nil, fmt.Errorf("make Sentinel protocol server: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// setDefaults fills in what is zero and refuses what can't work.
func (o *Options) setDefaults() error {
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{
		{"MaxClients", &o.MaxClients, 10000},
		{"MaxChannels", &o.MaxChannels, 1024},
		{"SubscriberBuffer", &o.SubscriberBuffer, 1 << 20},
		{"InputBudget", &o.InputBudget, 64 << 20},
		{"OutputBudget", &o.OutputBudget, 64 << 20},
	} {
		if *n.v < 0 {
			return fmt.Errorf("%s is %d, it must not be negative", n.name, *n.v)
		}
		if *n.v == 0 {
			*n.v = n.def
		}
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"AuthTimeout", &o.AuthTimeout, 10 * time.Second},
		{"WriteTimeout", &o.WriteTimeout, 30 * time.Second},
		{"FailoverTimeout", &o.FailoverTimeout, 30 * time.Second},
	} {
		if *d.v < 0 {
			return fmt.Errorf("%s is %s, it must not be negative", d.name, *d.v)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.PreAuthLimits == (Limits{}) {
		o.PreAuthLimits = DefaultPreAuthLimits()
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	if err := o.Limits.validate(); err != nil {
		return fmt.Errorf("Limits: %w", err)
	}
	if err := o.PreAuthLimits.validate(); err != nil {
		return fmt.Errorf("PreAuthLimits: %w", err)
	}
	return nil
}

// Serve accepts connections from ln until Stop, and then returns nil. It closes
// ln in any case. It may be called for several listeners at the same time.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		_ = ln.Close()
		return ErrStopped
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
		_ = ln.Close()
	}()
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		s.port.CompareAndSwap(0, int64(a.Port))
	}
	return s.accept(ln)
}

// accept turns connections into goroutines. A failing accept (no file
// descriptors left, say) is tried again after a pause, because a watcher that
// has stopped listening looks healthy to everybody but its clients.
func (s *Server) accept(ln net.Listener) error {
	const firstPause, lastPause = 5 * time.Millisecond, time.Second
	pause := firstPause
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = firstPause
			s.take(nc)
			continue
		}
		if s.ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
		s.opts.Warn("can't accept Sentinel clients", "address", ln.Addr().String(), "error", err, "retry_in", pause)
		select {
		case <-s.ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// take starts the goroutine of a new connection, or turns it away.
func (s *Server) take(nc net.Conn) {
	s.stats.accepted.Add(1)
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		rawClose(nc)
		return
	}
	if len(s.conns) >= s.opts.MaxClients {
		s.mu.Unlock()
		s.stats.rejected.Add(1)
		if _, wrapped := nc.(interface{ NetConn() net.Conn }); !wrapped {
			// A fresh socket has room for this line; the deadline is for the
			// case that it has not. Under TLS a handshake would be due first.
			_ = nc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			_, _ = nc.Write([]byte("-ERR max number of clients reached\r\n"))
		}
		rawClose(nc)
		return
	}
	c := newConn(s, nc, s.lastID.Add(1))
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// Stop closes the listeners, lets each connection finish its command and each
// subscriber receive what was published, and joins all goroutines. When ctx
// ends, what is left is cut off; Stop then still waits for the goroutines and
// returns ctx's error. It may be called more than once.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	s.cancel() // before the listeners close, so that Serve knows why they did
	for ln := range s.listeners {
		_ = ln.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.finish()
	}
	done := make(chan struct{})
	go func() { // ends with the connections, which Stop waits for below
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, c := range conns {
		c.kill()
	}
	<-done
	return fmt.Errorf("stop Sentinel protocol server: connections cut off: %w", ctx.Err())
}

// Publish sends payload to the subscribers of channel and of patterns that
// match it, and returns how many messages that were. It does not wait for any
// of them, and messages of successive calls keep their order.
func (s *Server) Publish(channel, payload string) int {
	n := s.hub.publish(channel, payload)
	s.stats.published.Add(1)
	s.stats.delivered.Add(uint64(n))
	return n
}

// Subscribers returns the number of connections with at least one channel or
// pattern.
func (s *Server) Subscribers() int {
	n, _, _ := s.hub.sizes()
	return n
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	connected := len(s.conns)
	s.mu.Unlock()
	subscribers, channels, patterns := s.hub.sizes()
	return Stats{
		Connected:    connected,
		Subscribers:  subscribers,
		Channels:     channels,
		Patterns:     patterns,
		Accepted:     s.stats.accepted.Load(),
		Rejected:     s.stats.rejected.Load(),
		SlowClosed:   s.stats.slowClosed.Load(),
		AuthFailed:   s.stats.authFailed.Load(),
		AuthTimeouts: s.stats.authTimeouts.Load(),
		Protocol:     s.stats.protocol.Load(),
		Commands:     s.stats.commands.Load(),
		Published:    s.stats.published.Load(),
		Delivered:    s.stats.delivered.Load(),
	}
}
