package sentinel_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/triwatch/triwatch/sentinel"
)

// anything feeds one router whatever may come, in any order, and holds every action
// against what was said.
type anything struct {
	t       *rapid.T
	r       *sentinel.Router
	now     sentinel.Time
	led     sentinel.Led
	index   uint64
	reg     *sentinel.Registry
	ids     []sentinel.ActionID
	commits []sentinel.Command
	seq     uint64 // of the latest ask
	warm    bool
	flown   map[sentinel.ActionID]sentinel.Do
	last    map[sentinel.InstanceID]*sentinel.Info
}

func newAnything(t *rapid.T, outer testing.TB) *anything {
	a := &anything{t: t, r: sentinel.NewRouter("w1"), reg: newRegistry(outer), last: map[sentinel.InstanceID]*sentinel.Info{}, flown: map[sentinel.ActionID]sentinel.Do{}}
	a.reg.Masters["orders"].Config.DownAfter = time.Second
	a.step(sentinel.Membership{Me: "w1", Voters: []sentinel.WatcherID{"w1", "w2", "w3"}})
	a.step(sentinel.Restored{Registry: a.reg})
	return a
}

func (a *anything) step(ev sentinel.InputEvent) {
	for _, act := range a.r.Step(sentinel.Input{At: a.now, Wall: time.Unix(1795403330, 0).Add(a.now), Event: ev}) {
		a.check(act)
	}
	for len(a.commits) > 0 {
		c := a.commits[0]
		a.commits = a.commits[1:]
		a.now += time.Millisecond
		a.apply(c)
	}
}

func (a *anything) check(act sentinel.Action) {
	switch act := act.(type) {
	case sentinel.Propose:
		if !a.led.Leading {
			a.t.Fatalf("%s proposed without leading", act.Command.Type)
		}
		if _, err := act.Command.Encode(); err != nil {
			a.t.Fatal(err)
		}
		if !a.warm || rapid.Float64Range(0, 1).Draw(a.t, "committed") < 0.8 {
			a.commits = append(a.commits, act.Command)
		}
	case sentinel.Do:
		a.ids = append(a.ids, act.ID)
		a.flown[act.ID] = act
		a.checkDo(act)
	case sentinel.SendAsk:
		a.seq = act.Ask.Seq
	case sentinel.Push:
		if !a.led.Leading {
			a.t.Fatal("pushed without leading")
		}
	}
}

func (a *anything) checkDo(d sentinel.Do) {
	c := a.r.State("orders").Committed()
	switch {
	case !a.led.Leading:
		a.t.Fatalf("%s done without leading", d.Op)
	case c.Plan == nil && !c.Adopted:
		a.t.Fatalf("%s done without a plan and without an adopted master", d.Op)
	case d.Timeout <= 0:
		a.t.Fatalf("%s without a deadline", d.Op)
	case c.Config.Observe:
		a.t.Fatalf("%s done in mode observe", d.Op)
	}
	switch d.Op {
	case sentinel.OpReplicate:
		who, to := a.last[d.Instance], a.at(d.To)
		if d.To.IsZero() || d.To.Same(sentinel.FenceAddr) || d.To.Same(d.Addr) {
			a.t.Fatalf("%s made a replica of %s", d.Addr, d.To)
		}
		if who != nil && to != nil && who.Keys > 0 && to.Keys == 0 {
			a.t.Fatalf("%s with %d keys is made a replica of an empty one", d.Addr, who.Keys)
		}
		if who != nil && who.Role == sentinel.RoleMaster {
			a.t.Fatalf("%s, a master, is made a replica before it was fenced", d.Addr)
		}
	case sentinel.OpPromote:
		if c.Plan != nil && (c.Plan.New.Instance != d.Instance || c.Plan.Phase != sentinel.PhasePromoting) {
			a.t.Fatalf("%s promoted in phase %s of a plan for %s", d.Instance, c.Plan.Phase, c.Plan.New.Instance)
		}
		if c.Plan == nil && d.Instance != c.Master.Instance {
			a.t.Fatalf("%s promoted without a plan", d.Instance)
		}
	case sentinel.OpFence:
		if i := a.last[d.Instance]; c.Plan == nil && d.Instance == c.Master.Instance && i != nil && i.Role == sentinel.RoleMaster {
			a.t.Fatal("the committed master takes writes and is fenced without a plan")
		}
	}
}

