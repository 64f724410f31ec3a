package raftsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
	"github.com/triwatch/triwatch/sentinel"
)

// node is the place of one watcher: its identity and what its disk keeps.
type node struct {
	w     *world
	i     int
	id    sentinel.WatcherID
	log   *raft.InmemStore
	snaps *snapshots

	// life holds a token while a process starts or ends. Not a mutex: who waits for one
	// keeps the clock of the bubble from moving, and an end takes time.
	life chan struct{}
	proc *process // nil while none runs; guarded by the world's mu
}

func newNode(w *world, i int) *node {
	return &node{w: w, i: i, id: sentinel.WatcherID(fmt.Sprintf("%040x", i+1)), log: raft.NewInmemStore(), snaps: &snapshots{}, life: make(chan struct{}, 1)}
}

func (n *node) String() string { return fmt.Sprintf("w%d", n.i) }

func (n *node) addr() raft.ServerAddress { return raft.ServerAddress(n.String()) }

func (w *world) nodeAt(a raft.ServerAddress) *node {
	for _, n := range w.nodes {
		if n.addr() == a {
			return n
		}
	}
	panic("nobody is at " + string(a))
}

// raftConfig has the times of election, and snapshots so often that they happen.
func (n *node) raftConfig(notify chan bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 250*time.Millisecond
	c.NotifyCh = notify
	c.SnapshotThreshold, c.SnapshotInterval = 6, time.Second
	// Fewer would be harsher than Raft can bear: a leader whose answers from a follower were
	// lost sends it a snapshot older than what the follower has applied and compacted. Raft
	// 1.7.3 takes it, falls back to it, and panics for want of the entries in between.
	c.TrailingLogs = 16
	c.LogOutput, c.LogLevel, c.NoLegacyTelemetry = raftLog{n}, "WARN", true
	return c
}

// raftLog puts what Raft complains about into the trace.
type raftLog struct{ n *node }

// Write implements io.Writer.
func (l raftLog) Write(b []byte) (int, error) {
	l.n.w.locked(func() {
		l.n.w.tracef("%s raft: %s", l.n, bytes.TrimSpace(b[min(len(b), len("2026-11-23T01:00:00.000Z ")):]))
	})
	return len(b), nil
}

// bootstrap writes the first configuration into the fresh stores.
func (n *node) bootstrap() {
	var conf raft.Configuration
	for _, o := range n.w.nodes {
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(o.id), Address: o.addr()})
	}
	if err := raft.BootstrapCluster(n.raftConfig(nil), n.log, n.log, n.snaps, newWire(n), conf); err != nil {
		n.w.locked(func() { n.w.violate("bootstrap %s: %v", n, err) })
	}
}

// boot starts a process over the stores, if none runs.
func (n *node) boot() {
	n.life <- struct{}{}
	defer func() { <-n.life }()
	w := n.w
	if w.current(n) != nil {
		return
	}
	p := newProcess(n)
	w.locked(func() {
		w.tracef("%s starts", n)
		for _, o := range w.nodes {
			if o.proc != nil {
				o.proc.wire.Connect(n.addr(), p.wire.InmemTransport)
				p.wire.Connect(o.addr(), o.proc.wire.InmemTransport)
			}
		}
		n.proc = p
	})
	if err := p.start(); err != nil {
		w.locked(func() { w.violate("%s cannot start: %v", n, err); n.proc = nil })
	}
}

// kill ends the process, if one runs. From outside it is gone at once.
func (n *node) kill() {
	n.life <- struct{}{}
	defer func() { <-n.life }()
	var p *process
	n.w.locked(func() {
		p, n.proc = n.proc, nil
		if p != nil {
			n.w.tracef("%s dies", n)
		}
	})
	if p != nil {
		p.shutdown()
	}
}

// current is the process that runs on a node, nil if none does.
func (w *world) current(n *node) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return n.proc
}

// leader is the process that believes it leads, nil if none or more than one does.
// The caller holds mu.
func (w *world) leader() *process {
	var found *process
	for _, n := range w.nodes {
		if n.proc == nil || !n.proc.leads {
			continue
		}
		if found != nil {
			return nil
		}
		found = n.proc
	}
	return found
}

// fsm is Raft's state machine: a registry, which the process is told of.
type fsm struct {
	p   *process
	reg *sentinel.Registry
	// index is that of the latest command.
	index uint64
}

// image is a snapshot.
type image struct {
	Index    uint64          `json:"index"`
	Registry json.RawMessage `json:"registry"`
}

// Apply implements raft.FSM.
func (f *fsm) Apply(l *raft.Log) any {
	w := f.p.n.w
	c, err := sentinel.DecodeCommand(l.Data)
	if err != nil {
		w.locked(func() { w.violate("entry %d: %v", l.Index, err) })
		return sentinel.Result{Reason: err.Error()}
	}
	var before sentinel.Committed
	if m := f.reg.Masters[name]; m != nil {
		before = m.Clone()
	}
	res := f.reg.Apply(c)
	f.index = l.Index
	w.locked(func() { w.check.applied(f.p.n, l.Index, c, res, before, f.reg) })
	f.p.box.post(func() { f.p.step(sentinel.Applied{Index: l.Index, Command: c}); f.p.took(l.Index) })
	return res
}

// Snapshot implements raft.FSM.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	reg, err := f.reg.Marshal()
	if err != nil {
		return nil, fmt.Errorf("marshal registry: %w", err)
	}
	b, err := json.Marshal(image{Index: f.index, Registry: reg})
	if err != nil {
		return nil, fmt.Errorf("marshal snapshot: %w", err)
	}
	f.p.n.w.locked(func() { f.p.n.w.sum.snapshots++ })
	return imageBytes(b), nil
}

// Restore implements raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	var img image
	if err := json.Unmarshal(b, &img); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if f.reg, err = sentinel.UnmarshalRegistry(img.Registry); err != nil {
		return err
	}
	own, err := sentinel.UnmarshalRegistry(img.Registry)
	if err != nil {
		return err
	}
	f.index = img.Index
	w := f.p.n.w
	w.locked(func() { w.check.restored(f.p.n, img.Index, f.reg) })
	f.p.box.post(func() { f.p.step(sentinel.Restored{Registry: own}); f.p.took(img.Index) })
	return r.Close()
}

type imageBytes []byte

// Persist implements raft.FSMSnapshot.
func (b imageBytes) Persist(k raft.SnapshotSink) error {
	if _, err := k.Write(b); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return k.Close()
}

// Release implements raft.FSMSnapshot.
func (imageBytes) Release() {}
