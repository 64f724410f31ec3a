package sentinel_test

import (
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// These are sequences of events in which an earlier version lost data or did the wrong
// thing; each must end well.

// vanish ends all pods; their names and volumes are left to successors.
func (w *world) vanish() []*pod {
	all := w.pods.all
	for _, p := range all {
		p.r.dead, p.r.link = true, false
		p.r.drop()
		w.lose(p.r)
	}
	w.pods.all = nil
	w.announce()
	return all
}

// comeBack is a pod that takes up a name and its volume.
func (w *world) comeBack(p *pod, keys, offset int64, replID string) *fakeRedis {
	r := w.set.add("r" + string(rune('1'+len(w.set.all))))
	r.replicaOf(sentinel.FenceAddr)
	r.keys, r.offset = keys, offset
	r.newReplID()
	if r.replID2 = ""; replID != "" {
		r.replID = replID
	}
	w.pods.all = append(w.pods.all, &pod{r: r, name: p.name, data: p.data, prio: -1})
	w.announce()
	return r
}

func (w *world) isMaster(t *testing.T, r *fakeRedis) {
	t.Helper()
	if w.committed().Master.Addr != r.addr || r.role != sentinel.RoleMaster {
		t.Errorf("%s is not master: %s", r.name, w.status())
	}
}

// other adds the pods of another StatefulSet, with data of their own.
func (w *world) other() (master, replica *fakeRedis) {
	r4, r5 := w.set.add("r4"), w.set.add("r5")
	r4.keys, r4.offset = 500, 700
	r4.newReplID()
	r5.keys, r5.offset = 500, 700
	r5.replicaOf(r4.addr)
	r5.link, r5.everUp, r5.replID = true, true, r4.replID
	return r4, r5
}

func TestANameThatMovesToAnotherStatefulSetIsAnotherMaster(t *testing.T) {
	for _, volumes := range []bool{true, false} {
		w := podsReady(t, 1000, volumes)
		r4, r5 := w.other()
		w.run(100 * ms)
		w.pods.owner = "default/other"
		w.pods.expected, w.pods.all = 2, []*pod{{r: r4, name: "r4", prio: -1}, {r: r5, name: "r5", prio: -1}}
		w.announce()
		w.run(10 * time.Second)
		w.isMaster(t, r4)
		if r4.keys != 500 || r5.keys != 500 || !r5.link {
			t.Errorf("volumes %t: the other data set was touched: %s", volumes, w.status())
		}
	}
}

func TestThoseWhoMayHaveMoreAreWaitedForFromTheFirstAnswer(t *testing.T) {
	w := podsReady(t, 1000, true)
	id := w.set.all[0].replID
	w.pods.expected = 0
	all := w.vanish()
	w.run(w.cfg.FailoverTimeout + 3*time.Second)
	w.pods.expected = 3
	w.comeBack(all[1], 900, 800, id)
	w.run(1500 * ms)
	r5 := w.comeBack(all[0], 1000, 1014, id)
	w.comeBack(all[2], 900, 800, id)
	w.run(4 * time.Second)
	w.isMaster(t, r5)
	if r5.keys != 1000 {
		t.Errorf("%d keys are left", r5.keys)
	}
}

func TestAnOldLineageWithAHighOffsetIsNotTheNewest(t *testing.T) {
	for _, volumes := range []bool{true, false} { // with volumes the heir decides, without them the lineage
		w := podsReady(t, 1000, volumes)
		r1, r2 := w.set.all[0], w.set.all[1]
		old := r1.replID
		r1.frozen = true
		w.run(3 * time.Second)
		w.isMaster(t, r2)
		w.run(sentinel.DefaultMinInterval)
		now := r2.replID
		r1.frozen = false
		all := w.vanish()
		stale := w.comeBack(all[0], 1000, 99999, old)
		w.comeBack(all[1], 5000, 2000, now)
		w.comeBack(all[2], 5000, 2000, now)
		w.run(10 * time.Second)
		if stale.role == sentinel.RoleMaster || w.podKeys() != 5000 {
			t.Errorf("volumes %t: the old copy won: %s", volumes, w.status())
		}
	}
}

func TestAProcessAtAnAddressThatAPodHasNoLongerIsNotWrittenTo(t *testing.T) {
	w := podsReady(t, 10, true)
	r2 := w.set.all[1]
	w.pods.of(r2).noAddr = true
	w.announce()
	r2.restart(true, true)
	w.lose(r2)
	r2.keys, r2.offset = 77777, 999999
	r2.newReplID()
	r2.replID2 = ""
	w.run(5 * time.Second)
	if r2.keys != 77777 || r2.master != sentinel.FenceAddr {
		t.Errorf("somebody else's Redis was written to: %s", w.status())
	}
}

func TestAnAddressThatAnotherMastersPodHasTooIsNotWrittenTo(t *testing.T) {
	w := podsReady(t, 10, true)
	r2 := w.set.all[1]
	r2.dead = true
	w.lose(r2)
	w.pods.others = []sentinel.Inventory{{Master: "carts", Owner: "default/carts", Instances: []sentinel.Instance{
		{ID: "carts-0", Name: "carts-0", Addr: sentinel.Addr{Host: "::ffff:" + r2.addr.Host, Port: r2.addr.Port}}}}}
	w.announce()
	r2.restart(true, true)
	r2.keys, r2.offset = 5, 70
	r2.newReplID()
	r2.replID2 = ""
	r2.role, r2.master = sentinel.RoleMaster, sentinel.Addr{}
	w.run(5 * time.Second)
	if r2.keys != 5 || r2.role != sentinel.RoleMaster {
		t.Errorf("another master's Redis was written to: %s", w.status())
	}
}

func TestAFormerMasterWhosePodIsGoneIsFencedWhenItIsSeenAgain(t *testing.T) {
	w := podsReady(t, 1000, true)
	r1 := w.set.all[0]
	r1.frozen = true
	w.run(5 * time.Second)
	w.pods.all = w.pods.all[1:]
	w.announce()
	w.run(5 * time.Second)
	r1.late = nil // what was sent to it meanwhile never arrived
	r1.thaw()
	w.run(3 * time.Second)
	if r1.role == sentinel.RoleMaster {
		t.Errorf("it takes writes: %s", w.status())
	}
}

func TestAPodWithDataThatIsBeingDeletedKeepsEmptyOnesFromBeingAdopted(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		r := w.set.add("r" + string(rune('1'+i)))
		if i == 0 {
			r.keys, r.offset = 1000, 1000
		} else {
			r.replicaOf(sentinel.FenceAddr)
		}
	}
	w.enlist(3, false)
	w.pods.all[0].deleting = true
	w.start(3)
	w.run(3 * time.Second)
	if c := w.committed(); c.Adopted {
		t.Fatalf("adopted: %s", w.status())
	}
	p := w.pods.all[0]
	p.r.dead = true
	w.lose(p.r)
	w.pods.all = w.pods.all[1:]
	r4 := w.comeBack(p, 1000, 1000, "")
	w.run(5 * time.Second)
	w.isMaster(t, r4)
	if w.podKeys() != 1000 {
		t.Errorf("the data is gone: %s", w.status())
	}
}

