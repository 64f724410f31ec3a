package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/test/faults"
)

// The bounds after the last fault of a round, and how long a stranger takes to come,
// as in test/chaos.
const (
	labWritable  = 10 * time.Second
	labSteady    = 60 * time.Second
	labForeign   = time.Second
	foreignKeys  = 50_000
	starvedPulse = 50 * time.Millisecond
)

// lab plays schedules of test/faults: in a world that is set up as the lab of
// test/chaos is, round by round.
type lab struct {
	w *world
	// running is how many faults of the round are not undone yet.
	running int
	skipped int
}

// playSchedule plays a schedule to its end, or to the first violation. What the
// schedule leaves open, such as how long a packet takes, follows from its seed.
func playSchedule(s faults.Schedule, tracing bool) *world {
	rng := rand.New(rand.NewPCG(s.Seed, 0x6c6162))
	cfg := sentinel.DefaultConfig()
	cfg.DownAfter, cfg.FailoverTimeout, cfg.Quorum = time.Second, time.Minute, 2
	up := setup{watchers: 3, instances: 3, config: cfg, boot: bootLab, writeEvery: 40 * time.Millisecond, syncTime: 100 * time.Millisecond, priority0: -1, preferred: -1}
	if s.Masters {
		up.boot = bootMasters
	}
	switch s.Persist {
	case faults.PersistRDB:
		up.persist = persistRDB
	case faults.PersistAOF:
		up.persist = persistAOF
	case faults.PersistNone:
	}
	w := newWorld(s.Seed, up, rng, tracing)
	if !w.until(20*time.Second, 50*time.Millisecond, w.settled) {
		w.violate("not well 20 s after the start: %s", w.unsettled())
		return w
	}
	w.run(2 * time.Second)
	l := &lab{w: w}
	for i, r := range s.Rounds {
		w.tracef("round %d, calm=%v", i+1, r.Calm)
		if !l.round(r) {
			return w
		}
	}
	w.finish(labSteady)
	return w
}

// round plays a round and waits until all is well again; false ends the schedule.
func (l *lab) round(r faults.Round) bool {
	w := l.w
	if r.Calm {
		// What was decided about the last round's faults may only be committed now.
		w.check.noBegin, w.check.from = "the round is calm", w.now+slack
	}
	for _, e := range r.Events {
		l.running++
		w.after(e.At, func() { l.event(e) })
	}
	for l.running > 0 && w.bad == "" {
		w.run(10 * time.Millisecond)
	}
	w.tracef("all faults are over")
	acked := w.check.acked
	if !w.until(labWritable, 10*time.Millisecond, func() bool { return w.check.acked > acked || w.excused() }) {
		w.violate("not writable %v after the last fault: %s; last refusal: %s", labWritable, w.unsettled(), w.check.lastRefusal)
	}
	if w.bad == "" && !w.until(labSteady, 50*time.Millisecond, w.settled) && !w.person() {
		w.violate("not well %v after the last fault: %s; last refusal: %s", labSteady, w.unsettled(), w.check.lastRefusal)
	}
	w.check.noBegin, w.check.from = "", 0
	return w.bad == "" && w.settled()
}

// excused reports whether a person has to decide, so that nothing can be expected.
func (w *world) excused() bool { return w.person() }

// event begins a fault and plans its end.
func (l *lab) event(e faults.Event) {
	w := l.w
	a, b := l.resolve(e.A), l.resolve(e.B)
	w.tracef("FAULT %s (%v %v)", e, a, b)
	w.faults++
	undo := l.begin(e, a, b)
	if e.For == 0 || undo == nil {
		l.running--
		return
	}
	w.after(e.For, func() {
		w.tracef("FAULT over: %s", e)
		undo()
		l.running--
	})
}

// resolve turns targets into nodes: the watchers first, then the instances.
func (l *lab) resolve(targets string) []int {
	w := l.w
	r := faults.Roles{}
	for i := range w.insts {
		r.Redis = append(r.Redis, fmt.Sprintf("r%d", i+1))
	}
	for i := range w.watchers {
		r.Watchers = append(r.Watchers, fmt.Sprintf("w%d", i+1))
	}
	if m := w.master(); m != nil {
		r.Master = r.Redis[m.i]
	}
	if w.raft.leader >= 0 {
		r.Leader = r.Watchers[w.raft.leader]
	}
	var out []int
	for _, name := range r.Resolve(targets) {
		n, err := strconv.Atoi(name[1:])
		switch {
		case err != nil: // the client is no node
		case name[0] == 'w':
			out = append(out, n-1)
		default:
			out = append(out, len(w.watchers)+n-1)
		}
	}
	return out
}

