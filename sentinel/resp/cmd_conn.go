package resp

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	errSyntax    = "ERR syntax error"
	errWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	errBadName   = "ERR Client names cannot contain spaces, newlines or special characters."
	errHelloAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
		"HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP " +
		"protocol version at the same time"
	errNoPassword = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
)

// checkPassword says whether user and password are right. Its time does not
// depend on how much of the password is.
func (c *conn) checkPassword(user, password []byte) bool {
	ok := string(user) == "default"
	if want := c.srv.opts.Password; want != "" {
		have, wanted := sha256.Sum256(password), sha256.Sum256([]byte(want))
		ok = subtle.ConstantTimeCompare(have[:], wanted[:]) == 1 && ok
	}
	if !ok {
		c.srv.stats.authFailed.Add(1)
	}
	return ok
}

func (c *conn) auth(args [][]byte) {
	user, password := []byte("default"), args[len(args)-1]
	switch len(args) {
	case 2:
		if c.srv.opts.Password == "" {
			c.w.Error(errNoPassword)
			return
		}
	case 3:
		user = args[1]
	default:
		c.w.Error(errSyntax)
		return
	}
	if !c.checkPassword(user, password) {
		c.w.Error(errWrongPass)
		return
	}
	c.authenticated()
	c.w.Simple("OK")
}

func (c *conn) hello(args [][]byte) {
	proto := c.w.proto
	rest := args[1:]
	if len(rest) > 0 {
		n, ok := parseInt(rest[0])
		switch {
		case !ok:
			c.w.Error("ERR Protocol version is not an integer or out of range")
			return
		case n != 2 && n != 3:
			c.w.Error("NOPROTO unsupported protocol version")
			return
		}
		proto, rest = int(n), rest[1:]
	}
	if !c.helloOptions(rest) {
		return
	}
	if !c.authd {
		c.w.Error(errHelloAuth)
		return
	}
	c.setProto(proto)
	c.w.Map(6)
	c.w.Bulk("server")
	c.w.Bulk("redis")
	c.w.Bulk("version")
	c.w.Bulk(CompatVersion)
	c.w.Bulk("proto")
	c.w.Int(int64(proto))
	c.w.Bulk("id")
	c.w.Int(c.id)
	c.w.Bulk("mode")
	c.w.Bulk("sentinel")
	c.w.Bulk("modules")
	c.w.Array(0)
}

// helloOptions carries out AUTH and SETNAME one after the other, as Redis does:
// what came before a wrong one stays done.
func (c *conn) helloOptions(rest [][]byte) bool {
	for len(rest) > 0 {
		switch {
		case is(rest[0], "AUTH") && len(rest) >= 3:
			if !c.checkPassword(rest[1], rest[2]) {
				c.w.Error(errWrongPass)
				return false
			}
			c.authenticated()
			rest = rest[3:]
		case is(rest[0], "SETNAME") && len(rest) >= 2:
			if !c.setName(rest[1]) {
				return false
			}
			rest = rest[2:]
		default:
			c.w.Error("ERR Syntax error in HELLO option '" + clip(rest[0], 128) + "'")
			return false
		}
	}
	return true
}

func (c *conn) ping(args [][]byte) {
	if len(args) > 2 {
		c.wrongArity("ping")
		return
	}
	inPubSub := c.w.proto == 2 && c.subs.count() > 0
	if inPubSub {
		c.w.Array(2)
		c.w.Bulk("pong")
	}
	switch {
	case len(args) == 2:
		c.w.BulkBytes(args[1])
	case inPubSub:
		c.w.Bulk("")
	default:
		c.w.Simple("PONG")
	}
}

func (c *conn) quitNow([][]byte) {
	c.w.Simple("OK")
	c.quit = true
}

// printable says whether Redis takes b for a client's name.
func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(ch byte) bool { return ch < '!' || ch > '~' })
}

func (c *conn) setName(name []byte) bool {
	if !printable(name) {
		c.w.Error(errBadName)
		return false
	}
	c.mu.Lock()
	c.name = string(name)
	c.mu.Unlock()
	return true
}

func (c *conn) clientSetName(args [][]byte) {
	if c.setName(args[2]) {
		c.w.Simple("OK")
	}
}

func (c *conn) clientGetName([][]byte) {
	if c.name == "" { // only this goroutine changes it
		c.w.Null()
		return
	}
	c.w.Bulk(c.name)
}

func (c *conn) clientSetInfo(args [][]byte) {
	option, value := strings.ToLower(clip(args[2], 128)), args[3]
	if option != "lib-name" && option != "lib-ver" {
		c.w.Error("ERR Unrecognized option '" + clip(args[2], 128) + "'")
		return
	}
	if !printable(value) {
		c.w.Error("ERR " + option + " cannot contain spaces, newlines or special characters.")
		return
	}
	c.mu.Lock()
	if option == "lib-name" {
		c.libName = string(value)
	} else {
		c.libVer = string(value)
	}
	c.mu.Unlock()
	c.w.Simple("OK")
}

func (c *conn) clientID([][]byte) { c.w.Int(c.id) }

func (c *conn) clientInfo([][]byte) { c.w.Verbatim("txt", c.describe(time.Now())) }

func (c *conn) clientList(args [][]byte) {
	keep := func(*conn) bool { return true }
	switch {
	case len(args) == 4 && is(args[2], "type"):
		switch kind := strings.ToLower(clip(args[3], 128)); kind {
		case "normal", "pubsub":
			keep = func(o *conn) bool {
				channels, patterns := c.srv.hub.counts(o)
				return (channels+patterns > 0) == (kind == "pubsub")
			}
		case "master", "replica", "slave":
			keep = func(*conn) bool { return false }
		default:
			c.w.Error("ERR Unknown client type '" + clip(args[3], 128) + "'")
			return
		}
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
		"cmd=%s user=default redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		c.id, c.nc.RemoteAddr(), c.nc.LocalAddr(), name, int64(now.Sub(c.since).Seconds()), idle, flags,
		channels, patterns, c.out.pending(), cmd, c.proto.Load(), libName, libVer)
}
