package election

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ID is a watcher's Raft server ID: 40 random hex characters, made together
// with an empty store and never used again with another one. The empty ID
// means "unknown".
type ID string

// Short returns the first eight characters, for people.
func (id ID) Short() string {
	if len(id) > 8 {
		return string(id[:8])
	}
	return string(id)
}

// Machine is the replicated state machine. Raft calls its methods from one
// goroutine at a time. A watcher that was left behind and joins anew restores it
// to what the cluster has, be it more or less than before.
type Machine interface {
	// Apply applies a committed command. It is called once per command and
	// process life, in log order; after a restart the log since the last
	// snapshot is applied again, so it must not have effects outside its result
	// and the machine's own state.
	Apply(index uint64, cmd []byte) any
	// Snapshot returns the whole state. Applying waits for it.
	Snapshot() ([]byte, error)
	// Restore replaces the whole state by one that Snapshot returned.
	Restore(snapshot []byte) error
}

// CatchingUp may be implemented by a Machine that tells others what is committed: what
// was so long ago is no news.
type CatchingUp interface {
	// Behind is called before the first Apply of a process life or of a store: all
	// commands up to that index were committed before, and follow at once. 0 means that
	// there are none.
	Behind(last uint64)
}

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotLeader is returned when only the leader can do what was asked; its
	// text names the leader when one is known.
	ErrNotLeader = errors.New("not the leader")
	// ErrNotStarted is returned while this watcher has not yet joined or made a
	// cluster (State.Waiting says why), and after Stop.
	ErrNotStarted = errors.New("raft is not running")
	// ErrSuperseded is returned once a peer of a higher generation was met.
	ErrSuperseded = errors.New("superseded by a newer generation of the cluster")
	// ErrUnknownPeer is returned for an ID that is not in the configuration.
	ErrUnknownPeer = errors.New("no such peer")
	// ErrUnreachable is returned by Send when there is no connection to the peer.
	ErrUnreachable = errors.New("peer is not connected")
	// ErrQueueFull is returned by Send when the peer reads too slowly.
	ErrQueueFull = errors.New("queue to the peer is full")
	// ErrDirInUse is returned when another process has the data directory open.
	ErrDirInUse = errors.New("data directory is used by another process")
	// ErrDamaged is returned when the Raft store can not be read.
	ErrDamaged = errors.New("raft store is damaged")
)

// Status tells how a proposal ended.
type Status int

// The statuses of a proposal.
const (
	// Unknown means the command may or may not be committed, now or later:
	// leadership or the deadline was lost while it was in flight.
	Unknown Status = iota
	// Committed means a majority stores the command and it was applied here.
	Committed
	// NotLeader means the command was never accepted and never will be.
	NotLeader
)

// String returns the status in words.
func (s Status) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Committed:
		return "committed"
	case NotLeader:
		return "not leader"
	default:
		return fmt.Sprintf("status %d", int(s))
	}
}

// Outcome is the end of a proposal. Index and Result (what Apply returned) are
// set when Committed, Err otherwise.
type Outcome struct {
	Status Status
	Index  uint64
	Result any
	Err    error
}

// Leadership is one stretch of this watcher being the leader. Ctx is cancelled
// as soon as the leadership is lost, and by Stop.
type Leadership struct {
	Ctx  context.Context
	Term uint64
	// Generation is the cluster's at that time; it does not change while Ctx lives.
	Generation uint32
}

// Peer is one member of the latest configuration, ourselves included.
type Peer struct {
	ID   ID
	Addr string
	// Voter is false while a newcomer still catches up.
	Voter        bool
	Self, Leader bool
	// Reachable means a message can be sent to the peer now, and it was heard
	// from within about two heartbeats. It is true for ourselves.
	Reachable bool
	// LastContact is how long ago the peer was last heard from; negative means
	// never. It is zero for ourselves.
	LastContact time.Duration
}

// State is one consistent-enough look at a Node, for people and for gates.
type State struct {
	// HasQuorum is, on the leader, that a majority was heard from within the
	// lease; on a follower, that the leader was heard from within the election
	// time-out.
	HasQuorum bool
	// Leading is that this watcher leads. It can be out of date as soon as it is
	// returned: use Verify or a Leadership's context before acting.
	Leading bool
	// Voter is that this watcher votes in the latest configuration.
	Voter bool
	// CaughtUp is that all entries known to be committed are applied, and that
	// the leader is known.
	CaughtUp                  bool
	AppliedIndex, CommitIndex uint64
	Term                      uint64
	// Generation is the cluster's, 0 until it is joined; it can grow.
	Generation uint32
	LeaderID   ID
	LeaderAddr string
	// Waiting says why Raft does not run, or why this watcher does not vote yet;
	// empty when all is well.
	Waiting string
	// Superseded is that a peer belongs to a higher generation: this watcher has
	// stopped acting and its data directory is out of date. Where the record is
	// shared that passes: it joins anew under another ID.
	Superseded bool
	// Removed is that the cluster no longer counts this watcher as a member.
	Removed bool
}

// Voter is a voting member as the cluster record names it.
type Voter struct {
	ID   ID     `json:"id"`
	Addr string `json:"addr"`
}

// ClusterRecord names the cluster and who votes in it.
type ClusterRecord struct {
	ClusterID  string  `json:"cluster_id"`
	Generation uint32  `json:"generation"`
	Voters     []Voter `json:"voters"`
}

// ErrRecordChanged is returned by Record.Store when somebody else stored a
// record since it was loaded.
var ErrRecordChanged = errors.New("cluster record was changed by somebody else")

// Record keeps the ClusterRecord. Its methods are not called concurrently by
// one Node.
type Record interface {
	// Load returns the record and its version; the zero record and version ""
	// when there is none.
	Load(ctx context.Context) (rec ClusterRecord, version string, err error)
	// Store writes the record if the version is still the given one ("": if
	// there is none), else it returns ErrRecordChanged. It returns when the
	// record is durable.
	Store(ctx context.Context, rec ClusterRecord, expectedVersion string) error
	// Shared is that all watchers see the same record, so that only the leader
	// keeps it up to date; otherwise each keeps its own.
	Shared() bool
}
