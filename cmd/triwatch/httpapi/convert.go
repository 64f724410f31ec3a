package httpapi

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/triwatch/triwatch/sentinel"
)

const (
	modeAct     = "act"
	modeObserve = "observe"
)

// known turns the core's -1 for "unknown" into null.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func newStanding(c ClusterInfo, own bool) Standing {
	s := Standing{HasQuorum: c.HasQuorum, Outside: c.Superseded || c.Removed, Watcher: c.Me, Leader: c.leaderName()}
	for _, p := range c.Peers {
		if p.Voter {
			s.Watchers++
			if p.Reachable {
				s.Reachable++
			}
		}
	}
	switch {
	case c.Superseded:
		s.StaleReason = "this watcher belongs to an older generation of the cluster and has stopped acting"
	case c.Removed:
		s.StaleReason = "this watcher was removed from the cluster"
	case c.Stuck != "":
		s.StaleReason = c.stuckText()
	case !c.HasQuorum && c.Waiting != "":
		s.StaleReason = "no quorum: " + c.Waiting
	case !c.HasQuorum:
		s.StaleReason = fmt.Sprintf("no quorum: this watcher is in touch with %d of %d watchers, itself included", s.Reachable, s.Watchers)
	case own:
		s.StaleReason = "the leader did not answer: this is one watcher's own view"
	}
	s.Stale, s.NeedsLevel, s.Outdated = s.StaleReason != "", c.NeedsLevel, c.outdated()
	return s
}

// leaderName is the leader for people: its name, its address, or its short ID.
func (c ClusterInfo) leaderName() string {
	if c.LeaderID == "" {
		return ""
	}
	return c.nameOf(c.LeaderID, c.LeaderAddr)
}

func (c ClusterInfo) nameOf(id, addr string) string {
	for _, p := range c.Peers {
		if p.ID == id {
			return cmp.Or(p.Name, p.Addr, addr, short(id))
		}
	}
	return cmp.Or(addr, short(id))
}

func short(id string) string { return id[:min(len(id), 8)] }

func newMaster(v sentinel.View, own bool, c ClusterInfo) Master {
	names := namesOf(v)
	m := Master{Name: v.Name, State: v.State, Note: v.Note, Epoch: v.Epoch.String(), EpochNumber: uint64(v.Epoch),
		Current: names.ref(v.Master), Since: v.Since.UTC(), How: v.How, Acting: v.Acting && !newStanding(c, own).Stale,
		Quorum: v.Quorum, Watchers: v.Voters, WatchersAgree: v.Agree, Settings: newSettings(v.Config), Fence: v.Fence, Instances: []Instance{}}
	if p := v.Plan; p != nil {
		m.Plan = &Plan{Kind: p.Kind.String(), Phase: p.Phase.String(), Epoch: p.Epoch.String(), EpochNumber: uint64(p.Epoch),
			From: names.ref(p.Old), To: names.ref(p.New), Why: p.Why, Begun: p.Begun.UTC(), LeftOut: names.leftOut(p.LeftOut), Notes: newNotes(p.Notes)}
	}
	for _, u := range v.Unfenced {
		m.Unfenced = append(m.Unfenced, Unfenced{Ref: names.ref(u.Master), Epoch: u.Epoch.String(), EpochNumber: uint64(u.Epoch)})
	}
	for _, i := range v.Instances {
		m.Instances = append(m.Instances, newInstance(i))
	}
	return m
}

func newSettings(c sentinel.Config) Settings {
	s := Settings{Mode: modeAct, DownAfterMS: c.DownAfter.Milliseconds(), FailoverTimeoutMS: c.FailoverTimeout.Milliseconds(),
		ParallelSyncs: c.ParallelSyncs, OnCrash: "failover", MaxLossBytes: c.MaxLoss, WitnessMaxMS: c.WitnessMax.Milliseconds(),
		CatchUpMS: c.CatchUp.Milliseconds(), PauseWrites: c.PauseWrites, UnfencedFailover: "allow"}
	if c.HoldUnfenced {
		s.UnfencedFailover = "hold"
	}
	if c.Observe {
		s.Mode = modeObserve
	}
	if c.CrashWaits {
		s.OnCrash = "wait"
	}
	return s
}

