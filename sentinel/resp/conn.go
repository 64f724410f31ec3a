package resp

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// slowCommand is how long a client may take over one command that is so large
// that it counts against the budget of all.
const slowCommand = time.Minute

// conn is one client. What is not atomic and not guarded by a lock belongs to
// the goroutine in serve.
type conn struct {
	srv   *Server
	nc    net.Conn
	id    int64
	since time.Time

	rd    *Reader
	w     Writer
	out   *outbox
	authd bool
	quit  bool // close after this command's reply
	proto atomic.Int32
	subs  subscriptions // guarded by the hub
	slow  atomic.Bool   // cut off because it did not read
	user  *user
	who   atomic.Pointer[user] // the same, for others
	track tracking
	reply replyMode

	last   atomic.Pointer[command] // for CLIENT LIST
	active atomic.Int64            // when last was run, Unix milliseconds

	mu       sync.Mutex // guards what follows
	name     string
	libName  string
	libVer   string
	stopping bool
	deadline time.Time // of reading
	command  uint64    // the one that the deadline was set for
}

func newConn(s *Server, nc net.Conn, id int64) *conn {
	c := &conn{srv: s, nc: nc, id: id, since: time.Now()}
	c.login(s.user(defaultUser))
	r := c.user.rights.Load()
	c.authd = r.on && r.noPass
	c.out = newOutbox(nc, &s.opts, s.out)
	c.w = Writer{dst: c.out, proto: 2}
	c.proto.Store(2)
	c.active.Store(c.since.UnixMilli())
	limits := s.opts.Limits
	if !c.authd {
		limits = s.opts.PreAuthLimits
	}
	c.rd = NewReader(nc, limits)
	c.rd.budget = s.in
	c.rd.beforeRead = c.beforeRead
	return c
}

// serve runs the client's commands until it leaves or is made to.
func (c *conn) serve() {
	defer c.end()
	if !c.handshake() {
		return
	}
	for !c.quit {
		args, err := c.rd.ReadCommand()
		if err != nil {
			c.readFailed(err)
			return
		}
		c.runMuted(args)
	}
}

// replyMode says what becomes of replies.
type replyMode int

const (
	replyOn replyMode = iota
	replyOff
	replySkip    // that of the next command is thrown away
	replySkipNow // that of the command under way is
)

// runMuted runs a command and throws its reply away if the client has said so.
func (c *conn) runMuted(args [][]byte) {
	if c.reply == replySkip {
		c.reply = replySkipNow
	}
	if c.reply == replyOn {
		c.run(args)
		if c.reply != replyOff {
			return
		}
		c.w.Mute(true) // only CLIENT REPLY OFF comes by here, which has said nothing
		return
	}
	c.w.Mute(true)
	c.run(args)
	if c.reply == replySkipNow {
		c.reply = replyOn
	}
	c.w.Mute(c.reply == replyOff)
}

// login makes the connection one of u's.
func (c *conn) login(u *user) {
	c.user = u
	c.who.Store(u)
}

// end takes the connection apart: first nobody must push any more, then what is
// queued is written, then the memory is given back.
func (c *conn) end() {
	c.srv.hub.leave(c)
	_ = c.w.Flush() // an error means that the client has gone
	c.out.close()
	c.rd.Release()
	if c.slow.Load() { // said here, because Publish must not wait for a logger
		c.srv.opts.Warn("Sentinel subscriber cut off: it does not read its messages",
			"client", c.nc.RemoteAddr().String(), "limit_bytes", c.srv.opts.SubscriberBuffer)
	}
}

// handshake does that of TLS, if there is one, within the time for AUTH.
func (c *conn) handshake() bool {
	t, ok := c.nc.(interface{ HandshakeContext(context.Context) error })
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.opts.AuthTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		c.out.die()
		return false
	}
	return true
}

// beforeRead sends the replies and sets the time by which more has to come.
func (c *conn) beforeRead() error {
	if err := c.w.Flush(); err != nil {
		return err
	}
	c.w.shrink()
	c.mu.Lock()
	defer c.mu.Unlock()
	want := time.Time{}
	switch {
	case c.stopping:
		return ErrStopped
	case !c.authd:
		want = c.since.Add(c.srv.opts.AuthTimeout)
	case c.rd.held > 0 && c.command == c.rd.commands:
		want = c.deadline
	case c.rd.held > 0:
		want = time.Now().Add(slowCommand)
		c.command = c.rd.commands
	}
	if want.Equal(c.deadline) {
		return nil
	}
	c.deadline = want
	return c.nc.SetReadDeadline(want)
}

// finish lets the connection end by itself: after its command, or at once if it
// is waiting for one.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // an error means that it is closed
}

// kill ends the connection now, without waiting.
func (c *conn) kill() { c.out.die() }

// readFailed tells the client what it did wrong, if that was why.
func (c *conn) readFailed(err error) {
	var protocol ProtocolError
	switch {
	case errors.As(err, &protocol):
		c.srv.stats.protocol.Add(1)
		c.w.Error("ERR " + protocol.Error())
	case errors.Is(err, ErrBudget):
		c.srv.stats.protocol.Add(1)
		c.w.Error("ERR " + ErrBudget.Error())
		c.srv.opts.Warn("Sentinel client cut off: input memory used up",
			"client", c.nc.RemoteAddr().String(), "limit_bytes", c.srv.opts.InputBudget)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.srv.ctx.Err() == nil:
		if !c.authd {
			c.srv.stats.authTimeouts.Add(1)
		}
	}
}

// push queues a published message. It never waits.
func (c *conn) push(b []byte) bool {
	ok, cut := c.out.push(b)
	if cut {
		c.srv.stats.slowClosed.Add(1)
		c.slow.Store(true)
	}
	return ok
}

// authenticated records that the client has given the password.
func (c *conn) authenticated() {
	if !c.authd {
		c.authd = true
		c.rd.SetLimits(c.srv.opts.Limits)
	}
}

// setProto switches the protocol version of all that follows.
func (c *conn) setProto(proto int) {
	c.w.SetProto(proto)
	c.proto.Store(int32(proto))
}
