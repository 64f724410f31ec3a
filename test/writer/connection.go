package writer

import (
	"context"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// connection is one of the writers: a loop of attempts with a sequence that never goes back.
type connection struct {
	w     *Writer
	id    int
	mode  Mode
	batch int
	every time.Duration // distance of two batches, 0 without a Rate
	next  time.Time     // earliest time of the next batch
	seq   int64         // the next sequence to send
	hints int           // number of the last hint that was seen
	last  string        // address of the last attempt
}

func newConnection(w *Writer, id int) *connection {
	o := w.opts
	c := &connection{w: w, id: id, mode: o.Modes[id%len(o.Modes)]}
	c.batch = o.batch(c.mode)
	if o.Rate > 0 {
		c.every = time.Duration(float64(time.Second) * float64(c.batch) * float64(o.Conns) / float64(o.Rate))
		// All starting at once would leave a gap of their common distance.
		c.next = time.Now().Add(c.every * time.Duration(id) / time.Duration(o.Conns))
	}
	return c
}

// run makes one attempt after the other, a short pause between them, until the Writer ends.
func (c *connection) run(ctx context.Context) {
	for !c.w.ending() {
		a, no := c.w.begin(ctx, c.hints, c.last)
		err := c.attempt(a)
		c.hints, c.last = no, a.addr
		moved := a.ctx.Err() != nil
		c.w.over(a)
		switch {
		case c.w.ending():
			return
		case moved:
			c.w.tracker.failed(KindMoved, 1)
			continue // the next attempt uses the hint at once
		case err != nil:
			c.w.tracker.failed(kindOf(err), 1)
		}
		c.wait(c.w.opts.Pause)
	}
}

// noAddress marks an error of the resolver, which is not one of the master's.
type noAddress struct{ error }

// attempt writes over one connection until its first error, which it returns. Error replies are counted where they are read.
func (c *connection) attempt(a *attempt) error {
	if a.addr == "" {
		addr, err := c.w.opts.Resolver.Resolve(a.ctx)
		if err != nil {
			return noAddress{err}
		}
		c.w.located(a, addr)
	}
	conn, err := wire.Dial(a.ctx, a.addr, wire.Options{User: c.w.opts.User, Password: c.w.opts.Password, Timeout: c.w.opts.Timeout})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all that counts was read
	c.w.connected(a)
	c.w.tracker.dialed()
	stop := context.AfterFunc(a.ctx, func() { conn.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	for c.turn() {
		good, err := c.write(conn)
		if err != nil {
			return err
		}
		if !good {
			// Behind a Service another server may answer the next connection, so this one goes.
			return conn.Abort()
		}
	}
	return nil
}

// turn waits for the connection's next turn under the Rate; it is false when the Writer ends.
func (c *connection) turn() bool {
	if c.every > 0 {
		now := time.Now()
		if d := c.next.Sub(now); d > 0 {
			c.wait(d)
		} else if -d > c.every {
			c.next = now // what an outage kept back is not made up for
		}
		c.next = c.next.Add(c.every)
	}
	return !c.w.ending()
}

func (c *connection) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.w.stop:
	case <-t.C:
	}
}

// write sends one batch and reads all its replies. good is false after an error reply; err is an I/O error, after which replies may be missing.
func (c *connection) write(conn *wire.Conn) (good bool, err error) {
	lo := c.seq
	c.seq += int64(c.batch) // whatever happens, these sequences are used up
	if c.mode == Multi {
		conn.Append("MULTI")
	}
	for seq := lo; seq < c.seq; seq++ {
		k := Key{Conn: c.id, Seq: seq}
		conn.Append("SET", k.Name(c.w.opts.Prefix), k.value())
	}
	if c.mode == Multi {
		conn.Append("EXEC")
	}
	if err := conn.Flush(); err != nil {
		c.w.tracker.lost(c.seq - lo)
		return false, err
	}
	if c.mode == Multi {
		return c.readMulti(conn, lo)
	}
	return c.readSets(conn, lo)
}

// readSets reads one reply for each SET. After an error reply it goes on: later ones may be acknowledged.
func (c *connection) readSets(conn *wire.Conn, lo int64) (bool, error) {
	good := true
	for seq := lo; seq < c.seq; seq++ {
		reply, err := conn.Receive()
		if err != nil {
			c.w.tracker.lost(c.seq - seq)
			return false, err
		}
		good = c.judge(reply, seq) && good
	}
	return good, nil
}

// readMulti reads the replies to MULTI, to each SET (QUEUED) and to EXEC; only the last one acknowledges.
func (c *connection) readMulti(conn *wire.Conn, lo int64) (bool, error) {
	var first error
	for range c.batch + 1 {
		reply, err := conn.Receive()
		if err != nil {
			c.w.tracker.lost(c.seq - lo)
			return false, err
		}
		if first == nil {
			first = reply.Err()
		}
	}
	exec, err := conn.Receive()
	if err != nil {
		c.w.tracker.lost(c.seq - lo)
		return false, err
	}
	if exec.Kind == wire.Array && len(exec.Items) == c.batch {
		good := first == nil
		for i, item := range exec.Items {
			good = c.judge(item, lo+int64(i)) && good
		}
		return good, nil
	}
	// EXECABORT only repeats that a queued command was refused; the reason came before it.
	if first == nil {
		if first = exec.Err(); first == nil {
			first = wire.ErrProtocol
		}
	}
	c.w.tracker.failed(kindOf(first), int64(c.batch))
	return false, nil
}

// judge counts one reply to a SET.
func (c *connection) judge(reply wire.Reply, seq int64) bool {
	if reply.Kind == wire.Status && reply.Str == "OK" {
		c.w.tracker.ack(c.id, seq, seq+1, time.Now())
		return true
	}
	err := reply.Err()
	if err == nil {
		err = wire.ErrProtocol
	}
	c.w.tracker.failed(kindOf(err), 1)
	return false
}
