package redisio

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is a net.Conn that remembers how it ended and what it said first. go-redis
// wraps and replaces errors on their way up; what happened on the socket is noted
// here, where it happens.
type wire struct {
	net.Conn
	// gate is asked right before every write; its error keeps the bytes in. Nil is
	// always open. Set only while nobody uses the wire.
	gate func() error

	lost    atomic.Bool // the other side closed or reset it
	closed  atomic.Bool // somebody here closed it
	retired atomic.Bool // closed by us on purpose: its end proves nothing
	sent    atomic.Bool // bytes were written since the last arm
	// greeting is the error line that a server may send before it closes the
	// connection without having read a word. Read by the reader's goroutine only.
	greeting string
	heard    bool
}

func newWire(nc net.Conn) *wire { return &wire{Conn: nc} }

// Read notes the end of the connection and the first words of the server.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 && !w.heard {
		w.heard = true
		w.greeting = greetingOf(b[:n])
	}
	if err != nil && endedByPeer(err) {
		w.lost.Store(true)
	}
	return n, err
}

// Write asks the gate first.
func (w *wire) Write(b []byte) (int, error) {
	if w.gate != nil {
		if err := w.gate(); err != nil {
			return 0, err
		}
	}
	w.sent.Store(true)
	n, err := w.Conn.Write(b)
	if err != nil && endedByPeer(err) {
		w.lost.Store(true)
	}
	return n, err
}

// Close closes the connection; it may be called more than once and at any time.
func (w *wire) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

// abandon makes the close that follows drop what is still on its way: bytes that the
// network has lost so far are not sent again, so that a write whose outcome is
// unknown lands now or never.
func (w *wire) abandon() {
	nc := w.Conn
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	if c, ok := nc.(interface{ SetLinger(int) error }); ok {
		c.SetLinger(0) //nolint:errcheck // a connection that is gone sends nothing either
	}
}

// retire closes the connection in such a way that nothing is concluded from it.
func (w *wire) retire() {
	w.retired.Store(true)
	w.Close() //nolint:errcheck // there is nothing to be done about it
}

// expire makes the pending and all later reads and writes fail.
func (w *wire) expire() {
	w.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // fails only if it is closed
}

// within bounds what comes next; zero is without bound.
func (w *wire) within(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	w.SetDeadline(at) //nolint:errcheck // fails only if it is closed, which the next use reports
}

// drain reads, whatever comes, until the connection ends, and reports whether the
// other side ended it. g sees what comes.
func (w *wire) drain(g *greetings) bool {
	var buf [64]byte
	for {
		n, err := w.Read(buf[:])
		g.Write(buf[:n])
		if err != nil {
			return w.lost.Load() && !w.retired.Load()
		}
	}
}

// turnedAway is what the server said if it closed the connection without reading
// anything: no slot is free, or it is in protected mode.
func (w *wire) turnedAway() string {
	if strings.Contains(w.greeting, "max number of clients") || strings.HasPrefix(w.greeting, "DENIED") {
		return w.greeting
	}
	return ""
}

// hungUp reports that the other side ended the connection without a word of why.
func (w *wire) hungUp() bool { return w.lost.Load() && w.turnedAway() == "" }

func greetingOf(b []byte) string {
	if b[0] != '-' {
		return ""
	}
	line, _, _ := strings.Cut(string(b[1:min(len(b), 256)]), "\r")
	return line
}

func endedByPeer(err error) bool {
	// The last is an end without the goodbye of TLS.
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// errSpent is what go-redis gets when it wants a second connection.
var errSpent = errors.New("dial: this client has had its only connection")

// once is a go-redis dialer that hands out w and then nothing.
func once(w *wire) func(context.Context, string, string) (net.Conn, error) {
	var used atomic.Bool
	return func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errSpent
		}
		return w, nil
	}
}
