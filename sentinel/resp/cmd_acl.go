package resp

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

const (
	errInteger = "ERR value is not an integer or out of range"
	errBits    = "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
	errUser    = "ERR Usernames can't contain spaces or null characters"
	errACLFile = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command " +
		"and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration."
)

// wrongUse is the error for the right arity and the wrong words.
func (c *conn) wrongUse(container string, sub []byte) {
	c.w.Error("ERR unknown subcommand or wrong number of arguments for '" + clip(sub, 128) + "'. Try " + container + " HELP.")
}

func (c *conn) aclWhoami([][]byte) { c.w.Bulk(c.user.name) }

func (c *conn) aclUsers([][]byte) { c.bulks(c.srv.userNames()) }

func (c *conn) aclList([][]byte) {
	users := c.srv.Users()
	c.w.Array(len(users))
	for _, u := range users {
		c.w.Bulk("user " + u.Name + " " + strings.Join(u.Rules, " "))
	}
}

// bulks writes a list of strings.
func (c *conn) bulks(list []string) {
	c.w.Array(len(list))
	for _, s := range list {
		c.w.Bulk(s)
	}
}

func (c *conn) aclCat(args [][]byte) {
	switch len(args) {
	case 2:
		c.bulks(categories())
	case 3:
		n := slices.IndexFunc(categories(), func(name string) bool { return is(args[2], name) })
		if n < 0 {
			c.w.Error("ERR Unknown category '" + clip(args[2], 128) + "'")
			return
		}
		c.bulks(c.srv.tables.names(func(cmd *command) bool { return cmd.categories()&(1<<n) != 0 }))
	default:
		c.wrongUse("ACL", args[1])
	}
}

func (c *conn) aclGetUser(args [][]byte) {
	u := c.srv.user(string(args[2]))
	if u == nil {
		c.w.Null()
		return
	}
	r := u.rights.Load()
	c.w.Map(6)
	c.w.Bulk("flags")
	flags := r.flags()
	c.w.Set(len(flags))
	for _, f := range flags {
		c.w.Bulk(f)
	}
	c.w.Bulk("passwords")
	c.bulks(r.passwords)
	c.selectorFields(r.root)
	c.w.Bulk("selectors")
	c.w.Array(len(r.more))
	for _, s := range r.more {
		c.w.Map(3)
		c.selectorFields(s)
	}
}

func (c *conn) selectorFields(s *selector) {
	for _, f := range [][2]string{{"commands", s.describe(c.srv.tables)}, {"keys", s.keyRules()}, {"channels", s.channelRules()}} {
		c.w.Bulk(f[0])
		c.w.Bulk(f[1])
	}
}

// maxUsers bounds the users that a client with the right to make some can make.
const maxUsers = 1000

func (c *conn) aclSetUser(args [][]byte) {
	name := string(args[2])
	if strings.ContainsAny(name, " \x00") {
		c.w.Error(errUser)
		return
	}
	rules := make([]string, 0, len(args)-3)
	for _, a := range args[3:] {
		rules = append(rules, string(a))
	}
	s := c.srv
	s.aclMu.Lock()
	u := s.users[name]
	fresh := u == nil
	if fresh {
		u = newUser(name)
	}
	r := u.rights.Load().clone()
	err := r.apply(s.tables, rules)
	full := fresh && len(s.users) >= maxUsers
	if err == nil && !full {
		u.rights.Store(r)
		s.users[name] = u
	}
	s.aclMu.Unlock()
	switch {
	case err != nil:
		c.w.Error("ERR " + err.Error())
	case full:
		c.w.Error("ERR too many users")
	default:
		s.dropForbidden(u, r)
		c.w.Simple("OK")
	}
}

// dropForbidden ends connections that listen to what their user may not hear any
// more.
func (s *Server) dropForbidden(u *user, r *rights) {
	for _, o := range s.connections() {
		if o.who.Load() != u {
			continue
		}
		for _, pattern := range []bool{false, true} {
			for _, name := range s.hub.names(o, pattern) {
				if !slices.ContainsFunc(append([]*selector{r.root}, r.more...), func(sel *selector) bool { return sel.mayUse(name, pattern) }) {
					o.kill()
				}
			}
		}
	}
}

func (c *conn) aclDelUser(args [][]byte) {
	if slices.ContainsFunc(args[2:], func(a []byte) bool { return string(a) == defaultUser }) {
		c.w.Error("ERR The 'default' user cannot be removed")
		return
	}
	n := int64(0)
	for _, a := range args[2:] {
		c.srv.aclMu.Lock()
		u := c.srv.users[string(a)]
		delete(c.srv.users, string(a))
		c.srv.aclMu.Unlock()
		if u == nil {
			continue
		}
		n++
		for _, o := range c.srv.connections() {
			switch {
			case o.who.Load() != u:
			case o == c:
				c.quit = true // after this reply
			default:
				o.kill()
			}
		}
	}
	c.w.Int(n)
}

func (c *conn) aclGenpass(args [][]byte) {
	bits := int64(256)
	switch len(args) {
	case 2:
	case 3:
		n, ok := parseInt(args[2])
		if !ok {
			c.w.Error(errInteger)
			return
		}
		if n <= 0 || n > 4096 {
			c.w.Error(errBits)
			return
		}
		bits = n
	default:
		c.wrongUse("ACL", args[1])
		return
	}
	digits := int(bits+3) / 4
	b := make([]byte, (digits+1)/2)
	_, _ = rand.Read(b) // it never fails
	c.w.Bulk(hex.EncodeToString(b)[:digits])
}

func (c *conn) aclLog(args [][]byte) {
	n := int64(10)
	switch {
	case len(args) == 2:
	case len(args) == 3 && is(args[2], "RESET"):
		c.srv.acllog.reset()
		c.w.Simple("OK")
		return
	case len(args) == 3:
		v, ok := parseInt(args[2])
		if !ok {
			c.w.Error(errInteger)
			return
		}
		n = v
	default:
		c.wrongUse("ACL", args[1])
		return
	}
	entries := c.srv.acllog.latest(int(min(n, aclLogMax)))
	c.w.Array(len(entries))
	for _, e := range entries {
		c.w.Map(7)
		c.w.Bulk("count")
		c.w.Int(e.count)
		for _, f := range [][2]string{{"reason", e.reason}, {"context", "toplevel"}, {"object", e.object}, {"username", e.username}} {
			c.w.Bulk(f[0])
			c.w.Bulk(f[1])
		}
		c.w.Bulk("age-seconds")
		c.w.Double(float64(time.Since(e.at).Milliseconds()) / 1000)
		c.w.Bulk("client-info")
		c.w.Bulk(strings.TrimSuffix(e.client, "\n"))
	}
}

func (c *conn) aclDryrun(args [][]byte) {
	u := c.srv.user(string(args[2]))
	if u == nil {
		c.w.Error("ERR User '" + clip(args[2], 128) + "' not found")
		return
	}
	words := args[3:]
	cmd := c.srv.tables.command(words)
	if cmd == nil || cmd.hidden {
		c.w.Error("ERR Command '" + clip(words[0], 128) + "' not found")
		return
	}
	if cmd.wrongArity(len(words)) {
		c.wrongArity(cmd.name)
		return
	}
	switch v, channel := u.rights.Load().judge(cmd, words); v {
	case permitted:
		c.w.Simple("OK")
	case deniedCommand:
		c.w.Bulk("This user has no permissions to run the '" + cmd.name + "' command")
	case deniedChannel:
		c.w.Bulk("This user has no permissions to access the '" + channel + "' channel")
	}
}
