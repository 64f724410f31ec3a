package resp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

func (c *conn) clientID([][]byte) { c.w.Int(c.id) }

func (c *conn) clientInfo([][]byte) { c.w.Verbatim("txt", c.describe(time.Now())) }

// clientType says whether a connection is of that type; ok is false for a type that
// there is none of.
func (s *Server) clientType(kind []byte) (of func(*conn) bool, ok bool) {
	switch k := strings.ToLower(string(kind)); k {
	case "normal", "pubsub":
		return func(o *conn) bool {
			channels, patterns := s.hub.counts(o)
			return (channels+patterns > 0) == (k == "pubsub")
		}, true
	case "master", "replica", "slave":
		return func(*conn) bool { return false }, true
	}
	return nil, false
}

func (c *conn) clientList(args [][]byte) {
	keep := func(*conn) bool { return true }
	switch {
	case len(args) == 4 && is(args[2], "type"):
		of, ok := c.srv.clientType(args[3])
		if !ok {
			c.w.Error("ERR Unknown client type '" + clip(args[3], 128) + "'")
			return
		}
		keep = of
	case len(args) > 3 && is(args[2], "id"):
		ids := map[int64]bool{}
		for _, a := range args[3:] {
			n, ok := parseInt(a)
			if !ok {
				c.w.Error("ERR Invalid client ID")
				return
			}
			ids[n] = true
		}
		keep = func(o *conn) bool { return ids[o.id] }
	case len(args) > 2:
		c.w.Error(errSyntax)
		return
	}
	var b strings.Builder
	now := time.Now()
	for _, o := range c.srv.connections() {
		if keep(o) {
			b.WriteString(o.describe(now))
		}
	}
	c.w.Verbatim("txt", b.String())
}

// clientKill ends connections. The old form names one by its address, the new one
// by any number of conditions.
func (c *conn) clientKill(args [][]byte) {
	if len(args) == 3 {
		for _, o := range c.srv.connections() {
			if o.nc.RemoteAddr().String() == string(args[2]) {
				c.end1(o)
				c.w.Simple("OK")
				return
			}
		}
		c.w.Error("ERR No such client")
		return
	}
	skipMe := true
	var match []func(*conn) bool
	for rest := args[2:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) < 2 {
			c.w.Error(errSyntax)
			return
		}
		if is(rest[0], "skipme") {
			if skipMe = is(rest[1], "yes"); !skipMe && !is(rest[1], "no") {
				c.w.Error(errSyntax)
				return
			}
			continue
		}
		f, wrong := c.killCondition(rest[0], string(rest[1]))
		if wrong != "" {
			c.w.Error(wrong)
			return
		}
		match = append(match, f)
	}
	n := int64(0)
	for _, o := range c.srv.connections() {
		if o == c && skipMe || slices.ContainsFunc(match, func(f func(*conn) bool) bool { return !f(o) }) {
			continue
		}
		c.end1(o)
		n++
	}
	c.w.Int(n)
}

func (c *conn) killCondition(option []byte, value string) (f func(*conn) bool, wrong string) {
	switch strings.ToLower(string(option)) {
	case "id":
		id, ok := parseInt([]byte(value))
		if !ok || id < 1 {
			return nil, "ERR client-id should be greater than 0"
		}
		return func(o *conn) bool { return o.id == id }, ""
	case "type":
		of, ok := c.srv.clientType([]byte(value))
		if !ok {
			return nil, "ERR Unknown client type '" + clip([]byte(value), 128) + "'"
		}
		return of, ""
	case "addr":
		return func(o *conn) bool { return o.nc.RemoteAddr().String() == value }, ""
	case "laddr":
		return func(o *conn) bool { return o.nc.LocalAddr().String() == value }, ""
	case "user":
		u := c.srv.user(value)
		if u == nil {
			return nil, "ERR No such user '" + clip([]byte(value), 128) + "'"
		}
		return func(o *conn) bool { return o.who.Load() == u }, ""
	}
	return nil, errSyntax
}

// end1 ends one connection, this one after its reply.
func (c *conn) end1(o *conn) {
	if o == c {
		c.quit = true
		return
	}
	o.kill()
}

func (c *conn) clientReply(args [][]byte) {
	switch {
	case is(args[2], "on"):
		c.reply = replyOn
		c.w.Mute(false)
		c.w.Simple("OK")
	case is(args[2], "off"):
		c.reply = replyOff
	case is(args[2], "skip"):
		if c.reply != replyOff {
			c.reply = replySkip
		}
	default:
		c.w.Error(errSyntax)
	}
}

func (c *conn) clientNoEvict(args [][]byte) {
	if !is(args[2], "on") && !is(args[2], "off") {
		c.w.Error(errSyntax)
		return
	}
	c.w.Simple("OK")
}

// clientPause checks and does nothing: whoever asks for the master in the middle of a
// failover must not wait because somebody paused the watcher.
func (c *conn) clientPause(args [][]byte) {
	if len(args) > 4 {
		c.wrongUse("CLIENT", args[1])
		return
	}
	if len(args) == 4 && !is(args[3], "write") && !is(args[3], "all") {
		c.w.Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
		return
	}
	switch n, ok := parseInt(args[2]); {
	case !ok:
		c.w.Error("ERR timeout is not an integer or out of range")
	case n < 0:
		c.w.Error("ERR timeout is negative")
	default:
		c.w.Simple("OK")
	}
}

func (c *conn) clientUnpause([][]byte) { c.w.Simple("OK") }

func (c *conn) clientUnblock(args [][]byte) {
	if len(args) > 4 {
		c.wrongUse("CLIENT", args[1])
		return
	}
	if len(args) == 4 && !is(args[3], "timeout") && !is(args[3], "error") {
		c.w.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return
	}
	if _, ok := parseInt(args[2]); !ok {
		c.w.Error(errInteger)
		return
	}
	c.w.Int(0) // no command of a watcher blocks
}

// connections returns the clients in the order of their ids.
func (s *Server) connections() []*conn {
	s.mu.Lock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	return list
}

// describe returns a client's line in CLIENT LIST. What has no meaning here is
// shown as a Redis without it would.
func (c *conn) describe(now time.Time) string {
	channels, patterns := c.srv.hub.counts(c)
	flags := "N"
	if channels+patterns > 0 {
		flags = "P"
	}
	cmd := "NULL"
	if last := c.last.Load(); last != nil {
		cmd = last.name
	}
	c.mu.Lock()
	name, libName, libVer := c.name, c.libName, c.libVer
	c.mu.Unlock()
	idle := max(0, now.UnixMilli()-c.active.Load()) / 1000
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=0 sub=%d psub=%d ssub=0 "+
		"multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=%d tot-mem=0 events=r "+
		"cmd=%s user=%s redir=%d resp=%d lib-name=%s lib-ver=%s\n",
		c.id, c.nc.RemoteAddr(), c.nc.LocalAddr(), name, int64(now.Sub(c.since).Seconds()), idle, flags,
		channels, patterns, c.out.pending(), cmd, c.who.Load().name, -1, c.proto.Load(), libName, libVer)
}
