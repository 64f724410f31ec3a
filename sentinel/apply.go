package sentinel

import (
	"fmt"
	"time"
)

// takeApplied takes up a committed command. Every watcher comes by here, leader or
// not: what clients are told follows from it.
func (s *State) takeApplied(a Applied) {
	s.entry = a.Command.Wall
	defer func() { s.entry = time.Time{} }()
	before := s.com.Clone()
	res := s.com.Apply(a.Command)
	c := a.Command
	if s.lead.on && c.Type == CmdBegin {
		s.lead.beginning = never
	}
	if !res.Accepted {
		s.refusedCommand(c, res.Reason)
		return
	}
	if c.Record == nil { // a remark was not among them
		delete(s.lead.sparse, c.Type)
	}
	switch c.Type {
	case CmdAdopt:
		s.tellMembers(before)
		if before.Adopted {
			s.newMaster()
		}
	case CmdMembers, CmdPods:
		s.tellMembers(before)
		s.tellReset(c)
		s.tellTwins(before, c)
	case CmdChoose:
		s.newMaster()
		if s.lead.on {
			s.answer(OutcomeOK, "", s.com.Master.String()+" is master; "+c.Reason)
		}
	case CmdBegin:
		s.begun()
	case CmdAdvance:
		s.advanced(c)
	case CmdAbort:
		s.ended(c)
		s.emit(EventAborted, s.obs[before.Plan.New.Instance], fmt.Sprintf("epoch %s: %s", c.Epoch, c.Reason))
	case CmdDone:
		s.ended(c)
	case CmdConfigure, CmdSettings:
		s.tellSettings(before.Config, c.Options)
	case CmdMonitor, CmdForget, CmdRemove, CmdTuned, CmdLineage, CmdNote, CmdEnrol, CmdFloor, CmdLevel, CmdFound:
	case CmdFence:
		s.tellFence(before)
	case CmdRelease:
		s.released(c)
	case CmdPause:
		s.tellPause()
	}
	s.follow()
}

// newMaster forgets what was said and suspected of the master before, which no plan has
// replaced.
func (s *State) newMaster() {
	s.told.refused, s.told.waiting = map[InstanceID]string{}, ""
	s.told.noGood, s.told.would = false, VerdictUnknown
	s.suspect, s.round = -1, nil
	s.lead.downSince, s.lead.evidence, s.lead.back = -1, -1, never
	if s.lead.on {
		s.act(Push{Master: s.com.Name, Assignment: s.com.Master})
	}
}

func (s *State) refusedCommand(c Command, reason string) {
	if !s.lead.on {
		return
	}
	if s.drive != nil {
		s.drive.proposed, s.drive.pause = never, s.now+retryAfter
	}
	if (c.Type == CmdBegin || c.Type.asked()) && s.lead.request != 0 {
		s.answer(OutcomeRefused, "", reason)
	}
}

func (s *State) tellMembers(before Committed) {
	for _, m := range s.com.Members {
		if before.Member(m.ID) == nil && (s.com.Adopted || !s.com.Pods) && m.ID != s.com.Master.Instance {
			o := s.observe(m.ID, m.Addr)
			s.emit(EventSlave, o, "a replica of "+s.com.Master.String())
		}
	}
}

func (s *State) begun() {
	p := s.com.Plan
	s.told.waiting = ""
	s.act(Emit{Event{Name: EventNewEpoch, Master: s.com.Name, Payload: fmt.Sprintf("%d", p.Epoch), Epoch: p.Epoch, Reason: p.Why}})
	o := s.observe(p.New.Instance, p.New.Addr)
	if s.lead.on {
		s.note(s.driverOf(p), "committed", "begin, epoch "+p.Epoch.String())
		s.emit(EventElected, nil, "this watcher carries out epoch "+p.Epoch.String())
		s.emit(EventSelected, o, p.Kind.String()+" to "+p.New.String()+": "+p.Why)
	}
}

func (s *State) advanced(c Command) {
	if s.lead.on {
		s.note(s.driverOf(s.com.Plan), "committed", c.Phase.String())
	}
	if c.Phase != PhasePromoted {
		return
	}
	// The new master is watched as a master from here on: nothing said about the old
	// one counts for it.
	s.suspect, s.askedToSuspect, s.told.odown = -1, 0, false
	for _, o := range s.obs {
		o.baseSet, o.advanced, o.streamed = false, false, ""
	}
	clear(s.lead.failed)
	s.lead.back = never
	if p := s.com.Plan; p != nil && p.Kind == KindFailover {
		// An old entry that is read again at the start is no failover of a moment ago.
		if age := s.wall.Sub(c.Wall); age < s.com.Config.minInterval() {
			s.failedOver = s.now - max(age, 0)
		}
	}
	if s.inv != nil {
		s.inv.vacated, s.inv.back = 0, never
	}
	if s.lead.on {
		s.act(Push{Master: s.com.Name, Assignment: s.com.Master})
		s.answer(OutcomeOK, "", fmt.Sprintf("%s is master", s.com.Master))
		s.follow()
		s.emit(EventReconfSlaves, nil, "the other replicas follow "+s.com.Master.String())
	}
	s.lead.downSince = -1
}

