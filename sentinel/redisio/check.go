package redisio

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// checkTimeout bounds Check where ctx has no earlier deadline.
const checkTimeout = 5 * time.Second

// Findings is what Check found, as sentences for people.
type Findings struct {
	Info sentinel.Info
	// Rights is what the instance lets us do, nil if it would not tell.
	Rights *sentinel.Rights
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
// depends on what is known of that otherwise, and is not among the Warnings. secure is nil
// for a connection without TLS.
func Check(ctx context.Context, addr sentinel.Addr, c Credentials, secure *tls.Config) (Findings, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err == nil {
		nc, err = secured(ctx, nc, addr, secure)
	}
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
	rights, err := l.askRights(checkTimeout)
	if err != nil {
		return k.found, fmt.Errorf("ask %s what is allowed: %w", addr, err)
	}
	k.found.Rights = rights
	k.allowed(rights)
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
		return // allowed says that CONFIG GET is refused
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

// allowed says what the user may not do, or the server does not have.
func (k *check) allowed(r *sentinel.Rights) {
	if r == nil {
		k.warn("who may send what could not be asked")
		return
	}
	if r.ReadOnly == sentinel.SettingOff && k.info.Role == sentinel.RoleMaster {
		k.add("replica-read-only is off: once fenced or demoted it would go on taking writes, so nothing is handed over from it; set it to yes")
	}
	if r.Unsure {
		k.warn("user %s may not ask what it may do (ACL DRYRUN, before Redis 7 ACL GETUSER), so its permissions cannot be checked", r.User)
	}
	for _, m := range r.Missing {
		why := r.Lacks(m.Right)
		switch m.Right {
		case sentinel.RightMove:
			k.add("%s (nor SLAVEOF): it can be neither promoted nor fenced nor made to follow", why)
		case sentinel.RightKill:
			k.warn("%s: clients of a demoted master are not sent away", why)
		case sentinel.RightPause, sentinel.RightUnpause:
			k.warn("%s: in a handover clients get errors for some milliseconds instead of waiting", why)
		case sentinel.RightRewrite:
			k.warn("%s: after a restart it has the role that its configuration file says", why)
		case sentinel.RightConfigGet, sentinel.RightConfigSet:
			k.warn("%s: repl-ping-replica-period stays as it is, and a silent master that was idle is believed later", why)
		case sentinel.RightListen:
			k.warn("%s: the listening connection ends after the idle timeout of the server", why)
		case sentinel.RightUnknown:
		}
	}
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
