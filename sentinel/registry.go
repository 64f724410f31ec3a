package sentinel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What clients of the Sentinel protocol may ask to be changed. The numbers are far
// from those of the other requests, which are about one master's plan.
const (
	// RequestMonitor has a master watched by all.
	RequestMonitor RequestKind = iota + 100
	// RequestRemove has it watched no more.
	RequestRemove
	// RequestSet changes its settings.
	RequestSet
	// RequestReset forgets replicas that are gone.
	RequestReset
)

// Registry reports whether a request changes what is watched and how. Watchers of
// an older build take such a request for one about a plan: it must not be sent to a
// watcher below level 3.
func (k RequestKind) Registry() bool { return k >= RequestMonitor && k <= RequestReset }

// The codes of answers to such requests.
const (
	CodeDuplicate = "DUPLICATE" // the name is taken
	CodeKnown     = "KNOWN"     // it was so already
	CodeRemoved   = "REMOVED"   // the same, for a remove
	CodeInvalid   = "INVALID"   // a setting cannot work
	// CodeUnheard: nothing was changed, and the same can be asked again in a moment, when
	// the watchers have heard of each other what they can do.
	CodeUnheard = "UNHEARD"
)

// Settings are changes to a Config. Zero fields change nothing.
type Settings struct {
	Quorum          int           `json:"quorum,omitempty"`
	DownAfter       time.Duration `json:"downAfter,omitempty"`
	FailoverTimeout time.Duration `json:"failoverTimeout,omitempty"`
	ParallelSyncs   int           `json:"parallelSyncs,omitempty"`
	// RebootDownAfter below zero means zero: for ever.
	RebootDownAfter time.Duration `json:"rebootDownAfter,omitempty"`
}

func (s Settings) applyTo(c *Config) {
	if s.Quorum != 0 {
		c.Quorum = s.Quorum
	}
	if s.DownAfter != 0 {
		c.DownAfter = s.DownAfter
	}
	if s.FailoverTimeout != 0 {
		c.FailoverTimeout = s.FailoverTimeout
	}
	if s.ParallelSyncs != 0 {
		c.ParallelSyncs = s.ParallelSyncs
	}
	if s.RebootDownAfter != 0 {
		c.RebootDownAfter = max(0, s.RebootDownAfter)
	}
}

// In reports whether a Config has all these settings.
func (s Settings) In(c Config) bool {
	with := c
	s.applyTo(&with)
	return with == c
}

// Options are settings by the names of their directives in sentinel.conf. An empty
// value is one too. Among them are secrets.
type Options map[string]string

// The bounds of the options of one master.
const (
	optionsMax = 128
	optionMax  = 4096 // bytes of one value
)

func (o Options) validate() error {
	for name, v := range o {
		if name == "" || len(name)+len(v) > optionMax {
			return fmt.Errorf("option %.40q is empty or too long", name)
		}
	}
	return nil
}

// Removed remembers masters that were removed.
type Removed map[string]Removal

// Removal is when a master was removed, and the epochs that it had used up.
type Removal struct {
	When time.Time `json:"when"`
	Last Epoch     `json:"last"`
}

// removedMax bounds how many are remembered.
const removedMax = 1000

func (r Removed) without(name string) Removed {
	out := maps.Clone(r)
	delete(out, name)
	return out
}

// with adds a master; the one that was removed first goes if there are too many.
func (r Removed) with(cmd Command, c *Committed) Removed {
	out := make(Removed, len(r)+1)
	maps.Copy(out, r)
	out[cmd.Master] = Removal{When: cmd.Wall, Last: c.Last}
	if len(out) <= removedMax {
		return out
	}
	first := ""
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if name != cmd.Master && (first == "" || out[name].When.Before(out[first].When)) {
			first = name
		}
	}
	delete(out, first)
	return out
}

func (r *Registry) applyRemove(cmd Command) Result {
	c := r.Masters[cmd.Master]
	switch {
	case c == nil:
		return refused("no master named %q", cmd.Master)
	case c.Plan != nil:
		return refused("epoch %s is open", c.Plan.Epoch)
	}
	r.Removed = r.Removed.with(cmd, c)
	delete(r.Masters, cmd.Master)
	return accepted()
}

func (c *Committed) applySettings(cmd Command) Result {
	if err := cmd.Options.validate(); err != nil {
		return refused("%v", err)
	}
	opts := maps.Clone(c.Options)
	if opts == nil {
		opts = Options{}
	}
	maps.Copy(opts, cmd.Options)
	if len(opts) > optionsMax {
		return refused("more than %d options", optionsMax)
	}
	if cmd.Config != nil {
		if err := cmd.Config.Validate(); err != nil {
			return refused("%v", err)
		}
		c.Config = *cmd.Config
	}
	c.Options = opts
	return accepted()
}

