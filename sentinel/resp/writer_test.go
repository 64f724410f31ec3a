package resp

import (
	"bufio"
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestWriterSpeaksBothProtocols(t *testing.T) {
	for name, c := range map[string]struct {
		write        func(w *Writer)
		resp2, resp3 string
	}{
		"simple":       {func(w *Writer) { w.Simple("OK") }, "+OK", "+OK"},
		"error":        {func(w *Writer) { w.Error("ERR a\r\nb") }, "-ERR a  b", "-ERR a  b"},
		"int":          {func(w *Writer) { w.Int(math.MinInt64) }, ":-9223372036854775808", ":-9223372036854775808"},
		"bulk":         {func(w *Writer) { w.Bulk("a\r\n") }, `$"a\r\n"`, `$"a\r\n"`},
		"empty bulk":   {func(w *Writer) { w.BulkBytes(nil) }, `$""`, `$""`},
		"number":       {func(w *Writer) { w.BulkInt(-12) }, `$"-12"`, `$"-12"`},
		"null":         {func(w *Writer) { w.Null() }, "$-1", "_"},
		"null array":   {func(w *Writer) { w.NullArray() }, "*-1", "_"},
		"true":         {func(w *Writer) { w.Bool(true) }, ":1", "#t"},
		"false":        {func(w *Writer) { w.Bool(false) }, ":0", "#f"},
		"double":       {func(w *Writer) { w.Double(0.1) }, `$"0.1"`, ",0.1"},
		"infinite":     {func(w *Writer) { w.Double(math.Inf(1)) }, `$"inf"`, ",inf"},
		"minus":        {func(w *Writer) { w.Double(math.Inf(-1)) }, `$"-inf"`, ",-inf"},
		"not a number": {func(w *Writer) { w.Double(math.NaN()) }, `$"nan"`, ",nan"},
		"verbatim":     {func(w *Writer) { w.Verbatim("txt", "a") }, `$"a"`, `="txt:a"`},
		"array":        {func(w *Writer) { w.Array(2); w.Int(1); w.Int(2) }, "*[:1 :2]", "*[:1 :2]"},
		"map":          {func(w *Writer) { w.Map(1); w.Int(1); w.Int(2) }, "*[:1 :2]", "%[:1 :2]"},
		"push":         {func(w *Writer) { w.Push(1); w.Int(1) }, "*[:1]", ">[:1]"},
	} {
		t.Run(name, func(t *testing.T) {
			for proto, want := range map[int]string{2: c.resp2, 3: c.resp3} {
				w := NewWriter(nil)
				w.SetProto(proto)
				c.write(w)
				r := bufio.NewReader(bytes.NewReader(w.Bytes()))
				got, err := readReply(r)
				noError(t, err)
				equal(t, want, got.String())
				equal(t, 0, r.Buffered(), "bytes left over")
				noError(t, w.Flush())
				w.Reset()
				equal(t, 0, len(w.Bytes()))
			}
		})
	}
}

type failing struct{ n int }

func (f *failing) Write(b []byte) (int, error) {
	f.n++
	return 0, errors.New("gone")
}

func TestWriterFlushesLargeRepliesAndKeepsTheError(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	w.Array(100)
	for range 100 {
		w.Bulk(strings.Repeat("x", 1000))
		less(t, len(w.Bytes()), flushAt+1100)
	}
	noError(t, w.Flush())
	v, err := readReply(bufio.NewReader(&out))
	noError(t, err)
	equal(t, 100, len(v.elems))

	dst := &failing{}
	w = NewWriter(dst)
	for range 100 {
		w.Bulk(strings.Repeat("x", 1000))
	}
	errorContains(t, w.Flush(), "gone")
	errorContains(t, w.Flush(), "gone")
	equal(t, 1, dst.n, "writes after the failed one")
}
