package sentinel

import (
	"fmt"
	"time"
)

// leaderLease is how long a deposed leader may believe that it still leads; a
// candidate is replaced only after it and the action's own time have passed.
const leaderLease = 250 * time.Millisecond

// round is one confirm round: everybody is asked for fresh probes before a plan
// is begun.
type round struct {
	seq     uint64
	started Time
	until   Time
}

// decide weighs the evidence and begins a failover when a fresh round confirms it.
func (s *State) decide() {
	if s.com.Plan != nil || !s.com.Adopted {
		s.round = nil
		s.unask("a plan is under way")
		return
	}
	if s.lead.beginning != never {
		s.wake(s.lead.beginning + time.Second)
		if s.now < s.lead.beginning+time.Second {
			return
		}
		s.lead.beginning = never
	}
	e := s.evidence(0)
	s.trackDown(e)
	v := Judge(e, s.com.Config)
	s.tellVerdict(v, e)
	if s.round != nil {
		s.confirm()
		return
	}
	if !v.Lost() {
		if v == VerdictHeld || v == VerdictWait {
			s.wake(s.now + s.heartbeat())
		}
		return
	}
	if s.lead.evidence < 0 {
		s.lead.evidence = s.now
	}
	s.heedChange(v)
	if s.now < s.lead.noRoundBefore {
		s.wake(s.lead.noRoundBefore)
		return
	}
	s.startRound()
}

func (s *State) trackDown(e Evidence) {
	switch {
	case e.Silent < e.Needed:
		s.lead.downSince = -1
	case s.lead.downSince < 0:
		s.lead.downSince = s.now
	}
}

// tellVerdict says every change of mind once, with all its terms.
func (s *State) tellVerdict(v Verdict, e Evidence) {
	was := s.told.verdict
	s.told.verdict = v
	why := e.why(v, s.com.Config.DownAfter)
	if odown := v.Lost() || v == VerdictHeld; odown != s.told.odown {
		s.told.odown = odown
		name := EventOdownEnd
		if odown {
			name = EventOdown
		}
		s.emit(name, s.master(), fmt.Sprintf("#quorum %d/%d, %s", max(e.Crashed, e.Silent), s.com.Config.Quorum, why))
	}
	if held := v == VerdictHeld; held != s.told.held {
		s.told.held = held
		if !held {
			s.emit(EventHeldEnd, s.master(), "no longer held: "+v.String())
			return
		}
		s.tellHeld(why, CodeAdvances)
	}
	if v == VerdictAlive {
		s.lead.back = never
		if s.inv != nil {
			s.inv.back = never
		}
	}
	if v == VerdictAlive && was != VerdictAlive {
		s.lead.evidence, s.told.noGood, s.told.would, s.told.waiting = -1, false, VerdictUnknown, ""
		s.unask(v.String())
	}
}

// heldAgain is the time in which a failover that is held once more is the same
// incident: on a machine that is starved of CPU it comes and goes, and would push
// what matters out of the history.
const heldAgain = time.Minute

func (s *State) startRound() {
	seq := s.ask(true)
	s.round = &round{seq: seq, started: s.now, until: s.now + 2*s.com.Config.confirm() + 50*time.Millisecond}
	s.owe(seq)
	s.wake(s.round.until)
}

// confirm looks at the fresh answers that are in.
func (s *State) confirm() {
	e := s.evidence(s.round.seq)
	v := Judge(e, s.com.Config)
	if v.Lost() && !s.stillAsking(v, e) {
		since := s.round.started
		s.round = nil
		s.lead.noRoundBefore = s.now + s.com.Config.pingMaster()/5
		s.begin(v, e, since)
		return
	}
	if s.now >= s.round.until || s.answered() {
		s.round = nil
		s.lead.noRoundBefore = s.now + min(s.com.Config.pingMaster()/5, 20*time.Millisecond)
		s.wake(s.lead.noRoundBefore)
		return
	}
	s.wake(s.round.until)
}

// stillAsking waits for the rest of the answers where they could change the
// verdict: a silence is contradicted by one replica that advances. And it waits for
// this watcher's own probes, because the candidate is chosen by what they say.
func (s *State) stillAsking(v Verdict, e Evidence) bool {
	if _, own := s.reportOf(s.me, s.round.seq); !own && s.now < s.round.until {
		return true
	}
	return v == VerdictSilence && !s.answered() && s.now < s.round.until && e.Silent < e.Voters
}

// answered reports whether every voter's fresh answer is in.
func (s *State) answered() bool {
	for _, id := range s.voters {
		if _, ok := s.reportOf(id, s.round.seq); !ok {
			return false
		}
	}
	return true
}