// tellSettings says on every watcher what was set, without secrets.
func (s *State) tellSettings(before Config, opts Options) {
	if s.com.Pods {
		return // the inventory says it
	}
	now := s.com.Config
	say := func(name, value string) {
		s.act(Emit{Event{Name: EventSet, Master: s.com.Name, Epoch: s.com.Master.Epoch, Reason: name + " was set",
			Payload: masterPayload(s.com.Name, s.com.Master.Addr) + " " + name + " " + value}})
	}
	number := func(name string, changed bool, n int64) {
		if changed {
			say(name, strconv.FormatInt(n, 10))
		}
	}
	number("quorum", now.Quorum != before.Quorum, int64(now.Quorum))
	number("down-after-milliseconds", now.DownAfter != before.DownAfter, now.DownAfter.Milliseconds())
	number("failover-timeout", now.FailoverTimeout != before.FailoverTimeout, now.FailoverTimeout.Milliseconds())
	number("parallel-syncs", now.ParallelSyncs != before.ParallelSyncs, int64(now.ParallelSyncs))
	number("master-reboot-down-after-period", now.RebootDownAfter != before.RebootDownAfter, now.RebootDownAfter.Milliseconds())
	for _, name := range slices.Sorted(maps.Keys(opts)) {
		value := opts[name]
		if strings.HasSuffix(name, "-pass") {
			value = "******"
		}
		say(name, value)
	}
}

// resetReason marks the command of a reset.
const resetReason = "reset"

func (s *State) tellReset(c Command) {
	if c.Type == CmdMembers && c.Reason == resetReason {
		s.act(Emit{Event{Name: EventReset, Master: s.com.Name, Epoch: s.com.Master.Epoch, Payload: masterPayload(s.com.Name, s.com.Master.Addr),
			Reason: fmt.Sprintf("%d replicas forgotten", len(c.Removed))}})
	}
}

// forgettable are replicas that are down and that a healthy master does not name. One
// that answers is kept, and all are while the master does not answer: what nobody
// remembers would be missing when somebody has to be chosen.
func (s *State) forgettable() []InstanceID {
	o := s.healthyMaster()
	if o == nil || o.info.Role != RoleMaster || s.com.Plan != nil {
		return nil
	}
	var out []InstanceID
	for _, m := range s.com.Members {
		r := s.obs[m.ID]
		named := slices.ContainsFunc(o.info.Replicas, func(a Attached) bool { return a.Addr.Same(m.Addr) })
		if m.ID == s.com.Master.Instance || named || r == nil || r.health != HealthDown && r.health != HealthCrashed {
			continue
		}
		out = append(out, m.ID)
	}
	return out
}

// changes are the requests of clients that wait to be committed. One is proposed at a
// time, so that each is made of what the one before has left.
type changes struct {
	queue []Request
	// sent is what was proposed for the first of the queue, nil if nothing was.
	sent *Command
}

// changesMax bounds the queue.
const changesMax = 1000

// change takes a request that changes the registry, or the news that the proposal for
// one was not committed.
func (r *Router) change(ev InputEvent, wall time.Time) (out []Action, mine bool) {
	switch ev := ev.(type) {
	case Request:
		switch {
		case !ev.Kind.Registry():
			return nil, false
		case !r.led.Leading:
			return []Action{Answer{ID: ev.ID, Result: OutcomeNotLeader, Detail: "this watcher does not lead"}}, true
		case len(r.changes.queue) >= changesMax:
			return []Action{Answer{ID: ev.ID, Result: OutcomeRefused, Detail: "too many changes wait to be committed"}}, true
		}
		r.changes.queue = append(r.changes.queue, ev)
		return r.nextChange(wall), true
	case Proposed:
		c := r.changes.sent
		if c == nil || c.Type != ev.Type || c.Master != ev.Master {
			return nil, false
		}
		code := ""
		if ev.Soon {
			code = CodeUnheard
		}
		out = []Action{r.answerChange(ev.Result, code, ev.Detail)}
		return append(out, r.nextChange(wall)...), c.Type != CmdConfigure && c.Type != CmdMembers
	}
	return nil, false
}

// answerChange answers the first of the queue and takes it off.
func (r *Router) answerChange(res Outcome, code, detail string) Action {
	q := r.changes.queue[0]
	r.changes.queue, r.changes.sent = r.changes.queue[1:], nil
	return Answer{ID: q.ID, Result: res, Code: code, Detail: detail}
}

