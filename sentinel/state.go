package sentinel

import (
	"math"
	"slices"
	"time"
)

// never is a deadline that does not come.
const never = Time(math.MaxInt64)

// State is all that one watcher knows about one master. It is owned by one
// goroutine. Make it with NewState.
type State struct {
	me     WatcherID
	voters []WatcherID

	com Committed
	// served is what clients are told: the committed master, or what the leader
	// pushed if that is newer.
	served Assignment

	now  Time
	wall time.Time

	// inv is what is known of the pods, nil on hosts.
	inv        *inventory
	generation uint32
	// fileFence is set when this watcher's file wants the fence; forsaken, when nobody
	// describes the pods any more.
	fileFence, forsaken bool
	// strangers are when each Sentinel that is not one of us was heard last.
	strangers map[WatcherID]heardForeign
	// failedOver is when this watcher last saw a failover committed, never before one.
	failedOver Time

	obs map[InstanceID]*observation
	// suspect is when suspicion of the master began, negative if there is none.
	suspect Time
	// askedToSuspect is until when another watcher's suspicion makes this one look.
	askedToSuspect Time
	burst          burst
	duty           *duty
	reported       reportMark
	lastSeq        uint64
	watched        watchMark

	lead   leadership
	peers  map[WatcherID]*peer
	asks   asks
	round  *round
	drive  *driver
	mend   repairs
	told   told
	nextID ActionID
	// before is who is asked before an automatic failover.
	before Before
	// code is that of the event that is being emitted, entry when the log entry was
	// proposed that is being applied.
	code  string
	entry time.Time

	out      []Action
	deadline Time
}

// leadership is what only a leader knows.
type leadership struct {
	on    bool
	term  uint64
	since Time
	// beginning is when a Begin was proposed whose outcome is not known yet, never if none is.
	beginning Time
	// evidence is when the evidence against the master was first enough.
	evidence Time
	// downSince is since when enough watchers have been silent, negative if they are not.
	downSince Time
	// noRoundBefore spaces the confirm rounds.
	noRoundBefore Time
	// back is when the first instance answered after all had been started anew, never if
	// none has: from then on the others are waited for.
	back Time
	// noHeldBefore spaces the records of failovers that were held.
	noHeldBefore Time
	// request is the request that the open or proposed plan answers.
	request uint64
	// parked is a request that waits for fresh answers, nil if there is none.
	parked *parked
	// question is the last one that was asked before a failover, nil if it is of no concern.
	question *question
	// sparse holds proposals that are not about a plan, until when not to repeat them.
	sparse map[CommandType]Time
	// recorded is when the master's lineage was proposed last, replID the id in it.
	// joining is until when a first replica may give it another.
	recorded, joining Time
	replID            string
	fence             fenceTimes
	// failed holds the candidates whose promotion failed since the last one that did not,
	// with the run that it was.
	failed map[InstanceID]string
}

// told keeps what was already said, so that it is said once.
type told struct {
	odown   bool
	held    bool
	noGood  bool
	would   Verdict
	refused map[InstanceID]string
	verdict Verdict
	// unadopted is why no master is adopted.
	unadopted, unadoptedSaid string
	unadoptedSince           Time
	// contested is who else decides.
	contested string
	// vetoed is why a failover is held by a hook.
	vetoed string
	// waiting is what a plan for the master waits for.
	waiting string
	// repair is what mode observe keeps from being set right.
	repair map[InstanceID]unrepaired
}

// NewState returns the state of a watcher that knows of a master only what is
// committed.
func NewState(me WatcherID, voters []WatcherID, com Committed, now Time) *State {
	s := &State{me: me, voters: slices.Clone(voters), com: com, served: com.Master, now: now, suspect: -1,
		obs: map[InstanceID]*observation{}, peers: map[WatcherID]*peer{}, deadline: now}
	s.lead.beginning, s.lead.back, s.failedOver, s.lead.fence = never, never, never, fenceTimes{lonely: never, acked: never}
	s.told.refused = map[InstanceID]string{}
	return s
}

// Deadline is when Step wants to be called again if nothing happens.
func (s *State) Deadline() Time { return s.deadline }

// Served is what clients are told to be the master.
func (s *State) Served() Assignment { return s.served }

