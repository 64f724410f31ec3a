package redisio

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// checkTimeout bounds Check where ctx has no earlier deadline.
const checkTimeout = 5 * time.Second

// needed are the commands that triwatch sends, with arguments as it sends them.
// REPLICAOF is looked at separately, since SLAVEOF does as well.
var needed = [][]string{
	{"PING"}, {"INFO"},
	{"CONFIG", "GET", "repl-ping-replica-period"}, {"CONFIG", "SET", "repl-ping-replica-period", "1"}, {"CONFIG", "REWRITE"},
	{"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}, {"CLIENT", "PAUSE", "1", "WRITE"}, {"CLIENT", "UNPAUSE"},
	{"SUBSCRIBE", WatchChannel},
}

// Findings is what Check found, as sentences for people.
type Findings struct {
	Info sentinel.Info
	// Problems keep triwatch from watching or moving the instance.
	Problems []string
	// Warnings should be known, and may be as they are meant to be.
	Warnings []string
	// Keeps is what it has when it comes back after a crash.
	Keeps Keeps
	// ConfigFile is the file that it was started with, "" if there was none or it is not known.
	ConfigFile string
}

// Keeps is what an instance has when it comes back. Zero is unknown.
type Keeps int

// The kinds of persistence.
const (
	KeepsUnknown Keeps = iota
	// KeepsNothing is no persistence. What a full sync once left in dump.rdb is loaded all the same.
	KeepsNothing
	// KeepsDumps are save points without an append-only file.
	KeepsDumps
	// KeepsAll is an append-only file.
	KeepsAll
)

// BootWarning says what comes of the way in which an instance boots, and what to
// change, "" if all is well. One that boots as a master gives what it has to replicas that
// reconnect in the moment before anybody can act.
func (f Findings) BootWarning(boots sentinel.Boot) string {
	change := "; start it with --replicaof 127.0.0.1 0 on its command line, or set appendonly to yes"
	if f.ConfigFile != "" {
		change = "; start it with --replicaof 127.0.0.1 0 after the file on its command line (not in " + f.ConfigFile +
			", which is rewritten with every failover), or set appendonly to yes"
	}
	const comes = ", so after a crash its replicas may copy that before anybody can act"
	switch {
	case boots == sentinel.BootReplica:
		return ""
	case f.Keeps == KeepsNothing && boots == sentinel.BootMaster:
		return "it has no persistence (save is empty, appendonly is no) and was seen to boot as a master: it comes back as an empty one" + comes + change
	case f.Keeps == KeepsNothing:
		return "it has no persistence (save is empty, appendonly is no) and is not known to boot as a replica: " +
			"if it boots as a master, it comes back as an empty one" + comes + change
	case f.Keeps == KeepsDumps && boots == sentinel.BootMaster:
		return "it keeps dumps only (appendonly is no) and was seen to boot as a master: it comes back with its last dump" + comes + change
	}
	return ""
}

// Check reaches one instance without changing anything and says what would keep
// triwatch from watching or moving it. The error is set if it cannot be reached or
// gives no INFO. How an instance is started cannot be asked: what BootWarning says
// depends on what is known of that otherwise, and is not among the Warnings.
func Check(ctx context.Context, addr sentinel.Addr, c Credentials) (Findings, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return Findings{}, fmt.Errorf("reach %s: %w", addr, err)
	}
	l := newLink(nc, addr, c, "")
	defer l.close()
	defer context.AfterFunc(ctx, l.wire.expire)()
	a := l.pingInfo(checkTimeout, true)
	if a.info == nil {
		return Findings{}, fmt.Errorf("ask %s for INFO: %s (%s)", addr, a.detail, a.reply)
	}
	k := &check{ctx: ctx, link: l, info: a.info, found: Findings{Info: *a.info}}
	if a.reply != sentinel.ReplyOK {
		k.add("it answers PING with an error: %s", a.detail)
	}
	k.state()
	k.persistence()
	k.masterReadOnly()
	k.permissions()
	return k.found, nil
}

type check struct {
	ctx   context.Context
	link  *link
	info  *sentinel.Info
	found Findings
}

func (k *check) add(format string, args ...any) {
	k.found.Problems = append(k.found.Problems, fmt.Sprintf(format, args...))
}

