package conf

import (
	"errors"
	"strings"
)

var errUnbalanced = errors.New("the quotes are not balanced (a closing quote must be there and be followed by a blank)")

// splitArgs splits one line by the rules of redis.conf: blanks separate; "..." knows \n \r \t \b \a \\ \" and \xHH; '...' knows \'
// only; a closing quote must end the word. A quote may open in mid-word.
func splitArgs(s string) ([]string, error) {
	var args []string
	for i := 0; ; {
		for i < len(s) && isSpace(s[i]) {
			i++
		}
		if i >= len(s) {
			return args, nil
		}
		word, next, err := readWord(s, i)
		if err != nil {
			return nil, err
		}
		args, i = append(args, word), next
	}
}

func readWord(s string, i int) (string, int, error) {
	var b strings.Builder
	for i < len(s) && !isSpace(s[i]) {
		quote := s[i]
		if quote != '"' && quote != '\'' {
			b.WriteByte(s[i])
			i++
			continue
		}
		next, ok := readQuoted(&b, s, i+1, quote)
		if !ok || (next < len(s) && !isSpace(s[next])) {
			return "", 0, errUnbalanced
		}
		i = next
	}
	return b.String(), i, nil
}

// readQuoted copies up to the closing quote and returns the index after it.
func readQuoted(b *strings.Builder, s string, i int, quote byte) (int, bool) {
	for i < len(s) {
		c := s[i]
		switch {
		case c == quote:
			return i + 1, true
		case c == '\\' && quote == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i += 2
		case c == '\\' && quote == '"' && i+3 < len(s) && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]):
			b.WriteByte(hexValue(s[i+2])<<4 | hexValue(s[i+3]))
			i += 4
		case c == '\\' && quote == '"' && i+1 < len(s):
			b.WriteByte(unescape(s[i+1]))
			i += 2
		default:
			b.WriteByte(c)
			i++
		}
	}
	return i, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	default:
		return c
	}
}

// quoteArg writes s so that splitArgs gives it back; plain words stay as they are.
func quoteArg(s string) string {
	plain := s != ""
	for i := 0; i < len(s); i++ {
		plain = plain && s[i] > ' ' && s[i] < 0x7f && !strings.ContainsRune(`"'\`, rune(s[i]))
	}
	if plain {
		return s
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			b.WriteString(`\x`)
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func isSpace(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
