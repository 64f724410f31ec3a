package raftsim

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// errCut is what a message ends with that does not get through.
var errCut = errors.New("no answer")

// patience is how long a Raft message that got lost is waited for.
const patience = 200 * time.Millisecond

// wire is a process' side of Raft's network: Raft's own in-memory transport, with
// delays, and with ways that can be cut in one direction.
type wire struct {
	*raft.InmemTransport
	n *node
}

func newWire(n *node) *wire {
	_, t := raft.NewInmemTransportWithTimeout(n.addr(), patience)
	return &wire{InmemTransport: t, n: n}
}

// exchange is one request and its answer. The answer can get lost alone.
func (t *wire) exchange(target raft.ServerAddress, send func() error) error {
	w, to := t.n.w, t.n.w.nodeAt(target)
	time.Sleep(w.delay())
	if w.blocked(t.n.i, to.i) {
		time.Sleep(patience)
		return fmt.Errorf("send to %s: %w", target, errCut)
	}
	err := send()
	time.Sleep(w.delay())
	if w.blocked(to.i, t.n.i) {
		time.Sleep(patience)
		return fmt.Errorf("hear from %s: %w", target, errCut)
	}
	return err
}

// AppendEntriesPipeline implements raft.Transport: every message goes by exchange.
func (t *wire) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements raft.Transport.
func (t *wire) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if len(args.Entries) > 0 {
		t.n.w.stalled()
	}
	return t.exchange(target, func() error { return t.InmemTransport.AppendEntries(id, target, args, resp) })
}

// RequestVote implements raft.Transport.
func (t *wire) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.exchange(target, func() error { return t.InmemTransport.RequestVote(id, target, args, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t *wire) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.exchange(target, func() error { return t.InmemTransport.RequestPreVote(id, target, args, resp) })
}

// InstallSnapshot implements raft.Transport.
func (t *wire) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.exchange(target, func() error { return t.InmemTransport.InstallSnapshot(id, target, args, resp, data) })
}

// TimeoutNow implements raft.Transport.
func (t *wire) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.exchange(target, func() error { return t.InmemTransport.TimeoutNow(id, target, args, resp) })
}

// snapshotsKept is how many snapshots a node keeps.
const snapshotsKept = 3

// snapshots keeps complete snapshots. Raft's own in-memory store shows one from the
// moment that it is begun, so that it can be sent or found half written.
type snapshots struct {
	mu  sync.Mutex
	all []*sink // the latest index first
}

type sink struct {
	bytes.Buffer
	store *snapshots
	meta  raft.SnapshotMeta
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(v raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{store: s, meta: raft.SnapshotMeta{Version: v, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: conf, ConfigurationIndex: confIndex}}, nil
}

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*raft.SnapshotMeta
	for _, k := range s.all {
		meta := k.meta
		out = append(out, &meta)
	}
	return out, nil
}

// Open implements raft.SnapshotStore. What a leader has just sent is opened even if
// a newer one of this node's own is there.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.all {
		if k.meta.ID == id {
			meta := k.meta
			return &meta, io.NopCloser(bytes.NewReader(k.Bytes())), nil
		}
	}
	return nil, nil, fmt.Errorf("open snapshot %s: it is not kept", id)
}

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return k.meta.ID }

// Cancel implements raft.SnapshotSink.
func (k *sink) Cancel() error { return nil }

// Close implements raft.SnapshotSink: the snapshot is complete.
func (k *sink) Close() error {
	s := k.store
	s.mu.Lock()
	defer s.mu.Unlock()
	k.meta.Size = int64(k.Len())
	s.all = slices.DeleteFunc(s.all, func(o *sink) bool { return o.meta.ID == k.meta.ID })
	s.all = append(s.all, k)
	slices.SortFunc(s.all, func(a, b *sink) int { return cmp.Compare(b.meta.Index, a.meta.Index) })
	s.all = s.all[:min(len(s.all), snapshotsKept)]
	return nil
}
