package resp

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The checks that the tests of this package share. Each ends the test.

func fail(t testing.TB, note []any, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if len(note) > 0 {
		text = fmt.Sprintf(note[0].(string), note[1:]...) + ": " + text
	}
	t.Fatal(text)
}

func equal(t testing.TB, want, got any, note ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		fail(t, note, "\nwant %#v\ngot  %#v", want, got)
	}
}

func truth(t testing.TB, ok bool, note ...any) {
	t.Helper()
	if !ok {
		fail(t, note, "false")
	}
}

func noError(t testing.TB, err error, note ...any) {
	t.Helper()
	if err != nil {
		fail(t, note, "unexpected error: %v", err)
	}
}

func errorIs(t testing.TB, err, want error, note ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		fail(t, note, "error is %v, want %v", err, want)
	}
}

func errorContains(t testing.TB, err error, part string, note ...any) {
	t.Helper()
	if err == nil {
		fail(t, note, "no error, want one with %q", part)
	}
	contains(t, err.Error(), part, note...)
}

func contains(t testing.TB, s, part string, note ...any) {
	t.Helper()
	if !strings.Contains(s, part) {
		fail(t, note, "%q is missing in %q", part, s)
	}
}

func less[T cmp.Ordered](t testing.TB, small, large T, note ...any) {
	t.Helper()
	if small >= large {
		fail(t, note, "%v is not less than %v", small, large)
	}
}
