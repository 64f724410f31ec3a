package sentinel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

const masterName = "orders"

// world is three watchers, a modelled log and a modelled Redis set on one virtual
// clock. A probe and a message take 1 ms, a commit 2 ms.
type world struct {
	t       testing.TB
	set     *redisSet
	cfg     sentinel.Config
	ws      []*watcher
	now     sentinel.Time
	queue   []event
	leader  *watcher
	term    uint64
	index   uint64
	log     *sentinel.Registry
	hooks   []*hook
	probers map[string]*prober
	cutoff  map[string]bool // "w1 r1" and "w2"
	phase   map[string]time.Duration
	show    func(w *watcher, a sentinel.Action)
	seen    []sentinel.Action // all actions of leaders
	epochs  map[sentinel.Epoch]string
	pods    *pods // nil on hosts
	before  sentinel.Before
	// veto answers the next questions before a failover, the last one all that follow.
	veto  []vetoing
	fence bool // the file asks for it
	known []sentinel.Member
}

type event struct {
	at  sentinel.Time
	run func()
}

type watcher struct {
	id sentinel.WatcherID
	r  *sentinel.Router
	w  *world
}

// hook changes the fate of one action.
type hook struct {
	match   string // "do promote r2", "propose advance promoted"
	land    bool
	pass    bool // nothing but the consequence
	outcome sentinel.Outcome
	detail  string
	times   int
	then    func()
}

// vetoing is what becomes of a question before a failover.
type vetoing struct {
	answer sentinel.HookAnswered
	after  time.Duration
	lost   bool
}

func newWorld(t testing.TB) *world {
	cfg := sentinel.DefaultConfig()
	cfg.DownAfter = time.Second
	cfg.FailoverTimeout = 10 * time.Second
	return &world{t: t, set: &redisSet{syncTime: 20 * ms}, cfg: cfg, log: sentinel.NewRegistry(), probers: map[string]*prober{},
		cutoff: map[string]bool{}, phase: map[string]time.Duration{}, epochs: map[sentinel.Epoch]string{}}
}

func (w *world) after(d time.Duration, f func()) { w.queue = append(w.queue, event{w.now + d, f}) }

func (w *world) wall() time.Time {
	return time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC).Add(w.now)
}

// start brings up the watchers; w1 leads and proposes to watch the first Redis.
func (w *world) start(n int) {
	var voters []sentinel.WatcherID
	for i := range n {
		voters = append(voters, sentinel.WatcherID(fmt.Sprintf("w%d", i+1)))
	}
	for _, id := range voters {
		wt := &watcher{id: id, r: sentinel.NewRouter(id), w: w}
		w.ws = append(w.ws, wt)
		wt.step(sentinel.Membership{Me: id, Voters: voters})
	}
	if w.pods != nil {
		w.announce()
		w.lead(w.ws[0])
		return
	}
	first := w.set.all[0].addr
	if also := w.set.all[0].also; len(also) > 0 {
		first = also[0]
	}
	var fences []string
	if w.fence {
		fences = []string{masterName}
	}
	for _, wt := range w.ws[1:] {
		wt.step(sentinel.Wanted{Fences: fences})
	}
	w.ws[0].step(sentinel.Wanted{Fences: fences, Monitors: []sentinel.Command{{Type: sentinel.CmdMonitor, Level: 1, Master: masterName, Config: &w.cfg,
		At: sentinel.Assignment{Instance: sentinel.InstanceID(first.String()), Addr: first}, Members: w.known}}})
	w.lead(w.ws[0])
}

func (w *world) watcher(name string) *watcher {
	for _, x := range w.ws {
		if string(x.id) == name {
			return x
		}
	}
	return nil
}

func (w *world) lead(wt *watcher) {
	if old := w.leader; old != nil && old != wt {
		w.leader = nil
		old.step(sentinel.Led{Leading: false, Term: w.term})
	}
	w.leader = wt
	if wt == nil {
		return
	}
	w.term++
	wt.step(sentinel.Led{Leading: true, Term: w.term})
}

// depose takes the lead away now and gives it to another after an election.
func (w *world) depose(to *watcher) {
	w.lead(nil)
	w.after(500*ms, func() { w.lead(to) })
}

// run advances the clock.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.now += ms
		w.set.tick(w.now)
		w.events()
		for _, wt := range w.ws {
			for n := 0; wt.r.Deadline() <= w.now; n++ {
				wt.step(nil)
				if n > 3 {
					w.t.Fatalf("%v: %s wants to be called again at once, for ever", w.now, wt.id)
				}
			}
		}
		for _, k := range sortedKeys(w.probers) {
			w.probers[k].tick()
		}
	}
}

// until advances the clock until something is true.
func (w *world) until(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	for end := w.now + limit; !cond(); {
		if w.now >= end {
			w.t.Fatalf("%v: not %s after %v; %s", w.now, what, limit, w.status())
		}
		w.run(ms)
	}
}