// Committed returns the replicated part. The caller must not change it.
func (s *State) Committed() *Committed { return &s.com }

// Step takes up one input and returns what is to be done.
func (s *State) Step(in Input) []Action {
	s.now, s.wall = max(in.At, s.now), in.Wall
	s.out = nil
	if p, ok := in.Event.(Probe); ok && s.ordinary(p) {
		return nil
	}
	s.take(in.Event)
	s.settle()
	out := s.out
	s.out = nil
	return out
}

// ordinary takes up a reply to a PING that changes no opinion, which is what nearly
// every input is. The deadline stays as it is: it comes too early at worst.
func (s *State) ordinary(p Probe) bool {
	o := s.obs[p.Instance]
	calm := s.suspect < 0 && s.now >= s.askedToSuspect && s.com.Plan == nil && s.com.Adopted && s.duty == nil && s.round == nil && s.now < s.deadline
	if !calm || o == nil || o.addr != p.Addr || o.health != HealthUp || o.reply != ReplyOK || p.Reply != ReplyOK || p.Lost || p.Info != nil {
		return false
	}
	o.note(p, s.now)
	return true
}

func (s *State) take(ev InputEvent) {
	switch ev := ev.(type) {
	case nil:
	case Probe:
		s.takeProbe(ev)
	case PeerAsk:
		s.takeAsk(ev)
	case PeerReport:
		s.takeReport(ev)
	case Applied:
		s.takeApplied(ev)
	case Restored:
		if c := ev.Registry.Masters[s.com.Name]; c != nil {
			s.com = c.Clone()
			s.follow()
		}
	case HookAnswered:
		s.takeHookAnswered(ev)
	case Wanted, Inventories, Hooks, Known: // the router's business
	case Inventory:
		s.takeInventory(ev)
	case Flipped:
		s.takeFlipped(ev)
	case Foreign:
		s.takeForeign(ev)
	case Pushed:
		s.takePushed(ev)
	case Led:
		s.takeLed(ev)
	case Membership:
		s.me, s.voters, s.generation = ev.Me, slices.Clone(ev.Voters), ev.Generation
		for id := range s.peers {
			if !slices.Contains(s.voters, id) {
				delete(s.peers, id)
			}
		}
	case Done:
		ev.Info = s.spelled(ev.Info)
		s.takeDone(ev)
	case Proposed:
		s.takeProposed(ev)
	case Request:
		s.takeRequest(ev)
	}
}

// settle derives everything again from what is known. Each part asks to be woken
// when time alone would change its mind.
func (s *State) settle() {
	s.deadline = never
	s.assess()
	s.retarget()
	s.probeCrash()
	s.fulfil()
	if s.lead.on && !s.overtaken() {
		s.askAll()
		s.keepPods()
		s.tellContested()
		s.decide()
		s.vacate()
		s.grant()
		s.carryOn()
		s.repair()
		s.keepRecords()
		s.keepFence()
	}
	s.reportChange()
}

// overtaken reports whether another leader has told of an epoch that is not in the log
// here: this one has been deposed and does not know it yet. Whoever leads has applied
// all that was committed before.
func (s *State) overtaken() bool { return s.served.Epoch > s.com.Last }

// act hands out an action.
func (s *State) act(a Action) {
	if e, ok := a.(Emit); ok {
		e.Event.Leading, e.Event.Code, e.Event.Move, e.Event.Entry = s.lead.on, s.code, moveOf(s.com.Plan), s.entry
		a = e
	}
	s.out = append(s.out, a)
}

// wake asks for another Step at t.
func (s *State) wake(t Time) { s.deadline = min(s.deadline, max(t, s.now)) }

// master is the observation of the committed master, nil if it is not watched yet.
func (s *State) master() *observation { return s.obs[s.com.Master.Instance] }

// observe returns the observation of a member, made anew when its address changed.
func (s *State) observe(id InstanceID, addr Addr) *observation {
	o := s.obs[id]
	if o == nil || o.addr != addr {
		o = &observation{id: id, addr: addr, since: s.now, loading: never}
		s.obs[id] = o
	}
	return o
}

