package sentinel

import (
	"maps"
	"slices"
	"time"
)

// Router holds the states of all masters that one watcher knows, and gives each
// input to those that it concerns. It is owned by one goroutine.
type Router struct {
	me     WatcherID
	voters []WatcherID
	led    Led
	wanted []Command
	tried  map[string]Time
	states map[string]*State
	names  []string // of states, in order; nil when they have changed
	now    Time
}

// NewRouter returns a router that knows no master yet.
func NewRouter(me WatcherID) *Router {
	return &Router{me: me, states: map[string]*State{}, tried: map[string]Time{}}
}

// State returns the state of one master, nil if it is not known.
func (r *Router) State(name string) *State { return r.states[name] }

// Names returns the known masters in order.
// The caller must not change the slice.
func (r *Router) Names() []string {
	if r.names == nil {
		r.names = slices.Sorted(maps.Keys(r.states))
	}
	return r.names
}

// Leading reports whether this watcher leads, as the last Led input said.
func (r *Router) Leading() bool { return r.led.Leading }

// Voters returns the voting watchers.
func (r *Router) Voters() []WatcherID { return r.voters }

// Deadline is when Step wants to be called again if nothing happens.
func (r *Router) Deadline() Time {
	d := never
	for _, s := range r.states {
		d = min(d, s.Deadline())
	}
	if r.led.Leading {
		for _, w := range r.wanted {
			if r.states[w.Master] == nil {
				d = min(d, r.tried[w.Master])
			}
		}
	}
	return d
}

// Step takes up one input and returns what is to be done, for all masters.
func (r *Router) Step(in Input) []Action {
	r.now = max(r.now, in.At)
	in.At = r.now
	var out []Action
	switch ev := in.Event.(type) {
	case nil:
		for _, name := range r.Names() {
			if s := r.states[name]; s.Deadline() <= r.now {
				out = append(out, s.Step(in)...)
			}
		}
	case Led:
		r.led = ev
		out = r.all(in)
	case Membership:
		r.me, r.voters = ev.Me, slices.Clone(ev.Voters)
		out = r.all(in)
	case Restored:
		r.restore(ev, in)
		out = r.all(in)
	case Wanted:
		r.wanted = ev.Monitors
	case Applied:
		out = r.applied(ev, in)
	default:
		if s := r.states[masterOf(ev)]; s != nil {
			out = s.Step(in)
		} else if q, ok := ev.(Request); ok {
			out = []Action{Answer{ID: q.ID, Result: OutcomeRefused, Code: "NOMASTER", Detail: "no master named " + q.Master}}
		}
	}
	return append(out, r.propose(in.Wall)...)
}

func (r *Router) all(in Input) []Action {
	var out []Action
	for _, name := range r.Names() {
		out = append(out, r.states[name].Step(in)...)
	}
	return out
}

func (r *Router) restore(ev Restored, in Input) {
	for name := range r.states {
		if ev.Registry.Masters[name] == nil {
			delete(r.states, name)
			r.names = nil
		}
	}
	for name, c := range ev.Registry.Masters {
		if r.states[name] == nil {
			r.add(c.Clone(), in.At)
		}
	}
}

func (r *Router) add(c Committed, now Time) *State {
	s := NewState(r.me, r.voters, c, now)
	r.states[c.Name], r.names = s, nil
	if r.led.Leading {
		s.takeLed(r.led)
	}
	return s
}

func (r *Router) applied(ev Applied, in Input) []Action {
	c := ev.Command
	switch c.Type {
	case CmdMonitor:
		reg := NewRegistry()
		if r.states[c.Master] != nil || !reg.Apply(c).Accepted {
			return nil
		}
		s := r.add(*reg.Masters[c.Master], in.At)
		s.out = nil
		first := Emit{Event{Name: EventMonitor, Master: c.Master, Epoch: c.At.Epoch, Reason: "watching " + c.At.Addr.String(),
			Payload: masterPayload(c.Master, c.At.Addr) + " quorum " + itoa(c.Config.Quorum)}}
		in.Event = nil
		return append([]Action{first}, s.Step(in)...)
	case CmdForget:
		s := r.states[c.Master]
		if s == nil || s.com.Plan != nil {
			return nil
		}
		delete(r.states, c.Master)
		r.names = nil
		return []Action{
			Watch{Master: c.Master},
			Emit{Event{Name: EventUnmonitor, Master: c.Master, Payload: masterPayload(c.Master, s.com.Master.Addr), Reason: "no longer watched"}},
		}
	default:
		if s := r.states[c.Master]; s != nil {
			return s.Step(in)
		}
		return nil
	}
}

// propose brings the masters of this watcher's file into the registry.
func (r *Router) propose(wall time.Time) []Action {
	if !r.led.Leading {
		return nil
	}
	var out []Action
	for _, w := range r.wanted {
		if r.states[w.Master] != nil || r.now < r.tried[w.Master] {
			continue
		}
		r.tried[w.Master] = r.now + sparsely
		w.Wall = wall
		out = append(out, Propose{w})
	}
	return out
}

func masterOf(ev InputEvent) string {
	switch ev := ev.(type) {
	case Probe:
		return ev.Master
	case PeerAsk:
		return ev.Ask.Master
	case PeerReport:
		return ev.Report.Master
	case Pushed:
		return ev.Master
	case Done:
		return ev.Master
	case Proposed:
		return ev.Master
	case Request:
		return ev.Master
	default:
		return ""
	}
}
