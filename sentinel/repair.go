package sentinel

import (
	"slices"
	"time"
)

// repairs is what the leader has under way outside of plan steps.
type repairs struct {
	flying map[InstanceID]mending
	next   map[InstanceID]Time
	// tuned is when a setting may be tried again; it keeps no repair waiting.
	tuned map[InstanceID]Time
	// byID finds the instance of an action.
	byID map[ActionID]InstanceID
}

type mending struct {
	id   ActionID
	op   Op
	sent Time
	// limits are what OpSetLimits sets.
	limits MinReplicas
	back   bool
	// evict sends the clients away afterwards: they came for a master.
	evict bool
}

// mendAgain is the pause between two repairs of one instance.
const mendAgain = time.Second

// standing is how an instance stands to the master that it should follow.
type standing int

const (
	standingUnknown standing = iota
	standingGone             // does not answer: nothing can be done now
	standingBusy             // a repair or a sync is under way
	standingFollows          // follows, link up
	standingRefused          // must not be made to follow without a person
)

// repair makes Redis say what is committed while no plan is open.
func (s *State) repair() {
	if s.com.Plan != nil || !s.com.Adopted || s.lead.beginning != never || s.round != nil {
		return
	}
	if s.isIdle() {
		s.wouldRepair()
		return
	}
	o := s.master()
	if o == nil || o.info == nil || o.infoAt < s.lead.since {
		return
	}
	if s.contested() != "" {
		s.unfenceOurs(o) // whatever else is wrong, the other one is about to set it right
		if o.health == HealthUp && o.told(s.lead.since) && o.info.Role == RoleReplica {
			s.moved(o)
		}
		return
	}
	if o.health != HealthUp {
		s.fenceOthers()
		return
	}
	if !o.told(s.lead.since) {
		s.fenceOthers() // it may be another process by now, with nothing in it
		return
	}
	if o.info.RunID != "" && o.info.RunID != s.masterRun() {
		s.fenceOthers()
		s.fenceReturned(o)
		return // the new run is not accepted yet, nobody is made to follow it
	}
	if o.info.Role == RoleReplica {
		s.repairMaster(o)
		return
	}
	delete(s.told.refused, s.com.Master.Instance)
	for _, m := range s.com.Members {
		if m.ID != s.com.Master.Instance {
			s.mendFollower(m, s.com.Master.Addr, o)
		}
	}
}

// repairMaster sets a committed master right that says replica.
func (s *State) repairMaster(o *observation) {
	if !s.mendable(o) || s.immovable(o) != "" {
		return
	}
	if o.info.Fenced() {
		s.emit(EventRoleChange, o, "the committed master is fenced and no plan is open: it gets its writes back")
		s.mendWith(o, s.promoteWith(Do{Op: OpUnfence, Instance: o.id, Addr: o.addr}))
		return
	}
	if s.chosenByPerson() {
		s.emit(EventRoleChange, o, "a person chose it: it is made master")
		s.mendWith(o, s.promoteWith(Do{Op: OpPromote, Instance: o.id, Addr: o.addr}))
		return
	}
	misled := s.misled(o)
	if !misled && s.moved(o) {
		return
	}
	if known := s.com.Knows(o.info.ReplID) || misled && s.com.Knows(o.info.ReplID2); !known || o.info.Syncing {
		s.refuse(o, "follows "+o.info.Master.String()+" and has its data: a person must decide")
		return
	}
	s.emit(EventRoleChange, o, "the committed master follows "+o.info.Master.String()+": it is made master again")
	s.mendWith(o, s.promoteWith(Do{Op: OpPromote, Instance: o.id, Addr: o.addr}))
}

// misled reports whether the committed master follows the candidate of a plan that
// was aborted since: it was repointed by a leader that lost the leadership before
// Promoted was committed. Nobody was told of that candidate.
func (s *State) misled(o *observation) bool { return s.abortedTo(o.info.Master, s.com.Master.Epoch) }

// moved reports, and says, whether the committed master follows another master.
func (s *State) moved(o *observation) bool {
	for _, m := range s.com.Members {
		other := s.obs[m.ID]
		if other != nil && other.addr.Same(o.info.Master) && other.info != nil && other.info.Role == RoleMaster {
			s.refuse(o, "follows "+s.called(other)+", which is a master: somebody else moved it, a person must decide")
			return true
		}
	}
	return false
}

// fenceReturned fences a committed master whose process came back as a replica,
// because its command line or an old file says so. Left alone it would wait for ever
// for one that follows it; fenced it is compared with the others, and then it gets
// its writes back or is replaced.
func (s *State) fenceReturned(o *observation) {
	if o.info.Role != RoleReplica || o.info.Fenced() || o.info.Syncing || o.info.Loading || !s.mendable(o) || s.moved(o) || s.immovable(o) != "" {
		return
	}
	if o.info.LinkUp && !s.hasAddr(o.info.Master) {
		s.refuse(o, "follows "+o.info.Master.String()+", which is not known here: somebody else moved it, a person must decide")
		return
	}
	s.emit(EventFenced, o, "came back as a replica of "+o.info.Master.String()+": fenced in place, then compared")
	s.mendWith(o, Do{Op: OpFence, Instance: o.id, Addr: o.addr})
}

