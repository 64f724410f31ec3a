package resp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Monitored is a master to be watched, as SENTINEL MONITOR names it.
type Monitored struct {
	Name, Host string
	Port       int
	Quorum     int
	// DownAfter and FailoverTimeout are what SENTINEL DEBUG makes of the defaults.
	DownAfter, FailoverTimeout time.Duration
}

// Setting is one option of SENTINEL SET or CONFIG SET with its value. Name is in
// small letters.
type Setting struct {
	Name, Value string
	// To is the second value of rename-command, the command's new name.
	To string
}

var (
	// ErrDuplicate is returned by Monitor for a name that is taken. Clients see "-ERR
	// Duplicate master name.".
	ErrDuplicate = errors.New("duplicate master name")

	// ErrNoQuorum is returned for a change that cannot be committed now. Clients see
	// "-NOQUORUM <the error's text>".
	ErrNoQuorum = errors.New("the watchers have no quorum")

	// ErrNoConfigFile is returned by FlushConfig where there is no file that can be
	// written. Clients see Sentinel's error.
	ErrNoConfigFile = errors.New("the configuration file cannot be written")
)

// InvalidSetting is returned by Set for a value that cannot work. Clients see
// Sentinel's "-ERR Invalid argument ... for SENTINEL SET ..." and the reason.
type InvalidSetting struct {
	Setting
	Why string
}

func (e *InvalidSetting) Error() string {
	return "Invalid argument '" + e.Value + "' for SENTINEL SET '" + e.Name + "': " + e.Why
}

// change runs a change of the registry within its time.
func (c *conn) change(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.opts.FailoverTimeout)
	defer cancel()
	return f(ctx)
}

// answerChange says how a change went.
func (c *conn) answerChange(err error) {
	switch {
	case err == nil:
		c.w.Simple("OK")
	case errors.Is(err, ErrNoSuchMaster):
		c.w.Error(errNoMaster)
	case errors.Is(err, ErrDuplicate):
		c.w.Error("ERR Duplicate master name.")
	case errors.Is(err, ErrNoQuorum):
		c.w.Error("NOQUORUM " + err.Error())
	default:
		c.w.Error("ERR " + err.Error())
	}
}

// maxMasterName bounds a master's name, which is in every event about it.
const maxMasterName = 255

