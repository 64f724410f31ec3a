package faults

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// draw makes the random choices of one schedule.
type draw struct{ *rand.Rand }

// Generate makes the schedule of a seed, always the same.
func Generate(seed uint64, rounds int) Schedule {
	d := draw{rand.New(rand.NewPCG(seed, 0x6368616f73))}
	s := Schedule{Seed: seed, Persist: pick(d, PersistNone, PersistNone, PersistRDB, PersistAOF)}
	kinds := []func(draw) Round{mixed, mixed, mixed, mixed, calm, reuse, midPlan, watchersOnly, cutOff, everything}
	for range rounds {
		r := pick(d, kinds...)(d)
		if s.Persist == PersistNone && r.ends() == 3 {
			r = midPlan(d)
		}
		if !r.Calm && d.IntN(2) == 0 {
			r.shift(sinceFailover)
		}
		slices.SortStableFunc(r.Events, func(a, b Event) int { return int(a.At - b.At) })
		s.Rounds = append(s.Rounds, r)
	}
	return s
}

// sinceFailover is how long the watchers wait between two automatic failovers; half of
// the rounds begin later than that.
const sinceFailover = 5 * time.Second

func (r Round) shift(by time.Duration) {
	for i := range r.Events {
		r.Events[i].At += by
	}
}

// ends is the number of Redis that a round ends at once.
func (r Round) ends() int {
	if len(r.Events) > 0 && r.Events[0].A == "redis" {
		return 3
	}
	return 1
}

// everything ends all Redis at once; what is on disks comes back.
func everything(d draw) Round {
	return Round{Events: []Event{{At: d.span(0, 3*time.Second), Verb: pick(d, Kill, Restart), A: "redis", For: d.span(time.Millisecond, 2*time.Second)}}}
}

func pick[T any](d draw, from ...T) T { return from[d.IntN(len(from))] }

// span is a random time in whole milliseconds.
func (d draw) span(from, to time.Duration) time.Duration {
	return from + time.Duration(d.Int64N(int64(to-from)/1e6+1))*time.Millisecond
}

// at is when an event of a mixed round begins.
func (d draw) at() time.Duration { return d.span(0, 4*time.Second) }

func (d draw) redis() string {
	return pick(d, "master", "master", "replica", "other", "r1", "r2", "r3")
}
func (d draw) watcher() string { return pick(d, "leader", "leader", "follower", "w1", "w2", "w3") }

// mixed is two to five faults at once. Only one of them may cost a copy of the data,
// because two others then have everything that has to survive.
func mixed(d draw) Round {
	var r Round
	costly, forgets := false, false
	for range 2 + d.IntN(4) {
		e := d.fault()
		if e.Costly() && costly || e.forgets() && forgets {
			e = d.network()
		}
		costly, forgets = costly || e.Costly(), forgets || e.forgets()
		r.Events = append(r.Events, e)
	}
	return r
}

// Costly reports whether the event may destroy a copy of the data. A round has one such
// event at most, or ends all Redis at once.
func (e Event) Costly() bool {
	switch e.Verb {
	case Reuse:
		return true
	case Empty, Kill, Restart:
		return !e.ofWatcher()
	default:
		return false
	}
}

// ofWatcher reports whether the first target is one of the watchers, or all of them.
func (e Event) ofWatcher() bool {
	return e.A != "" && e.A[0] == 'w' || e.A == "leader" || e.A == "follower"
}

// forgets reports whether a watcher loses its store: of two at once nobody could tell
// what was committed, and a person has to say so.
func (e Event) forgets() bool { return e.Verb == Empty && e.ofWatcher() }

