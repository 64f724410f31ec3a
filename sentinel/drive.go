package sentinel

import (
	"fmt"
	"time"
)

// driver is what the leader knows of the open plan besides what is committed:
// which step was sent, and what came of it. It is lost with the leadership; the
// next leader starts the committed phase again, and every step can tell
// "already done".
type driver struct {
	epoch Epoch
	phase Phase
	since Time // when this leader took up the phase
	steps map[stepKey]*step
	notes []Note
	// proposed is when the next phase was proposed, never if it is not under way.
	proposed Time
	pause    Time   // nothing is done before, because a proposal was just turned down
	undo     string // why the handover is being undone, "" if it is not
	paused   bool
}

type stepKey struct {
	op       Op
	instance InstanceID
	// again is set for what is done a second time on purpose.
	again bool
}

// step is one action on one instance, tried until it is done.
type step struct {
	id     ActionID
	tries  int
	flying bool
	// unsure is set when a try ended with an unknown outcome: it may still land.
	unsure bool
	sent   Time
	ended  Time
	result Outcome
	info   *Info
	detail string
}

func (st *step) ok() bool { return st != nil && !st.flying && st.result == OutcomeOK }

// failed reports whether the last try ended without success.
func (st *step) failed() bool {
	return st != nil && !st.flying && st.tries > 0 && st.result != OutcomeOK
}

// mayLand reports whether a try may still have its effect.
func (st *step) mayLand() bool { return st != nil && (st.flying || st.unsure) }

// proposalWait is how long a proposal's outcome is waited for before the phase is
// driven again.
const proposalWait = time.Second

// proposeNext proposes what the open plan comes to next, with the notes so far, and
// waits for the outcome.
func (s *State) proposeNext(d *driver, c Command) {
	d.proposed = s.now
	s.wake(s.now + proposalWait)
	c.Epoch, c.Notes = d.epoch, s.takeNotes(d)
	s.propose(c)
}

// retryAfter is the pause between two tries of a step.
const retryAfter = 20 * time.Millisecond

// carryOn drives the open plan from the phase that the log shows.
func (s *State) carryOn() {
	p := s.com.Plan
	if p == nil {
		s.drive = nil
		return
	}
	d := s.driverOf(p)
	if d.phase != p.Phase {
		d.phase, d.since, d.proposed = p.Phase, s.now, never
	}
	if s.now < d.pause {
		s.wake(d.pause)
		return
	}
	if d.proposed != never {
		if until := d.proposed + proposalWait; s.now < until {
			s.wake(until)
			return
		}
		d.proposed = never
	}
	switch p.Phase {
	case PhaseFencing:
		s.driveFencing(p, d)
	case PhasePromoting:
		s.drivePromoting(p, d)
	case PhasePromoted:
		s.driveFollowing(p, d)
	case PhaseUnknown, PhaseDone, PhaseAborted:
	}
}

// driverOf returns what this leader knows of a plan, nothing at first.
func (s *State) driverOf(p *Plan) *driver {
	if s.drive == nil || s.drive.epoch != p.Epoch {
		s.drive = &driver{epoch: p.Epoch, steps: map[stepKey]*step{}, proposed: never}
	}
	return s.drive
}

// run sends a step if it is not under way or done, and returns it.
func (s *State) run(d *driver, do Do) *step {
	return s.runAs(d, stepKey{op: do.Op, instance: do.Instance}, do)
}

func (s *State) runAs(d *driver, key stepKey, do Do) *step {
	st := d.steps[key]
	if st == nil {
		st = &step{}
		d.steps[key] = st
	}
	if st.flying || st.ok() {
		return st
	}
	if st.tries > 0 && s.now < st.ended+retryAfter {
		s.wake(st.ended + retryAfter)
		return st
	}
	st.id = s.send(do)
	st.flying, st.sent = true, s.now
	st.tries++
	return st
}

