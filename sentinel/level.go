package sentinel

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// LevelFloor is the committed level of a log without a raise: commands up to it
// were in use before levels were committed.
const LevelFloor = 2

const (
	// levelFresh is how long a watcher's word about its level counts. It is given every
	// two seconds.
	levelFresh = 5 * time.Second
	// levelSettle is how long all voters must have known a level before it is raised: in
	// the middle of a rolling upgrade one may be just about to go back. A log that was
	// empty when this leader came is of no older build, and waits for nothing.
	levelSettle = 10 * time.Second
)

// LevelError says that something was written by a newer build. It wraps ErrLevel.
type LevelError struct {
	// What is the thing that was not understood.
	What string
	// Needs is its level, Knows that of this build.
	Needs, Knows int
}

// Error returns the sentence for people.
func (e *LevelError) Error() string {
	return fmt.Sprintf("%s needs level %d, this watcher knows %d: upgrade it", e.What, e.Needs, e.Knows)
}

// Unwrap returns ErrLevel.
func (e *LevelError) Unwrap() error { return ErrLevel }

// NeedsLevel returns the level that is needed to go on after err, 0 if err is not about levels.
func NeedsLevel(err error) int {
	var e *LevelError
	if errors.As(err, &e) {
		return e.Needs
	}
	return 0
}

// CommittedLevel is the level up to which commands may be in the log, at least LevelFloor.
func (r *Registry) CommittedLevel() int { return max(r.Level, LevelFloor) }

// applyLevel raises the level. A command of the level that it raises to stops every
// build that does not know that level, whatever comes after it.
func (r *Registry) applyLevel(cmd Command) Result {
	switch {
	case cmd.Raise != cmd.Level:
		return refused("level %d cannot be raised to by a command of level %d", cmd.Raise, cmd.Level)
	case cmd.Raise <= r.CommittedLevel():
		return refused("the level is %d already", r.CommittedLevel())
	}
	r.Level = cmd.Raise
	return accepted()
}

// snapshotHead is the part of a snapshot that every build can read.
type snapshotHead struct {
	// Level is missing in a snapshot of LevelFloor, which is the registry itself: builds
	// of that level look for nothing else.
	Level int             `json:"level"`
	State json.RawMessage `json:"state"`
}

// Marshal returns the registry as bytes for a snapshot. Up to LevelFloor these are
// what builds of that level wrote. Above, they are something that such builds cannot
// read, so that they stop instead of leaving out what they do not know.
func (r *Registry) Marshal() ([]byte, error) {
	if r.CommittedLevel() == LevelFloor {
		return json.Marshal(r)
	}
	state, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	// Those builds show the text of a time that they cannot parse; the ones before them,
	// that have no such field, stumble over the epoch.
	stop := fmt.Sprintf("this snapshot needs a triwatch of level %d", r.Level)
	type wall struct {
		Last        string `json:"last"`
		PausedUntil string `json:"pausedUntil"`
	}
	return json.Marshal(struct {
		snapshotHead
		Masters map[string]wall `json:"masters"`
	}{snapshotHead{Level: r.Level, State: state}, map[string]wall{"": {stop, stop}}})
}

// UnmarshalRegistry reads what Marshal wrote. The error of a snapshot of a higher
// level than this build knows is a LevelError.
func UnmarshalRegistry(b []byte) (*Registry, error) {
	var head snapshotHead
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("read registry snapshot: %w", err)
	}
	if head.Level > CommandLevel {
		return nil, fmt.Errorf("read registry snapshot: %w", &LevelError{What: "the snapshot", Needs: head.Level, Knows: CommandLevel})
	}
	if head.Level > LevelFloor {
		b = head.State
	}
	r := NewRegistry()
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read registry snapshot: %w", err)
	}
	if r.Masters == nil {
		r.Masters = map[string]*Committed{}
	}
	r.Level = head.Level
	return r, nil
}

// levels is what a router knows of who understands which commands.
type levels struct {
	committed int // 0 is LevelFloor
	own       int // what this watcher says of itself; 0 is CommandLevel
	said      map[WatcherID]saidLevel
	// target is the level that all voters know, since when; never if that is no more than
	// the committed one.
	target int
	since  Time
	retry  Time
	// empty is set where the log had nothing in it when this watcher began to lead.
	empty bool
}

