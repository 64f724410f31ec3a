package sentinel_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/triwatch/triwatch/sentinel"
)

// podsReady is a world of three pods, adopted and in sync.
func podsReady(t testing.TB, keys int64, volumes bool) *world {
	w := newWorld(t)
	w.cfg.FailoverTimeout = 5 * time.Second
	for i := range 3 {
		r := w.set.add(fmt.Sprintf("r%d", i+1))
		r.offset, r.keys = 1000, keys
		if i > 0 {
			m := w.set.all[0]
			r.replicaOf(m.addr)
			r.link, r.everUp, r.replID = true, true, m.replID
		}
	}
	w.enlist(3, false)
	if !volumes {
		for _, p := range w.pods.all {
			p.data = ""
		}
	}
	w.start(3)
	w.run(3500 * ms)
	return w
}

// end ends a pod; the StatefulSet makes another of the same name, born without a
// master, which finds what is on the volume.
func (w *world) end(p *pod) {
	old := p.r
	old.dead, old.link, old.syncing = true, false, false
	old.drop()
	w.lose(old)
	w.pods.all = slices.DeleteFunc(w.pods.all, func(x *pod) bool { return x == p })
	w.announce()
	w.pods.made++
	r := w.set.add(fmt.Sprintf("r%d", len(w.set.all)+1))
	r.replicaOf(sentinel.FenceAddr)
	if p.data != "" {
		r.keys, r.offset, r.replID = old.keys, old.offset, old.replID
		if w.pods.made%3 == 0 {
			r.newReplID() // an append-only file does not tell
			r.replID2, r.offset = "", 0
		}
	}
	w.pods.all = append(w.pods.all, &pod{r: r, name: p.name, data: p.data, prio: -1})
	w.announce()
}

func (w *world) podFault(t *rapid.T) {
	p := w.pods.all[rapid.IntRange(0, len(w.pods.all)-1).Draw(t, "pod")]
	wt := w.ws[rapid.IntRange(0, len(w.ws)-1).Draw(t, "watcher")]
	switch rapid.SampledFrom([]string{"delete", "delete at once", "end", "end all", "restart empty", "restart", "freeze", "thaw", "cut", "mute", "heal", "lead", "nolead",
		"handover", "write", "forget", "do is lost", "do lands unseen", "proposal is lost", "hook"}).Draw(t, "fault") {
	case "delete":
		p.deleting, p.patience = true, 1200*ms
		w.announce()
	case "delete at once":
		p.deleting = true
		w.announce()
	case "end":
		w.end(p)
	case "end all":
		for _, p := range slices.Clone(w.pods.all) {
			w.end(p)
		}
	case "restart empty":
		p.r.restart(false, true)
		w.lose(p.r)
	case "restart":
		p.r.restart(true, true)
		w.lose(p.r)
	case "freeze":
		p.r.frozen = true
	case "thaw":
		p.r.thaw()
	case "cut":
		w.cutoff[string(wt.id)+" "+p.r.name] = true
	case "mute":
		w.cutoff[string(wt.id)] = true
	case "heal":
		clear(w.cutoff)
	case "lead":
		w.depose(wt)
	case "nolead":
		w.lead(nil)
	case "handover":
		if w.leader != nil {
			w.leader.step(sentinel.Request{ID: 1, Master: masterName, Kind: sentinel.RequestHandover})
		}
	case "write":
		if r := p.r; r.role == sentinel.RoleMaster && !r.frozen {
			r.keys, r.offset = r.keys+10, r.offset+500
		}
	case "forget": // a watcher has not heard of a pod
		wt.step(sentinel.Inventories{Unsure: true})
	case "do is lost":
		w.hooks = append(w.hooks, &hook{match: "do ", times: 1, outcome: sentinel.OutcomeFailed})
	case "do lands unseen":
		w.hooks = append(w.hooks, &hook{match: "do ", times: 1, land: true, outcome: sentinel.OutcomeUnknown})
	case "proposal is lost":
		w.hooks = append(w.hooks, &hook{match: "propose ", times: 1})
	case "hook":
		w.drawHook(t)
	}
}

// podsHeal ends all faults; pods that were being deleted are replaced.
func (w *world) podsHeal() {
	clear(w.cutoff)
	w.hooks, w.veto = nil, []vetoing{{}}
	for _, p := range slices.Clone(w.pods.all) {
		p.r.thaw()
		if p.deleting {
			w.end(p)
		}
	}
	w.announce()
	if w.leader == nil {
		w.lead(w.ws[0])
	}
}

func (w *world) podsWell() bool {
	c := w.committed()
	if w.leader == nil || c == nil || c.Plan != nil {
		return false
	}
	for _, p := range w.pods.all {
		if p.r.addr == c.Master.Addr {
			if p.r.role != sentinel.RoleMaster {
				return false
			}
		} else if p.r.role != sentinel.RoleReplica || p.r.master != c.Master.Addr || !p.r.link {
			return false
		}
	}
	return true
}

// podKeys is the largest number of keys that a pod has.
func (w *world) podKeys() int64 {
	n := int64(0)
	for _, p := range w.pods.all {
		n = max(n, p.r.keys)
	}
	return n
}

// Whatever happens to the pods, everything comes right by itself or a person is asked
// for, and the last copy of the data is still there.
func TestPodsComeRightAgainAfterAnyFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := podsReady(t, 1000, rapid.Bool().Draw(rt, "volumes"))
		w.t = failer{TB: t, rt: rt}
		for range rapid.IntRange(1, 10).Draw(rt, "faults") {
			w.podFault(rt)
			w.run(rapid.SampledFrom([]time.Duration{0, ms, 3 * ms, 20 * ms, 400 * ms, 1300 * ms, 3 * time.Second, 7 * time.Second}).Draw(rt, "for"))
		}
		w.podsHeal()
		w.seen = nil
		had := w.podKeys()
		for end := w.now + 60*time.Second; !w.podsWell() && !w.asksAPerson(); {
			if w.now > end {
				rt.Fatalf("not right after 60 s: %s", w.status())
			}
			w.run(20 * ms)
		}
		if had > 0 && w.podKeys() == 0 {
			rt.Fatalf("the last copy is gone: %s", w.status())
		}
	})
}
