package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/faults"
)

func TestFencedMasterThatWritesAndHandoverWithoutFenceAreFound(t *testing.T) {
	wrote := func(life int, sent float64) []Ack {
		return []Ack{{Key: "k", At: "r1", Life: life, Sent: at(sent), Acked: at(sent)}}
	}
	fenced := func(m []Move) []Move {
		for i := range m {
			m[i].Fenced, m[i].FromLife = true, 1
		}
		return m
	}
	back := func(m []Move) []Move {
		return append(m, Move{Epoch: 3, Kind: "handover", From: "r3", To: "r1", Told: at(30), Life: 1, Fenced: true})
	}
	for _, c := range []struct {
		name  string
		moves []Move
		acks  []Ack
		want  int
	}{
		{"nobody writes", fenced(moved("handover", "failover")), nil, 0},
		{"a handover without a fence", moved("handover", "failover"), nil, 1},
		{"a failover without a fence", moved("failover", "failover"), wrote(1, 11), 0},
		{"it writes on", fenced(moved("failover", "failover")), wrote(1, 11), 1},
		{"it was sent before", fenced(moved("failover", "failover")), wrote(1, 9.9), 0},
		{"another process writes there", fenced(moved("failover", "failover")), wrote(2, 11), 0},
		{"it is not certain which process that was", fenced(moved("failover", "failover")), wrote(0, 11), 0},
		{"it became master again", back(fenced(moved("handover", "failover"))), wrote(1, 31), 0},
		{"it is about to become master again", back(fenced(moved("handover", "failover"))), wrote(1, 29.9), 0},
		{"long before it became master again", back(fenced(moved("handover", "failover"))), wrote(1, 15), 1},
	} {
		r := Record{Moves: c.moves, Acks: c.acks, Faults: []Fault{{From: at(0), Members: []string{"r1", "w1", "w2"}}}}
		if got := r.Unfenced(); len(got) != c.want {
			t.Errorf("%s: %q, want %d", c.name, got, c.want)
		}
	}
}

func TestWatchersThatTellDifferentHistoriesAreFound(t *testing.T) {
	one := plan{Kind: "failover", From: "r1", To: "r2", Watcher: "w1"}
	for _, c := range []struct {
		name  string
		other plan
		epoch uint64
		want  int
	}{
		{"the same of another watcher", plan{"failover", "r1", "r2", "w2"}, 1, 0},
		{"another epoch", plan{"failover", "r2", "r3", "w2"}, 2, 0},
		{"another master", plan{"failover", "r1", "r3", "w2"}, 1, 1},
		{"the epoch was used twice", plan{"aborted", "r1", "r2", "w2"}, 1, 1},
		{"it was rewritten", plan{"handover", "r1", "r2", "w1"}, 1, 1},
	} {
		h := newHistory(newTimeline())
		h.planned(1, one)
		h.planned(c.epoch, c.other)
		if len(h.bad()) != c.want {
			t.Errorf("%s: %q", c.name, h.bad())
		}
	}
}

