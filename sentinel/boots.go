package sentinel

// Boot is what an instance is when its process starts. It cannot be asked for, only
// seen. Zero is unknown.
type Boot int

// The ways to boot.
const (
	BootUnknown Boot = iota
	// BootMaster means that it takes writes, and gives what it has to every replica
	// that asks, from its first moment on.
	BootMaster
	// BootReplica means that it waits to be told what it is.
	BootReplica
)

// String returns the word that people read.
func (b Boot) String() string {
	switch b {
	case BootMaster:
		return "master"
	case BootReplica:
		return "replica"
	case BootUnknown:
		return "unknown"
	}
	return "unknown"
}

// emptyMaster is added to what is said of an instance that runs anew.
const emptyMaster = ", as a master without data, and its replicas may have copied that: start it with --replicaof 127.0.0.1 0"

// bootOf tells how an instance boots from the first INFO of a new run, where that is
// certain. Only the leader writes, so only the leader knows that nobody has told the
// new process what to be; heard is when the old one was heard last. One that follows another
// instance may do so by a configuration file, which is rewritten without that line when
// it is promoted: it proves nothing.
func (s *State) bootOf(o *observation, heard Time) Boot {
	switch {
	case !s.lead.on || heard < s.lead.since || o.roled != 0 && o.roled+s.com.Config.actionTimeout() >= heard:
		return BootUnknown
	case o.info.Role == RoleMaster:
		return BootMaster
	case o.info.Fenced():
		return BootReplica
	}
	return BootUnknown
}

// setsRole reports whether a write tells an instance what to be.
func (o Op) setsRole() bool {
	return o == OpPromote || o == OpReplicate || o == OpFence || o == OpUnfence
}

// boots is how an instance boots: as its pod says, as was seen, or unknown.
func (s *State) boots(id InstanceID) Boot {
	if o := s.obs[id]; o != nil && o.boots != BootUnknown {
		return o.boots
	}
	if i := s.instance(id); i != nil {
		return i.Boots
	}
	return BootUnknown
}
