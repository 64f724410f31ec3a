//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triwatch/triwatch/test/faults"
	"github.com/triwatch/triwatch/test/proc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

const (
	startLimit = 60 * time.Second
)

// world is one lab with everything that runs in it, for one schedule.
type world struct {
	dir      string
	schedule faults.Schedule
	conf     string // further lines of every watcher's file
	lab      *lab
	redis    []*host
	watchers []*host
	timeline *timeline
	history  *history
	gate     gate
	through  atomic.Int64 // when a writer through Sentinel was last acknowledged
	strange  atomic.Int64 // writes that a stranger acknowledged

	mu        sync.Mutex
	samples   map[string]sample
	reported  map[string]bool
	strangers map[string]bool
	born      map[string]int   // keys of each Redis when its life was first seen
	plans     int              // finished and aborted ones; the engine's only
	skews     map[string]*skew // of watchers' lives
	hosts     map[string]*host
	died      map[string]time.Time // who ended by itself; the engine's only

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newWorld starts everything and waits until it is steady under load.
func newWorld(ctx context.Context, dir string, s faults.Schedule) (*world, error) {
	t := newTimeline()
	w := &world{
		dir: dir, schedule: s, timeline: t, history: newHistory(t), samples: map[string]sample{}, reported: map[string]bool{},
		strangers: map[string]bool{}, born: map[string]int{}, skews: map[string]*skew{}, hosts: map[string]*host{}, died: map[string]time.Time{},
	}
	var err error
	if w.lab, err = newLab(); err != nil {
		return nil, err
	}
	for _, m := range w.lab.members {
		h := &host{Member: m, w: w, dir: filepath.Join(dir, "work", m.Name)}
		switch {
		case m.Name == clientName:
			continue
		case h.isRedis():
			w.redis = append(w.redis, h)
		default:
			w.watchers = append(w.watchers, h)
		}
		w.hosts[m.Name] = h
	}
	if err := w.makeForeign(ctx); err != nil {
		return nil, err
	}
	for i, h := range w.redis {
		following := ""
		if i > 0 {
			following = w.redis[0].IP + " " + redisPort
		}
		if err := h.startRedis(following); err != nil {
			return nil, err
		}
	}
	if err := w.load(ctx); err != nil {
		return nil, err
	}
	for _, h := range w.watchers {
		if err := smallDisk(h.dir); err != nil {
			return nil, err
		}
		if err := h.startWatcher(0); err != nil {
			return nil, err
		}
	}
	return w, w.begin(ctx)
}

// load writes the keys that are there from the beginning, on all three.
func (w *world) load(ctx context.Context) error {
	return trio.Wait(ctx, startLimit, func() error {
		conn, err := wire.Dial(ctx, w.redis[0].addr(), wire.Options{Timeout: time.Second})
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // all that counts was read
		value := strings.Repeat("x", 1000)
		for i := range baseKeys {
			conn.Append("SET", "base:"+strconv.Itoa(i), value)
		}
		conn.Append("WAIT", "2", "500")
		if err := conn.Flush(); err != nil {
			return err
		}
		var last wire.Reply
		for range baseKeys + 1 {
			if last, err = conn.Receive(); err != nil {
				return err
			}
		}
		if last.Str != "2" {
			return fmt.Errorf("only %s replicas have the first keys", last.Str)
		}
		for i := range baseKeys {
			key := "base:" + strconv.Itoa(i)
			if w.history.byKey[key] == nil {
				w.history.ack(&Ack{Key: key, At: w.redis[0].Name, Acked: time.Now(), Durable: true})
			}
		}
		return nil
	})
}

// begin starts clients and samplers, and waits until the watchers are steady.
func (w *world) begin(ctx context.Context) error {
	run, cancel := context.WithCancel(ctx)
	w.cancel = cancel
	f, err := newFollowers(w)
	if err != nil {
		return err
	}
	w.wg.Go(func() { w.standstills(run) })
	w.wg.Go(func() { f.watch(run) })
	for _, h := range w.redis {
		w.wg.Go(func() { w.observe(run, h) })
		w.wg.Go(func() { w.pin(run, h) })
	}
	for _, h := range w.watchers {
		w.wg.Go(func() { w.listen(run, h) })
	}
	for i := range writers {
		w.wg.Go(func() { w.write(run, f, i) })
	}
	for range readers {
		w.wg.Go(func() { w.read(run, f) })
	}
	if err := trio.Wait(ctx, startLimit, func() error { return w.steady(ctx) }); err != nil {
		return fmt.Errorf("wait until all is well at the start: %w", err)
	}
	return nil
}

// standstills notes when this process got no processor for long: whoever is hindered
// like that may be right to do what a calm round forbids.
func (w *world) standstills(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; {
		sleep(ctx, 10*time.Millisecond)
		now := time.Now()
		if d := now.Sub(last); d > noticeable {
			if d >= standstill {
				w.timeline.add("machine", "stood still for %v", d)
			}
			w.history.mu.Lock()
			w.history.stands = append(w.history.stands, Fault{From: last, To: now})
			w.history.mu.Unlock()
		}
		last = now
	}
}

func (w *world) foreignDir() string { return filepath.Join(w.dir, "work", "foreign") }

// makeForeign prepares the data of a Redis that belongs to nobody here.
func (w *world) makeForeign(ctx context.Context) error {
	if err := os.MkdirAll(w.foreignDir(), 0o755); err != nil {
		return err
	}
	cmd := exec.Command("redis-server", "--port", redisPort, "--bind", w.lab.members[0].IP, "--protected-mode", "no", "--dir", w.foreignDir(), "--save", "")
	p, err := proc.Spawn(cmd)
	if err != nil {
		return err
	}
	defer p.Kill()
	return trio.Wait(ctx, startLimit, func() error {
		conn, err := wire.Dial(ctx, w.lab.members[0].IP+":"+redisPort, wire.Options{Timeout: time.Second})
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // all that counts was read
		for i := range foreignKeys {
			conn.Append("SET", "foreign:"+strconv.Itoa(i), "x")
		}
		conn.Append("SAVE")
		if err := conn.Flush(); err != nil {
			return err
		}
		for range foreignKeys + 1 {
			reply, err := conn.Receive()
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// end stops the clients; the processes go with this one, at the latest.
func (w *world) end() {
	if w.cancel != nil {
		w.cancel()
	}
	w.wg.Wait()
	for _, s := range w.skews {
		s.close()
	}
	for _, h := range w.hosts {
		h.end(false) //nolint:errcheck // it may have ended
	}
}
