package sentinel

import "fmt"

// promotedByOther reports whether a member was a replica of this data set and was then
// made a master by somebody else: its process is one that followed before, and its
// replication id is new and goes on from one that is known. A process that was started
// anew as a master says the same of its id, but not of its run.
func (s *State) promotedByOther(o *observation) bool {
	return o != nil && o.info != nil && o.info.Role == RoleMaster && o.id != s.com.Master.Instance && !s.strayed(o.id) && s.branched(o)
}

// followedBefore reports whether the process is one that was seen in its place in this
// data set: the log has the run for which its ping period was looked after.
func (s *State) followedBefore(o *observation) bool {
	m := s.com.Member(o.id)
	return m != nil && m.PingRun != "" && m.PingRun == o.info.RunID
}

// branched reports whether a process that was in its place has gone on from the known
// data set under a replication id that nobody here knows. What a plan of ours promoted
// before it was aborted, and who followed that, is no such branch: nobody was told of it.
func (s *State) branched(o *observation) bool {
	i := o.info
	if i.ReplID2 == "" || !s.com.Knows(i.ReplID2) || s.com.Knows(i.ReplID) || !s.followedBefore(o) {
		return false
	}
	return !s.abortedTo(o.addr, 0) && !s.abortedTo(i.Master, 0)
}

// abortedTo reports whether the candidate of a plan of ours that was aborted after an
// epoch has that address.
func (s *State) abortedTo(a Addr, after Epoch) bool {
	for i := len(s.com.History) - 1; i >= 0; i-- {
		r := &s.com.History[i]
		if r.Kind == "aborted" && r.Epoch > after && r.To.Addr.Same(a) {
			return true
		}
	}
	return false
}

// ownWrites is how much a branch has of its own, in bytes of its stream: 0 if it is none,
// or that is nothing but pings. A former master of ours has such writes too, but that
// loss was decided and counted when the next one was promoted.
func (s *State) ownWrites(o *observation) int64 {
	if o == nil || o.info == nil || o.info.SecondOffset <= 0 || !s.branched(o) {
		return 0
	}
	own := o.info.Offset - (o.info.SecondOffset - 1)
	if own <= 0 || own%pingSize == 0 {
		return 0
	}
	return own
}

// ownData says why a fenced second master must not be made to follow although it is of
// this data set: somebody made it master, and it took writes that are nowhere else.
func (s *State) ownData(o *observation) string {
	own := s.ownWrites(o)
	if own == 0 || !o.info.Fenced() {
		return ""
	}
	return fmt.Sprintf("somebody made it master, and it took %d bytes of writes of its own: a person must decide (triwatch adopt %s --to %s keeps them, "+
		"triwatch adopt %s --to %s --force gives them up)", own, s.com.Name, s.called(o), s.com.Name, s.com.Master)
}

// movedAway names the member that somebody else made master in the place of a
// committed one that is not well, nil if there is none: another member follows it
// already, or clients write to it, so that it is no mistake.
func (s *State) movedAway() *observation {
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if o.told(s.lead.since) && o.health == HealthUp && s.promotedByOther(o) && (s.hasFollower(o) || s.ownWrites(o) > 0) {
			return o
		}
	}
	return nil
}

// hasFollower reports whether another member's link to an instance is up.
func (s *State) hasFollower(master *observation) bool {
	for id, o := range s.obs {
		if id != master.id && o.told(s.lead.since) && o.health == HealthUp && o.info.Role == RoleReplica && o.info.LinkUp && o.info.Master.Same(master.addr) {
			return true
		}
	}
	return false
}

// unfenceOurs gives a committed master its writes back that triwatch itself has fenced,
// also beside another Sentinel, unless that one has found another master.
func (s *State) unfenceOurs(o *observation) {
	if o.health != HealthUp || !o.told(s.lead.since) || !o.info.Fenced() || o.info.RunID != s.masterRun() || !s.mendable(o) {
		return
	}
	for _, m := range s.com.Members {
		if r := s.obs[m.ID]; m.ID != o.id && (!r.told(s.lead.since) || r.health != HealthUp || r.info.Role != RoleReplica) {
			return
		}
	}
	s.repairMaster(o)
}

// followObserved takes up, in mode observe, that whoever decides there has made another
// instance master, and reports whether it did. Without that the first failover of a
// Sentinel beside it would be the last that it can say anything about.
func (s *State) followObserved() bool {
	o := s.master()
	if o == nil || s.now-s.lead.since < s.com.Config.DownAfter {
		return false
	}
	if o.health == HealthUp && (!o.told(s.lead.since) || o.info.Role == RoleMaster) || o.health == HealthUnknown || o.health == HealthSuspect {
		return false
	}
	var next *observation
	for _, m := range s.com.Members {
		r := s.obs[m.ID]
		if m.ID == o.id || !r.told(s.lead.since) || r.health != HealthUp || r.info.Role != RoleMaster || r.info.Loading || r.info.Keys < 0 || s.strayed(m.ID) {
			continue
		}
		follows := o.health == HealthUp && o.info.Role == RoleReplica && o.info.Master.Same(r.addr)
		if !follows && !s.hasFollower(r) && !s.com.Knows(r.info.ReplID2) {
			continue
		}
		if next != nil {
			return false // two of them: whoever decides there has not finished
		}
		next = r
	}
	if next == nil {
		return false
	}
	m := s.com.Member(next.id)
	at := Assignment{Epoch: s.com.Last + 1, Instance: m.ID, Addr: m.Addr, Name: m.Name}
	s.proposeSparsely(Command{Type: CmdAdopt, At: at, Epoch: at.Epoch, Reason: "mode observe: somebody else made " + s.called(next) + " master, and it is followed",
		Lineage: lineageOf(next.info), Members: s.attached(next.info)})
	return true
}
