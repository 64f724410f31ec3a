package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// historyMax bounds the history of one master in the replicated state.
const historyMax = 100

// volumesMax bounds how many volumes are remembered.
const volumesMax = 64

// lineagesMax bounds how many earlier replication ids of a master are remembered.
const lineagesMax = 16

// notesMax bounds the timeline of one record.
const notesMax = 64

// Member is one instance that belongs to a master: the master itself and every
// replica that was ever attached to it and not removed.
type Member struct {
	ID   InstanceID `json:"id"`
	Addr Addr       `json:"addr"`
	// Name is for people: the address on hosts, the pod's name on Kubernetes.
	Name string `json:"name,omitempty"`
	// Ordinal is the pod's number in its StatefulSet, Data the volume that outlives it;
	// both are of inventories only.
	Ordinal int    `json:"ordinal,omitempty"`
	Data    string `json:"data,omitempty"`
	// Ours is set once its data is known to be of this data set: it was in sync with
	// the master, has a volume that was, or was made after the master was adopted.
	Ours bool `json:"ours,omitempty"`
	// PingPeriod is repl-ping-replica-period in seconds as we set it, 0 if not
	// touched; PingWas is what we found, given back by release.
	PingPeriod int `json:"ping,omitempty"`
	PingWas    int `json:"pingWas,omitempty"`
	// PingRun is the run id for which PingPeriod was set.
	PingRun string `json:"pingRun,omitempty"`
	// Limits are what was found before the fence changed them, nil if it did not. Given
	// back by release, and when the fence is turned off.
	Limits *MinReplicas `json:"limits,omitempty"`
}

// Committed is the replicated state of one master: intents and outcomes, no
// observations. Only Apply changes it.
type Committed struct {
	Name   string `json:"name"`
	Config Config `json:"config"`
	// Master is the committed answer to "who is the master".
	Master Assignment `json:"master"`
	// Pods is set when an inventory says who belongs to the master, not the master's INFO.
	Pods bool `json:"pods,omitempty"`
	// Owner is the inventory's.
	Owner string `json:"owner,omitempty"`
	// Released is set while a person has taken the master back: it is watched, and
	// nothing is written.
	Released bool `json:"released,omitempty"`
	// Paused is set while a person wants nothing to be done unasked, until PausedUntil
	// if that is not zero.
	Paused      bool      `json:"paused,omitempty"`
	PausedUntil time.Time `json:"pausedUntil,omitzero"`
	// Fence is the opt-in fence, nil if nobody ever asked for it.
	Fence *Fence `json:"fence,omitempty"`
	// Chosen is what a person decided last, nil if nobody did.
	Chosen *Chosen `json:"chosen,omitempty"`
	// Volumes are those that held this data set, the latest last.
	Volumes []string `json:"volumes,omitempty"`
	// Adopted is set once the master was seen to be one; nothing is decided before.
	Adopted bool `json:"adopted,omitempty"`
	// Last is the highest epoch that any plan has used.
	Last Epoch `json:"last"`
	// Lineage is that of the master as last recorded; Lineages are earlier
	// replication ids of the same data set.
	Lineage  Lineage  `json:"lineage"`
	Lineages []string `json:"lineages,omitempty"`
	Members  []Member `json:"members"` // sorted by ID
	Plan     *Plan    `json:"plan,omitempty"`
	History  []Record `json:"history,omitempty"` // oldest first
	// Options are settings that a client set and that only adapters know.
	Options Options `json:"options,omitempty"`
}

// Member returns the member with that ID, nil if there is none.
func (c *Committed) Member(id InstanceID) *Member {
	i, ok := slices.BinarySearchFunc(c.Members, id, func(m Member, id InstanceID) int { return cmpID(m.ID, id) })
	if !ok {
		return nil
	}
	return &c.Members[i]
}

// Knows reports whether a replication id belongs to this master's data set. An
// unrecorded lineage knows every id.
func (c *Committed) Knows(replID string) bool {
	if c.Lineage.ReplID == "" {
		return true
	}
	return replID == c.Lineage.ReplID || slices.Contains(c.Lineages, replID)
}