// candidates are all members but the master, as the leader sees them. since
// tells from when on an INFO counts.
func (s *State) candidates(since Time) []Candidate {
	var out []Candidate
	for _, m := range s.com.Members {
		if m.ID == s.com.Master.Instance {
			continue
		}
		c := Candidate{ID: m.ID, Addr: m.Addr, Name: m.Name, Failed: s.failedRun(m.ID), Gone: s.absent(m.ID)}
		if o := s.obs[m.ID]; o != nil {
			c.Health, c.Reply, c.Info, c.Stale, c.Age = o.health, o.reply, o.info, o.infoAt < since, s.com.age(o.info)
			c.Own = s.ownWrites(o)
			c.Rights, c.Writable = o.rights, o.takesWrites()
		}
		if i := s.instance(m.ID); i != nil {
			c.Deleting = i.Deleting
			if i.Priority >= 0 && c.Info != nil {
				info := *c.Info
				info.Priority = i.Priority
				c.Info = &info
			}
		}
		out = append(out, c)
	}
	return out
}

// begin proposes a failover, or says why there is none.
// since is when the round began: what a replica said before does not count.
func (s *State) begin(v Verdict, e Evidence, since Time) {
	why := e.why(v, s.com.Config.DownAfter)
	if !s.isIdle() && s.othersDecide(why) {
		return
	}
	choice, wait := s.choose(since)
	if wait != "" {
		if v == VerdictBack {
			s.fenceBack()
		}
		s.lead.noRoundBefore = s.now + vacateAgain
		s.wake(s.lead.noRoundBefore)
		s.await(why + "; waiting for " + wait + ", which may have more")
		return
	}
	if choice.Best == nil {
		s.lead.noRoundBefore = s.now + min(time.Second, s.com.Config.DownAfter)
		if s.stillSilent(since) {
			s.lead.noRoundBefore = min(s.lead.noRoundBefore, s.now+holdAgain) // meanwhile an empty master may come back
		}
		s.wake(s.lead.noRoundBefore)
		if !s.told.noGood {
			s.told.noGood = true
			s.emit(EventNoGoodSlave, s.master(), why+"; no replica may be promoted: "+list(choice.LeftOut))
			if v == VerdictBack { // it must not go on as if nothing had been there
				s.refuse(s.master(), why+", and none of them may be promoted: a person must decide")
			}
		}
		return
	}
	if s.isIdle() {
		s.unask("nothing is done unasked")
		s.would(v, why, choice)
		return
	}
	if s.holdBack(v, why) || !s.hookAllows(v, why, choice) {
		return
	}
	s.stillLate(&choice)
	s.beginPlan(KindFailover, why, choice)
}

// stillSilent reports whether a replica has merely not answered since then, as on a machine
// that is starved of CPU: it may be promoted as soon as it does.
func (s *State) stillSilent(since Time) bool {
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if m.ID != s.com.Master.Instance && o != nil && (o.health == HealthUp || o.health == HealthSuspect) && o.infoAt < since {
			return true
		}
	}
	return false
}

// holdAgain is the pause between two looks at a failover that is held back: what
// is known may change at any time.
const holdAgain = 100 * time.Millisecond

// holdBack reports whether a failover has to wait although the evidence is enough:
// the last one was a moment ago and the master is merely silent (one whose process is
// gone may come back empty and empty its replicas, so that is never waited for), or a person wants to decide about a master that may
// still be acknowledging writes.
func (s *State) holdBack(v Verdict, why string) bool {
	if next := s.failedOver + s.com.Config.minInterval(); v == VerdictSilence && s.failedOver != never && s.now < next {
		s.lead.noRoundBefore = s.now + holdAgain
		s.wake(s.lead.noRoundBefore)
		s.await(why + "; the last failover was less than " + s.com.Config.minInterval().String() + " ago, so this one waits")
		return true
	}
	if v == VerdictSilence && s.com.Config.HoldUnfenced && !s.absent(s.com.Master.Instance) {
		s.lead.noRoundBefore = s.now + time.Second
		s.wake(s.lead.noRoundBefore)
		s.await(why + "; it cannot be fenced and may be acknowledging writes: held (unfenced-failover: hold), a person can ask for failover")
		return true
	}
	return false
}

// othersDecide reports, and says, whether a failover is held because somebody else
// decides about this master, or has decided already.
func (s *State) othersDecide(why string) bool {
	who := s.contested()
	if o := s.movedAway(); who == "" && o != nil {
		who = fmt.Sprintf("somebody else made %s master, and it is used as one: a person must decide (triwatch adopt %s --to %s)", s.called(o), s.com.Name, s.called(o))
	}
	if who == "" {
		return false
	}
	s.lead.noRoundBefore = s.now + time.Second
	s.wake(s.lead.noRoundBefore)
	s.hold(why + "; held: " + who)
	return true
}

// would says what observe mode keeps from being done.
func (s *State) would(v Verdict, why string, choice Choice) {
	s.lead.noRoundBefore = s.now + time.Second
	s.wake(s.lead.noRoundBefore)
	if s.told.would == v {
		return
	}
	s.told.would = v
	text := fmt.Sprintf("would fail over to %s (%s): %s", choice.Best, choice.Reason, why)
	s.emit(EventWould, s.master(), text)
	if s.observes() {
		s.remark(remarkWould, s.master(), text)
	}
}

