package sentinel

import "slices"

// Unfenced is a former master that was replaced without being fenced, and has not been
// seen as anything but a master since.
type Unfenced struct {
	Master Assignment `json:"master"`
	// Epoch is that of the failover which replaced it.
	Epoch Epoch `json:"epoch"`
}

// noteOldMaster marks in a record that its old master cannot take writes any more.
const noteOldMaster = "old master"

// unfenced are the former masters that may still take writes somewhere, the latest
// first. It follows from the history, so that older builds have a part in it.
func (c *Committed) unfenced() []Unfenced {
	var out []Unfenced
	again := []InstanceID{c.Master.Instance} // who was made master later has been fenced or was no harm
	for _, r := range slices.Backward(c.History) {
		id := r.From.Instance
		if r.Kind == KindFailover.String() && !slices.Contains(again, id) {
			known := slices.ContainsFunc(r.Notes, func(n Note) bool { return n.What == noteOldMaster })
			if !r.Fenced && !known && c.Member(id) != nil {
				out = append(out, Unfenced{r.From, r.Epoch})
			}
		}
		if !r.remark() && r.Kind != "aborted" {
			again = append(again, r.To.Instance, id)
		}
	}
	return out
}

// recordFenced records that an old master was seen again and is none any more.
func (s *State) recordFenced() {
	for _, u := range s.com.unfenced() {
		o := s.obs[u.Master.Instance]
		if !o.told(s.lead.since) || o.health != HealthUp || o.info.Role != RoleReplica || o.infoAt < o.written {
			continue
		}
		for _, r := range s.com.History {
			if r.Epoch == u.Epoch && r.Kind == KindFailover.String() {
				s.proposeSparsely(Command{Type: CmdNote, Epoch: u.Epoch, Notes: []Note{{max(0, milliseconds(s.wall.Sub(r.When))), noteOldMaster,
					u.Master.String() + " was seen again and takes no writes"}}})
			}
		}
	}
}

// yesNo is how people read whether something was fenced.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