type saidLevel struct {
	level int
	at    Time
}

// Level is the committed level, at least LevelFloor: commands of a higher one are
// not to be proposed.
func (r *Router) Level() int { return max(r.levels.committed, LevelFloor) }

// takeKnown notes what a watcher says that it understands.
func (r *Router) takeKnown(ev Known) {
	l := &r.levels
	if ev.From == r.me {
		l.own = ev.Level
		return
	}
	if was, ok := l.said[ev.From]; !ok || r.now-was.at > levelFresh {
		l.since = never // whoever was away may have been another build meanwhile
	}
	if l.said == nil {
		l.said = map[WatcherID]saidLevel{}
	}
	l.said[ev.From] = saidLevel{ev.Level, r.now}
}

// forgetLevels forgets what those said who do not vote and are gone.
func (r *Router) forgetLevels() {
	for id, s := range r.levels.said {
		if r.now-s.at > levelFresh && !slices.Contains(r.voters, id) {
			delete(r.levels.said, id)
		}
	}
}

// knownLevel is what a voter is known to understand now; 0 if it has not said so lately.
func (r *Router) knownLevel(id WatcherID) int {
	if id == r.me {
		if r.levels.own > 0 {
			return r.levels.own
		}
		return CommandLevel
	}
	s, ok := r.levels.said[id]
	if !ok || r.now-s.at > levelFresh {
		return 0
	}
	return s.level
}

// raise proposes the highest level that all voters have known for a while. A voter
// that has not been heard knows nothing.
func (r *Router) raise(wall time.Time) []Action {
	l := &r.levels
	target := 0
	if r.led.Leading {
		for n, id := range r.voters {
			if k := r.knownLevel(id); n == 0 || k < target {
				target = k
			}
		}
	}
	if target <= r.Level() {
		l.since = never
		return nil
	}
	if l.since == never || l.target != target {
		l.target, l.since, l.retry = target, r.now, 0
	}
	if r.now < r.raiseAt() {
		return nil
	}
	l.retry = r.now + sparsely
	return []Action{Propose{Command{Level: target, Type: CmdLevel, Raise: target, Wall: wall}}}
}

// raiseAt is when the level is to be raised, never if it is not.
func (r *Router) raiseAt() Time {
	if r.levels.since == never {
		return never
	}
	if r.levels.empty {
		return max(r.levels.since, r.levels.retry)
	}
	return max(r.levels.since+levelSettle, r.levels.retry)
}

// applyLevel takes up a committed raise, as Registry.Apply does.
func (r *Router) applyLevel(c Command) {
	if c.Raise == c.Level && c.Raise > r.Level() {
		r.levels.committed = c.Raise
	}
}

// WhyNot says why commands of a level are not proposed, "" if they are. soon is set where
// that may be over in a moment: a watcher is silent, which has just come perhaps, or the
// level is about to be raised without waiting.
func (r *Router) WhyNot(level int) (why string, soon bool) {
	if level <= LevelFloor {
		// In use before levels were committed: whoever has said that it does not know them
		// is waited for, and nobody else.
		for _, id := range r.voters {
			if s, ok := r.levels.said[id]; ok && s.level < level {
				return fmt.Sprintf("watcher %.8s runs an older build (level %d, this needs %d): upgrade it first", id, s.level, level), false
			}
		}
		return "", false
	}
	if level <= r.Level() {
		return "", false
	}
	for _, id := range slices.Sorted(slices.Values(r.voters)) {
		switch k := r.knownLevel(id); {
		case k == 0:
			return fmt.Sprintf("it needs level %d of all watchers, and %.8s has not said lately which level it knows", level, id), true
		case k < level && id == r.me:
			return fmt.Sprintf("it needs level %d, and this watcher is kept at level %d", level, k), false
		case k < level:
			return fmt.Sprintf("watcher %.8s runs an older build (level %d, this needs %d): upgrade it first", id, k, level), false
		}
	}
	return fmt.Sprintf("it needs level %d, and the level is about to be raised from %d: try again in %v", level, r.Level(), levelSettle), r.levels.empty
}
