package election

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// Limits of the hand-over at the end.
const (
	handOverTimeout = time.Second
	drainTimeout    = 500 * time.Millisecond
)

// Node is one member of the Raft cluster. All methods may be called from any
// goroutine.
type Node struct {
	cfg     Config
	log     *zap.Logger
	machine Machine
	store   *store
	book    *addressBook
	conns   *connSet
	dialer  *dialer
	links   *links
	seen    *seenLines

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	acting context.Context // ends also when we are superseded
	halt   context.CancelFunc
	group  group // our goroutines
	// futures are the goroutines that wait for Raft's futures. They end by
	// themselves, but for one case Stop must not wait for, see shutDownRaft.
	futures     group
	stopOnce    sync.Once
	stopErr     error
	nudge       chan struct{} // the tending loop should look now
	suspects    chan ID       // leaders whose connection has ended
	leaderships chan Leadership
	changes     chan struct{}
	notify      chan bool // Raft's NotifyCh

	transition sync.Mutex // changes of member, one at a time
	recordMu   sync.Mutex // one Record call at a time
	// Used by the tending loop alone: what it last wrote, and when it failed.
	recorded     ClusterRecord
	recordFailed time.Time

	mu           sync.Mutex // guards the rest
	listener     net.Listener
	addr         string
	member       membership
	view         []Voter // who was seen at the last look around
	viewComplete bool
	raft         *raft.Raft
	stream       *raftStream
	transport    *patientTransport
	waiting      string
	superseded   bool
	removed      bool
	yieldUntil   time.Time     // until then another watcher may succeed the leader
	readyTerm    uint64        // the term whose barrier has passed here
	joins        map[ID]string // who asked us, the leader, to be added
	expelled     map[ID]bool   // who was removed while we led
}

// New opens the store in cfg.Dir, and makes the identity when the store is
// fresh. It returns an error that wraps ErrDirInUse or ErrDamaged, naming the
// directory or file, when the store can not be used. The caller owes a Stop.
func New(cfg Config, m Machine) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check election configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	if cfg.Record == nil {
		cfg.Record = NewFileRecord(cfg.Dir)
	}
	st, err := openStore(cfg.Dir, newRaftLogger(cfg.Logger))
	if err != nil {
		return nil, err
	}
	member, err := st.loadMembership()
	if err != nil {
		return nil, errors.Join(err, st.bolt.Close())
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, machine: m, store: st, member: member,
		book: newAddressBook(), conns: newConnSet(), seen: newSeenLines(),
		nudge: make(chan struct{}, 1), suspects: make(chan ID, 1), leaderships: make(chan Leadership), changes: make(chan struct{}, 1),
		// Raft blocks when this is full; the reader never waits for anything.
		notify: make(chan bool, 16),
		addr:   cfg.Advertise, joins: make(map[ID]string), expelled: make(map[ID]bool), waiting: "not started",
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.acting, n.halt = context.WithCancel(n.ctx)
	n.links = newLinks(n)
	n.dialer = &dialer{secret: cfg.Secret, tls: cfg.TLS, identity: n.identity, learned: n.learned, conns: n.conns}
	return n, nil
}

// Start listens on cfg.Bind and returns; making or joining the cluster goes on
// in the background and waits for missing peers as long as it takes.
func (n *Node) Start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", n.cfg.Bind)
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	n.mu.Lock()
	started := n.listener != nil
	if !started {
		n.listener = ln
		if n.addr == "" {
			n.addr = ln.Addr().String()
		}
		n.waiting = "waiting for the first look at the peers"
	}
	n.mu.Unlock()
	if started || n.ctx.Err() != nil {
		return errors.Join(errors.New("start election: it was started or stopped before"), ln.Close())
	}
	if host, _, _ := net.SplitHostPort(n.Addr()); net.ParseIP(host).IsUnspecified() {
		n.log.Warn("the advertised address is not one that peers can dial; set it", zap.String("address", n.Addr()))
	}
	n.group.run(func() { n.accept(ln) })
	n.group.run(n.run)
	return nil
}

// run settles the cluster, runs Raft and tends the members until Stop.
func (n *Node) run() {
	n.log.Info("watcher identity", zap.String("id", string(n.store.id)), zap.String("address", n.Addr()), zap.String("directory", n.cfg.Dir))
	if n.settle(n.ctx) != nil {
		return
	}
	n.checkGeneration()
	if n.acting.Err() != nil {
		return
	}
	if err := n.startRaft(); err != nil {
		n.setWaiting(fmt.Sprintf("raft can not start: %v", err))
		return
	}
	n.tend()
	// When superseded, the rest goes on answering. On Stop it may be that it
	// looked for a Raft before we had one.
	n.shutDownRaft()
}

// Stop hands the leadership to another voter, at most about a second long, and
// closes everything. When it returns no goroutine of the Node is left. The
// context bounds the hand-over only. Later calls return what the first did.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() { n.stopErr = n.stop(ctx) })
	return n.stopErr
}

