package sentinel

import (
	"fmt"
	"slices"
	"time"
)

// sparsely is the pause before a proposal that is not about a plan is repeated.
const sparsely = time.Second

// keepRecords proposes what was learnt and has to outlive this leader.
func (s *State) keepRecords() {
	if s.com.Released && s.com.Plan == nil && s.com.Adopted {
		s.giveBack()
		return
	}
	if s.com.Plan != nil || s.lead.beginning != never || s.com.Adopted && s.isIdle() && !s.observes() {
		return
	}
	if !s.com.Adopted {
		if s.com.Pods {
			s.adoptPods()
		} else {
			s.adopt()
		}
		return
	}
	if s.observes() && s.followObserved() {
		return
	}
	s.forgetTwins()
	s.discover()
	s.recordLineage()
	s.recordFenced()
	if !s.com.Config.Observe && s.contested() == "" {
		s.tune()
	}
}

// adopt takes the configured instance as master once it is seen to be one.
func (s *State) adopt() {
	o := s.master()
	if o == nil || o.health != HealthUp || o.info == nil || o.info.Keys < 0 || o.info.Loading || !o.told(s.lead.since) {
		return
	}
	at := s.com.Master
	switch {
	case o.info.Role == RoleMaster, o.info.Fenced():
		s.proposeSparsely(Command{Type: CmdAdopt, At: at, Epoch: at.Epoch, Reason: "found as master", Lineage: lineageOf(o.info), Members: s.attached(o.info)})
	case o.info.LinkUp:
		// The file names a replica, as one does that was written before a failover: its
		// master is asked next.
		at = Assignment{Epoch: s.com.Last + 1, Instance: InstanceID(o.info.Master.String()), Addr: o.info.Master}
		s.adoptOther(at)
	default:
		s.refuse(o, "is a replica of "+o.info.Master.String()+" with its link down: not adopted")
	}
}

// adoptOther adopts the master that the configured instance follows, once that
// one has said so itself.
func (s *State) adoptOther(at Assignment) {
	if s.com.Member(at.Instance) == nil {
		s.proposeSparsely(Command{Type: CmdMembers, Members: []Member{{ID: at.Instance, Addr: at.Addr}}})
		return
	}
	m := s.obs[at.Instance]
	if m == nil || m.health != HealthUp || m.info == nil || m.info.Role != RoleMaster || m.info.Keys < 0 || !m.told(s.lead.since) {
		return
	}
	s.proposeSparsely(Command{Type: CmdAdopt, At: at, Epoch: at.Epoch, Reason: "found as the master of " + s.com.Master.String(),
		Lineage: lineageOf(m.info), Members: s.attached(m.info)})
}

func lineageOf(i *Info) Lineage {
	return Lineage{RunID: i.RunID, ReplID: i.ReplID, Offset: i.Offset, Empty: i.Empty()}
}

// attached are the replicas that a master names and that are not members yet.
func (s *State) attached(i *Info) []Member {
	var out []Member
	if s.com.Pods {
		return nil // the inventory alone says who belongs to it
	}
	for _, r := range i.Replicas {
		if r.Addr.Port == 0 || s.hasAddr(r.Addr) {
			continue
		}
		out = append(out, Member{ID: InstanceID(r.Addr.String()), Addr: r.Addr})
	}
	return out
}

func (s *State) hasAddr(a Addr) bool {
	for _, m := range s.com.Members {
		if m.Addr.Same(a) {
			return true
		}
	}
	return false
}

// healthyMaster is the committed master's observation if it is up, master and heard
// since this leader came; nil otherwise.
func (s *State) healthyMaster() *observation {
	o := s.master()
	if !o.told(s.lead.since) || o.health != HealthUp {
		return nil
	}
	return o
}

// discover adds replicas that the master names.
func (s *State) discover() {
	o := s.healthyMaster()
	if o == nil || o.info.Role != RoleMaster || o.info.RunID != s.masterRun() {
		return
	}
	if add := s.attached(o.info); len(add) > 0 {
		s.proposeSparsely(Command{Type: CmdMembers, Members: add})
	}
}

