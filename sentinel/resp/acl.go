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

// The words of rules that are wrong, as ACL SETUSER gives them.
var (
	errRuleSyntax   = errors.New("Syntax error")                                                                                                                                                            //nolint:staticcheck // a reply's words
	errRuleUnknown  = errors.New("Unknown command or category name in ACL")                                                                                                                                 //nolint:staticcheck // a reply's words
	errRuleFirstArg = errors.New("Allowing first-arg of a subcommand is not supported")                                                                                                                     //nolint:staticcheck // a reply's words
	errRuleNoPass   = errors.New("The password you are trying to remove from the user does not exist")                                                                                                      //nolint:staticcheck // a reply's words
	errRuleHash     = errors.New("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")                                                                       //nolint:staticcheck // a reply's words
	errRuleKeys     = errors.New("Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns")         //nolint:staticcheck // a reply's words
	errRuleChannels = errors.New("Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels") //nolint:staticcheck // a reply's words
)

// apply takes rules one after the other. The error is worded as ACL SETUSER's reply;
// the rights are then half changed, and the caller throws them away.
func (r *rights) apply(t *tables, rules []string) error {
	rules, err := joinSelectors(rules)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		if err := r.rule(t, rule); err != nil {
			return fmt.Errorf("Error in ACL SETUSER modifier '%s': %w", rule, err) //nolint:staticcheck // a reply's words
		}
	}
	return nil
}

// joinSelectors makes one rule of the words of each selector, which is in brackets.
func joinSelectors(words []string) ([]string, error) {
	var out []string
	for n := 0; n < len(words); n++ {
		w := words[n]
		if strings.HasPrefix(w, "(") {
			for first := w; !strings.HasSuffix(w, ")"); {
				if n++; n == len(words) {
					return nil, fmt.Errorf("Unmatched parenthesis in acl selector starting at '%s'.", first) //nolint:staticcheck // a reply's words
				}
				w += " " + words[n]
			}
		}
		out = append(out, w)
	}
	return out, nil
}

// rule applies one rule to a user.
func (r *rights) rule(t *tables, rule string) error {
	switch strings.ToLower(rule) {
	case "":
		return nil
	case "on", "off":
		r.on = strings.EqualFold(rule, "on")
		return nil
	case "nopass":
		r.noPass, r.passwords = true, nil
		return nil
	case "resetpass":
		r.noPass, r.passwords = false, nil
		return nil
	case "skip-sanitize-payload":
		r.sanitize = sanitizeSkip
		return nil
	case "sanitize-payload":
		r.sanitize = sanitizeDo
		return nil
	case "clearselectors":
		r.more = nil
		return nil
	case "reset":
		*r = rights{sanitize: sanitizeDo, root: &selector{}}
		return nil
	}
	switch rule[0] {
	case '>', '#', '<', '!':
		return r.password(rule[0], rule[1:])
	case '(':
		s := &selector{}
		for _, w := range strings.Fields(strings.Trim(rule, "()")) {
			if err := s.rule(t, w); err != nil {
				return err
			}
		}
		r.more = append(slices.Clone(r.more), s)
		return nil
	}
	return r.root.rule(t, rule)
}

// password adds one (> and #) or takes one away (< and !), given in the clear or
// hashed.
func (r *rights) password(kind byte, p string) error {
	switch kind {
	case '>', '<':
		p = hashOf(p)
	default:
		if len(p) != 64 || strings.Trim(p, "0123456789abcdef") != "" {
			return errRuleHash
		}
	}
	have := slices.Index(r.passwords, p)
	switch {
	case kind == '>' || kind == '#':
		if have < 0 {
			r.passwords = append(r.passwords, p)
		}
		r.noPass = false
	case have < 0:
		return errRuleNoPass
	default:
		r.passwords = slices.Delete(r.passwords, have, have+1)
	}
	return nil
}

