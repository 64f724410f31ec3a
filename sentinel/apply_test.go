package sentinel_test

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

// The log is the last to refuse what a leader that lost its leadership, or has a mistake,
// proposes: each of these is refused whatever the leader believed, and changes nothing.
func TestLogRefusesWhatBreaksAPlan(t *testing.T) {
	at := func(host string, epoch sentinel.Epoch) sentinel.Assignment {
		a := sentinel.Addr{Host: host, Port: 6379}
		return sentinel.Assignment{Epoch: epoch, Instance: sentinel.InstanceID(host), Addr: a}
	}
	member := func(host string) sentinel.Member {
		return sentinel.Member{ID: sentinel.InstanceID(host), Addr: at(host, 0).Addr}
	}
	begin := func(epoch sentinel.Epoch, old, to string, of sentinel.Epoch, kind sentinel.Kind) sentinel.Command {
		return sentinel.Command{Type: sentinel.CmdBegin, Epoch: epoch, Plan: &sentinel.Plan{Epoch: epoch, Kind: kind, Old: at(old, of), New: at(to, epoch)}}
	}
	advance := func(epoch sentinel.Epoch, p sentinel.Phase) sentinel.Command {
		return sentinel.Command{Type: sentinel.CmdAdvance, Epoch: epoch, Phase: p, Lineage: sentinel.Lineage{RunID: "run", ReplID: "id"}}
	}
	abort := func(epoch sentinel.Epoch, p sentinel.Phase) sentinel.Command {
		return sentinel.Command{Type: sentinel.CmdAbort, Epoch: epoch, Phase: p}
	}
	done := sentinel.Command{Type: sentinel.CmdDone, Epoch: 1}
	handover, failover := begin(1, "r1", "r2", 0, sentinel.KindHandover), begin(1, "r1", "r2", 0, sentinel.KindFailover)
	moved := member("r2")
	moved.Addr.Port = 6380
	for _, c := range []struct {
		name   string
		before []sentinel.Command
		cmd    sentinel.Command
		why    string
	}{
		{"a plan while one is open", []sentinel.Command{failover}, begin(2, "r1", "r3", 0, sentinel.KindFailover), "is open"},
		{"an epoch that was used", []sentinel.Command{failover, abort(1, 0)}, failover, "does not follow"},
		{"an epoch that is left out", nil, begin(2, "r1", "r2", 0, sentinel.KindFailover), "does not follow"},
		{"a plan about an earlier master", []sentinel.Command{failover, advance(1, sentinel.PhasePromoted), done}, begin(2, "r1", "r3", 0, sentinel.KindFailover), "by now"},
		{"a plan for the master itself", nil, begin(1, "r1", "r1", 0, sentinel.KindFailover), "is not a replica"},
		{"a phase that is left out", []sentinel.Command{handover}, advance(1, sentinel.PhasePromoted), "does not follow"},
		{"a phase a second time", []sentinel.Command{failover, advance(1, sentinel.PhasePromoted)}, advance(1, sentinel.PhasePromoted), "does not follow"},
		{"a phase of another epoch", []sentinel.Command{failover}, advance(2, sentinel.PhasePromoted), "no open plan"},
		{"the abort of what is promoted", []sentinel.Command{failover, advance(1, sentinel.PhasePromoted)}, abort(1, 0), "can only be done"},
		{"an abort that was decided in an earlier phase", []sentinel.Command{handover, advance(1, sentinel.PhasePromoting)}, abort(1, sentinel.PhaseFencing), "by now"},
		{"the end of what is not promoted", []sentinel.Command{failover}, done, "not promoted"},
		{"another address of the candidate", []sentinel.Command{failover}, sentinel.Command{Type: sentinel.CmdPods, Members: []sentinel.Member{moved}}, "part of the open plan"},
		{"the candidate's removal", []sentinel.Command{failover}, sentinel.Command{Type: sentinel.CmdPods, Removed: []sentinel.InstanceID{"r2"}}, "part of the open plan"},
		{"the master's removal", nil, sentinel.Command{Type: sentinel.CmdPods, Removed: []sentinel.InstanceID{"r1"}}, "is the master"},
		{"a release in a plan", []sentinel.Command{failover}, sentinel.Command{Type: sentinel.CmdRelease, Released: true}, "is open"},
		{"an adoption in a plan", []sentinel.Command{failover}, sentinel.Command{Type: sentinel.CmdAdopt, At: at("r3", 2)}, "is open"},
		{"a person's choice in a plan", []sentinel.Command{failover}, sentinel.Command{Type: sentinel.CmdChoose, At: at("r3", 2)}, "is open"},
		{"a person's choice with an epoch that was used", []sentinel.Command{failover, abort(1, 0)}, sentinel.Command{Type: sentinel.CmdChoose, At: at("r3", 1)}, "does not follow"},
		{"a lineage of an earlier master", []sentinel.Command{failover, advance(1, sentinel.PhasePromoted), done}, sentinel.Command{Type: sentinel.CmdLineage, Epoch: 0, Lineage: sentinel.Lineage{RunID: "x", ReplID: "y"}}, "is not the master's"},
	} {
		com := sentinel.Committed{Name: masterName, Config: sentinel.DefaultConfig(), Pods: true, Adopted: true, Master: at("r1", 0),
			Members: []sentinel.Member{member("r1"), member("r2"), member("r3")}}
		for i, cmd := range c.before {
			if res := com.Apply(cmd); !res.Accepted {
				t.Fatalf("%s: command %d: %s", c.name, i+1, res.Reason)
			}
		}
		res := com.Apply(c.cmd)
		if res.Accepted || !strings.Contains(res.Reason, c.why) {
			t.Errorf("%s: accepted=%v, %q, not %q", c.name, res.Accepted, res.Reason, c.why)
		}
	}
}

// A floor that is lower than what was used takes no epoch back.
func TestFloorNeverLowersTheLastEpoch(t *testing.T) {
	com := sentinel.Committed{Name: masterName, Last: 9}
	for floor, want := range map[sentinel.Epoch]sentinel.Epoch{5: 9, 12: 12} {
		c := com.Clone()
		if res := c.Apply(sentinel.Command{Type: sentinel.CmdFloor, Epoch: floor}); !res.Accepted || c.Last != want {
			t.Errorf("floor %s: last %s, not %s (%s)", floor, c.Last, want, res.Reason)
		}
	}
}

func TestHandoverBeginsWithTheFenceAndAFailoverWithThePromotion(t *testing.T) {
	for kind, want := range map[sentinel.Kind]sentinel.Phase{sentinel.KindHandover: sentinel.PhaseFencing, sentinel.KindFailover: sentinel.PhasePromoting} {
		com := sentinel.Committed{Name: masterName, Master: sentinel.Assignment{Instance: "r1"}, Members: []sentinel.Member{{ID: "r1"}, {ID: "r2"}}}
		com.Apply(sentinel.Command{Type: sentinel.CmdBegin, Epoch: 1, Plan: &sentinel.Plan{Epoch: 1, Kind: kind, Old: com.Master, New: sentinel.Assignment{Instance: "r2"}}})
		if com.Plan == nil || com.Plan.Phase != want {
			t.Errorf("%s: %+v, not %s", kind, com.Plan, want)
		}
	}
}
