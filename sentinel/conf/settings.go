package conf

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The settings that clients change. A line is replaced where it stands, taken out if
// it is empty, or added; one that says what counts without it is not added.

// setting returns what becomes of a line that a client can have changed, and whether
// it is one.
func (w *rewriter) setting(l line) (text string, keep, mine bool) {
	name, ours := strings.CutPrefix(l.key, "sentinel ")
	switch {
	case l.key == "user" && w.state.Users != nil:
		return w.userLine(l)
	case !ours:
		return "", false, false
	case namesMaster(name) && slices.Contains(w.state.Removed, l.args[0]):
		return "", false, true
	}
	if value, ok := w.state.Globals[name]; ok && len(l.args) == 1 {
		text, keep = w.put(l, globalKey(name), globalLine(name, value), value == "" || value == globalDefault(name), l.args[0] == value)
		return text, keep, true
	}
	if !namesMaster(name) {
		return "", false, false
	}
	i := slices.IndexFunc(w.state.Masters, func(m MasterState) bool { return m.Name == l.args[0] })
	if i < 0 {
		return "", false, false
	}
	m, key, have := w.state.Masters[i], name, l.args[len(l.args)-1]
	if name == "rename-command" {
		key += " " + strings.ToLower(l.args[1])
	}
	value, ok := m.Settings[key]
	if !ok {
		return "", false, false
	}
	same := have == value
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		same = same || sameNumber(have, n)
	}
	text, keep = w.put(l, settingKey(m.Name, key), settingLine(m.Name, key, value), value == "", same)
	return text, keep, true
}

// put keeps a line, replaces it, or takes it out; of several the first counts.
func (w *rewriter) put(l line, key, text string, gone, same bool) (string, bool) {
	if gone || w.done[key] {
		return "", false
	}
	w.done[key] = true
	if same {
		return l.raw, true
	}
	return text, true
}

// namesMaster says whether the first word after the directive is a master's name.
func namesMaster(directive string) bool {
	switch directive {
	case "monitor", "down-after-milliseconds", "failover-timeout", "parallel-syncs", "auth-user", "auth-pass", "config-epoch", "leader-epoch",
		"known-replica", "known-slave", "known-sentinel", "notification-script", "client-reconfig-script", "rename-command",
		"master-reboot-down-after-period":
		return true
	}
	return false
}

func (w *rewriter) missingGlobals() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(w.state.Globals)) {
		if v := w.state.Globals[name]; v != "" && v != globalDefault(name) && !w.done[globalKey(name)] {
			out = append(out, globalLine(name, v))
		}
	}
	for _, u := range w.state.Users {
		if !w.done["user "+u.Name] {
			out = append(out, userLine(u))
		}
	}
	return out
}

func (w *rewriter) missingSettings(m MasterState) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m.Settings)) {
		if v := m.Settings[key]; v != "" && v != settingDefault(key) && !w.done[settingKey(m.Name, key)] {
			out = append(out, settingLine(m.Name, key, v))
		}
	}
	return out
}

func (w *rewriter) userLine(l line) (text string, keep, mine bool) {
	i := slices.IndexFunc(w.state.Users, func(u User) bool { return u.Name == l.args[0] })
	if i < 0 {
		return "", false, true
	}
	u := w.state.Users[i]
	text, keep = w.put(l, "user "+u.Name, userLine(u), false, slices.Equal(l.args[1:], u.Rules))
	return text, keep, true
}

func userLine(u User) string {
	words := []string{"user", quoteArg(u.Name)}
	for _, r := range u.Rules {
		words = append(words, quoteRule(r))
	}
	return strings.Join(words, " ")
}

// quoteRule leaves several plain rules in one string as they are.
func quoteRule(r string) string {
	parts := strings.Split(r, " ")
	for i, p := range parts {
		if parts[i] = p; p == "" || quoteArg(p) != p {
			return quoteArg(r)
		}
	}
	return strings.Join(parts, " ")
}

func globalKey(name string) string { return "global " + name }

func globalLine(name, value string) string { return "sentinel " + name + " " + quoteArg(value) }

func globalDefault(name string) string {
	switch name {
	case "announce-port":
		return "0"
	case "resolve-hostnames", "announce-hostnames":
		return "no"
	}
	return ""
}

func settingKey(master, key string) string { return "setting " + master + " " + key }

func settingLine(master, key, value string) string {
	if cmd, ok := strings.CutPrefix(key, "rename-command "); ok {
		return "sentinel rename-command " + master + " " + quoteArg(cmd) + " " + quoteArg(value)
	}
	return "sentinel " + key + " " + master + " " + quoteArg(value)
}

// settingDefault is what counts where there is no line.
func settingDefault(key string) string {
	switch key {
	case "down-after-milliseconds":
		return strconv.FormatInt(DefaultDownAfter.Milliseconds(), 10)
	case "failover-timeout":
		return strconv.FormatInt(DefaultFailoverTimeout.Milliseconds(), 10)
	case "parallel-syncs":
		return strconv.Itoa(DefaultParallelSyncs)
	case "master-reboot-down-after-period":
		return "0"
	}
	return ""
}