// followers makes everybody but the plan's new master follow it, and reports
// whether all who can do so.
func (s *State) followers(p *Plan, d *driver, final bool) bool {
	ready := true
	promoted := s.promoted(p, d)
	if promoted == nil {
		return false
	}
	// The old master comes last: it may need a full sync, the others serve reads.
	others := slices.Clone(s.com.Members)
	slices.SortStableFunc(others, func(a, b Member) int { return isOld(a, p) - isOld(b, p) })
	for _, m := range others {
		if m.ID == p.New.Instance {
			continue
		}
		switch s.mendFollower(m, p.New.Addr, promoted) {
		case standingBusy, standingUnknown:
			ready = false
		case standingFollows, standingGone, standingRefused:
		}
	}
	return ready && final
}

// promoted is the plan's new master, nil if it is not certainly the run that was
// promoted.
func (s *State) promoted(p *Plan, d *driver) *observation {
	o := s.obs[p.New.Instance]
	if !o.told(s.lead.since) || o.info.Role != RoleMaster {
		return nil
	}
	run := s.masterRun()
	if promote := d.steps[stepKey{op: OpPromote, instance: p.New.Instance}]; promote.ok() && promote.info != nil {
		run = promote.info.RunID
	} else if p.Phase != PhasePromoted {
		return nil
	}
	if run != "" && o.info.RunID != run {
		return nil
	}
	return o
}

// proved reports whether a master has just said what it has, and asks it if not.
// Between two INFOs it can have been replaced by an empty one, and REPLICAOF cannot
// be taken back.
func (s *State) proved(master *observation) bool {
	if s.now-master.infoAt <= s.com.Config.recent() {
		return true
	}
	s.askAgain(master)
	return false
}

func isOld(m Member, p *Plan) int {
	if m.ID == p.Old.Instance {
		return 1
	}
	return 0
}

// following counts the replicas whose link to the committed master is up.
func (s *State) following() int {
	n := 0
	for id, o := range s.obs {
		if id != s.com.Master.Instance && o.health == HealthUp && o.info != nil && o.info.LinkUp && o.info.Master.Same(s.com.Master.Addr) {
			n++
		}
	}
	return n
}

// mendFollower brings one instance one step nearer to following a master, and
// says where it stands. mo is that master as this watcher sees it.
func (s *State) mendFollower(m Member, master Addr, mo *observation) standing {
	o := s.obs[m.ID]
	if o == nil {
		return standingUnknown
	}
	if o.twin != "" || o.info != nil && mo.info != nil && o.info.RunID == mo.info.RunID && o.info.RunID != "" {
		return standingGone // another address of somebody who is known
	}
	if s.absent(m.ID) {
		s.fenceAtLarge(m, o)
		return standingGone // whatever still runs there is not ours any more
	}
	if _, flying := s.mend.flying[m.ID]; flying {
		return standingBusy
	}
	switch o.health {
	case HealthCrashed, HealthDown:
		return standingGone
	case HealthUnknown, HealthSuspect:
		return standingUnknown
	case HealthUp:
	}
	if !o.reply.Usable() || (o.info != nil && o.info.Loading) {
		return standingGone
	}
	if !o.told(s.lead.since) || o.infoAt < o.written {
		return standingUnknown
	}
	if o.info.Role == RoleReplica && o.info.Master.Same(master) {
		delete(s.told.refused, m.ID)
		if o.info.LinkUp {
			return standingFollows
		}
		return standingBusy
	}
	if !s.mendable(o) {
		return standingBusy
	}
	if s.immovable(o) != "" {
		return standingRefused
	}
	if o.info.Role == RoleMaster {
		s.fenceSecond(o, mo)
		return standingBusy
	}
	if !o.info.Empty() && !s.proved(mo) {
		return standingBusy
	}
	if why := s.mustNotFollow(m, o, mo); why != "" {
		s.refuse(o, why)
		return standingRefused
	}
	if s.syncing(master) >= s.com.Config.ParallelSyncs && !o.info.LinkUp && !o.info.Fenced() {
		return standingBusy
	}
	s.makeFollow(m, o, master, mo)
	return standingBusy
}

// mustNotFollow says why an instance must not be made to follow that master, ""
// if it may.
func (s *State) mustNotFollow(m Member, o, mo *observation) string {
	why := mayFollow(o.info, mo.info)
	switch {
	case s.forced() && mo.info.Keys >= 0 && !mo.info.Loading && !mo.info.Syncing:
		return ""
	case why == "" && s.ownData(o) != "":
		return s.ownData(o)
	case why == "" && s.lateMore(m, o, mo.info) != "":
		return s.lateMore(m, o, mo.info)
	case why == "" && s.foreign(m, o, mo):
		return "it has data that was never seen to be of this data set: a person must decide (empty it, or take it away)"
	}
	return why
}

