package sentinel_test

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

// fitReplica is a candidate that nothing speaks against.
func fitReplica(name string) sentinel.Candidate {
	return sentinel.Candidate{ID: sentinel.InstanceID(name), Name: name, Addr: sentinel.Addr{Host: name, Port: 6379}, Health: sentinel.HealthUp, Reply: sentinel.ReplyOK,
		Info: &sentinel.Info{Role: sentinel.RoleReplica, ReplID: "ours", Offset: 100, Keys: 10, Priority: 100, LinkDownFor: 1}}
}

// Invariant 4, reason by reason: each alone keeps an instance from being promoted.
func TestEveryReasonAloneKeepsAnInstanceFromBeingPromoted(t *testing.T) {
	for why, spoil := range map[string]func(c *sentinel.Candidate){
		"its pod is gone":                    func(c *sentinel.Candidate) { c.Gone = true },
		"its pod is being deleted":           func(c *sentinel.Candidate) { c.Deleting = true },
		"down: connection refused":           func(c *sentinel.Candidate) { c.Health = sentinel.HealthCrashed },
		"down: time-out":                     func(c *sentinel.Candidate) { c.Health, c.Reply = sentinel.HealthDown, sentinel.ReplyTimeout },
		"not answering":                      func(c *sentinel.Candidate) { c.Health = sentinel.HealthSuspect },
		"loading":                            func(c *sentinel.Candidate) { c.Info.Loading = true },
		"auth refused":                       func(c *sentinel.Candidate) { c.Reply = sentinel.ReplyAuth },
		"has not answered INFO":              func(c *sentinel.Candidate) { c.Stale = true },
		"full sync":                          func(c *sentinel.Candidate) { c.Info.Syncing = true },
		"is a master itself":                 func(c *sentinel.Candidate) { c.Info.Role = sentinel.RoleMaster },
		"priority 0":                         func(c *sentinel.Candidate) { c.Info.Priority = 0 },
		"foreign lineage":                    func(c *sentinel.Candidate) { c.Info.ReplID = "theirs" },
		"empty, while another copy has data": func(c *sentinel.Candidate) { c.Info.Keys, c.Info.Offset = 0, 50 },
		"never synced":                       func(c *sentinel.Candidate) { c.Info.Keys, c.Info.Offset, c.Info.LinkDownFor = -1, 1, -1 },
	} {
		bad, good := fitReplica("a"), fitReplica("b")
		bad.Info.Offset += 1000 // it would be the better one
		spoil(&bad)
		choice := sentinel.Choose([]sentinel.Candidate{bad, good}, ours, "")
		if choice.Best == nil || choice.Best.ID != good.ID || len(choice.LeftOut) != 1 || !strings.HasPrefix(choice.LeftOut[0].Why, why) {
			t.Errorf("%s: chosen %v, left out %+v", why, choice.Best, choice.LeftOut)
		}
		if alone := sentinel.Choose([]sentinel.Candidate{bad}, ours, ""); alone.Best != nil && !strings.HasPrefix(why, "empty") {
			t.Errorf("%s: chosen where there is nobody else", why)
		}
	}
}

// The second id of a replica that followed another for a moment is of the data set as well.
func TestReplicaOfTheDataSetByItsSecondIDIsAllowed(t *testing.T) {
	c := fitReplica("a")
	c.Info.ReplID, c.Info.ReplID2 = "new", "ours"
	if sentinel.Choose([]sentinel.Candidate{c}, ours, "").Best == nil {
		t.Error("left out")
	}
}

// What decides among those that are allowed, each rule against all that come after it.
func TestRulesOfChoiceComeInTheirOrder(t *testing.T) {
	for rule, worse := range map[string]func(c *sentinel.Candidate){
		"its promotion failed a moment ago": func(c *sentinel.Candidate) {
			c.Failed, c.Age, c.Info.Priority, c.Info.Offset = true, 0, 1, 9999
		},
		"of an earlier lineage":         func(c *sentinel.Candidate) { c.Age, c.Info.Priority, c.Info.Offset = 3, 1, 9999 },
		"priority number 200 is higher": func(c *sentinel.Candidate) { c.Age, c.Info.Priority, c.Info.Offset = 2, 200, 9999 },
		"99 bytes behind b":             func(c *sentinel.Candidate) { c.Age, c.Info.Offset = 2, 1 },
		"same offset, later by name":    func(c *sentinel.Candidate) { c.Age, c.ID, c.Name = 2, "c", "c" },
	} {
		bad, good := fitReplica("a"), fitReplica("b")
		good.Age = 2
		worse(&bad)
		choice := sentinel.Choose([]sentinel.Candidate{bad, good}, ours, "")
		if choice.Best == nil || choice.Best.ID != "b" || len(choice.LeftOut) != 1 || !strings.Contains(choice.LeftOut[0].Why, rule) {
			t.Errorf("%s: chosen %v, left out %+v", rule, choice.Best, choice.LeftOut)
		}
	}
}
