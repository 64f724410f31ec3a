package sentinel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// foreignQuiet is after how long without a greeting a foreign Sentinel is taken to be
// gone. It greets every two seconds.
const foreignQuiet = 15 * time.Second

// heardForeign is a Sentinel that is not one of us.
type heardForeign struct {
	addr Addr
	at   Time
}

// takeForeign notes a Sentinel that watches an instance of ours: invariant 10.
func (s *State) takeForeign(ev Foreign) {
	if ev.ID == s.me || slices.Contains(s.voters, ev.ID) {
		return
	}
	if s.strangers == nil {
		s.strangers = map[WatcherID]heardForeign{}
	}
	s.strangers[ev.ID] = heardForeign{ev.Addr, s.now}
}

// foreigners are the Sentinels beside us that were heard a moment ago, and that no
// person has taken notice of.
func (s *State) foreigners() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.strangers)) {
		f := s.strangers[id]
		if s.now-f.at > foreignQuiet {
			delete(s.strangers, id)
			continue
		}
		if c := s.com.Chosen; c != nil && slices.Contains(c.Despite, id) {
			continue // a person has said that the master is ours all the same
		}
		s.wake(f.at + foreignQuiet + 1)
		out = append(out, f.addr.String())
	}
	return out
}

// contested says who else decides about this master, "" if nobody does.
func (s *State) contested() string {
	if f := s.foreigners(); len(f) > 0 {
		return fmt.Sprintf("another Sentinel watches it (%s), and two must not decide: end the other one, or say triwatch adopt %s", strings.Join(f, ", "), s.com.Name)
	}
	return ""
}

// tellContested says once that somebody else decides as well, and when that is over.
func (s *State) tellContested() {
	why := s.contested()
	switch {
	case why == s.told.contested:
	case why != "" && s.told.contested == "":
		s.emit(EventContested, s.master(), why)
		s.remark(remarkHeld, s.master(), why)
	case why == "":
		s.emit(EventContestedEnd, s.master(), "no other Sentinel is heard any more, or a person has decided")
	}
	s.told.contested = why
}
