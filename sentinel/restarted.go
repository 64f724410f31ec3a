package sentinel

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// adoptQuiet is how long nothing is said about a master that is not adopted: pods
// that start one after the other are no news.
const adoptQuiet = 2 * time.Second

// adoptPods finds the first master among pods: exactly one that others follow, or
// one among empty ones, else a person is asked.
func (s *State) adoptPods() {
	if s.inv == nil {
		return
	}
	var up []*observation
	var missing []string
	for _, i := range s.inv.Instances {
		m := s.com.Member(i.ID)
		if m == nil || m.Addr != i.Addr {
			missing = append(missing, i.Name)
			continue
		}
		o := s.obs[i.ID]
		if o == nil || !o.told(s.lead.since) || o.health != HealthUp || o.info.Keys < 0 || o.info.Loading {
			missing = append(missing, i.Name)
			continue
		}
		up = append(up, o)
	}
	if len(s.inv.Instances) < s.inv.Expected {
		missing = append(missing, fmt.Sprintf("%d more", s.inv.Expected-len(s.inv.Instances)))
	}
	best, why := s.firstMaster(up, missing)
	if s.told.unadopted != why {
		s.told.unadopted, s.told.unadoptedSince = why, s.now
	}
	if say := s.told.unadoptedSince + adoptQuiet; best == nil && s.now < say {
		s.wake(say)
	} else if best == nil && s.told.unadoptedSaid != why {
		s.told.unadoptedSaid = why
		s.emit(EventWaiting, nil, "no master adopted: "+why)
	}
	if best == nil {
		return
	}
	m := s.com.Member(best.id)
	at := Assignment{Epoch: max(s.com.Last, s.floor()) + 1, Instance: m.ID, Addr: m.Addr, Name: m.Name}
	if s.com.Last < s.floor() {
		return // that comes first, see keepPods
	}
	s.proposeSparsely(Command{Type: CmdAdopt, At: at, Epoch: at.Epoch, Reason: why, Lineage: lineageOf(best.info)})
}

// firstMaster chooses among the instances that answer. why is the reason, or what is
// waited for.
func (s *State) firstMaster(up []*observation, missing []string) (best *observation, why string) {
	var followed, masters, data, staying []*observation
	for _, o := range up {
		if !s.leaving(o) {
			staying = append(staying, o)
		}
		if o.info.Role == RoleMaster {
			masters = append(masters, o)
			if s.followersOf(o, up) > 0 {
				followed = append(followed, o)
			}
		}
		if !o.info.Empty() {
			data = append(data, o)
		}
	}
	if len(followed) == 1 && len(masters) == 1 {
		return followed[0], fmt.Sprintf("found as the master of %d", s.followersOf(followed[0], up))
	}
	if len(missing) > 0 {
		return nil, "waiting for " + strings.Join(missing, ", ")
	}
	switch {
	case len(up) == 0:
		return nil, "there is no instance"
	case len(data) == 0 && len(masters) == 1 && !s.leaving(masters[0]):
		return masters[0], "the only master, and all are empty"
	case len(data) == 0 && len(staying) == 0:
		return nil, "all are empty and being deleted"
	case len(data) == 0:
		return s.first(staying), "all are empty, and this is the first"
	case slices.ContainsFunc(data, s.leaving):
		return nil, "waiting for the successor of a pod that has data and is being deleted"
	case len(data) == 1 && (len(masters) == 0 || len(masters) == 1 && masters[0] == data[0]):
		return data[0], "the only one with data"
	case len(followed) == 1 && s.onlyEmpty(masters, followed[0]):
		return followed[0], "the only master that others follow; the other masters are empty"
	case len(masters) == 0:
		return mostOf(data)
	}
	return nil, fmt.Sprintf("%d of %d have data and %d say that they are master: a person must decide", len(data), len(up), len(masters))
}

// leaving reports whether an instance's pod is being deleted.
func (s *State) leaving(o *observation) bool {
	i := s.instance(o.id)
	return i == nil || i.Deleting
}

// onlyEmpty reports whether every master but one is empty.
func (s *State) onlyEmpty(masters []*observation, but *observation) bool {
	return !slices.ContainsFunc(masters, func(o *observation) bool { return o != but && !o.info.Empty() })
}

// mostOf returns the one with the highest offset if all are of one lineage.
func mostOf(data []*observation) (*observation, string) {
	best := data[0]
	for _, o := range data[1:] {
		if o.info.ReplID != best.info.ReplID {
			return nil, "several have data, of different replication ids: a person must decide"
		}
		if o.info.Offset > best.info.Offset {
			best = o
		}
	}
	return best, "the highest offset of one lineage"
}

// followersOf counts the replicas whose link to an instance is up.
func (s *State) followersOf(master *observation, all []*observation) int {
	n := 0
	for _, o := range all {
		if o.info.Role != RoleReplica || !o.info.LinkUp {
			continue
		}
		attached := slices.ContainsFunc(master.info.Replicas, func(a Attached) bool { return a.Addr.Same(o.addr) })
		if o.info.Master.Same(master.addr) || attached && o.info.ReplID == master.info.ReplID {
			n++
		}
	}
	return n
}

// first is the instance with the lowest ordinal.
func (s *State) first(all []*observation) *observation {
	return slices.MinFunc(all, func(a, b *observation) int { return cmp.Compare(s.ordinal(a.id), s.ordinal(b.id)) })
}

func (s *State) ordinal(id InstanceID) int {
	if m := s.com.Member(id); m != nil {
		return m.Ordinal
	}
	return 0
}

