package chaos

import (
	"strings"
	"testing"
	"time"
)

var zero = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return zero.Add(time.Duration(seconds * float64(time.Second))) }

// moved is r1 -> r2 at 10 s and r2 -> r3 at 20 s.
func moved(first, second string) []Move {
	return []Move{{Epoch: 1, Kind: first, From: "r1", To: "r2", Told: at(10), Life: 1}, {Epoch: 2, Kind: second, From: "r2", To: "r3", Told: at(20), Life: 1}}
}

func TestLostKeyIsFollowedFromMasterToMaster(t *testing.T) {
	seen := func(a Ack, where string, life int, when float64) Ack {
		a.Seen[index(where)] = Sight{life, at(when)}
		return a
	}
	on := func(where string, when float64) Ack { return Ack{Key: "k", At: where, Acked: at(when)} }
	for _, c := range []struct {
		name  string
		moves []Move
		ack   Ack
		want  string // part of the reason, "" if the loss is documented
	}{
		{"lost in a failover", moved("failover", "failover"), on("r1", 9), ""},
		{"lost in a handover", moved("handover", "failover"), on("r1", 9), "lost in handover 1"},
		{"lost in the second handover", moved("failover", "handover"), on("r2", 15), "lost in handover 2"},
		{"the promoted replica had it", moved("failover", "failover")[:1], seen(on("r1", 9), "r2", 1, 9.5), "is lost there"},
		{"the promoted replica had it and was lost itself", moved("failover", "failover"), seen(on("r1", 9), "r2", 1, 9.5), ""},
		{"both promoted replicas had it", moved("failover", "failover"), seen(seen(on("r1", 9), "r2", 1, 9.5), "r3", 1, 9.5), "is lost there"},
		{"it was in an earlier life of the promoted replica", moved("failover", "failover")[:1], seen(on("r1", 9), "r2", 2, 9.5), ""},
		{"it came to the replica after the promotion", moved("failover", "failover")[:1], seen(on("r1", 9), "r2", 1, 10.5), ""},
		{"a deposed master took it after a failover", moved("failover", "failover"), on("r1", 12), ""},
		{"a deposed master took it after a handover", moved("handover", "failover"), on("r1", 12), "after the handover 1"},
		{"the master lives", moved("failover", "failover"), on("r3", 25), "nobody took over"},
		{"WAIT said that all have it", moved("failover", "failover"), Ack{Key: "k", At: "r1", Acked: at(9), Durable: true}, "WAIT"},
	} {
		got := Record{Moves: c.moves}.Judge(c.ack)
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNothingIsPromisedForWhatWasInNoMemory(t *testing.T) {
	for acked, want := range map[float64]bool{9: false, 11: true} {
		got := Record{Nobody: at(10)}.Judge(Ack{Key: "k", At: "r1", Acked: at(acked), Durable: true})
		if (got != "") != want {
			t.Errorf("acknowledged at %v s: %q", acked, got)
		}
	}
}

func TestWriteToADeposedMasterIsFoundUnlessAFaultExplainsIt(t *testing.T) {
	late := []Ack{{Key: "k", At: "r1", Acked: at(15)}}
	for _, c := range []struct {
		name   string
		acks   []Ack
		faults []Fault
		want   int
	}{
		{"nothing hindered the watchers", late, nil, 1},
		{"the fault was over long ago", late, []Fault{{From: at(8), To: at(11), Members: []string{"r1"}}}, 1},
		{"the old master was cut off", late, []Fault{{From: at(8), To: at(14), Members: []string{"r1"}}}, 0},
		{"it still is", late, []Fault{{From: at(8), Members: []string{"r1"}}}, 0},
		{"a watcher was frozen", late, []Fault{{From: at(13), To: at(14), Members: []string{"w2"}}}, 0},
		{"a third Redis was frozen", late, []Fault{{From: at(13), To: at(14), Members: []string{"r3"}}}, 1},
		{"the fault came later", late, []Fault{{From: at(16), Members: []string{"r1"}}}, 1},
		{"soon after the promotion", []Ack{{Key: "k", At: "r1", Acked: at(11)}}, nil, 0},
		{"by the master itself", []Ack{{Key: "k", At: "r2", Acked: at(15)}}, nil, 0},
		{"just before it is told to be the master again", []Ack{{Key: "k", At: "r3", Acked: at(19)}}, nil, 0},
		{"by a stranger", []Ack{{Key: "k", At: "r1", Acked: at(15), Foreign: true}}, nil, 0},
	} {
		got := Record{Acks: c.acks, Faults: c.faults, Moves: moved("failover", "failover")}.TwoMasters(3 * time.Second)
		if len(got) != c.want {
			t.Errorf("%s: %q, want %d", c.name, got, c.want)
		}
	}
}

func TestReaderThatGoesBackIsExcusedByAFailoverOnly(t *testing.T) {
	back := Back{Key: "c1", Had: 7, Got: 6, HadAt: at(9.9), GotAt: at(10.1), HadFrom: "r1", GotOf: "r2"}
	for _, c := range []struct {
		kind string
		back func(*Back)
		want int
	}{
		{"handover", func(*Back) {}, 1},
		{"failover", func(*Back) {}, 0},
		{"failover", func(b *Back) { b.HadAt, b.GotAt, b.HadFrom = at(14), at(14.1), "r2" }, 1},
		{"handover", func(b *Back) { b.GotAt, b.GotOf = at(10.9), "r3" }, 0},
		{"failover", func(b *Back) { b.HadAt, b.GotAt = at(14), at(14.1); b.HadFrom = "r1" }, 0},
	} {
		b := back
		c.back(&b)
		if got := (Record{Backs: []Back{b}, Moves: moved(c.kind, "handover")}).WentBack(); len(got) != c.want {
			t.Errorf("%s, %+v: %q, want %d", c.kind, b, got, c.want)
		}
	}
}

func TestWatcherThatGoesBackOrContradictsIsFound(t *testing.T) {
	for _, c := range []struct {
		name string
		told []Told
		want int
	}{
		{"all agree", []Told{{Watcher: "w1", Epoch: 1, Master: "r1"}, {Watcher: "w2", Epoch: 1, Master: "r1"}, {Watcher: "w1", Epoch: 2, Master: "r2"}}, 0},
		{"one is behind", []Told{{Watcher: "w1", Epoch: 2, Master: "r2"}, {Watcher: "w2", Epoch: 1, Master: "r1"}}, 0},
		{"one goes back", []Told{{Watcher: "w1", Epoch: 2, Master: "r2"}, {Watcher: "w1", Epoch: 1, Master: "r1"}}, 1},
		{"two masters of one epoch", []Told{{Watcher: "w1", Epoch: 2, Master: "r2"}, {Watcher: "w2", Epoch: 2, Master: "r3"}}, 1},
	} {
		h := newHistory(newTimeline())
		for _, x := range c.told {
			h.told(x)
		}
		if len(h.bad()) != c.want {
			t.Errorf("%s: %q", c.name, h.bad())
		}
	}
}
