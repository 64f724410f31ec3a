package chaos

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/triwatch/triwatch/test/faults"
)

// Record is what the checks at the end look at. Moves are in the order of epochs.
type Record struct {
	Acks  []Ack
	Moves []Move
	// Aborted are the plans that came to nothing.
	Aborted []Move
	Faults  []Fault
	Backs   []Back
	// Nobody is when last not one Redis ran.
	Nobody time.Time
	// Stands are the times in which this machine did nothing.
	Stands []Fault
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
	if r.neverAnnounced(a) {
		return ""
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

// neverAnnounced reports whether the write went to the candidate of a plan that was
// aborted in the reign of another: it may have been promoted, but nobody was told of it.
func (r Record) neverAnnounced(a Ack) bool {
	m := r.reign(a.Acked)
	if m == nil || m.To == a.At {
		return false
	}
	next := uint64(math.MaxUint64)
	for _, n := range r.Moves {
		if n.Epoch > m.Epoch {
			next = min(next, n.Epoch)
		}
	}
	return slices.ContainsFunc(r.Aborted, func(x Move) bool { return x.To == a.At && x.Epoch > m.Epoch && x.Epoch < next })
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
		if m == nil || a.Foreign || m.To == a.At || a.Acked.Sub(m.Told) < quiet {
			continue
		}
		if slow := stallFactor * r.stalled(a.Acked.Add(-quiet), a.Acked); a.Acked.Sub(m.Told) < quiet+slow || r.hindered(a.At, m.To, a.Acked, quiet+slow) {
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

// hindered reports whether, in the time before t, something can have kept the watchers
// from fencing an instance: a fault of one of the two instances, of a majority of the
// watchers, or of one that may lead: one that begins then, or one that makes it slow
// without taking it away. Clocks are no excuse.
func (r Record) hindered(one, other string, t time.Time, quiet time.Duration) bool {
	watchers := map[string]bool{}
	for _, f := range r.Faults {
		if f.From.After(t) || !f.To.IsZero() && f.To.Before(t.Add(-quiet)) {
			continue
		}
		for _, m := range f.Members {
			switch {
			case m == one, m == other:
				return true
			case m[0] != 'w':
			case slows(f.Verb), f.Verb != faults.Clock && f.From.After(t.Add(-quiet)):
				return true
			case f.Verb != faults.Clock:
				watchers[m] = true
			}
		}
	}
	return len(watchers) > 1
}

// slows reports whether a fault leaves a leader in office and makes it slow.
func slows(v faults.Verb) bool {
	switch v {
	case faults.Lose, faults.Delay, faults.Jitter, faults.Starve, faults.Full:
		return true
	default:
		return false
	}
}

// Unfenced finds what contradicts the watchers' word that an old master was fenced: a
// handover without it, and writes that the fenced process took although it did not
// become master again. No fault excuses that.
func (r Record) Unfenced() []string {
	var out []string
	for i, m := range r.Moves {
		if m.Kind == "handover" && !m.Fenced {
			out = append(out, fmt.Sprintf("epoch %d is a handover from %s, which was not fenced", m.Epoch, m.From))
		}
		if !m.Fenced || m.FromLife == 0 {
			continue
		}
		for _, a := range r.Acks {
			if a.At != m.From || a.Life != m.FromLife || !a.Sent.After(m.Told) || a.Foreign {
				continue
			}
			again := slices.ContainsFunc(r.Moves[i+1:], func(n Move) bool { return n.To == m.From && n.Told.Before(a.Acked) })
			if !again && !r.promotedSoon(a) {
				out = append(out, fmt.Sprintf("%s acknowledged %s %v after epoch %d, before which it was fenced", a.At, a.Key, a.Acked.Sub(m.Told).Round(time.Millisecond), m.Epoch))
				break
			}
		}
	}
	return out
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
