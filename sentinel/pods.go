package sentinel

import (
	"fmt"
	"slices"
	"time"
)

// inventory is what this watcher knows of the pods, nil on hosts.
type inventory struct {
	Inventory
	// deleting is since when a pod was seen being deleted.
	deleting map[InstanceID]Time
	// taken holds absent instances whose address answers as another process.
	taken map[InstanceID]bool
	// vacateAgain spaces the attempts to hand over from a pod that is being deleted.
	vacateAgain Time
	// vacated counts the attempts that were aborted for the present master.
	vacated int
	// back is when the first pod answered after all were lost, never if none did; backOf
	// is how many were expected then.
	back   Time
	backOf int
	// flipped is the highest epoch that a Service of ours follows.
	flipped Epoch
}

// takeInventory takes up who exists. The moment at which a deletion is first seen
// counts, not the clock of whoever asked for it.
func (s *State) takeInventory(inv Inventory) {
	if s.inv == nil {
		s.inv = &inventory{deleting: map[InstanceID]Time{}, taken: map[InstanceID]bool{}, back: never}
	}
	v := s.inv
	v.Inventory, s.forsaken = inv, false
	for _, i := range inv.Instances {
		if _, seen := v.deleting[i.ID]; i.Deleting && !seen {
			v.deleting[i.ID] = s.now
		}
		delete(v.taken, i.ID)
	}
	for id := range v.deleting {
		if s.instance(id) == nil {
			delete(v.deleting, id)
		}
	}
}

// instance is the pod with that ID, nil if it does not exist or nobody names pods here.
func (s *State) instance(id InstanceID) *Instance {
	if s.inv == nil {
		return nil
	}
	for i := range s.inv.Instances {
		if s.inv.Instances[i].ID == id {
			return &s.inv.Instances[i]
		}
	}
	return nil
}

// absent reports whether an instance is known to exist no longer. Its process may
// live on all the same, on a node that nobody reaches.
func (s *State) absent(id InstanceID) bool { return s.inv != nil && s.instance(id) == nil }

// elsewhere reports whether nobody must talk to the address of an instance any more:
// its pod is gone or has another one by now, and another process may have it.
func (s *State) elsewhere(m Member) bool {
	if s.inv == nil {
		return false
	}
	if owner, ok := s.inv.At[m.Addr.plain()]; ok && owner != s.com.Name {
		return true
	}
	if i := s.instance(m.ID); i != nil {
		return !i.Addr.Same(m.Addr)
	}
	return s.inv.taken[m.ID] || slices.ContainsFunc(s.inv.Instances, func(i Instance) bool { return i.Addr.Same(m.Addr) })
}

// strayed is elsewhere for an instance ID.
func (s *State) strayed(id InstanceID) bool {
	m := s.com.Member(id)
	return m != nil && s.elsewhere(*m)
}

// impostor reports whether a probe of an absent instance reached another process.
func (s *State) impostor(o *observation, p Probe) bool {
	if !s.absent(o.id) {
		return false
	}
	if p.Info == nil && p.Reply.Alive() && o.infoAt < o.doubt {
		return true // who answers has not said who it is
	}
	known := s.masterRun()
	if o.info != nil && o.info.RunID != "" {
		known = o.info.RunID
	}
	if p.Info != nil && p.Info.RunID != "" && p.Info.RunID != known {
		s.inv.taken[o.id] = true
	}
	return s.inv.taken[o.id]
}

// called is how people call an instance.
func (s *State) called(o *observation) string {
	if m := s.com.Member(o.id); m != nil {
		return called(m.Name, o.addr)
	}
	return o.addr.String()
}

// keepPods proposes what the inventory says and the log does not.
func (s *State) keepPods() {
	if !s.com.Pods || s.inv == nil {
		return
	}
	if floor := s.floor(); floor > s.com.Last && s.com.Plan == nil {
		s.proposeSparsely(Command{Type: CmdFloor, Epoch: floor})
	}
	if cfg := s.inv.Config; cfg != s.com.Config && cfg.Validate() == nil && !s.halfway() {
		s.proposeSparsely(Command{Type: CmdConfigure, Config: &cfg})
	}
	cmd := Command{Type: CmdPods}
	for _, i := range s.inv.Instances {
		if i.Addr.IsZero() {
			continue
		}
		was := s.com.Member(i.ID)
		proved := was != nil && !was.Ours && s.inSync(i.ID)
		if was == nil || proved || was.Addr != i.Addr && !s.planned(i.ID) {
			m := i.member()
			m.Ours = proved
			cmd.Members = append(cmd.Members, m)
		}
	}
	for _, m := range s.com.Members {
		if s.absent(m.ID) && m.ID != s.com.Master.Instance && !s.planned(m.ID) && !s.atLarge(m) {
			cmd.Removed = append(cmd.Removed, m.ID)
		}
	}
	if len(cmd.Members)+len(cmd.Removed) > 0 {
		s.proposeSparsely(cmd)
	}
}

