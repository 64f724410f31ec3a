package sentinel_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/triwatch/triwatch/sentinel"
)

var allIDs = []sentinel.InstanceID{"a", "b", "c", "d"}

func addrOf(id sentinel.InstanceID) sentinel.Addr {
	return sentinel.Addr{Host: "10.0.0." + fmt.Sprint(1+slices.Index(allIDs, id)), Port: 6379}
}

// drawCommand draws a command that is often right, and often nearly so.
func drawCommand(t *rapid.T, c *sentinel.Committed) sentinel.Command {
	id := rapid.SampledFrom(allIDs)
	epoch := func(label string) sentinel.Epoch {
		return sentinel.Epoch(max(0, int64(c.Last)+rapid.Int64Range(-1, 2).Draw(t, label)))
	}
	open := epoch("epoch")
	if c.Plan != nil && rapid.Bool().Draw(t, "of the plan") {
		open = c.Plan.Epoch
	}
	cmd := sentinel.Command{Level: 1, Master: c.Name, Epoch: open, Type: rapid.SampledFrom([]sentinel.CommandType{sentinel.CmdAdopt, sentinel.CmdMembers,
		sentinel.CmdTuned, sentinel.CmdLineage, sentinel.CmdBegin, sentinel.CmdBegin, sentinel.CmdAdvance, sentinel.CmdAdvance, sentinel.CmdDone, sentinel.CmdAbort,
		sentinel.CmdNote, "teleport"}).Draw(t, "type")}
	cmd.Reason = rapid.SampledFrom([]string{"", "fenced", "for a test"}).Draw(t, "reason")
	cmd.Lineage = sentinel.Lineage{RunID: rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "run"), ReplID: rapid.SampledFrom([]string{"", "i1", "i2", "i3"}).Draw(t, "replid")}
	cmd.Notes = []sentinel.Note{{What: "note", Text: cmd.Reason}}
	switch cmd.Type {
	case sentinel.CmdAdopt:
		who := id.Draw(t, "at")
		cmd.At = sentinel.Assignment{Epoch: epoch("at epoch"), Instance: who, Addr: addrOf(who)}
	case sentinel.CmdMembers:
		who := id.Draw(t, "added")
		cmd.Members = []sentinel.Member{{ID: who, Addr: addrOf(who)}}
		if rapid.Bool().Draw(t, "remove") {
			cmd.Removed = []sentinel.InstanceID{id.Draw(t, "removed")}
		}
	case sentinel.CmdTuned:
		cmd.Instance, cmd.Was, cmd.Now = id.Draw(t, "tuned"), 10, 1
	case sentinel.CmdBegin:
		who := id.Draw(t, "candidate")
		p := sentinel.Plan{Epoch: epoch("plan epoch"), Kind: rapid.SampledFrom([]sentinel.Kind{sentinel.KindFailover, sentinel.KindHandover}).Draw(t, "kind"),
			Old: c.Master, New: sentinel.Assignment{Instance: who, Addr: addrOf(who)}}
		p.New.Epoch = p.Epoch
		if rapid.Float64Range(0, 1).Draw(t, "stale") < 0.1 {
			p.Old.Epoch++
		}
		if rapid.Float64Range(0, 1).Draw(t, "no plan") > 0.05 {
			cmd.Plan = &p
		}
	case sentinel.CmdAdvance:
		cmd.Phase = rapid.SampledFrom([]sentinel.Phase{sentinel.PhaseUnknown, sentinel.PhaseFencing, sentinel.PhasePromoting, sentinel.PhasePromoted,
			sentinel.PhasePromoted, sentinel.PhaseDone}).Draw(t, "phase")
	case sentinel.CmdNote:
		if rapid.Bool().Draw(t, "record") {
			cmd.Record = &sentinel.Record{Kind: "held"}
		}
	}
	return cmd
}

// frozen is a deep copy by way of the snapshot's bytes.
func frozen(t testing.TB, r *sentinel.Registry) (*sentinel.Registry, string) {
	t.Helper()
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := sentinel.UnmarshalRegistry(b)
	if err != nil {
		t.Fatal(err)
	}
	return back, string(b)
}

func TestAnySequenceOfCommandsKeepsTheInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegistry(t)
		used := map[sentinel.Epoch]sentinel.InstanceID{}
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			c := r.Masters["orders"]
			cmd := drawCommand(rt, c)
			_, before := frozen(t, r)
			kept := c.Clone()
			was := c.Clone()
			res := r.Apply(cmd)
			_, after := frozen(t, r)
			if !res.Accepted {
				if res.Reason == "" {
					rt.Fatalf("%s refused without a reason", cmd.Type)
				}
				if before != after {
					rt.Fatalf("%s was refused (%s) and changed\n%s\nto\n%s", cmd.Type, res.Reason, before, after)
				}
				continue
			}
			if one, _ := (&sentinel.Registry{Masters: map[string]*sentinel.Committed{"orders": &kept}}).Marshal(); string(one) != before {
				rt.Fatalf("%s changed what a clone holds:\n%s\nto\n%s", cmd.Type, before, one)
			}
			checkStep(rt, &was, c, cmd, used)
		}
	})
}

