package sim

import (
	"math/rand/v2"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// class is one kind of schedule. Its seeds are those with the same remainder.
type class struct {
	name string
	// harsh schedules may leave nobody but an instance with priority 0 with the data:
	// then a person has to decide, and such instances are left out.
	harsh bool
	// limit is how long after the faults all may take to be well again.
	limit time.Duration
	shape func(s *setup, rng *rand.Rand)
	play  func(w *world)
}

func classes() []class {
	return []class{
		{name: "chaos", harsh: true, limit: 40 * time.Second, play: func(w *world) { w.chaos(2+w.rng.IntN(9), 12*time.Second) }},
		{name: "restarts", harsh: true, limit: 40 * time.Second, play: restarts},
		{name: "handovers", harsh: true, limit: 40 * time.Second, shape: loaded, play: handovers},
		{name: "killed", limit: 20 * time.Second, play: killed},
		{name: "frozen", limit: 20 * time.Second, play: frozen},
		{name: "frozen briefly", limit: 20 * time.Second, play: frozenBriefly},
		{name: "watchers cut off", limit: 20 * time.Second, play: watchersCutOff},
		{name: "clients killed", limit: 20 * time.Second, play: clientsKilled},
		{name: "replicas restart", harsh: true, limit: 40 * time.Second, play: replicasRestart},
		{name: "lossy network", limit: 20 * time.Second, play: lossy},
		{name: "no quorum", harsh: true, limit: 30 * time.Second, play: noQuorum},
		{name: "leader with master", limit: 20 * time.Second, play: leaderWithMaster},
		{name: "master cut off", limit: 30 * time.Second, play: masterCutOff},
		{name: "empty replica", limit: 30 * time.Second, shape: idleAtFirst, play: emptyReplica},
		{name: "replicas cut off", limit: 30 * time.Second, play: replicasCutOff},
		{name: "one watcher cut off", limit: 20 * time.Second, play: oneWatcherCutOff},
		{name: "leaders in mid-plan", harsh: true, limit: 30 * time.Second, shape: loaded, play: leadersInMidPlan},
		{name: "vetoed", harsh: true, limit: 50 * time.Second, shape: hooked, play: vetoed},
		{name: "fenced", harsh: true, limit: 50 * time.Second, shape: withFence, play: fenced},
	}
}

func loaded(s *setup, _ *rand.Rand) { s.writeEvery = 40 * time.Millisecond }

// idleAtFirst prefers a replica that will be empty: only its emptiness speaks against it.
func idleAtFirst(s *setup, _ *rand.Rand) {
	s.instances, s.writeEvery, s.priority0, s.preferred = max(s.instances, 3), 0, -1, 1
}

// newSetup draws a world's properties.
func newSetup(rng *rand.Rand, c class) setup {
	s := setup{watchers: 3, instances: 3, priority0: -1, preferred: -1}
	if rng.IntN(6) == 0 {
		s.watchers = 5
	}
	switch rng.IntN(6) {
	case 0:
		s.instances = 2
	case 1:
		s.instances = 4
	}
	cfg := sentinel.DefaultConfig()
	cfg.Quorum = s.watchers/2 + 1
	cfg.DownAfter = []time.Duration{500 * time.Millisecond, time.Second, time.Second, 2 * time.Second}[rng.IntN(4)]
	cfg.FailoverTimeout = time.Minute
	cfg.ParallelSyncs = 1 + rng.IntN(2)
	cfg.PauseWrites = rng.IntN(3) == 0
	if c.harsh {
		cfg.CrashWaits = rng.IntN(8) == 0
		cfg.WitnessMax = []time.Duration{0, 0, 3 * time.Second}[rng.IntN(3)]
	}
	s.boot = bootMode(rng.IntN(3))
	s.persist = persistMode(rng.IntN(3))
	s.writeEvery = []time.Duration{40 * time.Millisecond, 40 * time.Millisecond, 4 * time.Second}[rng.IntN(3)]
	s.syncTime = []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond}[rng.IntN(3)]
	if s.instances > 2 && rng.IntN(8) == 0 && !c.harsh {
		s.priority0 = 1 + rng.IntN(s.instances-1)
	}
	if rng.IntN(4) == 0 {
		s.preferred = rng.IntN(s.instances)
	}
	s.config = cfg
	if c.shape != nil {
		c.shape(&s, rng)
	}
	return s
}

