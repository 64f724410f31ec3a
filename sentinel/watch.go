package sentinel

import "time"

// watchMark is what the current Watch was made from.
type watchMark struct {
	set     bool
	suspect bool
	members int
	sum     uint64
}

// infoPeriod is the time between two INFOs of an instance while all is well. A
// replica's show whether its stream carries writes, see witness; a master's, how
// much would be lost with it.
const infoPeriod = time.Second

// retarget tells the adapter whom to probe and how often, when that changed.
func (s *State) retarget() {
	suspect := s.suspect >= 0 || s.com.Plan != nil
	mark := watchMark{set: true, suspect: suspect, members: len(s.com.Members), sum: s.targetSum()}
	if mark == s.watched {
		return
	}
	s.watched = mark
	w := Watch{Master: s.com.Name, Targets: make([]Target, 0, len(s.com.Members))}
	for _, m := range s.com.Members {
		if s.elsewhere(m) {
			continue
		}
		w.Targets = append(w.Targets, s.target(m, suspect))
	}
	s.act(w)
}

func (s *State) target(m Member, suspect bool) Target {
	cfg := s.com.Config
	t := Target{Instance: m.ID, Addr: m.Addr, Ping: s.pingOf(m.ID), Info: infoPeriod, Timeout: max(cfg.DownAfter/4, 100*time.Millisecond)}
	if suspect {
		t.Ping = cfg.pingMaster() / 5
		t.Info = t.Ping
	}
	return t
}

// targetSum changes whenever a member, an address or the pace changes.
func (s *State) targetSum() uint64 {
	h := uint64(14695981039346656037)
	mix := func(text string) {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	for _, m := range s.com.Members {
		if s.elsewhere(m) {
			continue
		}
		mix(string(m.ID))
		mix(m.Addr.Host)
		h = (h ^ uint64(m.Addr.Port)) * 1099511628211
	}
	mix(string(s.com.Master.Instance))
	return (h ^ uint64(s.com.Config.DownAfter)) * 1099511628211
}

// burst is a quick series of probes after a crash was seen: a replica may take a
// moment to notice, and waiting for the next paced probe would cost more than
// the failover.
type burst struct {
	shots int
	next  Time
}

// burstMax bounds the series; the delays double from one millisecond.
const burstMax = 7

func (s *State) probeCrash() {
	o := s.master()
	if o == nil || o.health != HealthCrashed {
		s.burst = burst{}
		return
	}
	if s.burst.shots >= burstMax {
		return
	}
	if s.burst.shots > 0 && s.now < s.burst.next {
		s.wake(s.burst.next)
		return
	}
	s.burst.next = s.now + time.Millisecond<<s.burst.shots
	s.burst.shots++
	s.wake(s.burst.next)
	s.probeWitnesses()
}

// probeWitnesses asks every replica at once.
func (s *State) probeWitnesses() {
	for _, m := range s.com.Members {
		if m.ID == s.com.Master.Instance {
			continue
		}
		if o := s.obs[m.ID]; o != nil && o.health != HealthCrashed {
			s.act(ProbeNow{Master: s.com.Name, Instance: m.ID})
		}
	}
}
