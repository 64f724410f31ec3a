package runner

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// Redis is what the runner needs of sentinel/redisio.
type Redis interface {
	// Watch and ProbeNow return at once; outcomes arrive through Runner.Input.
	Watch(sentinel.Watch)
	ProbeNow(sentinel.ProbeNow)
	// Do carries out one write, within its Timeout and not after ctx has ended.
	Do(context.Context, sentinel.Do) sentinel.Done
}

// Cluster is what the runner needs of election.
type Cluster interface {
	// Propose waits until the command is committed and applied here, or says why not.
	Propose(ctx context.Context, command []byte) (sentinel.Outcome, error)
	// Verify returns nil if this watcher leads at this moment.
	Verify(ctx context.Context) error
	// Send and Broadcast hand a frame to one or all other watchers, at once and
	// without waiting for it to arrive.
	Send(to sentinel.WatcherID, frame []byte) error
	Broadcast(frame []byte)
	// Leader returns the leader as far as known, "" if not.
	Leader() sentinel.WatcherID
}

// Options are the runner's parts. All fields but Events, Before, Fault and Wall are required.
type Options struct {
	Redis   Redis
	Cluster Cluster
	Logger  *zap.Logger
	// Clock is the monotonic clock that probes are stamped with.
	Clock func() sentinel.Time
	// Wall is the wall clock; nil is time.Now.
	Wall func() time.Time
	// Hello is what the other watchers are told about this one every two seconds. A Level
	// below that of the build keeps all watchers from using more; 0 is the build's.
	Hello Hello
	// Events is called in the loop for every event, and must not block.
	Events func(sentinel.Event)
	// Before asks whoever may veto a failover. It is called beside the loop, by several
	// goroutines at once, and returns when ctx ends at the latest. Nil is nobody, which
	// counts as no veto.
	Before func(ctx context.Context, ask sentinel.AskHook) sentinel.HookAnswered
	// Fault is told of every point that a plan comes by, see Points; nil is nobody.
	Fault Fault
}

// maxWrites bounds how many writes to Redis are under way at once.
const maxWrites = 64

// maxAsked bounds how many questions before failovers are under way at once.
const maxAsked = 16

// verifiedFor is how long a verification of the leadership counts: half of the
// leader lease.
const verifiedFor = 125 * time.Millisecond

// proposeTimeout bounds a proposal; after it the outcome is unknown.
const proposeTimeout = 2 * time.Second

// Runner owns the state of one watcher. Make it with New.
type Runner struct {
	opt    Options
	router *sentinel.Router

	mail mailbox
	stop chan struct{}
	wg   sync.WaitGroup

	// served is what clients are told, replaced as a whole after a pass that changed it.
	served atomic.Pointer[map[string]sentinel.Assignment]
	// removed are the masters that were removed from the registry.
	removed atomic.Pointer[sentinel.Removed]
	passed  atomic.Int64 // unix nanoseconds of the last complete pass
	level   atomic.Int64 // the committed level

	heard    atomic.Pointer[map[sentinel.WatcherID]Heard]
	writes   chan struct{}
	asked    chan struct{}
	verified atomic.Int64 // Clock of the last verification
	fault    atomic.Pointer[Fault]

	// The rest belongs to the loop.
	lead    context.Context
	post    *post
	waiting map[uint64]func(sentinel.Answer)
	nextReq uint64
	me      sentinel.WatcherID
	// generation is the cluster's, as last handed in.
	generation uint32
	helloAt    sentinel.Time // when the next hello is due
	// behind is when to complain again about a watcher of an older build.
	behind map[sentinel.WatcherID]sentinel.Time
}

