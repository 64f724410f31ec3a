package sentinel_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// Replicas of nobody whose data is of several lineages: the highest offset says nothing.
func TestPodsOfSeveralLineagesAreLeftToAPerson(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		r := w.set.add(fmt.Sprintf("r%d", i+1))
		r.keys, r.offset, r.replID = 1000, int64(1000+i), strings.Repeat(fmt.Sprint(i+1), 40)
		r.replicaOf(sentinel.FenceAddr)
	}
	w.enlist(3, false)
	w.start(3)
	w.run(5 * time.Second)
	if c := w.committed(); c.Adopted {
		t.Fatalf("adopted: %s", w.status())
	}
	for _, r := range w.set.all {
		if r.role == sentinel.RoleMaster {
			t.Errorf("%s was made a master: %s", r.name, w.status())
		}
	}
}

// A pod that is being deleted is moved from only when nobody else decides as well.
func TestAHandoverFromAPodWaitsWhileSomebodyElseDecides(t *testing.T) {
	w := podsReady(t, 1000, true)
	hear := func() {
		for _, wt := range w.ws {
			wt.step(sentinel.Foreign{Master: masterName, Instance: sentinel.InstanceID(w.set.all[0].addr.String()), ID: "stranger",
				Addr: sentinel.Addr{Host: "10.0.9.1", Port: 26379}, Name: masterName})
		}
	}
	hear()
	w.run(time.Second)
	w.pods.all[0].deleting = true
	w.announce()
	for range 10 {
		hear()
		w.run(500 * time.Millisecond)
	}
	w.isMaster(t, w.set.all[0])
	if n := len(w.committed().History); n > 0 {
		for _, rec := range w.committed().History {
			if rec.Kind == "handover" || rec.Kind == "aborted" {
				t.Errorf("a plan was begun: %+v", rec)
			}
		}
	}
}