// halfway reports whether a plan is open, or the master still fenced after one: what
// keeps triwatch from writing must not come in between.
func (s *State) halfway() bool {
	o := s.master()
	if s.inv.Config.Observe && !s.com.Config.Observe && s.limited() {
		return true // nothing is written after it, so that the limits come first
	}
	return s.com.Plan != nil || o != nil && o.info != nil && o.info.Fenced() && s.com.Adopted && !s.isIdle()
}

// atLarge reports whether a former master whose pod is gone may still take writes
// somewhere: it has neither been refused nor seen as anything but a master. It stays a
// member, so that it is fenced when it is seen again.
func (s *State) atLarge(m Member) bool {
	o := s.obs[m.ID]
	if o == nil || o.info == nil || o.info.Role != RoleMaster || s.elsewhere(m) {
		return false
	}
	return o.health != HealthCrashed && s.now-o.lastReply < atLargeMax
}

// atLargeMax is after how long a node that nobody reaches is given up.
const atLargeMax = time.Hour

func (i Instance) member() Member {
	return Member{ID: i.ID, Addr: i.Addr, Name: i.Name, Ordinal: i.Ordinal, Data: i.Data}
}

// planned reports whether an instance is part of the open plan.
func (s *State) planned(id InstanceID) bool {
	p := s.com.Plan
	return p != nil && (p.Old.Instance == id || p.New.Instance == id)
}

// generationsMax bounds what an object's annotation can do: a number beyond it was
// written by a hand.
const generationsMax = 1 << 20

// floor is the highest epoch that must not be used again: what is written on the
// objects, and what an earlier generation of the log may have used.
func (s *State) floor() Epoch {
	f := MakeEpoch(s.generation, 0)
	if s.inv != nil && s.inv.Floor.Generation() < generationsMax {
		f = max(f, s.inv.Floor)
	}
	return f
}

// vacate hands over from a master whose pod is being deleted, once its patience is
// over: the deletion itself makes every node look at its Services, and then not
// again for a second.
func (s *State) vacate() {
	if s.inv == nil || s.com.Plan != nil || !s.com.Adopted || s.lead.beginning != never || s.lead.parked != nil || s.round != nil {
		return
	}
	at, why := s.inv.vacateAgain, ""
	if i := s.instance(s.com.Master.Instance); i == nil {
		if o := s.master(); o == nil || o.health != HealthUp || s.masterRun() == "" || o.info == nil || o.info.RunID != s.masterRun() {
			return
		}
		why = "pod " + s.com.Master.String() + " is gone, its process is not"
	} else if i.Deleting {
		at, why = max(at, s.inv.deleting[i.ID]+i.Patience), "pod "+i.Name+" is being deleted"
	} else {
		return
	}
	if who := s.contested(); who != "" {
		s.await(why + "; held: " + who)
		return
	}
	if s.inv.vacated >= vacateMax {
		s.await(why + ", but the handover was aborted again and again: nothing more is tried")
		return
	}
	if s.now < at {
		s.wake(at)
		return
	}
	if s.isIdle() {
		if s.told.waiting != why {
			s.told.waiting = why
			s.emit(EventWould, s.master(), "would hand over: "+why)
		}
		return
	}
	s.inv.vacateAgain = s.now + vacateAgain
	s.wake(s.inv.vacateAgain)
	s.takeRequest(Request{Master: s.com.Name, Kind: RequestHandover, Why: why})
}

// vacateAgain is the pause between two attempts to hand over from a pod that is
// being deleted: a candidate may become fit meanwhile.
const vacateAgain = 250 * time.Millisecond

// vacateMax bounds the attempts of which each keeps clients waiting.
const vacateMax = 5

// vacateAborted spaces the attempts: each one that is aborted has cost clients a wait.
func (s *State) vacateAborted() {
	if s.inv != nil {
		s.inv.vacateAgain = s.now + time.Second<<s.inv.vacated
		s.inv.vacated++
	}
}

