package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClusterDomain(t *testing.T) {
	for text, want := range map[string]string{
		"nameserver 10.96.0.10\nsearch shop.svc.example.org svc.example.org example.org\noptions ndots:5\n": "example.org",
		"search svc.cluster.local.\n": "cluster.local",
		"search example.org\n":        "",
		"nameserver 1.1.1.1\n":        "",
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := clusterDomain(path); got != want {
			t.Errorf("%q: domain %q, want %q", text, got, want)
		}
	}
	if got := clusterDomain(filepath.Join(t.TempDir(), "none")); got != "" {
		t.Errorf("without a file: %q", got)
	}
}
