package chaos

import (
	"fmt"
	"slices"
	"time"
)

// Record is what the checks at the end look at. Moves are in the order of epochs.
type Record struct {
	Acks   []Ack
	Moves  []Move
	Faults []Fault
	Backs  []Back
	// Nobody is when last not one Redis ran.
	Nobody time.Time
}

// skewOfSamples is how late a watcher may have been heard to tell a new master.
const skewOfSamples = 250 * time.Millisecond

// untold is how long before the watchers' word a new master may have been promoted: its
// leader may have been lost in between.
const untold = 5 * time.Second

// Judge says why the loss of an acknowledged key breaks a promise, "" if it does not:
// it follows the key from master to master. In a handover the next one must have it,
// in a failover if it was seen there before.
func (r Record) Judge(a Ack) string {
	if a.Acked.Before(r.Nobody) {
		return "" // it was in no memory, and disks are behind
	}
	if a.Durable {
		return fmt.Sprintf("%s, which all replicas had by the word of WAIT at %s, is lost", a.Key, a.At)
	}
	holder := a.At
	i := r.leaving(a)
	if i < 0 {
		return fmt.Sprintf("%s, acknowledged by %s, is lost, and nobody took over from there", a.Key, a.At)
	}
	for _, m := range r.Moves[i:] {
		if m.From != holder {
			continue
		}
		sight := a.Seen[index(m.To)]
		seen := sight.Life > 0 && sight.When.Before(m.Told) && sight.Life == m.Life
		switch {
		case m.Kind == "handover":
			if a.Acked.After(m.Told.Add(skewOfSamples)) {
				return fmt.Sprintf("%s was acknowledged by %s %v after the handover %d from there, and is lost", a.Key, a.At, a.Acked.Sub(m.Told), m.Epoch)
			}
			if holder == a.At || seen {
				return fmt.Sprintf("%s, acknowledged by %s, is lost in handover %d to %s", a.Key, a.At, m.Epoch, m.To)
			}
			holder = m.To
		case seen:
			holder = m.To
		default:
			return ""
		}
	}
	return fmt.Sprintf("%s, acknowledged by %s, was on %s, the master, and is lost there", a.Key, a.At, holder)
}

// leaving is the move that ended the reign in which the write was acknowledged: the
// first one away from there after it, or else the last one before it (a late write to
// a deposed master); -1 if there is none.
func (r Record) leaving(a Ack) int {
	last := -1
	for i, m := range r.Moves {
		if m.From != a.At {
			continue
		}
		last = i
		if !m.Told.Before(a.Acked) {
			break
		}
	}
	return last
}

// TwoMasters finds writes that a deposed master acknowledged although nothing had
// hindered the watchers for a while from fencing it.
func (r Record) TwoMasters(quiet time.Duration) []string {
	var out []string
	for _, a := range r.Acks {
		m := r.reign(a.Acked)
		if m == nil || a.Foreign || m.To == a.At || a.Acked.Sub(m.Told) < quiet || !r.undisturbed(a.At, m.To, a.Acked, quiet) {
			continue
		}
		if r.promotedSoon(a) {
			continue
		}
		out = append(out, fmt.Sprintf("%s acknowledged %s %v after %s became master of epoch %d", a.At, a.Key, a.Acked.Sub(m.Told).Round(time.Millisecond), m.To, m.Epoch))
	}
	return out
}

// promotedSoon: a plan was under way that made this instance the master, and it was
// promoted before anybody was told.
func (r Record) promotedSoon(a Ack) bool {
	for _, m := range r.Moves {
		if m.To == a.At && m.Told.After(a.Acked) && m.Told.Sub(a.Acked) < untold {
			return true
		}
	}
	return false
}

// reign is the move that made the master of a moment, nil before the first one.
func (r Record) reign(t time.Time) *Move {
	for i, m := range slices.Backward(r.Moves) {
		if !m.Told.After(t) {
			return &r.Moves[i]
		}
	}
	return nil
}

// undisturbed: no fault touched two instances or any watcher for so long before t.
func (r Record) undisturbed(one, other string, t time.Time, quiet time.Duration) bool {
	for _, f := range r.Faults {
		if f.From.After(t) || !f.To.IsZero() && f.To.Before(t.Add(-quiet)) {
			continue
		}
		for _, m := range f.Members {
			if m == one || m == other || m[0] == 'w' {
				return false
			}
		}
	}
	return true
}

// WentBack finds readers that saw an older value after a newer one, although no
// failover lay between.
func (r Record) WentBack() []string {
	var out []string
	for _, b := range r.Backs {
		excused := false
		for _, m := range r.Moves {
			near := m.Told.After(b.HadAt.Add(-2*time.Second)) && m.Told.Before(b.GotAt.Add(2*time.Second))
			excused = excused || near && m.Kind != "handover"
		}
		if r.Nobody.After(b.HadAt) && r.Nobody.Before(b.GotAt) {
			excused = true // all memory was lost in between
		}
		// Nobody promises what a replica shows, nor what a deposed master does.
		for _, look := range []struct {
			when time.Time
			at   string
		}{{b.HadAt, b.HadFrom}, {b.GotAt, b.GotOf}} {
			m := r.reign(look.when)
			excused = excused || m != nil && m.To != look.at && m.Kind != "handover"
			excused = excused || m != nil && m.To != look.at && look.when.Sub(m.Told) > skewOfSamples
		}
		if !excused {
			out = append(out, fmt.Sprintf("%s went back from %d (read from %s) to %d (read from %s)", b.Key, b.Had, b.HadFrom, b.Got, b.GotOf))
		}
	}
	return out
}