// play runs the schedule of a seed, whose class is the seed's remainder.
func play(seed uint64, tracing bool) *world {
	all := classes()
	return playClass(all[seed%uint64(len(all))], seed, tracing)
}

// playClass runs one schedule to its end, or to the first violation.
func playClass(c class, seed uint64, tracing bool) *world {
	rng := rand.New(rand.NewPCG(seed, 0x7472697761746368))
	s := newSetup(rng, c)
	w := newWorld(seed, s, rng, tracing)
	w.tracef("seed %d: %s; %d watchers, %d instances, boot %s, persist %s, write every %v, config %+v", seed, c.name, s.watchers, s.instances, s.boot, s.persist, s.writeEvery, s.config)
	if !w.until(20*time.Second, 50*time.Millisecond, w.settled) {
		w.violate("not well 20 s after the start: %s; last refusal: %s", w.unsettled(), w.check.lastRefusal)
		return w
	}
	w.run(w.between(2*time.Second, 4*time.Second))
	if w.check.begins > 0 {
		w.violate("a plan was begun while all was well")
	}
	w.tracef("the schedule begins")
	if w.bad == "" {
		c.play(w)
	}
	w.finish(c.limit)
	return w
}

// expect lets time pass until the promotion is committed, at most the bound.
func (w *world) expect(bound time.Duration, why string) {
	had, since := w.check.promotions, w.now
	defer func() { w.reaction = w.now - since }()
	if !w.until(bound, time.Millisecond, func() bool { return w.check.promotions > had }) {
		w.violate("%s, and no failover within %v", why, bound)
	}
}

// unable reports whether no replica may be promoted in this world.
func (w *world) unable() bool { return w.instances == 2 && w.priority0 == 1 }

// emptyReplica cuts a replica off before the first write, and kills the master later.
func emptyReplica(w *world) {
	m := w.master()
	w.net.block([]int{m.node}, []int{w.insts[1].node}, 1, false)
	w.writeEvery = 40 * time.Millisecond
	w.beginWrites()
	w.run(w.between(4*time.Second, 6*time.Second))
	m.kill(false, false)
	w.expect(w.silence()+2*time.Second, "the master was killed")
	if w.bad == "" && w.master() == w.insts[1] {
		w.violate("the empty replica was promoted")
	}
	w.run(w.upTo(2 * time.Second))
}

// silence is how long a master may be silent before another is promoted: down-after,
// or what it takes to see that an idle stream is quiet, and a little for the rest.
func (w *world) silence() time.Duration {
	return max(w.config.DownAfter, 1500*time.Millisecond) + 300*time.Millisecond
}

func killed(w *world) {
	w.master().kill(false, w.chance(0.3))
	if !w.unable() {
		w.expect(200*time.Millisecond, "the master was killed")
	}
	w.run(w.upTo(3 * time.Second))
}

func frozen(w *world) {
	m := w.master()
	m.freeze()
	w.expect(w.silence(), "the master was frozen")
	w.run(w.upTo(3 * time.Second))
}

func frozenBriefly(w *world) {
	w.check.noBegin = "the master was frozen for 0.7 of down-after only"
	for range 3 {
		m := w.master()
		m.freeze()
		w.run(w.config.DownAfter * 7 / 10)
		m.thaw()
		w.run(w.between(300*time.Millisecond, 2*time.Second))
	}
}

func watchersCutOff(w *world) {
	w.check.noBegin = "the watchers are the ones cut off, the replicas follow a living master"
	m := []int{w.master().node}
	var cut []int
	n := len(w.watchers)
	if w.chance(0.5) {
		n = n/2 + 1
	}
	cut = append(cut, w.rng.Perm(len(w.watchers))[:n]...)
	w.tracef("watchers %v are cut off from the master", cut)
	w.net.block(cut, m, 1, w.chance(0.2))
	w.run(w.between(2*w.config.DownAfter, 4*w.config.DownAfter+5*time.Second))
	if n == len(w.watchers) && w.bad == "" && w.check.held == 0 {
		w.violate("all watchers were cut off for long, and held was not said")
	}
	for i := range w.net.blocked {
		w.net.blocked[i] = 0
	}
	w.net.block(nil, nil, -1, false)
	w.run(2 * w.config.DownAfter)
}

