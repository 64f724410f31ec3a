package sim

import (
	"strconv"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// writer carries out one watcher's writes to one instance, one after the other.
type writer struct {
	queue []*action
}

// cancel is the end of the leadership's context: nothing more is sent.
func (wr *writer) cancel() {
	for _, a := range wr.queue {
		a.cancelled = true
	}
}

// action is one Do under way.
type action struct {
	wt        *watcher
	inc       int
	do        sentinel.Do
	in        *instance
	sent      time.Duration // when the core asked for it
	deadline  time.Duration
	cancelled bool
	over      bool
	wrote     bool
}

// do takes a write from the core.
func (wt *watcher) do(d sentinel.Do) {
	in := wt.w.at(d.Addr)
	if in == nil {
		wt.w.violate("%s would write to %s, which nobody is", wt, d.Addr)
		return
	}
	wr := &wt.writers[in.i]
	wr.queue = append(wr.queue, &action{wt: wt, inc: wt.inc, do: d, in: in, sent: wt.w.now})
	if len(wr.queue) == 1 {
		wr.queue[0].begin()
	}
}

// begin verifies the leadership unless that was done within the lease.
func (a *action) begin() {
	w := a.wt.w
	a.deadline = w.now + a.do.Timeout
	w.after(a.do.Timeout, func() { a.end(sentinel.OutcomeUnknown, nil, "time-out") })
	if w.now-a.wt.verified <= raftLease {
		a.read()
		return
	}
	w.after(2*w.net.delay(), func() {
		a.wt.deliver(func() {
			if w.raft.leader == a.wt.i && w.raft.reaches(a.wt.i) {
				a.wt.verified = w.now
				a.read()
				return
			}
			a.end(sentinel.OutcomeNotLeader, nil, "leadership not verified")
		})
	})
}

// end answers the core, once, and begins the next.
func (a *action) end(r sentinel.Outcome, info *sentinel.Info, detail string) {
	if a.over || a.wt.inc != a.inc {
		return
	}
	a.over = true
	if r == sentinel.OutcomeUnknown && !a.wrote {
		r = sentinel.OutcomeFailed
	}
	a.wt.deliver(func() {
		if a.wt.inc != a.inc {
			return
		}
		wr := &a.wt.writers[a.in.i]
		wr.queue = wr.queue[1:]
		if len(wr.queue) > 0 {
			wr.queue[0].begin()
		}
		a.wt.step(sentinel.Done{Master: a.do.Master, ID: a.do.ID, Result: r, Info: info, Detail: detail})
	})
}

// read is the INFO that every action begins with.
func (a *action) read() {
	w := a.wt.w
	left := a.deadline - w.now
	if a.over || a.cancelled || left <= 0 {
		a.end(sentinel.OutcomeFailed, nil, "cancelled")
		return
	}
	w.roundTrip(a.wt.i, a.in, 0, left, true, true, func(o outcome) {
		a.wt.deliver(func() { a.hasRead(o) })
	})
}

func (a *action) hasRead(o outcome) {
	if a.over {
		return
	}
	if !o.reply.Alive() || o.info == nil {
		a.end(sentinel.OutcomeFailed, nil, "dial: "+o.reply.String())
		return
	}
	i := o.info
	switch a.do.Op {
	case sentinel.OpPromote:
		if a.do.RunID != "" && i.RunID != a.do.RunID {
			a.end(sentinel.OutcomeRefused, i, "runs anew since it was chosen")
			return
		}
		if i.Role == sentinel.RoleMaster && a.limited(i) {
			a.end(sentinel.OutcomeOK, i, "already so")
			return
		}
		if want := a.do.ReplID; want != "" && i.ReplID != want && i.ReplID2 != want {
			a.end(sentinel.OutcomeRefused, i, "has taken up another data set since it was chosen")
			return
		}
	case sentinel.OpReplicate:
		if i.Role == sentinel.RoleReplica && i.Master == a.do.To {
			a.end(sentinel.OutcomeOK, i, "already so")
			return
		}
	case sentinel.OpFence:
		if i.Fenced() {
			a.end(sentinel.OutcomeOK, i, "already so")
			return
		}
	case sentinel.OpUnfence:
		if i.Role == sentinel.RoleMaster && a.limited(i) {
			a.end(sentinel.OutcomeOK, i, "already so")
			return
		}
		if !i.Fenced() && i.Role != sentinel.RoleMaster {
			a.end(sentinel.OutcomeRefused, i, "not fenced")
			return
		}
	case sentinel.OpAwait:
		a.await(i)
		return
	case sentinel.OpSetPing, sentinel.OpPauseWrites, sentinel.OpUnpause, sentinel.OpKillClients, sentinel.OpFindLimits, sentinel.OpSetLimits:
	case sentinel.OpUnknown:
		a.wt.w.violate("%s issued an unknown operation", a.wt)
		return
	}
	a.write(o.inc)
}

func (a *action) await(i *sentinel.Info) {
	if (a.do.ReplID == "" || i.ReplID == a.do.ReplID || i.ReplID2 == a.do.ReplID) && i.Offset >= a.do.Offset {
		a.end(sentinel.OutcomeOK, i, "")
		return
	}
	if a.wt.w.now+10*time.Millisecond >= a.deadline {
		a.end(sentinel.OutcomeFailed, i, strconv.FormatInt(a.do.Offset-i.Offset, 10)+" bytes behind")
		return
	}
	a.wt.w.after(5*time.Millisecond, a.read)
}

// write sends the command to the process that answered the read.
func (a *action) write(inc int) {
	w, in := a.wt.w, a.in
	if a.cancelled || w.now >= a.deadline {
		a.end(sentinel.OutcomeFailed, nil, "cancelled")
		return
	}
	a.wrote = true
	if !w.net.ok(a.wt.i, in.node) {
		// It may be sent again by the kernel when the way is free, until we give up.
		if w.chance(0.3) {
			w.after(w.upTo(a.deadline-w.now), func() {
				if w.net.ok(a.wt.i, in.node) && in.up && in.inc == inc {
					in.exec(func() { a.land(true) })
				}
			})
		}
		return
	}
	d := w.net.delay() + w.net.extra(in.node)
	if w.lateWrites > 0 && w.chance(w.lateWrites) {
		d += w.upTo(a.do.Timeout + raftLease)
	}
	w.after(d, func() {
		if !in.up || in.inc != inc {
			a.end(sentinel.OutcomeUnknown, nil, "connection reset")
			return
		}
		late := in.frozen
		in.exec(func() {
			if refused := a.land(late); refused != "" {
				a.end(sentinel.OutcomeRefused, nil, refused)
				return
			}
			a.verify()
		})
	})
}

// heldUp is after how long an order counts as late: until it lands, the core must not
// rely on it, and others may have been committed.
const heldUp = 100 * time.Millisecond

// land is the command's effect. late tells that it was held up on its way.
func (a *action) land(late bool) (refused string) {
	in, w := a.in, a.wt.w
	late = late || w.now-a.sent > heldUp
	if w.tracing {
		w.tracef("%s: %s #%d of %s lands (epoch %s, to %s, late=%v)", in, a.do.Op, a.do.ID, a.wt, a.do.Epoch, a.do.To, late)
	}
	switch a.do.Op {
	case sentinel.OpPromote:
		w.check.promoting(a, late)
		if late && !in.isMaster() {
			in.lastLate = w.now
		}
		refused = in.noOne()
	case sentinel.OpUnfence:
		w.check.unfencing(a, late)
		refused = in.noOne()
	case sentinel.OpReplicate:
		w.check.replicating(a, late)
		refused = in.replicaOf(a.do.To, a.sent)
	case sentinel.OpFence:
		refused = in.replicaOf(sentinel.FenceAddr, a.sent)
	case sentinel.OpSetPing:
		if n, err := strconv.Atoi(a.do.Value); err == nil && n > 0 {
			in.pingPeriod = n
		}
	case sentinel.OpPauseWrites:
		in.pause(a.do.Timeout)
	case sentinel.OpUnpause:
		in.unpause()
	case sentinel.OpKillClients:
		w.killClients(in)
	case sentinel.OpAwait, sentinel.OpUnknown, sentinel.OpFindLimits, sentinel.OpSetLimits:
	}
	if refused != "" {
		return refused
	}
	in.limit(a.do)
	if a.do.Op == sentinel.OpPromote || a.do.Op == sentinel.OpReplicate {
		in.rewrite(a.do.To)
	}
	return ""
}

// verify is the INFO after the write.
func (a *action) verify() {
	w := a.wt.w
	switch a.do.Op {
	case sentinel.OpSetPing:
		w.after(w.net.delay()+w.net.extra(a.wt.i), func() { a.end(sentinel.OutcomeOK, nil, "10") })
		return
	case sentinel.OpFindLimits:
		found := a.in.limits.now.String()
		w.after(w.net.delay()+w.net.extra(a.wt.i), func() { a.end(sentinel.OutcomeOK, nil, found) })
		return
	case sentinel.OpPauseWrites, sentinel.OpUnpause, sentinel.OpKillClients:
		w.after(w.net.delay()+w.net.extra(a.wt.i), func() { a.end(sentinel.OutcomeOK, nil, "") })
		return
	default:
	}
	left := a.deadline - w.now
	if left <= 0 {
		return
	}
	w.roundTrip(a.wt.i, a.in, a.in.inc, left, true, true, func(o outcome) {
		i := o.info
		ok := false
		if i != nil {
			switch a.do.Op {
			case sentinel.OpPromote, sentinel.OpUnfence:
				ok = i.Role == sentinel.RoleMaster
			case sentinel.OpReplicate:
				ok = i.Role == sentinel.RoleReplica && i.Master == a.do.To
			case sentinel.OpFence:
				ok = i.Fenced()
			case sentinel.OpSetLimits:
				ok = a.limited(i)
			default:
			}
		}
		if ok {
			a.end(sentinel.OutcomeOK, i, "")
			return
		}
		a.end(sentinel.OutcomeUnknown, i, "accepted, but not verified")
	})
}

// limited reports whether an instance has the limits that the command sets, as far as
// INFO tells.
func (a *action) limited(i *sentinel.Info) bool {
	return a.do.Limits == nil || i.Limited == a.do.Limits.Active()
}

// rewrite is CONFIG REWRITE.
func (in *instance) rewrite(master sentinel.Addr) {
	if in.w.boot == bootRewrite {
		in.conf, in.limits.file = master, in.limits.now
	}
}

func (in *instance) pause(d time.Duration) {
	in.pausedUntil = max(in.pausedUntil, in.w.now+d)
	inc := in.inc
	in.w.after(d, func() {
		if in.inc == inc && in.w.now >= in.pausedUntil {
			in.unpause()
		}
	})
}

func (in *instance) unpause() {
	in.pausedUntil = 0
	q := in.pausedQ
	in.pausedQ = nil
	for _, fn := range q {
		in.exec(fn)
	}
}

// killClients is CLIENT KILL of everybody: the watchers' connections go as well.
func (w *world) killClients(in *instance) {
	for _, wt := range w.watchers {
		wt.closed(in, in.inc)
	}
}