// unquoted says whether a name can stand in sentinel.conf without quotes: Sentinel
// takes others and then writes a file that it cannot read.
func unquoted(s string) bool {
	return s != "" && len(s) <= maxMasterName && s[0] != '#' && printable([]byte(s)) && !strings.ContainsAny(s, `"'\`)
}

func (c *conn) sentinelMonitor(args [][]byte) {
	quorum, ok := parseInt(args[5])
	if !ok {
		c.w.Error("ERR Invalid quorum")
		return
	}
	port, ok := parseInt(args[4])
	switch {
	case !ok:
		c.w.Error("ERR Invalid port number")
		return
	case quorum <= 0:
		c.w.Error("ERR Quorum must be 1 or greater.")
		return
	}
	m := Monitored{Name: string(args[2]), Host: string(args[3]), DownAfter: c.srv.DebugValue(DebugDownAfter),
		FailoverTimeout: c.srv.DebugValue(DebugFailoverTimeout)}
	if _, err := netip.ParseAddr(m.Host); err != nil && (c.srv.global("resolve-hostnames") != "yes" || !unquoted(m.Host)) {
		c.w.Error("ERR Invalid IP address or hostname specified")
		return
	}
	switch {
	case port < 0 || port > 65535:
		c.w.Error("ERR Invalid port number.")
		return
	case port == 0:
		c.w.Error("ERR Invalid port number: nothing answers at port 0")
		return
	case !unquoted(m.Name):
		c.w.Error("ERR Invalid master name: it must not be empty, longer than 255 bytes, or hold blanks, quotes or control characters")
		return
	case quorum > 1<<31-1:
		c.w.Error("ERR Invalid quorum")
		return
	}
	m.Port, m.Quorum = int(port), int(quorum)
	c.answerChange(c.change(func(ctx context.Context) error { return c.srv.backend.Monitor(ctx, m) }))
}

func (c *conn) sentinelRemove(args [][]byte) {
	c.answerChange(c.change(func(ctx context.Context) error { return c.srv.backend.Remove(ctx, string(args[2])) }))
}

func (c *conn) sentinelReset(args [][]byte) {
	n, pattern := int64(0), string(args[2])
	for _, m := range c.srv.backend.Masters() {
		if !matchGlob(pattern, m.Name) {
			continue
		}
		if err := c.change(func(ctx context.Context) error { return c.srv.backend.Reset(ctx, m.Name) }); err != nil {
			c.answerChange(err)
			return
		}
		n++
	}
	c.w.Int(n)
}

// sentinelSet checks all options first and then changes them together: unlike in
// Sentinel nothing is changed if one of them is wrong.
func (c *conn) sentinelSet(args [][]byte) {
	name := string(args[2])
	if _, ok := c.srv.backend.Master(name); !ok {
		c.w.Error(errNoMaster)
		return
	}
	var settings []Setting
	for words := args[3:]; len(words) > 0; {
		s, used, wrong := c.setting(words)
		if wrong != "" {
			c.w.Error(wrong)
			return
		}
		settings = append(settings, s)
		words = words[used:]
	}
	err := c.change(func(ctx context.Context) error { return c.srv.backend.Set(ctx, name, settings) })
	var invalid *InvalidSetting
	if errors.As(err, &invalid) {
		c.w.Error("ERR " + invalid.Error())
		return
	}
	c.answerChange(err)
}

// setting reads one option with its value, and says how many words that were.
func (c *conn) setting(words [][]byte) (s Setting, used int, wrong string) {
	s.Name = strings.ToLower(string(words[0]))
	unknown := "ERR Unknown option or number of arguments for SENTINEL SET '" + clip(words[0], 128) + "'"
	if len(words) < 2 {
		return s, 0, unknown
	}
	s.Value, used = string(words[1]), 2
	invalid := "ERR Invalid argument '" + clip(words[1], 128) + "' for SENTINEL SET '" + clip(words[0], 128) + "'"
	least := int64(1)
	switch s.Name {
	case "master-reboot-down-after-period":
		least = 0
		fallthrough
	case "quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs":
		n, ok := parseInt(words[1])
		if !ok || n < least {
			return s, 0, invalid
		}
		if n > 1<<31-1 {
			return s, 0, invalid + ": it is larger than 2147483647"
		}
	case "auth-pass", "auth-user":
		if strings.ContainsAny(s.Value, "\x00\r\n") {
			return s, 0, "ERR Invalid argument for SENTINEL SET '" + s.Name + "': it must not hold line breaks or zero bytes"
		}
	case "notification-script", "client-reconfig-script":
		return s, used, c.checkScript(s)
	case "rename-command":
		if len(words) < 3 {
			return s, 0, unknown
		}
		s.To, used = string(words[2]), 3
		for _, w := range []string{s.Value, s.To} {
			if w == "" {
				return s, 0, "ERR Invalid argument '' for SENTINEL SET 'rename-command'"
			}
			if !unquoted(w) {
				return s, 0, "ERR Invalid argument for SENTINEL SET 'rename-command': it must not hold blanks, quotes or control characters"
			}
		}
	default:
		return s, 0, unknown
	}
	return s, used, ""
}

// checkScript says why a script must not be set.
func (c *conn) checkScript(s Setting) string {
	if c.srv.backend.DenyScripts() {
		return "ERR Reconfiguration of scripts path is denied for security reasons. Check the deny-scripts-reconfig configuration directive in your Sentinel configuration"
	}
	if s.Value == "" {
		return ""
	}
	if i, err := os.Stat(s.Value); err == nil && i.Mode().Perm()&0o111 != 0 && !strings.ContainsAny(s.Value, "\x00\r\n") {
		return ""
	}
	if s.Name == "notification-script" {
		return "ERR Notification script seems non existing or non executable"
	}
	return "ERR Client reconfiguration script seems non existing or non executable"
}
