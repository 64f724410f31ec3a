package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/test/redisproc"
)

func writeConf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckOfAFileReachesEveryInstanceAndChooses(t *testing.T) {
	master, err := redisproc.Start(t.Context(), redisproc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer master.Stop()
	replica, err := redisproc.Start(t.Context(), redisproc.Options{ReplicaOf: master.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Stop()
	if err := replica.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	path := writeConf(t, fmt.Sprintf("sentinel monitor orders 127.0.0.1 %d 2\nsentinel known-replica orders 127.0.0.1 %d\n", master.Port(), replica.Port()))
	var out bytes.Buffer
	if err := checkFile(t.Context(), &out, path, false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{master.Addr() + "  master", replica.Addr() + "  replica", replica.Addr() + " would be chosen", "no persistence", "names no other watcher", "0 problems"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	replica.Kill()
	out.Reset()
	err = checkFile(t.Context(), &out, path, false)
	var exit *cli.ExitError
	if !errors.As(err, &exit) || exit.Code != cli.ExitFailure || !strings.Contains(out.String(), "problem  reach "+replica.Addr()) || !strings.Contains(out.String(), "died now: nobody") {
		t.Errorf("a replica that is gone: %v\n%s", err, out.String())
	}
}

func TestCheckOfABadFileNamesTheLine(t *testing.T) {
	t.Setenv("TRIWATCH_PEERS", "127.0.0.1:36379")
	for text, want := range map[string]string{
		"sentinel monitor orders 127.0.0.1 nonsense 2\n": "sentinel.conf:1",
		"sentinel monitor orders 127.0.0.1 6379 5\n":     "quorum 5",
	} {
		var out bytes.Buffer
		if err := checkFile(t.Context(), &out, writeConf(t, text), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one that names %q", text, err, want)
		}
	}
}
