package sentinel_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// shipped holds one command of each type with every field that counts. What these
// encode to is in logs and snapshots out there: testdata/commands is only ever added to.
func shipped() map[string]sentinel.Command {
	wall := time.Date(2026, 11, 23, 1, 12, 9, 123456789, time.UTC)
	cfg := sentinel.DefaultConfig()
	full := cfg
	full.CrashWaits, full.WitnessMax, full.PauseWrites, full.Observe = true, 5*time.Second, true, true
	a1 := sentinel.Assignment{Epoch: sentinel.MakeEpoch(1, 12), Instance: "10.0.0.1:6379", Addr: sentinel.Addr{Host: "10.0.0.1", Port: 6379}}
	a2 := sentinel.Assignment{Epoch: sentinel.MakeEpoch(1, 13), Instance: "10.0.0.2:6379", Addr: sentinel.Addr{Host: "10.0.0.2", Port: 6379}}
	members := []sentinel.Member{{ID: a2.Instance, Addr: a2.Addr, Name: "redis-1", PingPeriod: 1, PingWas: 10, PingRun: "run"}, {ID: "x", Addr: sentinel.Addr{Host: "fd00::1", Port: 6380}}}
	lineage := sentinel.Lineage{RunID: "run", ReplID: "repl", Offset: 88120004, Empty: true}
	notes := []sentinel.Note{{AfterMS: 0, What: "evidence", Text: "w1: closed and refused"}, {AfterMS: 3.25, What: "chosen", Text: "<redis-0> & \"more\""}}
	left := []sentinel.Rejected{{Instance: "x", Addr: sentinel.Addr{Host: "fd00::1", Port: 6380}, Why: "128 bytes behind"}}
	span := sentinel.Span{TookMS: 19.5, WaitedMS: 6}
	plan := sentinel.Plan{Epoch: a2.Epoch, Kind: sentinel.KindHandover, Phase: sentinel.PhaseFencing, Old: a1, New: a2, Why: "asked", LeftOut: left, Lost: -1,
		Fenced: true, Leader: "w1", Term: 41, Begun: wall, Notes: notes, Lineage: lineage}
	record := sentinel.Record{When: wall, Epoch: a2.Epoch, Kind: "held", From: a1, To: a2, Why: "silent", Result: "held", Lost: 7, Fenced: true, Leader: "w1", Term: 41,
		LeftOut: left, Span: span, Notes: notes}
	base := func(t sentinel.CommandType) sentinel.Command {
		return sentinel.Command{Level: 1, Type: t, Master: "orders", Epoch: a2.Epoch, Wall: wall}
	}
	out := map[string]sentinel.Command{}
	add := func(name string, c sentinel.Command) { out[name] = c }
	c := base(sentinel.CmdMonitor)
	c.Config, c.At, c.Members = &cfg, a1, members
	add("monitor", c)
	c.Config = &full
	add("monitor-every-setting", c)
	add("forget", base(sentinel.CmdForget))
	c = base(sentinel.CmdAdopt)
	c.At, c.Lineage, c.Members, c.Reason = a1, lineage, members, "found as master"
	add("adopt", c)
	c = base(sentinel.CmdMembers)
	c.Members, c.Removed = members, []sentinel.InstanceID{"gone"}
	add("members", c)
	c = base(sentinel.CmdTuned)
	c.Instance, c.Was, c.Now, c.Lineage = a2.Instance, 10, 1, sentinel.Lineage{RunID: "run"}
	add("tuned", c)
	c = base(sentinel.CmdLineage)
	c.Lineage = lineage
	add("lineage", c)
	c = base(sentinel.CmdBegin)
	c.Plan = &plan
	add("begin", c)
	c = base(sentinel.CmdAdvance)
	c.Phase, c.Reason, c.Notes, c.Lineage = sentinel.PhasePromoted, "fenced", notes, lineage
	add("advance", c)
	c = base(sentinel.CmdDone)
	c.Notes, c.Took = notes, span
	add("done", c)
	c = base(sentinel.CmdAbort)
	c.Notes, c.Took, c.Reason = notes, span, "replica 3.1 MB behind after 500ms; undone"
	add("abort", c)
	c = base(sentinel.CmdNote)
	c.Record = &record
	add("note-record", c)
	c = base(sentinel.CmdNote)
	c.Notes = notes
	add("note", c)
	pods := []sentinel.Member{{ID: "uid-0", Addr: a1.Addr, Name: "redis-0", Data: "default/data-redis-0"}, {ID: "uid-1", Addr: a2.Addr, Name: "redis-1", Ordinal: 1}}
	level2 := func(t sentinel.CommandType) sentinel.Command {
		c := base(t)
		c.Level = 2
		return c
	}
	c = level2(sentinel.CmdEnrol)
	c.Config, c.Members = &full, pods
	add("enrol", c)
	c = level2(sentinel.CmdConfigure)
	c.Config = &full
	add("configure", c)
	c = level2(sentinel.CmdPods)
	c.Members, c.Removed = pods, []sentinel.InstanceID{"gone"}
	add("pods", c)
	add("floor", level2(sentinel.CmdFloor))
	c = level2(sentinel.CmdRelease)
	c.Released = true
	add("release", c)
	c = level2(sentinel.CmdPause)
	c.Paused, c.Until = true, wall
	add("pause", c)
	c = level2(sentinel.CmdChoose)
	c.At, c.Lineage, c.Reason, c.Force, c.Despite = a2, lineage, "chosen by a person", true, []sentinel.WatcherID{"stranger"}
	add("choose", c)
	add("level", sentinel.Command{Level: 3, Type: sentinel.CmdLevel, Wall: wall, Raise: 3})
	level3 := func(t sentinel.CommandType) sentinel.Command {
		c := base(t)
		c.Level = 3
		return c
	}
	add("remove", level3(sentinel.CmdRemove))
	c = level3(sentinel.CmdSettings)
	c.Config, c.Options = &full, sentinel.Options{"auth-user": "app", "auth-pass": "", "rename-command config": "x"}
	add("settings", c)
	// What an older build would drop makes the command one that it stops at.
	reboot := cfg
	reboot.RebootDownAfter = 10 * time.Second
	c = level3(sentinel.CmdMonitor)
	c.Config, c.At, c.Members = &reboot, a1, members
	add("monitor-reboot-down-after", c)
	c = level3(sentinel.CmdFence)
	c.Fence = &sentinel.Fence{On: true, Need: 1, Epoch: a2.Epoch, Why: "redis-1 is down"}
	add("fence", c)
	c = level3(sentinel.CmdFound)
	c.Instance, c.Limits = a2.Instance, &sentinel.MinReplicas{Write: 2, Lag: 10}
	add("found", c)
	return out
}

