package sentinel

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fence is what is committed about the opt-in fence of a master: while it has no
// replica that acknowledges, a master that is cut off stops taking writes by itself
// (min-replicas-to-write). The zero value is a fence that was turned off.
type Fence struct {
	On bool `json:"on,omitempty"`
	// Need is how many replicas the master must have to take writes, 0 or 1. It was
	// decided for the assignment of Epoch; a later master needs none until the next
	// decision, because it is promoted with 0.
	Need  int   `json:"need,omitempty"`
	Epoch Epoch `json:"epoch,omitempty"`
	// Why is the reason for a Need of 0, in words.
	Why string `json:"why,omitempty"`
}

// MinReplicas are min-replicas-to-write and min-replicas-max-lag of one instance: how
// many replicas must have acknowledged within Lag seconds for it to take writes. A
// zero in either means that it takes them always.
type MinReplicas struct {
	Write int `json:"write"`
	Lag   int `json:"lag"`
}

// Active reports whether writes can be refused because of it.
func (m MinReplicas) Active() bool { return m.Write > 0 && m.Lag > 0 }

// String returns both numbers as ParseMinReplicas reads them: "1/2".
func (m MinReplicas) String() string { return fmt.Sprintf("%d/%d", m.Write, m.Lag) }

// ParseMinReplicas reads what String wrote.
func ParseMinReplicas(text string) (m MinReplicas, ok bool) {
	n, err := fmt.Sscanf(text, "%d/%d", &m.Write, &m.Lag)
	return m, err == nil && n == 2
}

const (
	// fenceLag is min-replicas-max-lag under a fence, in seconds. Replicas acknowledge
	// once a second, so that less would refuse writes while all is well.
	fenceLag = 2
	// lonelyFor is how long nobody must have acknowledged before the fence is relaxed
	// although a replica lives: links are made anew within a second.
	lonelyFor = time.Second
	// steadyFor is how long a replica must have acknowledged before a fence that was
	// relaxed is put up again.
	steadyFor = 2 * time.Second
)

// fenceTimes are when a leader saw what decides about the fence; never if it did not.
type fenceTimes struct {
	lonely Time // since when the master has said that nobody acknowledges
	acked  Time // since when somebody has
	// set is what was last written to an instance, and to which of its runs.
	set map[InstanceID]string
	// trouble is why it cannot be put up, "" if it can.
	trouble string
}

// applyFence takes up the setting, or a decision about the present master.
func (c *Committed) applyFence(cmd Command) Result {
	f := cmd.Fence
	switch {
	case f == nil:
		return refused("fence without a decision")
	case c.Plan != nil:
		return refused("epoch %s is open", c.Plan.Epoch)
	case f.Need != 0 && (!f.On || f.Epoch != c.Master.Epoch):
		return refused("epoch %s is not the master's %s", f.Epoch, c.Master.Epoch)
	}
	fence := *f
	c.Fence = &fence
	c.addNote(c.Master.Epoch, func(r Record) Note {
		return Note{AfterMS: max(0, milliseconds(cmd.Wall.Sub(r.When))), What: "fence", Text: c.fenceText()}
	})
	return accepted()
}

// applyFound takes up what min-replicas-to-write was before anything was written to it,
// or that it was given back.
func (c *Committed) applyFound(cmd Command) Result {
	m := c.Member(cmd.Instance)
	if m == nil {
		return refused("%s is not known", cmd.Instance)
	}
	if cmd.Limits == nil || m.Limits == nil { // what was found first is true
		m.Limits = cmd.Limits
	}
	return accepted()
}

// addNote adds a note to the latest record of an epoch, if there is one with room.
func (c *Committed) addNote(e Epoch, note func(Record) Note) {
	for i := len(c.History) - 1; i >= 0; i-- {
		if r := &c.History[i]; r.Epoch == e && r.Kind != "held" && r.Kind != "aborted" {
			if len(r.Notes) < notesMax {
				r.Notes = append(slices.Clone(r.Notes), note(*r))
			}
			return
		}
	}
}

// fenceOn reports whether the present master is to be fenced if it is cut off.
func (c *Committed) fenceOn() bool {
	return c.Fence != nil && c.Fence.On && !c.Released && !c.Config.Observe
}

// fenceNeed is how many replicas the present master must have.
func (c *Committed) fenceNeed() int {
	if f := c.Fence; c.fenceOn() && f.Epoch == c.Master.Epoch {
		return f.Need
	}
	return 0
}

// fenceText is the fence in words: off, on, or relaxed with the reason.
func (c *Committed) fenceText() string {
	switch f := c.Fence; {
	case !c.fenceOn():
		return "off"
	case c.fenceNeed() > 0:
		return "on"
	case f.Epoch == c.Master.Epoch && f.Why != "":
		return "relaxed (" + f.Why + ")"
	}
	return "relaxed (no replica of this master has acknowledged yet)"
}

// fenceView is the fence in words as this watcher sees it.
func (s *State) fenceView() string {
	if why := s.lead.fence.trouble; why != "" && (s.com.fenceOn() || s.wantsFence()) {
		return "off (wanted, but " + why + ")"
	}
	return s.com.fenceText()
}

