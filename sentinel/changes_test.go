package sentinel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// clerk is a leader's router whose proposals the test commits when it wants.
type clerk struct {
	t        *testing.T
	r        *sentinel.Router
	reg      *sentinel.Registry
	now      sentinel.Time
	proposed []sentinel.Command
	answers  map[uint64]sentinel.Answer
	events   []string
}

func newClerk(t *testing.T) *clerk {
	c := &clerk{t: t, r: sentinel.NewRouter("w1"), reg: sentinel.NewRegistry(), answers: map[uint64]sentinel.Answer{}}
	c.step(sentinel.Membership{Me: "w1", Voters: []sentinel.WatcherID{"w1", "w2", "w3"}})
	c.step(sentinel.Led{Leading: true, Term: 1})
	return c
}

func (c *clerk) step(ev sentinel.InputEvent) {
	c.now += time.Millisecond
	for _, a := range c.r.Step(sentinel.Input{At: c.now, Wall: time.Unix(1_700_000_000, 0).Add(c.now).UTC(), Event: ev}) {
		switch a := a.(type) {
		case sentinel.Propose:
			c.proposed = append(c.proposed, a.Command)
		case sentinel.Answer:
			c.answers[a.ID] = a
		case sentinel.Emit:
			c.events = append(c.events, string(a.Event.Name)+" "+a.Event.Payload)
		}
	}
}

// commit commits the oldest proposal, as every watcher does: through the log's bytes.
func (c *clerk) commit() sentinel.Result {
	c.t.Helper()
	if len(c.proposed) == 0 {
		c.t.Fatal("nothing is proposed")
	}
	cmd := c.proposed[0]
	c.proposed = c.proposed[1:]
	b, err := cmd.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	if cmd, err = sentinel.DecodeCommand(b); err != nil {
		c.t.Fatal(err)
	}
	res := c.reg.Apply(cmd)
	c.step(sentinel.Applied{Command: cmd})
	// The router and the registry must never disagree about what is watched.
	for name := range c.reg.Masters {
		if c.r.State(name) == nil {
			c.t.Fatalf("after %s the router lacks %s", cmd.Type, name)
		}
	}
	if len(c.r.Names()) != len(c.reg.Masters) {
		c.t.Fatalf("after %s the router has %v, the registry %v", cmd.Type, c.r.Names(), c.reg.Names())
	}
	return res
}

func (c *clerk) ask(id uint64, q sentinel.Request) {
	q.ID = id
	c.step(q)
}

func (c *clerk) answered(id uint64, r sentinel.Outcome, code string) {
	c.t.Helper()
	if a, ok := c.answers[id]; !ok || a.Result != r || a.Code != code {
		c.t.Fatalf("request %d: answered %v: %+v, want %s %q", id, ok, a, r, code)
	}
}

func monitorCarts(port int) sentinel.Request {
	cfg := sentinel.DefaultConfig()
	return sentinel.Request{Master: "carts", Kind: sentinel.RequestMonitor, Addr: sentinel.Addr{Host: "10.0.0.1", Port: port}, Config: &cfg}
}

func TestMonitorRemoveAndMonitorAgainNeverUseAnEpochTwice(t *testing.T) {
	c := newClerk(t)
	c.ask(1, monitorCarts(6379))
	if _, early := c.answers[1]; early {
		t.Fatal("answered before it is committed")
	}
	c.commit()
	c.answered(1, sentinel.OutcomeOK, "")
	c.ask(2, monitorCarts(6379))
	c.answered(2, sentinel.OutcomeOK, sentinel.CodeKnown)
	c.ask(3, monitorCarts(6380))
	c.answered(3, sentinel.OutcomeRefused, sentinel.CodeDuplicate)

	c.reg.Masters["carts"].Last = 7 // as after seven plans
	reg := sentinel.NewRegistry()
	com := c.reg.Masters["carts"].Clone()
	reg.Masters["carts"] = &com
	c.r = sentinel.NewRouter("w1")
	c.step(sentinel.Membership{Me: "w1", Voters: []sentinel.WatcherID{"w1", "w2", "w3"}})
	c.step(sentinel.Restored{Registry: reg})
	c.step(sentinel.Led{Leading: true, Term: 2})
	c.ask(4, sentinel.Request{Master: "carts", Kind: sentinel.RequestRemove})
	c.commit()
	c.answered(4, sentinel.OutcomeOK, "")
	c.ask(5, sentinel.Request{Master: "carts", Kind: sentinel.RequestRemove})
	c.answered(5, sentinel.OutcomeOK, sentinel.CodeRemoved)
	c.ask(6, sentinel.Request{Master: "nobody", Kind: sentinel.RequestRemove})
	c.answered(6, sentinel.OutcomeRefused, "NOMASTER")

	// A file that still names it does not bring it back, a client does.
	cfg := sentinel.DefaultConfig()
	stale := sentinel.Command{Type: sentinel.CmdMonitor, Master: "carts", Config: &cfg, At: sentinel.Assignment{Instance: "x", Addr: sentinel.Addr{Host: "10.0.0.1", Port: 1}}}
	c.step(sentinel.Wanted{Monitors: []sentinel.Command{stale}})
	if len(c.proposed) != 0 {
		t.Fatalf("proposed: %+v", c.proposed)
	}
	if res := c.reg.Apply(stale); res.Accepted {
		t.Fatal("a stale file brings a removed master back")
	}
	c.ask(7, monitorCarts(6379))
	c.commit()
	c.answered(7, sentinel.OutcomeOK, "")
	for where, com := range map[string]sentinel.Committed{"registry": *c.reg.Masters["carts"], "router": *c.r.State("carts").Committed()} {
		if com.Last != 7 || com.Master.Epoch != 7 {
			t.Errorf("%s: epochs begin again: last %s, master %s", where, com.Last, com.Master.Epoch)
		}
	}
	if len(c.reg.Removed) != 0 {
		t.Errorf("the mark stays: %v", c.reg.Removed)
	}
}

