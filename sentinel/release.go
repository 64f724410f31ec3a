package sentinel

import (
	"strconv"
	"time"
)

// applyRelease stops or resumes writing to a master.
func (c *Committed) applyRelease(cmd Command) Result {
	switch {
	case c.Plan != nil:
		return refused("epoch %s is open", c.Plan.Epoch)
	case cmd.Released && c.Released:
		return refused("%q is released already", c.Name)
	case !cmd.Released && !c.Released:
		return refused("%q is not released", c.Name)
	}
	c.Released = cmd.Released
	if !cmd.Released {
		// What was given back is set again.
		for i := range c.Members {
			c.Members[i].PingRun = ""
		}
	}
	return accepted()
}

// released says what a release or its end means.
func (s *State) released(c Command) {
	name, text := EventResumed, "resumed: "+s.com.Master.String()+" is looked after again"
	if c.Released {
		name, text = EventReleased, "released: it is watched, and nothing is written to it any more"
	}
	s.emit(name, s.master(), text)
	if s.lead.on {
		s.answer(OutcomeOK, "", text)
	}
}

// giveBack sets what was changed on the instances to what was found there.
func (s *State) giveBack() {
	for _, m := range s.com.Members {
		o := s.obs[m.ID]
		if m.PingWas == 0 || m.PingPeriod == m.PingWas || !s.mendable(o) || o.info.Loading || !o.reply.Usable() {
			continue
		}
		if again := s.mend.tuned[m.ID]; s.now < again {
			s.wake(again)
			continue
		}
		s.mendWith(o, Do{Op: OpSetPing, Instance: m.ID, Addr: m.Addr, Value: strconv.Itoa(m.PingWas)})
	}
}

// applyPause stops or resumes what is done unasked.
func (c *Committed) applyPause(cmd Command) Result {
	if !cmd.Paused && !c.Paused {
		return refused("%q is not paused", c.Name)
	}
	c.Paused, c.PausedUntil = cmd.Paused, cmd.Until
	return accepted()
}

// paused reports whether nothing may be done unasked now. A pause ends by the wall
// clock of each watcher; it is not worth more precision.
func (s *State) paused() bool {
	switch {
	case s.com.Config.Paused:
		return true
	case !s.com.Paused:
		return false
	case s.com.PausedUntil.IsZero():
		return true
	}
	left := s.com.PausedUntil.Sub(s.wall)
	if left > 0 {
		s.wake(s.now + left)
	}
	return left > 0
}

// observes reports whether this master is watched and nothing is ever written. What is
// learnt is recorded then as well: it would decide by what was long ago otherwise.
func (s *State) observes() bool { return s.com.Config.Observe && !s.com.Released && !s.paused() }

// isIdle reports whether nothing may be done unasked now.
func (s *State) isIdle() bool { return s.com.Released || s.com.Config.Observe || s.paused() }

func (s *State) pausedText() string {
	if s.com.Config.Paused || s.com.PausedUntil.IsZero() {
		return "paused"
	}
	return "paused until " + s.com.PausedUntil.UTC().Format(time.RFC3339)
}

// tellPause says that a pause began or ended.
func (s *State) tellPause() {
	name, text := EventResumed, "resumed: "+s.com.Master.String()+" is looked after again"
	if s.com.Paused {
		name, text = EventPaused, s.pausedText()+": nothing is done unasked"
	}
	s.emit(name, s.master(), text)
	if s.lead.on {
		s.answer(OutcomeOK, "", text)
	}
}

// takeSwitch takes up release, pause and resume.
func (s *State) takeSwitch(r Request) {
	c := Command{Type: CmdRelease, Released: r.Kind == RequestRelease}
	if r.Kind == RequestPause || r.Kind == RequestResume && s.com.Paused && !s.com.Released {
		c = Command{Type: CmdPause, Paused: r.Kind == RequestPause}
		if c.Paused && r.For > 0 {
			c.Until = s.wall.Add(r.For)
		}
	}
	s.lead.request = r.ID
	s.propose(c)
}
