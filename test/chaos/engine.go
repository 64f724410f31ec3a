//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/faults"
	"github.com/triwatch/triwatch/test/proc"
	"github.com/triwatch/triwatch/test/writer/wire"
)

const (
	reviveAfter  = time.Second     // what ended by itself is started again, as a supervisor does
	foreignAfter = time.Second     // between the end of a Redis and the stranger at its address
	maxStarve    = 5 * time.Second // other people use the machine, too
)

// job is something to be done at a time: an event or the end of one.
type job struct {
	at time.Time
	do func(ctx context.Context)
}

// engine plays a round.
type engine struct {
	w    *world
	jobs []job
}

func (e *engine) later(at time.Time, do func(context.Context)) {
	e.jobs = append(e.jobs, job{at, do})
	slices.SortStableFunc(e.jobs, func(a, b job) int { return a.at.Compare(b.at) })
}

// play does everything of a round and returns when the last fault has ended.
func (w *world) play(ctx context.Context, r faults.Round) {
	e := &engine{w: w}
	start := time.Now()
	for _, ev := range r.Events {
		e.later(start.Add(ev.At), func(ctx context.Context) { e.event(ctx, ev) })
	}
	for len(e.jobs) > 0 && ctx.Err() == nil {
		next := e.jobs[0]
		if d := time.Until(next.at); d > 0 {
			sleep(ctx, min(d, 100*time.Millisecond))
			w.revive()
			continue
		}
		e.jobs = e.jobs[1:]
		next.do(ctx)
	}
}

// revive starts again what ended by itself, a moment later, as a supervisor does.
func (w *world) revive() {
	for _, h := range w.hosts {
		_, _, up := h.status()
		if !up {
			continue
		}
		how, ended := h.process().Exited()
		if !ended {
			continue
		}
		died := w.died[h.Name]
		if died.IsZero() {
			w.timeline.add("engine", "%s ended by itself: %s", h.Name, how)
			w.died[h.Name] = time.Now()
			if h.isRedis() {
				w.history.violate("%s ended by itself: %s", h.Name, how)
			}
		}
		if died.IsZero() || time.Since(died) < reviveAfter {
			continue
		}
		delete(w.died, h.Name)
		h.end(false) //nolint:errcheck // it has ended
		if err := h.start(); err != nil {
			w.history.violate("%s does not start: %v", h.Name, err)
		}
	}
}

// event carries out one event and plans its end.
func (e *engine) event(ctx context.Context, ev faults.Event) {
	w := e.w
	a, b := w.resolve(ctx, ev.A), w.resolve(ctx, ev.B)
	f := &Fault{Verb: ev.Verb, Text: ev.String(), From: time.Now(), Members: slices.Concat(a, b)}
	w.timeline.add("FAULT", "%s (%s %s)", ev, strings.Join(a, ","), strings.Join(b, ","))
	if ev.Verb == faults.Starve {
		f.Members = []string{"w1", "w2", "w3", "r1", "r2", "r3"}
	}
	undo, err := e.begin(ctx, ev, a, b)
	if err != nil {
		w.timeline.add("FAULT", "%s: not done: %v", ev, err)
		return
	}
	if undo == nil {
		return
	}
	if !slices.ContainsFunc(w.redis, func(h *host) bool { _, foreign, up := h.status(); return up && !foreign }) {
		w.history.noneLeft()
	}
	w.history.begin(f)
	e.later(time.Now().Add(ev.For), func(context.Context) {
		if err := undo(); err != nil {
			w.history.violate("the end of %q failed: %v", ev, err)
		}
		w.history.over(f)
		w.timeline.add("FAULT", "over: %s", ev)
	})
}

// resolve turns targets into names of members.
func (w *world) resolve(ctx context.Context, targets string) []string {
	r := faults.Roles{Master: w.history.now().Master}
	for _, h := range w.redis {
		r.Redis = append(r.Redis, h.Name)
	}
	for _, h := range w.watchers {
		r.Watchers = append(r.Watchers, h.Name)
	}
	if strings.Contains(targets, "leader") || strings.Contains(targets, "follower") {
		if l := w.leader(ctx); l != nil {
			r.Leader = l.Name
		}
	}
	return r.Resolve(targets)
}

// begin carries out an event; undo is nil if there is nothing to undo.
func (e *engine) begin(ctx context.Context, ev faults.Event, a, b []string) (undo func() error, err error) {
	w := e.w
	switch ev.Verb {
	case faults.Cut:
		return both(func() (func() error, error) { return w.lab.cut(a, b) }, func() (func() error, error) { return w.lab.cut(b, a) })
	case faults.OneWay:
		return w.lab.cut(a, b)
	case faults.Handover:
		return nil, w.askHandover(ctx)
	case faults.Failover:
		return nil, w.askFailover(ctx)
	case faults.Idle:
		w.gate.close()
		return func() error { w.gate.open(); return nil }, nil
	case faults.Starve:
		return starve(ev)
	case faults.Kill, faults.Empty, faults.Restart, faults.Reuse, faults.Freeze, faults.Lose, faults.Delay, faults.Jitter, faults.Clock, faults.Boot,
		faults.Full, faults.Hangup:
	}
	var undos []func() error
	for _, name := range a {
		h := w.hosts[name]
		if h == nil {
			return nil, fmt.Errorf("%q is no member", name)
		}
		u, oneErr := w.one(ev, h)
		if oneErr != nil {
			err = oneErr
			w.timeline.add("FAULT", "%s: not done at %s: %v", ev, name, err)
			continue
		}
		if u != nil {
			undos = append(undos, u)
		}
	}
	if len(undos) > 0 {
		err = nil
	}
	return all(undos), err
}

