package conf

import "strings"

// hasSecret reports whether the arguments of a directive may hold a password, or the name of a command that should stay hidden.
func hasSecret(key string) bool {
	switch key {
	case "requirepass", "masterauth", "user", "tls-key-file-pass", "tls-client-key-file-pass", "rename-command",
		"sentinel auth-pass", "sentinel sentinel-pass", "sentinel rename-command":
		return true
	default:
		return false
	}
}

// redact returns the text of a line that may be shown. A line that is not understood is cut after the directive, because a
// password with a misspelt directive in front of it is still a password.
func (p *parser) redact(l line) string {
	if _, ok := p.table[l.key]; (ok || l.key == includeKey) && !hasSecret(l.key) {
		return cut(strings.Trim(l.raw, " \t\r\n"))
	}
	fields := strings.Fields(l.raw)
	if len(fields) == 0 {
		return ""
	}
	n := 1
	if strings.EqualFold(word(fields[0]), "sentinel") && len(fields) > 1 {
		n = 2
	}
	for i, f := range fields[:n] {
		w := word(f)
		if w != f {
			return strings.Join(append(fields[:i:i], w+"..."), " ")
		}
	}
	text := strings.Join(fields[:n], " ")
	if len(fields) > n {
		text += " ..."
	}
	return text
}

// word is the beginning of s that can be a directive's name: `requirepass=x` must not show the x.
func word(s string) string {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return s[:i]
		}
		if i == 40 {
			return s[:i]
		}
	}
	return s
}

// cut keeps a message readable when a line is not.
func cut(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
