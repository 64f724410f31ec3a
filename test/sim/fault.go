package sim

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// chaos plans n faults of all kinds over a span and lets it pass.
func (w *world) chaos(n int, span time.Duration) {
	for range n {
		w.after(w.upTo(span), w.fault)
	}
	if w.chance(0.3) {
		w.lateWrites = 0.2
	}
	w.run(span)
}

// fault makes one thing go wrong, and plans its end.
func (w *world) fault() {
	w.faults++
	in := w.insts[w.rng.IntN(len(w.insts))]
	if w.chance(0.5) {
		if m := w.master(); m != nil {
			in = m
		}
	}
	wt := w.watchers[w.rng.IntN(len(w.watchers))]
	if w.chance(0.5) && w.raft.leader >= 0 {
		wt = w.watchers[w.raft.leader]
	}
	switch w.rng.IntN(11) {
	case 0, 1:
		w.restart(in, w.between(0, 4*time.Second))
	case 2:
		in.freeze()
		w.after(w.between(50*time.Millisecond, 5*time.Second), in.thaw)
	case 3, 4:
		w.partition()
	case 5:
		w.raft.transfer()
	case 6:
		wt.kill()
		w.after(w.between(100*time.Millisecond, 4*time.Second), func() {
			if !wt.up {
				wt.boot()
			}
		})
	case 7:
		wt.stall()
		w.after(w.between(50*time.Millisecond, 3*time.Second), wt.resume)
	case 8:
		w.tracef("CLIENT KILL on %s", in)
		w.killClients(in)
	case 9:
		w.request(sentinel.RequestKind(1 + w.rng.IntN(3)))
	case 10:
		w.net.loss = 0.05 * w.rng.Float64()
		w.after(w.upTo(3*time.Second), func() { w.net.loss = 0 })
	}
}

// restart ends a process and starts it again.
func (w *world) restart(in *instance, d time.Duration) {
	if !in.up {
		return
	}
	in.kill(w.chance(0.2), w.chance(0.3))
	inc := in.inc
	empty := w.chance(0.3)
	w.after(d, func() {
		if !in.up && in.inc == inc {
			in.start(bootData{empty: empty})
		}
	})
}

// partition cuts some nodes off from some others for a while.
func (w *world) partition() {
	var a, b []int
	for i := range w.net.n {
		switch w.rng.IntN(3) {
		case 0:
			a = append(a, i)
		case 1:
			b = append(b, i)
		}
	}
	oneWay := w.chance(0.3)
	w.tracef("partition %v | %v oneWay=%v", a, b, oneWay)
	w.net.block(a, b, 1, oneWay)
	w.after(w.between(100*time.Millisecond, 6*time.Second), func() {
		if w.net.blockedAny(a, b) {
			w.tracef("partition %v | %v ends", a, b)
			w.net.block(a, b, -1, oneWay)
		}
	})
}

// blockedAny reports whether the ways are still blocked: heal may have been earlier.
func (n *network) blockedAny(a, b []int) bool {
	return len(a) > 0 && len(b) > 0 && n.blocked[a[0]*n.n+b[0]] > 0
}

// request asks the leader for a plan.
func (w *world) request(kind sentinel.RequestKind) {
	w.faults++
	if w.raft.leader < 0 {
		return
	}
	wt := w.watchers[w.raft.leader]
	w.tracef("asked: %d of %s", kind, wt)
	wt.input(wt.inc, sentinel.Request{ID: w.q.seq, Master: name, Kind: kind})
}

// restarts kills the master and brings it back soon, empty or with what it had.
func restarts(w *world) {
	for range 1 + w.rng.IntN(3) {
		m := w.master()
		if !m.up {
			w.run(time.Second)
			continue
		}
		m.kill(false, w.chance(0.3))
		w.run([]time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second}[w.rng.IntN(6)])
		m.start(bootData{empty: w.chance(0.5)})
		w.run(w.upTo(4 * time.Second))
	}
}

// handovers moves a loaded master again and again, while things go wrong.
func handovers(w *world) {
	for range 2 + w.rng.IntN(3) {
		w.request(sentinel.RequestHandover)
		w.run(w.upTo([]time.Duration{4 * time.Millisecond, 30 * time.Millisecond}[w.rng.IntN(2)]))
		if w.chance(0.5) {
			w.fault()
		}
		w.run(w.upTo(3 * time.Second))
	}
	w.run(2 * time.Second) // the leader has to hear that the faults are over
	if w.check.begins == 0 && w.bad == "" && w.raft.leader >= 0 && !w.unable() && w.settled() {
		w.request(sentinel.RequestHandover)
		w.expect(3*time.Second, "a handover was asked for")
	}
}

// leadersInMidPlan begins plans and takes their leader away in the middle.
func leadersInMidPlan(w *world) {
	for range 2 {
		began := w.check.begins
		if w.chance(0.5) {
			w.request(sentinel.RequestHandover)
		} else if m := w.master(); m.up {
			w.restart(m, w.between(time.Second, 4*time.Second))
		}
		if !w.until(2*time.Second, 100*time.Microsecond, func() bool { return w.check.begins > began }) {
			continue
		}
		w.run(w.upTo([]time.Duration{time.Millisecond, 4 * time.Millisecond, 15 * time.Millisecond}[w.rng.IntN(3)]))
		if l := w.raft.leader; l >= 0 {
			w.dethrone(w.watchers[l])
		}
		w.run(w.between(time.Second, 4*time.Second))
	}
}

// dethrone takes the leadership away in one of several ways.
func (w *world) dethrone(wt *watcher) {
	w.faults++
	back := w.between(time.Second, 3*time.Second)
	switch w.rng.IntN(4) {
	case 0:
		wt.kill()
		w.after(back, func() {
			if !wt.up {
				wt.boot()
			}
		})
	case 1:
		w.raft.transfer()
	case 2:
		wt.stall()
		w.after(back, wt.resume)
	case 3:
		var rest []int
		for i := range w.watchers {
			if i != wt.i {
				rest = append(rest, i)
			}
		}
		w.tracef("%s is cut off from the other watchers", wt)
		w.net.block([]int{wt.i}, rest, 1, false)
		w.after(back, func() {
			if w.net.blockedAny([]int{wt.i}, rest) {
				w.net.block([]int{wt.i}, rest, -1, false)
			}
		})
	}
}