// makeFollow tells an instance to follow, and sends away those who came for a master.
func (s *State) makeFollow(m Member, o *observation, master Addr, mo *observation) {
	name := EventFixSlave
	switch {
	case o.info.Fenced():
		name = EventConvert
	case s.com.Plan != nil:
		name = EventReconfSent
	}
	s.emit(name, o, "made a replica of "+s.called(mo))
	// Clients of a demoted master would get READONLY for as long as they stay. In a
	// handover the plan sends them away.
	p := s.com.Plan
	// A master loses its clients along with its role, a fenced one has only its own.
	evict := o.info.Fenced() && (p == nil || p.Kind != KindHandover || p.Old.Instance != m.ID)
	// What a master needs must not outlive its mastership.
	s.mendWith(o, Do{Op: OpReplicate, Instance: m.ID, Addr: m.Addr, To: master, Limits: m.Limits})
	if f := s.mend.flying[m.ID]; evict {
		f.evict = true
		s.mend.flying[m.ID] = f
	}
}

// syncing counts the instances that were told to follow a master and are not in
// sync with it yet.
func (s *State) syncing(master Addr) int {
	n := 0
	for _, m := range s.com.Members {
		if f, ok := s.mend.flying[m.ID]; ok && f.op == OpReplicate {
			n++
			continue
		}
		if o := s.obs[m.ID]; o != nil && o.health == HealthUp && o.info != nil && o.info.Role == RoleReplica && o.info.Master.Same(master) && !o.info.LinkUp {
			n++
		}
	}
	return n
}

// foreign reports whether an instance has data that may be another data set's: its
// replication id tells nothing, and it was there before the master was adopted, or has
// a volume of its own past. On hosts an instance is its address, and an append-only file
// does not tell its id, so there only one with far more keys than the master is
// suspected; a few more prove nothing, because they may have been deleted or have expired.
func (s *State) foreign(m Member, o, mo *observation) bool {
	if o.info.Empty() || s.com.Knows(o.info.ReplID) || s.com.Knows(o.info.ReplID2) {
		return false
	}
	if s.com.Pods {
		return !m.Ours
	}
	return o.info.Keys > 2*mo.info.Keys
}

// fenceAtLarge fences a former master whose pod is gone, when it is heard again.
func (s *State) fenceAtLarge(m Member, o *observation) {
	if o.told(s.lead.since) && o.info.Role == RoleMaster && s.mendable(o) && s.immovable(o) == "" {
		s.emit(EventFenced, o, "its pod is gone and it was master: fenced")
		s.mendWith(o, Do{Op: OpFence, Instance: m.ID, Addr: m.Addr})
	}
}

// knownRun reports whether an absent instance is certainly the process that it was:
// whoever else answers there is left out, see impostor.
func (s *State) knownRun(o *observation) bool {
	return o.info != nil && o.info.RunID != "" && !s.inv.taken[o.id] && (o.id != s.com.Master.Instance || o.info.RunID == s.masterRun())
}

// mayFollow is invariant 5: it says why an instance must not be made a replica of
// that master without a person, "" if it may. The instance is a recorded member,
// so that its role in the data set is known; what is left to ask is whether data
// would be thrown away for none.
func mayFollow(i, master *Info) string {
	switch {
	case i.Empty():
		return ""
	case master.Empty():
		return "it has data and the master has none: a person must decide"
	case master.Keys < 0:
		return "the master has not said yet how much it has"
	case master.Syncing || master.Loading:
		return "the master is loading"
	}
	return ""
}

// mendable reports whether what we know is newer than what we last did, and the
// last repair is long enough ago.
func (s *State) mendable(o *observation) bool {
	if !o.told(s.lead.since) || o.health != HealthUp || o.infoAt < o.written || s.absent(o.id) && !s.knownRun(o) {
		return false
	}
	if s.strayed(o.id) {
		return false
	}
	if _, flying := s.mend.flying[o.id]; flying {
		return false
	}
	if next := s.mend.next[o.id]; s.now < next {
		s.wake(next)
		return false
	}
	return true
}

func (s *State) mendWith(o *observation, do Do) {
	if s.mend.flying == nil {
		s.mend = repairs{flying: map[InstanceID]mending{}, next: map[InstanceID]Time{}, tuned: map[InstanceID]Time{}, byID: map[ActionID]InstanceID{}}
	}
	id := s.send(do)
	f := mending{id: id, op: do.Op, sent: s.now, back: do.GiveBack}
	if do.Limits != nil {
		f.limits = *do.Limits
	}
	s.mend.flying[o.id] = f
	s.mend.byID[id] = o.id
	if do.Op != OpSetPing && do.Op != OpFindLimits { // changes nothing that INFO says
		o.written = s.now
	}
}

// refuse says once why an instance is left as it is.
func (s *State) refuse(o *observation, why string) {
	if o == nil {
		return
	}
	if s.told.refused[o.id] == why {
		return
	}
	s.told.refused[o.id] = why
	s.emit(EventRefused, o, why)
	s.remark(remarkHeld, o, why)
}