func (n *Node) stop(ctx context.Context) error {
	// 1. Hand over while everything still works: the others then have a leader
	// after a round trip instead of after a heartbeat and an election time-out.
	if n.leading() && ctx.Err() == nil {
		tctx, cancel := context.WithTimeout(ctx, handOverTimeout)
		if err := n.TransferLeadership(tctx); err != nil {
			n.log.Info("stopping without a successor", zap.Error(err))
		}
		cancel()
	}
	// 2. End our own loops before Raft: one that is about to change the
	// configuration should see its context end, not a Raft that is gone.
	n.cancel()
	n.mu.Lock()
	ln := n.listener
	n.mu.Unlock()
	var errs []error
	if ln != nil {
		errs = append(errs, ln.Close()) // no new handshakes
	}
	// 3. Raft's goroutines wait for its own channels and for connections; it
	// closes the former itself.
	n.shutDownRaft()
	// 4. Connections after Raft, which would log their ends as failures of
	// peers; before waiting for the goroutines, which wait on connections.
	n.conns.closeAll()
	n.group.wait()
	close(n.leaderships) // their only senders have ended
	close(n.changes)
	// 5. The store last: Raft panics when it can not write.
	if err := n.store.bolt.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close raft store: %w", err))
	}
	return errors.Join(errs...)
}

// shutDownRaft ends Raft, if it runs, and returns when it has written its last.
func (n *Node) shutDownRaft() {
	n.mu.Lock()
	r, transport, stream := n.raft, n.transport, n.stream
	n.raft = nil
	n.mu.Unlock()
	if r == nil {
		n.futures.close()
		return
	}
	// An entry that is committed in the instant of the shutdown may reach the
	// applying goroutine after that has ended; its future then never returns. So
	// what is in flight gets a moment first, and is not waited for without end.
	n.futures.close()
	drained := make(chan struct{})
	go func() { n.futures.wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainTimeout):
	}
	transport.wakeAll(true) // replication that waits for an absent peer
	if err := r.Shutdown().Error(); err != nil {
		n.log.Warn("raft shutdown failed", zap.Error(err))
	}
	stream.cancel()
	transport.CloseStreams()
	select {
	case <-drained:
	case <-time.After(drainTimeout):
		n.log.Warn("a raft future was left waiting at shutdown")
	}
}

// startRaft opens Raft's side of the peer port. Founders bootstrap, all with
// the same configuration, unless they have a log already.
func (n *Node) startRaft() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(n.store.path, fmt.Errorf("%v", p))
		}
		if err != nil {
			n.log.Error("raft can not start", zap.Error(err))
		}
	}()
	m := n.membership()
	logger := newRaftLogger(n.log)
	sctx, scancel := context.WithCancel(context.Background()) // ends with the transport
	stream := &raftStream{
		self: joinServerAddress(n.store.id, n.Addr()), dialer: n.dialer, book: n.book,
		incoming: make(chan net.Conn), dialing: n.ctx, ctx: sctx, cancel: scancel, failed: n.dialFailed,
	}
	n.book.learn(n.store.id, n.Addr())
	transport := newPatientTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: n.book, Logger: logger, Stream: stream,
		MaxPool: 3, Timeout: max(2*n.cfg.Election, 250*time.Millisecond), MsgpackUseNewTimeFormat: true,
	}))
	fail := func(err error) error { return errors.Join(err, transport.Close()) }
	conf := n.raftConfig()
	conf.Logger = logger
	cache, err := raft.NewLogCache(512, n.store.bolt)
	if err != nil {
		return fail(err)
	}
	used, err := raft.HasExistingState(n.store.bolt, n.store.bolt, n.store.snaps)
	if err != nil {
		return fail(damaged(n.store.path, err))
	}
	if !used && len(m.Voters) > 0 {
		first := firstConfiguration(m.Voters)
		if err := raft.BootstrapCluster(conf, n.store.bolt, n.store.bolt, n.store.snaps, transport, first); err != nil {
			return fail(fmt.Errorf("bootstrap raft: %w", err))
		}
	}
	r, err := raft.NewRaft(conf, machineFSM{n.machine}, cache, n.store.bolt, n.store.snaps, transport)
	if err != nil {
		return fail(fmt.Errorf("start raft from %s: %w", n.store.path, err))
	}
	n.mu.Lock()
	n.raft, n.stream, n.transport = r, stream, transport
	n.mu.Unlock()
	n.observe(r, transport)
	return nil
}

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.store.id)
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Heartbeat, n.cfg.Election
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Lease, n.cfg.CommitTimeout
	c.NotifyCh = n.notify
	// A removed watcher goes on answering; only a person decides that it ends.
	c.ShutdownOnRemove = false
	// The state is small and commands are rare: a short log starts fast.
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 1024, time.Minute, 256
	c.NoLegacyTelemetry = true
	return c
}

func firstConfiguration(voters []Voter) raft.Configuration {
	var c raft.Configuration
	for _, v := range voters {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(v.ID), Address: joinServerAddress(v.ID, v.Addr),
		})
	}
	return c
}
