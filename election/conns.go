package election

import (
	"net"
	"sync"
)

// connSet holds every open connection, so that Stop can close what Raft's
// transport and our own readers wait on.
type connSet struct {
	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

func newConnSet() *connSet { return &connSet{open: make(map[*trackedConn]struct{})} }

// trackedConn leaves its set when it is closed.
type trackedConn struct {
	net.Conn
	set  *connSet
	raw  net.Conn
	once sync.Once
	err  error
}

// add takes a connection in; after closeAll it closes it and returns false.
func (s *connSet) add(c net.Conn) (*trackedConn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, false
	}
	t := &trackedConn{Conn: c, raw: c, set: s}
	s.open[t] = struct{}{}
	return t, true
}

// Close closes the connection once. The raw connection is closed rather than a
// TLS layer above it, whose goodbye could block on a peer that reads nothing.
func (t *trackedConn) Close() error {
	t.once.Do(func() {
		t.set.mu.Lock()
		delete(t.set.open, t)
		t.set.mu.Unlock()
		t.err = t.raw.Close()
	})
	return t.err
}

// count returns how many connections are open.
func (s *connSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// closeAll closes every connection and refuses later ones.
func (s *connSet) closeAll() {
	s.mu.Lock()
	s.closed = true
	open := make([]*trackedConn, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}