func (d draw) fault() Event {
	if d.IntN(2) == 0 {
		return d.network()
	}
	long := d.span(200*time.Millisecond, 5*time.Second)
	switch d.IntN(16) {
	case 14:
		return Event{At: d.at(), Verb: Empty, A: d.watcher(), For: d.span(1*time.Millisecond, 2*time.Second)}
	case 15:
		return Event{At: d.at(), Verb: Hangup, A: d.redis()}
	case 0, 1:
		return Event{At: d.at(), Verb: Kill, A: d.redis(), For: pick(d, 0, d.span(0, time.Second), long) + time.Millisecond}
	case 2:
		return Event{At: d.at(), Verb: Empty, A: d.redis(), For: pick(d, d.span(0, time.Second), long) + time.Millisecond}
	case 3:
		return Event{At: d.at(), Verb: Restart, A: d.redis(), For: d.span(1*time.Millisecond, 2*time.Second)}
	case 4, 5:
		return Event{At: d.at(), Verb: Freeze, A: d.redis(), For: long}
	case 6:
		return Event{At: d.at(), Verb: Freeze, A: d.watcher(), For: long}
	case 7, 8:
		return Event{At: d.at(), Verb: pick(d, Kill, Kill, Restart), A: d.watcher(), For: d.span(1*time.Millisecond, 3*time.Second)}
	case 9:
		return d.clock()
	case 10:
		return Event{At: d.at(), Verb: Full, A: d.watcher(), For: long}
	case 11:
		return Event{At: d.at(), Verb: Starve, Amount: strconv.Itoa(2 + d.IntN(5)), For: d.span(time.Second, 3*time.Second)}
	case 12:
		return Event{At: d.at(), Verb: Idle, For: long}
	default:
		return Event{At: d.at(), Verb: pick(d, Handover, Handover, Failover)}
	}
}

func (d draw) clock() Event {
	if d.IntN(3) == 0 {
		return Event{At: d.at(), Verb: Boot, A: d.watcher(), Amount: pick(d, "100000s", "3s"), For: d.span(1*time.Millisecond, 2*time.Second)}
	}
	return Event{At: d.at(), Verb: Clock, A: d.watcher(), Amount: pick(d, "3600s", "-3600s", "5s", "-5s", "100000000s"), For: d.span(time.Second, 5*time.Second)}
}

func (d draw) network() Event {
	e := Event{At: d.at(), For: d.span(300*time.Millisecond, 5*time.Second)}
	switch d.IntN(11) {
	case 9:
		e.Verb, e.A, e.Amount = Jitter, pick(d, d.redis(), d.watcher()), pick(d, "2ms", "30ms", "150ms")
	case 0, 1:
		e.Verb, e.A, e.B = pick(d, Cut, Cut, OneWay), d.redis(), "watchers"
	case 2:
		e.Verb, e.A, e.B = OneWay, "watchers", d.redis()
	case 3:
		e.Verb, e.A, e.B = pick(d, Cut, OneWay), d.watcher(), d.redis()
	case 4:
		e.Verb, e.A, e.B = pick(d, Cut, OneWay), d.watcher(), "watchers"
	case 5:
		e.Verb, e.A, e.B = pick(d, Cut, OneWay), "master", "replicas"
	case 6:
		e.Verb, e.A, e.B = Cut, "master", "watchers,replicas"
	case 7:
		e.Verb, e.A, e.B = Cut, pick(d, d.redis(), d.watcher()), "all"
	case 8:
		e.Verb, e.A, e.Amount = Lose, pick(d, d.redis(), d.watcher()), pick(d, "2%", "10%", "40%")
	default:
		e.Verb, e.A, e.Amount = Delay, pick(d, d.redis(), d.watcher()), pick(d, "5ms", "60ms", "400ms")
	}
	return e
}

