package election

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"go.uber.org/zap"
)

// The defaults of the times in Config, chosen so that a lost leader is replaced
// in well under two seconds on an ordinary network.
const (
	DefaultHeartbeat     = 500 * time.Millisecond
	DefaultElection      = 500 * time.Millisecond
	DefaultLease         = 250 * time.Millisecond
	DefaultCommitTimeout = 50 * time.Millisecond
)

// Config is everything a Node needs. Only Dir and Bind must be set. It is
// copied by New; later changes have no effect.
type Config struct {
	// Dir holds the Raft store, the snapshots and the cluster file. It is made
	// when missing, and belongs to one process at a time.
	Dir string
	// Bind is the host:port to listen on. Advertise is the host:port by which
	// the other watchers reach us; empty means the address really bound.
	Bind, Advertise string
	// Peers are the addresses of the other watchers; our own may be among them.
	// The first start of a fresh cluster waits for every one of them. Empty
	// (with Discover nil) means a cluster of one.
	Peers []string
	// Discover, when set, is asked for addresses beside Peers whenever peers are
	// looked for: ten times a second while a cluster is made, so it should answer
	// from a cache. It must honour the context.
	Discover func(context.Context) ([]string, error)
	// Expect is how many watchers, ourselves included, must have been found
	// before a fresh cluster is made. Zero means Peers and ourselves; it must be
	// set when Discover is the only source.
	Expect int
	// Secret, when not empty, must be known to every watcher: each connection
	// starts with a mutual HMAC challenge. It authenticates the start of a
	// connection and encrypts nothing; set TLS for that.
	Secret []byte
	// TLS, when set, wraps every peer connection, as server and as client.
	TLS *tls.Config
	// Heartbeat is how long a follower waits for its leader before it asks for
	// an election, Election how long a candidate waits for votes, Lease how long
	// a leader stays one without hearing from a majority. CommitTimeout bounds
	// how late (up to twice the value) followers learn of a commit; small values
	// cost CPU on an idle cluster. Zero means the default. Lease must not be
	// longer than Heartbeat, nor Heartbeat longer than Election.
	Heartbeat, Election, Lease, CommitTimeout time.Duration
	// Logger gets everything; nil logs nothing.
	Logger *zap.Logger
	// OnMessage gets each payload that a peer sent with Send or Broadcast, one
	// at a time per peer, on that peer's connection. While it runs, nothing
	// more is read from that peer. The payload belongs to the callee. Nil drops
	// them.
	OnMessage func(from ID, payload []byte)
	// Record is the cluster record; nil means the file cluster.json in Dir.
	Record Record
	// Gone asks whoever runs the watchers whether a member is gone for good, and
	// why or why not in words. It is asked only about members that are silent, and
	// an error counts as "not known to be gone". It must be sure: what it calls gone
	// is removed, and when a majority is, the rest goes on without it. Nil, as on
	// hosts, leaves that to a person. It must honour the context.
	Gone func(ctx context.Context, id ID, addr string) (gone bool, why string, err error)
	// Announce, when set, makes our ID known to those who answer Gone. It is tried
	// until it works, at each start and for each new ID. A watcher without a
	// cluster joins none before. It must honour the context.
	Announce func(ctx context.Context, id ID) error
}

// Validate returns every fault of the configuration in one error, or nil. Zero
// times count as their defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("data directory is not set"))
	}
	errs = append(errs, checkHostPort("bind address", c.Bind))
	if c.Advertise != "" {
		errs = append(errs, checkHostPort("advertised address", c.Advertise))
	}
	for _, p := range c.Peers {
		errs = append(errs, checkHostPort("peer address", p))
	}
	if c.Lease > c.Heartbeat {
		errs = append(errs, fmt.Errorf("lease %v must not be longer than heartbeat %v", c.Lease, c.Heartbeat))
	}
	if c.Heartbeat > c.Election {
		errs = append(errs, fmt.Errorf("heartbeat %v must not be longer than election %v", c.Heartbeat, c.Election))
	}
	for _, t := range []struct {
		name string
		d    time.Duration
		min  time.Duration
	}{
		{"heartbeat", c.Heartbeat, 5 * time.Millisecond}, {"election", c.Election, 5 * time.Millisecond},
		{"lease", c.Lease, 5 * time.Millisecond}, {"commit time-out", c.CommitTimeout, time.Millisecond},
	} {
		if t.d < t.min {
			errs = append(errs, fmt.Errorf("%s %v must be at least %v", t.name, t.d, t.min))
		}
	}
	if c.Discover != nil && c.Expect < 1 {
		errs = append(errs, errors.New("the expected number of watchers must be set when peers are discovered"))
	}
	if c.Expect < 0 {
		errs = append(errs, fmt.Errorf("the expected number of watchers must not be negative, is %d", c.Expect))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Heartbeat, DefaultHeartbeat)
	def(&c.Election, DefaultElection)
	def(&c.Lease, DefaultLease)
	def(&c.CommitTimeout, DefaultCommitTimeout)
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

func checkHostPort(what, addr string) error {
	if addr == "" {
		return fmt.Errorf("%s is not set", what)
	}
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("%s %q must be host:port", what, addr)
	}
	return nil
}
