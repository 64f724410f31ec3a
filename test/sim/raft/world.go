package raftsim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// name is the one master of a world.
const name = "orders"

// traceMax is how many lines of the trace are kept.
const traceMax = 400

// dice is a source of chance that many goroutines share.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed, stream uint64) *dice { return &dice{r: rand.New(rand.NewPCG(seed, stream))} }

func (d *dice) upTo(t time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.r.Int64N(int64(t) + 1))
}

func (d *dice) between(a, b time.Duration) time.Duration { return a + d.upTo(b-a) }

func (d *dice) below(n int) int { return int(d.upTo(time.Duration(n - 1))) }

func (d *dice) chance(p float64) bool { return float64(d.upTo(1<<30)) < p*(1<<30) }

// setup is what a run follows from.
type setup struct {
	seed uint64
	// stalls adds faults in which entries are written late while heartbeats pass, so that
	// a leader stays one and its proposals stay open for seconds.
	stalls bool
}

// world is one bubble: watchers, Redis, network. Everything in it that several
// goroutines use is guarded by mu, which nobody holds while waiting.
type world struct {
	setup
	start time.Time
	// schedule is used by the goroutine of the schedule alone and follows from the seed;
	// noise is used by all.
	schedule, noise *dice
	config          sentinel.Config
	writing         bool // clients write to the master

	nodes []*node
	insts []*instance
	over  chan struct{} // closed when the world ends
	tasks sync.WaitGroup

	mu    sync.Mutex
	stall time.Duration // until when no log is written
	cut   [][]bool      // by from, to: nothing gets through
	deaf  []bool        // by node: reaches no Redis
	ids   int
	check checker
	lines []string
	bad   string // the first violation
	sum   totals
}

func newWorld(o setup) *world {
	seed := o.seed
	w := &world{setup: o, start: time.Now(), schedule: newDice(seed, 1), noise: newDice(seed, 2), over: make(chan struct{})}
	w.config = sentinel.DefaultConfig()
	w.config.DownAfter, w.config.FailoverTimeout = time.Second, 10*time.Second
	w.writing = w.schedule.chance(0.7)
	watchers := 3
	if seed%5 == 4 {
		watchers = 5
	}
	w.check = newChecker(w)
	w.deaf = make([]bool, watchers)
	for i := range watchers {
		w.cut = append(w.cut, make([]bool, watchers))
		w.nodes = append(w.nodes, newNode(w, i))
	}
	for i := range 3 {
		w.insts = append(w.insts, newInstance(w, i))
	}
	// The first one was the master of a cluster with data.
	w.insts[0].offset, w.insts[0].keys = 1000, 10
	return w
}

// begin starts everything.
func (w *world) begin() {
	w.tasks.Go(w.runRedis)
	for _, n := range w.nodes {
		n.bootstrap()
		n.boot()
	}
}

// end stops everything, and returns when no goroutine is left.
func (w *world) end() {
	close(w.over)
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(n.kill)
	}
	all.Wait()
	w.tasks.Wait()
}

// now is the time since the world began.
func (w *world) now() time.Duration { return time.Since(w.start) }

// violate notes the first thing that must not be. The caller holds mu.
func (w *world) violate(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
		w.tracef("VIOLATION %s", w.bad)
	}
}

// tracef adds a line to the trace. The caller holds mu.
func (w *world) tracef(format string, args ...any) {
	if len(w.lines) >= 2*traceMax {
		w.lines = append(w.lines[:0], w.lines[traceMax:]...)
	}
	w.lines = append(w.lines, fmt.Sprintf("%11.6f ", w.now().Seconds())+fmt.Sprintf(format, args...))
}

// locked does something under mu.
func (w *world) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// failed reports whether something was violated.
func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bad != ""
}

// blocked reports whether a message would get lost.
func (w *world) blocked(from, to int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[from][to] || w.nodes[from].proc == nil || w.nodes[to].proc == nil
}

// stalled waits until the disks take entries again: heartbeats get through meanwhile.
func (w *world) stalled() {
	w.mu.Lock()
	left := w.stall - w.now()
	w.mu.Unlock()
	if left > 0 {
		w.wait(left)
	}
}

// later does something in a moment, unless the world has ended by then.
func (w *world) later(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		select {
		case <-w.over:
		default:
			do()
		}
	})
}

// delay is how long a message takes.
func (w *world) delay() time.Duration {
	return w.noise.between(100*time.Microsecond, 2*time.Millisecond)
}
