package redisio

import (
	"slices"
	"strings"
)

// Redis 6 cannot be asked whether a user may send a command; it tells the user's
// rules, see https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/.

// rulesOf finds the command rules in the answer to ACL GETUSER, a list of names and
// values.
func rulesOf(fields []any) (rules []string, ok bool) {
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "flags":
			if flags, _ := fields[i+1].([]any); slices.Contains(flags, any("allcommands")) {
				return []string{"+@all"}, true
			}
		case "commands":
			text, is := fields[i+1].(string)
			return strings.Fields(strings.ToLower(text)), is
		}
	}
	return nil, false
}

// categoriesOf finds a command's ACL categories in its COMMAND INFO, nil if they are
// not told.
func categoriesOf(info any) []string {
	fields, _ := info.([]any)
	if len(fields) < 7 {
		return nil
	}
	var out []string
	list, _ := fields[6].([]any)
	for _, c := range list {
		if name, ok := c.(string); ok {
			out = append(out, name)
		}
	}
	return out
}

// weighRules applies rules in their order to one command, "client|kill" or
// "replicaof". The first word of a rule's command counts for all its subcommands.
func weighRules(rules []string, path string, categories []string) verdict {
	name, _, _ := strings.Cut(path, "|")
	v := verdictDenied
	for _, rule := range rules {
		yes, what := verdictAllowed, strings.TrimPrefix(rule, "+")
		if what == rule {
			yes, what = verdictDenied, strings.TrimPrefix(rule, "-")
		}
		switch {
		case what == "@all", what == "allcommands", what == name, what == path:
			v = yes
		case what == "nocommands":
			v = verdictDenied
		case strings.HasPrefix(what, "@") && categories == nil:
			v = verdictUnknown
		case strings.HasPrefix(what, "@") && slices.Contains(categories, what):
			v = yes
		}
	}
	return v
}
