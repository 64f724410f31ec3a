package sentinel

import "time"

// The kinds of records that are no change of the master: what was held back, what
// mode observe kept from being done, what was set right, and a master that was started
// anew and goes on.
const (
	remarkHeld      = "held"
	remarkWould     = "would"
	remarkRepaired  = "repaired"
	remarkRestarted = "restarted"
)

// remark reports whether a record is one.
func (r *Record) remark() bool {
	switch r.Kind {
	case remarkHeld, remarkWould, remarkRepaired, remarkRestarted:
		return true
	}
	return false
}

// remarkAgain is the time in which the same about the same instance is not recorded
// again, and remarksMax how many records of all kinds may come in it: history is short,
// and what comes and goes must not push out what mattered.
const (
	remarkAgain = time.Minute
	remarksMax  = 12
	// wouldAgain is shorter: in mode observe the history is all that there is.
	wouldAgain = 3 * time.Second
)

// remark records what people will ask about later. What happens within a plan is told
// by the plan's own notes.
func (s *State) remark(kind string, o *observation, why string) {
	if o == nil || !s.lead.on || !s.com.Adopted || s.com.Plan != nil {
		return
	}
	n, again := 0, remarkAgain
	if kind == remarkWould {
		again = wouldAgain
	}
	for i := len(s.com.History) - 1; i >= 0; i-- {
		r := &s.com.History[i]
		if s.wall.Sub(r.When) >= remarkAgain {
			break
		}
		if !r.remark() {
			continue
		}
		same := r.Kind == kind && r.From.Instance == o.id && r.Why == why
		if n++; n >= remarksMax || same && s.wall.Sub(r.When) < again {
			return
		}
	}
	at := Assignment{Epoch: s.com.Master.Epoch, Instance: o.id, Addr: o.addr}
	if m := s.com.Member(o.id); m != nil {
		at.Name = m.Name
	}
	s.propose(Command{Type: CmdNote, Epoch: s.com.Last, Record: &Record{When: s.wall, Kind: kind, From: at, Why: why, Lost: -1, Leader: s.me, Term: s.lead.term}})
}

// hold says and records once why a failover that the evidence calls for is held.
func (s *State) hold(why string) {
	if s.told.waiting != why {
		s.remark(remarkHeld, s.master(), why)
	}
	s.await(why)
}

// unrepaired is what mode observe keeps from being set right at one instance.
type unrepaired struct {
	text  string
	since Time
	said  bool
}

// wouldQuiet is how long nothing is said of it: whoever decides there moves one
// instance after the other.
const wouldQuiet = time.Second

// wouldRepair says, in mode observe, what would be set right.
func (s *State) wouldRepair() {
	o := s.master()
	if !s.observes() || !o.told(s.lead.since) || o.health != HealthUp || o.info.Role != RoleMaster || o.info.RunID != s.masterRun() {
		return
	}
	for _, m := range s.com.Members {
		r := s.obs[m.ID]
		if m.ID == o.id || !r.told(s.lead.since) || r.health != HealthUp || r.info.Loading || r.infoAt < o.runSince {
			continue
		}
		text := ""
		switch {
		case r.info.Role == RoleMaster:
			text = "would fence it, a second master beside " + s.called(o) + ", and compare them"
		case !r.info.Master.Same(o.addr) && s.mustNotFollow(m, r, o) == "":
			text = "would make it a replica of " + s.called(o) + ", it follows " + s.followed(r)
		}
		if was, ok := s.told.repair[m.ID]; !ok || was.text != text {
			if s.told.repair == nil {
				s.told.repair = map[InstanceID]unrepaired{}
			}
			s.told.repair[m.ID] = unrepaired{text: text, since: s.now}
		}
		u := s.told.repair[m.ID]
		if text == "" || u.said {
			continue
		}
		if say := u.since + wouldQuiet; s.now < say {
			s.wake(say)
			continue
		}
		u.said = true
		s.told.repair[m.ID] = u
		s.emit(EventWould, r, text)
		s.remark(remarkWould, r, text)
	}
}