// New returns a runner that does nothing until Start.
func New(opt Options) *Runner {
	if opt.Wall == nil {
		opt.Wall = time.Now
	}
	r := &Runner{opt: opt, router: sentinel.NewRouter(""), mail: newMailbox(), stop: make(chan struct{}),
		writes: make(chan struct{}, maxWrites), asked: make(chan struct{}, maxAsked), waiting: map[uint64]func(sentinel.Answer){},
		behind: map[sentinel.WatcherID]sentinel.Time{}}
	if l := r.opt.Hello.Level; l <= 0 || l > sentinel.CommandLevel {
		r.opt.Hello.Level = sentinel.CommandLevel
	}
	r.router.Step(sentinel.Input{Event: sentinel.Known{Level: r.opt.Hello.Level}})
	r.level.Store(int64(r.router.Level()))
	r.post = newPost(r)
	r.served.Store(&map[string]sentinel.Assignment{})
	r.heard.Store(&map[sentinel.WatcherID]Heard{})
	r.removed.Store(&sentinel.Removed{})
	r.verified.Store(-int64(time.Hour))
	r.SetFault(opt.Fault)
	return r
}

// Start begins the loop.
func (r *Runner) Start() {
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		r.loop()
	}()
}

// Stop ends the loop and waits for everything that it started. Leadership's
// context has to be ended by its owner first, so that no write lingers.
func (r *Runner) Stop() {
	close(r.stop)
	r.wg.Wait()
}

// Input hands in what happened. It returns at once.
func (r *Runner) Input(ev sentinel.InputEvent) { r.mail.put(func() { r.step(ev) }) }

// Applied hands in one committed command, in log order.
func (r *Runner) Applied(index uint64, c sentinel.Command) {
	r.mail.put(func() {
		if r.lead != nil { // then the proposal was this watcher's
			r.pass(afterCommit, proposalStep(c), c.Master)
		}
		r.step(sentinel.Applied{Index: index, Command: c})
	})
}

// Member hands in who votes. Nothing happens if that is known.
func (r *Runner) Member(m sentinel.Membership) {
	r.mail.put(func() {
		if r.me == m.Me && r.generation == m.Generation && slices.Equal(r.router.Voters(), m.Voters) {
			return
		}
		r.me, r.generation = m.Me, m.Generation
		r.step(m)
	})
}

// Restored hands in the registry of a snapshot. The runner keeps it.
func (r *Runner) Restored(reg *sentinel.Registry) { r.Input(sentinel.Restored{Registry: reg}) }

// Lead tells that this watcher leads until ctx ends.
func (r *Runner) Lead(ctx context.Context, term uint64) {
	r.mail.put(func() {
		if ctx.Err() != nil {
			return
		}
		r.lead = ctx
		r.helloAt = 0 // whoever has not heard it yet answers, and clients may wait for that
		r.verified.Store(int64(r.opt.Clock()))
		r.step(sentinel.Led{Leading: true, Term: term})
	})
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		select {
		case <-ctx.Done():
		case <-r.stop:
			return
		}
		r.mail.put(func() {
			if r.lead != ctx {
				return // a later leadership has begun already
			}
			r.lead = nil
			r.step(sentinel.Led{Leading: false, Term: term})
		})
	}()
}

// Served returns what clients are told to be the master. It takes no lock.
func (r *Runner) Served(name string) (sentinel.Assignment, bool) {
	a, ok := (*r.served.Load())[name]
	return a, ok
}

// Removed reports whether a master was removed from the registry. It takes no lock.
func (r *Runner) Removed(name string) bool {
	_, ok := (*r.removed.Load())[name]
	return ok
}

// Heard returns the last hello of every other watcher. The caller must not change it.
func (r *Runner) Heard() map[sentinel.WatcherID]Heard { return *r.heard.Load() }

// LastPass is when the loop last completed a pass.
func (r *Runner) LastPass() time.Time { return time.Unix(0, r.passed.Load()) }

// ErrStopped is returned when the runner is stopped while somebody waits for it.
var ErrStopped = errors.New("watcher is stopping")

// Views describes all masters as this watcher sees them.
func (r *Runner) Views(ctx context.Context) ([]sentinel.View, error) {
	var out []sentinel.View
	err := r.ask(ctx, func() { out = r.views() })
	return out, err
}

