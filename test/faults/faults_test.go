package faults

import (
	"slices"
	"strings"
	"testing"
)

func TestScheduleIsReadAsItIsWritten(t *testing.T) {
	for seed := range uint64(300) {
		s := Generate(seed, 6)
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("seed %d: %v\n%s\nbecame\n%s", seed, err, s, again)
		}
		if Generate(seed, 6).String() != s.String() {
			t.Fatalf("seed %d has two schedules", seed)
		}
	}
}

func TestNoRoundOfAScheduleCostsTwoCopies(t *testing.T) {
	for seed := range uint64(2000) {
		for _, r := range Generate(seed, 6).Rounds {
			copies, stores := 0, 0
			for _, e := range r.Events {
				if e.Costly() {
					copies++
				}
				if e.forgets() {
					stores++
				}
			}
			if copies > 1 || stores > 1 {
				t.Fatalf("seed %d: %v", seed, r.Events)
			}
		}
	}
}

func TestEveryKindOfFaultIsDrawn(t *testing.T) {
	drawn := map[Verb]int{}
	for seed := range uint64(500) {
		for _, r := range Generate(seed, 6).Rounds {
			for _, e := range r.Events {
				drawn[e.Verb]++
			}
		}
	}
	for _, v := range Verbs() {
		if drawn[v] == 0 {
			t.Errorf("%s is never drawn", v)
		}
	}
}

func TestBadScheduleIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "seed x\nround\n", "persist often\nround\n", "1s kill r1 for 1s\n", "round\n1s\n", "round\n1s hit r1 for 1s\n", "round\n1s kill r1\n",
		"round\n1s cut r1 for 1s\n", "round\n1s lose r1 for 1s\n", "round\n1s handover r1\n", "round\nsoon kill r1 for 1s\n", "round\n1s kill r1 for long\n",
	} {
		if s, err := Parse(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

func TestTargetsAreWhoHasTheRoleThen(t *testing.T) {
	r := Roles{Redis: []string{"r1", "r2", "r3"}, Watchers: []string{"w1", "w2", "w3"}, Master: "r2", Leader: "w3"}
	for text, want := range map[string]string{
		"": "", "master": "r2", "replica": "r1", "other": "r3", "replicas": "r1 r3", "redis": "r1 r2 r3", "leader": "w3", "follower": "w1",
		"watchers,replica": "w1 w2 w3 r1", "all": "r1 r2 r3 w1 w2 w3", "client": "client", "r2,master": "r2",
	} {
		if got := strings.Join(r.Resolve(text), " "); got != want {
			t.Errorf("%q is %q, not %q", text, got, want)
		}
	}
	r.Leader = ""
	if got := r.Resolve("leader,follower"); !slices.Equal(got, []string{"w1", "w2"}) {
		t.Errorf("nobody leads: %q", got)
	}
}
