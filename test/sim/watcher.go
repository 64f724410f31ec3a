package sim

import (
	"fmt"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// watcher is one triwatch process: a router, its probers, and the runner's part.
type watcher struct {
	w       *world
	i       int
	id      sentinel.WatcherID
	router  *sentinel.Router
	up      bool
	stalled bool
	// full: its disk takes nothing any more, so it can neither vote nor lead.
	full bool
	// learning: its store was lost, and it has no vote until it has caught up.
	learning bool
	inc      int
	// offset is how far its clock is from the world's, wall how far its wall clock.
	offset, wall time.Duration
	leads        bool
	term         uint64
	leader       int // whom it takes for the leader, -1 for nobody
	applied      int
	snapshot     int // entries in its latest snapshot
	caughtUp     bool
	verified     time.Duration
	probers      []*prober // by instance
	writers      []writer  // by instance
	inbox        []func()
	timer        time.Duration // when the next tick is planned, negative for none
	served       sentinel.Assignment
	asked        time.Duration // when somebody was asked before a failover

	spinAt time.Duration
	spins  int
}

func newWatcher(w *world, i int) *watcher {
	return &watcher{w: w, i: i, id: sentinel.WatcherID(fmt.Sprintf("%040x", i+1)), leader: -1}
}

func (wt *watcher) String() string { return fmt.Sprintf("w%d", wt.i) }

func (wt *watcher) running() bool { return wt.up && !wt.stalled }

// boot starts the process: snapshot first, the rest of the log when a leader is in reach.
func (wt *watcher) boot() {
	w := wt.w
	wt.up, wt.stalled, wt.leads, wt.term, wt.leader = true, false, false, 0, -1
	wt.inc++
	wt.router = sentinel.NewRouter(wt.id)
	wt.offset, wt.wall = w.upTo(time.Hour), w.upTo(4*time.Second)
	wt.probers, wt.writers = make([]*prober, len(w.insts)), make([]writer, len(w.insts))
	wt.inbox, wt.timer, wt.verified, wt.spins = nil, -1, -time.Hour, 0
	wt.served = sentinel.Assignment{}
	w.tracef("%s starts", wt)
	voters := make([]sentinel.WatcherID, len(w.watchers))
	for i, other := range w.watchers {
		voters[i] = other.id
	}
	wt.step(sentinel.Membership{Me: wt.id, Voters: voters})
	wt.step(sentinel.Hooks{Default: w.before})
	wt.applied, wt.caughtUp = 0, false
	if wt.snapshot > 0 {
		wt.restore(wt.snapshot)
	}
	wanted := sentinel.Wanted{Monitors: []sentinel.Command{w.monitor()}}
	if w.fence {
		wanted.Fences = []string{name}
	}
	wt.step(wanted)
}

// monitor is what the watchers' file says. Born replicas follow nobody, so that only
// the file (or Kubernetes) can name them.
func (w *world) monitor() sentinel.Command {
	cfg, first := w.config, w.insts[0]
	c := sentinel.Command{Level: sentinel.CommandLevel, Type: sentinel.CmdMonitor, Master: name, Config: &cfg,
		At: sentinel.Assignment{Instance: first.id, Addr: first.addr}}
	for _, in := range w.insts[1:] {
		if w.setup.boot == bootBorn {
			c.Members = append(c.Members, sentinel.Member{ID: in.id, Addr: in.addr})
		}
	}
	return c
}

// kill ends the process.
func (wt *watcher) kill() {
	if !wt.up {
		return
	}
	wt.w.tracef("%s dies", wt)
	wt.up, wt.leads = false, false
	wt.inc++
	if wt.w.chance(0.5) {
		wt.snapshot = wt.applied
	}
	for _, p := range wt.probers {
		if p != nil {
			p.stop()
		}
	}
	if wt.w.raft.leader == wt.i {
		wt.w.raft.stepDown(0)
	}
}

// stall stops the process as SIGSTOP does; resume lets it go on.
func (wt *watcher) stall() {
	if wt.running() {
		wt.stalled = true
		wt.w.tracef("%s stalls", wt)
	}
}

func (wt *watcher) resume() {
	if !wt.up || !wt.stalled {
		return
	}
	wt.w.tracef("%s goes on", wt)
	wt.stalled = false
	q := wt.inbox
	wt.inbox = nil
	for _, fn := range q {
		fn()
	}
	wt.tick()
}

// deliver does something in the process, when it is not stalled.
func (wt *watcher) deliver(fn func()) {
	if wt.stalled {
		wt.inbox = append(wt.inbox, fn)
		return
	}
	if wt.up {
		fn()
	}
}

// input hands an event to the router, if the process that it was meant for is there.
func (wt *watcher) input(inc int, ev sentinel.InputEvent) {
	wt.deliver(func() {
		if wt.inc == inc {
			wt.step(ev)
		}
	})
}

func (wt *watcher) led(leading bool, term uint64) {
	wt.leads, wt.term = leading, term
	if leading {
		wt.verified = wt.w.now
	} else {
		for i := range wt.writers {
			wt.writers[i].cancel()
		}
	}
	wt.step(sentinel.Led{Leading: leading, Term: term})
}

// restore hands out what the log comes to up to an entry, as a snapshot does.
func (wt *watcher) restore(n int) {
	reg := sentinel.NewRegistry()
	for _, c := range wt.w.raft.log[:n] {
		reg.Apply(c)
	}
	bytes, err := reg.Marshal()
	if err == nil {
		reg, err = sentinel.UnmarshalRegistry(bytes)
	}
	if err != nil {
		wt.w.violate("snapshot: %v", err)
		return
	}
	wt.applied = n
	wt.step(sentinel.Restored{Registry: reg})
}

// apply hands out log entries in order, up to n or what the store has. What was
// committed before the process began is handed out as one.
func (wt *watcher) apply(n int) {
	wt.deliver(func() {
		if upTo := min(n, wt.w.raft.held[wt.i]); !wt.caughtUp && upTo > 0 {
			if wt.caughtUp = true; upTo > wt.applied+1 {
				wt.restore(upTo)
			}
		}
		for r := &wt.w.raft; wt.applied < n && wt.applied < r.held[wt.i] && wt.w.bad == ""; {
			wt.applied++
			wt.step(sentinel.Applied{Index: uint64(wt.applied), Command: r.log[wt.applied-1]})
		}
	})
}

func (wt *watcher) proposed(p *proposal, result sentinel.Outcome, detail string) {
	wt.input(p.inc, sentinel.Proposed{Master: p.cmd.Master, Epoch: p.cmd.Epoch, Type: p.cmd.Type, Result: result, Detail: detail})
}

// local is the watcher's own clock.
func (wt *watcher) local() sentinel.Time { return wt.w.now + wt.offset }

// step is the runner's loop: one input, then everything that follows from it.
func (wt *watcher) step(ev sentinel.InputEvent) {
	w := wt.w
	if w.bad != "" {
		return
	}
	if w.tracing {
		wt.traceInput(ev)
	}
	for _, a := range wt.router.Step(sentinel.Input{At: wt.local(), Wall: wallStart.Add(w.now + wt.wall), Event: ev}) {
		wt.act(a)
	}
	w.check.stepped(wt)
	wt.arm()
}

// arm plans the next tick.
func (wt *watcher) arm() {
	at := wt.router.Deadline() - wt.offset
	if at > wt.w.now+time.Hour {
		return
	}
	at = max(at, wt.w.now)
	if wt.timer >= 0 && wt.timer <= at {
		return
	}
	wt.timer = at
	inc := wt.inc
	wt.w.after(at-wt.w.now, func() {
		if wt.inc == inc && wt.timer == at {
			wt.timer = -1
			wt.tick()
		}
	})
}

// tick is a deadline that came.
func (wt *watcher) tick() {
	if !wt.running() {
		return
	}
	if wt.router.Deadline() > wt.local() {
		wt.arm()
		return
	}
	if wt.spinAt != wt.w.now {
		wt.spinAt, wt.spins = wt.w.now, 0
	}
	if wt.spins++; wt.spins > 20 {
		wt.w.violate("%s spins: its deadline is now, again and again", wt)
		return
	}
	wt.step(nil)
}

func (wt *watcher) act(a sentinel.Action) {
	w := wt.w
	if w.tracing {
		wt.traceAction(a)
	}
	switch a := a.(type) {
	case sentinel.Watch:
		wt.watch(a)
	case sentinel.ProbeNow:
		if in := w.byID(a.Instance); in != nil && wt.probers[in.i] != nil {
			wt.probers[in.i].ask(a.Redial, a.After)
		}
	case sentinel.SendAsk:
		w.check.acting(wt, "SendAsk")
		for _, other := range w.watchers {
			if other != wt {
				wt.send(other, sentinel.PeerAsk{From: wt.id, Ask: a.Ask})
			}
		}
	case sentinel.SendReport:
		if wt.leader >= 0 && wt.leader != wt.i {
			wt.send(w.watchers[wt.leader], sentinel.PeerReport{From: wt.id, Report: a.Report})
		}
	case sentinel.Propose:
		w.check.acting(wt, "Propose")
		w.check.vetoed(wt, a.Command)
		w.raft.propose(wt, a.Command)
	case sentinel.Do:
		w.check.acting(wt, "Do")
		w.check.issued(wt, a)
		wt.do(a)
	case sentinel.Push:
		w.check.acting(wt, "Push")
		for _, other := range w.watchers {
			if other != wt {
				wt.push(other, sentinel.Pushed{Master: a.Master, Assignment: a.Assignment})
			}
		}
	case sentinel.AskHook:
		w.check.acting(wt, "AskHook")
		wt.askHook(a)
	case sentinel.Emit:
		w.check.emitted(wt, a.Event)
	case sentinel.Answer:
		w.check.answered(a)
	}
}

// send is a message to another watcher. What is sent into a partition is lost: the
// peer connection breaks.
func (wt *watcher) send(to *watcher, ev sentinel.InputEvent) {
	if !wt.w.net.ok(wt.i, to.i) {
		return
	}
	inc := to.inc
	wt.w.after(wt.w.net.delay()+wt.w.net.extra(to.i), func() {
		if wt.w.net.ok(wt.i, to.i) {
			to.input(inc, ev)
		}
	})
}

// push sends a Push, and where orders are held up now and then a second time, so late
// that another may be master by then.
func (wt *watcher) push(to *watcher, ev sentinel.Pushed) {
	wt.send(to, ev)
	if w := wt.w; w.lateWrites > 0 && w.chance(w.lateWrites) {
		w.after(w.upTo(4*time.Second), func() { wt.send(to, ev) })
	}
}

func (wt *watcher) watch(a sentinel.Watch) {
	keep := make([]bool, len(wt.probers))
	for _, t := range a.Targets {
		in := wt.w.at(t.Addr)
		if in == nil {
			continue
		}
		keep[in.i] = true
		if p := wt.probers[in.i]; p != nil {
			p.retarget(t)
			continue
		}
		wt.probers[in.i] = newProber(wt, in, t)
		wt.probers[in.i].work()
	}
	for i, p := range wt.probers {
		if p != nil && !keep[i] {
			p.stop()
			wt.probers[i] = nil
		}
	}
}

// closed is the RST of a process that ended, on the connections to it.
func (wt *watcher) closed(in *instance, inc int) {
	if p := wt.probers[in.i]; wt.up && p != nil && p.conn == inc && wt.w.net.ok(in.node, wt.i) {
		wt.w.after(wt.w.net.delay()+wt.w.net.extra(wt.i), func() { p.reset(inc) })
	}
}

func (wt *watcher) state() *sentinel.State { return wt.router.State(name) }
