package sentinel

import "time"

// Input is one thing that happened to a watcher. It carries the moment at which
// the runner took it up; Step never asks for the time.
type Input struct {
	// At is the watcher's monotonic time; it never goes back between inputs.
	At Time
	// Wall is the wall clock, used for history and display only.
	Wall time.Time
	// Event is what happened. Nil is a tick: a deadline has passed.
	Event InputEvent
}

// InputEvent is one of the types in this file.
type InputEvent interface{ input() }

type (
	// Probe is the outcome of one probe of an instance, or of the loss of a
	// connection to it.
	Probe struct {
		Master   string
		Instance InstanceID
		Addr     Addr
		Reply    Reply
		// Lost is set when an established connection was closed or reset by the
		// other side just before; Reply then tells how the redial ended.
		Lost bool
		// Asked is when the probe was sent. A probe says something about the
		// instance at some moment between Asked and the time of the input.
		Asked Time
		// Info is what INFO said, nil if it was not asked or not answered. RunID is
		// filled in from the connection when only one section was asked.
		Info *Info
		// Detail is the error or refusal in the words of whoever gave it.
		Detail string
	}

	// PeerAsk is the leader's request for a report.
	PeerAsk struct {
		From WatcherID
		Ask  Ask
	}

	// PeerReport is another watcher's report, answering an ask or unasked.
	PeerReport struct {
		From   WatcherID
		Report Report
	}

	// Applied is one committed command in log order.
	Applied struct {
		Index   uint64
		Command Command
	}

	// Restored replaces the committed state of all masters by that of a snapshot.
	// The router hands each master its part.
	Restored struct{ Registry *Registry }

	// Wanted names the masters that this watcher's own file monitors. A leader
	// proposes those that the registry does not have.
	Wanted struct{ Monitors []Command }

	// Pushed is the leader's word about a commit that this watcher's own log may
	// not show yet.
	Pushed struct {
		Master     string
		Assignment Assignment
	}

	// Led tells that this watcher leads, or no longer does.
	Led struct {
		Leading bool
		Term    uint64
	}

	// Membership names all voting watchers, and which one this is.
	Membership struct {
		Me     WatcherID
		Voters []WatcherID
	}

	// Done is the outcome of an action that was handed out with Do.
	Done struct {
		Master string
		ID     ActionID
		Result Outcome
		// Info is what the instance said after the action, nil if it was not heard.
		Info   *Info
		Detail string
	}

	// Proposed is the outcome of a proposal that was not committed, or that the
	// state machine refused. A committed one arrives as Applied.
	Proposed struct {
		Master string
		Epoch  Epoch
		Type   CommandType
		Result Outcome
		Detail string
	}

	// Request is a person's or a client's wish. It is answered by an Answer action
	// with the same ID. Only a leader grants it.
	Request struct {
		ID     uint64
		Master string
		Kind   RequestKind
		// To names the replica that the person wants, "" for the best one: an
		// instance ID, a name or host:port.
		To    string
		Force bool
	}
)

func (Probe) input()      {}
func (PeerAsk) input()    {}
func (PeerReport) input() {}
func (Applied) input()    {}
func (Restored) input()   {}
func (Wanted) input()     {}
func (Pushed) input()     {}
func (Led) input()        {}
func (Membership) input() {}
func (Done) input()       {}
func (Proposed) input()   {}
func (Request) input()    {}

// Outcome says how an action or a proposal ended. Zero is unknown: it may or
// may not have happened, or may still happen.
type Outcome int

// The outcomes.
const (
	OutcomeUnknown Outcome = iota
	// OutcomeOK means done and verified.
	OutcomeOK
	// OutcomeFailed means certainly not done.
	OutcomeFailed
	// OutcomeNotLeader means not proposed, because somebody else leads.
	OutcomeNotLeader
	// OutcomeRefused means that the state machine or the instance said no.
	OutcomeRefused
)

// String returns the word that people read.
func (o Outcome) String() string {
	switch o {
	case OutcomeOK:
		return "ok"
	case OutcomeFailed:
		return "failed"
	case OutcomeNotLeader:
		return "not leader"
	case OutcomeRefused:
		return "refused"
	case OutcomeUnknown:
		return "unknown"
	}
	return "unknown"
}

// RequestKind is what a person can ask for.
type RequestKind int

// The requests.
const (
	RequestUnknown RequestKind = iota
	// RequestHandover moves a living master without losing a write, or does nothing.
	RequestHandover
	// RequestFailover replaces the master whether it answers or not.
	RequestFailover
	// RequestSentinelFailover is SENTINEL FAILOVER: a handover if the master lives.
	RequestSentinelFailover
)

// Ask is the leader's question to all watchers about one master.
type Ask struct {
	Master string `json:"m"`
	// Seq numbers the asks of one leader; the leader counts a report's age from the
	// moment it sent the ask with that number.
	Seq uint64 `json:"s"`
	// Fresh asks for probes made after the ask arrived.
	Fresh bool `json:"f,omitempty"`
	// Suspect tells that the leader suspects the master: replicas are watched as
	// witnesses from now on.
	Suspect bool `json:"u,omitempty"`
}

// Report is what one watcher holds to be true of one master and its replicas.
type Report struct {
	Master string `json:"m"`
	// Epoch and Addr say which assignment the report is about.
	Epoch Epoch `json:"e"`
	Addr  Addr  `json:"a"`
	// Seq is the number of the latest ask that had arrived.
	Seq uint64 `json:"s"`
	// Fresh is set when every probe in it was made after that ask arrived.
	Fresh     bool             `json:"f,omitempty"`
	Instances []InstanceReport `json:"i"`
}

// InstanceReport is one instance as one watcher sees it.
type InstanceReport struct {
	ID     InstanceID    `json:"id"`
	Addr   Addr          `json:"a"`
	Health Health        `json:"h"`
	Reply  Reply         `json:"r"`
	Silent time.Duration `json:"q"` // since the last reply
	RunID  string        `json:"n,omitempty"`
	Role   Role          `json:"o,omitempty"`
	// Witness is what this replica says about its master's life.
	Witness Witness `json:"w,omitempty"`
	Offset  int64   `json:"f"`
}