// wantsFence is what whoever describes the master says: its inventory, or on hosts,
// where a setting is committed once, the leader's file.
func (s *State) wantsFence() bool {
	switch {
	case s.inv != nil:
		return s.inv.Fence && !s.inv.Config.Observe && !s.forsaken
	case s.com.Fence != nil:
		return s.com.Fence.On
	}
	return s.fileFence
}

// keepFence makes the committed decision about the fence, and Redis say what is
// committed. A pause does not keep a fence from being relaxed: writes must not wait for
// somebody who does nothing.
func (s *State) keepFence() {
	if s.com.Fence == nil && !s.wantsFence() || s.com.Plan != nil || !s.com.Adopted || s.lead.beginning != never || s.round != nil {
		return
	}
	if s.com.Config.Observe {
		return
	}
	if want := s.wantsFence(); s.com.Fence == nil || want != s.com.Fence.On {
		s.proposeSparsely(Command{Type: CmdFence, Epoch: s.com.Master.Epoch, Fence: &Fence{On: want}})
		return
	}
	if !s.com.fenceOn() {
		s.giveLimitsBack()
		return
	}
	for _, m := range s.com.Members {
		if m.ID != s.com.Master.Instance && !s.paused() {
			s.keepLimits(m)
		}
	}
	if o := s.fencedMaster(); o != nil {
		s.keepNeed(o)
	}
}

// fencedMaster is the committed master if the fence can be decided about, nil if not.
func (s *State) fencedMaster() *observation {
	o := s.healthyMaster()
	if o == nil || o.info.Role != RoleMaster || o.info.RunID != s.masterRun() || o.info.Loading || !o.reply.Usable() {
		s.lead.fence.lonely, s.lead.fence.acked = never, never
		return nil
	}
	return o
}

// keepNeed decides how many replicas the master needs, and writes what was decided.
func (s *State) keepNeed(o *observation) {
	m := s.com.Member(o.id)
	if m == nil || m.Limits == nil {
		if !s.paused() {
			s.findLimits(o)
		}
		return
	}
	need, why := s.need(o)
	if need != s.com.fenceNeed() {
		s.proposeSparsely(Command{Type: CmdFence, Epoch: s.com.Master.Epoch, Fence: &Fence{On: true, Need: need, Epoch: s.com.Master.Epoch, Why: why}})
		return
	}
	if need > 0 && !s.acknowledged(o) {
		return // it begins with 0 after a promotion or an undone handover, and stays there
	}
	want := MinReplicas{Write: need, Lag: fenceLag}
	if o.info.Limited == want.Active() && (s.paused() || s.lead.fence.set[o.id] == o.info.RunID+want.String()) {
		return
	}
	s.setLimits(o, want, false)
}

// keepLimits finds out what a replica's limits are, and gives them back to one that
// still has those of a master: they would count if it was promoted by hand.
func (s *State) keepLimits(m Member) {
	o := s.obs[m.ID]
	if o == nil || o.info == nil || o.info.Role != RoleReplica {
		return
	}
	switch {
	case m.Limits == nil:
		s.findLimits(o)
	case o.info.Limited != m.Limits.Active():
		s.setLimits(o, *m.Limits, true)
	}
}

// giveLimitsBack sets what was found before the fence, everywhere.
func (s *State) giveLimitsBack() {
	for _, m := range s.com.Members {
		if o := s.obs[m.ID]; m.Limits != nil && o != nil {
			s.setLimits(o, *m.Limits, true)
		}
	}
}

// need is how many replicas the master needs from now on, and why if none.
func (s *State) need(o *observation) (int, string) {
	t := &s.lead.fence
	if s.paused() {
		return 0, s.pausedText()
	}
	why, lost := s.unable()
	if s.acknowledged(o) || !lost && o.info.Limited && o.info.Good > 0 {
		t.lonely = never
		if t.acked == never {
			t.acked = s.now
		}
		if f := s.com.Fence; f.Epoch == s.com.Master.Epoch && f.Need == 0 && f.Why != "" && s.now < t.acked+steadyFor {
			s.wake(t.acked + steadyFor)
			return 0, f.Why
		}
		return 1, ""
	}
	t.acked = never
	if t.lonely == never {
		t.lonely = s.now
	}
	if s.com.fenceNeed() > 0 && !lost && s.now < t.lonely+lonelyFor {
		s.wake(t.lonely + lonelyFor)
		return s.com.fenceNeed(), ""
	}
	return 0, why
}

// acknowledged reports whether a member acknowledges what the master writes, in the
// master's own words and in the member's.
func (s *State) acknowledged(o *observation) bool {
	for _, m := range s.com.Members {
		r := s.obs[m.ID]
		if m.ID == o.id || r == nil || r.health != HealthUp || r.info == nil || !r.info.LinkUp || r.info.Syncing {
			continue
		}
		if slices.ContainsFunc(o.info.Replicas, func(a Attached) bool { return a.Addr.Same(m.Addr) && a.Online && a.Offset > 0 && a.Lag < fenceLag }) {
			return true
		}
	}
	return false
}

