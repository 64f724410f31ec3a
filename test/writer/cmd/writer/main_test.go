package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer"
)

func nothing(string) string { return "" }

func TestRunPrintsTheRecordAndChecksIt(t *testing.T) {
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
	s, err := redisproc.Start(t.Context(), redisproc.Options{Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	empty, err := redisproc.Start(t.Context(), redisproc.Options{Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Stop()
	env := func(name string) string { return map[string]string{"WRITER_PASSWORD": "secret"}[name] }
	for target, code := range map[string]int{s.Addr(): 0, empty.Addr(): 1, "127.0.0.1:1": 1} {
		var out, errs bytes.Buffer
		args := []string{"-addr", s.Addr(), "-duration", "200ms", "-rate", "2000", "-verify", target}
		if got := run(t.Context(), args, env, &out, &errs); got != code {
			t.Errorf("verified at %s: exit status %d, want %d: %s", target, got, code, &errs)
		}
		var r writer.Result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Acked == 0 || r.Verified == nil {
			t.Errorf("%v: %s", err, &out)
		}
		if !regexp.MustCompile(fmt.Sprintf(`^acked=%d lost=\d+ unknown=0 longest_gap_ms=\d+\.\d errors=map\[\]\n`, r.Acked)).MatchString(errs.String()) {
			t.Errorf("for people: %s", &errs)
		}
	}
}

func TestEndOfTheContextIsTheEndOfTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"-addr", "127.0.0.1:1", "-duration", "0", "-verify", "no"}, nothing, &out, &errs); code != 0 {
		t.Errorf("exit status %d: %s", code, &errs)
	}
}

func TestWrongUsageIsOneSentence(t *testing.T) {
	for args, want := range map[string]string{
		"":                                "writer: exactly one of -addr and -sentinels is needed\n",
		"-addr a:1 -sentinels b:1":        "writer: exactly one of -addr and -sentinels is needed\n",
		"-sentinels b:1":                  "writer: configure writer: addresses of watchers and the name of the master are needed\n",
		"-addr a:1 -modes fast":           "writer: parse mode \"fast\": it must be single, pipelined or multi\n",
		"-addr a:1 -user u":               "writer: configure writer: the user \"u\" needs a password\n",
		"-addr a:1 more":                  "writer: unexpected argument \"more\"\n",
		"-addr a:1 -rate -1 -duration 1s": "writer: configure writer: numbers and times must not be negative\n",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nothing, &out, &errs); code != 2 || errs.String() != want || out.Len() > 0 {
			t.Errorf("%s: exit status %d, %s%s", args, code, &errs, &out)
		}
	}
}
