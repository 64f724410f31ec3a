package resp

import (
	"slices"
	"strings"
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

// checkPassword logs a user in, or says no. Its time does not depend on how much of
// the password is right.
func (c *conn) checkPassword(name, password []byte) bool {
	u := c.srv.user(string(name))
	if u == nil {
		hashOf(string(password)) // as long as for a user that there is
	} else if u.rights.Load().accepts(password) {
		c.login(u)
		c.authenticated()
		return true
	}
	c.srv.stats.authFailed.Add(1)
	c.refusedACL("auth", strings.ToUpper(c.verb()), string(name))
	return false
}

// verb is the command under way.
func (c *conn) verb() string {
	if cmd := c.last.Load(); cmd != nil {
		return cmd.name
	}
	return ""
}

func (c *conn) auth(args [][]byte) {
	user, password := []byte("default"), args[len(args)-1]
	switch len(args) {
	case 2:
		if u := c.srv.user(defaultUser); u.rights.Load().noPass {
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