func replicasCutOff(w *world) {
	w.check.noBegin = "the master lives, only its replicas are cut off from it"
	m := w.master()
	var replicas []int
	for _, in := range w.insts {
		if in != m {
			replicas = append(replicas, in.node)
		}
	}
	w.tracef("%s is cut off from its replicas", m)
	w.net.block([]int{m.node}, replicas, 1, w.chance(0.3))
	w.run(w.between(w.config.DownAfter, 5*w.config.DownAfter))
}

func oneWatcherCutOff(w *world) {
	w.check.noBegin = "only one watcher is cut off"
	wt := w.watchers[w.rng.IntN(len(w.watchers))]
	others := w.others(wt.i)
	switch w.rng.IntN(3) {
	case 0: // from the instances
		others = others[len(w.watchers)-1:]
	case 1: // from the master
		others = []int{w.master().node}
	}
	w.tracef("%s is cut off from %v", wt, others)
	w.net.block([]int{wt.i}, others, 1, w.chance(0.3))
	w.run(w.between(w.config.DownAfter, 4*w.config.DownAfter))
}

func clientsKilled(w *world) {
	w.check.noBegin = "only connections were killed"
	for range 4 {
		w.tracef("CLIENT KILL")
		w.killClients(w.master())
		if w.chance(0.3) {
			for _, in := range w.insts {
				w.killClients(in)
			}
		}
		w.run(w.upTo(2 * time.Second))
	}
}

func replicasRestart(w *world) {
	w.check.noBegin = "only replicas were restarted"
	m := w.master()
	for range 1 + w.rng.IntN(4) {
		in := w.insts[w.rng.IntN(len(w.insts))]
		if in == m {
			continue
		}
		in.kill(w.chance(0.2), w.chance(0.5))
		w.run(w.upTo(2 * time.Second))
		in.start(bootData{empty: w.chance(0.3)})
		w.run(w.upTo(3 * time.Second))
	}
}

func lossy(w *world) {
	w.check.noBegin = "the network only loses a few packets"
	w.net.loss = 0.005 + 0.02*w.rng.Float64()
	w.net.slow = w.upTo(5 * time.Millisecond)
	w.tracef("loss %.1f %%", w.net.loss*100)
	w.run(10 * time.Second)
}

func noQuorum(w *world) {
	n := len(w.watchers)/2 + 1
	down := w.rng.Perm(len(w.watchers))[:n]
	for _, i := range down {
		if w.chance(0.5) {
			w.watchers[i].kill()
		} else {
			w.watchers[i].stall()
		}
	}
	w.run(raftLease + 2*raftTick)
	entries := len(w.raft.log)
	w.check.noBegin = "there is no quorum"
	m := w.master()
	m.kill(false, false)
	w.run(w.between(time.Second, 5*time.Second))
	if len(w.raft.log) != entries {
		w.violate("without quorum %d entries were committed", len(w.raft.log)-entries)
	}
	w.check.noBegin = ""
	for _, i := range down {
		wt := w.watchers[i]
		wt.resume()
		if !wt.up {
			wt.boot()
		}
	}
	if !w.unable() {
		w.expect(w.config.DownAfter+3*time.Second, "the master is down and the quorum back")
	}
}

func leaderWithMaster(w *world) {
	if w.raft.leader >= 0 {
		w.watchers[w.raft.leader].kill()
	}
	w.master().kill(false, false)
	if !w.unable() {
		w.expect(1500*time.Millisecond, "master and leader were killed")
	}
	w.run(w.upTo(2 * time.Second))
}

func masterCutOff(w *world) {
	m := w.master()
	w.tracef("%s is cut off from all", m)
	w.net.block([]int{m.node}, w.others(m.node), 1, false)
	w.expect(w.silence(), "the master is cut off from all")
	w.run(w.upTo(3 * time.Second))
}

func (w *world) others(node int) []int {
	var out []int
	for i := range w.net.n {
		if i != node {
			out = append(out, i)
		}
	}
	return out
}
