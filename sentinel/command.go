package sentinel

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// CommandLevel is the highest level of replicated commands that this build
// understands. A command of a higher level stops a watcher from acting; it is
// never skipped.
const CommandLevel = 3

// CommandType names a replicated command. The names are part of the log's
// format and never change their meaning.
type CommandType string

// The commands of level 1.
const (
	CmdMonitor CommandType = "monitor" // start to watch a master
	CmdForget  CommandType = "forget"  // stop to watch it
	CmdAdopt   CommandType = "adopt"   // this instance is the master, and was before we came
	CmdMembers CommandType = "members" // replicas found or gone
	CmdTuned   CommandType = "tuned"   // a Redis setting was changed, and what it was before
	CmdLineage CommandType = "lineage" // the master runs anew with its data
	CmdBegin   CommandType = "begin"   // open a plan
	CmdAdvance CommandType = "advance" // the plan reached a phase
	CmdDone    CommandType = "done"    // close the plan
	CmdAbort   CommandType = "abort"   // close it, undone
	CmdNote    CommandType = "note"    // add to the history
)

// The commands of level 2: masters whose instances are pods, and what is given back.
const (
	CmdEnrol     CommandType = "enrol"     // watch a master whose instances an inventory names
	CmdConfigure CommandType = "configure" // its settings changed
	CmdPods      CommandType = "pods"      // instances came, went or changed their address
	CmdFloor     CommandType = "floor"     // no epoch up to this one may be used again
	CmdRelease   CommandType = "release"   // nothing is written to it any more, or again
	CmdChoose    CommandType = "choose"    // a person says who is master
	CmdPause     CommandType = "pause"     // nothing is done unasked, for a while; or again
)

// The commands of level 3: the level itself, what clients of the Sentinel protocol
// change, and the opt-in fence.
const (
	CmdLevel    CommandType = "level"    // commands of a higher level may follow
	CmdRemove   CommandType = "remove"   // stop to watch it, whatever files still say
	CmdSettings CommandType = "settings" // its settings changed, and those that only files had
	CmdFence    CommandType = "fence"    // the fence is on or off, and what the master needs
	CmdFound    CommandType = "found"    // an instance's limits before they were changed; or they were given back
)

// Command is one entry of the replicated log. Which fields count depends on
// Type; the others are zero.
type Command struct {
	Level  int         `json:"l"`
	Type   CommandType `json:"t"`
	Master string      `json:"m"`
	Epoch  Epoch       `json:"e,omitempty"`
	// Wall is the leader's wall clock when it proposed, for display only.
	Wall time.Time `json:"w,omitzero"`

	Config   *Config      `json:"config,omitempty"`  // monitor, enrol, configure
	Owner    string       `json:"owner,omitempty"`   // enrol
	At       Assignment   `json:"at,omitzero"`       // monitor, adopt, choose
	Lineage  Lineage      `json:"lineage,omitzero"`  // adopt, lineage, choose
	Force    bool         `json:"force,omitempty"`   // choose: data of others may be replaced; monitor: though it was removed
	Despite  []WatcherID  `json:"despite,omitempty"` // choose: other Sentinels that are known of
	Members  []Member     `json:"members,omitempty"` // monitor, members, enrol, pods (added or changed)
	Removed  []InstanceID `json:"removed,omitempty"` // members, pods
	Instance InstanceID   `json:"instance,omitempty"`
	Was      int          `json:"was,omitempty"` // tuned: seconds found
	Now      int          `json:"now,omitempty"` // tuned: seconds set
	Plan     *Plan        `json:"plan,omitempty"`
	Phase    Phase        `json:"phase,omitempty"`
	Notes    []Note       `json:"notes,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Took     Span         `json:"took,omitzero"` // done, abort
	Record   *Record      `json:"record,omitempty"`
	Released bool         `json:"released,omitempty"` // release: true, and false for resume
	Paused   bool         `json:"paused,omitempty"`   // pause: true, and false for resume
	Until    time.Time    `json:"until,omitzero"`     // pause: its end, zero for none
	Raise    int          `json:"raise,omitempty"`    // level: the new level
	Options  Options      `json:"options,omitempty"`  // settings
	Fence    *Fence       `json:"fence,omitempty"`    // fence
	Limits   *MinReplicas `json:"limits,omitempty"`   // found: nil for given back
}

// Span is what a plan cost, in milliseconds.
type Span struct {
	TookMS   float64 `json:"tookMs"`
	WaitedMS float64 `json:"waitedMs,omitempty"`
}

// ErrLevel is returned for a command that this build does not understand.
var ErrLevel = errors.New("command is of a higher level than this watcher knows")

// ErrCommand is returned for bytes that are not a command of ours.
var ErrCommand = errors.New("damaged command")

// Encode returns the bytes that go into the log. A command is of the lowest level
// that knows it, so that watchers of an older build go on as long as they can.
func (c Command) Encode() ([]byte, error) {
	c.Level = c.level()
	if c.Type == CmdLevel {
		c.Level = c.Raise // whoever does not know that level stops here
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode %s command: %w", c.Type, err)
	}
	return b, nil
}

// DecodeCommand reads what Encode wrote. Of a command of a higher level it
// returns level and type along with ErrLevel; a type that this level does not have
// is ErrCommand, never skipped.
func DecodeCommand(b []byte) (Command, error) {
	var head struct {
		Level int         `json:"l"`
		Type  CommandType `json:"t"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	if head.Level > CommandLevel {
		return Command{Level: head.Level, Type: head.Type}, &LevelError{What: fmt.Sprintf("command %q", head.Type), Needs: head.Level, Knows: CommandLevel}
	}
	if head.Level < 1 || !head.Type.known() {
		return Command{}, fmt.Errorf("%w: type %q of level %d", ErrCommand, head.Type, head.Level)
	}
	var c Command
	if err := json.Unmarshal(b, &c); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	if c.Type == CmdLevel && c.Raise != c.Level {
		return Command{}, fmt.Errorf("%w: level %d is raised by a command of level %d", ErrCommand, c.Raise, c.Level)
	}
	return c, nil
}

// level is the level of a build that can apply commands of that type.
func (t CommandType) level() int {
	switch t {
	case CmdEnrol, CmdConfigure, CmdPods, CmdFloor, CmdRelease, CmdPause, CmdChoose:
		return 2
	case CmdLevel, CmdRemove, CmdSettings, CmdFence, CmdFound:
		return 3
	case CmdMonitor, CmdForget, CmdAdopt, CmdMembers, CmdTuned, CmdLineage, CmdBegin, CmdAdvance, CmdDone, CmdAbort, CmdNote:
		return 1
	}
	return CommandLevel
}

// level is the lowest level that knows the command with all that is in it: an older
// build would drop a setting that it does not know from its state.
func (c Command) level() int {
	if c.Config != nil && c.Config.RebootDownAfter != 0 {
		return max(c.Type.level(), 3)
	}
	return c.Type.level()
}

// asked reports whether commands of that type answer a person's request.
func (t CommandType) asked() bool { return t == CmdRelease || t == CmdPause || t == CmdChoose }

// known reports whether this build can apply commands of that type.
func (t CommandType) known() bool {
	switch t {
	case CmdMonitor, CmdForget, CmdAdopt, CmdMembers, CmdTuned, CmdLineage, CmdBegin, CmdAdvance, CmdDone, CmdAbort, CmdNote,
		CmdEnrol, CmdConfigure, CmdPods, CmdFloor, CmdRelease, CmdPause, CmdChoose,
		CmdLevel, CmdRemove, CmdSettings, CmdFence, CmdFound:
		return true
	}
	return false
}
