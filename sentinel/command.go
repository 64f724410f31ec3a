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
const CommandLevel = 1

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

// Command is one entry of the replicated log. Which fields count depends on
// Type; the others are zero.
type Command struct {
	Level  int         `json:"l"`
	Type   CommandType `json:"t"`
	Master string      `json:"m"`
	Epoch  Epoch       `json:"e,omitempty"`
	// Wall is the leader's wall clock when it proposed, for display only.
	Wall time.Time `json:"w,omitzero"`

	Config   *Config      `json:"config,omitempty"`  // monitor
	At       Assignment   `json:"at,omitzero"`       // monitor, adopt
	Lineage  Lineage      `json:"lineage,omitzero"`  // adopt, lineage
	Members  []Member     `json:"members,omitempty"` // monitor, members (added)
	Removed  []InstanceID `json:"removed,omitempty"` // members
	Instance InstanceID   `json:"instance,omitempty"`
	Was      int          `json:"was,omitempty"` // tuned: seconds found
	Now      int          `json:"now,omitempty"` // tuned: seconds set
	Plan     *Plan        `json:"plan,omitempty"`
	Phase    Phase        `json:"phase,omitempty"`
	Notes    []Note       `json:"notes,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Took     Span         `json:"took,omitzero"` // done, abort
	Record   *Record      `json:"record,omitempty"`
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

// Encode returns the bytes that go into the log.
func (c Command) Encode() ([]byte, error) {
	c.Level = CommandLevel
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
		return Command{Level: head.Level, Type: head.Type}, fmt.Errorf("%w: %q needs level %d, this watcher knows %d", ErrLevel, head.Type, head.Level, CommandLevel)
	}
	if head.Level < 1 || !head.Type.known() {
		return Command{}, fmt.Errorf("%w: type %q of level %d", ErrCommand, head.Type, head.Level)
	}
	var c Command
	if err := json.Unmarshal(b, &c); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	return c, nil
}

// known reports whether this build can apply commands of that type.
func (t CommandType) known() bool {
	switch t {
	case CmdMonitor, CmdForget, CmdAdopt, CmdMembers, CmdTuned, CmdLineage, CmdBegin, CmdAdvance, CmdDone, CmdAbort, CmdNote:
		return true
	}
	return false
}