func (a *anything) at(addr sentinel.Addr) *sentinel.Info {
	for _, id := range allIDs {
		if addrOf(id) == addr {
			return a.last[id]
		}
	}
	return nil
}

func (a *anything) apply(cmd sentinel.Command) {
	a.index++
	a.step(sentinel.Applied{Index: a.index, Command: cmd})
}

func (a *anything) info() *sentinel.Info {
	t := a.t
	i := &sentinel.Info{RunID: rapid.SampledFrom([]string{"run1", "run1", "run2", ""}).Draw(t, "run"), Role: rapid.SampledFrom([]sentinel.Role{sentinel.RoleMaster,
		sentinel.RoleReplica, sentinel.RoleReplica}).Draw(t, "role"), Keys: rapid.SampledFrom([]int64{0, 5, 5}).Draw(t, "keys"), Full: true, Priority: 100, LinkDownFor: -1,
		Offset: rapid.Int64Range(0, 9).Draw(t, "offset"), ReplID: rapid.SampledFrom([]string{"i1", "i1", "i2", "i3"}).Draw(t, "replid")}
	if i.Role == sentinel.RoleReplica {
		i.Master = addrOf(rapid.SampledFrom(allIDs).Draw(t, "of"))
		if rapid.Bool().Draw(t, "fenced") {
			i.Master = sentinel.FenceAddr
		}
		i.LinkUp = i.Master != sentinel.FenceAddr && rapid.Bool().Draw(t, "link")
	}
	for _, id := range allIDs[1:] {
		i.Replicas = append(i.Replicas, sentinel.Attached{Addr: addrOf(id), Online: true, Offset: i.Offset})
	}
	return i
}

func (a *anything) probe() {
	t := a.t
	id := rapid.SampledFrom(allIDs).Draw(t, "instance")
	p := sentinel.Probe{Master: "orders", Instance: id, Addr: addrOf(id), Asked: a.now, Lost: rapid.Bool().Draw(t, "lost"),
		Reply: rapid.SampledFrom([]sentinel.Reply{sentinel.ReplyOK, sentinel.ReplyOK, sentinel.ReplyOK, sentinel.ReplyRefused, sentinel.ReplyTimeout, sentinel.ReplyAuth,
			sentinel.ReplyLoading}).Draw(t, "reply")}
	if p.Reply == sentinel.ReplyOK && rapid.Bool().Draw(t, "with info") {
		p.Info = a.info()
		a.last[id] = p.Info
	}
	a.step(p)
}

func (a *anything) done() {
	t := a.t
	ev := sentinel.Done{Master: "orders", ID: sentinel.ActionID(rapid.IntRange(0, 3).Draw(t, "any id")), Result: sentinel.Outcome(rapid.IntRange(0, 4).Draw(t, "result"))}
	if len(a.ids) > 0 && rapid.Bool().Draw(t, "known id") {
		ev.ID = rapid.SampledFrom(a.ids).Draw(t, "id")
	}
	if d, ok := a.flown[ev.ID]; ok && rapid.Float64Range(0, 1).Draw(t, "truly") < 0.8 {
		ev.Result, ev.Info = sentinel.OutcomeOK, a.after(d)
		if d.Op != sentinel.OpSetPing { // what comes with it is not looked at
			a.last[d.Instance] = ev.Info
		}
	} else if rapid.Bool().Draw(t, "with info") {
		ev.Info = a.info()
		// Whose info it is stays open here: forget what is known of everybody.
		a.last = map[sentinel.InstanceID]*sentinel.Info{}
	}
	delete(a.flown, ev.ID)
	a.step(ev)
}

