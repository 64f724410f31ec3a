package httpapi

import (
	"fmt"
	"slices"

	"github.com/triwatch/triwatch/sentinel"
)

// CheckReport is what a check of one master found, without changing anything.
type CheckReport struct {
	Standing
	Name      string          `json:"name"`
	Epoch     string          `json:"epoch"`
	Current   Ref             `json:"current"`
	Quorum    int             `json:"quorum"`
	Instances []CheckInstance `json:"instances"`
	// Chosen is the replica that would be promoted if the master died now, null if none.
	Chosen  *CheckChoice `json:"chosen"`
	LeftOut []Rejected   `json:"leftOut"`
	// Problems keep triwatch from doing its work; Warnings should be known. Both are
	// sentences for people. Those of a single instance stand there.
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`
}

// OK reports whether no problem was found, in the whole or with an instance.
func (r CheckReport) OK() bool {
	return len(r.Problems) == 0 && !slices.ContainsFunc(r.Instances, func(i CheckInstance) bool { return !i.Reached || len(i.Problems) > 0 })
}

// CheckInstance is one instance of a CheckReport.
type CheckInstance struct {
	Ref
	Master  bool   `json:"master"`
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"` // why it was not reached
	Role    string `json:"role"`
	Version string `json:"version,omitempty"`
	// Keys is null if not known.
	Keys     *int64   `json:"keys"`
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`
	// Boots is what it is when it starts: master, replica or unknown.
	Boots string `json:"boots"`
}

// CheckChoice is the dry run of a failover.
type CheckChoice struct {
	Ref
	Why string `json:"why"`
	// LostBytes is what would be lost at this moment, null if not known.
	LostBytes *int64 `json:"lostBytes"`
}

// Reached is what reaching one instance came to, as redisio.Check returns it.
type Reached struct {
	Instance sentinel.InstanceID
	Info     sentinel.Info
	Problems []string
	Warnings []string
	Err      error
}

// NewCheckReport puts a report together from a master's view, the watchers, and
// what reaching each of its instances came to. It has no side effects.
func NewCheckReport(v sentinel.View, own bool, c ClusterInfo, reached []Reached) CheckReport {
	m := newMaster(v, own, c)
	r := CheckReport{Standing: newStanding(c, own), Name: m.Name, Epoch: m.Epoch, Current: m.Current, Quorum: m.Quorum,
		LeftOut: []Rejected{}, Problems: []string{}, Warnings: []string{}}
	for i, inst := range m.Instances {
		r.Instances = append(r.Instances, checkInstance(inst, v.Instances[i], reached))
		switch {
		case inst.WouldBeChosen:
			r.Chosen = &CheckChoice{Ref: inst.Ref, Why: inst.Choice, LostBytes: inst.LagBytes}
		case !inst.Master:
			r.LeftOut = append(r.LeftOut, Rejected{Ref: inst.Ref, Why: inst.Choice})
		}
	}
	r.judge(m, c)
	return r
}

func checkInstance(inst Instance, iv sentinel.InstanceView, reached []Reached) CheckInstance {
	ci := CheckInstance{Ref: inst.Ref, Master: inst.Master, Role: inst.Role, Boots: iv.Boots.String(), Problems: []string{}, Warnings: []string{}}
	at := slices.IndexFunc(reached, func(r Reached) bool { return r.Instance == iv.ID })
	if at < 0 {
		ci.Error = "not tried"
		return ci
	}
	got := reached[at]
	ci.Problems, ci.Warnings = append(ci.Problems, got.Problems...), append(ci.Warnings, got.Warnings...)
	if got.Err != nil {
		ci.Error = got.Err.Error()
		return ci
	}
	ci.Reached, ci.Role, ci.Version, ci.Keys = true, got.Info.Role.String(), got.Info.Version, known(got.Info.Keys)
	return ci
}

// judge adds what concerns the master as a whole.
func (r *CheckReport) judge(m Master, c ClusterInfo) {
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	warn := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	switch {
	case !c.HasQuorum:
		problem("the watchers have no quorum: %d of %d are in touch, so nothing would be done", r.Reachable, r.Watchers)
	case r.Reachable < r.Watchers:
		warn("%d of %d watchers are in touch", r.Reachable, r.Watchers)
	}
	if c.Stuck != "" {
		problem("%s", c.stuckText())
	}
	for _, text := range r.Outdated {
		warn("%s", text)
	}
	if r.Quorum > r.Watchers {
		problem("quorum %d is larger than the %d watchers, so no failover can ever be agreed on; lower it in the line \"sentinel monitor %s\"",
			r.Quorum, r.Watchers, r.Name)
	}
	if r.Watchers > 0 && r.Watchers%2 == 0 {
		warn("%d watchers bear the loss of no more of them than %d would: an odd number is better", r.Watchers, r.Watchers-1)
	}
	if len(r.Instances) < 2 {
		problem("no replica is known, so there is nothing to fail over to")
	} else if r.Chosen == nil {
		problem("no replica could be promoted if the master died now")
	}
	if m.Fence != "" && m.Fence != "off" && len(r.Instances) < 3 {
		warn("the fence is on with fewer than 2 replicas: whenever the only one is away it is relaxed, and a master that is cut off then is not fenced")
	}
	if m.State == "unadopted" {
		problem("the master has not been adopted: %s", m.Note)
	}
	if m.Settings.Mode == modeObserve {
		warn("mode observe: triwatch decides and says so, but writes nothing")
	}
}