func TestCommandsKeepTheirBytes(t *testing.T) {
	types := map[sentinel.CommandType]bool{}
	for name, c := range shipped() {
		types[c.Type] = true
		file := filepath.Join("testdata/commands", name+".json")
		got, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s encodes to other bytes than before; a new form needs a new level\ngot  %s\nwant %s", name, got, want)
		}
		back, err := sentinel.DecodeCommand(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(back, c) {
			t.Errorf("%s decodes to\n%+v\nnot\n%+v", name, back, c)
		}
	}
	if len(types) != 23 {
		t.Errorf("%d types of commands have golden bytes, there are 23", len(types))
	}
	if files, _ := filepath.Glob("testdata/commands/*.json"); len(files) != len(shipped()) {
		t.Errorf("%d files for %d commands: what was shipped is never taken away", len(files), len(shipped()))
	}
}

func TestCommandOfAHigherLevelStopsTheWatcher(t *testing.T) {
	c, err := sentinel.DecodeCommand([]byte(`{"l":99,"t":"teleport","m":"orders","who":{"x":1}}`))
	if !errors.Is(err, sentinel.ErrLevel) || errors.Is(err, sentinel.ErrCommand) {
		t.Fatalf("error is %v", err)
	}
	if c.Level != 99 || c.Type != "teleport" {
		t.Errorf("level and type are lost: %+v", c)
	}
	if text := err.Error(); !strings.Contains(text, "level 99") || !strings.Contains(text, "teleport") || !strings.Contains(text, fmt.Sprintf("knows %d", sentinel.CommandLevel)) {
		t.Errorf("the message does not say what is needed: %s", text)
	}
	if c, err = sentinel.DecodeCommand([]byte(`{"l":99,"t":"begin","plan":{"epoch":"now a string"}}`)); !errors.Is(err, sentinel.ErrLevel) || sentinel.NeedsLevel(err) != 99 || c.Level != 99 {
		t.Errorf("a known type of a higher level: %v", err)
	}
}

func TestDamagedCommandIsNeverSkipped(t *testing.T) {
	for _, text := range []string{"", "null", "{}", "[]", "17", `{"l":1`, `{"l":1}`, `{"t":"begin"}`, `{"l":0,"t":"begin"}`, `{"l":-1,"t":"begin"}`,
		`{"l":1,"t":"teleport"}`, `{"l":1,"t":"begin","plan":7}`, `{"l":"1","t":"begin"}`, `{"l":1,"t":"begin"}{"l":1}`, `{"l":3,"t":"level"}`, `{"l":3,"t":"level","raise":4}`, `{"l":2,"t":"level","raise":3}`} {
		if c, err := sentinel.DecodeCommand([]byte(text)); !errors.Is(err, sentinel.ErrCommand) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range shipped() {
		b, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"l":2,"t":"teleport"}`))
	f.Add([]byte(`{"l":1,"t":"adopt","m":"\ud800","at":{"epoch":18446744073709551615}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := sentinel.DecodeCommand(b)
		if err != nil {
			if !errors.Is(err, sentinel.ErrLevel) && !errors.Is(err, sentinel.ErrCommand) {
				t.Fatalf("an error without a kind: %v", err)
			}
			return
		}
		first, err := c.Encode()
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		again, err := sentinel.DecodeCommand(first)
		if err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v", err)
		}
		if second, _ := again.Encode(); !bytes.Equal(first, second) {
			t.Fatalf("not stable:\n%s\n%s", first, second)
		}
		r := newRegistry(t)
		r.Apply(c)
		if _, err := r.Marshal(); err != nil {
			t.Fatalf("after %s: %v", b, err)
		}
	})
}

// newRegistry watches one master with two replicas.
func newRegistry(t testing.TB) *sentinel.Registry {
	t.Helper()
	r := sentinel.NewRegistry()
	cfg := sentinel.DefaultConfig()
	c := sentinel.Command{Type: sentinel.CmdMonitor, Master: "orders", Config: &cfg,
		At:      sentinel.Assignment{Instance: "a", Addr: sentinel.Addr{Host: "10.0.0.1", Port: 6379}},
		Members: []sentinel.Member{{ID: "b", Addr: sentinel.Addr{Host: "10.0.0.2", Port: 6379}}, {ID: "c", Addr: sentinel.Addr{Host: "10.0.0.3", Port: 6379}}}}
	if res := r.Apply(c); !res.Accepted {
		t.Fatal(res.Reason)
	}
	return r
}
