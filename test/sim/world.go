package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// name is the one master of a world.
const name = "orders"

// wallStart is what the wall clocks show when a world begins.
var wallStart = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// setup is how a world is made; all of it follows from the seed.
type setup struct {
	watchers, instances int
	config              sentinel.Config
	// boot says what an instance is when its process starts.
	boot bootMode
	// persist says what a restarted process still has.
	persist persistMode
	// writeEvery is the pause between two writes of a client, zero for no clients.
	writeEvery time.Duration
	syncTime   time.Duration
	priority0  int // instance with priority 0, -1 for none
	// before is whether somebody is asked before automatic failovers.
	before sentinel.Before
	// fence is whether the watchers' file asks for it; found, the limits that every
	// instance has of its own.
	fence     bool
	found     sentinel.MinReplicas
	preferred int // instance with the lowest priority number, -1 for none
}

// world is everything: watchers, Redis, network, log, clients, on one goroutine.
type world struct {
	setup
	seed uint64
	rng  *rand.Rand
	now  time.Duration
	q    queue

	watchers []*watcher
	insts    []*instance
	net      network
	raft     raft
	clients  []*client
	check    checker

	branches, runs, links int
	writes                int32
	reaction              time.Duration // from the fault to the promotion, where one had to follow
	faults                int           // things that went wrong, and requests
	healing               bool          // the faults are over
	// lateWrites is how likely a command of the watchers is held up on its way.
	lateWrites float64
	// idle counts the faults that keep clients from writing.
	idle int

	tracing bool
	lines   []string
	bad     string // the first violation
}

func newWorld(seed uint64, s setup, rng *rand.Rand, tracing bool) *world {
	w := &world{setup: s, seed: seed, rng: rng, tracing: tracing}
	n := s.watchers + s.instances
	w.net = network{w: w, n: n, blocked: make([]int, n*n), at: make([]lateness, n)}
	for i := range s.instances {
		w.insts = append(w.insts, newInstance(w, i))
	}
	for i := range s.watchers {
		w.watchers = append(w.watchers, newWatcher(w, i))
	}
	w.raft = newRaft(w)
	w.check = newChecker(w)
	for _, in := range w.insts {
		in.start(bootData{fresh: true})
	}
	for _, wt := range w.watchers {
		wt.boot()
	}
	if s.writeEvery > 0 {
		w.beginWrites()
	}
	w.raft.start()
	return w
}

// beginWrites lets the clients begin.
func (w *world) beginWrites() {
	for i := range 2 {
		w.clients = append(w.clients, newClient(w, i))
	}
}

// after plans something.
func (w *world) after(d time.Duration, do func()) { w.q.push(w.now+max(d, 0), do) }

// run lets time pass. It ends early at a violation.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for w.bad == "" && len(w.q.events) > 0 && w.q.events[0].at <= end {
		e := w.q.pop()
		w.now = e.at
		e.do()
	}
	if w.bad == "" {
		w.now = end
	}
}

// until lets time pass until a condition holds, looking every step; it reports
// whether it came to hold within the limit.
func (w *world) until(limit, step time.Duration, cond func() bool) bool {
	for end := w.now + limit; w.bad == "" && w.now < end; {
		if cond() {
			return true
		}
		w.run(step)
	}
	return w.bad == "" && cond()
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

func (w *world) between(a, b time.Duration) time.Duration { return a + w.upTo(b-a) }

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) violate(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
		w.tracef("VIOLATION %s", w.bad)
	}
}

// tracef adds a line to the trace; callers in hot paths ask for w.tracing first.
func (w *world) tracef(format string, args ...any) {
	if w.tracing {
		w.lines = append(w.lines, fmt.Sprintf("%12.6f ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// hash sums up the trace.
func hash(lines []string) uint64 {
	h := fnv.New64a()
	for _, l := range lines {
		h.Write([]byte(l)) //nolint:errcheck // a hash never fails
		h.Write([]byte{'\n'})
	}
	return h.Sum64()
}

// healed is called when a partition ends: what TCP kept is sent again.
func (w *world) healed() {
	for _, in := range w.insts {
		if in.link != nil {
			in.link.pump(w.between(time.Millisecond, retransmit))
		}
	}
}

// at finds the instance at an address, nil if there is none.
func (w *world) at(a sentinel.Addr) *instance {
	for _, in := range w.insts {
		if in.addr == a {
			return in
		}
	}
	return nil
}

func (w *world) byID(id sentinel.InstanceID) *instance {
	for _, in := range w.insts {
		if in.id == id {
			return in
		}
	}
	return nil
}

// master is the instance that is committed as master.
func (w *world) master() *instance {
	if c := w.raft.committed(); c != nil {
		return w.byID(c.Master.Instance)
	}
	return nil
}
