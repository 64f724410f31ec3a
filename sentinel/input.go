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
		// Rights is what the instance lets us do, nil if that was not asked.
		Rights *Rights
		// Remote is the IP address that was reached, where Addr has a host name; "" else.
		Remote string
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
	Wanted struct {
		Monitors []Command
		// Fences names the masters for which the file asks for the fence.
		Fences []string
	}

	// Inventories names all masters and the instances that exist according to whoever
	// runs them: the Kubernetes API. It replaces the one before as a whole.
	Inventories struct {
		All []Inventory
		// Unsure is set while a part of them could not be read: what is missing may
		// exist all the same, so nothing is forgotten.
		Unsure bool
	}

	// Flipped tells that a Service follows the master of an epoch.
	Flipped struct {
		Master  string
		Epoch   Epoch
		Service string
	}

	// Foreign is a Sentinel that greets others through an instance of ours.
	Foreign struct {
		Master   string
		Instance InstanceID
		ID       WatcherID
		Addr     Addr
		// Name is what it calls the master.
		Name string
	}

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
		// Generation is that of the cluster: epochs of an earlier one are never used again.
		Generation uint32
	}

	// Known tells up to which level a watcher says that it understands commands: another
	// one each time that it says so, this one once.
	Known struct {
		From  WatcherID
		Level int
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

	// Hooks replaces what is known of who is asked before automatic failovers: by
	// master in All, and Default for all others.
	Hooks struct {
		All     map[string]Before
		Default Before
	}

	// HookAnswered is the answer to an AskHook.
	HookAnswered struct {
		Master string
		ID     ActionID
		Veto   bool
		// Reason is the veto's, for people.
		Reason string
		// Failure is why there is no answer, "" if there is one.
		Failure string
	}

	// Proposed is the outcome of a proposal that was not committed, or that the
	// state machine refused. A committed one arrives as Applied.
	Proposed struct {
		Master string
		Epoch  Epoch
		Type   CommandType
		Result Outcome
		Detail string
		// Soon is set where nothing was written and the same may be possible in a moment.
		Soon bool
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
		// For bounds a pause; zero does not.
		For time.Duration
		// Why is the reason that people read, "" for "asked".
		Why string
		// Addr, Config and Options are those of RequestMonitor, Settings and Options those
		// of RequestSet.
		Addr     Addr     `json:",omitzero"`
		Config   *Config  `json:",omitempty"`
		Settings Settings `json:",omitzero"`
		Options  Options  `json:",omitempty"`
	}
)

func (Probe) input()        {}
func (PeerAsk) input()      {}
func (PeerReport) input()   {}
func (Applied) input()      {}
func (Restored) input()     {}
func (Wanted) input()       {}
func (Inventories) input()  {}
func (Inventory) input()    {}
func (Flipped) input()      {}
func (Foreign) input()      {}
func (Pushed) input()       {}
func (Led) input()          {}
func (Membership) input()   {}
func (Known) input()        {}
func (Done) input()         {}
func (Hooks) input()        {}
func (HookAnswered) input() {}
func (Proposed) input()     {}
func (Request) input()      {}

// Inventory is one master as its StatefulSet describes it.
type Inventory struct {
	Master string
	// Owner names the StatefulSet. Another owner's master of the same name is another
	// master: nothing that was decided for the one counts for the other.
	Owner  string
	Config Config
	// Fence asks for the opt-in fence. It is no part of Config, because older builds would
	// drop it from the replicated state.
	Fence bool
	// Instances are the pods that exist, in the order of their ordinals.
	Instances []Instance
	// Expected is how many there should be.
	Expected int
	// Serves is set when a Service follows the master, so that a plan is not done
	// before that has moved too.
	Serves bool
	// At tells whose pod is at an address, "" if two masters claim it. The Router makes
	// one for all of them.
	At map[Addr]string
	// Floor is the highest epoch that is written on any of the objects: a lower one
	// must not be used again, whatever the log says.
	Floor Epoch
}

// Instance is one pod of an inventory.
type Instance struct {
	ID InstanceID
	// Addr is zero while the pod has no address.
	Addr Addr
	// Name is the pod's name, Ordinal its number in the StatefulSet.
	Name    string
	Ordinal int
	// Data names the volume that holds its data, so that a successor of the same name
	// can be told to have it; "" when the data dies with the pod.
	Data string
	// Priority takes the place of replica-priority; -1 leaves that to Redis.
	Priority int
	// Boots is how its process starts, as far as the pod's command line tells.
	Boots Boot
	// Deleting is set when the pod is being deleted or evicted. Patience is how long
	// after that was seen a handover should begin, which depends on how long the pod
	// goes on serving.
	Deleting bool
	Patience time.Duration
}

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
	// RequestRelease gives the master back as it was found: triwatch watches on, and
	// writes nothing until RequestResume.
	RequestRelease
	// RequestPause leaves everything to persons, for Request.For or until RequestResume.
	RequestPause
	RequestResume
	// RequestAdopt makes master whom Request.To names, or the only instance that says
	// it is. With Force the data of others may be replaced.
	RequestAdopt
	// RequestVacate is a handover if Request.To is the master, and nothing if not: for
	// whoever is about to take an instance away.
	RequestVacate
)

// String returns the word that people read.
func (k RequestKind) String() string {
	switch k {
	case RequestHandover:
		return "handover"
	case RequestFailover, RequestSentinelFailover:
		return "failover"
	case RequestRelease:
		return "release"
	case RequestAdopt:
		return "adopt"
	case RequestPause:
		return "pause"
	case RequestResume:
		return "resume"
	case RequestVacate:
		return "vacate"
	case RequestMonitor:
		return "monitor"
	case RequestRemove:
		return "remove"
	case RequestSet:
		return "set"
	case RequestReset:
		return "reset"
	case RequestUnknown:
		return "unknown"
	}
	return "unknown"
}

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