func newInstance(i sentinel.InstanceView) Instance {
	out := Instance{Ref: Ref{ID: string(i.ID), Name: i.Name, Address: i.Addr.String()}, Role: i.Role.String(), Master: i.Master,
		Health: i.Health.String(), Down: i.Down, Reply: i.Reply.String(), Detail: i.Detail, Link: i.Link,
		Priority: i.Prio, RunID: i.RunID, SeenBy: i.SeenBy, SilentMS: i.Silent.Milliseconds(), InfoAgeMS: i.InfoAge.Milliseconds(),
		Choice: i.Choice, WouldBeChosen: strings.HasPrefix(i.Choice, "would be chosen"), Lacking: i.Lacking}
	// In a full sync the offset is not one of the data set that is being loaded.
	if i.Role != sentinel.RoleUnknown && i.Link != "sync" {
		out.Offset, out.LagBytes, out.Keys = known(i.Offset), known(i.Lag), known(i.Keys)
	}
	if !i.Follows.IsZero() {
		out.Follows = i.Follows.String()
	}
	return out
}

// names finds instances' names for what holds their IDs only.
type names map[sentinel.InstanceID]string

func namesOf(v sentinel.View) names {
	n := names{}
	for _, i := range v.Instances {
		n[i.ID] = i.Name
	}
	return n
}

func (n names) ref(a sentinel.Assignment) Ref {
	r := Ref{ID: string(a.Instance), Name: n[a.Instance], Address: a.Addr.String()}
	if r.Name == "" {
		r.Name = a.String()
	}
	return r
}

func (n names) leftOut(list []sentinel.Rejected) []Rejected {
	out := []Rejected{}
	for _, r := range list {
		out = append(out, Rejected{Ref: n.ref(sentinel.Assignment{Instance: r.Instance, Addr: r.Addr, Name: r.Name}), Why: r.Why})
	}
	return out
}

func newNotes(list []sentinel.Note) []Note {
	out := []Note{}
	for _, n := range list {
		out = append(out, Note{MS: n.AfterMS, What: n.What, Text: n.Text})
	}
	return out
}

// newRecords turns the records of one epoch, or of all if epoch is nil, around:
// the newest comes first.
func newRecords(list []sentinel.Record, epoch *sentinel.Epoch, n names, c ClusterInfo) []Record {
	out := []Record{}
	for _, r := range slices.Backward(list) {
		if epoch == nil || r.Epoch == *epoch {
			out = append(out, newRecord(r, n, c))
		}
	}
	return out
}

func newRecord(r sentinel.Record, n names, c ClusterInfo) Record {
	out := Record{When: r.When.UTC(), Kind: r.Kind, Why: r.Why, Result: r.Result, LostBytes: known(r.Lost), Fenced: r.Fenced, Term: r.Term,
		TookMS: r.TookMS, WaitedMS: r.WaitedMS, LeftOut: n.leftOut(r.LeftOut), Notes: newNotes(r.Notes)}
	if r.Epoch != 0 {
		out.Epoch, out.EpochNumber = r.Epoch.String(), uint64(r.Epoch)
	}
	if r.Leader != "" {
		out.Leader = c.nameOf(string(r.Leader), "")
	}
	if r.From.Instance != "" {
		ref := n.ref(r.From)
		out.From = &ref
	}
	if r.To.Instance != "" {
		ref := n.ref(r.To)
		out.To = &ref
	}
	return out
}

// ParseEpoch reads an epoch as people write it: its counter, or
// generation.counter.
func ParseEpoch(text string) (sentinel.Epoch, error) {
	generation, counter, two := strings.Cut(text, ".")
	if !two {
		generation, counter = "0", text
	}
	g, errG := strconv.ParseUint(generation, 10, 32)
	c, errC := strconv.ParseUint(counter, 10, 32)
	if errG != nil || errC != nil {
		return 0, fmt.Errorf("%q is no epoch: write its number as history shows it, such as 12 or 1.12", text)
	}
	return sentinel.MakeEpoch(uint32(g), uint32(c)), nil
}

func newPeers(c ClusterInfo) Peers {
	out := Peers{Standing: newStanding(c, false), Term: c.Term, Level: max(c.Level, c.NeedsLevel), Waiting: c.Waiting, Peers: []Peer{}}
	for _, p := range c.Peers {
		out.Peers = append(out.Peers, Peer{ID: p.ID, Address: p.Addr, Name: p.Name, Voter: p.Voter, Self: p.Self, Leader: p.Leader,
			Reachable: p.Reachable, LastContactMS: known(p.LastContactMS), Level: p.Level, Version: p.Version})
	}
	return out
}
