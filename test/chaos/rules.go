package chaos

import (
	"fmt"
	"time"
)

// stallFactor is how often a bound contains what this machine stood still: seven
// processes wait for each other, and each of them may have been kept waiting when the
// one that measures was not.
const stallFactor = 4

// What there is before the first fault, and what a stranger has: far more than the
// members, because with less it may be emptied, see docs/guarantees.md.
const (
	baseKeys    = 3000
	foreignKeys = 50_000
)

// standstill is what a calm round does not have to endure, noticeable what counts at all.
const (
	standstill = 200 * time.Millisecond
	noticeable = 40 * time.Millisecond
)

// stalled is how long in all this machine did nothing between two moments.
func (r Record) stalled(from, to time.Time) time.Duration {
	var sum time.Duration
	for _, s := range r.Stands {
		begin, end := s.From, s.To
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(0, end.Sub(begin))
	}
	return sum
}

// stoodStill is the longest time since a moment in which this machine did nothing, 0 if it
// is not worth mentioning.
func (r Record) stoodStill(since time.Time) time.Duration {
	var longest time.Duration
	for _, s := range r.Stands {
		if d := s.To.Sub(s.From); s.To.After(since) && d >= standstill {
			longest = max(longest, d)
		}
	}
	return longest
}

// late reports whether a bound is over, given what the machine stood still in it.
func late(waited, bound, stalled time.Duration) bool { return waited > bound+stallFactor*stalled }

// notCalm says what a calm round must not show: a plan of any kind.
func notCalm(before, after Told, plansBefore, plansAfter int) string {
	if after.Epoch == before.Epoch && plansBefore == plansAfter {
		return ""
	}
	return fmt.Sprintf("a plan was begun in a calm round: epoch %d of %s became %d of %s, %d plans became %d",
		before.Epoch, before.Master, after.Epoch, after.Master, plansBefore, plansAfter)
}

// worseThanDisk says which Redis came back from its disk with more than all have now.
func worseThanDisk(born map[string]int, now int) string {
	for name, keys := range born {
		if now < keys {
			return fmt.Sprintf("%s came back with %d keys, and now all have %d", name, keys, now)
		}
	}
	return ""
}

// marks are keys that are there before the first fault, on all three. Nobody deletes
// them.
func marks() []string {
	return []string{"base:0", fmt.Sprint("base:", baseKeys/2), fmt.Sprint("base:", baseKeys-1)}
}

// sample is what one Redis said of itself.
type sample struct {
	when                       time.Time
	role, follows, link, runID string
	replid                     string
	offset                     string
	keys                       int
	marks                      int  // how many of marks it has
	busy                       bool // loading or in a full sync
	stranger                   bool // it has a foreign key
	err                        error
}

// String is the sample for people.
func (s sample) String() string {
	if s.err != nil {
		return s.err.Error()
	}
	return fmt.Sprintf("%s of %s link=%s keys=%d marks=%d offset=%s busy=%v", s.role, s.follows, s.link, s.keys, s.marks, s.offset, s.busy)
}

// copied follows what one process of a member has: keys are only ever added, so that
// it never has much less than before, and never loses what all had from the beginning.
// Less by a little is allowed: what the master of a failover never had goes.
type copied struct {
	life, most, marks int
}

// see says what is wrong with a sample of a life, "" if nothing is.
func (c *copied) see(life int, foreign bool, s sample) string {
	if s.busy {
		return ""
	}
	if life != c.life {
		*c = copied{life: life}
	}
	defer func() { c.most, c.marks = max(c.most, s.keys), max(c.marks, s.marks) }()
	switch {
	case foreign && !s.stranger:
		return fmt.Sprintf("the foreign Redis has lost its keys: it is %s", s)
	case foreign && s.role == "master" && s.keys > foreignKeys:
		return fmt.Sprintf("somebody writes to the foreign Redis: it is %s", s)
	case foreign:
	case s.stranger:
		return fmt.Sprintf("a foreign data set has come in: it is %s", s)
	case s.keys < c.most/2:
		return fmt.Sprintf("it had %d keys and has %d (%s)", c.most, s.keys, s)
	case s.marks < c.marks:
		return fmt.Sprintf("it had %d of the keys that all had from the beginning, and has %d (%s)", c.marks, s.marks, s)
	}
	return ""
}
