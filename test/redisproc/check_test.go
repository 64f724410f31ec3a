package redisproc_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func noErr(t *testing.T, err error, why ...any) {
	t.Helper()
	if err != nil {
		t.Fatal(append([]any{err}, why...)...)
	}
}

func errIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func errHas(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("error is %v, want %q in it", err, text)
	}
}

func equal(t *testing.T, want, got any, why ...any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatal(append([]any{"got ", got, ", want ", want, " "}, why...)...)
	}
}