// send hands out one write.
func (s *State) send(do Do) ActionID {
	s.nextID++
	do.ID, do.Master = s.nextID, s.com.Name
	if do.Timeout == 0 {
		do.Timeout = s.com.Config.actionTimeout()
	}
	if do.Epoch == 0 {
		do.Epoch = s.com.Last
	}
	if o := s.obs[do.Instance]; o != nil && do.Op.setsRole() {
		o.roled = s.now
	}
	s.act(do)
	return do.ID
}

// driveFencing is a handover up to its point of no return.
func (s *State) driveFencing(p *Plan, d *driver) {
	if d.undo != "" {
		s.undo(p, d)
		return
	}
	limit := d.since + s.com.Config.CatchUp + s.com.Config.actionTimeout()
	if s.now >= limit {
		d.undo = fmt.Sprintf("not caught up after %v", s.com.Config.CatchUp)
		s.undo(p, d)
		return
	}
	s.wake(limit)
	if s.com.Config.PauseWrites && !d.paused && s.mayPause(p.Old.Instance) {
		st := s.run(d, Do{Op: OpPauseWrites, Instance: p.Old.Instance, Addr: p.Old.Addr, Timeout: s.com.Config.CatchUp})
		if st.flying {
			return
		}
		d.paused = true
	}
	fence := s.run(d, Do{Op: OpFence, Instance: p.Old.Instance, Addr: p.Old.Addr})
	if fence.failed() {
		d.undo = "the old master could not be fenced: " + fence.detail
		s.undo(p, d)
		return
	}
	if !fence.ok() || fence.info == nil {
		return
	}
	if !fence.info.ReadOnly {
		d.undo = "the fence on " + p.Old.String() + " does not hold: " + readOnlyOff
		s.undo(p, d)
		return
	}
	s.noteOnce(d, "fenced", fmt.Sprintf("%s is read-only at offset %d", p.Old, fence.info.Offset))
	await := s.run(d, Do{Op: OpAwait, Instance: p.New.Instance, Addr: p.New.Addr, Offset: fence.info.Offset, ReplID: fence.info.ReplID, Timeout: s.com.Config.CatchUp})
	if await.failed() {
		d.undo = await.detail
		s.undo(p, d)
		return
	}
	if !await.ok() || await.info == nil {
		return
	}
	s.noteOnce(d, "caught up", fmt.Sprintf("%s has offset %d", p.New, await.info.Offset))
	s.proposeNext(d, Command{Type: CmdAdvance, Phase: PhasePromoting, Reason: "fenced"})
}

// undo closes the plan; the old master gets its writes back by repair, and only once
// the abort is committed: the step to PhasePromoting may have been proposed already,
// and whichever of the two the log has first is true. A leader that has just come
// waits until a step of its predecessor cannot land any more.
func (s *State) undo(p *Plan, d *driver) {
	if fence := d.steps[stepKey{op: OpFence, instance: p.Old.Instance}]; fence != nil && fence.flying {
		return
	}
	if await := d.steps[stepKey{op: OpAwait, instance: p.New.Instance}]; await != nil && await.flying {
		return
	}
	if quiet := s.lead.since + leaderLease + s.com.Config.actionTimeout(); p.Term != s.lead.term && s.now < quiet {
		s.wake(quiet)
		return
	}
	s.abort(p, d, d.undo+"; undone")
}

// abort proposes the end of a plan that has promoted nobody.
func (s *State) abort(p *Plan, d *driver, reason string) {
	s.note(d, "aborted", reason)
	s.proposeNext(d, Command{Type: CmdAbort, Phase: p.Phase, Reason: reason, Took: s.span()})
}

