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
	fences []string
	// removed is replaced as a whole, never changed.
	removed Removed
	changes changes
	inv     map[string]Inventory // nil on hosts
	unsure  bool
	hooks   Hooks
	gen     uint32
	tried   map[string]Time
	states  map[string]*State
	names   []string // of states, in order; nil when they have changed
	now     Time
	levels  levels
}

// NewRouter returns a router that knows no master yet.
func NewRouter(me WatcherID) *Router {
	return &Router{me: me, states: map[string]*State{}, tried: map[string]Time{}, levels: levels{since: never}}
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
		d = min(d, r.raiseAt())
		for _, w := range r.wanted {
			if _, gone := r.removed[w.Master]; !gone && r.states[w.Master] == nil {
				d = min(d, r.tried[w.Master])
			}
		}
		for name := range r.inv {
			if r.states[name] == nil && r.tried[name] > 0 {
				d = min(d, r.tried[name])
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
		r.led, r.levels.since = ev, never
		r.levels.empty = ev.Leading && len(r.states) == 0 && len(r.removed) == 0 && r.levels.committed == 0
		out = append(r.all(in), r.lostChanges()...)
	case Membership:
		r.me, r.voters, r.gen = ev.Me, slices.Clone(ev.Voters), ev.Generation
		r.forgetLevels()
		out = r.all(in)
	case Restored:
		r.restore(ev, in)
		out = r.all(in)
	case Known:
		r.takeKnown(ev)
	case Wanted:
		r.wanted, r.fences = ev.Monitors, ev.Fences
		for name, s := range r.states {
			s.fileFence = slices.Contains(r.fences, name)
		}
	case Inventories:
		out = r.takeInventories(ev, in)
	case Hooks:
		r.hooks = ev
		for name, s := range r.states {
			s.before = ev.of(name)
		}
	case Applied:
		done := r.changed(ev.Command)
		out = append(r.applied(ev, in), done...)
		if len(done) > 0 {
			out = append(out, r.nextChange(in.Wall)...)
		}
	default:
		if more, mine := r.change(ev, in.Wall); mine {
			out = more
		} else if s := r.states[masterOf(ev)]; s != nil {
			out = s.Step(in)
		} else if q, ok := ev.(Request); ok {
			out = []Action{Answer{ID: q.ID, Result: OutcomeRefused, Code: "NOMASTER", Detail: "no master named " + q.Master}}
		}
	}
	out = append(out, r.raise(in.Wall)...)
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
	r.levels.committed = ev.Registry.Level
	r.removed = ev.Registry.Removed
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
	s.generation, s.before, s.fileFence = r.gen, r.hooks.of(c.Name), slices.Contains(r.fences, c.Name)
	if inv, ok := r.inv[c.Name]; ok && inv.Owner == c.Owner {
		s.takeInventory(inv)
	}
	r.states[c.Name], r.names = s, nil
	if r.led.Leading {
		s.takeLed(r.led)
	}
	return s
}

func (r *Router) applied(ev Applied, in Input) []Action {
	c := ev.Command
	switch c.Type {
	case CmdLevel:
		r.applyLevel(c)
		return nil
	case CmdMonitor, CmdEnrol:
		reg := NewRegistry()
		reg.Removed = r.removed
		if r.states[c.Master] != nil || !reg.Apply(c).Accepted {
			return nil
		}
		r.removed = reg.Removed
		s := r.add(*reg.Masters[c.Master], in.At)
		s.out = nil
		where := c.At.Addr.String()
		if c.Type == CmdEnrol {
			where = itoa(len(c.Members)) + " pods"
		}
		first := Emit{Event{Name: EventMonitor, Master: c.Master, Epoch: c.At.Epoch, Reason: "watching " + where, Entry: c.Wall, Leading: r.led.Leading,
			Payload: masterPayload(c.Master, c.At.Addr) + " quorum " + itoa(c.Config.Quorum)}}
		in.Event = nil
		return append([]Action{first}, s.Step(in)...)
	case CmdForget, CmdRemove:
		s := r.states[c.Master]
		if s == nil || s.com.Plan != nil {
			return nil
		}
		if c.Type == CmdRemove {
			r.removed = r.removed.with(c, &s.com)
		}
		delete(r.states, c.Master)
		r.names = nil
		return []Action{
			Watch{Master: c.Master},
			Emit{Event{Name: EventUnmonitor, Master: c.Master, Payload: masterPayload(c.Master, s.com.Master.Addr), Reason: "no longer watched", Entry: c.Wall, Leading: r.led.Leading}},
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
		if _, gone := r.removed[w.Master]; gone || r.states[w.Master] != nil || r.now < r.tried[w.Master] {
			continue
		}
		r.tried[w.Master] = r.now + sparsely
		w.Level, w.Wall = w.level(), wall
		out = append(out, Propose{w})
	}
	return append(out, r.enrol(wall)...)
}

// takeInventories hands every master its pods.
func (r *Router) takeInventories(ev Inventories, in Input) []Action {
	r.inv, r.unsure = map[string]Inventory{}, ev.Unsure
	var out []Action
	at := ownersByAddress(ev.All)
	for _, inv := range ev.All {
		inv.At = at
		r.inv[inv.Master] = inv
		if s := r.states[inv.Master]; s != nil && s.com.Owner == inv.Owner {
			in.Event = inv
			out = append(out, s.Step(in)...)
		}
	}
	return out
}

// ownersByAddress are the masters of all pods by their addresses, "" where two claim one.
func ownersByAddress(all []Inventory) map[Addr]string {
	at := map[Addr]string{}
	for _, inv := range all {
		for _, i := range inv.Instances {
			if i.Addr.IsZero() {
				continue
			}
			key, owner := i.Addr.plain(), inv.Master
			if other, ok := at[key]; ok && other != owner {
				owner = ""
			}
			at[key] = owner
		}
	}
	return at
}

// enrol proposes to watch the masters that have an inventory, and to forget those
// that have none any more.
func (r *Router) enrol(wall time.Time) []Action {
	if r.inv == nil {
		return nil
	}
	var out []Action
	for _, name := range slices.Sorted(maps.Keys(r.inv)) {
		inv := r.inv[name]
		if r.states[name] != nil || r.now < r.tried[name] || inv.Config.Validate() != nil {
			continue
		}
		c := Command{Level: CmdEnrol.level(), Type: CmdEnrol, Master: name, Wall: wall, Config: &inv.Config, Owner: inv.Owner, Epoch: MakeEpoch(r.gen, 0)}
		for _, i := range inv.Instances {
			if !i.Addr.IsZero() {
				c.Members = append(c.Members, i.member())
			}
		}
		if len(c.Members) == 0 {
			continue
		}
		r.tried[name] = r.now + sparsely
		out = append(out, Propose{c})
	}
	for _, name := range r.Names() {
		if s := r.states[name]; s.com.Pods && !r.unsure && s.com.Plan == nil && r.now >= r.tried[name] {
			if inv, ok := r.inv[name]; (!ok || inv.Owner != s.com.Owner) && s.forsake() {
				r.tried[name] = r.now + sparsely
				out = append(out, Propose{Command{Level: CmdForget.level(), Type: CmdForget, Master: name, Wall: wall}})
			}
		}
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
	case Flipped:
		return ev.Master
	case Foreign:
		return ev.Master
	case HookAnswered:
		return ev.Master
	default:
		return ""
	}
}
