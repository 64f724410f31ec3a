package resp

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// defaultUser is whom a connection belongs to until it says otherwise.
const defaultUser = "default"

// User is one user from the configuration, as a `user` line of sentinel.conf has it.
type User struct {
	Name  string
	Rules []string // Redis' ACL rules: on, >password, +@all, ...
}

// cmdSet is a set of commands by their ids.
type cmdSet [2]uint64

func (s *cmdSet) has(id int) bool { return s[id/64]&(1<<(id%64)) != 0 }

func (s *cmdSet) set(id int, on bool) {
	if on {
		s[id/64] |= 1 << (id % 64)
	} else {
		s[id/64] &^= 1 << (id % 64)
	}
}

// selector is one set of permissions. A user has one of its own, and may have more:
// what one of them allows is allowed.
type selector struct {
	allowed cmdSet
	// future is what +@all grants besides: commands that do not exist yet.
	future      bool
	firstArgs   map[int][]string // command ids without a set bit that are allowed with these
	allKeys     bool
	keys        []string // as rules write them, "~a" or "%R~a"
	allChannels bool
	channels    []string
}

func (s *selector) clone() *selector {
	out := *s
	out.firstArgs = make(map[int][]string, len(s.firstArgs))
	for id, args := range s.firstArgs {
		out.firstArgs[id] = slices.Clone(args)
	}
	out.keys, out.channels = slices.Clone(s.keys), slices.Clone(s.channels)
	return &out
}

// sanitize is a flag that means something to data only; it is kept and shown.
type sanitize int

const (
	sanitizeUnset sanitize = iota
	sanitizeSkip
	sanitizeDo
)

// rights is all that is known of a user. It is never changed once it is in use: a
// changed copy takes its place.
type rights struct {
	on, noPass bool
	sanitize   sanitize
	passwords  []string // SHA-256, hexadecimal
	root       *selector
	more       []*selector
}

func (r *rights) clone() *rights {
	out := *r
	out.passwords, out.root = slices.Clone(r.passwords), r.root.clone()
	out.more = slices.Clone(r.more) // of which none is changed
	return &out
}

// user is a name with its present rights.
type user struct {
	name   string
	rights atomic.Pointer[rights]
}

func newUser(name string) *user {
	u := &user{name: name}
	u.rights.Store(&rights{root: &selector{}})
	return u
}

// accepts says whether the password is one of the user's. Its time does not depend
// on how much of the password is right.
func (r *rights) accepts(password []byte) bool {
	have := hashOf(string(password))
	ok := r.noPass
	for _, want := range r.passwords {
		if subtle.ConstantTimeCompare([]byte(have), []byte(want)) == 1 {
			ok = true
		}
	}
	return ok && r.on
}