// rule applies one rule to a set of permissions.
func (s *selector) rule(t *tables, rule string) error {
	switch strings.ToLower(rule) {
	case "allkeys", "~*":
		s.allKeys, s.keys = true, nil
		return nil
	case "resetkeys":
		s.allKeys, s.keys = false, nil
		return nil
	case "allchannels", "&*":
		s.allChannels, s.channels = true, nil
		return nil
	case "resetchannels":
		s.allChannels, s.channels = false, nil
		return nil
	case "allcommands", "+@all":
		*s = selector{allowed: t.all, future: true, allKeys: s.allKeys, keys: s.keys, allChannels: s.allChannels, channels: s.channels}
		return nil
	case "nocommands", "-@all":
		s.allowed, s.future, s.firstArgs = cmdSet{}, false, nil
		return nil
	}
	switch rule[0] {
	case '~', '%':
		return s.key(rule)
	case '&':
		if s.allChannels {
			return errRuleChannels
		}
		if strings.ContainsAny(rule, " \t\r\n\v\f\x00") {
			return errRuleSyntax
		}
		if p := rule[1:]; !slices.Contains(s.channels, p) {
			s.channels = append(s.channels, p)
		}
		return nil
	case '+', '-':
		return s.command(t, rule[0] == '+', strings.ToLower(rule[1:]))
	}
	return errRuleSyntax
}

// key keeps a rule about keys, which a Sentinel has none of.
func (s *selector) key(rule string) error {
	perm, pattern, ok := strings.Cut(rule, "~")
	switch strings.ToUpper(strings.TrimPrefix(perm, "%")) {
	case "R":
		rule = "%R~" + pattern
	case "W":
		rule = "%W~" + pattern
	case "RW", "WR":
		rule = "~" + pattern
	case "":
		ok = ok && perm == ""
	default:
		ok = false
	}
	switch {
	case !ok || strings.ContainsAny(pattern, " \t\r\n\v\f\x00"):
		return errRuleSyntax
	case s.allKeys:
		return errRuleKeys
	case !slices.Contains(s.keys, rule):
		s.keys = append(s.keys, rule)
	}
	return nil
}

// command allows or forbids a category, a command with all that is under it, or a
// subcommand.
func (s *selector) command(t *tables, on bool, name string) error {
	if cat, ok := strings.CutPrefix(name, "@"); ok {
		n := slices.Index(categories(), cat)
		if n < 0 {
			return errRuleUnknown
		}
		s.category(t, category(1)<<n, on)
		return nil
	}
	if cmd := t.lookup(name); cmd != nil {
		s.grant(cmd, on)
		return nil
	}
	cut := strings.LastIndexByte(name, '|')
	if !on || cut < 0 {
		return errRuleUnknown
	}
	cmd := t.lookup(name[:cut])
	switch {
	case cmd == nil:
		return errRuleUnknown
	case strings.Contains(cmd.name, "|"):
		return errRuleFirstArg
	case name[cut+1:] == "":
		return errRuleSyntax
	case cmd.sub != nil:
		return errRuleUnknown
	}
	if s.firstArgs == nil {
		s.firstArgs = map[int][]string{}
	}
	if !slices.Contains(s.firstArgs[cmd.id], name[cut+1:]) {
		s.firstArgs[cmd.id] = append(s.firstArgs[cmd.id], name[cut+1:])
	}
	return nil
}

// grant allows or forbids a command and what is under it.
func (s *selector) grant(cmd *command, on bool) {
	s.allowed.set(cmd.id, on)
	delete(s.firstArgs, cmd.id)
	for _, sub := range cmd.sub {
		if !sub.hidden {
			s.grant(sub, on)
		}
	}
}

func (s *selector) category(t *tables, cat category, on bool) {
	for _, cmd := range t.list {
		if cmd.categories()&cat != 0 {
			s.grant(cmd, on)
		}
	}
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

// setUsers makes the users of the configuration. What Password says of the default
// user counts unless a line names that user, as in Redis.
func (s *Server) setUsers(password string, users []User) error {
	def := newUser(defaultUser)
	rules := []string{"+@all", "~*", "&*", "on", "nopass"}
	if password != "" {
		rules = append(rules, "resetpass", ">"+password)
	}
	all := map[string]*user{defaultUser: def}
	r := def.rights.Load().clone()
	if err := r.apply(s.tables, rules); err != nil {
		return err
	}
	def.rights.Store(r)
	for _, u := range users {
		if strings.ContainsAny(u.Name, " \x00") {
			return fmt.Errorf("user %q: a user's name must not hold blanks or zero bytes", u.Name)
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
			return fmt.Errorf("user %q: %w", u.Name, err)
		}
		made.rights.Store(r)
		all[u.Name] = made
	}
	s.aclMu.Lock()
	defer s.aclMu.Unlock()
	s.users = all
	return nil
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
