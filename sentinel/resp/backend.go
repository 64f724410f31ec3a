package resp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Backend is what the server asks for its answers. All methods are called
// concurrently; the views that they return belong to the server afterwards and
// must not be changed by the backend any more.
type Backend interface {
	// MyID returns this watcher's id, 40 hexadecimal characters, constant.
	MyID() string

	// MasterAddr returns the address of the master called name, and false if
	// there is no master of that name. It is the command that clients send most,
	// also in the middle of a failover: it must not wait for a lock that is held
	// across I/O, nor build a view.
	MasterAddr(name string) (host string, port int, ok bool)

	// Masters returns all masters sorted by name.
	Masters() []Master

	// Master returns the master called name, and false if there is none.
	Master(name string) (Master, bool)

	// Replicas returns the replicas of the master called name in a stable order,
	// and false if there is no such master.
	Replicas(name string) ([]Instance, bool)

	// Sentinels returns the other watchers of the master called name, without
	// this one, and false if there is no such master.
	Sentinels(name string) ([]Peer, bool)

	// CheckQuorum says whether the master called name could be failed over now.
	// The text is the sentence after "OK " (see [QuorumText]). The error is
	// [ErrNoSuchMaster], a [QuorumError], or any other error, whose text then
	// follows NOQUORUM.
	CheckQuorum(name string) (text string, err error)

	// Failover starts a failover (a handover if the master lives) and returns
	// when it has been accepted. The context ends after
	// [Options.FailoverTimeout] or when the server stops. Errors that wrap
	// [ErrNoSuchMaster], [ErrInProgress] or [ErrNoGoodReplica] become Sentinel's
	// replies; every other one becomes "-ERR <its text>".
	Failover(ctx context.Context, name string) error

	// Handover is Valkey's coordinated failover: it refuses if the master does not
	// live. Its errors are those of Failover.
	Handover(ctx context.Context, name string) error

	// Monitor, Remove, Set and Reset change what all watchers watch. They return when
	// the change is committed, or their context ends. Errors that wrap ErrNoSuchMaster,
	// [ErrDuplicate], [ErrNoQuorum] or are an [InvalidSetting] have replies of their own.
	Monitor(ctx context.Context, m Monitored) error
	Remove(ctx context.Context, name string) error
	Set(ctx context.Context, name string, settings []Setting) error
	Reset(ctx context.Context, name string) error

	// DenyScripts says whether clients must not name scripts.
	DenyScripts() bool

	// IsMasterDown says whether this watcher holds the master at that address down.
	IsMasterDown(host string, port int) bool

	// InfoCache returns the latest INFO of the master and then of its replicas, and
	// false if there is no such master.
	InfoCache(name string) ([]CachedInfo, bool)

	// PendingScripts returns the script queue, those that run first.
	PendingScripts() []Script

	// Globals returns the settings of this watcher, in the order in which CONFIG GET
	// shows them; SetGlobals changes some.
	Globals() []Setting
	SetGlobals(set []Setting) error

	// FlushConfig writes sentinel.conf now.
	FlushConfig() error

	// Shutdown begins to end the watcher. It must not wait for the server.
	Shutdown()

	// SimulateFailure forgets what was asked for before and has this watcher fail at
	// each of the named moments, [CrashAfterElection] and [CrashAfterPromotion]
	// among them, in whatever case they are written. It stops at the first name
	// that it does not know and returns how many came before.
	SimulateFailure(names []string) (armed int)
}

// The moments at which Sentinel can be made to fail.
const (
	CrashAfterElection  = "crash-after-election"
	CrashAfterPromotion = "crash-after-promotion"
)

var (
	// ErrNoSuchMaster is returned by a backend that does not know the master.
	// Clients see "-ERR No such master with that name".
	ErrNoSuchMaster = errors.New("no such master with that name")

	// ErrInProgress is returned by Failover while a plan of that master is open.
	// Clients see "-INPROG Failover already in progress".
	ErrInProgress = errors.New("failover already in progress")

	// ErrNoGoodReplica is returned by Failover if no replica may be promoted.
	// Clients see "-NOGOODSLAVE No suitable replica to promote".
	ErrNoGoodReplica = errors.New("no suitable replica to promote")
)

// QuorumText returns Sentinel's sentence for a master that can be failed over,
// with the number of watchers that are usable now, this one included.
func QuorumText(usable int) string {
	return fmt.Sprintf("%d usable Sentinels. Quorum and failover authorization can be reached", usable)
}

// QuorumError says why a master could not be failed over now. Its text is
// Sentinel's.
type QuorumError struct {
	Usable     int  // watchers that are usable now, this one included
	NoQuorum   bool // too few to agree that the master is down
	NoMajority bool // too few to authorize a failover
}