// survived reports whether a process is one that followed the committed master
// before it was lost: it is still told to follow it, and was in sync once. Pods that
// came after are born without a master.
func (s *State) survived(o *observation) bool {
	if o == nil || o.info == nil || o.info.Role != RoleReplica || !o.info.Master.Same(s.com.Master.Addr) {
		return false
	}
	return o.info.LinkUp || o.info.LinkDownFor >= 0
}

// choose picks the candidate for a failover. Where pods came back instead of the
// ones that were lost, everybody who may have more is waited for, and what was
// recorded decides where offsets cannot. wait says for whom.
func (s *State) choose(since Time) (choice Choice, wait string) {
	cands := s.candidates(since)
	choice = chooseBeside(cands, s.com.Knows, "", s.masterHasData())
	if !s.com.Pods || s.inv == nil {
		return s.chooseOnHosts(cands, choice)
	}
	if slices.ContainsFunc(cands, func(c Candidate) bool { return s.survived(s.obs[c.ID]) && c.Health == HealthUp }) {
		return choice, ""
	}
	missing := s.missing(cands)
	if len(missing) > 0 && s.now < s.backSince(cands)+s.com.Config.FailoverTimeout {
		return choice, strings.Join(missing, ", ")
	}
	if name := s.loadingHeir(cands); name != "" {
		return choice, name
	}
	if heir := s.heir(cands, choice); heir != nil {
		return s.withoutPods(s.chosen(cands, heir, "has the lost master's volume"), cands), ""
	}
	if len(missing) > 0 {
		return s.withoutPods(choice, cands), ""
	}
	if only := s.onlyData(cands); choice.Best == nil && only != nil {
		return s.chosen(cands, only, "the only one with data"), ""
	}
	if choice.Best == nil && allEmpty(cands) {
		first := slices.MinFunc(cands, func(a, b Candidate) int { return cmp.Compare(s.ordinal(a.ID), s.ordinal(b.ID)) })
		return s.chosen(cands, &first, "all came back empty, and this is the first"), ""
	}
	return choice, ""
}

// backSince is when the first pod that came back answered, or when more were
// expected than before: from then on the others are waited for.
func (s *State) backSince(cands []Candidate) Time {
	v := s.inv
	back := slices.ContainsFunc(cands, func(c Candidate) bool { return c.Health == HealthUp && c.Info != nil && !c.Stale })
	switch {
	case !back:
		v.back = never
		return s.now
	case v.back == never || v.Expected > v.backOf:
		v.back, v.backOf = s.now, v.Expected
	}
	return v.back
}

// loadingHeir names the pod that has the lost master's volume and still reads it, ""
// if there is none: it is waited for however long that takes.
func (s *State) loadingHeir(cands []Candidate) string {
	for _, c := range cands {
		if s.inherits(c.ID) && c.Health == HealthUp && (c.Reply == ReplyLoading || c.Info != nil && c.Info.Loading) {
			return c.String() + ", which is loading and"
		}
	}
	return ""
}

// inherits reports whether a pod has the lost master's volume.
func (s *State) inherits(id InstanceID) bool {
	old, m := s.com.Member(s.com.Master.Instance), s.com.Member(id)
	return old != nil && m != nil && m.ID != old.ID && old.Data != "" && old.Data == m.Data && s.absent(old.ID)
}

// missing names the pods that are expected and have not said yet what they have.
func (s *State) missing(cands []Candidate) []string {
	var out []string
	n := 0
	for _, i := range s.inv.Instances {
		n++
		if s.unheard(i.ID, cands) {
			out = append(out, i.Name)
		}
	}
	if n < s.inv.Expected {
		out = append(out, fmt.Sprintf("%d more", s.inv.Expected-n))
	}
	return out
}

// heir is the pod that has the lost master's volume, if it has data and nobody is
// known to have more: offsets do not survive in every kind of file, the role does.
func (s *State) heir(cands []Candidate, choice Choice) *Candidate {
	any := func(string) bool { return true }
	for i := range cands {
		c := &cands[i]
		if !s.inherits(c.ID) || barred(*c, any, true) != "" || c.Info.Keys <= 0 {
			continue
		}
		if choice.Best != nil && choice.Best.Info.ReplID == c.Info.ReplID {
			return nil // comparable, and compared
		}
		return c
	}
	return nil
}

// onlyData is the one candidate that has data, of this data set, while all others have
// none: its replication id tells nothing, but there is nothing else.
func (s *State) onlyData(cands []Candidate) *Candidate {
	any := func(string) bool { return true }
	var only *Candidate
	for i := range cands {
		c := &cands[i]
		if c.Info == nil || c.Info.Empty() {
			continue
		}
		m := s.com.Member(c.ID)
		if only != nil || m == nil || !m.Ours || barred(*c, any, true) != "" {
			return nil
		}
		only = c
	}
	return only
}

// chosen is the choice of one that the ordinary rules cannot tell from the rest.
func (s *State) chosen(cands []Candidate, best *Candidate, reason string) Choice {
	out := Choice{Best: best, Reason: reason}
	for _, c := range cands {
		if c.ID != best.ID {
			out.LeftOut = append(out.LeftOut, c.rejected("not comparable by offset"))
		}
	}
	return out
}

func allEmpty(cands []Candidate) bool {
	return len(cands) > 0 && !slices.ContainsFunc(cands, func(c Candidate) bool {
		return c.Info == nil || !c.Info.Empty() || c.Health != HealthUp || c.Deleting || c.Info.Syncing || c.Info.Role != RoleReplica
	})
}