func (w *world) events() {
	for i := 0; i < len(w.queue); i++ {
		if e := w.queue[i]; e.at <= w.now {
			w.queue = slices.Delete(w.queue, i, i+1)
			i--
			e.run()
		}
	}
}

func (wt *watcher) step(ev sentinel.InputEvent) {
	for _, a := range wt.r.Step(sentinel.Input{At: wt.w.now, Wall: wt.w.wall(), Event: ev}) {
		wt.w.carry(wt, a)
	}
}

func (w *world) carry(wt *watcher, a sentinel.Action) {
	leads := w.leader == wt
	if leads {
		w.seen = append(w.seen, a)
	}
	if w.show != nil {
		w.show(wt, a)
	}
	switch a := a.(type) {
	case sentinel.Watch:
		w.watch(wt, a)
	case sentinel.ProbeNow:
		if p := w.probers[string(wt.id)+" "+string(a.Instance)]; p != nil {
			w.after(a.After, func() { p.now(a.Rights) })
		}
	case sentinel.SendAsk:
		w.toOthers(wt, sentinel.PeerAsk{From: wt.id, Ask: a.Ask})
	case sentinel.Push:
		w.toOthers(wt, sentinel.Pushed{Master: a.Master, Assignment: a.Assignment})
	case sentinel.SendReport:
		if l := w.leader; l != nil && !w.cutoff[string(wt.id)] && !w.cutoff[string(l.id)] {
			w.after(ms, func() { l.step(sentinel.PeerReport{From: wt.id, Report: a.Report}) })
		}
	case sentinel.Propose:
		if !leads {
			w.t.Errorf("%v: %s proposes %s without leading", w.now, wt.id, a.Command.Type)
		}
		w.propose(wt, a.Command)
	case sentinel.Do:
		if !leads {
			w.t.Errorf("%v: %s does %s without leading", w.now, wt.id, a.Op)
		}
		w.do(wt, a)
	case sentinel.AskHook:
		w.askHook(wt, a)
	case sentinel.Emit, sentinel.Answer:
	}
}

// askHook answers a question, whoever leads by then.
func (w *world) askHook(wt *watcher, a sentinel.AskHook) {
	if w.leader != wt {
		w.t.Errorf("%v: %s asks a hook without leading", w.now, wt.id)
	}
	if w.before.Timeout == 0 || a.Timeout > 2*w.before.Timeout {
		w.t.Errorf("%v: asked for %v, the hook has %v", w.now, a.Timeout, w.before.Timeout)
	}
	if len(w.veto) == 0 {
		return
	}
	v := w.veto[0]
	if len(w.veto) > 1 {
		w.veto = w.veto[1:]
	}
	v.answer.Master, v.answer.ID = a.Master, a.ID
	if !v.lost {
		w.after(v.after, func() { wt.step(v.answer) })
	}
}

// hooked tells all watchers whom to ask before a failover.
func (w *world) hooked(b sentinel.Before) {
	w.before = b
	for _, wt := range w.ws {
		wt.step(sentinel.Hooks{Default: b})
	}
}

func (w *world) toOthers(wt *watcher, ev sentinel.InputEvent) {
	for _, o := range w.ws {
		if o != wt && !w.cutoff[string(o.id)] && !w.cutoff[string(wt.id)] {
			w.after(ms, func() { o.step(ev) })
		}
	}
}

// caught returns the hook for an action, nil if there is none.
func (w *world) caught(what string) *hook {
	for i, h := range w.hooks {
		if strings.HasPrefix(what, h.match) {
			if h.times--; h.times <= 0 {
				w.hooks = slices.Delete(w.hooks, i, i+1)
			}
			return h
		}
	}
	return nil
}

func (w *world) propose(wt *watcher, c sentinel.Command) {
	what := "propose " + string(c.Type)
	if c.Type == sentinel.CmdAdvance {
		what += " " + c.Phase.String()
	}
	h := w.caught(what)
	connected := 0
	for _, o := range w.ws {
		if !w.cutoff[string(o.id)] {
			connected++
		}
	}
	commit := (h == nil || h.land || h.pass) && connected > len(w.ws)/2
	term := w.term
	w.after(2*ms, func() {
		if commit {
			w.commit(wt, c)
		} else if w.term == term {
			w.after(time.Second, func() {
				wt.step(sentinel.Proposed{Master: c.Master, Epoch: c.Epoch, Type: c.Type, Result: sentinel.OutcomeUnknown, Detail: "not committed in time"})
			})
		}
	})
	if h != nil && h.then != nil {
		w.after(0, h.then)
	}
}

func (w *world) commit(wt *watcher, c sentinel.Command) {
	b, err := c.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if c, err = sentinel.DecodeCommand(b); err != nil {
		w.t.Fatal(err)
	}
	w.index++
	if w.log.Apply(c).Accepted && c.Type == sentinel.CmdBegin {
		if was := w.epochs[c.Epoch]; was != "" {
			w.t.Errorf("epoch %s was used for %s and now for %s", c.Epoch, was, c.Plan.New.Addr)
		}
		w.epochs[c.Epoch] = c.Plan.New.Addr.String()
	}
	in := sentinel.Applied{Index: w.index, Command: c}
	wt.step(in)
	for _, o := range w.ws {
		if o != wt {
			w.after(ms, func() { o.step(in) })
		}
	}
}

