package sentinel

import (
	"net/netip"
	"slices"
)

// One process can have several addresses: a host name beside the IP address behind it, or an
// address of its own behind one that is translated. Masters and files know an instance by
// one, INFO of the others by another. Whoever took that for two instances would make a
// master a replica of itself.

// spelled is an INFO that calls the others as they are known here, by what their host names
// stood for when they were reached.
func (s *State) spelled(i *Info) *Info {
	if i == nil || s.com.Pods || !s.named() {
		return i
	}
	out := *i
	out.Master = s.spell(i.Master)
	out.Replicas = slices.Clone(i.Replicas)
	for k := range out.Replicas {
		out.Replicas[k].Addr = s.spell(out.Replicas[k].Addr)
	}
	return &out
}

// named reports whether a member is known by a host name that was reached.
func (s *State) named() bool {
	for _, o := range s.obs {
		if o.remote != "" {
			return true
		}
	}
	return false
}

// spell is the address by which a member is known, or the address itself.
func (s *State) spell(a Addr) Addr {
	if s.hasAddr(a) {
		return a
	}
	at := a
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if o == nil || o.remote == "" || !a.Same(Addr{Host: o.remote, Port: m.Addr.Port}) {
			continue
		}
		if at = m.Addr; o.health == HealthUp {
			break // the other name may have stood for this address before
		}
	}
	return at
}

// meaning is the name of an instance that a person gave, as it is known here.
func (s *State) meaning(name string) string {
	at, err := netip.ParseAddrPort(name)
	if err != nil {
		return name
	}
	a := Addr{Host: at.Addr().String(), Port: int(at.Port())}
	if known := s.spell(a); known != a {
		return known.String()
	}
	return name
}

// twin finds another member that is the same process as the one that says i, nil if there
// is none.
func (s *State) twin(o *observation, i *Info) *observation {
	if s.com.Pods || i.RunID == "" {
		return nil
	}
	for _, m := range s.com.Members {
		t := s.obs[m.ID]
		if t != nil && t != o && t.info != nil && t.info.RunID == i.RunID && (t.health == HealthUp || t.health == HealthSuspect) {
			return t
		}
	}
	return nil
}

// needless is which of two addresses of one process can be done without: never the
// master's or one of the open plan, nor the one by which the master's INFO would bring it
// back; else the one that was found later.
func (s *State) needless(a, b *observation) *observation {
	for _, pair := range [][2]*observation{{a, b}, {b, a}} {
		keep, drop := pair[0], pair[1]
		if s.pinned(keep.id) || s.naming(keep) && !s.naming(drop) && drop.remote != keep.addr.Host {
			return drop
		}
	}
	for _, m := range s.com.Members {
		switch m.ID {
		case a.id:
			return b
		case b.id:
			return a
		}
	}
	return a
}

// pinned reports whether an instance is the master or part of the open plan.
func (s *State) pinned(id InstanceID) bool {
	p := s.com.Plan
	return id == s.com.Master.Instance || p != nil && (id == p.New.Instance || id == p.Old.Instance)
}

// naming reports whether the master's INFO has a member's address.
func (s *State) naming(o *observation) bool {
	m := s.master()
	return m != nil && m.info != nil && slices.ContainsFunc(m.info.Replicas, func(a Attached) bool { return a.Addr.Same(o.addr) })
}

// isTwin reports whether what an instance says is not to be heard, because it is the same
// process as another member, by which it is known already. Of two of which the other one
// is needless, that one is not heard any more.
func (s *State) isTwin(o *observation, i *Info) bool {
	o.twin = ""
	t := s.twin(o, i)
	if t == nil {
		return false
	}
	if s.needless(o, t) == o {
		o.twin, o.info = t.id, nil
		return true
	}
	t.twin, t.info = o.id, nil
	return false
}

// forgetTwins takes needless addresses out of the members.
func (s *State) forgetTwins() {
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if o == nil || o.twin == "" || s.pinned(m.ID) {
			continue
		}
		why := "the same process as " + string(o.twin)
		if t := s.obs[o.twin]; t != nil {
			why = "the same process as " + s.called(t)
		}
		s.proposeSparsely(Command{Type: CmdMembers, Removed: []InstanceID{m.ID}, Reason: why})
		return
	}
}

// tellTwins says which addresses were needless.
func (s *State) tellTwins(before Committed, c Command) {
	if c.Type != CmdMembers || c.Reason == "" || c.Reason == resetReason {
		return
	}
	for _, id := range c.Removed {
		if m := before.Member(id); m != nil && s.com.Member(id) == nil {
			s.emit(EventRemovedSlave, s.observe(m.ID, m.Addr), c.Reason)
		}
	}
}
