package resp

import (
	"net"
	"sync"
	"time"
)

const (
	keepQueue   = 16 << 10 // largest buffer that an idle queue keeps
	freeQueue   = 4 << 10  // a queue below this is never the one that gives way
	maxBackPush = 64 << 10 // own replies that may wait in a queue
)

// outbox is the way out of a connection. At first its one goroutine writes to
// the socket directly. With the first subscription others have something to say
// as well: then everything goes through a queue, which a second goroutine
// drains.
type outbox struct {
	nc           net.Conn
	writeTimeout time.Duration
	limit        int
	budget       *budget
	deadline     time.Time // of writing; belongs to whoever writes

	mu       sync.Mutex
	changed  sync.Cond // of anything below
	queued   bool      // the queue is in use
	queue    []byte
	spare    []byte // the queue's other buffer
	inFlight int    // bytes that are being written
	closing  bool   // write what is queued, then stop
	dead     bool   // stop
	done     chan struct{}
}

func newOutbox(nc net.Conn, o *Options, b *budget) *outbox {
	x := &outbox{nc: nc, writeTimeout: o.WriteTimeout, limit: o.SubscriberBuffer, budget: b}
	x.changed.L = &x.mu
	return x
}

// Write takes replies of the connection's own goroutine. It waits for a slow
// client, which so only slows itself down.
func (x *outbox) Write(b []byte) (int, error) {
	x.mu.Lock()
	if !x.queued {
		x.mu.Unlock()
		return x.writeNow(b)
	}
	defer x.mu.Unlock()
	x.wait()
	if x.dead || !x.add(b) {
		return 0, net.ErrClosed
	}
	return len(b), nil
}

// waitForRoom waits until the queue is short enough for more replies.
func (x *outbox) waitForRoom() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wait()
}

func (x *outbox) wait() {
	for len(x.queue)+x.inFlight > min(maxBackPush, x.limit/4) && !x.dead {
		x.changed.Wait()
	}
}

// push takes a message without ever waiting. It returns false if the client is
// too far behind; the outbox is dead then.
func (x *outbox) push(b []byte) (ok, cut bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.dead || x.closing {
		return false, false
	}
	if len(x.queue)+x.inFlight+len(b) > x.limit || !x.add(b) {
		x.dieLocked()
		return false, true
	}
	return true, false
}

// add appends to the queue. The bytes beyond the free ones count against the
// budget of all.
func (x *outbox) add(b []byte) bool {
	have := len(x.queue) + x.inFlight
	if !x.budget.reserve(beyond(have+len(b), freeQueue) - beyond(have, freeQueue)) {
		return false
	}
	x.queue = append(x.queue, b...)
	x.changed.Broadcast()
	return true
}

func beyond(n, free int) int { return max(n-free, 0) }

// start begins to use the queue. The connection's goroutine calls it.
func (x *outbox) start() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.queued {
		return
	}
	x.queued = true
	x.done = make(chan struct{})
	go x.drain()
}

// drain writes the queue until the outbox is dead, or closing and empty.
func (x *outbox) drain() {
	defer close(x.done)
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		for len(x.queue) == 0 && !x.dead && !x.closing {
			x.changed.Wait()
		}
		if x.dead || len(x.queue) == 0 {
			return
		}
		b := x.queue
		x.queue, x.spare = x.spare[:0], nil
		x.inFlight = len(b)
		x.mu.Unlock()
		_, err := x.writeNow(b)
		x.mu.Lock()
		x.budget.release(beyond(len(b)+len(x.queue), freeQueue) - beyond(len(x.queue), freeQueue))
		x.inFlight = 0
		if cap(b) <= keepQueue {
			x.spare = b
		}
		if err != nil {
			x.dieLocked()
		}
		x.changed.Broadcast()
	}
}

// writeNow writes to the socket. Only one goroutine does so at a time: that of
// the connection before start, drain after it. A deadline that is still far
// enough away is kept, because moving it costs as much as a small command.
func (x *outbox) writeNow(b []byte) (int, error) {
	if now := time.Now(); x.deadline.Sub(now) < x.writeTimeout/2 {
		x.deadline = now.Add(x.writeTimeout)
		if err := x.nc.SetWriteDeadline(x.deadline); err != nil {
			return 0, err
		}
	}
	return x.nc.Write(b)
}

// die ends all reading and writing at once. It does not wait.
func (x *outbox) die() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dieLocked()
}

func (x *outbox) dieLocked() {
	if !x.dead {
		x.dead = true
		rawClose(x.nc)
		x.changed.Broadcast()
	}
}

// close writes what is queued, closes the connection and joins the second
// goroutine. Only the connection's goroutine calls it, as the last thing.
func (x *outbox) close() {
	x.mu.Lock()
	x.closing = true
	x.changed.Broadcast()
	x.mu.Unlock()
	if x.done != nil {
		<-x.done
	}
	x.mu.Lock()
	x.budget.release(beyond(len(x.queue), freeQueue))
	x.queue, x.spare = nil, nil
	dead := x.dead
	x.dead = true
	x.mu.Unlock()
	if !dead {
		_ = x.nc.Close() // politely: under TLS this says goodbye
	}
}

// pending returns the bytes that wait to be written.
func (x *outbox) pending() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.queue) + x.inFlight
}

// rawClose closes the socket itself: closing a TLS connection can wait for the
// peer.
func rawClose(nc net.Conn) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	_ = nc.Close()
}
