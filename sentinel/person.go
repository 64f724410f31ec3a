package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// takeAdopt makes master whom a person names, or the only one that says it is. It is
// for what triwatch does not decide by itself: a master moved by somebody else, two
// data sets, nobody left of the known lineage.
func (s *State) takeAdopt(r Request) {
	o, why := s.meant(r.To)
	if o == nil {
		s.deny(r, "", why)
		return
	}
	if s.com.Adopted && o.id == s.com.Master.Instance && o.info.Role == RoleMaster && o.info.RunID == s.masterRun() && !r.Force && s.contested() == "" {
		s.deny(r, "", s.called(o)+" is the master already")
		return
	}
	text := s.sizes(o)
	if lost := s.wouldLose(o); len(lost) > 0 && !r.Force {
		s.deny(r, "", text+"; "+strings.Join(lost, ", ")+" would have to be emptied: repeat it with force if that is meant")
		return
	}
	m := s.com.Member(o.id)
	at := Assignment{Epoch: s.com.Last + 1, Instance: m.ID, Addr: m.Addr, Name: m.Name}
	s.lead.request = r.ID
	s.propose(Command{Type: CmdChoose, At: at, Epoch: at.Epoch, Force: r.Force, Despite: slices.Sorted(maps.Keys(s.strangers)), Lineage: lineageOf(o.info), Reason: "chosen by a person: " + text})
}

// meant is the instance that a person means, or why there is none.
func (s *State) meant(name string) (o *observation, why string) {
	var masters []*observation
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if name != "" && !isCalled(name, m.ID, m.Name, m.Addr) {
			continue
		}
		up := o.told(s.lead.since) && o.health == HealthUp && o.info.Keys >= 0 && !o.info.Loading && !s.strayed(m.ID)
		if name != "" {
			if !up {
				return nil, called(m.Name, m.Addr) + " does not answer, or is loading"
			}
			return o, ""
		}
		if up && o.info.Role == RoleMaster {
			masters = append(masters, o)
		}
	}
	switch {
	case name != "":
		return nil, "no instance is called " + name
	case len(masters) == 1:
		return masters[0], ""
	}
	return nil, fmt.Sprintf("%d instances say that they are master: name the one that is meant", len(masters))
}

// sizes says what everybody has.
func (s *State) sizes(chosen *observation) string {
	text := s.called(chosen) + " has " + amount(chosen.info)
	for _, m := range s.com.Members {
		if o := s.obs[m.ID]; m.ID != chosen.id && o != nil && o.info != nil {
			text += ", " + s.called(o) + " " + amount(o.info)
		}
	}
	return text
}

func amount(i *Info) string {
	if i.Keys < 0 {
		return fmt.Sprintf("an unknown number of keys at offset %d", i.Offset)
	}
	return fmt.Sprintf("%d keys at offset %d", i.Keys, i.Offset)
}

// wouldLose names those whose data would be replaced by less, or by another data set.
func (s *State) wouldLose(chosen *observation) []string {
	var out []string
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if m.ID == chosen.id || o == nil || o.info == nil || o.info.Empty() || s.absent(m.ID) {
			continue
		}
		same := slices.Contains([]string{chosen.info.ReplID, chosen.info.ReplID2}, o.info.ReplID)
		if chosen.info.Empty() || !same || o.info.Offset > chosen.info.Offset && o.info.Keys > chosen.info.Keys {
			out = append(out, s.called(o))
		}
	}
	return out
}

// applyChoose is a person's word about who is master.
func (c *Committed) applyChoose(cmd Command) Result {
	switch {
	case c.Plan != nil:
		return refused("epoch %s is open", c.Plan.Epoch)
	case cmd.At.Epoch != c.Last+1:
		return refused("epoch %s does not follow %s", cmd.At.Epoch, c.Last)
	case c.Member(cmd.At.Instance) == nil:
		return refused("%s is not known", cmd.At)
	}
	from := c.Master
	c.Master, c.Adopted, c.Last = cmd.At, true, cmd.At.Epoch
	c.Chosen = &Chosen{Epoch: cmd.At.Epoch, Force: cmd.Force, Despite: cmd.Despite}
	c.trust(cmd.At.Instance)
	c.record(cmd.Lineage)
	c.remember(Record{When: cmd.Wall, Epoch: cmd.At.Epoch, Kind: "adopted", From: from, To: cmd.At, Why: cmd.Reason, Lost: -1})
	return accepted()
}

// Chosen is what a person decided about a master.
type Chosen struct {
	Epoch Epoch `json:"epoch"`
	// Force allows data of others to be replaced.
	Force bool `json:"force,omitempty"`
	// Despite are the Sentinels beside us that the person knows of.
	Despite []WatcherID `json:"despite,omitempty"`
}

// chosenByPerson reports whether a person made the present master.
func (s *State) chosenByPerson() bool {
	return s.com.Chosen != nil && s.com.Chosen.Epoch == s.com.Master.Epoch
}

// forced reports whether the data of others may be replaced by the present master's.
func (s *State) forced() bool { return s.chosenByPerson() && s.com.Chosen.Force }
