package sentinel_test

import (
	"testing"
	"time"
)

func TestAFailoverHeldTimeAndAgainIsOneRecord(t *testing.T) {
	t.Parallel()
	w := ready(t, time.Second, 100_000, [3]time.Duration{})
	held := func() (n int) {
		for _, r := range w.committed().History {
			if r.Kind == "held" {
				n++
			}
		}
		return n
	}
	again := func() {
		for _, x := range w.ws {
			w.cutoff[string(x.id)+" r1"] = true
		}
		w.until("held", 5*time.Second, func() bool { return w.leader.r.State(masterName).View().State == "held" })
		clear(w.cutoff)
		w.until("heard again", 5*time.Second, func() bool { return w.leader.r.State(masterName).View().State == "ok" })
	}
	for range 5 {
		again()
	}
	if n := held(); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	w.run(time.Minute)
	again()
	if n := held(); n != 2 {
		t.Errorf("%d records after a minute, want 2", n)
	}
}
