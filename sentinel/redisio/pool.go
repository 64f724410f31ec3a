package redisio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/triwatch/triwatch/sentinel"
)

// WatchChannel is the Pub/Sub channel to which the listening connections are
// subscribed. Nobody publishes to it.
const WatchChannel = "__triwatch__:watch"

// ErrClosed is returned for whatever is asked of a Pool after Close.
var ErrClosed = errors.New("redis connections are closed")

// Options are what a Pool needs. Emit is required, the others have defaults.
type Options struct {
	// Logger gets a line per change, none per probe. Nil is silence.
	Logger *zap.Logger
	// Clock is the watcher's monotonic clock, the one that sentinel.Input.At is read
	// from. Nil counts from New.
	Clock func() sentinel.Time
	// Emit takes the probes. It must be quick; it is called from many goroutines.
	Emit func(sentinel.InputEvent)
	// ClientName is what CLIENT LIST shows; empty is "triwatch".
	ClientName string
	// Dialer makes the connections; nil is net.Dialer. Its context has a deadline.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS wraps every connection; nil does not. The handshake is part of the dial, and
	// of its time.
	TLS *tls.Config
}

// Pool probes the instances of all masters of one watcher and writes to them. All
// methods may be called concurrently.
type Pool struct {
	opt    Options
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	masters map[string]*master
	idle    map[writerKey]*idleLink
	// rewrites are the CONFIG REWRITEs under way; a channel closes with its rewrite.
	rewrites map[sentinel.Addr]chan struct{}
	// greeting are those to whom a greeting is under way.
	greeting map[writerKey]bool
}

// master is what is kept per master.
type master struct {
	creds   Credentials
	probers map[sentinel.InstanceID]*prober
}

// New makes a Pool that probes nothing yet.
func New(opt Options) *Pool {
	if opt.Logger == nil {
		opt.Logger = zap.NewNop()
	}
	if opt.Clock == nil {
		start := time.Now()
		opt.Clock = func() sentinel.Time { return time.Since(start) }
	}
	if opt.Emit == nil {
		opt.Emit = func(sentinel.InputEvent) {}
	}
	if opt.ClientName == "" {
		opt.ClientName = "triwatch"
	}
	if opt.Dialer == nil {
		opt.Dialer = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{opt: opt, ctx: ctx, cancel: cancel, masters: map[string]*master{}, idle: map[writerKey]*idleLink{},
		rewrites: map[sentinel.Addr]chan struct{}{}, greeting: map[writerKey]bool{}}
}

// Watch replaces the targets of one master: probing starts, stops, gets another
// pace, or moves to another address. Targets that are as before cost nothing. No
// targets end all probing of the master; its credentials are kept.
func (p *Pool) Watch(w sentinel.Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	m := p.master(w.Master)
	keep := make(map[sentinel.InstanceID]struct{}, len(w.Targets))
	for _, t := range w.Targets {
		keep[t.Instance] = struct{}{}
		if have := m.probers[t.Instance]; have != nil {
			have.retarget(t)
			continue
		}
		pr := newProber(p, w.Master, t, m.creds)
		m.probers[t.Instance] = pr
		p.wg.Go(pr.run)
	}
	for id, pr := range m.probers {
		if _, ok := keep[id]; !ok {
			delete(m.probers, id)
			pr.stop()
		}
	}
}

// ProbeNow asks for one probe out of turn. Asks for the same instance that have not
// been sent yet are one; an instance that is not watched is not probed.
func (p *Pool) ProbeNow(n sentinel.ProbeNow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if m := p.masters[n.Master]; m != nil && m.probers[n.Instance] != nil {
		m.probers[n.Instance].ask(n.Redial, n.Rights, n.After)
	}
}

// SetCredentials sets what AUTH is given for all instances of a master, from now
// on. Connections that used others are made anew at once; nothing is reported as
// lost because of it.
func (p *Pool) SetCredentials(name string, c Credentials) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.master(name)
	if p.closed || m.creds == c {
		return
	}
	m.creds = c
	for _, pr := range m.probers {
		pr.setCredentials(c)
	}
	p.dropIdleLocked(func(k writerKey) bool { return k.master == name })
}

// Close ends all probing, cancels what Do has under way, and returns when every
// goroutine has ended. Nothing is emitted afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.cancel()
	for _, m := range p.masters {
		for _, pr := range m.probers {
			pr.stop()
		}
	}
	p.dropIdleLocked(func(writerKey) bool { return true })
	p.mu.Unlock()
	p.wg.Wait()
}

// master returns the entry of a master; p.mu is held.
func (p *Pool) master(name string) *master {
	m := p.masters[name]
	if m == nil {
		m = &master{probers: map[sentinel.InstanceID]*prober{}}
		p.masters[name] = m
	}
	return m
}

func (p *Pool) credentials(name string) Credentials {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.credentialsLocked(name)
}

func (p *Pool) credentialsLocked(name string) Credentials {
	if m := p.masters[name]; m != nil {
		return m.creds
	}
	return Credentials{}
}

// spawn runs f in a goroutine that Close waits for, unless Close has begun.
func (p *Pool) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(f)
	return true
}

// dial makes one attempt, bounded by timeout.
func (p *Pool) dial(ctx context.Context, addr sentinel.Addr, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	nc, err := p.opt.Dialer(ctx, "tcp", addr.String()) // net.OpError names the address
	if err != nil {
		return nil, err
	}
	return secured(ctx, nc, addr, p.opt.TLS)
}

// secured makes the handshake of TLS on a new connection, if there is to be one.
func secured(ctx context.Context, nc net.Conn, addr sentinel.Addr, c *tls.Config) (net.Conn, error) {
	if c == nil {
		return nc, nil
	}
	t := tls.Client(nc, c)
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
	}
	return t, nil
}

func (p *Pool) now() sentinel.Time { return p.opt.Clock() }
