package election

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftStream is Raft's stream layer above our listener and dialer.
type raftStream struct {
	self     raft.ServerAddress
	dialer   *dialer
	book     *addressBook
	incoming chan net.Conn
	dialing  context.Context // ends earlier: Raft's shutdown waits for dials
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	failed   func(addr string, target ID, err error)
}

type raftAddr raft.ServerAddress

func (a raftAddr) Network() string { return "triwatch" }
func (a raftAddr) String() string  { return string(a) }

// Dial implements raft.StreamLayer.
func (s *raftStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, addr := splitServerAddress(address)
	if addr == "" {
		return nil, fmt.Errorf("dial peer %s: %w: no address is known", id.Short(), ErrUnreachable)
	}
	ctx, cancel := context.WithTimeout(s.dialing, timeout)
	defer cancel()
	conn, _, err := s.dialer.dial(ctx, addr, purposeRaft, id)
	if err != nil {
		s.failed(addr, id, err)
		return nil, err
	}
	return conn, nil
}

// Accept implements net.Listener.
func (s *raftStream) Accept() (net.Conn, error) {
	select {
	case c := <-s.incoming:
		return c, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The connections are the Node's to close.
func (s *raftStream) Close() error {
	s.cancel()
	return nil
}

// Addr implements net.Listener.
func (s *raftStream) Addr() net.Addr { return raftAddr(s.self) }

// deliver hands over a connection whose handshake is done.
func (s *raftStream) deliver(c net.Conn) {
	select {
	case s.incoming <- closingConn{c}:
	case <-s.ctx.Done():
		c.Close()
	}
}

// closingConn reads the end of the stream when we closed it ourselves, which
// Raft's transport would report as an error otherwise.
type closingConn struct{ net.Conn }

func (c closingConn) Read(b []byte) (int, error) {
	k, err := c.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return k, err
}

// patientTransport keeps Raft's replication back-off from growing. Raft doubles
// the pause after each failed AppendEntries up to 10.24 s, and does not cut it
// short when the follower is back: after a long absence of one follower and the
// loss of another, nothing could be committed for ten seconds although a
// majority is there. So a failed AppendEntries or InstallSnapshot is given back
// only once a heartbeat, whose own pause is short, has reached the follower:
// it counts as one failure, however long the absence.
type patientTransport struct {
	*raft.NetworkTransport
	mu       sync.Mutex
	waiting  map[raft.ServerID]chan struct{}
	released bool
}

func newPatientTransport(t *raft.NetworkTransport) *patientTransport {
	return &patientTransport{NetworkTransport: t, waiting: make(map[raft.ServerID]chan struct{})}
}

// isHeartbeat recognises a heartbeat the way Raft's own transport does.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return len(a.Entries) == 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && a.LeaderCommitIndex == 0
}

// AppendEntries implements raft.Transport.
func (t *patientTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	switch {
	case err == nil:
		t.wake(id)
	case !isHeartbeat(args):
		t.wait(id)
	}
	return err
}

// InstallSnapshot implements raft.Transport.
func (t *patientTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	err := t.NetworkTransport.InstallSnapshot(id, target, args, resp, data)
	if err != nil {
		t.wait(id)
	}
	return err
}

func (t *patientTransport) wait(id raft.ServerID) {
	t.mu.Lock()
	if t.released {
		t.mu.Unlock()
		return
	}
	ch, ok := t.waiting[id]
	if !ok {
		ch = make(chan struct{})
		t.waiting[id] = ch
	}
	t.mu.Unlock()
	<-ch
}

// wake ends the wait of a peer's failed calls.
func (t *patientTransport) wake(id raft.ServerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ch, ok := t.waiting[id]; ok {
		close(ch)
		delete(t.waiting, id)
	}
}

// wakeAll ends all waits: the heartbeats that would do it end with the
// leadership. With forever set, later calls do not wait either.
func (t *patientTransport) wakeAll(forever bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.released = t.released || forever
	for id, ch := range t.waiting {
		close(ch)
		delete(t.waiting, id)
	}
}
