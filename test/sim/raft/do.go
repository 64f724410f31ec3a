package raftsim

import (
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// carry carries out one write, and then the next one to the same instance.
func (p *process) carry(d sentinel.Do) {
	reign := p.reign
	p.futures.Go(func() {
		result, info, detail := p.perform(d, reign)
		p.n.w.locked(func() { p.n.w.tracef("%s did #%d %s on %s: %s %s", p.n, d.ID, d.Op, d.Instance, result, detail) })
		p.box.post(func() {
			queue := p.writers[d.Instance][1:]
			p.writers[d.Instance] = queue
			if len(queue) > 0 {
				p.carry(queue[0])
			}
			p.step(sentinel.Done{Master: d.Master, ID: d.ID, Result: result, Info: info, Detail: detail})
		})
	})
}

// pause waits, and reports whether the leadership is still there afterwards.
func (p *process) pause(d time.Duration, reign chan struct{}) bool {
	select {
	case <-time.After(d):
		return true
	case <-reign:
	case <-p.stop:
	}
	return false
}

// perform is one write with leadership freshly verified. A nil reign is a leadership
// that had ended before it began.
func (p *process) perform(d sentinel.Do, reign chan struct{}) (sentinel.Outcome, *sentinel.Info, string) {
	if reign == nil {
		return sentinel.OutcomeNotLeader, nil, "leadership lost"
	}
	deadline := time.Now().Add(d.Timeout)
	if err := p.raft.VerifyLeader().Error(); err != nil {
		return sentinel.OutcomeNotLeader, nil, err.Error()
	}
	for {
		if !p.pause(p.n.w.delay(), reign) || time.Now().After(deadline) {
			return sentinel.OutcomeFailed, nil, "cancelled"
		}
		landed := p.order(d, deadline)
		select {
		case r := <-landed:
			if d.Op == sentinel.OpAwait && r.result == sentinel.OutcomeFailed && p.pause(5*time.Millisecond, reign) {
				continue
			}
			return r.result, r.info, r.detail
		case <-time.After(time.Until(deadline)):
			return sentinel.OutcomeUnknown, nil, "time-out"
		case <-reign:
			return sentinel.OutcomeUnknown, nil, "leadership lost"
		case <-p.stop:
			return sentinel.OutcomeUnknown, nil, "stopped"
		}
	}
}

type landing struct {
	result sentinel.Outcome
	info   *sentinel.Info
	detail string
}

// order sends a command. What a frozen process was sent it finds when it wakes.
func (p *process) order(d sentinel.Do, deadline time.Time) chan landing {
	w, in, out := p.n.w, p.n.w.at(d.Addr), make(chan landing, 1)
	w.locked(func() {
		land := func() {
			result, detail := in.land(p, d, time.Now().After(deadline))
			out <- landing{result, in.info(), detail}
		}
		switch {
		case w.deaf[p.n.i]:
		case !in.up:
			out <- landing{sentinel.OutcomeFailed, nil, "dial: refused"}
		case in.frozen:
			in.late = append(in.late, land)
		default:
			land()
		}
	})
	return out
}

// land is the command's effect. The caller holds mu.
func (in *instance) land(p *process, d sentinel.Do, late bool) (sentinel.Outcome, string) {
	c := &in.w.check
	switch d.Op {
	case sentinel.OpPromote:
		if d.RunID != "" && d.RunID != in.runID {
			return sentinel.OutcomeRefused, "another run by now"
		}
		c.promoting(in, p, d, late)
		in.noOne()
	case sentinel.OpUnfence:
		if in.master == sentinel.FenceAddr {
			c.unfencing(in, p, late)
			in.noOne()
		}
	case sentinel.OpReplicate:
		c.replicating(in, p, d, late)
		in.replicaOf(d.To)
	case sentinel.OpFence:
		in.replicaOf(sentinel.FenceAddr)
	case sentinel.OpAwait:
		if in.offset < d.Offset || (d.ReplID != "" && in.replid != d.ReplID && in.replid2 != d.ReplID) {
			return sentinel.OutcomeFailed, "behind"
		}
	case sentinel.OpSetPing:
		return sentinel.OutcomeOK, "10"
	case sentinel.OpKillClients:
		for pr := range in.conns {
			in.w.later(in.w.delay(), pr.closed)
		}
		clear(in.conns)
	case sentinel.OpPauseWrites, sentinel.OpUnpause, sentinel.OpUnknown, sentinel.OpFindLimits, sentinel.OpSetLimits:
	}
	return sentinel.OutcomeOK, ""
}
