package sentinel

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Info is what INFO says, as far as decisions need it. One Info comes from one
// instance at one moment and is never changed afterwards.
type Info struct {
	RunID   string
	Version string
	Role    Role
	// Full is set when the server, persistence and keyspace sections were there too.
	Full bool

	Loading        bool
	LoadingPercent float64

	// Offset is master_repl_offset of a master and slave_repl_offset of a
	// replica, in bytes of the replication stream.
	Offset       int64
	ReplID       string
	ReplID2      string
	SecondOffset int64
	// Keys is the number of keys over all databases, -1 if unknown.
	Keys int64

	// The rest is about a replica's link to its master.
	Master      Addr
	LinkUp      bool
	Syncing     bool
	SyncPercent float64
	// LinkDownFor is in seconds, -1 if the link was never up.
	LinkDownFor int64
	Priority    int
	ReadOnly    bool
	Announced   bool

	// Limited is set when min-replicas-to-write and min-replicas-max-lag are both not
	// zero; Good is then how many replicas have acknowledged lately enough.
	Limited bool
	Good    int

	// Replicas are the ones that a master says are attached to it.
	Replicas []Attached
}

// Attached is one replica as its master's INFO describes it.
type Attached struct {
	Addr   Addr
	Online bool
	Offset int64
	// Lag is the time since the last acknowledgement, in seconds.
	Lag int64
}

// ErrInfo is returned for a text that is not an INFO reply.
var ErrInfo = errors.New("reply has no replication section")

// Fenced reports whether the instance follows the address that reaches nobody.
func (i *Info) Fenced() bool { return i.Role == RoleReplica && i.Master == FenceAddr }

// Empty reports whether the instance is known to hold no key. One that loads says how
// many it has so far.
func (i *Info) Empty() bool { return i.Keys == 0 && !i.Loading }

// ParseInfo reads an INFO reply, whole or the replication section alone. Fields
// that are missing or malformed keep their zero value (Keys: -1), because a newer
// or older server may write others; only a text without a role is an error.
func ParseInfo(text string) (Info, error) {
	p := infoParser{info: Info{Keys: -1, Priority: 100, LinkDownFor: -1, ReadOnly: true, Announced: true}}
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "# Keyspace" {
			p.info.Keys, p.info.Full = 0, true
			continue
		}
		if k, v, ok := strings.Cut(line, ":"); ok {
			p.field(k, v)
		}
	}
	p.finish()
	if p.info.Role == RoleUnknown {
		return Info{}, ErrInfo
	}
	return p.info, nil
}

type infoParser struct {
	info                        Info
	masterOffset, replicaOffset int64
	total, read                 int64
}

func (p *infoParser) field(k, v string) {
	i := &p.info
	switch k {
	case "run_id":
		i.RunID = v
	case "redis_version":
		i.Version = v
	case "role":
		switch v {
		case "master":
			i.Role = RoleMaster
		case "slave", "replica":
			i.Role = RoleReplica
		}
	case "loading":
		i.Loading = v == "1"
	case "loading_loaded_perc":
		i.LoadingPercent = number(v)
	case "master_replid":
		i.ReplID = v
	case "master_replid2":
		if strings.Trim(v, "0") != "" {
			i.ReplID2 = v
		}
	case "second_repl_offset":
		i.SecondOffset = integer(v)
	case "master_repl_offset":
		p.masterOffset = integer(v)
	default:
		p.link(k, v)
	}
}

func (p *infoParser) link(k, v string) {
	i := &p.info
	switch k {
	case "slave_repl_offset":
		p.replicaOffset = integer(v)
	case "master_host":
		i.Master.Host = v
	case "master_port":
		i.Master.Port = int(integer(v))
	case "master_link_status":
		i.LinkUp = v == "up"
	case "master_link_down_since_seconds":
		i.LinkDownFor = integer(v)
	case "master_sync_in_progress":
		i.Syncing = v == "1"
	case "master_sync_total_bytes":
		p.total = integer(v)
	case "master_sync_read_bytes":
		p.read = integer(v)
	case "slave_priority":
		i.Priority = int(integer(v))
	case "slave_read_only":
		i.ReadOnly = v != "0"
	case "replica_announced":
		i.Announced = v != "0"
	case "min_slaves_good_slaves":
		i.Limited, i.Good = true, int(integer(v))
	default:
		p.numbered(k, v)
	}
}

// numbered reads the lines whose names carry a number: slave0:..., db0:...
func (p *infoParser) numbered(k, v string) {
	switch {
	case strings.HasPrefix(k, "slave") && isDigits(k[len("slave"):]):
		p.info.Replicas = append(p.info.Replicas, parseAttached(v))
	case strings.HasPrefix(k, "db") && isDigits(k[len("db"):]):
		// Only a database with keys has a line: an unreadable number is not zero.
		n := max(integer(pairs(v)["keys"]), 1)
		p.info.Keys = max(p.info.Keys, 0)
		p.info.Keys += min(n, math.MaxInt64-p.info.Keys)
	}
}

func (p *infoParser) finish() {
	i := &p.info
	i.Offset = p.masterOffset
	if i.Role == RoleReplica {
		i.Offset = p.replicaOffset
		if p.replicaOffset <= 1 {
			// While a replica follows nobody, and after a full sync that broke off, only its
			// own master_repl_offset says what it has.
			i.Offset = max(p.replicaOffset, p.masterOffset, 0)
		}
	}
	i.Offset = max(i.Offset, 0)
	if p.total > 0 {
		i.SyncPercent = float64(p.read) * 100 / float64(p.total)
	}
}

func parseAttached(v string) Attached {
	f := pairs(v)
	return Attached{
		Addr:   Addr{Host: f["ip"], Port: int(integer(f["port"]))},
		Online: f["state"] == "online",
		Offset: integer(f["offset"]),
		Lag:    integer(f["lag"]),
	}
}

func pairs(v string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(v, ",") {
		if k, val, ok := strings.Cut(part, "="); ok {
			out[k] = val
		}
	}
	return out
}

func integer(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func number(v string) float64 {
	f, err := strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