func (w *world) do(wt *watcher, d sentinel.Do) {
	r := w.set.at(d.Addr)
	w.checkDo(d, r)
	h := w.caught("do " + d.Op.String() + " " + w.name(d.Addr))
	term := w.term
	done := func(res sentinel.Outcome, detail string, i *sentinel.Info) {
		wt.step(sentinel.Done{Master: d.Master, ID: d.ID, Result: res, Detail: detail, Info: i})
	}
	exec := func() {
		if w.term != term || (w.leader == nil && h == nil) {
			done(sentinel.OutcomeUnknown, "leadership lost", nil)
			return
		}
		switch {
		case d.Op == sentinel.OpAwait:
			w.await(wt, d, r, w.now+d.Timeout, done)
		case r.dead:
			done(sentinel.OutcomeFailed, "connection refused", nil)
		case r.frozen:
			r.late = append(r.late, func() { r.do(d) })
			w.after(d.Timeout, func() { done(sentinel.OutcomeUnknown, "time-out", nil) })
		case w.cutoff[string(wt.id)+" "+r.name]:
			w.after(d.Timeout, func() { done(sentinel.OutcomeUnknown, "time-out", nil) })
		default:
			res, detail := r.do(d)
			if res != sentinel.OutcomeOK {
				done(res, detail, nil)
				return
			}
			done(res, detail, r.info(true))
		}
	}
	if h == nil || h.pass {
		w.after(ms, exec)
		if h != nil && h.then != nil {
			w.after(0, h.then)
		}
		return
	}
	if h.land && !r.dead {
		r.do(d)
	}
	if h.outcome != -1 {
		w.after(ms, func() { done(h.outcome, h.detail, nil) })
	} else {
		w.after(d.Timeout, func() { done(sentinel.OutcomeUnknown, "time-out", nil) })
	}
	if h.then != nil {
		w.after(0, h.then)
	}
}

func (w *world) await(wt *watcher, d sentinel.Do, r *fakeRedis, until sentinel.Time, done func(sentinel.Outcome, string, *sentinel.Info)) {
	switch {
	case r.dead:
		done(sentinel.OutcomeFailed, "connection refused", nil)
	case !r.frozen && r.replID == d.ReplID && r.offset >= d.Offset:
		done(sentinel.OutcomeOK, "", r.info(true))
	case w.now >= until:
		done(sentinel.OutcomeFailed, fmt.Sprintf("replica %d bytes behind after %v", d.Offset-r.offset, d.Timeout), r.info(true))
	default:
		w.after(ms, func() { w.await(wt, d, r, until, done) })
	}
}

// checkDo holds every write against the invariants, with what is really so.
func (w *world) checkDo(d sentinel.Do, r *fakeRedis) {
	c := w.log.Masters[masterName]
	if c.Plan == nil && !c.Adopted {
		w.t.Errorf("%v: %s on %s without a plan or an adopted master", w.now, d.Op, r.name)
	}
	if d.Op == sentinel.OpReplicate {
		// What restarted a moment ago cannot be known yet.
		if w.set.at(d.To) == r {
			w.t.Errorf("%v: %s is made a replica of itself, at %s and %s", w.now, r.name, d.Addr, d.To)
		}
		if to := w.set.at(d.To); to == nil || (r.keys > 0 && to.keys == 0 && w.now-to.born > 160*ms) {
			w.t.Errorf("%v: %s with %d keys is made a replica of an empty one at %s", w.now, r.name, r.keys, d.To)
		}
	}
	if d.Op == sentinel.OpPromote && r.keys == 0 && !r.changed(d) && w.now-r.born > 160*ms {
		for _, o := range w.set.all {
			if o.keys > 0 && !o.dead && o.role == sentinel.RoleReplica && o.prio > 0 {
				w.t.Errorf("%v: %s is promoted empty while %s has data", w.now, r.name, o.name)
			}
		}
	}
}

func (w *world) name(a sentinel.Addr) string {
	if r := w.set.at(a); r != nil {
		return r.name
	}
	return a.String()
}

func (w *world) committed() *sentinel.Committed { return w.log.Masters[masterName] }

func (w *world) status() string {
	c := w.committed()
	out := fmt.Sprintf("epoch %s, master %s", c.Master.Epoch, w.name(c.Master.Addr))
	if c.Plan != nil {
		out += fmt.Sprintf(", plan %s %s to %s (%s)", c.Plan.Epoch, c.Plan.Kind, w.name(c.Plan.New.Addr), c.Plan.Phase)
	}
	for _, r := range w.set.all {
		out += "; " + r.String()
	}
	return out
}
