package redisio

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/triwatch/triwatch/sentinel"
)

// earRetry is the least time between two attempts to listen.
const earRetry = time.Second

// ear is one listening connection. prober.mu guards it.
type ear struct {
	wire    *wire
	retired bool
}

func (e *ear) retire() {
	e.retired = true
	if e.wire != nil {
		e.wire.retire()
	}
}

// listen subscribes and reads until the connection ends. That is the whole
// purpose: the end of a connection that nobody reads is not noticed.
func (pr *prober) listen(e *ear, t sentinel.Target, c Credentials) {
	nc, err := pr.pool.dial(pr.ctx, t.Addr, t.Timeout)
	if err != nil {
		pr.deaf(e, false)
		return
	}
	w := newWire(nc)
	defer w.Close() //nolint:errcheck // closing is all that is wanted
	pr.mu.Lock()
	if e.retired {
		pr.mu.Unlock()
		return
	}
	e.wire = w
	pr.mu.Unlock()
	w.within(t.Timeout)
	if err := pr.subscribe(w, t.Addr, c); err != nil {
		pr.deaf(e, false)
		return
	}
	w.within(0)
	g := &greetings{heard: func(f sentinel.Foreign) {
		f.Master, f.Instance = pr.master, t.Instance
		pr.pool.opt.Emit(f)
	}}
	pr.deaf(e, w.drain(g))
}

// subscribe makes the handshake and subscribes, over a go-redis client that is
// left to the collector afterwards: closing it would close w, and all it holds is
// buffers. go-redis' own PubSub is not used because it allocates 64 KiB of buffers
// per connection whatever the options say, and redials before it tells of an end.
func (pr *prober) subscribe(w *wire, addr sentinel.Addr, c Credentials) error {
	conn := newClient(w, addr, c, listenBuffer).Conn()
	pipe := conn.Pipeline()
	name := pipe.ClientSetName(context.Background(), pr.pool.opt.ClientName)
	sub := pipe.Do(context.Background(), "SUBSCRIBE", WatchChannel)
	pipe.Do(context.Background(), "SUBSCRIBE", HelloChannel) // refused or not, see HelloChannel
	_, err := pipe.Exec(context.Background())
	switch {
	case broken(err), w.closed.Load():
		return err
	case broken(name.Err()), broken(sub.Err()):
		return errors.Join(name.Err(), sub.Err())
	case sub.Err() != nil:
		// What is left is an ordinary idle connection; its end is seen all the same,
		// until the server's own time-out for idle clients.
		pr.log.Info("listening without subscription", zap.Stringer("address", addr), zap.String("detail", sub.Err().Error()))
	}
	return nil
}

// deaf notes the end of a listening connection: lost if the other side ended it
// after it had been set up.
func (pr *prober) deaf(e *ear, lost bool) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.ear != e {
		return
	}
	pr.ear = nil
	if lost {
		pr.lose()
		return
	}
	pr.earAt = pr.pool.now() + max(earRetry, pr.target.Ping)
	// If the handshake failed because the process died, the loop's PING finds out.
	pr.hurry = true
	pr.nudge()
}