// age tells how far back a replica's replication id is in the history of the data set:
// 0 is the present one, or one that goes on from it.
func (c *Committed) age(i *Info) int {
	if i == nil || c.Lineage.ReplID == "" || i.ReplID == c.Lineage.ReplID || i.ReplID2 == c.Lineage.ReplID {
		return 0
	}
	for n := len(c.Lineages) - 1; n >= 0; n-- {
		if id := c.Lineages[n]; id == i.ReplID || id == i.ReplID2 {
			return len(c.Lineages) - n
		}
	}
	return len(c.Lineages) + 1
}

// Result is what the state machine says to a command.
type Result struct {
	Accepted bool
	// Reason tells why it was refused.
	Reason string
}

func accepted() Result { return Result{Accepted: true} }

func refused(format string, args ...any) Result {
	return Result{Reason: fmt.Sprintf(format, args...)}
}

// Apply carries out one committed command. It is deterministic and has no effect
// outside the receiver; a refused command changes nothing.
func (c *Committed) Apply(cmd Command) Result {
	switch cmd.Type {
	case CmdAdopt:
		return c.applyAdopt(cmd)
	case CmdMembers:
		return c.applyMembers(cmd)
	case CmdTuned:
		return c.applyTuned(cmd)
	case CmdLineage:
		return c.applyLineage(cmd)
	case CmdBegin:
		return c.applyBegin(cmd)
	case CmdAdvance:
		return c.applyAdvance(cmd)
	case CmdDone, CmdAbort:
		return c.applyEnd(cmd)
	case CmdNote:
		return c.applyNote(cmd)
	case CmdConfigure:
		return c.applyConfigure(cmd)
	case CmdSettings:
		return c.applySettings(cmd)
	case CmdPods:
		return c.applyPods(cmd)
	case CmdFloor:
		return c.applyFloor(cmd)
	case CmdRelease:
		return c.applyRelease(cmd)
	case CmdPause:
		return c.applyPause(cmd)
	case CmdChoose:
		return c.applyChoose(cmd)
	case CmdFence:
		return c.applyFence(cmd)
	case CmdFound:
		return c.applyFound(cmd)
	case CmdMonitor, CmdForget, CmdEnrol, CmdLevel, CmdRemove:
		return refused("%s is a matter of the registry", cmd.Type)
	}
	return refused("unknown command %q", cmd.Type)
}

func (c *Committed) applyAdopt(cmd Command) Result {
	if c.Plan != nil {
		return refused("epoch %s is open", c.Plan.Epoch)
	}
	if cmd.At.Instance == c.Master.Instance && c.Adopted {
		return refused("already adopted")
	}
	if cmd.At.Instance != c.Master.Instance && cmd.At.Epoch != c.Last+1 {
		return refused("epoch %s does not follow %s", cmd.At.Epoch, c.Last)
	}
	if cmd.At.Instance == c.Master.Instance && cmd.At.Epoch != c.Master.Epoch {
		return refused("epoch %s is not the master's %s", cmd.At.Epoch, c.Master.Epoch)
	}
	from := c.Master
	c.Master, c.Adopted, c.Last = cmd.At, true, max(c.Last, cmd.At.Epoch)
	if c.Member(cmd.At.Instance) == nil {
		c.addMembers([]Member{{ID: cmd.At.Instance, Addr: cmd.At.Addr}})
	}
	c.addMembers(cmd.Members)
	c.trust(cmd.At.Instance)
	c.record(cmd.Lineage)
	c.remember(Record{When: cmd.Wall, Epoch: cmd.At.Epoch, Kind: "adopted", From: from, To: cmd.At, Why: cmd.Reason, Lost: 0})
	return accepted()
}

func (c *Committed) applyMembers(cmd Command) Result {
	for _, id := range cmd.Removed {
		if id == c.Master.Instance {
			return refused("%s is the master", id)
		}
		if c.Plan != nil && (id == c.Plan.New.Instance || id == c.Plan.Old.Instance) {
			return refused("%s is part of the open plan", id)
		}
	}
	c.Members = slices.DeleteFunc(c.Members, func(m Member) bool { return slices.Contains(cmd.Removed, m.ID) })
	c.addMembers(cmd.Members)
	return accepted()
}

