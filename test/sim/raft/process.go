package raftsim

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/triwatch/triwatch/sentinel"
)

// wallStart is what the wall clocks show when a world begins.
var wallStart = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// proposeTimeout is how long a proposal may wait to be taken up by Raft.
const proposeTimeout = time.Second

// process is one run of a watcher: Raft, and the part of the runner around a router,
// on one goroutine.
type process struct {
	n    *node
	wire *wire
	raft *raft.Raft
	fsm  *fsm
	box  *inbox

	stop    chan struct{} // closed when it dies
	futures sync.WaitGroup
	loop    sync.WaitGroup
	notify  chan bool

	// The rest belongs to the loop,
	router  *sentinel.Router
	offset  time.Duration // of its clock from the world's
	probers map[sentinel.InstanceID]*prober
	writers map[sentinel.InstanceID][]sentinel.Do
	// reign is closed when the leadership ends; nil if it does not lead.
	reign  chan struct{}
	spinAt time.Duration
	spins  int
	// and these are what it shows to the world, guarded by the world's mu.
	leads  bool
	served sentinel.Assignment
	done   uint64 // index of the latest command that the router has taken up
}

func newProcess(n *node) *process {
	p := &process{n: n, wire: newWire(n), box: newInbox(), stop: make(chan struct{}), notify: make(chan bool, 64),
		router: sentinel.NewRouter(n.id), offset: n.w.noise.upTo(time.Hour),
		probers: map[sentinel.InstanceID]*prober{}, writers: map[sentinel.InstanceID][]sentinel.Do{}}
	p.fsm = &fsm{p: p, reg: sentinel.NewRegistry()}
	return p
}

func (p *process) start() error {
	w := p.n.w
	voters := make([]sentinel.WatcherID, len(w.nodes))
	for i, o := range w.nodes {
		voters[i] = o.id
	}
	// Before Raft, which restores its snapshot while it starts.
	p.box.post(func() {
		p.step(sentinel.Membership{Me: p.n.id, Voters: voters})
		p.step(sentinel.Wanted{Monitors: []sentinel.Command{w.monitor()}})
	})
	r, err := raft.NewRaft(p.n.raftConfig(p.notify), p.fsm, p.n.log, p.n.log, p.n.snaps, p.wire)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	p.raft = r
	p.loop.Go(p.run)
	p.futures.Go(p.watchLeadership)
	return nil
}

// monitor is what the watchers' file says: born replicas follow nobody, so that only
// it can name them.
func (w *world) monitor() sentinel.Command {
	cfg, first := w.config, w.insts[0]
	c := sentinel.Command{Level: sentinel.CommandLevel, Type: sentinel.CmdMonitor, Master: name, Config: &cfg,
		At: sentinel.Assignment{Instance: first.id, Addr: first.addr}}
	for _, in := range w.insts[1:] {
		c.Members = append(c.Members, sentinel.Member{ID: in.id, Addr: in.addr})
	}
	return c
}

// shutdown ends a process that is cut off already. Raft is shut down when no future
// is left: an entry that is committed in the moment of the shutdown can leave one
// waiting for ever, and cut off there is none after the lease.
func (p *process) shutdown() {
	if p.raft == nil {
		return
	}
	close(p.stop)
	p.loop.Wait()
	p.futures.Wait()
	if err := p.raft.Shutdown().Error(); err != nil {
		p.n.w.locked(func() { p.n.w.violate("shut down %s: %v", p.n, err) })
	}
}

// watchLeadership turns Raft's notifications into Led inputs. A new leader first
// applies all that its predecessors have committed.
func (p *process) watchLeadership() {
	for {
		var leads bool
		select {
		case <-p.stop:
			return
		case leads = <-p.notify:
		}
		if !leads {
			p.box.post(func() { p.led(false, 0) })
			continue
		}
		if err := p.raft.Barrier(0).Error(); err != nil || len(p.notify) > 0 {
			continue // it is over, the next notification says so
		}
		term := p.raft.CurrentTerm()
		p.box.post(func() { p.led(true, term) })
	}
}

func (p *process) led(leads bool, term uint64) {
	w := p.n.w
	if p.reign != nil {
		close(p.reign)
		p.reign = nil
	}
	if leads {
		p.reign = make(chan struct{})
	}
	w.locked(func() {
		p.leads = leads
		w.tracef("%s leads=%v term=%d", p.n, leads, term)
		if leads {
			w.check.led(p.n, term)
		}
	})
	p.step(sentinel.Led{Leading: leads, Term: term})
}

// run is the loop.
func (p *process) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() {
		if p.reign != nil {
			close(p.reign)
		}
	}()
	for {
		select {
		case <-p.stop:
			return
		case <-p.box.signal:
			for _, do := range p.box.take() {
				do()
			}
		case <-timer.C:
		}
		timer.Reset(max(0, p.turn()-p.local()))
	}
}

// turn does what is due, and returns when to look again.
func (p *process) turn() sentinel.Time {
	now := p.local()
	if p.router.Deadline() <= now {
		p.spin(now)
		p.step(nil)
	}
	next := min(p.router.Deadline(), now+time.Minute)
	for _, pr := range p.probers {
		next = min(next, pr.work())
	}
	return next
}

