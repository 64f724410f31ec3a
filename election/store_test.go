package election

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestADirectoryInUseIsOneClearError(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll()
	c.awaitLeader()
	_, err := New(c.ws[0].cfg, &list{})
	if !errors.Is(err, ErrDirInUse) || !strings.Contains(err.Error(), c.ws[0].cfg.Dir) {
		t.Fatalf("second node on the same directory: %v", err)
	}
}

func TestADamagedStoreIsOneClearError(t *testing.T) {
	damages := map[string]func(t *testing.T, path string){
		"garbage": func(t *testing.T, path string) {
			write(t, path, []byte(strings.Repeat("garbage ", 4096)))
		},
		"short garbage": func(t *testing.T, path string) { write(t, path, []byte("x")) },
		"truncated to the first pages": func(t *testing.T, path string) {
			if err := os.Truncate(path, 2*4096); err != nil {
				t.Fatal(err)
			}
		},
		"truncated to a half": func(t *testing.T, path string) {
			size := stat(t, path)
			if err := os.Truncate(path, size/2); err != nil {
				t.Fatal(err)
			}
		},
		"zeroes after the meta pages": func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			clear(b[2*4096:])
			write(t, path, b)
		},
		"store gone, snapshot left": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"snapshot gone, log cut": func(t *testing.T, path string) {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(path), "snapshots")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := storeWithHistory(t)
			path := filepath.Join(w.cfg.Dir, storeFileName)
			damage(t, path)
			n, err := New(w.cfg, &list{})
			if err == nil {
				defer n.Stop(context.Background())
				t.Fatal("the damage was not noticed")
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move") {
				t.Errorf("error does not say what and what to do: %v", err)
			}
		})
	}
}

// storeWithHistory returns a stopped watcher with a snapshot and a cut log.
func storeWithHistory(t *testing.T) *watcher {
	t.Helper()
	c := newCluster(t, 1)
	c.startAll()
	w := c.awaitLeader()
	rc := w.life().raft.ReloadableConfig()
	rc.TrailingLogs = 5
	if err := w.life().raft.ReloadConfig(rc); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		mustCommit(t, w, strings.Repeat("x", 2000))
	}
	if err := w.life().raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	return w
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

func TestAFileRecordIsStoredByCompareAndSwap(t *testing.T) {
	dir := t.TempDir()
	r := NewFileRecord(dir)
	ctx := t.Context()
	if rec, v, err := r.Load(ctx); err != nil || v != "" || rec.ClusterID != "" {
		t.Fatalf("load nothing: %+v %q %v", rec, v, err)
	}
	first := ClusterRecord{ClusterID: "c", Voters: []Voter{{"a", "h:1"}}}
	if err := r.Store(ctx, first, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Store(ctx, first, ""); !errors.Is(err, ErrRecordChanged) {
		t.Fatalf("create twice: %v", err)
	}
	got, v, err := r.Load(ctx)
	if err != nil || !equalRecords(got, first) {
		t.Fatalf("load: %+v %v", got, err)
	}
	second := ClusterRecord{ClusterID: "c", Generation: 1}
	if err := r.Store(ctx, second, v); err != nil {
		t.Fatal(err)
	}
	if err := r.Store(ctx, first, v); !errors.Is(err, ErrRecordChanged) {
		t.Fatalf("store over a newer one: %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("left behind: %v %v", files, err)
	}
}

func TestADamagedRecordNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, recordFileName)
	write(t, path, []byte("{"))
	if _, _, err := NewFileRecord(dir).Load(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
}

func TestConfigRelationsAreChecked(t *testing.T) {
	good := Config{Dir: "d", Bind: "h:1"}
	if err := good.Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"lease above heartbeat":    {func(c *Config) { c.Lease = time.Second }, "lease"},
		"heartbeat above election": {func(c *Config) { c.Heartbeat = time.Second }, "election"},
		"no directory":             {func(c *Config) { c.Dir = "" }, "directory"},
		"bind without port":        {func(c *Config) { c.Bind = "h" }, "bind"},
		"peer without port":        {func(c *Config) { c.Peers = []string{"h"} }, "peer address \"h\""},
		"discover without expect": {func(c *Config) {
			c.Discover = func(context.Context) ([]string, error) { return nil, nil }
		}, "expected number"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want one that says %q", err, c.says)
			}
		})
	}
}
