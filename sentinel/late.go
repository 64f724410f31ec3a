package sentinel

import (
	"fmt"
	"slices"
	"strings"
)

// whyLate is why an instance was left out of a choice that did not wait for it any
// longer. It is looked for again when the instance is back: nobody has decided yet
// that what it has more may be thrown away.
const whyLate = "did not come back in time, and may have more"

// chooseOnHosts is choose where an instance is its address: if not one of those that
// followed the lost master is left, because all processes were started anew, those that
// may have more are waited for, but not for longer than failover-timeout.
func (s *State) chooseOnHosts(cands []Candidate, choice Choice) (Choice, string) {
	up := func(c Candidate) bool { return c.Health == HealthUp && c.Info != nil && !c.Stale }
	if !slices.ContainsFunc(cands, up) || slices.ContainsFunc(cands, func(c Candidate) bool { return up(c) && s.stayed(s.obs[c.ID]) }) {
		s.lead.back = never
		return choice, ""
	}
	var missing []Rejected
	var names []string
	for _, m := range s.com.Members {
		if s.unheard(m.ID, cands) {
			missing = append(missing, Rejected{Instance: m.ID, Addr: m.Addr, Name: m.Name, Why: whyLate})
			names = append(names, called(m.Name, m.Addr))
		}
	}
	if s.lead.back == never {
		s.lead.back = s.now
	}
	if len(missing) > 0 && s.now < s.lead.back+s.com.Config.FailoverTimeout {
		return choice, strings.Join(names, ", ")
	}
	for _, m := range missing {
		choice.leaveOut(m)
	}
	return choice, ""
}

// stayed reports whether a replica is the process that it was when the master was lost:
// the log has its run, or it tells of a link that it once had.
func (s *State) stayed(o *observation) bool {
	return o != nil && o.info != nil && o.info.Role == RoleReplica && (s.followedBefore(o) || o.info.LinkUp || o.info.LinkDownFor >= 0)
}

// unheard reports whether a member has not said what it has: what it said before
// does not count, because it may have gone on since, and the master's word does only
// while it answers.
func (s *State) unheard(id InstanceID, cands []Candidate) bool {
	if id == s.com.Master.Instance {
		o := s.master()
		return s.com.Pods || o == nil || o.health != HealthUp || o.info == nil || o.info.Loading || o.info.Keys < 0 || o.infoAt < o.doubt
	}
	i := slices.IndexFunc(cands, func(c Candidate) bool { return c.ID == id })
	if i < 0 {
		return true
	}
	c := &cands[i]
	return c.Info == nil || c.Stale || c.Health != HealthUp || c.Info.Loading || c.Info.Keys < 0
}

// withoutPods marks the pods that were not waited for any longer.
func (s *State) withoutPods(choice Choice, cands []Candidate) Choice {
	for _, i := range s.inv.Instances {
		if s.unheard(i.ID, cands) {
			choice.leaveOut(Rejected{Instance: i.ID, Addr: i.Addr, Name: i.Name, Why: whyLate})
		}
	}
	return choice
}

// leaveOut adds an instance, or gives it another reason.
func (c *Choice) leaveOut(r Rejected) {
	c.LeftOut = slices.Clone(c.LeftOut)
	if i := slices.IndexFunc(c.LeftOut, func(l Rejected) bool { return l.Instance == r.Instance }); i >= 0 {
		c.LeftOut[i] = r
		return
	}
	c.LeftOut = append(c.LeftOut, r)
	slices.SortFunc(c.LeftOut, func(a, b Rejected) int { return cmpID(a.Instance, b.Instance) })
}

// late reports whether the present master was promoted without waiting any longer for
// a member, which may have had more.
func (s *State) late(m Member) bool {
	left := func(l []Rejected) bool {
		return slices.ContainsFunc(l, func(r Rejected) bool {
			return r.Why == whyLate && (r.Instance == m.ID || r.Name != "" && r.Name == m.Name)
		})
	}
	if p := s.com.Plan; p != nil && p.Epoch == s.com.Master.Epoch {
		return left(p.LeftOut)
	}
	for i := len(s.com.History) - 1; i >= 0; i-- {
		if r := &s.com.History[i]; r.Epoch == s.com.Master.Epoch && r.Kind == KindFailover.String() {
			return left(r.LeftOut)
		}
	}
	return false
}

// lateMore says why an instance that came back too late to be chosen must not be made
// to follow: it has what the master has not, and was not in its place since. "" if it may.
func (s *State) lateMore(m Member, o *observation, master *Info) string {
	if o.info.Empty() || s.followedBefore(o) || !s.late(m) || !hasMore(o.info, master) {
		return ""
	}
	return fmt.Sprintf("came back too late, and with its %s it has what the master has not: a person must decide (triwatch adopt %s --to %s --force "+
		"makes it master, --to %s --force gives that up)", amount(o.info), s.com.Name, called(m.Name, m.Addr), s.com.Master)
}

// stillLate keeps the mark of those that came back too late for an earlier choice and
// are not in their place yet.
func (s *State) stillLate(choice *Choice) {
	for i := range choice.LeftOut {
		r := &choice.LeftOut[i]
		if m, o := s.com.Member(r.Instance), s.obs[r.Instance]; m != nil && (o == nil || o.info == nil || !s.followedBefore(o)) && s.late(*m) {
			r.Why = whyLate
		}
	}
}

// hasMore reports whether an instance has something that a master has not, by their
// place in the stream that both come from, or by their keys where that tells nothing.
func hasMore(i, master *Info) bool {
	switch {
	case i.ReplID == master.ReplID:
		return i.Offset > master.Offset
	case master.ReplID2 != "" && master.SecondOffset > 0 && (i.ReplID == master.ReplID2 || i.ReplID2 == master.ReplID2):
		return i.Offset > master.SecondOffset-1
	}
	return i.Keys > master.Keys
}

// fenceBack keeps a master that is back with less from taking writes while others are
// waited for: whatever it took would be thrown away.
func (s *State) fenceBack() {
	o := s.master()
	if s.isIdle() || s.contested() != "" || o.info.Role != RoleMaster || !s.mendable(o) {
		return
	}
	s.emit(EventFenced, o, "is back with less than the others had: fenced in place, until they are heard")
	s.mendWith(o, Do{Op: OpFence, Instance: o.id, Addr: o.addr})
}