func TestAMasterThatIsBeingDeletedIsAdoptedAndMovedFrom(t *testing.T) {
	w := podsReady(t, 1000, true)
	w2 := newWorld(t)
	w2.set, w2.pods = w.set, w.pods
	w2.pods.all[0].deleting = true
	w2.start(3)
	w2.run(5 * time.Second)
	if r := w2.set.at(w2.committed().Master.Addr); r == w2.set.all[0] || r.role != sentinel.RoleMaster || r.keys != 1000 {
		t.Errorf("not moved: %s", w2.status())
	}
}

func TestTheHeirOfTheVolumeIsWaitedForWhileItLoads(t *testing.T) {
	w := podsReady(t, 1000, true)
	id := w.set.all[0].replID
	all := w.vanish()
	r4 := w.comeBack(all[0], 400, 0, "")
	w.comeBack(all[1], 900, 800, id) // an older snapshot, which would do if nobody had more
	r4.reply = sentinel.ReplyLoading
	w.seen = nil
	w.run(20 * time.Second)
	if n := len(w.begun()); n != 0 {
		t.Errorf("%d plans were begun while it loads", n)
	}
	r4.reply, r4.keys = sentinel.ReplyOK, 1000
	w.run(5 * time.Second)
	w.isMaster(t, r4)
}

func TestPriority0IsNotPromotedAsAnHeir(t *testing.T) {
	w := podsReady(t, 1000, true)
	all := w.vanish()
	r4 := w.comeBack(all[0], 400, 0, "")
	w.pods.of(r4).prio = 0
	w.announce()
	w.run(20 * time.Second)
	if r4.role == sentinel.RoleMaster {
		t.Errorf("promoted: %s", w.status())
	}
}