func (c *Committed) applyTuned(cmd Command) Result {
	m := c.Member(cmd.Instance)
	if m == nil {
		return refused("%s is not known", cmd.Instance)
	}
	if m.PingWas == 0 {
		m.PingWas = cmd.Was
	}
	m.PingPeriod, m.PingRun = cmd.Now, cmd.Lineage.RunID
	return accepted()
}

func (c *Committed) applyLineage(cmd Command) Result {
	if cmd.Epoch != c.Master.Epoch {
		return refused("epoch %s is not the master's %s", cmd.Epoch, c.Master.Epoch)
	}
	c.record(cmd.Lineage)
	return accepted()
}

func (c *Committed) applyBegin(cmd Command) Result {
	p := cmd.Plan
	switch {
	case p == nil:
		return refused("begin without a plan")
	case c.Plan != nil:
		return refused("epoch %s is open", c.Plan.Epoch)
	case p.Epoch != c.Last+1:
		return refused("epoch %s does not follow %s", p.Epoch, c.Last)
	case p.Old != c.Master:
		return refused("the master is %s of epoch %s by now", c.Master, c.Master.Epoch)
	case p.New.Instance == c.Master.Instance || c.Member(p.New.Instance) == nil:
		return refused("%s is not a replica", p.New)
	}
	plan := *p
	plan.Phase = PhasePromoting
	if plan.Kind == KindHandover {
		plan.Phase = PhaseFencing
	}
	plan.New.Epoch = plan.Epoch
	c.Plan, c.Last = &plan, plan.Epoch
	return accepted()
}

func (c *Committed) applyAdvance(cmd Command) Result {
	switch {
	case c.Plan == nil || c.Plan.Epoch != cmd.Epoch:
		return refused("no open plan of epoch %s", cmd.Epoch)
	case cmd.Phase != c.Plan.Phase+1 || cmd.Phase > PhasePromoted:
		return refused("phase %s does not follow %s", cmd.Phase, c.Plan.Phase)
	}
	plan := *c.Plan
	plan.Phase = cmd.Phase
	plan.Notes = append(slices.Clone(plan.Notes), cmd.Notes...)
	plan.Fenced = plan.Fenced || cmd.Reason == "fenced"
	c.Plan = &plan
	if cmd.Phase == PhasePromoted {
		c.Master = plan.New
		c.record(cmd.Lineage)
	}
	return accepted()
}

func (c *Committed) applyEnd(cmd Command) Result {
	if c.Plan == nil || c.Plan.Epoch != cmd.Epoch {
		return refused("no open plan of epoch %s", cmd.Epoch)
	}
	p := c.Plan
	kind, result := p.Kind.String(), "done"
	if cmd.Type == CmdAbort {
		if p.Phase >= PhasePromoted {
			return refused("epoch %s is promoted, it can only be done", cmd.Epoch)
		}
		if cmd.Phase != PhaseUnknown && cmd.Phase != p.Phase {
			return refused("epoch %s is %s by now, not %s", cmd.Epoch, p.Phase, cmd.Phase)
		}
		kind, result = "aborted", cmd.Reason
	} else if p.Phase != PhasePromoted {
		return refused("epoch %s is %s, not promoted", cmd.Epoch, p.Phase)
	}
	c.Plan = nil
	c.remember(Record{When: p.Begun, Epoch: p.Epoch, Kind: kind, Of: p.Kind, From: p.Old, To: p.New, Why: p.Why, Result: result, Lost: p.Lost,
		Fenced: p.Fenced, Leader: p.Leader, Term: p.Term, LeftOut: p.LeftOut, Span: cmd.Took, Notes: append(slices.Clone(p.Notes), cmd.Notes...)})
	return accepted()
}

// applyNote adds a record of its own, or notes to the record of an epoch.
func (c *Committed) applyNote(cmd Command) Result {
	if cmd.Record != nil {
		c.remember(*cmd.Record)
		return accepted()
	}
	for i := len(c.History) - 1; i >= 0; i-- {
		if r := &c.History[i]; r.Epoch == cmd.Epoch && r.Kind != "held" {
			if len(r.Notes) < notesMax {
				r.Notes = append(slices.Clone(r.Notes), cmd.Notes...)
			}
			return accepted()
		}
	}
	return refused("no record of epoch %s", cmd.Epoch)
}