func all(undos []func() error) func() error {
	if len(undos) == 0 {
		return nil
	}
	return func() error {
		for _, u := range undos {
			if err := u(); err != nil {
				return err
			}
		}
		return nil
	}
}

func both(first, second func() (func() error, error)) (func() error, error) {
	one, err := first()
	if err != nil {
		return nil, err
	}
	two, err := second()
	if err != nil {
		return one, err
	}
	return all([]func() error{one, two}), nil
}

// one carries out an event at one member.
func (w *world) one(ev faults.Event, h *host) (undo func() error, err error) {
	switch ev.Verb {
	case faults.Kill, faults.Restart:
		return h.start, h.end(ev.Verb == faults.Restart)
	case faults.Empty:
		if err := h.end(false); err != nil {
			return nil, err
		}
		if !h.isRedis() {
			w.history.newborn(h.Name)
		}
		return h.start, h.wipe()
	case faults.Reuse:
		return w.reuse(h)
	case faults.Freeze:
		return h.freeze()
	case faults.Lose:
		n, err := parsePermille(ev.Amount)
		if err != nil {
			return nil, err
		}
		return w.lab.lose(h.Name, n)
	case faults.Delay, faults.Jitter:
		by, err := time.ParseDuration(ev.Amount)
		if err != nil {
			return nil, err
		}
		return w.lab.delay(h.Name, by, ev.Verb == faults.Jitter)
	case faults.Hangup:
		return nil, hangUp(h)
	case faults.Clock:
		return w.moveClock(ev, h)
	case faults.Boot:
		by, err := time.ParseDuration(ev.Amount)
		if err != nil {
			return nil, err
		}
		return func() error { return h.startWatcher(by) }, h.end(false)
	case faults.Full:
		name, err := fill(h.dir)
		return func() error {
			if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) { // its files may be gone by now
				return err
			}
			return nil
		}, err
	case faults.Cut, faults.OneWay, faults.Handover, faults.Failover, faults.Idle, faults.Starve:
	}
	return nil, fmt.Errorf("%s has no single target", ev.Verb)
}

// hangUp ends every connection to a Redis but those of replicas.
func hangUp(h *host) error {
	conn, err := wire.Dial(context.Background(), h.addr(), wire.Options{Timeout: ioTimeout})
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it may be killed as well
	for _, kind := range []string{"pubsub", "normal"} {
		if reply, err := conn.Do("CLIENT", "KILL", "TYPE", kind); err != nil || reply.Err() != nil {
			return errors.Join(err, reply.Err())
		}
	}
	return nil
}

// reuse ends a Redis and gives its address to a stranger; its undo brings it back.
func (w *world) reuse(h *host) (undo func() error, err error) {
	if err := h.end(false); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.strangers[h.Name] = true
	w.mu.Unlock()
	time.Sleep(foreignAfter)
	if err := h.startForeign(); err != nil {
		return h.start, err
	}
	return func() error {
		if err := h.end(false); err != nil {
			return err
		}
		return h.start()
	}, nil
}

func (w *world) moveClock(ev faults.Event, h *host) (undo func() error, err error) {
	by, err := time.ParseDuration(ev.Amount)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up || h.frozen {
		return nil, fmt.Errorf("%s is frozen or does not run", h.Name)
	}
	key := fmt.Sprintf("%s/%d", h.Name, h.life)
	s := w.skews[key]
	if s == nil {
		if s, err = newSkew(h.p.PID()); err != nil {
			return nil, err
		}
		w.skews[key] = s
	}
	life := h.life
	return func() error {
		if now, _, up := h.status(); now != life || !up {
			return nil
		}
		return s.set(0)
	}, s.set(by)
}

// starve keeps all processors busy for a while.
func starve(ev faults.Event) (undo func() error, err error) {
	n, err := strconv.Atoi(ev.Amount)
	if err != nil {
		return nil, err
	}
	if ev.For > maxStarve {
		return nil, fmt.Errorf("at most %v", maxStarve)
	}
	var busy []*proc.Process
	for range n {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), busyEnv+"="+maxStarve.String())
		p, err := proc.Spawn(cmd)
		if err != nil {
			return nil, err
		}
		busy = append(busy, p)
	}
	return func() error {
		for _, p := range busy {
			p.Kill()
		}
		return nil
	}, nil
}

// askHandover asks any watcher that answers, and does not wait for the outcome longer
// than a moment: a refusal is fine, too.
func (w *world) askHandover(ctx context.Context) error {
	for _, h := range w.watchers {
		var a struct {
			httpapi.Granted
			httpapi.Failure
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		status, err := w.ask(short, h, http.MethodPost, "/v1/masters/"+masterName+"/handover", &a)
		cancel()
		w.timeline.add("FAULT", "handover asked of %s: %d %s %s %v", h.Name, status, a.Detail, a.Error, err)
		if err == nil {
			return nil
		}
	}
	return nil
}

func (w *world) askFailover(ctx context.Context) error {
	for _, h := range w.watchers {
		conn, err := wire.Dial(ctx, h.addr(), wire.Options{Timeout: time.Second})
		if err != nil {
			continue
		}
		reply, err := conn.Do("SENTINEL", "FAILOVER", masterName)
		conn.Close() //nolint:errcheck // all that counts was read
		w.timeline.add("FAULT", "failover asked of %s: %s %v", h.Name, reply.Str, err)
		if err == nil {
			return nil
		}
	}
	return nil
}
