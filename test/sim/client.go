package sim

import (
	"time"
)

// client writes unique keys to whom a watcher calls the master.
type client struct {
	w *world
	i int
}

// clientTimeout is when a client gives up waiting for an answer.
const clientTimeout = 200 * time.Millisecond

func newClient(w *world, i int) *client {
	c := &client{w: w, i: i}
	w.after(w.upTo(w.writeEvery), c.write)
	return c
}

func (c *client) write() {
	w := c.w
	w.after(w.writeEvery/2+w.upTo(w.writeEvery), c.write)
	wt := w.watchers[w.rng.IntN(len(w.watchers))]
	if w.idle > 0 || !wt.running() || wt.state() == nil {
		return
	}
	in := w.at(wt.state().Served().Addr)
	if in == nil {
		return
	}
	n := w.writes
	w.writes++
	asked := w.now
	// Clients reach every instance: what they see is what the watchers tell them.
	w.after(w.net.delay(), func() {
		if in.up {
			in.exec(func() { in.clientWrite(n, asked) })
		}
	})
}

// clientWrite is SET at the instance, and reports whether it was acknowledged at once.
func (in *instance) clientWrite(n int32, asked time.Duration) bool {
	w := in.w
	switch {
	case in.loading || !in.isMaster():
		return false // LOADING or READONLY
	case in.unwritten() != "":
		return false
	case w.now < in.pausedUntil:
		inc := in.inc
		in.pausedQ = append(in.pausedQ, func() {
			if in.inc == inc {
				in.clientWrite(n, asked)
			}
		})
		return false
	}
	in.add(90, n)
	if w.now-asked >= clientTimeout {
		return false
	}
	w.check.acknowledged(in, n)
	return true
}
