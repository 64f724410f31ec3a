package sentinel_test

import (
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// reboot restarts all watchers: they keep the log, and forget what they have seen.
func (w *world) reboot() {
	w.lead(nil)
	w.probers = map[string]*prober{}
	var voters []sentinel.WatcherID
	for _, wt := range w.ws {
		voters = append(voters, wt.id)
	}
	for _, wt := range w.ws {
		wt.r = sentinel.NewRouter(wt.id)
		wt.step(sentinel.Membership{Me: wt.id, Voters: voters})
		wt.step(sentinel.Restored{Registry: w.log})
	}
	w.lead(w.ws[0])
}

// Everything restarts, the watchers too, and the master has an old dump: only what was
// recorded of it tells that a replica which is still away may have more.
func TestAnOldDumpIsNotTakenForTheDataSetWhenNobodyRemembers(t *testing.T) {
	w := ready(t, time.Second, 0, [3]time.Duration{})
	r1, r2, r3 := w.set.all[0], w.set.all[1], w.set.all[2]
	old := r1.offset
	r1.rate = 1 << 20
	w.run(15 * time.Second)
	for _, r := range w.set.all {
		r.dead = true
		r.drop()
		w.lose(r)
	}
	kept := r2.offset
	r1.offset = old
	r1.restart(true, true)
	w.reboot()
	w.run(5 * time.Second)
	if r1.role == sentinel.RoleMaster {
		t.Errorf("the old dump became the data set: %s", w.status())
	}
	r2.restart(true, true)
	r3.restart(true, true)
	w.lose(r2)
	w.lose(r3)
	w.run(10 * time.Second)
	w.isMaster(t, r2)
	if r2.offset < kept {
		t.Errorf("offset %d is left of %d: %s", r2.offset, kept, w.status())
	}
}

func TestAFlushThatWasSeenIsNotLess(t *testing.T) {
	w := ready(t, time.Second, 0, [3]time.Duration{})
	r1 := w.set.all[0]
	for _, r := range w.set.all {
		r.keys = 0
		r.offset += 40
	}
	w.run(15 * time.Second)
	w.isMaster(t, r1)
	if c := w.committed(); !c.Lineage.Empty || c.Last != 0 {
		t.Errorf("recorded as empty: %t, epoch %s", c.Lineage.Empty, c.Last)
	}
	r1.dead = true
	r1.drop()
	w.lose(r1)
	w.run(time.Second)
	r1.restart(false, true)
	w.lose(r1)
	w.run(5 * time.Second)
	for _, r := range w.set.all {
		if r.role == sentinel.RoleReplica && !r.link {
			t.Errorf("%s is left out: %s", r.name, w.status())
		}
	}
}

// A deposed leader that does not know it yet hears of the next epoch from its successor
// before its own log shows it.
func TestALeaderThatHearsOfALaterEpochWritesNothing(t *testing.T) {
	w := ready(t, time.Second, 0, [3]time.Duration{})
	r1, r2, r3 := w.set.all[0], w.set.all[1], w.set.all[2]
	w.leader.step(sentinel.Pushed{Master: masterName, Assignment: sentinel.Assignment{Epoch: 1, Instance: sentinel.InstanceID(r2.addr.String()), Addr: r2.addr}})
	r2.role, r2.master = sentinel.RoleMaster, sentinel.Addr{}
	r1.replicaOf(r2.addr)
	r3.replicaOf(r2.addr)
	r2.dead = true
	r2.drop()
	w.lose(r2)
	w.run(5 * time.Second)
	if r1.role == sentinel.RoleMaster || !r1.master.Same(r2.addr) || !r3.master.Same(r2.addr) {
		t.Errorf("it acted on its own epoch: %s", w.status())
	}
}

// REPLICAOF throws away what the one that follows has (invariant 5).
func TestWhoMayBeMadeToFollowWhom(t *testing.T) {
	data := func(keys int64) *sentinel.Info {
		return &sentinel.Info{Role: sentinel.RoleMaster, Keys: keys, Offset: 100}
	}
	loading, syncing := data(5), data(5)
	loading.Loading, syncing.Syncing = true, true
	for name, c := range map[string]struct {
		who, master *sentinel.Info
		want        string
	}{
		"data under data":              {data(9), data(5), ""},
		"nothing under nothing":        {data(0), data(0), ""},
		"nothing under what is unsaid": {data(0), data(-1), ""},
		"data under nothing":           {data(1), data(0), "it has data and the master has none: a person must decide"},
		"data under what is unsaid":    {data(1), data(-1), "the master has not said yet how much it has"},
		"the unsaid under the unsaid":  {data(-1), data(-1), "the master has not said yet how much it has"},
		"data under who loads":         {data(1), loading, "the master is loading"},
		"data under who takes a sync":  {data(1), syncing, "the master is loading"},
	} {
		if got := sentinel.MayFollow(c.who, c.master); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