// beginPlan proposes the next epoch.
func (s *State) beginPlan(kind Kind, why string, choice Choice) {
	best := choice.Best
	epoch := s.com.Last + 1
	if s.lead.evidence < 0 {
		s.lead.evidence = s.now
	}
	p := &Plan{Epoch: epoch, Kind: kind, Old: s.com.Master, New: Assignment{Epoch: epoch, Instance: best.ID, Addr: best.Addr, Name: best.Name},
		Why: why, LeftOut: choice.LeftOut, Lost: s.estimate(best.Info), Leader: s.me, Term: s.lead.term, Begun: s.wall,
		Lineage: lineageOf(best.Info)}
	if kind == KindHandover {
		p.Lost = 0
	}
	p.Notes = []Note{
		{0, "evidence", why},
		{s.after(s.now), "chosen", fmt.Sprintf("%s (offset %d, %s); left out: %s", best, best.Info.Offset, choice.Reason, list(choice.LeftOut))},
	}
	if note, ok := s.hookNote(epoch); ok && s.lead.request == 0 {
		p.Notes = append(p.Notes, note)
	}
	s.lead.beginning = s.now
	s.wake(s.now + time.Second)
	s.emit(EventEvidence, s.master(), why)
	s.emit(EventChosen, s.obs[best.ID], p.Notes[1].Text)
	s.emit(EventTryFailover, s.master(), fmt.Sprintf("epoch %s: %s to %s (%s)", epoch, kind, best, why))
	s.propose(Command{Type: CmdBegin, Epoch: epoch, Plan: p})
}

// after is the time since the evidence, in milliseconds.
func (s *State) after(t Time) float64 {
	if s.lead.evidence < 0 {
		return 0
	}
	return milliseconds(t - s.lead.evidence)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func list(left []Rejected) string {
	if len(left) == 0 {
		return "nobody"
	}
	text := ""
	for i, r := range left {
		if i > 0 {
			text += ", "
		}
		text += r.String() + " (" + r.Why + ")"
	}
	return text
}

// estimate is how many bytes of the master's stream the replica is known not to
// have, -1 if that cannot be told; nil asks for the best one.
func (s *State) estimate(candidate *Info) int64 {
	o := s.master()
	if o == nil || o.info == nil || o.info.Role != RoleMaster || o.info.RunID != s.masterRun() {
		return -1
	}
	has := int64(-1)
	if candidate != nil {
		has = candidate.Offset
	} else {
		for id, r := range s.obs {
			if id != s.com.Master.Instance && r.health == HealthUp && r.info != nil {
				has = max(has, r.info.Offset)
			}
		}
	}
	if has < 0 {
		return -1
	}
	return max(0, o.info.Offset-has)
}

// backWithLess reports whether the committed master runs anew without all that its
// best replica has. A run that is still loading is not judged.
func (s *State) backWithLess() bool {
	o := s.master()
	if o == nil || o.health != HealthUp || o.info == nil || o.info.Loading || o.info.Keys < 0 {
		return false
	}
	if s.masterRun() == "" || o.info.RunID == "" || o.info.RunID == s.masterRun() {
		return false
	}
	if o.info.Role == RoleReplica && !o.info.Fenced() {
		return false
	}
	best, any := int64(-1), false
	for id, r := range s.obs {
		if id == s.com.Master.Instance || r.info == nil || r.health == HealthCrashed || r.health == HealthDown {
			continue
		}
		if s.took(r.info, o.info) || r.info.Empty() {
			continue // it has nothing that could be lost
		}
		if !s.com.Knows(r.info.ReplID) && !s.com.Knows(r.info.ReplID2) {
			continue
		}
		any = true
		best = max(best, r.info.Offset)
	}
	return any && !sameData(o.info, s.com.Lineage.ReplID, best)
}

// took reports whether a replica has taken up the stream that a new run of the master
// began, and has nothing that this run has not.
func (s *State) took(r, master *Info) bool {
	return r.ReplID == master.ReplID && !s.com.Knows(master.ReplID)
}

// sameData reports whether a run that came back still has the recorded data set,
// and no replica has more of it. Of a stream that it continued under a new id only
// the part before second_repl_offset is shared: what it wrote since counts for nothing.
func sameData(i *Info, replID string, best int64) bool {
	switch {
	case replID == "":
		return false
	case i.ReplID == replID:
		return i.Offset >= best
	case i.ReplID2 == replID && i.SecondOffset > 0:
		return min(i.Offset, i.SecondOffset-1) >= best
	}
	return i.ReplID2 == replID && i.Offset >= best
}

// failedRun reports whether the promotion of an instance failed a moment ago, and it is
// still the same process: one that died and came back with all it had is as good as any.
func (s *State) failedRun(id InstanceID) bool {
	run, failed := s.lead.failed[id]
	o := s.obs[id]
	return failed && (o == nil || o.info == nil || o.info.RunID == run)
}

// masterHasData reports whether the master answers here and has data: an empty replica
// must not take its place, whoever else does not hear it.
func (s *State) masterHasData() bool {
	o := s.master()
	return o != nil && o.health == HealthUp && o.info != nil && o.info.Keys > 0
}
