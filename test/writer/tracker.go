package writer

import (
	"sort"
	"sync"
	"time"
)

// Gap is a time without any acknowledged write, over all connections.
type Gap struct {
	Start time.Time     `json:"start"`
	End   time.Time     `json:"end"`
	Took  time.Duration `json:"took_ns"`
}

const (
	keptGaps = 16                   // the longest ones
	leastGap = 2 * time.Millisecond // shorter ones are not worth keeping beside a longer one
)

// span is the sequences from lo up to and without hi: acknowledged writes are remembered without one entry for each.
type span struct{ lo, hi int64 }

// tracker is the one place where acknowledgements and errors of all connections meet.
type tracker struct {
	mu      sync.Mutex
	started time.Time
	ended   time.Time // zero while running
	last    time.Time // of the last acknowledgement, or started
	gaps    []Gap     // longest first
	acked   int64
	unknown int64
	dials   int64
	spans   [][]span // one list for each connection
	errors  map[string]int64
}

func newTracker(conns int) *tracker {
	return &tracker{spans: make([][]span, conns), errors: map[string]int64{}}
}

func (t *tracker) start(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started, t.last = now, now
}

// finish ends the run: the time since the last acknowledgement is a gap, too. What is acknowledged later counts, but not for gaps.
func (t *tracker) finish(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.last
	t.close(now)
	t.last, t.ended = last, now
}

// ack records the sequences lo to hi-1 of one connection.
func (t *tracker) ack(conn int, lo, hi int64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acked += hi - lo
	list := t.spans[conn]
	if n := len(list); n > 0 && list[n-1].hi == lo {
		list[n-1].hi = hi
	} else {
		t.spans[conn] = append(list, span{lo, hi})
	}
	if t.ended.IsZero() {
		t.close(now)
	}
}

// close ends the gap that began with the last acknowledgement. The clock was read before the lock was taken, so an earlier time
// may come after a later one: that is no gap.
func (t *tracker) close(now time.Time) {
	took := now.Sub(t.last)
	if took <= 0 {
		return
	}
	g := Gap{Start: t.last, End: now, Took: took}
	t.last = now
	if n := len(t.gaps); n > 0 && (took < leastGap && took <= t.gaps[0].Took || n == keptGaps && took <= t.gaps[n-1].Took) {
		return
	}
	i := sort.Search(len(t.gaps), func(i int) bool { return t.gaps[i].Took < took })
	t.gaps = append(t.gaps, Gap{})
	copy(t.gaps[i+1:], t.gaps[i:])
	t.gaps[i] = g
	if len(t.gaps) > keptGaps {
		t.gaps = t.gaps[:keptGaps]
	}
}

func (t *tracker) lost(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unknown += n
}

func (t *tracker) dialed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dials++
}

func (t *tracker) failed(kind string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors[kind] += n
}

// copySpans returns the acknowledged sequences of every connection.
func (t *tracker) copySpans() [][]span {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([][]span, len(t.spans))
	for i, list := range t.spans {
		out[i] = append([]span(nil), list...)
	}
	return out
}

// Result is what a run came to. Times are of this machine's clock; durations are in nanoseconds in JSON.
type Result struct {
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	// Acked is the number of acknowledged writes.
	Acked int64 `json:"acked"`
	// Unknown is the number of writes that were sent and got no reply: each may or may not have happened.
	Unknown int64 `json:"unknown"`
	// LongestGap is the longest time without any acknowledged write, from GapStart to GapEnd; start and end of the run count as if
	// a write had been acknowledged there.
	LongestGap time.Duration `json:"longest_gap_ns"`
	GapStart   time.Time     `json:"gap_start"`
	GapEnd     time.Time     `json:"gap_end"`
	// Gaps are the longest ones, longest first, at most 16.
	Gaps []Gap `json:"gaps"`
	// SinceAck is the time since the last acknowledgement at the end, or now while it runs.
	SinceAck time.Duration `json:"since_ack_ns"`
	// Dials is the number of connections made.
	Dials int64 `json:"dials"`
	// Errors are counted by kind: the first word of an error reply (READONLY, LOADING, ...) or one of the Kind constants.
	Errors map[string]int64 `json:"errors"`
	// Verified is set by whoever called Verify.
	Verified *Verification `json:"verified,omitempty"`
}

// result works while running, too: the present time without an acknowledgement then counts as a gap.
func (t *tracker) result(now time.Time) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended.IsZero() {
		now = t.ended
	}
	r := Result{
		Started: t.started, Duration: now.Sub(t.started), Acked: t.acked, Unknown: t.unknown, Dials: t.dials,
		Gaps: append([]Gap(nil), t.gaps...), Errors: map[string]int64{}, SinceAck: now.Sub(t.last),
	}
	for k, v := range t.errors {
		r.Errors[k] = v
	}
	if t.started.IsZero() {
		return Result{Errors: r.Errors}
	}
	if len(t.gaps) > 0 {
		r.LongestGap, r.GapStart, r.GapEnd = t.gaps[0].Took, t.gaps[0].Start, t.gaps[0].End
	}
	if t.ended.IsZero() && r.SinceAck > r.LongestGap {
		r.LongestGap, r.GapStart, r.GapEnd = r.SinceAck, t.last, now
	}
	return r
}