// pingPeriod is the committed master's repl-ping-replica-period.
func (s *State) pingPeriod() time.Duration {
	if m := s.com.Member(s.com.Master.Instance); m != nil && m.PingPeriod > 0 {
		return time.Duration(m.PingPeriod) * time.Second
	}
	return 10 * time.Second
}

// masterRun is the run id of the committed master as last recorded or seen.
func (s *State) masterRun() string { return s.com.Lineage.RunID }

func (s *State) pingOf(id InstanceID) time.Duration {
	if id == s.com.Master.Instance {
		return s.com.Config.pingMaster()
	}
	return s.com.Config.pingReplica()
}

func (s *State) takeProbe(p Probe) {
	o := s.obs[p.Instance]
	if o == nil || !o.addr.Same(p.Addr) {
		return // no longer watched there
	}
	if s.impostor(o, p) {
		return
	}
	if p.Remote != "" {
		o.remote = p.Remote
	}
	if p.Info = s.spelled(p.Info); p.Info != nil && s.isTwin(o, p.Info) {
		p.Info = nil
	}
	before, heard := "", o.lastReply
	if o.info != nil {
		before = o.info.RunID
	}
	o.note(p, s.now)
	s.afterInfo(o, p, before, heard)
}

// afterInfo draws the conclusions from what an instance said.
// heard is when the instance was heard last before that.
func (s *State) afterInfo(o *observation, p Probe, runBefore string, heard Time) {
	if p.Info == nil {
		return
	}
	if o.info.Keys < 0 && (o.counted == 0 || s.now-o.counted >= time.Second) {
		o.counted = s.now
		s.act(ProbeNow{Master: s.com.Name, Instance: o.id})
	}
	if runBefore != "" && o.info.RunID != "" && runBefore != o.info.RunID {
		if b := s.bootOf(o, heard); b != BootUnknown {
			o.boots = b
		}
		why := "the instance runs anew"
		if o.info.Role == RoleMaster && o.info.Empty() && !o.info.Loading {
			why += emptyMaster
		}
		s.emit(EventReboot, o, why)
	}
	if o.id == s.com.Master.Instance {
		s.credit(o)
		return
	}
	o.testify(s.followsMaster(o.info), s.com.Lineage, p.Asked, s.suspect)
}

// followsMaster reports whether an instance follows the committed master, whatever it
// calls it: replicas are repointed by address, but before that, and while nothing may be
// written, they know it by a host name, which is not looked up here. The port and the
// data set must be the master's then. A replica of a replica can pass for one by that; its
// link is one witness among others, and a crash needs a master that refuses connections.
func (s *State) followsMaster(i *Info) bool {
	at := s.com.Master.Addr
	if i.Master.Same(at) {
		return true
	}
	return i.Master.IsName() && i.Master.Port == at.Port && s.com.Knows(i.ReplID)
}

// assess forms the opinion of every instance and notes suspicion of the master.
func (s *State) assess() {
	for _, m := range s.com.Members {
		o := s.observe(m.ID, m.Addr)
		ping := s.pingOf(m.ID)
		was := o.health
		o.health = o.assess(s.now, s.com.Config, ping)
		s.wake(o.nextChange(s.now, s.com.Config, ping))
		if s.loadsTooLong(o) {
			o.health = HealthDown
		}
		s.tellHealth(o, was)
		s.tellState(o)
		s.tellRights(o)
	}
	if len(s.obs) > len(s.com.Members) {
		for id := range s.obs {
			if s.com.Member(id) == nil {
				delete(s.obs, id)
			}
		}
	}
	o := s.master()
	bad := o != nil && (o.health == HealthSuspect || o.health == HealthDown || o.health == HealthCrashed)
	hinted := s.now < s.askedToSuspect
	switch {
	case (bad || hinted) && s.suspect < 0:
		s.suspect = s.now
	case !bad && !hinted && s.suspect >= 0:
		s.suspect = -1
		for _, o := range s.obs {
			o.baseSet, o.advanced = false, false
		}
	}
	if hinted {
		s.wake(s.askedToSuspect)
	}
}

