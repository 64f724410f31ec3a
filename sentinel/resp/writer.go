package resp

import (
	"io"
	"strconv"
	"strings"
)

// flushAt is how many bytes a Writer collects before it writes by itself.
const flushAt = 16 << 10

// Writer encodes replies in RESP2 or RESP3. Without a destination it only
// collects them. It is for one goroutine. After an error of the destination it
// throws everything away, and Flush returns that error.
type Writer struct {
	dst   io.Writer
	buf   []byte
	proto int
	err   error
	mark  int  // what was collected before muting
	muted bool // throw away what comes
}

// NewWriter returns a Writer for RESP2 that writes to dst, which may be nil.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst, proto: 2} }

// SetProto selects the protocol version of what follows, 2 or 3.
func (w *Writer) SetProto(proto int) { w.proto = proto }

// Bytes returns what has been collected, valid until the next call.
func (w *Writer) Bytes() []byte { return w.buf }

// Reset throws away what has been collected.
func (w *Writer) Reset() { w.buf = w.buf[:0] }

// Flush writes what has been collected to the destination, if there is one.
func (w *Writer) Flush() error {
	if w.dst == nil {
		return nil
	}
	if w.muted {
		w.buf = w.buf[:w.mark]
		w.mark = 0
	}
	if len(w.buf) > 0 && w.err == nil {
		_, w.err = w.dst.Write(w.buf)
	}
	if cap(w.buf) > 2*flushAt {
		w.buf = nil
	}
	w.buf = w.buf[:0]
	return w.err
}

// shrink gives the buffer of a connection back that may now be idle for long.
func (w *Writer) shrink() {
	if len(w.buf) == 0 && cap(w.buf) > firstBuffer {
		w.buf = nil
	}
}

// Mute throws away what is written from now on, or no more.
func (w *Writer) Mute(on bool) {
	if w.muted {
		w.buf = w.buf[:w.mark]
	}
	w.muted, w.mark = on, len(w.buf)
}

func (w *Writer) full() {
	if w.muted {
		if len(w.buf)-w.mark >= flushAt {
			w.buf = w.buf[:w.mark]
		}
		return
	}
	if len(w.buf) >= flushAt && w.dst != nil {
		_ = w.Flush() // the error is kept for the caller's Flush
	}
}

func (w *Writer) header(kind byte, n int64) {
	w.buf = append(w.buf, kind)
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.crlf()
}

func (w *Writer) crlf() {
	w.buf = append(w.buf, '\r', '\n')
	w.full()
}

// oneLine replaces what would end a line too early.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

func line(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		return oneLine.Replace(s)
	}
	return s
}

// Simple writes a status. Line breaks in it become spaces.
func (w *Writer) Simple(s string) {
	w.buf = append(append(w.buf, '+'), line(s)...)
	w.crlf()
}

// Error writes an error; s begins with its code ("ERR "). Line breaks in it
// become spaces.
func (w *Writer) Error(s string) {
	w.buf = append(append(w.buf, '-'), line(s)...)
	w.crlf()
}

// Int writes a number.
func (w *Writer) Int(n int64) { w.header(':', n) }

// Bulk writes a string of any bytes.
func (w *Writer) Bulk(s string) {
	w.header('$', int64(len(s)))
	w.buf = append(w.buf, s...)
	w.crlf()
}

// BulkBytes writes a string of any bytes.
func (w *Writer) BulkBytes(b []byte) {
	w.header('$', int64(len(b)))
	w.buf = append(w.buf, b...)
	w.crlf()
}

// BulkInt writes a number as a string.
func (w *Writer) BulkInt(n int64) {
	var tmp [20]byte
	w.BulkBytes(strconv.AppendInt(tmp[:0], n, 10))
}

// Verbatim writes a text, in RESP3 with its format ("txt", three letters).
func (w *Writer) Verbatim(format, s string) {
	if w.proto < 3 {
		w.Bulk(s)
		return
	}
	w.header('=', int64(len(s)+4))
	w.buf = append(append(append(w.buf, format...), ':'), s...)
	w.crlf()
}

// Null writes the null in place of a string.
func (w *Writer) Null() { w.null("$-1") }

// NullArray writes the null in place of an array.
func (w *Writer) NullArray() { w.null("*-1") }

func (w *Writer) null(resp2 string) {
	if w.proto >= 3 {
		w.buf = append(w.buf, '_')
	} else {
		w.buf = append(w.buf, resp2...)
	}
	w.crlf()
}

// Bool writes a truth value, in RESP2 as 1 or 0.
func (w *Writer) Bool(v bool) {
	switch {
	case w.proto >= 3 && v:
		w.buf = append(w.buf, "#t"...)
		w.crlf()
	case w.proto >= 3:
		w.buf = append(w.buf, "#f"...)
		w.crlf()
	case v:
		w.Int(1)
	default:
		w.Int(0)
	}
}

// Double writes a floating point number, in RESP2 as a string.
func (w *Writer) Double(v float64) {
	s := strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64))
	s = strings.TrimPrefix(s, "+")
	if w.proto < 3 {
		w.Bulk(s)
		return
	}
	w.buf = append(append(w.buf, ','), s...)
	w.crlf()
}

// Array begins an array of n elements.
func (w *Writer) Array(n int) { w.header('*', int64(n)) }

// Map begins a map of n pairs, in RESP2 a flat array of 2n elements.
func (w *Writer) Map(n int) {
	if w.proto < 3 {
		w.Array(2 * n)
		return
	}
	w.header('%', int64(n))
}

// Set begins a set of n elements, in RESP2 an array.
func (w *Writer) Set(n int) {
	if w.proto < 3 {
		w.Array(n)
		return
	}
	w.header('~', int64(n))
}

// Push begins an out-of-band message of n elements, in RESP2 an array.
func (w *Writer) Push(n int) {
	if w.proto < 3 {
		w.Array(n)
		return
	}
	w.header('>', int64(n))
}
