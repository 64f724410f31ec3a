package sentinel

import (
	"slices"
	"strings"
	"time"
)

// Right is something that triwatch has to be allowed to do on an instance. Zero is
// unknown.
type Right int

// The rights, by the command that they are about.
const (
	RightUnknown Right = iota
	// RightMove is REPLICAOF, or SLAVEOF in its place: without it an instance can neither
	// be promoted nor fenced nor made to follow.
	RightMove
	// RightKill is CLIENT KILL: without it the clients of a demoted master stay with it.
	RightKill
	// RightPause and RightUnpause are CLIENT PAUSE and CLIENT UNPAUSE: without them
	// clients get errors during a handover instead of waiting.
	RightPause
	RightUnpause
	// RightRewrite is CONFIG REWRITE: without it a role does not outlive a restart.
	RightRewrite
	// RightConfigGet and RightConfigSet are CONFIG GET and CONFIG SET: without them an
	// idle master's silence is told from idleness only after ten seconds.
	RightConfigGet
	RightConfigSet
	// RightListen is SUBSCRIBE to triwatch's own channel.
	RightListen
)

var rightNames = map[Right]string{
	RightUnknown: "unknown", RightMove: "REPLICAOF", RightKill: "CLIENT KILL", RightPause: "CLIENT PAUSE", RightUnpause: "CLIENT UNPAUSE",
	RightRewrite: "CONFIG REWRITE", RightConfigGet: "CONFIG GET", RightConfigSet: "CONFIG SET", RightListen: "SUBSCRIBE",
}

// String returns the command that the right is about.
func (r Right) String() string { return rightNames[r] }

// Setting is a setting of an instance that is on or off. Zero is unknown.
type Setting int

// The values of a setting.
const (
	SettingUnknown Setting = iota
	SettingOff
	SettingOn
)

// String returns the word that people read.
func (s Setting) String() string {
	switch s {
	case SettingOff:
		return "off"
	case SettingOn:
		return "on"
	case SettingUnknown:
		return "unknown"
	}
	return "unknown"
}

// Missing is a right that triwatch does not have.
type Missing struct {
	Right Right
	// Gone is set where the server has no such command: it was renamed or removed.
	// Otherwise the user may not send it.
	Gone bool
}

// Rights is what was found out about what an instance lets triwatch do. What is not
// listed as missing is allowed, or could not be asked. A Rights is never changed after
// it was handed over.
type Rights struct {
	// User is who we are there.
	User string
	// Missing is in the order of the rights' numbers.
	Missing []Missing
	// ReadOnly is replica-read-only. Off, a replica takes writes of its own, and so would
	// a fenced master.
	ReadOnly Setting
	// Unsure is set where the server would not tell who may send what.
	Unsure bool
}

// Lacks says why a right is missing, "" if it is there or not known. It may be asked of
// a nil Rights.
func (r *Rights) Lacks(right Right) string {
	if r == nil {
		return ""
	}
	for _, m := range r.Missing {
		if m.Right == right && m.Gone {
			return "the server has no command " + m.Right.String() + " (renamed or removed)"
		} else if m.Right == right {
			return "user " + r.User + " may not send " + m.Right.String()
		}
	}
	return ""
}

// String names all that is missing, "" if nothing is.
func (r *Rights) String() string {
	if r == nil {
		return ""
	}
	var denied, gone, text []string
	for _, m := range r.Missing {
		if m.Gone {
			gone = append(gone, m.Right.String())
		} else {
			denied = append(denied, m.Right.String())
		}
	}
	if len(denied) > 0 {
		text = append(text, "user "+r.User+" may not send "+strings.Join(denied, ", "))
	}
	if len(gone) > 0 {
		text = append(text, "the server has no command "+strings.Join(gone, ", ")+" (renamed or removed)")
	}
	return strings.Join(text, "; ")
}

// readOnlyOff is why an instance that takes writes as a replica is not trusted.
const readOnlyOff = "replica-read-only is off"

// takesWrites reports whether the instance is known to take writes while it is a
// replica, or to do so if it became one.
func (o *observation) takesWrites() bool { return o.readOnly == SettingOff }

// shortfall is all that keeps triwatch from doing its work on an instance, "" if
// nothing that is known does.
func (o *observation) shortfall() string {
	text := o.rights.String()
	if o.takesWrites() && text != "" {
		return text + "; " + readOnlyOff
	} else if o.takesWrites() {
		return readOnlyOff
	}
	return text
}

// unfencable says why a fence on an instance could not be set or would not hold, "" if
// nothing is known against it.
func (o *observation) unfencable() string {
	if why := o.rights.Lacks(RightMove); why != "" {
		return why
	}
	if o.takesWrites() {
		return readOnlyOff + ", so it would go on taking writes"
	}
	return ""
}