func checkStep(t *rapid.T, was, c *sentinel.Committed, cmd sentinel.Command, used map[sentinel.Epoch]sentinel.InstanceID) {
	if c.Last < was.Last || c.Master.Epoch < was.Master.Epoch || c.Master.Epoch > c.Last {
		t.Fatalf("%s: epochs went from %s/%s to %s/%s", cmd.Type, was.Master.Epoch, was.Last, c.Master.Epoch, c.Last)
	}
	if c.Master != was.Master && c.Master.Instance != was.Master.Instance && c.Master.Epoch == was.Master.Epoch {
		t.Fatalf("%s: two masters of epoch %s", cmd.Type, c.Master.Epoch)
	}
	if c.Member(c.Master.Instance) == nil {
		t.Fatalf("%s: the master is no member", cmd.Type)
	}
	if !slices.IsSortedFunc(c.Members, func(a, b sentinel.Member) int { return compare(a.ID, b.ID) }) {
		t.Fatalf("%s: members are not in order", cmd.Type)
	}
	p := c.Plan
	if p == nil {
		return
	}
	if owner, ok := used[p.Epoch]; ok && owner != p.New.Instance {
		t.Fatalf("epoch %s was for %s and is for %s", p.Epoch, owner, p.New.Instance)
	}
	used[p.Epoch] = p.New.Instance
	if was.Plan != nil && (was.Plan.Epoch != p.Epoch || was.Plan.New != p.New || was.Plan.Kind != p.Kind) {
		t.Fatalf("%s: the open plan was changed from %+v to %+v", cmd.Type, was.Plan, p)
	}
	if was.Plan != nil && p.Phase < was.Plan.Phase {
		t.Fatalf("%s: the phase went back from %s to %s", cmd.Type, was.Plan.Phase, p.Phase)
	}
	if was.Plan == nil && p.Epoch <= was.Last {
		t.Fatalf("epoch %s is used again", p.Epoch)
	}
	if c.Member(p.New.Instance) == nil {
		t.Fatalf("%s: the candidate is no member", cmd.Type)
	}
	if (p.Phase == sentinel.PhasePromoted) != (c.Master == p.New) {
		t.Fatalf("%s: phase %s with master %s", cmd.Type, p.Phase, c.Master.Addr)
	}
}

func compare(a, b sentinel.InstanceID) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func TestSnapshotsComeBackIdentical(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegistry(t)
		for range rapid.IntRange(0, 30).Draw(rt, "commands") {
			r.Apply(drawCommand(rt, r.Masters["orders"]))
		}
		back, bytes := frozen(t, r)
		if _, again := frozen(t, back); again != bytes {
			rt.Fatalf("%s\ncame back as\n%s", bytes, again)
		}
		// And both go on in the same way.
		for range 10 {
			cmd := drawCommand(rt, r.Masters["orders"])
			if a, b := r.Apply(cmd), back.Apply(cmd); !reflect.DeepEqual(a, b) {
				rt.Fatalf("%s: %+v and after a snapshot %+v", cmd.Type, a, b)
			}
		}
		_, x := frozen(t, r)
		if _, y := frozen(t, back); x != y {
			rt.Fatalf("%s\nand after a snapshot\n%s", x, y)
		}
	})
}

func TestEpochOfAClosedPlanIsNeverUsedAgain(t *testing.T) {
	r := newRegistry(t)
	c := r.Masters["orders"]
	begin := func(e sentinel.Epoch, who sentinel.InstanceID) sentinel.Result {
		a := sentinel.Assignment{Epoch: e, Instance: who, Addr: addrOf(who)}
		return r.Apply(sentinel.Command{Type: sentinel.CmdBegin, Master: "orders", Epoch: e, Plan: &sentinel.Plan{Epoch: e, Kind: sentinel.KindFailover, Old: c.Master, New: a}})
	}
	if res := begin(1, "b"); !res.Accepted {
		t.Fatal(res.Reason)
	}
	if res := begin(2, "c"); res.Accepted {
		t.Error("a second plan was opened")
	}
	if res := r.Apply(sentinel.Command{Type: sentinel.CmdAbort, Master: "orders", Epoch: 1}); !res.Accepted {
		t.Fatal(res.Reason)
	}
	if res := begin(1, "c"); res.Accepted {
		t.Error("epoch 1 was used twice")
	}
	if res := begin(3, "c"); res.Accepted {
		t.Error("an epoch was left out")
	}
	if res := begin(2, "c"); !res.Accepted {
		t.Error(res.Reason)
	}
}