func hashOf(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// verdict is what the rights say to a command.
type verdict int

const (
	deniedCommand verdict = iota + 1
	deniedChannel
	permitted
)

// judge says whether a user may run cmd with args, and for a channel which one it
// was that he may not use. Of several selectors the best verdict counts.
func (r *rights) judge(cmd *command, args [][]byte) (v verdict, channel string) {
	v, channel = r.root.judge(cmd, args)
	for _, s := range r.more {
		if v == permitted {
			break
		}
		if other, ch := s.judge(cmd, args); other > v {
			v, channel = other, ch
		}
	}
	return v, channel
}

func (s *selector) judge(cmd *command, args [][]byte) (verdict, string) {
	if !cmd.noAuth && !s.allowed.has(cmd.id) && !slices.ContainsFunc(s.firstArgs[cmd.id], func(a string) bool { return len(args) > 1 && is(args[1], a) }) {
		return deniedCommand, ""
	}
	if cmd.channels == noChannels || s.allChannels {
		return permitted, ""
	}
	names := args[1:]
	if cmd.channels == oneChannel {
		names = names[:1]
	}
	for _, n := range names {
		if !s.mayUse(string(n), cmd.channels == channelPatterns) {
			return deniedChannel, string(n)
		}
	}
	return permitted, ""
}

// mayUse says whether a channel may be used. A pattern must be there literally.
func (s *selector) mayUse(name string, pattern bool) bool {
	return s.allChannels || slices.ContainsFunc(s.channels, func(p string) bool {
		return p == name || !pattern && matchGlob(p, name)
	})
}

// describe returns the rules that make s, categories first: as few words as the
// greedy choice that Redis makes finds.
func (s *selector) describe(t *tables) string {
	made, rest := &selector{}, &selector{allowed: s.allowed}
	words := []string{"-@all"}
	if s.future {
		made = &selector{allowed: t.all}
		words[0] = "+@all"
	}
	sign := func(on bool) string {
		if on {
			return "+"
		}
		return "-"
	}
	for used := category(0); ; {
		best, name := rest.bestCategory(t, used, !s.future)
		if best == 0 {
			break
		}
		words = append(words, sign(!s.future)+"@"+name)
		made.category(t, best, !s.future)
		rest.category(t, best, s.future)
		used |= best
	}
	for _, cmd := range t.list {
		if on := s.allowed.has(cmd.id); on != made.allowed.has(cmd.id) {
			words = append(words, sign(on)+cmd.name)
			made.grant(cmd, on)
		}
		if !s.allowed.has(cmd.id) {
			for _, a := range s.firstArgs[cmd.id] {
				words = append(words, "+"+cmd.name+"|"+a)
			}
		}
	}
	return strings.Join(words, " ")
}

// bestCategory is the category that fits best among those not used yet, 0 if none
// has more commands that are (on) or are not allowed than others.
func (s *selector) bestCategory(t *tables, used category, on bool) (best category, name string) {
	least, most := len(t.list)+1, 0
	for n, nm := range categories() {
		cat := category(1) << n
		same, other := 0, 0
		for _, cmd := range t.list {
			switch {
			case cmd.categories()&cat == 0:
			case s.allowed.has(cmd.id) == on:
				same++
			default:
				other++
			}
		}
		if used&cat == 0 && other < same && (other < least || other == least && same > most) {
			best, name, least, most = cat, nm, other, same
		}
	}
	return best, name
}

// keyRules and channelRules are what GETUSER and LIST show.
func (s *selector) keyRules() string {
	if s.allKeys {
		return "~*"
	}
	return strings.Join(s.keys, " ")
}

func (s *selector) channelRules() string {
	if s.allChannels {
		return "&*"
	}
	var out []string
	for _, c := range s.channels {
		out = append(out, "&"+c)
	}
	return strings.Join(out, " ")
}

// line describes s as a `user` line does.
func (s *selector) line(t *tables) string {
	var words []string
	if k := s.keyRules(); k != "" {
		words = append(words, k)
	}
	if !s.allChannels {
		words = append(words, "resetchannels")
	}
	if c := s.channelRules(); c != "" {
		words = append(words, c)
	}
	return strings.Join(append(words, s.describe(t)), " ")
}

// flags are the words for what is not a permission.
func (r *rights) flags() []string {
	out := []string{"off"}
	if r.on {
		out[0] = "on"
	}
	if r.noPass {
		out = append(out, "nopass")
	}
	switch r.sanitize {
	case sanitizeSkip:
		out = append(out, "skip-sanitize-payload")
	case sanitizeDo:
		out = append(out, "sanitize-payload")
	case sanitizeUnset:
	}
	return out
}

// words describe a user as a `user` line does, without the name.
func (r *rights) words(t *tables) []string {
	words := r.flags()
	for _, p := range r.passwords {
		words = append(words, "#"+p)
	}
	words = append(words, strings.Fields(r.root.line(t))...)
	for _, s := range r.more {
		words = append(words, "("+s.line(t)+")")
	}
	return words
}

// setUsers takes the users of the configuration.
func (s *Server) setUsers(password string, users []User) error {
	all, err := s.makeUsers(password, users)
	if err != nil {
		return err
	}
	s.aclMu.Lock()
	defer s.aclMu.Unlock()
	s.users = all
	return nil
}

// makeUsers makes the users of the configuration. What Password says of the default
// user counts unless a line names that user, as in Redis.
func (s *Server) makeUsers(password string, users []User) (map[string]*user, error) {
	def := newUser(defaultUser)
	rules := []string{"+@all", "~*", "&*", "on", "nopass"}
	if password != "" {
		rules = append(rules, "resetpass", ">"+password)
	}
	all := map[string]*user{defaultUser: def}
	r := def.rights.Load().clone()
	if err := r.apply(s.tables, rules); err != nil {
		return nil, err
	}
	def.rights.Store(r)
	for _, u := range users {
		if strings.ContainsAny(u.Name, " \x00") {
			return nil, fmt.Errorf("user %q: a user's name must not hold blanks or zero bytes", u.Name)
		}
		made := newUser(u.Name)
		if u.Name == defaultUser {
			made = def
		}
		r := &rights{root: &selector{}}
		if err := r.apply(s.tables, u.Rules); err != nil {
			if inner := errors.Unwrap(err); inner != nil {
				err = inner // without the rule, which may be a misspelt password
			}
			return nil, fmt.Errorf("user %q: %w", u.Name, err)
		}
		made.rights.Store(r)
		all[u.Name] = made
	}
	return all, nil
}

// user returns the user of that name, nil if there is none.
func (s *Server) user(name string) *user {
	s.aclMu.Lock()
	defer s.aclMu.Unlock()
	return s.users[name]
}

func (s *Server) userNames() []string {
	s.aclMu.Lock()
	defer s.aclMu.Unlock()
	return slices.Sorted(maps.Keys(s.users))
}

// Users returns all users as they are now, in the words of `user` lines, sorted by
// name.
func (s *Server) Users() []User {
	var out []User
	for _, name := range s.userNames() {
		if u := s.user(name); u != nil {
			out = append(out, User{Name: name, Rules: u.rights.Load().words(s.tables)})
		}
	}
	return out
}