// views describes all masters. It runs in the loop.
func (r *Runner) views() []sentinel.View {
	out := make([]sentinel.View, 0, len(r.router.Names()))
	for _, name := range r.router.Names() {
		out = append(out, r.router.State(name).View())
	}
	return out
}

// View describes one master as this watcher sees it; nil if it is not known.
func (r *Runner) View(ctx context.Context, name string) (*sentinel.View, error) {
	var out *sentinel.View
	err := r.ask(ctx, func() {
		if s := r.router.State(name); s != nil {
			v := s.View()
			out = &v
		}
	})
	return out, err
}

// History returns the records of one master, oldest first; false if it is not known.
func (r *Runner) History(ctx context.Context, name string) ([]sentinel.Record, bool, error) {
	var out []sentinel.Record
	known := false
	err := r.ask(ctx, func() {
		if s := r.router.State(name); s != nil {
			known = true
			out = append(out, s.Committed().History...)
		}
	})
	return out, known, err
}

// ask runs f in the loop and waits for it.
func (r *Runner) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	r.mail.put(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.stop:
		return ErrStopped
	}
}

// loop takes one entry after the other and wakes when the core wants to be woken.
func (r *Runner) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for f := r.mail.take(); f != nil; f = r.mail.take() {
			f()
		}
		now := r.opt.Clock()
		if now >= r.helloAt {
			r.helloAt = now + helloPeriod
			r.post.all.Hello = r.hello()
			r.complain(now)
		}
		r.finishPass()
		deadline := r.router.Deadline()
		wait := min(deadline, r.helloAt) - now
		if wait <= 0 && r.opt.Clock() >= deadline {
			r.step(nil)
			continue
		}
		timer.Reset(wait)
		select {
		case <-r.stop:
			return
		case <-r.mail.ready:
		case <-timer.C:
			if r.opt.Clock() >= deadline {
				r.step(nil)
			}
		}
	}
}

// finishPass publishes what a pass has changed and sends what it had to say.
func (r *Runner) finishPass() {
	r.post.flush()
	r.publish()
	r.levelChanged()
	r.passed.Store(r.opt.Wall().UnixNano())
}

func (r *Runner) publish() {
	removed := r.router.Removed()
	r.removed.Store(&removed)
	old := *r.served.Load()
	names := r.router.Names()
	same := len(old) == len(names)
	for _, n := range names {
		if a, ok := old[n]; !ok || a != r.router.State(n).Served() {
			same = false
		}
	}
	if same {
		return
	}
	next := make(map[string]sentinel.Assignment, len(names))
	for _, n := range names {
		next[n] = r.router.State(n).Served()
	}
	r.served.Store(&next)
}

// step is one input to the core, and its actions carried out.
func (r *Runner) step(ev sentinel.InputEvent) {
	for _, a := range r.router.Step(sentinel.Input{At: r.opt.Clock(), Wall: r.opt.Wall().UTC(), Event: ev}) {
		r.carryOut(a)
	}
}

// mailbox is an unbounded queue: whoever puts never waits, so that Raft's
// goroutines cannot deadlock with the loop that proposes to them. What fills it is
// bounded by the probes' pace and the peers' heartbeats.
type mailbox struct {
	mu    *sync.Mutex
	queue *[]func()
	ready chan struct{}
}

func newMailbox() mailbox {
	return mailbox{mu: &sync.Mutex{}, queue: &[]func(){}, ready: make(chan struct{}, 1)}
}

func (m mailbox) put(f func()) {
	m.mu.Lock()
	*m.queue = append(*m.queue, f)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m mailbox) take() func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := *m.queue
	if len(q) == 0 {
		return nil
	}
	f := q[0]
	q[0] = nil
	*m.queue = q[1:]
	if len(q) == 1 {
		*m.queue = nil
	}
	return f
}