// after is what an instance says after a write that was carried out.
func (a *anything) after(d sentinel.Do) *sentinel.Info {
	i := a.info()
	if was := a.last[d.Instance]; was != nil {
		j := *was
		i = &j
	}
	switch d.Op {
	case sentinel.OpPromote, sentinel.OpUnfence:
		i.Role, i.Master, i.LinkUp = sentinel.RoleMaster, sentinel.Addr{}, false
	case sentinel.OpReplicate:
		i.Role, i.Master, i.LinkUp = sentinel.RoleReplica, d.To, true
	case sentinel.OpFence:
		i.Role, i.Master, i.LinkUp = sentinel.RoleReplica, sentinel.FenceAddr, false
	}
	return i
}

func (a *anything) report() {
	t := a.t
	c := a.r.State("orders").Committed()
	r := sentinel.Report{Master: "orders", Epoch: c.Master.Epoch, Addr: c.Master.Addr, Seq: a.seq - rapid.Uint64Range(0, 2).Draw(t, "seq"), Fresh: rapid.Bool().Draw(t, "fresh")}
	for _, m := range c.Members {
		r.Instances = append(r.Instances, sentinel.InstanceReport{ID: m.ID, Addr: m.Addr, Health: sentinel.Health(rapid.IntRange(0, 4).Draw(t, "health")),
			Silent: rapid.SampledFrom([]time.Duration{0, time.Second, 3 * time.Second}).Draw(t, "silent"), RunID: rapid.SampledFrom([]string{"", "run1", "run2"}).Draw(t, "run"),
			Witness: sentinel.Witness(rapid.IntRange(0, 5).Draw(t, "witness"))})
	}
	a.step(sentinel.PeerReport{From: rapid.SampledFrom([]sentinel.WatcherID{"w1", "w2", "w3", "w9"}).Draw(t, "from"), Report: r})
}

func (a *anything) lead() {
	a.led = sentinel.Led{Leading: !a.warm || rapid.Float64Range(0, 1).Draw(a.t, "leads") < 0.8, Term: a.led.Term + 1}
	a.step(a.led)
}

// warmUp leads a master with two replicas, adopted and in sync.
func (a *anything) warmUp() {
	a.lead()
	for range 3 {
		for n, id := range allIDs[:3] {
			a.now += 10 * time.Millisecond
			i := &sentinel.Info{RunID: "run1", Role: sentinel.RoleMaster, Keys: 5, Full: true, Priority: 100, LinkDownFor: -1, Offset: 5, ReplID: "i1"}
			if n > 0 {
				i.Role, i.Master, i.LinkUp = sentinel.RoleReplica, addrOf("a"), true
			} else {
				i.Replicas = []sentinel.Attached{{Addr: addrOf("b"), Online: true, Offset: 5}, {Addr: addrOf("c"), Online: true, Offset: 5}}
			}
			a.last[id] = i
			a.step(sentinel.Probe{Master: "orders", Instance: id, Addr: addrOf(id), Asked: a.now, Reply: sentinel.ReplyOK, Info: i})
		}
	}
	if c := a.r.State("orders").Committed(); !c.Adopted {
		a.t.Fatal("not adopted after three rounds of good answers")
	}
	a.warm = true
}

// fails lets one instance look gone for good, to everybody.
func (a *anything) fails() {
	id := rapid.SampledFrom(allIDs[:3]).Draw(a.t, "gone")
	a.now += time.Millisecond
	a.step(sentinel.Probe{Master: "orders", Instance: id, Addr: addrOf(id), Asked: a.now, Reply: sentinel.ReplyRefused, Lost: true})
	c := a.r.State("orders").Committed()
	for _, fresh := range []bool{false, true} {
		a.now += 2 * time.Millisecond
		for _, who := range allIDs[:3] {
			if i := a.last[who]; i != nil && who != id {
				j := *i
				j.LinkUp = false
				a.last[who] = &j
				a.step(sentinel.Probe{Master: "orders", Instance: who, Addr: addrOf(who), Asked: a.now, Reply: sentinel.ReplyOK, Info: &j})
			}
		}
		for _, w := range []sentinel.WatcherID{"w2", "w3"} {
			r := sentinel.Report{Master: "orders", Epoch: c.Master.Epoch, Addr: c.Master.Addr, Seq: a.seq, Fresh: fresh}
			for _, m := range c.Members {
				i := sentinel.InstanceReport{ID: m.ID, Addr: m.Addr, Health: sentinel.HealthUp, Witness: sentinel.WitnessLost}
				if m.ID == id {
					i.Health, i.Witness = sentinel.HealthCrashed, sentinel.WitnessNone
				}
				r.Instances = append(r.Instances, i)
			}
			a.step(sentinel.PeerReport{From: w, Report: r})
		}
	}
}