// takeRights takes up what a probe found out. A new run may have other settings: what
// was known of the one before does not count for it. Whether it is read-only, a replica's
// INFO says afresh each time; of a master it is what it said when it was a replica, or
// when it was asked.
func (o *observation) takeRights(p Probe, anew bool) {
	if anew {
		o.rights, o.readOnly = nil, SettingUnknown
	}
	if p.Rights != nil && p.Asked >= o.rightsAt {
		o.rights, o.rightsAt = p.Rights, p.Asked
		if p.Rights.ReadOnly != SettingUnknown {
			o.readOnly = p.Rights.ReadOnly
		}
	}
	switch {
	case o.info.Role != RoleReplica:
	case o.info.ReadOnly:
		o.readOnly = SettingOn
	default:
		o.readOnly = SettingOff
	}
}

// tellRights says once what an instance does not let us do, and when it does again.
func (s *State) tellRights(o *observation) {
	if o.info == nil {
		return
	}
	text := o.shortfall()
	if text == o.rightsSaid || text == "" && o.rights == nil && o.info.Role != RoleReplica {
		return // of a new run nothing is known yet
	}
	o.rightsSaid = text
	if text == "" {
		text = "all that is needed is allowed"
	}
	s.emit(EventRights, o, text)
}

// askAllRights asks everybody for a full INFO and for what is allowed.
func (s *State) askAllRights() {
	for _, m := range s.com.Members {
		if o := s.obs[m.ID]; m.ID == s.com.Master.Instance || o != nil && o.health != HealthCrashed {
			s.act(ProbeNow{Master: s.com.Name, Instance: m.ID, Rights: true})
		}
	}
}

// rightsWait is how much longer than for an INFO the answer to what is allowed is
// waited for: a plan that fails for it costs clients more.
const rightsWait = 200 * time.Millisecond

// rightsSince reports whether everybody who has answered INFO since a moment has told
// what is allowed, too.
func (s *State) rightsSince(since Time) bool {
	for _, o := range s.obs {
		if o.health == HealthUp && o.reply.Usable() && o.infoAt >= since && (o.rights == nil || o.rightsAt < since) {
			return false
		}
	}
	return true
}

// rightsAgain is the pause before what is missing is asked for again, because
// something waits for it.
const rightsAgain = 5 * time.Second

// immovable says why an instance is left as it is although it should be moved, and
// asks again later. "" is the usual answer.
func (s *State) immovable(o *observation) string {
	why := o.rights.Lacks(RightMove)
	if why == "" {
		return ""
	}
	why += ": it is left as it is"
	s.refuse(o, why)
	if again := o.rightsAt + rightsAgain; s.now < again {
		s.wake(again)
	} else if o.askedRights+rightsAgain <= s.now {
		o.askedRights = s.now
		s.act(ProbeNow{Master: s.com.Name, Instance: o.id, Rights: true})
		s.wake(s.now + rightsAgain)
	} else {
		s.wake(o.askedRights + rightsAgain)
	}
	return why
}

// noHandover says why the master cannot hand over, "" if nothing is known against it.
// It is asked before the plan is begun: within it an old master that cannot be fenced
// has cost clients a wait already.
func (s *State) noHandover(o *observation) string {
	if why := o.unfencable(); why != "" {
		return "the master " + s.com.Master.String() + " cannot be fenced: " + why
	}
	return ""
}

// mayPause reports whether clients of the old master can be made to wait.
func (s *State) mayPause(id InstanceID) bool {
	o := s.obs[id]
	return o == nil || o.rights.Lacks(RightPause) == "" && o.rights.Lacks(RightUnpause) == ""
}

// hindrances says what is missing where it matters most: the master's fence first,
// then the replicas that could not be promoted. grave is set if it keeps a plan from
// being carried out.
func (s *State) hindrances() (note string, grave bool) {
	for _, id := range s.mastersFirst() {
		o := s.obs[id]
		if o == nil || o.health != HealthUp {
			continue
		}
		text := o.shortfall()
		if text == "" {
			continue
		}
		bad := o.unfencable() != ""
		if bad && !grave || note == "" {
			note, grave = s.called(o)+": "+text, bad || grave
		}
	}
	return note, grave
}

func (s *State) mastersFirst() []InstanceID {
	ids := []InstanceID{s.com.Master.Instance}
	for _, m := range s.com.Members {
		if m.ID != s.com.Master.Instance {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// lacking are the sentences about what an instance does not let us do.
func (o *observation) lacking() []string {
	var out []string
	if o.rights != nil {
		for _, m := range o.rights.Missing {
			out = append(out, o.rights.Lacks(m.Right))
		}
	}
	if o.takesWrites() {
		out = append(out, readOnlyOff)
	}
	return slices.Clip(out)
}
