package resp

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// CachedInfo is the latest INFO of one instance, as it came.
type CachedInfo struct {
	Age  time.Duration // since it came
	Text string        // empty is "none yet"
}

// Script is one entry of the script queue.
type Script struct {
	Argv    []string
	Running bool
	PID     int           // 0 while it waits
	RunTime time.Duration // for how long it has been running
	Delay   time.Duration // until it is tried, if it waits
	Retries int
}

// sentinelPendingScripts shows the queue. What has to do with the other state of a
// script is left out, as in Sentinel.
func (c *conn) sentinelPendingScripts([][]byte) {
	scripts := c.srv.backend.PendingScripts()
	c.w.Array(len(scripts))
	for _, s := range scripts {
		c.w.Map(5)
		c.w.Bulk("argv")
		c.bulks(s.Argv)
		flags, what, ms := "scheduled", "run-delay", max(0, s.Delay.Milliseconds())
		if s.Running {
			flags, what, ms = "running", "run-time", s.RunTime.Milliseconds()
		}
		c.w.Bulk("flags")
		c.w.Bulk(flags)
		c.w.Bulk("pid")
		c.w.BulkInt(int64(s.PID))
		c.w.Bulk(what)
		c.w.BulkInt(ms)
		c.w.Bulk("retry-num")
		c.w.BulkInt(int64(s.Retries))
	}
}

// sentinelInfoCache shows, of each named master that is known, the INFO of the
// master and then of its replicas.
func (c *conn) sentinelInfoCache(args [][]byte) {
	type cached struct {
		name  string
		infos []CachedInfo
	}
	var list []cached
	seen := map[string]bool{}
	for _, a := range args[2:] {
		name := string(a)
		if infos, ok := c.srv.backend.InfoCache(name); ok && !seen[name] {
			seen[name] = true
			list = append(list, cached{name, infos})
		}
	}
	c.w.Array(2 * len(list))
	for _, m := range list {
		c.w.Bulk(m.name)
		c.w.Array(len(m.infos))
		for _, i := range m.infos {
			c.w.Array(2)
			if i.Text == "" {
				c.w.Int(0)
				c.w.Null()
				continue
			}
			c.w.Int(i.Age.Milliseconds())
			c.w.Bulk(i.Text)
		}
	}
}

// sentinelIsMasterDown tells what this watcher holds to be true. It votes for nobody:
// who fails over is decided among the watchers alone, and a foreign Sentinel that
// collected votes here would act beside them.
func (c *conn) sentinelIsMasterDown(args [][]byte) {
	port, ok := parseInt(args[3])
	_, ok2 := parseInt(args[4])
	if !ok || !ok2 {
		c.w.Error(errInteger)
		return
	}
	down := int64(0)
	if c.srv.backend.IsMasterDown(string(args[2]), int(port)) {
		down = 1
	}
	c.w.Array(3)
	c.w.Int(down)
	c.w.Bulk("*")
	c.w.Int(0)
}

func (c *conn) sentinelFlushConfig([][]byte) {
	switch err := c.srv.backend.FlushConfig(); {
	case err == nil:
		c.w.Simple("OK")
	case errors.Is(err, ErrNoConfigFile):
		c.w.Error("ERR " + err.Error())
	default:
		c.w.Error("ERR Failed to save config file: " + err.Error())
	}
}

const errConfigUse = "ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported."

// sentinelConfig shows or changes what is this watcher's own.
func (c *conn) sentinelConfig(args [][]byte) {
	switch {
	case is(args[2], "get") && len(args) > 3:
		c.configGet(args[3:])
	case is(args[2], "set") && len(args) > 4 && len(args)%2 == 1:
		c.configSet(args[3:])
	default:
		c.w.Error(errConfigUse)
	}
}

func (c *conn) configGet(patterns [][]byte) {
	var out []Setting
	for _, s := range c.srv.backend.Globals() {
		for _, p := range patterns {
			if matchGlob(strings.ToLower(string(p)), s.Name) {
				out = append(out, s)
				break
			}
		}
	}
	c.w.Map(len(out))
	for _, s := range out {
		c.w.Bulk(s.Name)
		c.w.Bulk(s.Value)
	}
}

// global is one setting of this watcher.
func (s *Server) global(name string) string {
	for _, g := range s.backend.Globals() {
		if g.Name == name {
			return g.Value
		}
	}
	return ""
}

// configSet checks all pairs before it sets any.
func (c *conn) configSet(words [][]byte) {
	var set []Setting
	for ; len(words) > 0; words = words[2:] {
		s := Setting{Name: strings.ToLower(string(words[0])), Value: string(words[1])}
		var ok bool
		switch s.Name {
		case "resolve-hostnames", "announce-hostnames":
			s.Value = strings.ToLower(s.Value)
			ok = s.Value == "yes" || s.Value == "no"
		case "announce-port":
			n, err := strconv.ParseUint(s.Value, 10, 16)
			ok = err == nil && s.Value == strconv.FormatUint(n, 10)
		case "announce-ip":
			ok = s.Value == "" || unquoted(s.Value)
		case "sentinel-user", "sentinel-pass":
			ok = !strings.ContainsAny(s.Value, "\x00\r\n")
		default:
			c.w.Error("ERR Invalid argument '" + clip(words[0], 128) + "' to SENTINEL CONFIG SET")
			return
		}
		for _, other := range set {
			if other.Name == s.Name {
				c.w.Error("ERR Duplicate argument '" + s.Name + "' to SENTINEL CONFIG SET")
				return
			}
		}
		if !ok {
			c.w.Error("ERR Invalid value '" + clip(words[1], 128) + "' to SENTINEL CONFIG SET '" + clip(words[0], 128) + "'")
			return
		}
		set = append(set, s)
	}
	if err := c.srv.backend.SetGlobals(set); err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	c.w.Simple("OK")
}

// shutdown ends the watcher. Like Redis it says nothing if that works: the connection
// is closed.
func (c *conn) shutdown(args [][]byte) {
	abort := false
	for _, a := range args[1:] {
		switch {
		case is(a, "nosave"), is(a, "save"), is(a, "now"), is(a, "force"):
		case is(a, "abort"):
			abort = true
		default:
			c.w.Error(errSyntax)
			return
		}
	}
	save := func(word string) bool {
		for _, a := range args[1:] {
			if is(a, word) {
				return true
			}
		}
		return false
	}
	switch {
	case abort && len(args) > 2, save("save") && save("nosave"):
		c.w.Error(errSyntax)
	case abort:
		c.w.Error("ERR No shutdown in progress.")
	default:
		c.quit = true
		c.srv.backend.Shutdown()
	}
}
