package main

import (
	"fmt"
	"slices"
)

// sample is what one run of one scenario with one side came to.
type sample struct {
	Scenario string `json:"scenario"`
	Side     string `json:"side"`
	Run      int    `json:"run"` // from 1
	// Values are by the names that the figures use; what was not measured is missing.
	Values map[string]float64 `json:"values"`
	// Failed says why the run did not do what it should; "" if it did.
	Failed string `json:"failed,omitempty"`
}

// summary is one figure of one side over all its runs. The zero value means that nothing was run.
type summary struct {
	Runs   int     `json:"runs"`
	Failed int     `json:"failed"`
	N      int     `json:"measured"` // runs with a value
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarize collects one value of one side. Failed runs count with what they measured: a gap that never ended is as long as the
// run was, and leaving it out would make the worst run the best.
func summarize(samples []sample, scenario, side, value string) summary {
	var s summary
	var all []float64
	for _, x := range samples {
		if x.Scenario != scenario || x.Side != side {
			continue
		}
		s.Runs++
		if x.Failed != "" {
			s.Failed++
		}
		if v, ok := x.Values[value]; ok {
			all = append(all, v)
		}
	}
	if s.N = len(all); s.N > 0 {
		s.Median, s.Min, s.Max = median(all), slices.Min(all), slices.Max(all)
	}
	return s
}

// median is the middle value, or the mean of the two in the middle; values must not be empty.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// verdict is what a figure comes to.
type verdict int

// The verdicts.
const (
	verdictUnknown verdict = iota // not measured
	verdictNone                   // nothing is asked of it
	verdictReached
	verdictMissed
)

// String is the word in the table.
func (v verdict) String() string {
	switch v {
	case verdictNone:
		return "-"
	case verdictReached:
		return "reached"
	case verdictMissed:
		return "missed"
	case verdictUnknown:
		return "not measured"
	default:
		return fmt.Sprintf("verdict %d", int(v))
	}
}

// MarshalText writes the word.
func (v verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// target is what is asked of triwatch. The zero value asks nothing.
type target struct {
	// atMost is the highest value that is allowed.
	atMost float64
	// sentinel asks for at most Sentinel's median instead.
	sentinel bool
	// part asks for at least this part of Sentinel's median: more is better.
	part float64
	// worst judges the worst run instead of the median.
	worst bool
	set   bool
}

func atMost(v float64) target    { return target{atMost: v, set: true} }
func neverOver(v float64) target { return target{atMost: v, worst: true, set: true} }
func atMostSentinel() target     { return target{sentinel: true, set: true} }

// partOfSentinel is for what is better the higher it is.
func partOfSentinel(part float64) target { return target{part: part, set: true} }

// judge compares triwatch with the target. A failed run is a miss, whatever the median says.
func (t target) judge(sentinel, triwatch summary) verdict {
	got := triwatch.Median
	if t.worst {
		got = triwatch.Max
	}
	limit := t.atMost
	if t.sentinel {
		limit = sentinel.Median
	}
	switch {
	case !t.set:
		return verdictNone
	case triwatch.Runs == 0:
		return verdictUnknown
	case triwatch.Failed > 0 || triwatch.N < triwatch.Runs:
		return verdictMissed
	case (t.sentinel || t.part > 0) && sentinel.N == 0:
		return verdictUnknown
	case t.part > 0 && got < t.part*sentinel.Median, t.part == 0 && got > limit:
		return verdictMissed
	default:
		return verdictReached
	}
}