// nextChange proposes for the first of the queue that needs it, and answers those
// before that do not.
func (r *Router) nextChange(wall time.Time) []Action {
	var out []Action
	for r.changes.sent == nil && len(r.changes.queue) > 0 {
		cmd, code, err := r.commandFor(r.changes.queue[0])
		switch {
		case err != nil:
			out = append(out, r.answerChange(OutcomeRefused, code, err.Error()))
		case cmd == nil:
			out = append(out, r.answerChange(OutcomeOK, code, ""))
		default:
			cmd.Level, cmd.Wall = cmd.level(), wall
			r.changes.sent = cmd
			out = append(out, Propose{*cmd})
		}
	}
	return out
}

// changed answers the request that a committed command was made for. It comes before
// the command is carried out, so that it can be told whether it will be.
func (r *Router) changed(c Command) []Action {
	sent := r.changes.sent
	if sent == nil || sent.Type != c.Type || sent.Master != c.Master || !sent.Wall.Equal(c.Wall) {
		return nil
	}
	reg := Registry{Masters: map[string]*Committed{}, Removed: r.removed}
	if s := r.states[c.Master]; s != nil {
		com := s.com.Clone()
		reg.Masters[c.Master] = &com
	}
	res, outcome := reg.Apply(c), OutcomeOK
	if !res.Accepted {
		outcome = OutcomeRefused
	}
	return []Action{r.answerChange(outcome, "", res.Reason)}
}

// lostChanges ends what was asked of a leader that is none any more. What it has
// proposed may still be committed.
func (r *Router) lostChanges() []Action {
	if r.led.Leading {
		return nil
	}
	var out []Action
	for len(r.changes.queue) > 0 {
		res := OutcomeNotLeader
		if r.changes.sent != nil {
			res = OutcomeUnknown
		}
		out = append(out, r.answerChange(res, "", "this watcher does not lead any more"))
	}
	return out
}

// commandFor makes the command that grants a request; nil if there is nothing to do.
func (r *Router) commandFor(q Request) (cmd *Command, code string, err error) {
	s := r.states[q.Master]
	switch {
	case r.inv != nil || s != nil && s.com.Pods:
		return nil, "", errors.New("masters and their settings come from Kubernetes here: change the annotations of the StatefulSet")
	case q.Kind == RequestMonitor:
		return r.monitorFor(q, s)
	case s == nil:
		if _, ok := r.removed[q.Master]; ok && q.Kind == RequestRemove {
			return nil, CodeRemoved, nil
		}
		return nil, "NOMASTER", fmt.Errorf("no master named %s", q.Master)
	case q.Kind == RequestRemove:
		if s.com.Plan != nil {
			return nil, "INPROG", fmt.Errorf("a %s is under way, epoch %s", s.planName(), s.com.Last)
		}
		return &Command{Type: CmdRemove, Master: q.Master}, "", nil
	case q.Kind == RequestReset:
		return &Command{Type: CmdMembers, Master: q.Master, Reason: resetReason, Removed: s.forgettable()}, "", nil
	}
	cfg := s.com.Config
	q.Settings.applyTo(&cfg)
	if err := r.validate(cfg); err != nil {
		return nil, CodeInvalid, err
	}
	if err := q.Options.validate(); err != nil {
		return nil, CodeInvalid, err
	}
	if len(q.Options) > 0 {
		return &Command{Type: CmdSettings, Master: q.Master, Config: &cfg, Options: q.Options}, "", nil
	}
	if cfg == s.com.Config {
		return nil, CodeKnown, nil
	}
	return &Command{Type: CmdConfigure, Master: q.Master, Config: &cfg}, "", nil
}

func (r *Router) monitorFor(q Request, s *State) (cmd *Command, code string, err error) {
	if s != nil {
		// The same once more, as scripts say it to every watcher; the master may have
		// moved since the first time.
		if q.Config != nil && s.com.Config.Quorum == q.Config.Quorum && s.hasAddr(q.Addr) {
			return nil, CodeKnown, nil
		}
		return nil, CodeDuplicate, fmt.Errorf("%s is watched already, at %s", q.Master, s.com.Master.Addr)
	}
	if q.Config == nil || q.Addr.Port <= 0 || q.Addr.Host == "" || q.Master == "" {
		return nil, CodeInvalid, errors.New("monitor without a name, an address or settings")
	}
	if err := r.validate(*q.Config); err != nil {
		return nil, CodeInvalid, err
	}
	return &Command{Type: CmdMonitor, Master: q.Master, Config: q.Config, Force: true,
		At: Assignment{Instance: InstanceID(q.Addr.String()), Addr: q.Addr}}, "", nil
}

// validate refuses settings that cannot work with the watchers that there are.
func (r *Router) validate(cfg Config) error {
	if n := len(r.voters); cfg.Quorum > n && n > 0 {
		return fmt.Errorf("quorum %d is larger than the number of watchers, %d: it could never be reached", cfg.Quorum, n)
	}
	return cfg.Validate()
}

// Removed returns the masters that were removed. The caller must not change it.
func (r *Router) Removed() Removed { return r.removed }