// calm are faults for which no master may be moved.
func calm(d draw) Round {
	at, briefly := d.span(0, 300*time.Millisecond), d.span(100*time.Millisecond, 600*time.Millisecond)
	long := d.span(time.Second, 5*time.Second)
	one := pick(d, "w1", "w2", "w3")
	e := pick(d,
		[]Event{{At: at, Verb: Freeze, A: "master", For: briefly}, {At: at + 2*time.Second, Verb: Freeze, A: "master", For: briefly}},
		[]Event{{At: at, Verb: Cut, A: "master", B: "watchers", For: long}},
		[]Event{{At: at, Verb: Cut, A: one, B: "all", For: long}},
		[]Event{{At: at, Verb: Cut, A: one, B: "master", For: long}},
		[]Event{{At: at, Verb: Cut, A: "master", B: "replicas", For: long}},
		[]Event{{At: at, Verb: Kill, A: "replica", For: briefly}, {At: at + 500*time.Millisecond, Verb: Freeze, A: "other", For: long}},
		[]Event{{At: at, Verb: Empty, A: "replica", For: briefly}},
		[]Event{{At: at, Verb: Clock, A: "leader", Amount: pick(d, "3600s", "-3600s"), For: long}, {At: at, Verb: Clock, A: "follower", Amount: "-100s", For: long}},
		[]Event{{At: at, Verb: Kill, A: "leader", For: long}},
		[]Event{{At: at, Verb: Full, A: one, For: long}},
		[]Event{{At: at, Verb: Freeze, A: "watchers", For: long}},
		[]Event{{At: at, Verb: Hangup, A: "master"}, {At: at + briefly, Verb: Hangup, A: "replicas"}, {At: at + 2*briefly, Verb: Hangup, A: "redis"}},
		[]Event{{At: at, Verb: Empty, A: one, For: briefly}},
		[]Event{{At: at, Verb: Jitter, A: "master", Amount: "20ms", For: long}},
	)
	return Round{Calm: true, Events: e}
}

// reuse gives a member's address to a foreign Redis, with nothing else going on.
func reuse(d draw) Round {
	return Round{Events: []Event{{At: d.span(0, 500*time.Millisecond), Verb: Reuse, A: pick(d, "master", "replica"), For: d.span(3*time.Second, 6*time.Second)}}}
}

// midPlan takes leaders away while they move the master.
func midPlan(d draw) Round {
	at := d.span(200*time.Millisecond, time.Second)
	r := Round{Events: []Event{pick(d, Event{At: at, Verb: Handover}, Event{At: at, Verb: Kill, A: "master", For: d.span(time.Millisecond, 4*time.Second)},
		Event{At: at, Verb: Freeze, A: "master", For: d.span(1200*time.Millisecond, 5*time.Second)})}}
	for range 1 + d.IntN(2) {
		e := Event{At: at + d.span(0, 40*time.Millisecond), A: "leader", For: d.span(500*time.Millisecond, 4*time.Second)}
		if r.Events[0].Verb == Freeze {
			e.At += time.Second
		}
		switch d.IntN(4) {
		case 0:
			e.Verb, e.B = Cut, "all"
		case 1:
			e.Verb = Freeze
		default:
			e.Verb = Kill
		}
		r.Events = append(r.Events, e)
		at += d.span(500*time.Millisecond, 2*time.Second)
	}
	return r
}

// watchersOnly ends or stops a majority of the watchers, and then the master goes.
func watchersOnly(d draw) Round {
	var r Round
	gone := d.Perm(3)[:2]
	for _, i := range gone {
		r.Events = append(r.Events, Event{At: d.span(0, 500*time.Millisecond), Verb: pick(d, Kill, Freeze), A: "w" + strconv.Itoa(i+1), For: d.span(2*time.Second, 5*time.Second)})
	}
	r.Events = append(r.Events, Event{At: d.span(time.Second, 2*time.Second), Verb: pick(d, Kill, Empty, Freeze), A: "master", For: d.span(200*time.Millisecond, 6*time.Second)})
	return r
}

// cutOff leaves the master with clients only, which go on writing to it.
func cutOff(d draw) Round {
	with := pick(d, "watchers,replicas", "watchers,replica", "watchers,replicas")
	r := Round{Events: []Event{{At: d.span(0, time.Second), Verb: Cut, A: "master", B: with, For: d.span(2*time.Second, 9*time.Second)}}}
	if d.IntN(2) == 0 {
		r.Events = append(r.Events, d.network())
	}
	return r
}