func TestChangesAreMadeOneAfterTheOther(t *testing.T) {
	c := newClerk(t)
	c.ask(1, monitorCarts(6379))
	c.commit()
	c.ask(2, sentinel.Request{Master: "carts", Kind: sentinel.RequestSet, Settings: sentinel.Settings{Quorum: 3}})
	c.ask(3, sentinel.Request{Master: "carts", Kind: sentinel.RequestSet, Settings: sentinel.Settings{ParallelSyncs: 5}, Options: sentinel.Options{"auth-pass": "s3cret"}})
	c.ask(4, sentinel.Request{Master: "carts", Kind: sentinel.RequestSet, Settings: sentinel.Settings{Quorum: 4}})
	if len(c.proposed) != 1 {
		t.Fatalf("%d proposals at a time", len(c.proposed))
	}
	c.commit()
	c.answered(2, sentinel.OutcomeOK, "")
	c.commit()
	c.answered(3, sentinel.OutcomeOK, "")
	c.answered(4, sentinel.OutcomeRefused, sentinel.CodeInvalid)
	com := c.reg.Masters["carts"]
	if com.Config.Quorum != 3 || com.Config.ParallelSyncs != 5 || com.Options["auth-pass"] != "s3cret" {
		t.Errorf("one change undid another: %+v %v", com.Config, com.Options)
	}
	want := []string{"+set master carts 10.0.0.1 6379 quorum 3", "+set master carts 10.0.0.1 6379 parallel-syncs 5", "+set master carts 10.0.0.1 6379 auth-pass ******"}
	if got := c.events[len(c.events)-3:]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events %q", got)
	}
	c.ask(5, sentinel.Request{Master: "carts", Kind: sentinel.RequestSet, Settings: sentinel.Settings{Quorum: 3}})
	c.answered(5, sentinel.OutcomeOK, sentinel.CodeKnown)
}

func TestChangeThatIsNotCommittedIsAnswered(t *testing.T) {
	c := newClerk(t)
	c.ask(1, monitorCarts(6379))
	c.ask(2, monitorCarts(6379))
	p := c.proposed[0]
	c.proposed = nil
	c.step(sentinel.Proposed{Master: p.Master, Type: p.Type, Result: sentinel.OutcomeUnknown})
	c.answered(1, sentinel.OutcomeUnknown, "")
	if len(c.proposed) != 1 {
		t.Fatal("the next in the queue is not proposed")
	}
	c.ask(3, monitorCarts(6379))
	c.step(sentinel.Led{Leading: false, Term: 1})
	c.answered(2, sentinel.OutcomeUnknown, "")
	c.answered(3, sentinel.OutcomeNotLeader, "")
	c.ask(4, monitorCarts(6379))
	c.answered(4, sentinel.OutcomeNotLeader, "")
}

// Who asks for what is possible in a moment is told to ask again.
func TestChangeThatIsPossibleSoonIsToBeAskedForAgain(t *testing.T) {
	c := newClerk(t)
	c.ask(1, monitorCarts(6379))
	p := c.proposed[0]
	c.step(sentinel.Proposed{Master: p.Master, Type: p.Type, Result: sentinel.OutcomeRefused, Soon: true})
	c.answered(1, sentinel.OutcomeRefused, sentinel.CodeUnheard)
}
