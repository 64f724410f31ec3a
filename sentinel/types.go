package sentinel

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Time is a moment on one watcher's monotonic clock, counted from an arbitrary
// start. Times of different watchers are never compared.
type Time = time.Duration

// InstanceID identifies one Redis instance for as long as it lives. On hosts it
// is the address, on Kubernetes the pod's UID.
type InstanceID string

// WatcherID identifies one watcher: its Raft server ID, 40 hexadecimal digits,
// which is also what SENTINEL MYID answers.
type WatcherID string

// Addr is where an instance answers. The zero value means "none".
type Addr struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// String returns host:port, with brackets around an IPv6 address, and "none"
// for the zero value.
func (a Addr) String() string {
	if a.IsZero() {
		return "none"
	}
	if strings.Contains(a.Host, ":") {
		return "[" + a.Host + "]:" + strconv.Itoa(a.Port)
	}
	return a.Host + ":" + strconv.Itoa(a.Port)
}

// IsZero reports whether there is no address.
func (a Addr) IsZero() bool { return a.Host == "" && a.Port == 0 }

// Same reports whether two addresses name the same endpoint: host names compare
// without case, IP addresses by value.
func (a Addr) Same(b Addr) bool {
	if a == b {
		return true
	}
	if a.Port != b.Port {
		return false
	}
	ia, errA := netip.ParseAddr(a.Host)
	ib, errB := netip.ParseAddr(b.Host)
	if errA == nil && errB == nil {
		return ia.Unmap() == ib.Unmap()
	}
	return strings.EqualFold(a.Host, b.Host)
}

// IsName reports whether the host is a name, which has to be looked up.
func (a Addr) IsName() bool {
	_, err := netip.ParseAddr(a.Host)
	return err != nil && a.Host != ""
}

// plain is the one spelling that stands for all of an address, for use as a key.
func (a Addr) plain() Addr {
	ip, err := netip.ParseAddr(a.Host)
	switch {
	case err != nil:
		a.Host = strings.ToLower(a.Host)
	case !ip.Is4(): // there is only one way to write those
		a.Host = ip.Unmap().String()
	}
	return a
}

// FenceAddr is where a fenced instance is told to replicate from. Port 0 never
// reaches a server; any other literal port may be somebody's Redis.
var FenceAddr = Addr{Host: "127.0.0.1", Port: 0}

// Epoch numbers the assignments of mastership of one master: generation times
// 2^32 plus a counter. Epochs only grow and are never used twice.
type Epoch uint64

// MakeEpoch builds an epoch from its generation and counter.
func MakeEpoch(generation, counter uint32) Epoch {
	return Epoch(generation)<<32 | Epoch(counter)
}

// Generation is the part that grows when a Raft state was lost.
func (e Epoch) Generation() uint32 { return uint32(e >> 32) }

// Counter is the part that grows with every plan.
func (e Epoch) Counter() uint32 { return uint32(e) }

// String shows the counter alone in generation 0, generation.counter otherwise.
func (e Epoch) String() string {
	if e.Generation() == 0 {
		return strconv.FormatUint(uint64(e.Counter()), 10)
	}
	return fmt.Sprintf("%d.%d", e.Generation(), e.Counter())
}

// Role is what an instance says of itself. Zero is unknown.
type Role int

// The roles an instance can report.
const (
	RoleUnknown Role = iota
	RoleMaster
	RoleReplica
)

// String returns the word that people read.
func (r Role) String() string {
	switch r {
	case RoleMaster:
		return "master"
	case RoleReplica:
		return "replica"
	case RoleUnknown:
		return "unknown"
	}
	return "unknown"
}

// Lineage says which data set an instance holds and how far it has got.
type Lineage struct {
	RunID  string `json:"runId,omitempty"`
	ReplID string `json:"replId,omitempty"`
	Offset int64  `json:"offset"`
	// Empty is set when the instance was known to hold no key.
	Empty bool `json:"empty,omitempty"`
}

// Assignment is one committed answer to "who is the master".
type Assignment struct {
	Epoch    Epoch      `json:"epoch"`
	Instance InstanceID `json:"instance"`
	Addr     Addr       `json:"addr"`
	// Name is for people, "" where the address is all that there is.
	Name string `json:"name,omitempty"`
}

// String returns the name, or the address where there is none.
func (a Assignment) String() string { return called(a.Name, a.Addr) }

// isCalled reports whether people mean an instance by a word: its ID, its name or its
// address. The empty word means nobody.
func isCalled(word string, id InstanceID, name string, a Addr) bool {
	return word != "" && (word == string(id) || word == name || word == a.String())
}

// called is how people call an instance.
func called(name string, a Addr) string {
	if name != "" {
		return name
	}
	return a.String()
}
