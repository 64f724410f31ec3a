package redisio

import (
	"context"
	"slices"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

const (
	// patience is how long a ProbeNow waits for the command connection before it
	// dials its own; where round trips are slow it is two of them, at most maxPatience.
	patience    = 3 * time.Millisecond
	maxPatience = 15 * time.Millisecond
	// sameMoment is the difference below which two delayed asks are one.
	sameMoment = time.Millisecond
	// maxAside bounds the short-lived connections of one instance at a time: a
	// frozen instance holds each for a whole time-out.
	maxAside = 4
)

// asks are the ProbeNows of one instance. prober.mu guards them.
type asks struct {
	// waiting have not been sent, so that a later equal ask is served by them.
	waiting []*ask
	// running counts the short-lived connections; again is an ask that found no room.
	running int
	again   bool
}

type ask struct {
	due    sentinel.Time
	redial bool
}

// ask takes a ProbeNow; Pool.mu is held and the pool is not closed.
func (pr *prober) ask(redial, rights bool, after time.Duration) {
	now := pr.pool.now()
	due := now + max(after, 0)
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if rights { // over the command connection, whenever that is free
		pr.rightsAt = due
		pr.nudge()
	}
	for _, a := range pr.asks.waiting {
		if a.redial == redial && (a.due-due).Abs() < sameMoment {
			return
		}
	}
	a := &ask{due: due, redial: redial}
	pr.asks.waiting = append(pr.asks.waiting, a)
	pr.pool.wg.Go(func() { pr.serve(a) })
}

// serve sends one ask when it is due.
func (pr *prober) serve(a *ask) {
	if !pr.sleep(a.due-pr.pool.now(), nil) {
		return
	}
	w, limit := pr.begun(a)
	if a.redial {
		pr.aside()
		return
	}
	pr.nudge()
	if !pr.sleep(limit, w.served) {
		return
	}
	pr.mu.Lock()
	if pr.wanted == w {
		pr.wanted = nil
	}
	pr.mu.Unlock()
	pr.aside()
}

// begun takes an ask out of those that can serve a later one and, unless it wants
// a redial, asks the loop in the same moment: an ask that comes after the loop has
// sent its probe must not be taken for served by it.
func (pr *prober) begun(a *ask) (*want, time.Duration) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.asks.waiting = slices.DeleteFunc(pr.asks.waiting, func(other *ask) bool { return other == a })
	if a.redial {
		return nil, 0
	}
	if pr.wanted == nil {
		pr.wanted = &want{served: make(chan struct{})}
	}
	return pr.wanted, min(max(patience, 2*pr.rtt), maxPatience)
}

// sleep waits for d; false means that it was cut short.
func (pr *prober) sleep(d time.Duration, cut <-chan struct{}) bool {
	if d <= 0 {
		return pr.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-cut:
	case <-pr.ctx.Done():
	}
	return false
}

// aside probes over a short-lived connection, whatever hangs elsewhere.
func (pr *prober) aside() {
	pr.mu.Lock()
	if pr.asks.running >= maxAside {
		pr.asks.again = true
		pr.mu.Unlock()
		return
	}
	pr.asks.running++
	pr.mu.Unlock()
	for again := true; again; {
		pr.probeAside()
		pr.mu.Lock()
		again = pr.asks.again && pr.ctx.Err() == nil
		pr.asks.again = false
		if !again {
			pr.asks.running--
		}
		pr.mu.Unlock()
	}
}

func (pr *prober) probeAside() {
	pr.mu.Lock()
	t, c := pr.target, pr.creds
	pr.mu.Unlock()
	asked := pr.pool.now()
	nc, err := pr.pool.dial(pr.ctx, t.Addr, t.Timeout)
	if err != nil {
		pr.send(t.Addr, answer{reply: classify(err, nil), detail: err.Error()}, asked, false)
		return
	}
	l := newLink(nc, t.Addr, c, pr.pool.opt.ClientName)
	defer l.close()
	stop := context.AfterFunc(pr.ctx, l.wire.retire)
	defer stop()
	asked = pr.pool.now()
	pr.send(t.Addr, l.pingInfo(t.Timeout, true), asked, false)
}
