package resp

import (
	"bytes"
	"io"
	"math"
)

const (
	firstBuffer = 512     // a connection's first read buffer: enough for what clients send
	freeBuffer  = 4 << 10 // up to here a buffer is not counted against the budget
	maxHeader   = 64      // longest "*<n>" or "$<n>" that is looked at
	firstSpans  = 16      // arguments for which room is kept
	keepSpans   = 64      // above this, the room is given back after the command
)

// span is an argument's place in the buffer, counted from the command's start.
type span struct{ from, to int32 }

// Reader reads the commands of one client. It holds the bytes that have come
// and nothing that was only announced, and it goes on where it stopped, so that
// a client that sends byte by byte costs no more than one that does not. It is
// for one goroutine.
type Reader struct {
	src    io.Reader
	limits Limits
	budget *budget
	held   int // reserved from budget

	// beforeRead is called before every Read of src, which may block for long.
	// The server flushes the replies there.
	beforeRead func() error

	buf   []byte
	start int // the current command's first byte
	pos   int // how far it is parsed
	end   int // end of what was read

	commands  uint64 // commands begun, so that the server can time one
	multibulk bool   // a "*" header has been read
	left      int    // arguments still missing
	bulk      int    // length of the argument being read, -1 before its header
	spans     []span
	args      [][]byte
}

// NewReader returns a Reader that reads from src within limits.
func NewReader(src io.Reader, limits Limits) *Reader {
	return &Reader{src: src, limits: limits, bulk: -1}
}

// SetLimits changes the limits from the next command on.
func (r *Reader) SetLimits(limits Limits) { r.limits = limits }