// begin carries out an event; undo is nil if there is nothing to undo.
func (l *lab) begin(e faults.Event, a, b []int) (undo func()) {
	w := l.w
	switch e.Verb {
	case faults.Cut, faults.OneWay:
		oneWay := e.Verb == faults.OneWay
		w.net.block(a, b, 1, oneWay)
		return func() { w.net.block(a, b, -1, oneWay) }
	case faults.Handover:
		w.request(sentinel.RequestHandover)
		return nil
	case faults.Failover:
		w.request(sentinel.RequestSentinelFailover)
		return nil
	case faults.Idle:
		w.idle++
		return func() { w.idle-- }
	case faults.Starve:
		return l.starve()
	default:
	}
	var undos []func()
	for _, node := range a {
		var u func()
		switch e.Verb {
		case faults.Lose, faults.Delay, faults.Jitter:
			u = l.slow(e, &w.net.at[node])
		default:
			if node < len(w.watchers) {
				u = l.watcher(e, w.watchers[node])
			} else {
				u = l.instance(e, w.insts[node-len(w.watchers)])
			}
		}
		if u == nil {
			l.skipped++
			continue
		}
		undos = append(undos, u)
	}
	if len(undos) == 0 {
		return nil
	}
	return func() {
		for _, u := range undos {
			u()
		}
	}
}

// slow makes what reaches a node late.
func (l *lab) slow(e faults.Event, f *lateness) (undo func()) {
	d, err := time.ParseDuration(e.Amount)
	share, perr := strconv.ParseFloat(strings.TrimSuffix(e.Amount, "%"), 64)
	switch {
	case e.Verb == faults.Lose && perr == nil:
		f.loss = share / 100
		return func() { f.loss = 0 }
	case e.Verb == faults.Delay && err == nil && f.delay == 0:
		f.delay = d
		return func() { f.delay = 0 }
	case e.Verb == faults.Jitter && err == nil && f.jitter == 0:
		f.jitter = d
		return func() { f.jitter = 0 }
	}
	return nil
}

// watcher carries out an event at a watcher.
func (l *lab) watcher(e faults.Event, wt *watcher) (undo func()) {
	w := l.w
	again := func() {
		if !wt.up {
			wt.boot()
		}
	}
	switch e.Verb {
	case faults.Kill, faults.Restart, faults.Boot, faults.Empty:
		if !wt.up {
			return nil
		}
		if e.Verb == faults.Restart && w.raft.leader == wt.i {
			w.raft.transfer()
		}
		wt.resume()
		wt.kill()
		if e.Verb == faults.Empty {
			wt.snapshot, wt.applied, w.raft.held[wt.i], wt.learning = 0, 0, 0, len(w.raft.log) > 0
		}
		return again // another monotonic clock comes with every start
	case faults.Freeze:
		if !wt.running() {
			return nil
		}
		wt.stall()
		inc := wt.inc
		return func() {
			if wt.inc == inc {
				wt.resume()
			}
		}
	case faults.Clock:
		by, err := time.ParseDuration(e.Amount)
		if err != nil || !wt.running() {
			return nil
		}
		wt.wall += by
		inc := wt.inc
		return func() {
			if wt.inc == inc {
				wt.wall -= by
			}
		}
	case faults.Full:
		if wt.full {
			return nil
		}
		wt.full = true
		return func() { wt.full = false }
	default:
		return nil
	}
}

// instance carries out an event at a Redis.
func (l *lab) instance(e faults.Event, in *instance) (undo func()) {
	w := l.w
	switch e.Verb {
	case faults.Kill, faults.Restart, faults.Empty:
		if !in.up {
			return nil
		}
		in.kill(false, e.Verb == faults.Restart)
		inc := in.inc
		return func() {
			if !in.up && in.inc == inc {
				in.start(bootData{empty: e.Verb == faults.Empty})
			}
		}
	case faults.Reuse:
		return l.reuse(in)
	case faults.Freeze:
		if !in.up || in.frozen {
			return nil
		}
		in.freeze()
		inc := in.inc
		return func() {
			if in.inc == inc {
				in.thaw()
			}
		}
	case faults.Hangup:
		if in.up {
			w.killClients(in)
		}
		return nil
	default:
		return nil
	}
}

// reuse gives the address to a stranger; its undo brings the member back.
func (l *lab) reuse(in *instance) (undo func()) {
	w := l.w
	if !in.up {
		return nil
	}
	in.kill(false, false)
	own, inc := in.ds, in.inc
	w.after(labForeign, func() {
		if !in.up && in.inc == inc {
			in.start(bootData{foreign: true})
			inc = in.inc
		}
	})
	return func() {
		if in.inc != inc {
			return
		}
		in.kill(false, false)
		in.ds = own
		in.start(bootData{})
	}
}

// starve lets everybody wait for a processor now and then.
func (l *lab) starve() (undo func()) {
	w := l.w
	over := false
	var pulse func()
	pulse = func() {
		if over || w.bad != "" {
			return
		}
		d := w.upTo(150 * time.Millisecond)
		if wt := w.watchers[w.rng.IntN(len(w.watchers))]; wt.running() {
			inc := wt.inc
			wt.stall()
			w.after(d, func() {
				if wt.inc == inc {
					wt.resume()
				}
			})
		}
		if in := w.insts[w.rng.IntN(len(w.insts))]; in.up && !in.frozen {
			inc := in.inc
			in.freeze()
			w.after(d, func() {
				if in.inc == inc {
					in.thaw()
				}
			})
		}
		w.after(starvedPulse, pulse)
	}
	pulse()
	return func() { over = true }
}
