package conf

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (p *parser) monitor(l line) {
	m := Master{
		Name: l.args[0], DownAfter: DefaultDownAfter, FailoverTimeout: DefaultFailoverTimeout,
		ParallelSyncs: DefaultParallelSyncs, Line: l.n,
	}
	// Sentinel takes a name with a blank, and then writes a file that it can't read again.
	if !printable(m.Name) {
		p.fail(l, "the master's name must not be empty or hold blanks, quotes or control characters")
		return
	}
	if i, ok := p.master[m.Name]; ok {
		p.fail(l, "the master %q is already monitored by line %d, every master needs a name of its own", m.Name, p.file.Masters[i].Line)
		return
	}
	if !p.host(l, l.args[1]) || !p.port(l, l.args[2], &m.Port) ||
		!p.number(l, l.args[3], 1, 1<<31-1, "the quorum (how many watchers must agree)", &m.Quorum) {
		return
	}
	m.Host = l.args[1]
	p.master[m.Name] = len(p.file.Masters)
	p.file.Masters = append(p.file.Masters, m)
}

// host accepts what Sentinel accepts: IP addresses, and names only when they may be resolved.
func (p *parser) host(l line, s string) bool {
	if !printable(s) {
		p.fail(l, "the host must not be empty or hold blanks, quotes or control characters")
		return false
	}
	if _, err := netip.ParseAddr(s); err != nil && !p.file.ResolveHostnames {
		p.fail(l, "the host %q is not an IP address; use one, or allow names with \"sentinel resolve-hostnames yes\"", cut(s))
		return false
	}
	return true
}

func (p *parser) knownReplica(m *Master, l line) {
	a := HostPort{Host: l.args[1]}
	if !p.host(l, a.Host) || !p.port(l, l.args[2], &a.Port) {
		return
	}
	for _, other := range m.KnownReplicas {
		if other == a {
			p.fail(l, "the replica %s of %q is there twice, take one of the lines out", a, m.Name)
			return
		}
	}
	m.KnownReplicas = append(m.KnownReplicas, a)
}

func (p *parser) knownSentinel(m *Master, l line) {
	k := KnownSentinel{Host: l.args[1]}
	if !p.host(l, k.Host) || !p.port(l, l.args[2], &k.Port) {
		return
	}
	if len(l.args) == 4 {
		k.ID = l.args[3]
		if !printable(k.ID) {
			p.fail(l, "the watcher's id must not be empty or hold blanks, quotes or control characters")
			return
		}
	}
	for _, other := range m.KnownSentinels {
		if other.key() == k.key() {
			p.fail(l, "the watcher %s of %q is there twice, take one of the lines out", k.key(), m.Name)
			return
		}
	}
	m.KnownSentinels = append(m.KnownSentinels, k)
}

// key tells watchers apart: by id, or by address in files without ids.
func (k KnownSentinel) key() string {
	if k.ID != "" {
		return k.ID
	}
	return k.Addr().String()
}

// checkAccess refuses what would be open here and was not in Sentinel.
func (p *parser) checkAccess() {
	if p.file.ACLFile != "" && len(p.file.Users) > 0 {
		p.fail(p.aclFile, "there are user lines, too (line %d): users stand in one of the two, as in Redis", p.file.Users[0].Line)
	}
	open := Open(p.file.RequirePass, p.file.Users)
	for _, u := range p.file.Users {
		if u.Name == "default" && p.file.RequirePass != "" && !hasPassword(u.Rules, p.file.RequirePass) {
			p.warn(line{n: u.Line, key: "user", raw: "user default", args: []string{"default"}}, "this line counts and requirepass does not, as in Redis")
		}
	}
	l := p.protectedMode
	if p.file.ACLFile != "" {
		p.file.Protected = l != nil && !p.loopbackOnly()
		return
	}
	if l != nil && open && !p.loopbackOnly() {
		p.fail(*l, "there is no protected mode, and the setting is not ignored because the port would be open; set requirepass, or bind to 127.0.0.1, or say no")
	}
}

func (p *parser) loopbackOnly() bool {
	for _, b := range p.file.Binds {
		a, err := netip.ParseAddr(strings.TrimPrefix(b, "-"))
		if err != nil || !a.IsLoopback() {
			return false
		}
	}
	return len(p.file.Binds) > 0
}

// hasPassword reports whether rules give a user that password.
func hasPassword(rules []string, password string) bool {
	sum := sha256.Sum256([]byte(password))
	return slices.Contains(rules, ">"+password) || slices.Contains(rules, "#"+hex.EncodeToString(sum[:]))
}

// printable reports whether s is a non-empty word that needs no quotes: Sentinel writes names and hosts without any.
func printable(s string) bool {
	if s == "" || !utf8.ValidString(s) || strings.HasPrefix(s, "#") {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) || strings.ContainsRune(`"'\`, r) {
			return false
		}
	}
	return true
}

func isID(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isHex(s[i]) {
			return false
		}
	}
	return len(s) == 40
}
