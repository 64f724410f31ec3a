package resp

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll returns the commands in input, each joined by "|", and the error at
// the end.
func readAll(src io.Reader, l Limits) ([]string, error) {
	r := NewReader(src, l)
	var got []string
	for {
		args, err := r.ReadCommand()
		if err != nil {
			return got, err
		}
		got = append(got, string(bytes.Join(args, []byte("|"))))
	}
}

func TestReaderReadsWhatClientsSend(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"multibulk":            {multibulk("PING") + multibulk("SENTINEL", "masters"), []string{"PING", "SENTINEL|masters"}},
		"empty argument":       {multibulk("PING", ""), []string{"PING|"}},
		"binary argument":      {multibulk("PING", "a\r\n\x00*1"), []string{"PING|a\r\n\x00*1"}},
		"inline":               {"PING\r\nPING  a \tb\n", []string{"PING", "PING|a|b"}},
		"double quotes":        {`PING "a b\x41\n\t\"\\\q"` + "\r\n", []string{"PING|a bA\n\t\"\\q"}},
		"incomplete hex":       {`PING "\x4"` + "\r\n", []string{"PING|x4"}},
		"single quotes":        {`PING 'a\n\'b'` + "\r\n", []string{`PING|a\n'b`}},
		"quotes in a word":     {`PING a"b c"` + "\r\n", []string{"PING|ab c"}},
		"empty quotes":         {`PING ''` + "\r\n", []string{"PING|"}},
		"empty commands":       {"\r\n\n  \r\n*0\r\n*-1\r\n*-7\r\nPING\r\n", []string{"PING"}},
		"line with zero byte":  {"PING a\x00b c\r\n", []string{"PING|a"}},
		"inline and multibulk": {"PING\n" + multibulk("PING", "x") + "PING y\n", []string{"PING", "PING|x", "PING|y"}},
		"many":                 {strings.Repeat(multibulk("SENTINEL", "get-master-addr-by-name", "orders"), 100), repeat("SENTINEL|get-master-addr-by-name|orders", 100)},
		"large":                {multibulk("PING", strings.Repeat("x", 300_000)) + "PING\r\n", []string{"PING|" + strings.Repeat("x", 300_000), "PING"}},
		"many arguments":       {multibulk(repeat("a", 2048)...), []string{strings.TrimSuffix(strings.Repeat("a|", 2048), "|")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(strings.NewReader(c.in), DefaultLimits())
			errorIs(t, err, io.EOF)
			equal(t, c.want, got)
			got, err = readAll(iotest.OneByteReader(strings.NewReader(c.in)), DefaultLimits())
			errorIs(t, err, io.EOF)
			equal(t, c.want, got, "byte by byte")
		})
	}
}

func repeat(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

func TestReaderRefusesWhatRedisRefuses(t *testing.T) {
	small := Limits{MaxArgs: 3, MaxBulk: 100, MaxInline: 100, MaxCommand: 200}
	before := small
	before.PreAuth = true
	for name, c := range map[string]struct {
		in     string
		limits Limits
		want   string
	}{
		"23 bytes":                {"*9223372036854775807\r\n", small, "invalid multibulk length"},
		"more than an int":        {"*9223372036854775808\r\n", small, "invalid multibulk length"},
		"23 bytes before AUTH":    {"*9223372036854775807\r\n", before, "invalid multibulk length"},
		"too many":                {"*4\r\n", small, "invalid multibulk length"},
		"too many before AUTH":    {"*4\r\n", before, "unauthenticated multibulk length"},
		"no number":               {"*a\r\n", small, "invalid multibulk length"},
		"leading zero":            {"*01\r\n", small, "invalid multibulk length"},
		"minus zero":              {"*-0\r\n", small, "invalid multibulk length"},
		"plus":                    {"*+1\r\n", small, "invalid multibulk length"},
		"nothing":                 {"*\r\n", small, "invalid multibulk length"},
		"endless count":           {"*" + strings.Repeat("1", 100), small, "too big mbulk count string"},
		"not a bulk":              {"*1\r\n:1\r\n", small, "expected '$', got ':'"},
		"negative bulk":           {"*1\r\n$-1\r\n", small, "invalid bulk length"},
		"1 GB bulk":               {"*1\r\n$1073741824\r\n", small, "invalid bulk length"},
		"1 GB bulk before AUTH":   {"*1\r\n$1073741824\r\n", before, "invalid bulk length"},
		"large bulk":              {"*1\r\n$101\r\n", small, "invalid bulk length"},
		"large bulk before AUTH":  {"*1\r\n$101\r\n", before, "unauthenticated bulk length"},
		"endless bulk length":     {"*1\r\n$" + strings.Repeat("1", 100), small, "too big bulk count string"},
		"bulk without end":        {"*1\r\n$4\r\nPINGxxPING\r\n", small, "expected CRLF after a bulk"},
		"large together":          {"*3\r\n$99\r\n" + strings.Repeat("x", 99) + "\r\n$99\r\n", small, "too big request"},
		"endless line":            {strings.Repeat("x", 101), small, "too big inline request"},
		"long line":               {strings.Repeat("x", 101) + "\n", small, "too big inline request"},
		"long line of words":      {"a b c d\n", small, "too big inline request"},
		"open quote":              {"PING \"a\n", small, "unbalanced quotes in request"},
		"open quote, backslash":   {"PING \"a\\\n", small, "unbalanced quotes in request"},
		"quote ends before space": {"PING 'a'b\n", small, "unbalanced quotes in request"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, src := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := readAll(src, c.limits)
				equal(t, 0, len(got))
				equal(t, ProtocolError(c.want), err)
			}
		})
	}
}

