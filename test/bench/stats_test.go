package main

import (
	"math"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/writer"
)

// of makes samples of one scenario and side with these values of "v"; NaN is a run without one.
func of(side string, values ...float64) []sample {
	var out []sample
	for i, v := range values {
		s := sample{Scenario: kill, Side: side, Run: i + 1, Values: map[string]float64{}}
		if !math.IsNaN(v) {
			s.Values["v"] = v
		}
		out = append(out, s)
	}
	return out
}

func judged(t target, samples ...[]sample) verdict {
	var all []sample
	for _, s := range samples {
		all = append(all, s...)
	}
	return t.judge(summarize(all, kill, sentinelSide, "v"), summarize(all, kill, triwatchSide, "v"))
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{9, 1, 5, 6}, 5.5}, {[]float64{2, 2, 1000}, 2}} {
		in := append([]float64(nil), c.in...)
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
		for i := range in {
			if in[i] != c.in[i] {
				t.Fatalf("median changed its argument to %v", c.in)
			}
		}
	}
}

func TestPartOfSentinelWantsMore(t *testing.T) {
	for name, c := range map[string]struct {
		sentinel, triwatch []sample
		want               verdict
	}{
		"as many":                     {of(sentinelSide, 100), of(triwatchSide, 100), verdictReached},
		"just enough":                 {of(sentinelSide, 100), of(triwatchSide, 80), verdictReached},
		"too few":                     {of(sentinelSide, 100), of(triwatchSide, 79), verdictMissed},
		"none at all":                 {of(sentinelSide, 100), of(triwatchSide, 0), verdictMissed},
		"not measured":                {of(sentinelSide, 100), of(triwatchSide, math.NaN()), verdictMissed},
		"nothing to be compared with": {nil, of(triwatchSide, 100), verdictUnknown},
	} {
		if got := judged(partOfSentinel(0.8), c.sentinel, c.triwatch); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestSummaryKeepsSidesAndScenariosApart(t *testing.T) {
	all := append(of(sentinelSide, 100, 300, 200), of(triwatchSide, 5, 1)...)
	all = append(all, sample{Scenario: stop, Side: triwatchSide, Run: 1, Values: map[string]float64{"v": 9999}})
	if got, want := summarize(all, kill, sentinelSide, "v"), (summary{Runs: 3, N: 3, Median: 200, Min: 100, Max: 300}); got != want {
		t.Errorf("sentinel: %+v, want %+v", got, want)
	}
	if got, want := summarize(all, kill, triwatchSide, "v"), (summary{Runs: 2, N: 2, Median: 3, Min: 1, Max: 5}); got != want {
		t.Errorf("triwatch: %+v, want %+v", got, want)
	}
	if got := summarize(all, kill, triwatchSide, "other"); got.N != 0 || got.Runs != 2 {
		t.Errorf("a value that nobody measured: %+v", got)
	}
}

func TestFailedRunCountsWithItsValue(t *testing.T) {
	all := of(triwatchSide, 20, 18_000, 17_000)
	all[1].Failed, all[2].Failed = "no other master", "no other master"
	if got, want := summarize(all, kill, triwatchSide, "v"), (summary{Runs: 3, Failed: 2, N: 3, Median: 17_000, Min: 20, Max: 18_000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestJudge(t *testing.T) {
	failed := of(triwatchSide, 10, 10, 10)
	failed[2].Failed = "it did not start"
	none := math.NaN()
	for name, c := range map[string]struct {
		target  target
		samples [][]sample
		want    verdict
	}{
		"at the limit":                             {atMost(50), [][]sample{of(triwatchSide, 50, 50, 50)}, verdictReached},
		"over the limit":                           {atMost(50), [][]sample{of(triwatchSide, 51)}, verdictMissed},
		"one slow run of three":                    {atMost(50), [][]sample{of(triwatchSide, 10, 900, 10)}, verdictReached},
		"two slow runs of three":                   {atMost(50), [][]sample{of(triwatchSide, 10, 900, 900)}, verdictMissed},
		"one run fails though the median is fine":  {atMost(50), [][]sample{failed}, verdictMissed},
		"one run measured nothing":                 {atMost(50), [][]sample{of(triwatchSide, 10, none, 10)}, verdictMissed},
		"nothing was run":                          {atMost(50), [][]sample{of(sentinelSide, 1)}, verdictUnknown},
		"one lost write in seven runs":             {neverOver(0), [][]sample{of(triwatchSide, 0, 0, 0, 1, 0, 0, 0)}, verdictMissed},
		"no lost write":                            {neverOver(0), [][]sample{of(triwatchSide, 0, 0, 0)}, verdictReached},
		"cheaper than Sentinel":                    {atMostSentinel(), [][]sample{of(sentinelSide, 14), of(triwatchSide, 13)}, verdictReached},
		"dearer than Sentinel":                     {atMostSentinel(), [][]sample{of(sentinelSide, 14), of(triwatchSide, 15)}, verdictMissed},
		"Sentinel was not measured":                {atMostSentinel(), [][]sample{of(triwatchSide, 0)}, verdictUnknown},
		"Sentinel measured nothing":                {atMostSentinel(), [][]sample{of(sentinelSide, none), of(triwatchSide, 0)}, verdictUnknown},
		"failed, and Sentinel was not measured":    {atMostSentinel(), [][]sample{failed}, verdictMissed},
		"Sentinel's speed is no target by itself":  {atMost(50), [][]sample{of(sentinelSide, 2000), of(triwatchSide, 1999)}, verdictMissed},
		"nothing is asked":                         {target{}, [][]sample{of(triwatchSide, 1e9)}, verdictNone},
		"nothing is asked, not even that it works": {target{}, [][]sample{failed}, verdictNone},
	} {
		if got := judged(c.target, c.samples...); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestMissedSeesWhatWasNotMeasured(t *testing.T) {
	for v, want := range map[verdict]bool{verdictMissed: true, verdictUnknown: true, verdictReached: false, verdictNone: false} {
		if got := (report{Rows: []row{{Verdict: verdictReached}, {Verdict: v}}}).missed(); got != want {
			t.Errorf("a report with %q counts as missed: %v, want %v", v, got, want)
		}
	}
}

// gaps makes a result from begin and end of gaps in milliseconds.
func gaps(at time.Time, spans ...[2]int) writer.Result {
	r := writer.Result{Started: at}
	for _, s := range spans {
		g := writer.Gap{Start: at.Add(time.Duration(s[0]) * time.Millisecond), End: at.Add(time.Duration(s[1]) * time.Millisecond)}
		g.Took = g.End.Sub(g.Start)
		r.Gaps = append(r.Gaps, g)
	}
	return r
}

func TestOutageIsWhatEndedAfterTheStrike(t *testing.T) {
	at := time.Now()
	struck := at.Add(3 * time.Second)
	full := make([][2]int, keptGaps)
	for i := range full {
		full[i] = [2]int{100 * (i + 1), 100*(i+1) + 40 - i}
	}
	for name, c := range map[string]struct {
		result        writer.Result
		outage, noise time.Duration
	}{
		"a longer pause before it is noise": {gaps(at, [2]int{1000, 1090}, [2]int{2999, 3040}), 41 * time.Millisecond, 90 * time.Millisecond},
		"the longest of several counts":     {gaps(at, [2]int{5000, 5030}, [2]int{2999, 3020}), 30 * time.Millisecond, 0},
		"it lasts to the end of the run":    {gaps(at, [2]int{2999, 18_000}), 15_001 * time.Millisecond, 0},
		"connecting is neither":             {gaps(at, [2]int{0, 70}, [2]int{2999, 3020}), 21 * time.Millisecond, 0},
		"too short to be kept":              {gaps(at, [2]int{1000, 1090}), leastGap, 90 * time.Millisecond},
		"crowded out by longer ones before": {gaps(at, full...), 25 * time.Millisecond, 40 * time.Millisecond},
	} {
		if got := outage(c.result, struck); got != c.outage {
			t.Errorf("%s: outage %s, want %s", name, got, c.outage)
		}
		if got := noise(c.result, struck); got != c.noise {
			t.Errorf("%s: noise %s, want %s", name, got, c.noise)
		}
	}
}