func TestAnAbortedHandoverFromAnAbsentMasterGivesItsWritesBack(t *testing.T) {
	w := podsReady(t, 1000, true)
	w.hooks = append(w.hooks, &hook{match: "do await", times: 1, outcome: sentinel.OutcomeFailed, detail: "behind"})
	w.pods.all = w.pods.all[1:]
	w.announce()
	w.run(10 * time.Second)
	if r := w.set.at(w.committed().Master.Addr); r.role != sentinel.RoleMaster {
		t.Errorf("nobody takes writes: %s", w.status())
	}
}

func TestObserveWaitsForTheEndOfAHandover(t *testing.T) {
	w := podsReady(t, 1000, true)
	w.hooks = append(w.hooks, &hook{match: "do await", times: 1, outcome: sentinel.OutcomeFailed, detail: "behind", then: func() {
		w.cfg.Observe = true
		w.announce()
	}})
	w.leader.step(sentinel.Request{ID: 1, Master: masterName, Kind: sentinel.RequestHandover})
	w.run(10 * time.Second)
	w.isMaster(t, w.set.all[0])
	if !w.committed().Config.Observe {
		t.Error("mode observe never came into force")
	}
}

func TestWhoAnswersForAnAbsentMasterWithoutANameProvesNothing(t *testing.T) {
	w := podsReady(t, 1000, true)
	id := w.set.all[0].replID
	all := w.vanish()
	w.run(500 * ms)
	r1 := w.set.all[0]
	r1.restart(false, false)
	r1.reply = sentinel.ReplyAuth
	for _, p := range all {
		w.comeBack(p, 1000, 1000, id)
	}
	w.run(8 * time.Second)
	if r := w.set.at(w.committed().Master.Addr); r == r1 || r.role != sentinel.RoleMaster {
		t.Errorf("still waiting: %s", w.status())
	}
}

func TestAHandoverThatIsAbortedAgainAndAgainIsGivenUp(t *testing.T) {
	w := podsReady(t, 1000, true)
	w.hooks = append(w.hooks, &hook{match: "do await", times: 100000, outcome: sentinel.OutcomeFailed, detail: "behind"})
	w.pods.all[0].deleting = true
	w.announce()
	fenced := 0
	for range 30000 {
		w.run(ms)
		if w.set.all[0].role != sentinel.RoleMaster {
			fenced++
		}
	}
	if n := len(w.begun()); n > 5 || fenced > 3000 {
		t.Errorf("%d handovers in 30 s, fenced for %d ms", n, fenced)
	}
	w.run(3 * time.Minute) // the pauses between them grow, and that alone would not end it
	if n := len(w.begun()); n > 5 {
		t.Errorf("%d handovers, and there is no end", n)
	}
}

// The log is read again at every start: a failover of long ago is none of a moment ago.
func TestAnOldFailoverInTheLogHoldsNothingBack(t *testing.T) {
	w := ready(t, time.Second, 1000, [3]time.Duration{})
	w.set.all[0].dead = true
	w.lose(w.set.all[0])
	w.run(2 * time.Second)
	if len(w.begun()) != 1 {
		t.Fatalf("%d failovers: %s", len(w.begun()), w.status())
	}
	var promoted []sentinel.Command
	for _, a := range w.seen {
		if p, ok := a.(sentinel.Propose); ok && (p.Command.Type == sentinel.CmdBegin || p.Command.Type == sentinel.CmdAdvance || p.Command.Type == sentinel.CmdDone) {
			promoted = append(promoted, p.Command)
		}
	}
	com := w.committed().Clone()
	com.Plan, com.Master, com.Last = nil, promoted[0].Plan.Old, promoted[0].Plan.Old.Epoch
	fresh := sentinel.NewState("w9", []sentinel.WatcherID{"w9"}, com, 0)
	later := w.wall().Add(time.Minute)
	fresh.Step(sentinel.Input{At: 0, Wall: later, Event: sentinel.Led{Leading: true, Term: 9}})
	for i, c := range promoted {
		fresh.Step(sentinel.Input{At: time.Duration(i) * ms, Wall: later, Event: sentinel.Applied{Command: c}})
	}
	if got := fresh.HeldBackFor(10 * ms); got != 0 {
		t.Errorf("the next failover would wait %v", got)
	}
}

// The lost master's volume was wiped, the ids tell nothing: the one copy that is left
// goes on.
func TestTheOnlyCopyThatIsLeftGoesOn(t *testing.T) {
	w := podsReady(t, 1000, true)
	all := w.vanish()
	w.comeBack(all[0], 0, 0, "")
	r5 := w.comeBack(all[1], 1000, 0, "")
	w.comeBack(all[2], 0, 0, "")
	w.run(10 * time.Second)
	w.isMaster(t, r5)
	if w.podKeys() != 1000 {
		t.Errorf("the data is gone: %s", w.status())
	}
}
