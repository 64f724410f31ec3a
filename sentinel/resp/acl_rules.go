package resp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

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