func (a *anything) once() {
	t := a.t
	a.now += rapid.SampledFrom([]time.Duration{0, time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, 1100 * time.Millisecond}).Draw(t, "later")
	switch rapid.SampledFrom([]string{"probe", "probe", "probe", "probe", "probe", "done", "done", "report", "report", "done", "done", "done", "tick", "tick", "fails", "lead", "apply", "request", "ask", "proposed", "pushed"}).Draw(t, "event") {
	case "probe":
		a.probe()
	case "done":
		a.done()
	case "report":
		a.report()
	case "fails":
		a.fails()
	case "lead":
		a.lead()
	case "apply":
		cmd := drawCommand(t, a.r.State("orders").Committed())
		if cmd.Type != "teleport" {
			a.apply(cmd)
		}
	case "request":
		a.step(sentinel.Request{ID: 1, Master: "orders", Kind: sentinel.RequestKind(rapid.IntRange(0, 3).Draw(t, "kind"))})
	case "ask":
		a.step(sentinel.PeerAsk{From: "w2", Ask: sentinel.Ask{Master: "orders", Seq: rapid.Uint64().Draw(t, "seq"), Fresh: rapid.Bool().Draw(t, "fresh"), Suspect: rapid.Bool().Draw(t, "suspect")}})
	case "proposed":
		a.step(sentinel.Proposed{Master: "orders", Epoch: a.r.State("orders").Committed().Last, Type: rapid.SampledFrom([]sentinel.CommandType{sentinel.CmdBegin,
			sentinel.CmdAdvance, sentinel.CmdDone}).Draw(t, "type"), Result: sentinel.Outcome(rapid.IntRange(0, 4).Draw(t, "result"))})
	case "pushed":
		id := rapid.SampledFrom(allIDs).Draw(t, "pushed")
		a.step(sentinel.Pushed{Master: "orders", Assignment: sentinel.Assignment{Epoch: sentinel.Epoch(rapid.IntRange(0, 3).Draw(t, "epoch")), Instance: id, Addr: addrOf(id)}})
	case "tick":
		for n := 0; a.r.Deadline() <= a.now; n++ {
			if n > 3 {
				t.Fatal("it wants to be called again at once, for ever")
			}
			a.step(nil)
		}
	}
	a.r.State("orders").View()
}

func TestAnyInputIsTakenWithoutPanicAndWithoutWritingOutOfTurn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := newAnything(rt, t)
		a.warmUp()
		for range rapid.IntRange(10, 80).Draw(rt, "inputs") {
			a.once()
		}
	})
}

func TestFollowerNeverProposesNorWrites(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := newAnything(rt, t)
		for range rapid.IntRange(10, 60).Draw(rt, "inputs") {
			a.led = sentinel.Led{Term: a.led.Term}
			if rt.Failed() {
				return
			}
			switch rapid.IntRange(0, 3).Draw(rt, "event") {
			case 0, 1:
				a.now += 100 * time.Millisecond
				a.probe()
			case 2:
				a.report()
			case 3:
				a.apply(drawCommandOf(rt, a))
			}
		}
	})
}

func drawCommandOf(t *rapid.T, a *anything) sentinel.Command {
	for {
		if c := drawCommand(t, a.r.State("orders").Committed()); c.Type != "teleport" {
			return c
		}
	}
}