// ReadCommand returns the next command, the name first, never empty. The
// arguments are valid until the next call. The error is a [ProtocolError],
// [ErrBudget] or one of src; none of them can be recovered from. io.EOF comes
// between commands, io.ErrUnexpectedEOF within one.
func (r *Reader) ReadCommand() ([][]byte, error) {
	r.next()
	for {
		done, err := r.parse()
		if err != nil {
			return nil, err
		}
		if done {
			return r.arguments(), nil
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// Release gives the buffers back. The Reader must not be used afterwards.
func (r *Reader) Release() {
	r.budget.release(r.held)
	r.held = 0
	r.buf, r.spans, r.args = nil, nil, nil
}

// next forgets the command that was returned.
func (r *Reader) next() {
	r.commands++
	r.start = r.pos
	r.multibulk, r.left, r.bulk = false, 0, -1
	r.spans = r.spans[:0]
	clear(r.args)
	r.args = r.args[:0]
	if cap(r.spans) > keepSpans {
		r.uncharge(spanBytes(cap(r.spans)))
		r.spans, r.args = nil, nil
	}
	if r.start == r.end {
		r.start, r.pos, r.end = 0, 0, 0
		if len(r.buf) > freeBuffer {
			r.uncharge(len(r.buf) - freeBuffer)
			r.buf = nil
		}
	}
}

// arguments turns spans into slices of the buffer.
func (r *Reader) arguments() [][]byte {
	base := r.buf[r.start:r.end]
	for _, s := range r.spans {
		r.args = append(r.args, base[s.from:s.to:s.to])
	}
	return r.args
}

// fill reads more bytes, after making room for them.
func (r *Reader) fill() error {
	if r.end-r.start >= r.limits.MaxCommand {
		return ProtocolError("too big request")
	}
	if r.end == len(r.buf) {
		if err := r.makeRoom(); err != nil {
			return err
		}
	}
	if r.beforeRead != nil {
		if err := r.beforeRead(); err != nil {
			return err
		}
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil // an error that came with bytes comes again without
	}
	if err == io.EOF && r.end > r.start {
		return io.ErrUnexpectedEOF
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom moves the current command to the front of the buffer, or doubles the
// buffer if it is full of that one command. So memory follows the bytes that
// have come: to make the server hold n bytes a client has to send n/2.
func (r *Reader) makeRoom() error {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.end -= r.start
		r.pos -= r.start
		r.start = 0
		return nil
	}
	size := max(firstBuffer, 2*len(r.buf))
	if more := max(size, freeBuffer) - max(len(r.buf), freeBuffer); !r.charge(more) {
		return ErrBudget
	}
	buf := make([]byte, size)
	copy(buf, r.buf[:r.end])
	r.buf = buf
	return nil
}

func (r *Reader) charge(n int) bool {
	if !r.budget.reserve(n) {
		return false
	}
	r.held += n
	return true
}

func (r *Reader) uncharge(n int) {
	r.budget.release(n)
	r.held -= n
}

// parse goes on with the current command and says whether it is complete.
func (r *Reader) parse() (bool, error) {
	for !r.multibulk { // as long as the buffer has lines without a command
		if r.start == r.end {
			return false, nil
		}
		if r.buf[r.start] != '*' {
			done, empty, err := r.parseInline()
			if err != nil || !empty {
				return done, err
			}
		} else {
			ok, err := r.parseCount()
			if err != nil || !ok {
				return false, err
			}
		}
		if !r.multibulk { // an empty command: Redis skips it without a reply
			r.start = r.pos
		}
	}
	for r.left > 0 {
		ok, err := r.parseBulk()
		if err != nil || !ok {
			return false, err
		}
		r.left--
	}
	return true, nil
}

// parseCount reads "*<n>\r\n".
func (r *Reader) parseCount() (bool, error) {
	n, ok, err := r.header("too big mbulk count string", "invalid multibulk length")
	if err != nil || !ok {
		return false, err
	}
	switch {
	case n > math.MaxInt32:
		return false, ProtocolError("invalid multibulk length")
	case n > int64(r.limits.MaxArgs) && r.limits.PreAuth:
		return false, ProtocolError("unauthenticated multibulk length")
	case n > int64(r.limits.MaxArgs):
		return false, ProtocolError("invalid multibulk length")
	case n > 0:
		r.multibulk, r.left = true, int(n)
	}
	return true, nil
}

// parseBulk reads one "$<n>\r\n<bytes>\r\n".
func (r *Reader) parseBulk() (bool, error) {
	if r.bulk < 0 {
		if r.pos == r.end {
			return false, nil
		}
		if c := r.buf[r.pos]; c != '$' {
			return false, ProtocolError("expected '$', got '" + string(rune(c)) + "'")
		}
		n, ok, err := r.header("too big bulk count string", "invalid bulk length")
		if err != nil || !ok {
			return false, err
		}
		switch {
		case n < 0 || n > 512<<20:
			return false, ProtocolError("invalid bulk length")
		case n > int64(r.limits.MaxBulk) && r.limits.PreAuth:
			return false, ProtocolError("unauthenticated bulk length")
		case n > int64(r.limits.MaxBulk):
			return false, ProtocolError("invalid bulk length")
		case int64(r.pos-r.start)+n+2 > int64(r.limits.MaxCommand):
			return false, ProtocolError("too big request")
		}
		r.bulk = int(n)
	}
	last := r.pos + r.bulk
	if r.end < last+2 {
		return false, nil
	}
	if r.buf[last] != '\r' || r.buf[last+1] != '\n' {
		return false, ProtocolError("expected CRLF after a bulk")
	}
	if err := r.addSpan(r.pos-r.start, last-r.start); err != nil {
		return false, err
	}
	r.pos, r.bulk = last+2, -1
	return true, nil
}

// header reads a type byte, a number and CRLF at pos, and says whether it was
// all there.
func (r *Reader) header(tooBig, invalid ProtocolError) (n int64, ok bool, err error) {
	line := r.buf[r.pos:r.end]
	cr := bytes.IndexByte(line[:min(len(line), maxHeader)], '\r')
	if cr < 0 {
		if len(line) >= maxHeader {
			return 0, false, tooBig
		}
		return 0, false, nil
	}
	if len(line) < cr+2 {
		return 0, false, nil
	}
	n, ok = parseInt(line[1:cr])
	if !ok || line[cr+1] != '\n' {
		return 0, false, invalid
	}
	r.pos += cr + 2
	return n, true, nil
}

// addSpan notes an argument. The room for it is counted, because it can be
// larger than the argument.
func (r *Reader) addSpan(from, to int) error {
	if len(r.spans) == cap(r.spans) {
		size := max(firstSpans, 2*cap(r.spans))
		if !r.charge(spanBytes(size) - spanBytes(cap(r.spans))) {
			return ErrBudget
		}
		spans := make([]span, len(r.spans), size)
		copy(spans, r.spans)
		r.spans = spans
	}
	r.spans = append(r.spans, span{int32(from), int32(to)})
	return nil
}

// spanBytes returns what n spans and their later slices cost beyond the room
// that is free.
func spanBytes(n int) int {
	if n <= keepSpans {
		return 0
	}
	return n * 32
}

// parseInt reads a number as Redis does: no spaces, no plus sign, no leading
// zeros, and it has to fit.
func parseInt(b []byte) (int64, bool) {
	neg := false
	if len(b) > 1 && b[0] == '-' {
		neg, b = true, b[1:]
	}
	if len(b) == 0 || len(b) > 19 || (b[0] == '0' && (len(b) > 1 || neg)) {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0') // 19 digits fit
	}
	switch {
	case n <= math.MaxInt64 && neg:
		return -int64(n), true
	case n <= math.MaxInt64:
		return int64(n), true
	case neg && n == 1<<63:
		return math.MinInt64, true
	default:
		return 0, false
	}
}