// driveFollowing makes the others follow the promoted one and closes the plan.
func (s *State) driveFollowing(p *Plan, d *driver) {
	limit := d.since + s.com.Config.FailoverTimeout
	s.wake(limit)
	lost := s.lostAgain(d)
	ready := lost != ""
	if ready {
		s.note(d, "lost", p.New.String()+" "+lost)
	} else {
		ready = s.followers(p, d, true)
		followed, done := s.flipDone(p, d)
		ready = done && ready
		if p.Kind == KindHandover {
			ready = s.clearOld(p, d, false) && ready
			if followed { // who came back to the old master before the Service moved
				ready = s.clearOld(p, d, true) && ready
			}
		}
	}
	if !ready && s.now < limit {
		return
	}
	name := EventFailoverEnd
	if !ready {
		name = EventFailoverTimed
	}
	s.note(d, "done", fmt.Sprintf("%d of %d replicas follow", s.following(), len(s.com.Members)-1))
	s.emit(name, s.master(), "epoch "+p.Epoch.String()+" is done, fenced="+yesNo(p.Fenced))
	s.proposeNext(d, Command{Type: CmdDone, Took: s.span()})
}

// lostAgain says why nobody may be made to follow the promoted master any more, ""
// if everybody may: it died, its process is another one by now, maybe with nothing,
// or it is no master. The plan is closed then, because evidence against the new
// master counts, and repair begins, only when no plan is open.
func (s *State) lostAgain(d *driver) string {
	o := s.master()
	switch {
	case o == nil:
	case o.health == HealthCrashed || o.health == HealthDown:
		return "is down: " + o.reply.String()
	case o.info == nil || o.infoAt < d.since:
	case o.info.RunID != "" && s.masterRun() != "" && o.info.RunID != s.masterRun():
		return "runs anew"
	case o.info.Role == RoleReplica:
		return "is a replica of " + o.info.Master.String()
	}
	return ""
}

// clearOld sends the old master's clients away and lets them write again, there
// where they end up.
func (s *State) clearOld(p *Plan, d *driver, again bool) bool {
	old := Do{Instance: p.Old.Instance, Addr: p.Old.Addr}
	if o := s.obs[p.Old.Instance]; o == nil || o.health != HealthUp {
		return true
	}
	kill, unpause := old, old
	kill.Op, unpause.Op = OpKillClients, OpUnpause
	done := true
	if why := s.obs[p.Old.Instance].rights.Lacks(RightKill); why != "" {
		s.noteOnce(d, "clients", "not sent away from "+p.Old.String()+": "+why)
	} else {
		done = settled(s.runAs(d, stepKey{OpKillClients, p.Old.Instance, again}, kill))
	}
	if s.com.Config.PauseWrites && !again && s.mayPause(p.Old.Instance) {
		done = settled(s.run(d, unpause)) && done
	}
	return done
}

// settled reports whether a step that may fail has had its tries.
func settled(st *step) bool { return st.ok() || (st.failed() && st.tries >= 3) }

func (s *State) noteOnce(d *driver, what, text string) {
	for _, n := range d.notes {
		if n.What == what {
			return
		}
	}
	if p := s.com.Plan; p != nil {
		for _, n := range p.Notes {
			if n.What == what {
				return
			}
		}
	}
	s.note(d, what, text)
}

func (s *State) note(d *driver, what, text string) {
	d.notes = append(d.notes, Note{s.planTime(), what, text})
}

// planTime is the time since the evidence, or since the plan was begun by the wall
// clock if another leader saw the evidence.
func (s *State) planTime() float64 {
	if s.lead.evidence >= 0 {
		return s.after(s.now)
	}
	if p := s.com.Plan; p != nil {
		return max(0, milliseconds(s.wall.Sub(p.Begun)))
	}
	return 0
}

func (s *State) takeNotes(d *driver) []Note {
	n := d.notes
	d.notes = nil
	return n
}

// span is what the plan has cost so far.
func (s *State) span() Span {
	sp := Span{TookMS: s.planTime()}
	var fenced, promoted float64
	if p := s.com.Plan; p != nil {
		for _, n := range p.Notes {
			switch n.What {
			case "fenced":
				fenced = n.AfterMS
			case "promoted":
				promoted = n.AfterMS
			}
		}
	}
	if fenced > 0 && promoted > fenced {
		sp.WaitedMS = promoted - fenced
	}
	return sp
}