func (s *State) tellHealth(o *observation, was Health) {
	down := func(h Health) bool { return h == HealthDown || h == HealthCrashed }
	switch {
	case down(o.health) && !down(was):
		why := "no reply for " + s.com.Config.DownAfter.String()
		switch {
		case o.health == HealthCrashed:
			why = "connection closed, redial refused"
		case s.loadsTooLong(o):
			why = s.loadsText()
		}
		s.emit(EventSdown, o, why)
	case !down(o.health) && down(was):
		s.emit(EventSdownEnd, o, "answers again: "+o.reply.String())
	}
}

// tellState says once when an instance is alive but not well, and when it is again.
func (s *State) tellState(o *observation) {
	if !o.reply.Alive() || o.alert == o.reply {
		return
	}
	was := o.alert
	o.alert = o.reply
	if was == ReplyUnknown && o.reply.Usable() {
		return
	}
	why := o.reply.String()
	if o.detail != "" && o.reply != ReplyOK {
		why += ": " + o.detail
	}
	s.emit(EventState, o, why)
}

// emit publishes an event about an instance, nil for the master as a whole.
func (s *State) emit(name EventName, o *observation, reason string) {
	e := Event{Name: name, Master: s.com.Name, Epoch: s.com.Last, Reason: reason}
	e.Payload = masterPayload(s.com.Name, s.com.Master.Addr)
	if o != nil {
		e.Instance = o.id
		if o.id != s.com.Master.Instance {
			e.Payload = instancePayload(s.com.Name, s.com.Master.Addr, o.addr)
		}
	}
	e.Payload += payloadTail(name, reason)
	s.act(Emit{e})
}

func (s *State) takeLed(ev Led) {
	if ev.Leading == s.lead.on && ev.Term == s.lead.term {
		return
	}
	if p := s.lead.parked; p != nil {
		s.act(Answer{ID: p.request.ID, Result: OutcomeNotLeader, Detail: "this watcher no longer leads"})
	}
	s.answer(OutcomeUnknown, "", "this watcher no longer leads; the next leader finishes what was committed")
	s.lead = leadership{on: ev.Leading, term: ev.Term, since: s.now, beginning: never, back: never, evidence: -1, downSince: -1, sparse: map[CommandType]Time{}, failed: map[InstanceID]string{},
		fence: fenceTimes{lonely: never, acked: never}}
	s.round, s.drive, s.asks, s.mend = nil, nil, asks{}, repairs{}
	s.told = told{refused: map[InstanceID]string{}}
	if !ev.Leading {
		return
	}
	for _, p := range s.peers {
		*p = peer{}
	}
	for _, m := range s.com.Members {
		s.act(ProbeNow{Master: s.com.Name, Instance: m.ID})
	}
}

// takePushed believes the leader about a commit that the log has not shown here yet.
func (s *State) takePushed(ev Pushed) {
	if ev.Assignment.Epoch > s.served.Epoch {
		s.serve(ev.Assignment)
	}
}

// serve changes what clients are told.
func (s *State) serve(a Assignment) {
	from := s.served
	s.served = a
	if from.Addr == a.Addr {
		return
	}
	if from.Addr.IsZero() {
		s.act(Emit{Event{Name: EventAdopted, Master: s.com.Name, Payload: masterPayload(s.com.Name, a.Addr), Instance: a.Instance, Epoch: a.Epoch,
			Reason: "epoch " + a.Epoch.String() + ": " + a.String() + " is the first master"}})
		return
	}
	reason := "epoch " + a.Epoch.String() + ": " + a.String() + " is master"
	if p := s.com.Plan; p != nil && p.Epoch == a.Epoch && p.Phase == PhasePromoted && p.Kind == KindFailover {
		reason += ", fenced=" + yesNo(p.Fenced)
	}
	s.act(Emit{Event{Name: EventSwitchMaster, Master: s.com.Name, Payload: switchPayload(s.com.Name, from.Addr, a.Addr), From: from.Addr, To: a.Addr,
		Instance: a.Instance, Epoch: a.Epoch, Reason: reason}})
}

// follow serves the committed master if it is newer than what is served.
func (s *State) follow() {
	if m := s.com.Master; m.Epoch > s.served.Epoch || (m.Epoch == s.served.Epoch && m.Addr != s.served.Addr) {
		s.serve(m)
	}
}