func TestCopyThatIsWipedIsFound(t *testing.T) {
	full := sample{role: "master", keys: 4000, marks: 3}
	strange := sample{role: "master", keys: foreignKeys, stranger: true}
	for _, c := range []struct {
		name          string
		before, after sample
		life          int
		foreign       bool
		want          string
	}{
		{"it grows", full, sample{keys: 4100, marks: 3}, 1, false, ""},
		{"it lost what no replica had", full, sample{keys: 3900, marks: 3}, 1, false, ""},
		{"it is empty", full, sample{}, 1, false, "had 4000 keys and has 0"},
		{"it was emptied and filled again", full, sample{keys: 3900}, 1, false, "had 3 of the keys"},
		{"it loads", full, sample{busy: true}, 1, false, ""},
		{"another process is empty", full, sample{}, 2, false, ""},
		{"a foreign data set", full, sample{keys: foreignKeys, marks: 0, stranger: true}, 1, false, "has come in"},
		{"a stranger", strange, strange, 1, true, ""},
		{"a stranger is emptied", strange, sample{role: "slave", keys: 4000, marks: 3}, 1, true, "lost its keys"},
		{"a stranger is written to", strange, sample{role: "master", keys: foreignKeys + 1, stranger: true}, 1, true, "somebody writes"},
	} {
		var have copied
		if why := have.see(1, c.foreign, c.before); why != "" {
			t.Errorf("%s: at first: %s", c.name, why)
		}
		if got := have.see(c.life, c.foreign, c.after); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWriteToACandidateThatWasNeverAnnouncedIsNoLossAgainstAPromise(t *testing.T) {
	moves := []Move{{Epoch: 0, Kind: "adopted", To: "r1", Told: at(0)}, {Epoch: 2, Kind: "failover", From: "r1", To: "r2", Told: at(20)}}
	a := Ack{Key: "k", At: "r3", Acked: at(19)}
	for epoch, want := range map[uint64]bool{1: false, 3: true} {
		r := Record{Moves: moves, Aborted: []Move{{Epoch: epoch, Kind: "aborted", To: "r3"}}}
		if why := r.Judge(a); (why != "") != want {
			t.Errorf("the plan of epoch %d was aborted: %q", epoch, why)
		}
	}
	if (Record{Moves: moves}).Judge(a) == "" {
		t.Error("no plan was aborted, and the loss is not found")
	}
}

func TestPlanInACalmRoundIsFound(t *testing.T) {
	before := Told{Epoch: 3, Master: "r1"}
	for _, c := range []struct {
		name  string
		after Told
		plans int
		want  bool
	}{
		{"nothing happened", before, 5, false},
		{"a failover", Told{Epoch: 4, Master: "r2"}, 6, true},
		{"a plan that was aborted", before, 6, true},
	} {
		if got := notCalm(before, c.after, 5, c.plans); (got != "") != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestOnlyAMachineThatStoodStillExcusesAPlan(t *testing.T) {
	r := Record{Stands: []Fault{{From: at(1), To: at(1.1)}, {From: at(5), To: at(5.3)}}}
	for since, want := range map[float64]time.Duration{0: 300 * time.Millisecond, 5.1: 300 * time.Millisecond, 6: 0} {
		if got := r.stoodStill(at(since)); got != want {
			t.Errorf("since %v: %v, not %v", since, got, want)
		}
	}
	if got := (Record{Stands: r.Stands[:1]}).stoodStill(at(0)); got != 0 {
		t.Errorf("a short one counts as %v", got)
	}
}

func TestBoundIsLongerByWhatTheMachineStoodStill(t *testing.T) {
	r := Record{Stands: []Fault{{From: at(1), To: at(2)}, {From: at(4), To: at(6)}}}
	if got := r.stalled(at(1.5), at(5)); got != 1500*time.Millisecond {
		t.Errorf("stood still for %v, not 1.5 s", got)
	}
	for _, c := range []struct {
		waited, stalled time.Duration
		want            bool
	}{{9 * time.Second, 0, false}, {11 * time.Second, 0, true}, {11 * time.Second, time.Second, false}, {15 * time.Second, time.Second, true}} {
		if got := late(c.waited, 10*time.Second, c.stalled); got != c.want {
			t.Errorf("%v with %v of standstill: late=%v", c.waited, c.stalled, got)
		}
	}
}

func TestDiskWithMoreThanTheWinnerIsFound(t *testing.T) {
	born := map[string]int{"r1": 10, "r2": 30, "r3": 20}
	if why := worseThanDisk(born, 30); why != "" {
		t.Error(why)
	}
	if why := worseThanDisk(born, 29); !strings.Contains(why, "r2 came back with 30") {
		t.Errorf("%q", why)
	}
}

func TestFaultsExcuseOnlyWhatTheyCanExplain(t *testing.T) {
	late := []Ack{{Key: "k", At: "r1", Acked: at(15)}}
	long := func(v faults.Verb, members ...string) Fault { return Fault{Verb: v, From: at(5), Members: members} }
	for _, c := range []struct {
		name   string
		faults []Fault
		stands []Fault
		want   int
	}{
		{"one watcher is frozen for long", []Fault{long(faults.Freeze, "w2")}, nil, 1},
		{"two watchers are frozen for long", []Fault{long(faults.Freeze, "w2"), long(faults.Kill, "w3")}, nil, 0},
		{"one watcher is slow", []Fault{long(faults.Lose, "w2")}, nil, 0},
		{"one watcher has just been killed", []Fault{{Verb: faults.Kill, From: at(13), Members: []string{"w1"}}}, nil, 0},
		{"all clocks jump", []Fault{{Verb: faults.Clock, From: at(13), Members: []string{"w1", "w2", "w3"}}}, nil, 1},
		{"this machine stood still", nil, []Fault{{From: at(12.5), To: at(13.5)}}, 0},
	} {
		r := Record{Acks: late, Faults: c.faults, Stands: c.stands, Moves: moved("failover", "failover")}
		if got := r.TwoMasters(3 * time.Second); len(got) != c.want {
			t.Errorf("%s: %q, want %d", c.name, got, c.want)
		}
	}
}