func (k *check) warn(format string, args ...any) {
	k.found.Warnings = append(k.found.Warnings, fmt.Sprintf(format, args...))
}

// state looks at what INFO says.
func (k *check) state() {
	i := k.info
	if i.Loading {
		k.add("it is still loading its data set (%.0f %%)", i.LoadingPercent)
	}
	if v, ok := version(i.Version); ok && v < 602 {
		k.warn("Redis %s has no CLIENT PAUSE WRITE (6.2 has): in a handover clients get errors for some milliseconds instead of waiting", i.Version)
	}
	if i.Role != sentinel.RoleReplica {
		return
	}
	if !i.ReadOnly {
		k.add("replica-read-only is off: writes to this replica are lost, and a fenced master could go on writing; set it to yes")
	}
	if i.Priority == 0 {
		k.warn("replica-priority is 0: it is never promoted")
	}
	if !i.Announced {
		k.warn("replica-announced is off: the master's INFO does not list it, so it must be named in the configuration")
	}
	if !i.Fenced() && !i.LinkUp {
		k.add("its link to the master %s is down", i.Master)
	}
}

// persistence finds out what the instance has when it comes back.
func (k *check) persistence() {
	save, errSave := k.link.conn.ConfigGet(k.ctx, "save").Result()
	aof, errAOF := k.link.conn.ConfigGet(k.ctx, "appendonly").Result()
	if errSave != nil || errAOF != nil {
		return // permissions says that CONFIG GET is refused
	}
	switch {
	case aof["appendonly"] == "yes":
		k.found.Keeps = KeepsAll
		return
	case save["save"] != "":
		k.found.Keeps = KeepsDumps
	default:
		k.found.Keeps = KeepsNothing
	}
	text, err := k.link.conn.Info(k.ctx, "server").Result()
	if err != nil {
		return // the sentence goes without the file's name
	}
	for line := range strings.Lines(text) {
		if file, ok := strings.CutPrefix(line, "config_file:"); ok {
			k.found.ConfigFile = strings.TrimSpace(file)
		}
	}
}

// masterReadOnly looks at the setting that a master's INFO does not show.
func (k *check) masterReadOnly() {
	if k.info.Role != sentinel.RoleMaster {
		return
	}
	found, err := k.link.conn.ConfigGet(k.ctx, "replica-read-only").Result()
	if err == nil && found["replica-read-only"] == "no" {
		k.add("replica-read-only is off: once fenced or demoted it would go on taking writes; set it to yes")
	}
}

// permissions asks the server whether the user may do what triwatch does. Only Redis
// 7 can tell without doing it.
func (k *check) permissions() {
	user, err := k.link.conn.Do(k.ctx, "ACL", "WHOAMI").Text()
	if err != nil {
		if v, ok := version(k.info.Version); ok && v >= 600 {
			k.add("ACL WHOAMI is refused (%v), so permissions cannot be checked", err)
		}
		return
	}
	if ok, why := k.allowed(user, []string{"REPLICAOF", "NO", "ONE"}); !ok {
		if ok, _ := k.allowed(user, []string{"SLAVEOF", "NO", "ONE"}); !ok {
			k.add("user %s may send neither REPLICAOF nor SLAVEOF, so nothing can be promoted: %s", user, why)
		}
	}
	for _, cmd := range needed {
		if ok, why := k.allowed(user, cmd); !ok {
			k.add("user %s may not send %s: %s", user, strings.Join(cmd[:min(len(cmd), 2)], " "), why)
		}
	}
}

// allowed asks ACL DRYRUN; a server that cannot tell (before 7, or by its own ACL)
// gets the benefit of the doubt.
func (k *check) allowed(user string, cmd []string) (ok bool, why string) {
	args := []any{"ACL", "DRYRUN", user}
	for _, a := range cmd {
		args = append(args, a)
	}
	text, err := k.link.conn.Do(k.ctx, args...).Text()
	if err != nil || text == "OK" {
		return true, ""
	}
	return false, text
}

// version turns 7.0.15 into 700 and 6.2.1 into 602.
func version(text string) (int, bool) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) < 2 {
		return 0, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, false
	}
	minor, err := strconv.Atoi(parts[1])
	return major*100 + minor, err == nil
}
