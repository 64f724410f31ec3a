package resp

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// reply is a reply as it came: its type byte, its text or number, its elements.
type reply struct {
	kind  byte
	text  string
	elems []reply // keys and values one after the other for a map
}

// readReply reads one reply of RESP2 or RESP3. It is the tests' own, written
// against the protocol and not against the Writer.
func readReply(r *bufio.Reader) (reply, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return reply{}, err
	}
	if len(head) < 3 || !strings.HasSuffix(head, "\r\n") {
		return reply{}, fmt.Errorf("bad line %q", head)
	}
	v := reply{kind: head[0], text: head[1 : len(head)-2]}
	switch v.kind {
	case '+', '-', ':', '_', '#', ',':
		return v, nil
	}
	n, err := strconv.Atoi(v.text)
	if err != nil {
		return v, fmt.Errorf("bad length in %q", head)
	}
	if n == -1 && (v.kind == '$' || v.kind == '*') {
		return v, nil
	}
	switch v.kind {
	case '$', '=':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return v, err
		}
		if string(b[n:]) != "\r\n" {
			return v, fmt.Errorf("bulk %q of %d bytes does not end there", b, n)
		}
		v.text = string(b[:n])
		return v, nil
	case '%':
		n *= 2
	case '*', '>', '~':
	default:
		return v, fmt.Errorf("unknown type in %q", head)
	}
	for range n {
		e, err := readReply(r)
		if err != nil {
			return v, err
		}
		v.elems = append(v.elems, e)
	}
	return v, nil
}

// String shows a reply on one line.
func (v reply) String() string {
	switch v.kind {
	case '*', '>', '~', '%':
		if v.text == "-1" {
			return "*-1"
		}
		parts := make([]string, len(v.elems))
		for i, e := range v.elems {
			parts[i] = e.String()
		}
		return string(v.kind) + "[" + strings.Join(parts, " ") + "]"
	case '$', '=':
		if v.text == "-1" {
			return "$-1"
		}
		return string(v.kind) + strconv.Quote(v.text)
	default:
		return string(v.kind) + v.text
	}
}