func (s *State) ended(c Command) {
	if !s.lead.on {
		return
	}
	if d := s.drive; c.Type == CmdAbort && d != nil && d.paused {
		if old := s.master(); old != nil {
			s.send(Do{Op: OpUnpause, Instance: old.id, Addr: old.addr})
		}
	}
	if c.Type == CmdAbort {
		s.vacateAborted()
	}
	s.drive = nil
	s.lead.evidence, s.told.noGood, s.told.would = -1, false, VerdictUnknown
	if c.Type == CmdAbort {
		s.answer(OutcomeRefused, "", c.Reason)
	}
}

// takeProposed takes up that a proposal was not committed, or may not have been.
func (s *State) takeProposed(p Proposed) {
	if !s.lead.on {
		return
	}
	switch p.Type {
	case CmdBegin:
		if p.Result != OutcomeUnknown {
			s.lead.beginning = never
			s.answer(OutcomeFailed, "", p.Detail)
		}
	case CmdAdvance, CmdAbort, CmdDone:
		if s.drive != nil && s.drive.epoch == p.Epoch && p.Result != OutcomeUnknown {
			s.drive.proposed, s.drive.pause = never, s.now+retryAfter
		}
	case CmdMonitor, CmdForget, CmdAdopt, CmdMembers, CmdTuned, CmdLineage, CmdNote, CmdEnrol, CmdConfigure, CmdPods, CmdFloor, CmdLevel, CmdRemove,
		CmdSettings:
	case CmdFence, CmdFound:
		if p.Result == OutcomeRefused { // a watcher does not know it
			s.lead.fence.trouble = p.Detail
		}
	case CmdRelease, CmdPause, CmdChoose:
		if p.Result != OutcomeUnknown {
			s.answer(OutcomeFailed, "", p.Detail)
		}
	}
}

// answer ends the request that the plan was begun for.
func (s *State) answer(r Outcome, code, detail string) {
	if s.lead.request == 0 {
		return
	}
	s.act(Answer{ID: s.lead.request, Result: r, Code: code, Detail: detail, Epoch: s.com.Last})
	s.lead.request = 0
}

// parked is a request that waits for fresh answers: what is known of the replicas
// may be as old as the pace of probing.
type parked struct {
	request Request
	asked   Time
	until   Time
}

// takeRequest refuses what cannot be granted whatever the instances say, and asks
// them for the rest.
func (s *State) takeRequest(r Request) {
	r.To = s.meaning(r.To)
	switch {
	case !s.lead.on:
		s.act(Answer{ID: r.ID, Result: OutcomeNotLeader, Detail: "this watcher does not lead"})
	case s.com.Plan != nil || s.lead.beginning != never || s.lead.parked != nil:
		s.deny(r, "INPROG", "a "+s.planName()+" is under way, epoch "+s.com.Last.String())
	case r.Kind == RequestAdopt || r.Force && r.Kind == RequestFailover:
		s.takeAdopt(r)
	case !s.com.Adopted:
		s.deny(r, "", "no master has been found yet"+s.expectedAt())
	case r.Kind == RequestRelease || r.Kind == RequestResume || r.Kind == RequestPause:
		s.takeSwitch(r)
	case s.com.Released:
		s.deny(r, "", "this master is released: see resume")
	case s.com.Config.Observe:
		s.deny(r, "", "this master is only observed (mode observe)")
	case r.Kind == RequestVacate && !s.masterIs(r.To):
		s.stay(r)
	default:
		s.lead.parked = &parked{request: r, asked: s.now, until: s.now + s.com.Config.confirm()}
		s.askAllRights()
	}
}

func (s *State) deny(r Request, code, text string) {
	if r.ID == 0 { // nobody waits for an answer
		s.await(r.Why + ": " + text)
		return
	}
	s.act(Answer{ID: r.ID, Result: OutcomeRefused, Code: code, Detail: text, Epoch: s.com.Last})
}

