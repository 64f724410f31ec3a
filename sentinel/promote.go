package sentinel

// drivePromoting makes the candidate master.
func (s *State) drivePromoting(p *Plan, d *driver) {
	if p.Kind == KindFailover && !s.fenceIfAlive(p, d) {
		return
	}
	cand := s.obs[p.New.Instance]
	promote := d.steps[stepKey{op: OpPromote, instance: p.New.Instance}]
	if promote == nil || (!promote.ok() && !promote.flying) {
		if why := s.unfit(p, cand); why != "" {
			s.replaceCandidate(p, d, promote, why)
			return
		}
	}
	if cand == nil {
		return
	}
	if promote == nil {
		s.emit(EventSendNoOne, cand, "promoting "+p.New.String())
	}
	if !promote.failed() {
		promote = s.run(d, s.promotion(p))
	}
	if promote.failed() {
		s.replaceCandidate(p, d, promote, "promotion failed: "+promote.detail)
		return
	}
	if !promote.ok() || promote.info == nil {
		return
	}
	s.noteOnce(d, "promoted", p.New.String()+" answers role master")
	s.emit(EventPromoted, cand, p.New.String()+" answers role master")
	s.followers(p, d, false)
	reason := ""
	if fence := d.steps[stepKey{op: OpFence, instance: p.Old.Instance}]; fence.ok() && (fence.info == nil || fence.info.ReadOnly) {
		reason = "fenced"
	}
	s.proposeNext(d, Command{Type: CmdAdvance, Phase: PhasePromoted, Reason: reason, Lineage: lineageOf(promote.info)})
}

// promotion is the command that makes the candidate master, as the run that it is
// known to be and with the data set that it was chosen for: its old master may be back
// with less, and a replica that reconnects takes that up in a few milliseconds.
func (s *State) promotion(p *Plan) Do {
	do := Do{Op: OpPromote, Instance: p.New.Instance, Addr: p.New.Addr, ReplID: p.Lineage.ReplID}
	if o := s.obs[p.New.Instance]; o != nil && o.info != nil {
		do.RunID = o.info.RunID
		if o.info.Role == RoleReplica {
			do.From = o.info.Master
		}
	}
	return s.promoteWith(do)
}

// fenceIfAlive keeps a master that answers from acknowledging writes before
// another is promoted. One that does not answer is tried all the same, and not waited
// for: it is fenced by repair when it answers again.
func (s *State) fenceIfAlive(p *Plan, d *driver) bool {
	old := s.obs[p.Old.Instance]
	if old == nil || old.health == HealthCrashed || old.health != HealthUp && s.absent(old.id) || s.strayed(old.id) {
		return true // nobody is there, or somebody else by now
	}
	st := d.steps[stepKey{op: OpFence, instance: p.Old.Instance}]
	if st == nil {
		st = s.run(d, Do{Op: OpFence, Instance: p.Old.Instance, Addr: p.Old.Addr})
	}
	if old.health != HealthUp || st.ok() {
		return true
	}
	if st.failed() && old.rights.Lacks(RightMove) != "" {
		return true // it was known before: as one that cannot be reached
	}
	// It answers: wait for the fence, but not for ever.
	if limit := d.since + s.com.Config.actionTimeout(); s.now < limit {
		s.wake(limit)
		if st.failed() {
			s.run(d, Do{Op: OpFence, Instance: p.Old.Instance, Addr: p.Old.Addr})
		}
		return false
	}
	return true
}

// The reasons that no further try can change.
const (
	unfitEmpty = "runs anew and is empty"
	unfitLess  = "runs anew without all that it had"
	// unfitForeign is a replica that took up another data set since it was chosen.
	unfitForeign = "is of foreign lineage by now"
)

// final reports whether a candidate stays unfit whatever is tried.
func final(why string) bool {
	return why == unfitEmpty || why == unfitLess || why == unfitForeign
}

// unfitUnheard is the reason that the next INFO ends, one way or the other.
const unfitUnheard = "has not said who it is since its connection was lost"

// unfit says why a candidate must not be promoted after all, "" if it may. A
// leader that found the plan in the log looks before it acts.
func (s *State) unfit(p *Plan, o *observation) string {
	if s.strayed(p.New.Instance) {
		return "is not at its address any more"
	}
	if o == nil || o.info == nil || o.infoAt < s.lead.since {
		if s.now < s.lead.since+s.com.Config.actionTimeout() {
			s.wake(s.lead.since + s.com.Config.actionTimeout())
			if o != nil && (o.info == nil || o.infoAt < s.lead.since) && p.Term == s.lead.term {
				return "" // chosen by this leader a moment ago
			}
			return "not heard yet"
		}
		return "does not answer"
	}
	switch {
	case o.health == HealthCrashed || o.health == HealthDown:
		return "is down: " + o.reply.String()
	case !o.told(0):
		return unfitUnheard
	case o.info.RunID != p.Lineage.RunID && p.Lineage.RunID != "" && !p.Lineage.Empty && !sameData(o.info, p.Lineage.ReplID, p.Lineage.Offset):
		if o.info.Empty() {
			return unfitEmpty
		}
		return unfitLess
	case o.info.Role == RoleReplica && !s.com.Knows(o.info.ReplID) && !s.com.Knows(o.info.ReplID2) && o.info.ReplID != p.Lineage.ReplID:
		return unfitForeign
	}
	return ""
}

// replaceCandidate closes the plan when the candidate stays unfit for so long that
// no command sent for it can still land; the evidence then begins another.
func (s *State) replaceCandidate(p *Plan, d *driver, promote *step, why string) {
	first := max(d.since, s.lead.since)
	last := first
	if promote != nil {
		last = max(last, promote.sent)
	}
	quiet := last + leaderLease + s.com.Config.actionTimeout()
	// A plan of this term was nobody else's, and what was certainly not done cannot land.
	sure := p.Term == s.lead.term && !promote.mayLand() && why != unfitUnheard
	// Tries have an end: each one moves the moment at which nothing can land any more.
	again := promote.failed() && s.now < first+s.com.Config.actionTimeout() && !(sure && promote.tries >= 3)
	// Who is seen to be master has taken the order, whatever became of its answer: asked
	// again it says so. Another candidate may have less.
	if o := s.obs[p.New.Instance]; promote.failed() && o.told(promote.sent) && o.health == HealthUp && o.info.Role == RoleMaster &&
		(p.Lineage.RunID == "" || o.info.RunID == p.Lineage.RunID) && s.now < first+s.com.Config.FailoverTimeout {
		s.run(d, s.promotion(p))
		return
	}
	if o := s.obs[p.New.Instance]; again && o != nil && o.health == HealthUp && !final(why) && why != unfitUnheard {
		s.run(d, s.promotion(p))
		s.wake(quiet)
		return
	}
	if promote != nil && promote.flying || !sure && s.now < quiet {
		s.wake(quiet)
		return
	}
	if promote.failed() {
		s.lead.failed[p.New.Instance] = p.Lineage.RunID
	}
	s.abort(p, d, p.New.String()+" "+why)
}
