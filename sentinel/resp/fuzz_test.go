package resp

import (
	"bytes"
	"io"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidwall/redcon"
)

// seeds are inputs of every kind.
func seeds(f *testing.F) {
	for _, s := range []string{
		"", "PING\r\n", "*1\r\n$4\r\nPING\r\n", multibulk("SENTINEL", "get-master-addr-by-name", "orders"),
		"*9223372036854775807\r\n", "*1\r\n$1073741824\r\n", "*0\r\n*-1\r\nPING\n", "PING \"a\\x41\" 'b'\r\n",
		"*2\r\n$1\r\na\r\n$0\r\n\r\n", "*1\r\n$-1\r\n", "$1\r\na\r\n", "\x00\x00\n", strings.Repeat("*1\r\n$1\r\na\r\n", 50),
	} {
		f.Add([]byte(s))
	}
}

// FuzzReader: no input makes the Reader panic, allocate much more than it was
// given, or read differently when the input comes in pieces.
func FuzzReader(f *testing.F) {
	seeds(f)
	l := Limits{MaxArgs: 64, MaxBulk: 1 << 10, MaxInline: 1 << 10, MaxCommand: 4 << 10}
	f.Fuzz(func(t *testing.T, in []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		whole, err := readAll(bytes.NewReader(in), l)
		runtime.ReadMemStats(&after)
		// What readAll keeps for the comparison is bounded by the input too.
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(256<<10+64*len(in)) {
			t.Fatalf("%d bytes allocated for an input of %d", used, len(in))
		}
		if err == nil {
			t.Fatal("no error at the end of the input")
		}
		for _, src := range []io.Reader{iotest.OneByteReader(bytes.NewReader(in)), iotest.HalfReader(bytes.NewReader(in))} {
			pieces, errPieces := readAll(src, l)
			if strings.Join(whole, "\n") != strings.Join(pieces, "\n") || len(whole) != len(pieces) || err.Error() != errPieces.Error() {
				t.Fatalf("as a whole: %q %v\nin pieces: %q %v", whole, err, pieces, errPieces)
			}
		}
	})
}

// FuzzReaderAgainstRedcon: well-formed input is read as redcon reads it.
func FuzzReaderAgainstRedcon(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		in = wellFormed(in)
		ours, err := readAll(bytes.NewReader(in), DefaultLimits())
		if err != io.EOF {
			t.Fatalf("well-formed input %q: %v", in, err)
		}
		var theirs []string
		rest := in
		for len(rest) > 0 {
			complete, args, _, left, err := redcon.ReadNextCommand(rest, nil)
			if err != nil {
				t.Fatalf("redcon on %q: %v", rest, err)
			}
			if !complete {
				break
			}
			if len(args) > 0 {
				theirs = append(theirs, string(bytes.Join(args, []byte("|"))))
			}
			rest = left
		}
		if strings.Join(ours, "\n") != strings.Join(theirs, "\n") || len(ours) != len(theirs) {
			t.Fatalf("input %q\nours:   %q\nredcon: %q", in, ours, theirs)
		}
	})
}

// plainWord is an inline word that both parsers must take as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)

// wellFormed makes commands of any bytes: each line becomes one, its words the
// arguments; lines of plain words every other time an inline command.
func wellFormed(in []byte) []byte {
	var out bytes.Buffer
	for i, line := range bytes.Split(in, []byte("\n")) {
		words := bytes.Split(line, []byte(" "))
		if len(words) > 2000 {
			continue
		}
		inline := i%2 == 1
		for _, w := range words {
			inline = inline && plainWord.Match(w)
		}
		if inline && len(line) < 60<<10 {
			out.Write(bytes.Join(words, []byte(" ")))
			out.WriteString("\r\n")
			continue
		}
		out.WriteString("*" + strconv.Itoa(len(words)) + "\r\n")
		for _, w := range words {
			out.WriteString("$" + strconv.Itoa(len(w)) + "\r\n")
			out.Write(w)
			out.WriteString("\r\n")
		}
	}
	return out.Bytes()
}

// FuzzGlob: the matcher agrees with a plain recursive one on small inputs.
func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"*", "+switch-master"}, {"+s[a-z]*", "+sdown"}, {"[^a]\\*?", "b*c"}, {"[", ""}, {"a**b*", "ab"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 12 {
			return
		}
		if got, want := matchGlob(pattern, name), slowGlob(pattern, name); got != want {
			t.Fatalf("matchGlob(%q, %q) = %v, want %v", pattern, name, got, want)
		}
	})
}

func slowGlob(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' {
		return slowGlob(pattern[1:], name) || (name != "" && slowGlob(pattern, name[1:]))
	}
	if name == "" {
		return false
	}
	next, ok := matchOne(pattern, 0, name[0])
	return ok && slowGlob(pattern[next:], name[1:])
}
