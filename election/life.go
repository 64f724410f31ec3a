package election

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// Limits of the hand-over at the end.
const (
	handOverTimeout = time.Second
	drainTimeout    = 500 * time.Millisecond
)

// life is one life of a watcher: from opening a store to giving it up. A Node
// has one after the other: a new one begins when the cluster takes a new
// generation from this watcher, and when this watcher was left behind and joins
// anew under a new ID. Nothing of one life is used in the next but what the Node
// itself holds. All methods may be called from any goroutine.
type life struct {
	cfg     Config
	log     *zap.Logger
	machine *machineFSM
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
	futures group
	// over is sent why this life must end for another to begin, at most once.
	over        chan ending
	leaving     *atomic.Bool    // this watcher is terminating
	unfit       *atomic.Bool    // this watcher cannot lead
	nudge       chan struct{}   // the tending loop should look now
	suspects    chan ID         // leaders whose connection has ended
	leaderships chan Leadership // the Node's, as is the next
	changes     chan struct{}
	notify      chan bool // Raft's NotifyCh

	transition sync.Mutex // changes of member, one at a time
	recordMu   sync.Mutex // one Record call at a time
	// Used by the tending loop alone: what it last wrote or saw, and when; when it
	// failed; and what it knows of members that are gone.
	recorded     ClusterRecord
	recordSeen   time.Time
	recordFailed time.Time
	handedOver   time.Time
	gone         goneWatch

	mu         sync.Mutex // guards the rest
	addr       string
	member     membership
	view       view // who was seen at the last look around
	announced  bool // Config.Announce has worked
	raft       *raft.Raft
	stream     *raftStream
	transport  *patientTransport
	waiting    string
	superseded bool
	removed    bool
	yieldUntil time.Time     // until then another watcher may succeed the leader
	quorumAt   time.Time     // when a leader was known last
	readyTerm  uint64        // the term whose barrier has passed here
	joins      map[ID]string // who asked us, the leader, to be added
	lastJoin   time.Time     // when one last did
	expelled   map[ID]bool   // who was removed while we led
}

// newLife opens the store in the data directory.
func newLife(node *Node) (*life, error) {
	cfg := node.cfg
	st, err := openStore(cfg.Dir, newRaftLogger(cfg.Logger))
	if err != nil {
		return nil, err
	}
	member, err := st.loadMembership()
	if err != nil {
		return nil, errors.Join(err, st.bolt.Close())
	}
	n := &life{
		cfg: cfg, log: cfg.Logger, machine: node.machine, store: st, member: member,
		book: newAddressBook(), conns: newConnSet(), seen: newSeenLines(),
		over: make(chan ending, 1), leaving: &node.leaving, unfit: &node.unfit,
		nudge: make(chan struct{}, 1), suspects: make(chan ID, 1), leaderships: node.leaderships, changes: node.changes,
		// Raft blocks when this is full; the reader never waits for anything.
		notify: make(chan bool, 16),
		addr:   node.Addr(), joins: make(map[ID]string), expelled: make(map[ID]bool), waiting: "not started",
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.acting, n.halt = context.WithCancel(n.ctx)
	n.links = newLinks(n)
	n.dialer = &dialer{secret: cfg.Secret, tls: cfg.TLS, identity: n.identity, learned: n.learned, conns: n.conns}
	return n, nil
}

// start takes connections from the listener and begins to work.
func (n *life) start(ln net.Listener, addr string) {
	n.mu.Lock()
	n.addr, n.waiting = addr, "waiting for the first look at the peers"
	n.mu.Unlock()
	n.group.run(func() { n.accept(ln) })
	n.group.run(n.run)
	n.group.run(n.announce)
}

// ending is why a life ends although the watcher goes on.
type ending uint8

const (
	endingUnknown ending = iota
	// endingRestart goes on with the same store, under the new generation that
	// the record has given it.
	endingRestart
	// endingDiscard puts the store aside and begins with a fresh one: the cluster
	// has gone on without it.
	endingDiscard
)

func (e ending) String() string {
	switch e {
	case endingUnknown:
		return "unknown"
	case endingRestart:
		return "restart"
	case endingDiscard:
		return "discard"
	default:
		return fmt.Sprintf("ending %d", uint8(e))
	}
}

// end asks the Node for another life. Only the first request counts.
func (n *life) end(why ending) {
	n.halt()
	select {
	case n.over <- why:
	default:
	}
}

// run settles the cluster, runs Raft and tends the members until Stop.
func (n *life) run() {
	n.log.Info("watcher identity", zap.String("id", string(n.store.id)), zap.String("address", n.Addr()), zap.String("directory", n.cfg.Dir))
	if n.settle(n.ctx) != nil {
		return
	}
	if err := n.checkGeneration(); err != nil {
		n.setWaiting(fmt.Sprintf("the new generation can not be begun: %v", err))
		return
	}
	if n.acting.Err() != nil {
		return
	}
	if err := n.startRaft(); err != nil {
		n.setWaiting(fmt.Sprintf("raft can not start: %v", err))
		return
	}
	n.tend()
	// When superseded and not to begin anew, the rest goes on answering. On Stop it may be that it
	// looked for a Raft before we had one.
	n.shutDownRaft()
}

// stop ends this life, at most about a second after handing the leadership on.
// When it returns none of its goroutines is left. The listener is left open.
func (n *life) stop(ctx context.Context, ln net.Listener) error {
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
	interrupt(ln) // no new handshakes
	// 3. Raft's goroutines wait for its own channels and for connections; it
	// closes the former itself.
	n.shutDownRaft()
	// 4. Connections after Raft, which would log their ends as failures of
	// peers; before waiting for the goroutines, which wait on connections.
	n.conns.closeAll()
	n.group.wait()
	// 5. The store last: Raft panics when it can not write.
	if err := n.store.bolt.Close(); err != nil {
		return fmt.Errorf("close raft store: %w", err)
	}
	return nil
}

// interrupt makes a listener's Accept return; one that can't be interrupted is
// closed.
func interrupt(ln net.Listener) {
	if t, ok := ln.(*net.TCPListener); ok {
		_ = t.SetDeadline(time.Unix(1, 0)) // fails when it is closed already
	} else if ln != nil {
		_ = ln.Close()
	}
}

// shutDownRaft ends Raft, if it runs, and returns when it has written its last.
func (n *life) shutDownRaft() {
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