// recordLineage records a new run or replication id of the master if it is still
// the same data set, or if there is no other copy that could know better.
func (s *State) recordLineage() {
	o := s.healthyMaster()
	if o == nil || o.info.Loading || o.info.RunID == "" || o.info.ReplID == "" || o.info.Keys < 0 {
		return
	}
	if o.info.Role != RoleMaster && !o.info.Fenced() {
		return // what it has now is somebody else's data set
	}
	if o.info.Role == RoleMaster && len(o.info.Replicas) == 0 && s.now < s.lead.joining {
		s.askAgain(o)
	}
	l := s.com.Lineage
	if o.info.RunID == l.RunID && o.info.ReplID == l.ReplID && !s.outgrown(o.info) {
		return
	}
	if o.info.RunID != l.RunID && (s.backWithLess() || !s.othersHeard(o)) {
		return
	}
	s.lead.recorded = s.now
	if l.RunID != "" && o.info.RunID != l.RunID && s.now >= s.lead.sparse[CmdLineage] {
		s.remark(remarkRestarted, o, "runs anew with "+amount(o.info)+", and no other copy is known to have more: it stays master")
	}
	if s.lead.replID != o.info.ReplID {
		s.lead.replID = o.info.ReplID
		delete(s.lead.sparse, CmdLineage) // what was proposed a moment ago was another one
	}
	s.proposeSparsely(Command{Type: CmdLineage, Epoch: s.com.Master.Epoch, Lineage: lineageOf(o.info)})
}

// joinWithin is how long after REPLICAOF a replica is expected to attach.
const joinWithin = time.Second

// joins notes that an instance was told to follow the master. A Redis that has had no
// replica takes a new replication id when the first one comes, which goes back to
// nothing (createReplicationBacklog of Redis 4 and later): until that one is recorded, the
// copies would be taken for a stranger's.
func (s *State) joins() { s.lead.joining = s.now + joinWithin }

// How often the master's offset is recorded: after much was written, and after a
// while in any case.
const (
	recordBusy  = 10 * time.Second
	recordQuiet = time.Minute
	recordLeast = 1 << 10 // bytes; an idle master's PINGs come to less in a minute
)

// outgrown reports whether what is recorded of the master's data is too old to tell
// an old copy by, once nobody is left who has seen more. That it has become empty, or
// is so no longer, counts at once.
func (s *State) outgrown(i *Info) bool {
	l := s.com.Lineage
	if i.Empty() != l.Empty {
		return true
	}
	grown := i.Offset - l.Offset
	wait := recordQuiet
	switch {
	case grown < recordLeast:
		return false
	case grown >= max(s.com.Config.MaxLoss, recordLeast):
		wait = recordBusy
	}
	if due := s.lead.recorded + wait; s.now < due {
		s.wake(due)
		return false
	}
	return true
}

// othersHeard reports whether a new run of the master can be accepted: every other
// member was heard and none has more, or those that were not heard for down-after
// had no more when they last were.
func (s *State) othersHeard(o *observation) bool {
	best := s.com.Lineage.Offset
	var missing *observation
	for _, m := range s.com.Members {
		r := s.observe(m.ID, m.Addr)
		if m.ID == o.id {
			continue
		}
		if r.health == HealthUp && r.infoAt < o.runSince {
			// What it said before may be from before a sync: it is asked once more.
			s.askAgain(r)
			return false
		}
		if r.info != nil && s.com.Knows(r.info.ReplID) {
			best = max(best, r.info.Offset)
		}
		if r.info == nil || r.health != HealthUp || r.infoAt < s.lead.since || r.info.Loading {
			missing = r
			best = max(best, r.could.by(s.masterRun()))
			continue
		}
		if why := s.unknownMore(o.info, r); why != "" {
			s.refuse(o, why)
			return false
		}
	}
	switch wait := o.runSince + s.com.Config.DownAfter; {
	case missing == nil:
		return true
	case !sameData(o.info, s.com.Lineage.ReplID, best):
		s.refuse(o, "runs anew, and "+s.called(missing)+" cannot be asked whether it has more: nobody is made to follow it until then")
		return false
	case s.now < wait:
		s.wake(wait)
		return false
	}
	return true
}

// credit is what an instance can have by the word of a master that named it as attached:
// that run's data up to an offset. It says nothing about what came after a later word, but
// a watcher that does not hear the instance knows no better.
type credit struct {
	run    string
	offset int64
}

