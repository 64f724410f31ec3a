package faults

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verb is what an event does.
type Verb string

// The verbs. A fault with a duration is undone by itself when it is over.
const (
	Kill     Verb = "kill"     // a Redis: SIGKILL, back with what is on its disk; a watcher: SIGKILL, back with its store
	Empty    Verb = "empty"    // SIGKILL, back without its files; a watcher is somebody else then
	Restart  Verb = "restart"  // SIGTERM, then back
	Reuse    Verb = "reuse"    // a Redis: SIGKILL, and another Redis with other data gets its address
	Freeze   Verb = "freeze"   // SIGSTOP
	Cut      Verb = "cut"      // no packets between A and B
	OneWay   Verb = "oneway"   // no packets from A to B
	Lose     Verb = "lose"     // a share of what reaches A is lost
	Delay    Verb = "delay"    // all that reaches A comes late
	Clock    Verb = "clock"    // the wall clock of a running watcher jumps, and jumps back
	Boot     Verb = "boot"     // a watcher: SIGKILL, back with another monotonic clock
	Full     Verb = "full"     // a watcher's disk is full
	Starve   Verb = "starve"   // busy processes
	Handover Verb = "handover" // asked over HTTP
	Failover Verb = "failover" // asked as SENTINEL FAILOVER
	Idle     Verb = "idle"     // clients stop writing
	Hangup   Verb = "hangup"   // a Redis: CLIENT KILL of every connection that is no replica's
	Jitter   Verb = "jitter"   // all that reaches A comes late by up to an amount, in another order
)

// shape says what a verb wants: how many targets, whether an amount, whether a time.
type shape struct {
	targets       int
	amount, lasts bool
}

var shapes = map[Verb]shape{
	Kill: {1, false, true}, Empty: {1, false, true}, Restart: {1, false, true}, Reuse: {1, false, true}, Freeze: {1, false, true},
	Cut: {2, false, true}, OneWay: {2, false, true}, Lose: {1, true, true}, Delay: {1, true, true}, Clock: {1, true, true},
	Boot: {1, true, true}, Full: {1, false, true}, Starve: {0, true, true}, Handover: {0, false, false}, Failover: {0, false, false},
	Idle: {0, false, true}, Hangup: {1, false, false}, Jitter: {1, true, true},
}

// Verbs lists all that there are.
func Verbs() []Verb { return slices.Sorted(maps.Keys(shapes)) }

// Event is one fault of a schedule.
type Event struct {
	At     time.Duration // from the beginning of its round
	Verb   Verb
	A, B   string // targets: r1 to r3, w1 to w3, client, or a role; several with commas
	Amount string // a share, a time or a number, as the verb wants it
	For    time.Duration
}

// String is the event as a schedule's file has it.
func (e Event) String() string {
	parts := []string{strconv.FormatFloat(e.At.Seconds(), 'f', 3, 64) + "s", string(e.Verb)}
	for _, s := range []string{e.A, e.B, e.Amount} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.For > 0 {
		parts = append(parts, "for", e.For.String())
	}
	return strings.Join(parts, " ")
}

// Round is some faults that may overlap, after which all has to become well again.
type Round struct {
	// Calm forbids any plan in this round.
	Calm   bool
	Events []Event
}

// Persist is how the Redis keep their data.
type Persist string

// The ways. None is the zero of a schedule's file.
const (
	PersistNone Persist = "none"
	PersistRDB  Persist = "rdb" // a dump every few seconds and at SIGTERM
	PersistAOF  Persist = "aof" // synced every second
)

// Schedule is everything that happens to one world.
type Schedule struct {
	Seed    uint64
	Persist Persist
	// Masters: every Redis that comes back boots as a master, as nobody should have it.
	Masters bool
	Rounds  []Round
}

// String is the text from which Parse makes the same schedule.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\npersist %s\n", s.Seed, s.Persist)
	if s.Masters {
		b.WriteString("boot master\n")
	}
	for _, r := range s.Rounds {
		b.WriteString("round")
		if r.Calm {
			b.WriteString(" calm")
		}
		b.WriteByte('\n')
		for _, e := range r.Events {
			fmt.Fprintf(&b, "  %s\n", e)
		}
	}
	return b.String()
}

// Parse reads a schedule. Empty lines and what follows # do not count.
func Parse(text string) (Schedule, error) {
	s := Schedule{Persist: PersistNone}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if err := s.line(f); err != nil {
			return s, fmt.Errorf("read schedule, line %d: %w", n, err)
		}
	}
	if len(s.Rounds) == 0 {
		return s, fmt.Errorf("read schedule: it has no round")
	}
	return s, lines.Err()
}

func (s *Schedule) line(f []string) (err error) {
	switch {
	case f[0] == "seed" && len(f) == 2:
		s.Seed, err = strconv.ParseUint(f[1], 10, 64)
	case f[0] == "persist" && len(f) == 2:
		if s.Persist = Persist(f[1]); !slices.Contains([]Persist{PersistNone, PersistRDB, PersistAOF}, s.Persist) {
			err = fmt.Errorf("persist is none, rdb or aof, not %q", f[1])
		}
	case f[0] == "boot" && len(f) == 2 && f[1] == "master":
		s.Masters = true
	case f[0] == "round" && (len(f) == 1 || len(f) == 2 && f[1] == "calm"):
		s.Rounds = append(s.Rounds, Round{Calm: len(f) == 2})
	case len(s.Rounds) == 0:
		err = fmt.Errorf("%q comes before the first round", f[0])
	default:
		var e Event
		e, err = parseEvent(f)
		r := &s.Rounds[len(s.Rounds)-1]
		r.Events = append(r.Events, e)
	}
	return err
}

func parseEvent(f []string) (e Event, err error) {
	if e.At, err = time.ParseDuration(f[0]); err != nil || len(f) < 2 {
		return e, fmt.Errorf("an event is TIME VERB ..., not %q", strings.Join(f, " "))
	}
	e.Verb = Verb(f[1])
	want, ok := shapes[e.Verb]
	if !ok {
		return e, fmt.Errorf("%q is no verb", f[1])
	}
	args := f[2:]
	if want.lasts {
		n := len(args)
		if n < 2 || args[n-2] != "for" {
			return e, fmt.Errorf("%s wants \"for DURATION\" at the end", e.Verb)
		}
		if e.For, err = time.ParseDuration(args[n-1]); err != nil {
			return e, err
		}
		args = args[:n-2]
	}
	if want.amount && len(args) > 0 {
		e.Amount, args = args[len(args)-1], args[:len(args)-1]
	}
	if len(args) != want.targets || want.amount && e.Amount == "" {
		return e, fmt.Errorf("%s wants %d targets and, if any, its amount, not %q", e.Verb, want.targets, strings.Join(f[2:], " "))
	}
	if len(args) > 0 {
		e.A = args[0]
	}
	if len(args) > 1 {
		e.B = args[1]
	}
	return e, nil
}