func (p *process) spin(now sentinel.Time) {
	if p.spinAt != now {
		p.spinAt, p.spins = now, 0
	}
	if p.spins++; p.spins > 50 {
		p.n.w.locked(func() { p.n.w.violate("%s spins: its deadline is now, again and again", p.n) })
	}
}

// local is the watcher's own clock.
func (p *process) local() sentinel.Time { return p.n.w.now() + p.offset }

// took shows that a command has been taken up.
func (p *process) took(index uint64) { p.n.w.locked(func() { p.done = index }) }

// step is one input and everything that follows from it.
func (p *process) step(ev sentinel.InputEvent) {
	w := p.n.w
	for _, a := range p.router.Step(sentinel.Input{At: p.local(), Wall: wallStart.Add(w.now()), Event: ev}) {
		p.act(a)
	}
	if s := p.router.State(name); s != nil && s.Served() != p.served {
		w.locked(func() { w.check.serves(p, s.Served()) })
	}
}

func (p *process) act(a sentinel.Action) {
	w := p.n.w
	switch a := a.(type) {
	case sentinel.Watch:
		p.watch(a)
	case sentinel.ProbeNow:
		if pr := p.probers[a.Instance]; pr != nil {
			pr.ask(a.After)
		}
	case sentinel.SendAsk:
		p.tell(sentinel.PeerAsk{From: p.n.id, Ask: a.Ask})
	case sentinel.SendReport:
		if addr, _ := p.raft.LeaderWithID(); addr != "" && addr != p.n.addr() {
			p.send(w.nodeAt(addr), sentinel.PeerReport{From: p.n.id, Report: a.Report})
		}
	case sentinel.Propose:
		p.propose(a.Command)
	case sentinel.Do:
		w.locked(func() { w.check.issued(p, a) })
		p.writers[a.Instance] = append(p.writers[a.Instance], a)
		if len(p.writers[a.Instance]) == 1 {
			p.carry(a)
		}
	case sentinel.Push:
		p.tell(sentinel.Pushed{Master: a.Master, Assignment: a.Assignment})
	case sentinel.Emit:
		w.locked(func() {
			w.tracef("%s event %s %s: %s", p.n, a.Event.Name, a.Event.Instance, a.Event.Reason)
			if a.Event.Name == sentinel.EventRefused {
				w.check.refusal = string(a.Event.Instance) + ": " + a.Event.Reason
			}
		})
	case sentinel.Answer:
		w.locked(func() { w.tracef("%s answers %d: %s %s", p.n, a.ID, a.Result, a.Detail) })
	}
}

// tell sends a message to all others.
func (p *process) tell(ev sentinel.InputEvent) {
	for _, o := range p.n.w.nodes {
		if o != p.n {
			p.send(o, ev)
		}
	}
}

// send is a message over the peer port.
func (p *process) send(to *node, ev sentinel.InputEvent) {
	w := p.n.w
	if w.blocked(p.n.i, to.i) {
		return
	}
	w.later(w.delay(), func() {
		if o := w.current(to); o != nil && !w.blocked(p.n.i, to.i) {
			o.box.post(func() { o.step(ev) })
		}
	})
}

// propose hands a command to Raft, in the order in which they come.
func (p *process) propose(c sentinel.Command) {
	w := p.n.w
	b, err := c.Encode()
	if err != nil {
		w.locked(func() { w.violate("%v", err) })
		return
	}
	f := p.raft.Apply(b, proposeTimeout)
	p.futures.Go(func() {
		result, detail := outcome(f)
		w.locked(func() {
			w.tracef("%s proposed %s epoch=%s: %s %s", p.n, c.Type, c.Epoch, result, detail)
			if result == sentinel.OutcomeUnknown {
				w.sum.unknown++
			}
		})
		if result != sentinel.OutcomeOK {
			// The core proposes again at once; without this the clock would stand still as
			// long as Raft refuses.
			time.Sleep(w.delay())
			p.box.post(func() {
				p.step(sentinel.Proposed{Master: c.Master, Epoch: c.Epoch, Type: c.Type, Result: result, Detail: detail})
			})
		}
	})
}

// outcome says what became of a proposal. What Raft has not taken up is certainly not
// committed; everything else that went wrong may be.
func outcome(f raft.ApplyFuture) (sentinel.Outcome, string) {
	switch err := f.Error(); {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return sentinel.OutcomeNotLeader, err.Error()
	default:
		return sentinel.OutcomeUnknown, err.Error()
	}
	res, ok := f.Response().(sentinel.Result)
	switch {
	case !ok:
		return sentinel.OutcomeUnknown, fmt.Sprintf("no result: %v", f.Response())
	case !res.Accepted:
		return sentinel.OutcomeRefused, res.Reason
	}
	return sentinel.OutcomeOK, ""
}

// inbox is what the loop has to do. It never blocks who posts.
type inbox struct {
	mu     sync.Mutex
	todo   []func()
	signal chan struct{}
}

func newInbox() *inbox { return &inbox{signal: make(chan struct{}, 1)} }

func (b *inbox) post(do func()) {
	b.mu.Lock()
	b.todo = append(b.todo, do)
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

func (b *inbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	todo := b.todo
	b.todo = nil
	return todo
}
