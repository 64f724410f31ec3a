package sentinel

import "time"

// Action is something that an adapter has to do. The actions of one Step are
// carried out in their order as far as they concern the same instance; a
// proposal never waits for a Do.
type Action interface{ action() }

// ActionID numbers the Do actions of one watcher; it is never used twice.
type ActionID uint64

type (
	// Watch replaces the set of instances that are probed for one master.
	Watch struct {
		Master  string
		Targets []Target
	}

	// ProbeNow asks for one probe at once, with INFO. Redial asks for a new
	// connection as well, so that a listener is proved, not a buffer. Rights asks for
	// what is allowed too; the answer to that may come with a later probe.
	ProbeNow struct {
		Master   string
		Instance InstanceID
		Redial   bool
		Rights   bool
		// After delays the probe; zero is at once.
		After time.Duration
	}

	// SendAsk goes to all other voters.
	SendAsk struct{ Ask Ask }

	// SendReport goes to the leader.
	SendReport struct{ Report Report }

	// Propose hands a command to the log. Only a leader gets to see it.
	Propose struct{ Command Command }

	// Do is one write to Redis. It is sent only under the leadership's context and
	// with leadership freshly verified, must be done by the deadline, and is
	// answered by a Done input with the same ID.
	Do struct {
		ID       ActionID
		Op       Op
		Master   string
		Instance InstanceID
		Addr     Addr
		// To is the address to replicate from (OpReplicate).
		To Addr
		// Offset and ReplID are what to wait for (OpAwait).
		Offset int64
		ReplID string
		// RunID is the run that OpPromote means, "" for any: between the choice and the
		// command it may have been replaced by an empty one.
		RunID string
		// From is whom the instance that OpPromote means is known to follow, zero for anybody:
		// a command that comes late must not promote one that follows another master by then.
		From Addr
		// Value is a setting's new value (OpSetPing).
		Value string
		// Limits are set together with what OpPromote, OpUnfence and OpReplicate do, and by
		// OpSetLimits; nil leaves them as they are. The first two set only Write.
		Limits *MinReplicas
		// GiveBack has OpSetLimits written to the configuration file as well: what the
		// instance had before is to be all that is left there.
		GiveBack bool
		Epoch    Epoch
		// Timeout bounds the whole action.
		Timeout time.Duration
	}

	// AskHook asks whoever people named whether an automatic failover may begin. It is
	// answered by a HookAnswered with the same ID, or not at all: the core keeps the
	// deadline itself. Only a leader asks.
	AskHook struct {
		ID     ActionID
		Master string
		// Epoch is what the failover's would be.
		Epoch Epoch
		// From is the master that is lost, To the chosen replica.
		From, To Assignment
		// Why is the evidence in words.
		Why string
		// Lost is the estimated loss in bytes, -1 if there is nothing to estimate from.
		Lost int64
		// Timeout is how long an answer is waited for.
		Timeout time.Duration
	}

	// Push tells all watchers at once what was committed.
	Push struct {
		Master     string
		Assignment Assignment
	}

	// Emit publishes an event to Sentinel clients, the log and the metrics.
	Emit struct{ Event Event }

	// Answer ends a Request.
	Answer struct {
		ID     uint64
		Result Outcome
		// Code is a machine's word for a refusal, as Sentinel has them: INPROG,
		// NOGOODSLAVE, NOQUORUM; "" otherwise.
		Code   string
		Detail string
		Epoch  Epoch
	}
)

func (Watch) action()      {}
func (ProbeNow) action()   {}
func (SendAsk) action()    {}
func (SendReport) action() {}
func (Propose) action()    {}
func (Do) action()         {}
func (AskHook) action()    {}
func (Push) action()       {}
func (Emit) action()       {}
func (Answer) action()     {}

// Target is one instance to be probed.
type Target struct {
	Instance InstanceID
	Addr     Addr
	// Ping is the time from one reply to the next PING, Info that from one INFO to
	// the next; Info takes the place of a PING when both are due.
	Ping, Info time.Duration
	// Timeout is how long an answer is waited for before the connection is given up.
	Timeout time.Duration
}

// Op is a write to Redis. Every one is idempotent: done twice is done once, and
// "already so" counts as done.
type Op int

// The writes.
const (
	OpUnknown Op = iota
	// OpPromote is REPLICAOF NO ONE if the instance is still the run RunID and still has
	// the lineage ReplID, then INFO to verify. Without them ("") nothing is compared. One
	// that changed its lineage in that very moment is fenced again, and refuses.
	OpPromote
	// OpReplicate is REPLICAOF To, then INFO to verify.
	OpReplicate
	// OpFence is REPLICAOF 127.0.0.1 0: read-only at once, replicas stay attached. Its
	// Done carries the offset at which the instance stands still.
	OpFence
	// OpUnfence is REPLICAOF NO ONE on an instance that is fenced, and nothing on one
	// that is not: it undoes OpFence only.
	OpUnfence
	// OpAwait polls INFO until the instance has the lineage ReplID and at least Offset.
	OpAwait
	// OpPauseWrites is CLIENT PAUSE WRITE for at most Timeout.
	OpPauseWrites
	// OpUnpause is CLIENT UNPAUSE.
	OpUnpause
	// OpKillClients is CLIENT KILL TYPE normal and pubsub, sparing our own.
	OpKillClients
	// OpSetPing sets repl-ping-replica-period to Value; Detail of its Done is the
	// value that was found.
	OpSetPing
	// OpFindLimits reads min-replicas-to-write and min-replicas-max-lag; Detail of its
	// Done are both, see MinReplicas.String.
	OpFindLimits
	// OpSetLimits sets them to Limits.
	OpSetLimits
)

var opNames = map[Op]string{
	OpUnknown: "unknown", OpPromote: "promote", OpReplicate: "replicate", OpFence: "fence", OpUnfence: "unfence",
	OpAwait: "await", OpPauseWrites: "pause-writes", OpUnpause: "unpause", OpKillClients: "kill-clients", OpSetPing: "set-ping-period",
	OpFindLimits: "find-limits", OpSetLimits: "set-limits",
}

// String returns the word that people read.
func (o Op) String() string { return opNames[o] }
