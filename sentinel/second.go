package sentinel

import "time"

// moveTime is how long a script may take between the REPLICAOF NO ONE that it sends to
// a replica and the REPLICAOF that it sends to the master.
const moveTime = 200 * time.Millisecond

// fenceSecond keeps a second master from taking writes while the committed one, mo, is
// up. A replica that somebody has just made master may be the first step of a script
// whose next one is to make the committed master follow it: fenced in between, nobody
// would take writes. So that one must have said that it still is a master.
func (s *State) fenceSecond(o, mo *observation) {
	if o.detached > 0 && mo.id == s.com.Master.Instance && !s.abortedTo(o.addr, s.com.Master.Epoch) {
		if until := o.detached + moveTime; s.now < until {
			s.wake(until)
			return
		} else if mo.infoAt < until {
			s.askAgain(mo)
			return
		}
	}
	const what = "a second master: fenced in place, then compared"
	s.emit(EventFenced, o, what)
	s.mendWith(o, Do{Op: OpFence, Instance: o.id, Addr: o.addr})
	s.remark(remarkRepaired, o, what)
}

// fenceOthers keeps second masters from taking writes while the committed one
// cannot be followed.
func (s *State) fenceOthers() {
	if s.movedAway() != nil {
		return
	}
	for _, m := range s.com.Members {
		if o := s.obs[m.ID]; m.ID != s.com.Master.Instance && s.mendable(o) && o.info.Role == RoleMaster && s.immovable(o) == "" {
			s.mendWith(o, Do{Op: OpFence, Instance: m.ID, Addr: m.Addr})
		}
	}
}