func TestReaderTellsAnEndWithinACommand(t *testing.T) {
	for _, in := range []string{"*", "*1\r", "*1\r\n", "*1\r\n$4\r\nPIN", "PING"} {
		_, err := readAll(strings.NewReader(in), DefaultLimits())
		errorIs(t, err, io.ErrUnexpectedEOF, in)
	}
}

// TestAnnouncementsCostNothing: memory follows the bytes that came.
func TestAnnouncementsCostNothing(t *testing.T) {
	l := Limits{MaxArgs: 1 << 30, MaxBulk: 500 << 20, MaxInline: 1 << 20, MaxCommand: 1 << 30}
	for _, in := range []string{
		"*1000000000\r\n",
		"*1000000000\r\n$1\r\na\r\n",
		"*1\r\n$500000000\r\n" + strings.Repeat("x", 1000),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAll(strings.NewReader(in), l)
		runtime.ReadMemStats(&after)
		errorIs(t, err, io.ErrUnexpectedEOF)
		less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), in[:12])
	}
}

func TestReaderGivesUpWhenTheBudgetIsUsedUp(t *testing.T) {
	shared := newBudget(100 << 10)
	open := func(in string) *Reader {
		r := NewReader(strings.NewReader(in), DefaultLimits())
		r.budget = shared
		return r
	}
	big := multibulk("PING", strings.Repeat("x", 60_000))
	first, second := open(big+"PING\r\n"), open(big)
	_, err := first.ReadCommand()
	noError(t, err)
	less(t, 0, shared.used.Load())
	_, err = second.ReadCommand()
	errorIs(t, err, ErrBudget)
	second.Release()
	small := open(multibulk("PING", strings.Repeat("x", 1000)))
	_, err = small.ReadCommand()
	noError(t, err, "small commands go on")
	_, err = first.ReadCommand()
	noError(t, err)
	_, err = first.ReadCommand()
	errorIs(t, err, io.EOF)
	equal(t, int64(0), shared.used.Load(), "given back after the command")

	many := open(multibulk(repeat("a", 2000)...))
	_, err = many.ReadCommand()
	noError(t, err)
	less(t, 0, shared.used.Load(), "arguments count too")
	many.Release()
	equal(t, int64(0), shared.used.Load())
}

func TestReaderReportsItsSource(t *testing.T) {
	broken := errors.New("broken")
	_, err := readAll(io.MultiReader(strings.NewReader("PING\r\nPI"), iotest.ErrReader(broken)), DefaultLimits())
	errorIs(t, err, broken)
}

func TestLimitsThatCannotWorkAreRefused(t *testing.T) {
	for _, l := range []Limits{
		{MaxArgs: 1},
		{MaxArgs: 1, MaxBulk: 2, MaxInline: 1, MaxCommand: 1},
		{MaxArgs: -1, MaxBulk: 1, MaxInline: 1, MaxCommand: 1},
	} {
		_, err := NewServer(oneMaster(1), Options{Limits: l})
		errorContains(t, err, "Limits")
	}
	_, err := NewServer(nil, Options{})
	truth(t, err != nil)
	_, err = NewServer(oneMaster(1), Options{MaxClients: -1})
	errorContains(t, err, "MaxClients is -1")
}
