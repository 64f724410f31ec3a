//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/writer"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// The load. It is small: what is looked for is lost or doubled, not slow.
const (
	writers     = 4
	readers     = 2
	writeEvery  = 16 * time.Millisecond
	pinnedEvery = 40 * time.Millisecond
	readEvery   = 30 * time.Millisecond
	waitEvery   = 20 // writes between two WAITs
	ioTimeout   = 200 * time.Millisecond
	counters    = "counters"
)

// gate stops writers for idle phases and for comparisons; several may close it.
type gate struct {
	mu     sync.RWMutex // held for reading during one write
	closed sync.Mutex
	n      int
}

func (g *gate) close() {
	g.closed.Lock()
	defer g.closed.Unlock()
	if g.n++; g.n == 1 {
		g.mu.Lock()
	}
}

func (g *gate) open() {
	g.closed.Lock()
	defer g.closed.Unlock()
	if g.n--; g.n == 0 {
		g.mu.Unlock()
	}
}

// link is one client connection that goes when a watcher says that the master moved.
type link struct {
	conn *wire.Conn
	at   *host
}

// followers are connections to whom the watchers call the master.
type followers struct {
	w        *world
	resolver *writer.Sentinel

	mu  sync.Mutex
	all map[*link]struct{}
}

func newFollowers(w *world) (*followers, error) {
	var addrs []string
	for _, h := range w.watchers {
		addrs = append(addrs, h.addr())
	}
	r, err := writer.NewSentinel(writer.SentinelOptions{Addrs: addrs, Master: masterName, Timeout: ioTimeout})
	return &followers{w: w, resolver: r, all: map[*link]struct{}{}}, err
}

// watch closes connections to elsewhere as soon as a watcher announces a new master.
func (f *followers) watch(ctx context.Context) {
	f.resolver.Watch(ctx, func(addr string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for l := range f.all {
			if l.at.addr() != addr {
				l.conn.Close() //nolint:errcheck // its reader gets the error
			}
		}
	})
}

func (f *followers) dial(ctx context.Context) (*link, error) {
	addr, err := f.resolver.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	at := f.w.redisAt(addr)
	if at == nil {
		return nil, fmt.Errorf("a watcher names %s, which is no member", addr)
	}
	conn, err := wire.Dial(ctx, addr, wire.Options{Timeout: ioTimeout})
	if err != nil {
		return nil, err
	}
	l := &link{conn, at}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[l] = struct{}{}
	return l, nil
}

func (f *followers) drop(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, l)
	l.conn.Close() //nolint:errcheck // it is given up
}

// every calls do until ctx ends, again and again after errors, with a pause.
func every(ctx context.Context, do func() error) {
	for ctx.Err() == nil {
		if do() != nil {
			sleep(ctx, 5*time.Millisecond)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// write is one writer through Sentinel.
func (w *world) write(ctx context.Context, f *followers, id int) {
	seq := 0
	every(ctx, func() error {
		l, err := f.dial(ctx)
		if err != nil {
			return err
		}
		defer f.drop(l)
		var waiting []*Ack
		for ctx.Err() == nil {
			sleep(ctx, writeEvery)
			seq++
			a, err := w.writeOne(l, "c"+strconv.Itoa(id), seq)
			if err != nil {
				return err
			}
			w.through.Store(a.Acked.UnixNano())
			if waiting = append(waiting, a); len(waiting) == waitEvery {
				if w.waited(l.conn) == len(w.redis)-1 {
					w.history.durable(waiting)
				}
				waiting = nil
			}
		}
		return nil
	})
}

// writeOne writes a new key and raises the writer's counter.
func (w *world) writeOne(l *link, prefix string, seq int) (*Ack, error) {
	w.gate.mu.RLock()
	defer w.gate.mu.RUnlock()
	life, foreign, _ := l.at.status()
	sent := time.Now()
	key, n := prefix+":"+strconv.Itoa(seq), strconv.Itoa(seq)
	l.conn.Append("SET", key, n)
	l.conn.Append("ZADD", counters, "GT", n, prefix)
	if err := l.conn.Flush(); err != nil {
		return nil, err
	}
	reply, err := l.conn.Receive()
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return nil, err
	}
	a := &Ack{Key: key, At: l.at.Name, Sent: sent, Acked: time.Now()}
	now, foreignNow, _ := l.at.status()
	if now == life {
		a.Life = life
	}
	a.Foreign = foreign || foreignNow || now != life && w.wasForeign(l.at)
	w.history.ack(a)
	if a.Foreign {
		w.strange.Add(1)
	}
	if reply, err = l.conn.Receive(); err == nil {
		err = reply.Err()
	}
	return a, err
}

// wasForeign reports whether a stranger had the address at any time.
func (w *world) wasForeign(h *host) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.strangers[h.Name]
}

// waited is how many replicas have all that this connection wrote.
func (w *world) waited(conn *wire.Conn) int {
	reply, err := conn.Do("WAIT", strconv.Itoa(len(w.redis)-1), "50")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(reply.Str)
	if err != nil {
		return 0
	}
	return n
}

// pin is a writer that writes to one instance, whatever it is.
func (w *world) pin(ctx context.Context, h *host) {
	seq := 0
	every(ctx, func() error {
		conn, err := wire.Dial(ctx, h.addr(), wire.Options{Timeout: ioTimeout})
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // it is given up
		for ctx.Err() == nil {
			sleep(ctx, pinnedEvery)
			if _, foreign, _ := h.status(); foreign {
				return errors.New("a stranger lives there")
			}
			seq++
			_, err := w.writeOne(&link{conn, h}, "p"+h.Name, seq)
			if err != nil {
				sleep(ctx, pinnedEvery)
				return err
			}
		}
		return nil
	})
}

// newest is the highest value of a counter that a reader saw.
type newest struct {
	value int64
	at    time.Time
	from  string
}

// read is one reader through Sentinel, who remembers what it saw.
func (w *world) read(ctx context.Context, f *followers) {
	seen := map[string]newest{}
	every(ctx, func() error {
		l, err := f.dial(ctx)
		if err != nil {
			return err
		}
		defer f.drop(l)
		for ctx.Err() == nil {
			sleep(ctx, readEvery)
			_, before, _ := l.at.status()
			reply, err := l.conn.Do("ZRANGE", counters, "0", "-1", "WITHSCORES")
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				return err
			}
			if _, after, _ := l.at.status(); !before && !after {
				w.compare(seen, reply.Strings(), l.at.Name)
			}
		}
		return nil
	})
}

func (w *world) compare(seen map[string]newest, pairs []string, from string) {
	now := time.Now()
	for i := 0; i+1 < len(pairs); i += 2 {
		v, err := strconv.ParseInt(pairs[i+1], 10, 64)
		if err != nil {
			continue
		}
		had := seen[pairs[i]]
		if v < had.value {
			w.history.mu.Lock()
			w.history.backs = append(w.history.backs, Back{pairs[i], had.value, v, had.at, now, had.from, from})
			w.history.mu.Unlock()
		}
		seen[pairs[i]] = newest{v, now, from}
	}
}

// redisAt is the member with an address, nil if there is none.
func (w *world) redisAt(addr string) *host {
	ip, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	for _, h := range w.redis {
		if h.IP == ip {
			return h
		}
	}
	return nil
}
