package election

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkPropose measures one proposal at a time in a cluster of three on
// loopback, each with a store on disk of its own.
func BenchmarkPropose(b *testing.B) {
	c := newCluster(b, 3)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	cmd := make([]byte, 200)
	mustCommit(b, leader, string(cmd))
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if o := leader.Propose(b.Context(), cmd); o.Status != Committed {
			b.Fatalf("%v, %v", o.Status, o.Err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
