package publish

import (
	"context"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// worker works for one master, so that a slow call for one master delays no other. Its
// fields below p are guarded by p.mu.
type worker struct {
	p *Publisher
	// now asks for a pass at once, soon for one after checkDelay.
	now, soon chan struct{}
	// life ends with Forget and Stop.
	life   context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	wish   Desired
	wished bool // a wish was set
	// since is when the assignment was set, or this watcher began to lead, if later.
	since time.Time
	// abandon cancels the pass under way.
	abandon context.CancelFunc
	pending string
	// told holds the assignment for which Flipped was called, by Service; tried those
	// for which a flip was sent, so that one found made may be our own.
	told, tried map[string]assignment
}

// assignment is what a flip makes a Service follow.
type assignment struct {
	epoch    sentinel.Epoch
	instance sentinel.InstanceID
}

func newWorker(p *Publisher) *worker {
	w := &worker{
		p: p, now: make(chan struct{}, 1), soon: make(chan struct{}, 1), done: make(chan struct{}),
		abandon: func() {}, told: map[string]assignment{}, tried: map[string]assignment{},
	}
	w.life, w.cancel = context.WithCancel(p.stop)
	return w
}

// set takes a wish. The caller holds p.mu, as for led and check.
func (w *worker) set(d Desired) {
	old, first := w.wish, !w.wished
	w.wish, w.wished = d, true
	if !first && old.equal(d) {
		poke(w.soon)
		return
	}
	if first || old.Epoch != d.Epoch || old.Instance != d.Instance {
		w.since = time.Now()
	}
	if old.urgent(d) {
		w.abandon()
	}
	poke(w.now)
}

// led begins a leadership: what an earlier one told may not have been heard.
func (w *worker) led() {
	w.since = time.Now()
	clear(w.told)
	clear(w.tried)
	poke(w.now)
}

func (w *worker) check() { poke(w.soon) }

// poke wakes a receiver that may be awake already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run makes passes until the worker's life ends.
func (w *worker) run() {
	defer close(w.done)
	defer w.cancel()
	timer := time.NewTimer(steady) // Set has asked for the first pass
	defer timer.Stop()
	retry := time.Duration(0)
	for {
		select {
		case <-w.life.Done():
			return
		case <-w.now:
			retry = 0
		case <-w.soon:
			retry = 0
			w.gather()
		case <-timer.C:
		}
		switch w.pass() {
		case passIdle:
			timer.Stop() // Lead wakes it
		case passSettled:
			retry = 0
			timer.Reset(steady)
		case passFailed:
			retry = min(max(2*retry, retryFirst), retryLast)
			timer.Reset(retry)
		}
	}
}

// gather waits for more checks to come, or for something that can't wait.
func (w *worker) gather() {
	t := time.NewTimer(checkDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.now:
	case <-w.life.Done():
	}
	select {
	case <-w.soon:
	default:
	}
}

// outcome says how a pass ended.
type outcome int

const (
	// passIdle means that this watcher doesn't lead.
	passIdle outcome = iota
	// passSettled means that nothing is left that trying again would change.
	passSettled
	// passFailed means that it should be tried again.
	passFailed
)

// pass makes one pass over the newest wish.
func (w *worker) pass() outcome {
	w.p.mu.Lock()
	lead := w.p.lead
	if lead == nil || lead.Err() != nil || !w.wished || w.life.Err() != nil {
		w.pending = ""
		w.p.mu.Unlock()
		return passIdle
	}
	ctx, cancel := context.WithCancel(lead)
	defer cancel()
	w.abandon = cancel
	s := &pass{p: w.p, w: w, d: w.wish, since: w.since, ctx: ctx}
	w.p.mu.Unlock()
	defer context.AfterFunc(w.life, cancel)()

	s.run()

	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.abandon = func() {}
	if ctx.Err() != nil {
		// Whoever cancelled it has also asked for the next pass, or there is none.
		return passSettled
	}
	w.pending = s.pendingText()
	if s.failed {
		return passFailed
	}
	return passSettled
}

// flipped reports an assignment of a Service once. Took is 0 if no flip was sent for it.
func (s *pass) flipped(service string) (took time.Duration, first bool) {
	w, a := s.w, assignment{s.d.Epoch, s.d.Instance}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if w.told[service] == a {
		return 0, false
	}
	if w.tried[service] == a {
		took = time.Since(s.since)
	}
	w.told[service] = a
	return took, true
}

// trying notes that a flip of a Service is sent.
func (s *pass) trying(service string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.w.tried[service] = assignment{s.d.Epoch, s.d.Instance}
}
