package resp

import "bytes"

// parseInline reads a command that was sent as a line. empty tells that the
// line had no words; the command is then over without being one.
func (r *Reader) parseInline() (done, empty bool, err error) {
	// pos is how far the line has been searched, not parsed.
	i := bytes.IndexByte(r.buf[r.pos:r.end], '\n')
	if i < 0 {
		r.pos = r.end
		if r.end-r.start > r.limits.MaxInline {
			return false, false, ProtocolError("too big inline request")
		}
		return false, false, nil
	}
	line := r.buf[r.start : r.pos+i]
	r.pos += i + 1
	if len(line) > r.limits.MaxInline {
		return false, false, ProtocolError("too big inline request")
	}
	if nul := bytes.IndexByte(line, 0); nul >= 0 {
		line = line[:nul] // Redis takes the line for a C string
	}
	for at := 0; ; {
		for at < len(line) && isSpace(line[at]) {
			at++
		}
		if at == len(line) {
			return len(r.spans) > 0, len(r.spans) == 0, nil
		}
		if len(r.spans) == r.limits.MaxArgs {
			return false, false, ProtocolError("too big inline request")
		}
		n, next, ok := unquote(line, at)
		if !ok {
			return false, false, ProtocolError("unbalanced quotes in request")
		}
		if err := r.addSpan(at, at+n); err != nil {
			return false, false, err
		}
		at = next
	}
}

// isSpace is what may stand between words, endsWord what ends an unquoted one.
func isSpace(c byte) bool  { return c == ' ' || (c >= '\t' && c <= '\r') }
func endsWord(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// unquote takes the word at line[from:] and writes what it stands for in its
// place, which is never longer. It returns its length and where the rest of the
// line begins. Quotes end a word, as in redis-cli: 'a'b is an error.
func unquote(line []byte, from int) (n, next int, ok bool) {
	out := from
	for at := from; ; {
		if at == len(line) || endsWord(line[at]) {
			return out - from, at, true
		}
		switch c := line[at]; c {
		case '"', '\'':
			var w int
			w, at, ok = unquoteString(line, at+1, out, c)
			if !ok || (at < len(line) && !isSpace(line[at])) {
				return 0, 0, false
			}
			return out + w - from, at, true
		default:
			line[out] = c
			out++
			at++
		}
	}
}

// unquoteString writes the string that goes from line[at] to the closing quote
// to line[out:]. It returns its length and the place behind the quote.
func unquoteString(line []byte, at, out int, quote byte) (n, next int, ok bool) {
	first := out
	for at < len(line) {
		c := line[at]
		at++
		if c == quote {
			return out - first, at, true
		}
		switch {
		case c != '\\' || at == len(line):
		case quote == '\'':
			if line[at] == '\'' {
				c = '\''
				at++
			}
		case line[at] == 'x' && at+2 < len(line) && isHex(line[at+1]) && isHex(line[at+2]):
			c = hexValue(line[at+1])<<4 | hexValue(line[at+2])
			at += 3
		default:
			c = escaped(line[at])
			at++
		}
		line[out] = c
		out++
	}
	return 0, 0, false
}

func escaped(c byte) byte {
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

func isHex(c byte) bool {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
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