// by returns the offset if it was that run's word, 0 otherwise: what an earlier run of the
// master had was compared when the present one was accepted.
func (c credit) by(run string) int64 {
	if c.run != run {
		return 0
	}
	return c.offset
}

// credit notes what the replicas can have that the committed run of the master names as
// attached: one that the watchers do not hear goes on to follow.
func (s *State) credit(o *observation) {
	if o.info.Role != RoleMaster || o.info.RunID != s.masterRun() {
		return
	}
	for _, m := range s.com.Members {
		if slices.ContainsFunc(o.info.Replicas, func(a Attached) bool { return a.Online && a.Addr.Same(m.Addr) }) {
			s.observe(m.ID, m.Addr).could = credit{run: o.info.RunID, offset: o.info.Offset}
		}
	}
}

// askAgain asks an instance for INFO, and again after a while if it does not answer.
func (s *State) askAgain(o *observation) {
	if again := o.asked + retryAfter; o.asked > 0 && s.now < again {
		s.wake(again)
		return
	}
	o.asked = s.now
	s.wake(s.now + retryAfter)
	s.act(ProbeNow{Master: s.com.Name, Instance: o.id})
}

// unknownMore says why a new run of the master must not be accepted without a person
// although no copy of the recorded lineage has more: another member has far more keys
// under a replication id that tells nothing. A few keys more prove nothing, because
// they may have been deleted or have expired.
func (s *State) unknownMore(i *Info, r *observation) string {
	if s.took(r.info, i) || s.com.Knows(r.info.ReplID) || r.info.Keys <= 2*i.Keys {
		return ""
	}
	return fmt.Sprintf("runs anew with %d keys, and %s has %d under a replication id that is not known: a person must decide", i.Keys, s.called(r), r.info.Keys)
}

// tune sets repl-ping-replica-period 1 on every member, so that an idle master's
// replicas advance every second and silence can be told from idleness.
func (s *State) tune() {
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if !s.mendable(o) || o.info.RunID == "" || m.PingRun == o.info.RunID || o.info.Loading || !o.reply.Usable() || !s.inPlace(o) {
			continue
		}
		if again := s.mend.tuned[m.ID]; s.now < again {
			s.wake(again)
			continue
		}
		s.mendWith(o, Do{Op: OpSetPing, Instance: m.ID, Addr: m.Addr, Value: "1"})
	}
}

// inPlace reports whether an instance is what it should be: the accepted run of the
// master, or a replica in sync with it. That a run was tuned is also how it is known
// later that the process was once in its place, see followedBefore.
func (s *State) inPlace(o *observation) bool {
	if o.id == s.com.Master.Instance {
		return o.info.Role == RoleMaster && o.info.RunID == s.masterRun()
	}
	return o.info.Role == RoleReplica && o.info.LinkUp && !o.info.Syncing && o.info.Master.Same(s.com.Master.Addr)
}

// tuned records what tune found, so that it can be given back. Where it is not
// allowed, the default counts.
func (s *State) tuned(o *observation, ev Done) {
	s.mend.tuned[o.id] = s.now + mendAgain
	if o.info == nil || (ev.Result != OutcomeOK && ev.Result != OutcomeRefused) {
		return
	}
	was, now := int(integer(ev.Detail)), 1
	if m := s.com.Member(o.id); s.com.Released && m != nil {
		was, now = m.PingWas, m.PingWas
	}
	if ev.Result == OutcomeRefused {
		was, now = 10, 10
	}
	s.propose(Command{Type: CmdTuned, Instance: o.id, Was: was, Now: now, Lineage: Lineage{RunID: o.info.RunID}})
}

// propose hands a command to the log.
func (s *State) propose(c Command) {
	c.Level, c.Master, c.Wall = c.level(), s.com.Name, s.wall
	s.act(Propose{c})
}

// proposeSparsely proposes what will be proposed again if it gets lost.
func (s *State) proposeSparsely(c Command) {
	if until := s.lead.sparse[c.Type]; s.now < until {
		s.wake(until)
		return
	}
	s.lead.sparse[c.Type] = s.now + sparsely
	s.propose(c)
}