// unable says why no replica acknowledges. lost is set if a majority of the watchers
// holds every one of them down, or they exist no longer.
func (s *State) unable() (why string, lost bool) {
	var all []string
	lost = true
	for _, m := range s.com.Members {
		if m.ID == s.com.Master.Instance {
			continue
		}
		name, r := called(m.Name, m.Addr), s.obs[m.ID]
		switch {
		case s.absent(m.ID):
			all = append(all, name+" is gone")
			continue
		case s.countOf(m.ID, HealthCrashed, HealthDown) > len(s.voters)/2:
			all = append(all, name+" is down")
			continue
		case r != nil && r.info != nil && r.info.Syncing:
			all = append(all, name+" is in a full sync")
		default:
			all = append(all, name+" does not acknowledge")
		}
		lost = false
	}
	if len(all) == 0 {
		return "there is no replica", true
	}
	return strings.Join(all, ", "), lost
}

// countOf is how many watchers hold one of these opinions of an instance.
func (s *State) countOf(id InstanceID, health ...Health) int {
	n := 0
	for _, w := range s.voters {
		r, ok := s.reportOf(w, 0)
		if ok && slices.ContainsFunc(r.Instances, func(i InstanceReport) bool { return i.ID == id && slices.Contains(health, i.Health) }) {
			n++
		}
	}
	return n
}

// findLimits asks for the limits of an instance, which INFO does not tell.
func (s *State) findLimits(o *observation) {
	if s.limitsDue(o) {
		s.mendWith(o, Do{Op: OpFindLimits, Instance: o.id, Addr: o.addr})
	}
}

// setLimits writes the limits of an instance.
func (s *State) setLimits(o *observation, to MinReplicas, back bool) {
	if s.limitsDue(o) {
		s.mendWith(o, Do{Op: OpSetLimits, Instance: o.id, Addr: o.addr, Limits: &to, GiveBack: back})
	}
}

// limitsDue reports whether an instance can be asked or told about its limits now. No
// repair waits for them.
func (s *State) limitsDue(o *observation) bool {
	if !s.mendable(o) || o.info.Loading || !o.reply.Usable() {
		return false
	}
	if again := s.mend.tuned[o.id]; s.now < again {
		s.wake(again)
		return false
	}
	return true
}

// limitsDone takes up the outcome of findLimits or setLimits.
func (s *State) limitsDone(o *observation, f mending, ev Done) {
	s.mend.tuned[o.id] = s.now + mendAgain
	if ev.Result != OutcomeOK {
		if why := s.called(o) + " says: " + ev.Detail; s.lead.fence.trouble != why {
			s.lead.fence.trouble = why
			s.emit(EventFaulted, o, f.op.String()+" "+ev.Result.String()+": "+ev.Detail)
		}
		delete(s.lead.fence.set, o.id)
		return
	}
	s.lead.fence.trouble = ""
	if ev.Info != nil {
		s.learn(o, ev, f.sent)
	}
	m := s.com.Member(o.id)
	if m == nil {
		return
	}
	if f.op == OpFindLimits {
		if found, ok := ParseMinReplicas(ev.Detail); ok {
			s.propose(Command{Type: CmdFound, Instance: o.id, Limits: &found})
		}
		return
	}
	if !f.back {
		s.mend.tuned[o.id] = s.now
	}
	if s.lead.fence.set == nil {
		s.lead.fence.set = map[InstanceID]string{}
	}
	if ev.Info != nil {
		s.lead.fence.set[o.id] = ev.Info.RunID + f.limits.String()
	}
	if !s.com.fenceOn() && m.Limits != nil && f.limits == *m.Limits {
		s.propose(Command{Type: CmdFound, Instance: o.id})
	}
}

// promoteWith adds to a command that makes an instance writable that it begins with
// min-replicas-to-write 0: nobody follows it yet.
func (s *State) promoteWith(do Do) Do {
	if m := s.com.Member(do.Instance); s.com.fenceOn() || m != nil && m.Limits != nil {
		do.Limits = &MinReplicas{}
	}
	return do
}

// fenced says what a committed decision about the fence means.
func (s *State) tellFence(before Committed) {
	text := s.com.fenceText()
	if before.fenceText() != text {
		s.emit(EventFence, s.master(), text)
	}
}

// limited reports whether there is an instance that answers and whose limits are still
// to be given back.
func (s *State) limited() bool {
	return slices.ContainsFunc(s.com.Members, func(m Member) bool {
		o := s.obs[m.ID]
		return m.Limits != nil && o != nil && o.health == HealthUp && o.reply.Usable() && !s.absent(m.ID)
	})
}

// forsake gives the limits back when nobody describes the pods any more, and reports
// whether the master can be forgotten.
func (s *State) forsake() bool {
	s.forsaken = true
	return !s.limited() || s.com.Config.Observe || s.lead.fence.trouble != ""
}