// await says once what a plan for the master waits for; it goes on by itself.
func (s *State) await(why string) {
	if s.told.waiting == why || s.master() == nil {
		return
	}
	s.told.waiting = why
	s.emit(EventWaiting, s.master(), why)
}

// flipWait is how long a plan waits for the Service after the promotion. It is done
// without when the API is away: a plan that is open keeps evidence against its own
// master from counting.
const flipWait = time.Second

// flipDone reports whether the Services follow the promoted master, or have had their time.
func (s *State) flipDone(p *Plan, d *driver) (followed, done bool) {
	if s.inv == nil || !s.inv.Serves {
		return false, true
	}
	if s.inv.flipped >= p.Epoch {
		return true, true
	}
	s.wake(d.since + flipWait)
	return false, s.now >= d.since+flipWait
}

// takeFlipped notes that a Service follows.
func (s *State) takeFlipped(ev Flipped) {
	if s.inv == nil {
		return
	}
	s.inv.flipped = max(s.inv.flipped, ev.Epoch)
	if !s.lead.on {
		return
	}
	text := fmt.Sprintf("%s follows, epoch %s", ev.Service, ev.Epoch)
	if p := s.com.Plan; p != nil && p.Epoch == ev.Epoch {
		s.note(s.driverOf(p), "service", text)
		return
	}
	for i := len(s.com.History) - 1; i >= 0; i-- {
		if r := &s.com.History[i]; r.Epoch == ev.Epoch && r.Kind != "held" {
			if !slices.ContainsFunc(r.Notes, func(n Note) bool { return n.What == "service" && n.Text == text }) {
				s.propose(Command{Type: CmdNote, Epoch: ev.Epoch, Notes: []Note{{milliseconds(s.wall.Sub(r.When)), "service", text}}})
			}
			return
		}
	}
}

func (c *Committed) applyConfigure(cmd Command) Result {
	if cmd.Config == nil {
		return refused("configure without settings")
	}
	if err := cmd.Config.Validate(); err != nil {
		return refused("%v", err)
	}
	c.Config = *cmd.Config
	return accepted()
}

func (c *Committed) applyFloor(cmd Command) Result {
	if c.Plan != nil {
		return refused("epoch %s is open", c.Plan.Epoch)
	}
	c.Last = max(c.Last, cmd.Epoch)
	return accepted()
}

// trust notes that an instance has this data set, and that its volume does.
func (c *Committed) trust(id InstanceID) {
	m := c.Member(id)
	if m == nil || !c.Pods {
		return
	}
	m.Ours = true
	if m.Data == "" || slices.Contains(c.Volumes, m.Data) {
		return
	}
	c.Volumes = append(slices.Clone(c.Volumes), m.Data)
	if n := len(c.Volumes) - volumesMax; n > 0 {
		c.Volumes = c.Volumes[n:]
	}
}

// inSync reports whether a member has the master's data, as it says itself.
func (s *State) inSync(id InstanceID) bool {
	o := s.obs[id]
	return s.com.Adopted && s.com.Plan == nil && o.told(s.lead.since) && o.health == HealthUp && o.info.Role == RoleReplica && o.info.LinkUp && !o.info.Syncing &&
		o.info.Master.Same(s.com.Master.Addr)
}

// applyPods takes up instances that came, went or changed their address; the
// master's own address goes with it.
func (c *Committed) applyPods(cmd Command) Result {
	if !c.Pods {
		return refused("%q is not named by an inventory", c.Name)
	}
	for _, m := range cmd.Members {
		if c.Plan != nil && c.Member(m.ID) != nil && (m.ID == c.Plan.New.Instance || m.ID == c.Plan.Old.Instance) {
			return refused("%s is part of the open plan", called(m.Name, m.Addr))
		}
	}
	add := slices.Clone(cmd.Members)
	for i := range add {
		m := &add[i]
		// A pod without a volume that came after the master was adopted began with nothing.
		m.Ours = m.Ours || c.Adopted && c.Member(m.ID) == nil && (m.Data == "" || slices.Contains(c.Volumes, m.Data))
	}
	cmd.Members = add
	if res := c.applyMembers(cmd); !res.Accepted {
		return res
	}
	for _, m := range add {
		if m.Ours {
			c.trust(m.ID)
		}
	}
	if m := c.Member(c.Master.Instance); m != nil {
		c.Master.Addr = m.Addr
	}
	return accepted()
}
