package sentinel

import (
	"cmp"
	"fmt"
	"slices"
)

// Candidate is a replica as the leader sees it when it chooses.
type Candidate struct {
	ID     InstanceID
	Addr   Addr
	Name   string
	Health Health
	Reply  Reply
	// Info is what it said last, nil if nothing.
	Info *Info
	// Stale is set when Info is from before the question was asked.
	Stale bool
	// Deleting is set when its pod is being deleted, Gone when it exists no longer.
	Deleting, Gone bool
	// Age tells how far back its replication id is in the history of the data set: 0 is
	// the present one. Offsets of different ids do not compare.
	Age int
	// Own is how many bytes of writes it has that are no part of the data set, because
	// somebody else had made it master: its offset says nothing beside the others'.
	Own int64
	// Rights is what it lets us do, nil if not known. Writable is set when it takes
	// writes as a replica: it may have data of its own.
	Rights   *Rights
	Writable bool
	// Failed is set when a promotion of it failed a moment ago: any other is better.
	Failed bool
}

// String returns the name, or the address where there is none.
func (c Candidate) String() string { return called(c.Name, c.Addr) }

func (c Candidate) rejected(why string) Rejected {
	return Rejected{Instance: c.ID, Addr: c.Addr, Why: why, Name: c.Name}
}

// Rejected is an instance that was not chosen, and why.
type Rejected struct {
	Instance InstanceID `json:"instance"`
	Addr     Addr       `json:"addr"`
	Why      string     `json:"why"`
	// Name is for people, "" where the address is all that there is.
	Name string `json:"name,omitempty"`
}

// String returns the name, or the address where there is none.
func (r Rejected) String() string { return called(r.Name, r.Addr) }

// Choice is the outcome of Choose.
type Choice struct {
	// Best is the chosen one, nil if none is allowed.
	Best *Candidate
	// Reason says why the best one was better than the rest.
	Reason string
	// LeftOut holds all others.
	LeftOut []Rejected
}

// Choose picks the replica to promote among those that are allowed: lowest
// priority number, then highest offset, then name; of several lineages the latest
// comes before all of that, and then one that takes no writes of its own. knows tells whether a
// replication id belongs to the master's data set. want restricts the choice to
// one instance (ID, name or address); "" does not.
func Choose(cands []Candidate, knows func(replID string) bool, want string) Choice {
	return chooseBeside(cands, knows, want, false)
}

// chooseBeside is Choose where a copy with data may be known besides the candidates.
func chooseBeside(cands []Candidate, knows func(replID string) bool, want string, data bool) Choice {
	data = data || slices.ContainsFunc(cands, func(c Candidate) bool { return c.Info != nil && c.Info.Keys > 0 })
	var ok []Candidate
	var out Choice
	for _, c := range cands {
		why := barred(c, knows, data)
		if why == "" && want != "" && !isCalled(want, c.ID, c.Name, c.Addr) {
			why = "not the one asked for"
		}
		if why != "" {
			out.LeftOut = append(out.LeftOut, c.rejected(why))
			continue
		}
		ok = append(ok, c)
	}
	slices.SortFunc(ok, better)
	for i, c := range ok {
		if i == 0 {
			out.Best = &ok[0]
			continue
		}
		out.LeftOut = append(out.LeftOut, c.rejected("allowed, "+difference(ok[0], c)))
	}
	slices.SortFunc(out.LeftOut, func(a, b Rejected) int { return cmpID(a.Instance, b.Instance) })
	if len(ok) == 1 {
		out.Reason = "the only one allowed"
	} else if len(ok) > 1 {
		out.Reason = advantage(ok[0], ok[1])
	}
	return out
}

func better(a, b Candidate) int {
	if a.Failed != b.Failed {
		if b.Failed {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Age, b.Age), compareBool(a.Writable, b.Writable), cmp.Compare(a.Info.Priority, b.Info.Priority), cmp.Compare(b.Info.Offset, a.Info.Offset), cmpID(a.ID, b.ID))
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func advantage(best, next Candidate) string {
	switch {
	case best.Failed != next.Failed:
		return "the promotion of " + next.String() + " failed"
	case best.Age != next.Age:
		return "the latest lineage"
	case best.Writable != next.Writable:
		return "the other ones take writes of their own"
	case best.Info.Priority != next.Info.Priority:
		return fmt.Sprintf("lowest priority number, %d", best.Info.Priority)
	case best.Info.Offset != next.Info.Offset:
		return "highest offset"
	}
	return "same offset, first by name"
}

func difference(best, c Candidate) string {
	switch {
	case best.Failed != c.Failed:
		return "its promotion failed a moment ago"
	case best.Age != c.Age:
		return "of an earlier lineage than " + best.String()
	case best.Writable != c.Writable:
		return readOnlyOff + ", it may have writes of its own"
	case best.Info.Priority != c.Info.Priority:
		return fmt.Sprintf("priority number %d is higher", c.Info.Priority)
	case best.Info.Offset != c.Info.Offset:
		return fmt.Sprintf("%d bytes behind %s", best.Info.Offset-c.Info.Offset, best)
	}
	return "same offset, later by name"
}

// barred says why an instance must not be promoted (invariant 4), "" if it may.
func barred(c Candidate, knows func(string) bool, dataKnown bool) string {
	i := c.Info
	switch {
	case c.Gone:
		return "its pod is gone"
	case c.Deleting:
		return "its pod is being deleted"
	case c.Health == HealthCrashed:
		return "down: connection refused"
	case c.Health == HealthDown:
		return "down: " + c.Reply.String()
	case c.Reply == ReplyLoading || (i != nil && i.Loading):
		return fmt.Sprintf("loading%s", percent(i))
	case c.Health != HealthUp:
		return "not answering: " + c.Reply.String()
	case !c.Reply.Usable():
		return c.Reply.String()
	case i == nil || c.Stale:
		return "has not answered INFO since the master was lost"
	case i.Syncing:
		return fmt.Sprintf("full sync, %.0f %% loaded", i.SyncPercent)
	case i.Role == RoleMaster:
		return "is a master itself"
	case i.Priority == 0:
		return "priority 0"
	case c.Rights.Lacks(RightMove) != "":
		return c.Rights.Lacks(RightMove)
	case !knows(i.ReplID) && !knows(i.ReplID2):
		return "foreign lineage: replication id " + shortID(i.ReplID)
	case c.Own > 0:
		return fmt.Sprintf("somebody else had made it master, and it has %d bytes of writes of its own", c.Own)
	case i.Empty() && dataKnown:
		return "empty, while another copy has data"
	case i.Offset <= 1 && i.LinkDownFor < 0 && !i.LinkUp && !i.Fenced() && i.Keys <= 0:
		return "never synced"
	}
	return ""
}

func percent(i *Info) string {
	if i == nil || i.LoadingPercent == 0 {
		return ""
	}
	return fmt.Sprintf(", %.0f %%", i.LoadingPercent)
}

func shortID(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}
