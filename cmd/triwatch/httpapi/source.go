package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// Source is what the server asks for its answers, and where writes go. All
// methods are called concurrently; what they return belongs to the server.
type Source interface {
	// Views describes all masters, as the leader sees them if it answers before ctx
	// ends. own is set when it did not, so that the views are this watcher's alone.
	Views(ctx context.Context) (views []sentinel.View, own bool, err error)
	// History returns one master's records, oldest first, and false if there is no
	// such master.
	History(ctx context.Context, name string) ([]sentinel.Record, bool, error)
	// Request asks for a handover or failover and waits for its outcome. When ctx
	// ends first, the outcome is unknown and the error wraps that of ctx.
	Request(ctx context.Context, q sentinel.Request) (sentinel.Answer, error)
	// Check reaches every instance of one master without changing anything. The
	// error wraps ErrUnknownMaster if there is no such master.
	Check(ctx context.Context, name string) (CheckReport, error)
	// Cluster describes the watchers, at once.
	Cluster() ClusterInfo
	// RemovePeer removes a watcher for good. The error wraps ErrUnknownPeer,
	// ErrNotLeader or ErrNoQuorum where one of them is the reason.
	RemovePeer(ctx context.Context, id string) error
	// Recover goes on without the members that a person says are gone for good, when
	// they are a majority. The error says what speaks against it.
	Recover(ctx context.Context, drop []string) error
	// Services returns what follows a master on Kubernetes, nil on hosts.
	Services(master string) []Service
	// LastPass is when the watcher's loop last completed a pass, zero if never.
	LastPass() time.Time
	// Version says what is running.
	Version() Version
}

// Errors that a Source wraps, so that people and programs get the right code.
var (
	// ErrUnknownMaster is returned for a name that is not watched: 404, NOMASTER.
	ErrUnknownMaster = errors.New("no such master")
	// ErrUnknownPeer is returned for an ID that is not a watcher's: 404, NOPEER.
	ErrUnknownPeer = errors.New("no such peer")
	// ErrNotLeader is returned when only the leader can do it: 409, NOTLEADER.
	ErrNotLeader = errors.New("this watcher does not lead")
	// ErrNoQuorum is returned when nothing can be decided: 503, NOQUORUM.
	ErrNoQuorum = errors.New("the watchers have no quorum")
)

// ClusterInfo is the trio as one watcher knows it.
type ClusterInfo struct {
	// Me is this watcher's ID; LeaderID is "" while no leader is known.
	Me         string
	LeaderID   string
	LeaderAddr string
	Term       uint64
	// HasQuorum is that a majority is in touch, as election.State has it.
	HasQuorum bool
	Voter     bool
	CaughtUp  bool
	// Waiting says why Raft does not run or this watcher does not vote, "" if all is well.
	Waiting string
	// Superseded and Removed mean that this watcher does not belong to the trio any more.
	Superseded bool
	Removed    bool
	// Stuck says why this watcher does not understand the log and does not act, "" if it
	// does; NeedsLevel is the level that would do, 0 if that is not it.
	Stuck      string
	NeedsLevel int
	// Level is the committed level of commands, Knows what this watcher knows of it.
	Level, Knows int
	Peers        []PeerInfo
}

// PeerInfo is one watcher, this one included.
type PeerInfo struct {
	ID   string
	Addr string
	// Name is for people, "" for the address.
	Name      string
	Voter     bool
	Self      bool
	Leader    bool
	Reachable bool
	// LastContactMS is how long ago it was heard from, in milliseconds; negative
	// means never. It is zero for this watcher itself.
	LastContactMS int64
	// Level is what it says that it knows, 0 if it was not heard; Version is its build, ""
	// if it does not say.
	Level   int
	Version string
}

// Version says what is running. Empty fields are not known.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Built   string `json:"built,omitempty"`
	Go      string `json:"go,omitempty"`
}
