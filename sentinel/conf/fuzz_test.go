package conf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzParse checks that no file makes Parse panic, that a rewrite without news keeps the meaning, and that a second one keeps every byte.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/*.conf*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for text := range wrongLines() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse("fuzz", bytes.NewReader(data))
		if err != nil {
			return
		}
		out := first.Rewrite(first.State())
		second, err := Parse("fuzz", bytes.NewReader(out))
		if err != nil {
			t.Fatalf("the rewritten file is refused: %v\n%s", err, out)
		}
		if !reflect.DeepEqual(unordered(first.State()), unordered(second.State())) {
			t.Fatalf("the rewrite says\n%+v\nwant\n%+v", second.State(), first.State())
		}
		if again := second.Rewrite(second.State()); !bytes.Equal(out, again) {
			t.Fatalf("the second rewrite differs:\n%q\n%q", out, again)
		}
		moved := afterFailover(second)
		third, err := Parse("fuzz", bytes.NewReader(second.Rewrite(moved)))
		if err == nil && !bytes.Equal(third.Rewrite(moved), second.Rewrite(moved)) {
			t.Fatalf("rewriting a failover twice differs:\n%s", third.Rewrite(moved))
		}
	})
}

// unordered is a state in which what the file lists in no particular order stands in one:
// a known replica that is spelled oddly (port +6379) moves to the end.
func unordered(s State) State {
	s.Masters = slices.Clone(s.Masters)
	for i := range s.Masters {
		m := &s.Masters[i]
		m.KnownReplicas, m.KnownSentinels = slices.Clone(m.KnownReplicas), slices.Clone(m.KnownSentinels)
		slices.SortFunc(m.KnownReplicas, byText)
		slices.SortFunc(m.KnownSentinels, byText)
	}
	return s
}

func byText[T any](a, b T) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