func (c *Committed) record(l Lineage) {
	if l.ReplID == "" && l.RunID == "" {
		return
	}
	if old := c.Lineage.ReplID; old != "" && old != l.ReplID && !slices.Contains(c.Lineages, old) {
		c.Lineages = append(slices.Clone(c.Lineages), old)
		if n := len(c.Lineages) - lineagesMax; n > 0 {
			c.Lineages = c.Lineages[n:]
		}
	}
	c.Lineage = l
}

func (c *Committed) remember(r Record) {
	c.History = append(slices.Clone(c.History), r)
	if n := len(c.History) - historyMax; n > 0 {
		c.History = c.History[n:]
	}
}

func (c *Committed) addMembers(add []Member) {
	for _, m := range add {
		if old := c.Member(m.ID); old != nil {
			old.Addr = m.Addr
			if m.Name != "" {
				old.Name, old.Ordinal, old.Data = m.Name, m.Ordinal, m.Data
			}
			continue
		}
		c.Members = append(c.Members, m)
		slices.SortFunc(c.Members, func(a, b Member) int { return cmpID(a.ID, b.ID) })
	}
}

// Clone returns a copy that shares nothing that Apply changes in place.
func (c *Committed) Clone() Committed {
	out := *c
	out.Members = slices.Clone(c.Members)
	out.History = slices.Clone(c.History)
	return out
}

func cmpID(a, b InstanceID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Registry is the whole replicated state: every watched master.
type Registry struct {
	Masters map[string]*Committed `json:"masters"`
	// Level is what the level was raised to, 0 if it never was; see CommittedLevel.
	Level int `json:"-"`
	// Removed are masters that a client had us stop watching. Files that still name one
	// do not bring it back.
	Removed Removed `json:"removed,omitempty"`
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{Masters: map[string]*Committed{}} }

// Apply carries out one committed command on the master that it names.
func (r *Registry) Apply(cmd Command) Result {
	c := r.Masters[cmd.Master]
	switch cmd.Type {
	case CmdLevel:
		return r.applyLevel(cmd)
	case CmdMonitor, CmdEnrol:
		return r.applyMonitor(cmd)
	case CmdForget:
		if c == nil {
			return refused("no master named %q", cmd.Master)
		}
		if c.Plan != nil {
			return refused("epoch %s is open", c.Plan.Epoch)
		}
		delete(r.Masters, cmd.Master)
		return accepted()
	case CmdRemove:
		return r.applyRemove(cmd)
	default:
		if c == nil {
			return refused("no master named %q", cmd.Master)
		}
		return c.Apply(cmd)
	}
}

func (r *Registry) applyMonitor(cmd Command) Result {
	if r.Masters[cmd.Master] != nil {
		return refused("%q is watched already", cmd.Master)
	}
	enrol := cmd.Type == CmdEnrol
	gone, removed := r.Removed[cmd.Master]
	if removed && !enrol && !cmd.Force {
		return refused("%q was removed, SENTINEL MONITOR brings it back", cmd.Master)
	}
	if cmd.Config == nil || cmd.Master == "" || (cmd.At.Instance == "") != enrol {
		return refused("monitor without a name, an address or settings")
	}
	if err := cmd.Config.Validate(); err != nil {
		return refused("%v", err)
	}
	c := &Committed{Name: cmd.Master, Config: *cmd.Config, Master: cmd.At, Last: cmd.At.Epoch, Pods: enrol, Owner: cmd.Owner}
	if enrol {
		c.Last = cmd.Epoch
	} else {
		c.addMembers([]Member{{ID: cmd.At.Instance, Addr: cmd.At.Addr}})
	}
	c.addMembers(cmd.Members)
	if removed { // no epoch is ever used twice
		c.Last = max(c.Last, gone.Last)
		c.Master.Epoch = max(c.Master.Epoch, gone.Last)
		r.Removed = r.Removed.without(cmd.Master)
	}
	r.Masters[cmd.Master] = c
	return accepted()
}

// Names returns the watched masters in order.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.Masters)) }