// Error returns what follows NOQUORUM in the reply.
func (e *QuorumError) Error() string {
	var why []string
	if e.NoQuorum {
		why = append(why, "Not enough available Sentinels to reach the specified quorum for this master")
	}
	if e.NoMajority {
		why = append(why, "Not enough available Sentinels to reach the majority and authorize a failover")
	}
	return fmt.Sprintf("%d usable Sentinels. %s", e.Usable, strings.Join(why, ". "))
}

// Flags is a set of Sentinel's instance flags. The flag of the instance's kind
// (master, slave, sentinel) is added by the server. The zero value means that
// nothing is wrong.
type Flags uint32

// The flags, in the order in which Sentinel prints them.
const (
	FlagSDown              Flags = 1 << iota // this watcher holds it down
	FlagODown                                // the quorum holds it down
	FlagDisconnected                         // a connection to it is missing
	FlagMasterDown                           // a peer: it holds the master down
	FlagFailoverInProgress                   // a plan is open
	FlagPromoted                             // a replica: the chosen one
	FlagReconfSent                           // a replica: REPLICAOF was sent
	FlagReconfInProgress                     // a replica: follows, is not in sync yet
	FlagReconfDone                           // a replica: in sync with the new master
	FlagForceFailover                        // a person asked for it
	FlagMasterReboot                         // a master that is back after a restart

	flagMaster // the kinds, set by the server
	flagSlave
	flagSentinel
)

// flagNames gives the order: Sentinel prints the kind after s_down and o_down.
var flagNames = [...]struct {
	flag Flags
	name string
}{
	{FlagSDown, "s_down"},
	{FlagODown, "o_down"},
	{flagMaster, "master"},
	{flagSlave, "slave"},
	{flagSentinel, "sentinel"},
	{FlagDisconnected, "disconnected"},
	{FlagMasterDown, "master_down"},
	{FlagFailoverInProgress, "failover_in_progress"},
	{FlagPromoted, "promoted"},
	{FlagReconfSent, "reconf_sent"},
	{FlagReconfInProgress, "reconf_inprog"},
	{FlagReconfDone, "reconf_done"},
	{FlagForceFailover, "force_failover"},
	{FlagMasterReboot, "master_reboot"},
}

// String returns the flags as Sentinel prints them, joined by commas.
func (f Flags) String() string {
	var b strings.Builder
	for _, n := range flagNames {
		if f&n.flag == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(n.name)
	}
	return b.String()
}

// Link holds the fields that masters, replicas and peers share. All durations
// are counted back from now; they are shown in milliseconds.
type Link struct {
	Host  string // ip, or hostname where hostnames are announced
	Port  int
	RunID string // empty until it is known
	Flags Flags

	PendingCommands int // sent and not answered yet
	Refcount        int // shown as at least 1

	LastPingSent    time.Duration // age of the oldest unanswered PING, 0 if none
	LastOKPingReply time.Duration // age of the last good reply
	LastPingReply   time.Duration // age of the last reply of any kind
	SDownTime       time.Duration // shown with FlagSDown only
	ODownTime       time.Duration // shown with FlagODown only
	DownAfter       time.Duration
}

// Master is what SENTINEL MASTER shows.
type Master struct {
	Name string
	Link
	FailoverState string // Sentinel's name of the phase, shown with FlagFailoverInProgress only

	InfoRefresh        time.Duration // age of the last INFO
	RoleReported       string        // "master" or "slave"; empty is shown as "master"
	RoleReportedTime   time.Duration // for how long it has reported this role
	ConfigEpoch        uint64
	NumReplicas        int
	NumOtherSentinels  int // without this one
	Quorum             int
	FailoverTimeout    time.Duration
	ParallelSyncs      int
	NotificationScript string // shown if it is set
	ReconfigScript     string // shown if it is set
}

// Instance is what SENTINEL REPLICAS shows of one replica.
type Instance struct {
	Name string // "host:port"; empty is shown as that
	Link

	InfoRefresh        time.Duration // age of the last INFO
	RoleReported       string        // "master" or "slave"; empty is shown as "slave"
	RoleReportedTime   time.Duration // for how long it has reported this role
	MasterLinkDownTime time.Duration
	MasterLinkUp       bool   // shown as "ok" or "err"
	MasterHost         string // the master that it says it follows; empty is shown as "?"
	MasterPort         int
	Priority           int
	ReplOffset         int64
	Unannounced        bool // replica-announced no
}

// Peer is what SENTINEL SENTINELS shows of one other watcher.
type Peer struct {
	Name string // empty is shown as the RunID
	Link

	LastHello        time.Duration // age of the last message from it
	VotedLeader      string        // empty is shown as "?"
	VotedLeaderEpoch uint64
}