// grant takes up a parked request when everybody who answers has done so.
func (s *State) grant() {
	p := s.lead.parked
	if p == nil {
		return
	}
	o := s.master()
	heard := o != nil && o.infoAt >= p.asked && s.fresh(&duty{asked: p.asked})
	if !heard && s.now < p.until {
		s.wake(p.until)
		return
	}
	if told := p.until + rightsWait; heard && s.now < told && !s.rightsSince(p.asked) {
		s.wake(told)
		return
	}
	s.lead.parked = nil
	if r := p.request; s.com.Plan != nil || s.lead.beginning != never {
		s.deny(r, "INPROG", "a "+s.planName()+" is under way, epoch "+s.com.Last.String())
	} else {
		s.beginAsked(r)
	}
}

// beginAsked begins the plan that was asked for, or says why there is none.
func (s *State) beginAsked(r Request) {
	o := s.master()
	alive := o != nil && o.health == HealthUp && o.reply.Usable()
	kind, to := KindHandover, r.To
	planned := r.Kind == RequestHandover || r.Kind == RequestVacate
	if !alive && !planned {
		kind = KindFailover
	}
	if r.Kind == RequestVacate {
		to = ""
	}
	if !alive && planned {
		s.deny(r, "", "the master "+s.com.Master.String()+" "+s.ailing(o)+": a handover needs it alive and well, see failover")
		return
	}
	if kind == KindHandover {
		if why := s.noHandover(o); why != "" {
			s.deny(r, "", why)
			return
		}
	}
	choice := s.choiceFor(kind, to)
	if choice.Best == nil {
		s.deny(r, "NOGOODSLAVE", "no replica may be promoted: "+list(choice.LeftOut))
		return
	}
	s.lead.request, s.lead.evidence, s.round = r.ID, s.now, nil
	s.beginPlan(kind, asked(r), choice)
}

// masterIs reports whether a name, an address or an ID is the master's.
func (s *State) masterIs(name string) bool {
	m := s.com.Master
	return isCalled(name, m.Instance, m.Name, m.Addr)
}

// stay answers a vacate of an instance that is not the master.
func (s *State) stay(r Request) {
	for _, m := range s.com.Members {
		if isCalled(r.To, m.ID, m.Name, m.Addr) {
			s.act(Answer{ID: r.ID, Result: OutcomeOK, Detail: called(m.Name, m.Addr) + " is not the master: nothing to do", Epoch: s.com.Last})
			return
		}
	}
	s.deny(r, "", "no instance is called "+r.To)
}

// ailing says what keeps a master from being asked to hand over.
func (s *State) ailing(o *observation) string {
	if o == nil || o.health != HealthUp {
		return "does not answer"
	}
	return "answers: " + o.reply.String()
}

func (s *State) planName() string {
	if s.com.Plan != nil {
		return s.com.Plan.Kind.String()
	}
	return "failover"
}

// maxHandoverLag is how far behind a candidate may be when a handover begins, in
// bytes: it has to catch up while writes wait.
const maxHandoverLag = 16 << 20

// choiceFor chooses for a request. For a handover the candidate must also be
// online in the master's own words, and not far behind.
func (s *State) choiceFor(kind Kind, want string) Choice {
	cands := s.candidates(0)
	if kind != KindHandover {
		return chooseBeside(cands, s.com.Knows, want, s.masterHasData())
	}
	mi := s.master().info
	var ok []Candidate
	var left []Rejected
	for _, c := range cands {
		why := notAttached(mi, c)
		if why == "" && c.Writable {
			why = readOnlyOff + ", it may have writes of its own"
		}
		if why != "" && barred(c, s.com.Knows, true) == "" {
			left = append(left, c.rejected(why))
			continue
		}
		ok = append(ok, c)
	}
	choice := chooseBeside(ok, s.com.Knows, want, s.masterHasData())
	choice.LeftOut = append(choice.LeftOut, left...)
	return choice
}

func notAttached(mi *Info, c Candidate) string {
	if mi == nil || mi.Role != RoleMaster {
		return "the master has not said who is attached"
	}
	if c.Info == nil || !c.Info.LinkUp {
		return "its link to the master is down"
	}
	for _, a := range mi.Replicas {
		if !a.Addr.Same(c.Addr) {
			continue
		}
		switch {
		case !a.Online:
			return "not online in the master's INFO"
		case mi.Offset-a.Offset > maxHandoverLag:
			return fmt.Sprintf("%d bytes behind", mi.Offset-a.Offset)
		}
		return ""
	}
	return "not attached in the master's INFO"
}

// asked is why a plan is begun that somebody asked for.
func asked(r Request) string {
	switch {
	case r.Why != "":
		return r.Why
	case r.Kind == RequestVacate:
		return "asked to vacate " + r.To
	}
	return "asked"
}

// expectedAt says where a master that was not found yet is expected, if that is known.
func (s *State) expectedAt() string {
	if s.com.Master.Addr.IsZero() {
		return ""
	}
	return " at " + s.com.Master.Addr.String()
}
