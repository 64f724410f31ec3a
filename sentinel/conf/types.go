package conf

import (
	"net"
	"strconv"
	"time"
)

// The values that Sentinel uses where the file says nothing (Redis 7.0, sentinel.c and its documentation).
const (
	// DefaultPort is the TCP port of the Sentinel protocol.
	DefaultPort = 26379
	// DefaultDownAfter is the silence after which an instance is held down.
	DefaultDownAfter = 30 * time.Second
	// DefaultFailoverTimeout bounds one failover.
	DefaultFailoverTimeout = 180 * time.Second
	// DefaultParallelSyncs is how many replicas are repointed at once.
	DefaultParallelSyncs = 1
)

// HostPort is one address as written in the file; Host is an IP address or a host name, Port is 1 to 65535.
type HostPort struct {
	Host string
	Port int
}

// String returns host:port, with brackets around an IPv6 address, ready to dial.
func (a HostPort) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// KnownSentinel is another watcher as a `sentinel known-sentinel` line names it; ID is empty in files of very old Sentinels.
type KnownSentinel struct {
	Host string
	Port int
	ID   string
}

// Addr returns the watcher's address without its ID.
func (k KnownSentinel) Addr() HostPort { return HostPort{Host: k.Host, Port: k.Port} }

// Master is one `sentinel monitor` line together with all lines that name it, with Sentinel's defaults filled in.
type Master struct {
	Name            string
	Host            string
	Port            int
	Quorum          int
	DownAfter       time.Duration
	FailoverTimeout time.Duration
	ParallelSyncs   int
	// AuthUser and AuthPass are for the Redis instances; AuthPass is a secret and must not be logged.
	AuthUser string
	AuthPass string
	// ConfigEpoch and LeaderEpoch are what the last rewrite recorded; 0 in a fresh file.
	ConfigEpoch    uint64
	LeaderEpoch    uint64
	KnownReplicas  []HostPort
	KnownSentinels []KnownSentinel
	// Fence and HoldUnfenced are what only triwatch has: "# triwatch: fence NAME on" and
	// "# triwatch: unfenced-failover NAME hold".
	Fence        bool
	HoldUnfenced bool
	// NotificationScript and ClientReconfigScript are paths as written, "" for none: relative to Dir, and not looked for
	// before File.CheckScripts.
	NotificationScript   string
	ClientReconfigScript string
	// RenamedCommands are the names that commands have in the instances' configuration, by their own.
	RenamedCommands map[string]string
	// MasterRebootDownAfter is how long a master that was started again may load; 0 is for ever.
	MasterRebootDownAfter time.Duration
	// Line is the line number of the `sentinel monitor` line, for messages.
	Line int
}

// Addr returns the master's address.
func (m Master) Addr() HostPort { return HostPort{Host: m.Host, Port: m.Port} }

// Warning is a line that is accepted but has no effect in triwatch; Text holds no secret.
type Warning struct {
	File string
	Line int
	// Text is the line with its secrets left out.
	Text string
	// Note says what triwatch does instead, as part of a sentence.
	Note string
}

// String returns "file:line: text: note".
func (w Warning) String() string { return position(w.File, w.Line, w.Text) + ": " + w.Note }

// File is a parsed sentinel.conf. It is not changed after Parse and may be read from several goroutines.
type File struct {
	// Name is the name given to Parse.
	Name string
	// Port is where the Sentinel protocol is served without TLS; 0 is nowhere.
	Port int
	// TLS is what the tls-* lines say.
	TLS TLS
	// Binds are the addresses of the last `bind` line as written: "*" is every address of IPv4, "-" in front of one means that it
	// may be unavailable. Empty means that the file has no such line, and Sentinel listens on all addresses.
	Binds []string
	// Dir is the data directory, or empty.
	Dir string
	// RequirePass is the password that clients of this watcher have to give, or empty; it is a secret.
	RequirePass string
	// Users are the `user` lines: who may log in, and what each may do.
	Users []User
	// UsersIncluded is set if some of them stand in an included file: none is rewritten then.
	UsersIncluded bool
	// ACLFile is the file that has the users instead, relative to Dir, or empty.
	ACLFile string
	// Protected is set by `protected-mode yes` where only that file tells whether the port is open: see Open.
	Protected bool
	// MyID is 40 hexadecimal digits, or empty before the first rewrite.
	MyID string
	// AnnounceIP and AnnouncePort replace this watcher's own address in what others are told; empty and 0 mean "find out".
	AnnounceIP   string
	AnnouncePort int
	// CurrentEpoch is the highest epoch that the last rewrite recorded.
	CurrentEpoch uint64
	// ResolveHostnames allows host names where otherwise only IP addresses are; AnnounceHostnames gives names to clients.
	ResolveHostnames  bool
	AnnounceHostnames bool
	// DenyScriptsReconfig is yes unless the file says no.
	DenyScriptsReconfig bool
	// SentinelUser and SentinelPass are Sentinel's credentials towards other Sentinels; kept but not used yet. The latter is a secret.
	SentinelUser string
	SentinelPass string
	// Masters are in the order of their `sentinel monitor` lines.
	Masters  []Master
	Warnings []Warning

	lines   []line
	scripts []script
}

// Master returns the master called name and whether there is one.
func (f *File) Master(name string) (Master, bool) {
	for _, m := range f.Masters {
		if m.Name == name {
			return m, true
		}
	}
	return Master{}, false
}

// State is what a watcher writes back: everything in it replaces what the file says.
type State struct {
	// MyID replaces the id; empty leaves it as it is.
	MyID         string
	CurrentEpoch uint64
	// Masters that the file does not monitor are left out; masters that State leaves out keep their lines.
	Masters []MasterState
	// Removed are masters whose lines go.
	Removed []string
	// Globals are values of directives without a master, by name without "sentinel":
	// announce-ip, ... An empty value takes the line out. What is not named stays.
	Globals map[string]string
	// Users replace the `user` lines; nil leaves them.
	Users []User
}

// User is one `user` line. Its rules may hold secrets.
type User struct {
	Name  string
	Rules []string
	Line  int
	file  string // the included one, or ""
}

// MasterState is the changing part of one master: where it is now, and whom the watcher has seen around it.
type MasterState struct {
	Name string
	// Addr is the current master; a zero Port leaves the address as it is.
	Addr        HostPort
	ConfigEpoch uint64
	LeaderEpoch uint64
	// KnownReplicas and KnownSentinels are complete: lines of others are taken out.
	KnownReplicas  []HostPort
	KnownSentinels []KnownSentinel
	// Added has a monitor line made if there is none, which needs Addr and Quorum.
	Added bool
	// Quorum replaces the monitor line's; 0 leaves it.
	Quorum int
	// Settings are values of directives that name the master, by name without
	// "sentinel": down-after-milliseconds, ..., and "rename-command COMMAND". An empty
	// value takes the line out. What is not named stays.
	Settings map[string]string
}

// State returns what the file itself says, which Rewrite turns into the same file (with missing epoch lines filled in).
func (f *File) State() State {
	s := State{MyID: f.MyID, CurrentEpoch: f.CurrentEpoch}
	for _, m := range f.Masters {
		s.Masters = append(s.Masters, MasterState{
			Name: m.Name, Addr: m.Addr(), ConfigEpoch: m.ConfigEpoch, LeaderEpoch: m.LeaderEpoch,
			KnownReplicas: m.KnownReplicas, KnownSentinels: m.KnownSentinels,
		})
	}
	return s
}
