package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// limits are min-replicas-to-write and min-replicas-max-lag of an instance. Redis counts
// the replicas that acknowledged lately enough once a second, and when one comes or goes:
// refreshGoodSlavesCount in replication.c.
type limits struct {
	now, file sentinel.MinReplicas
	good      int
}

// fencedFor is how long a master that reaches no replica may go on acknowledging writes
// under a fence: a lag of over two whole seconds, seen once a second, after an
// acknowledgement that came at most a second before; a little for the network.
const fencedFor = 4*time.Second + 200*time.Millisecond

// count is refreshGoodSlavesCount.
func (in *instance) count() {
	in.limits.good = 0
	for _, l := range in.replicas {
		if l.state == linkUp && l.lag() <= int64(in.limits.now.Lag) {
			in.limits.good++
		}
	}
}

// lag is the time since the replica's last acknowledgement came, in whole seconds.
func (l *link) lag() int64 { return int64((l.w.now - l.ackAt) / time.Second) }

// acknowledge is REPLCONF ACK on its way.
func (l *link) acknowledge() {
	at := l.dst.ds.offset()
	l.w.after(l.w.net.delay()+l.w.net.extra(l.src.node), func() {
		if l.alive() && l.current() && l.w.net.ok(l.dst.node, l.src.node) {
			l.src.exec(func() { l.ack, l.ackAt = max(l.ack, at), l.w.now })
		}
	})
}

// unwritten says why writes are refused for want of replicas, "" if they are not.
func (in *instance) unwritten() string {
	if l := &in.limits; l.now.Active() && l.good < l.now.Write {
		return fmt.Sprintf("NOREPLICAS: %d of %d", l.good, l.now.Write)
	}
	return ""
}

// limit sets what a command has beside its own effect.
func (in *instance) limit(do sentinel.Do) {
	switch l := do.Limits; {
	case l == nil:
	case do.Op == sentinel.OpPromote || do.Op == sentinel.OpUnfence:
		in.limits.now.Write = l.Write
	default:
		in.limits.now = *l
	}
	in.count()
	if do.Op == sentinel.OpSetLimits && do.GiveBack && in.w.boot == bootRewrite {
		in.limits.file = in.limits.now
	}
}

// unfenced says what of the wanted fence is not as it should be, "" if all is.
func (w *world) unfenced(c *sentinel.Committed) string {
	m := w.byID(c.Master.Instance)
	for _, in := range w.insts {
		want := w.found
		if w.fence && in == m {
			want = sentinel.MinReplicas{Write: 1, Lag: 2}
		}
		if in.limits.now != want {
			return fmt.Sprintf("%s has the limits %s, not %s", in, in.limits.now, want)
		}
	}
	return ""
}

// fenced are faults under which a fence has to bound what is lost, or to give way.
func fenced(w *world) {
	if !w.until(20*time.Second, 50*time.Millisecond, func() bool { return w.unfenced(w.raft.committed()) == "" }) {
		w.violate("the fence is not up 20 s after the start: %s", w.unfenced(w.raft.committed()))
		return
	}
	switch w.rng.IntN(4) {
	case 0:
		cutOffBesideAClient(w)
	case 1:
		withoutReplicas(w)
	case 2:
		handovers(w)
	case 3:
		w.chaos(2+w.rng.IntN(9), 12*time.Second)
	}
}

// withFence wants the fence; some instances have limits of their own before.
func withFence(s *setup, _ *rand.Rand) {
	s.fence, s.writeEvery = true, 40*time.Millisecond
	if s.found = (sentinel.MinReplicas{Write: 0, Lag: 10}); s.preferred >= 0 {
		s.found.Write = 1
	}
}

// cutOffBesideAClient cuts the master off from everybody but a client that asks nobody
// else: with the fence it soon gets no more acknowledgements.
func cutOffBesideAClient(w *world) {
	m := w.master()
	var last time.Duration
	var write func()
	write = func() {
		if m.up {
			m.exec(func() {
				if m.clientWrite(-1, w.now) {
					last = w.now
				}
			})
		}
		w.after(20*time.Millisecond, write)
	}
	write()
	w.run(time.Second)
	w.tracef("%s is cut off from all", m)
	cut := w.now
	w.net.block([]int{m.node}, w.others(m.node), 1, false)
	w.run(w.between(fencedFor, 3*fencedFor))
	if bound := cut + fencedFor; last > bound && m.up && m.isMaster() {
		w.violate("%s was cut off at %v, and acknowledged a write %v later under a fence", m, cut, last-cut)
	}
}

// withoutReplicas takes the replicas away, one way or another: writes must not wait for
// replicas that are gone.
func withoutReplicas(w *world) {
	w.check.noBegin = "the master lives, only its replicas are away"
	m, freeze := w.master(), w.chance(0.4)
	for _, in := range w.insts {
		switch {
		case in == m:
		case freeze:
			in.freeze()
		default:
			in.kill(w.chance(0.3), false)
		}
	}
	limit := fencedFor + w.config.DownAfter + 3*time.Second
	w.run(fencedFor)
	if !w.until(limit, 50*time.Millisecond, m.writable) && w.bad == "" {
		w.violate("%v after its replicas are gone %s acknowledges nothing: %s", fencedFor+limit, m, m.unwritten())
	}
	w.run(w.upTo(3 * time.Second))
}
