package sentinel_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
)

// raising drives the router of watcher a, which leads b and c, through hellos. A master
// is in the log already, as after years with an older build.
type raising struct {
	t   *testing.T
	r   *sentinel.Router
	now sentinel.Time
	got []sentinel.Command
}

func newRaising(t *testing.T) *raising {
	x := &raising{t: t, r: sentinel.NewRouter("a")}
	x.step(sentinel.Membership{Me: "a", Voters: []sentinel.WatcherID{"a", "b", "c"}})
	cfg := sentinel.DefaultConfig()
	x.step(sentinel.Applied{Index: 1, Command: sentinel.Command{Type: sentinel.CmdMonitor, Master: "orders", Config: &cfg,
		At: sentinel.Assignment{Instance: "x", Addr: sentinel.Addr{Host: "10.0.0.1", Port: 1}}}})
	x.step(sentinel.Led{Leading: true, Term: 1})
	return x
}

func TestLevelOfANewLogIsRaisedAtOnce(t *testing.T) {
	x := &raising{t: t, r: sentinel.NewRouter("a")}
	x.step(sentinel.Membership{Me: "a", Voters: []sentinel.WatcherID{"a", "b", "c"}})
	x.step(sentinel.Led{Leading: true, Term: 1})
	x.hellos(time.Minute, 3, 2)
	if len(x.got) != 0 {
		t.Fatalf("proposed %+v although c does not know it", x.got)
	}
	x.hellos(3*time.Second, 3, 3)
	if x.raised() != 3 {
		t.Fatalf("proposed %+v, want a raise to 3", x.got)
	}
}

func (x *raising) step(ev sentinel.InputEvent) {
	for _, a := range x.r.Step(sentinel.Input{At: x.now, Wall: time.Unix(1795403330, 0), Event: ev}) {
		if p, ok := a.(sentinel.Propose); ok {
			x.got = append(x.got, p.Command)
		}
	}
}

// whyNot is the reason alone.
func (x *raising) whyNot(level int) string {
	why, _ := x.r.WhyNot(level)
	return why
}

// hellos lets time go by while the watchers say what they know, every two seconds;
// 0 is one that is silent.
func (x *raising) hellos(span time.Duration, b, c int) {
	for end := x.now + span; x.now < end; x.now += time.Second {
		for id, level := range map[sentinel.WatcherID]int{"b": b, "c": c} {
			if level > 0 && x.now/time.Second%2 == 0 {
				x.step(sentinel.Known{From: id, Level: level})
			}
		}
		if x.r.Deadline() <= x.now {
			x.step(nil)
		}
	}
}

func (x *raising) raised() int {
	level := 0
	for _, c := range x.got {
		if c.Type != sentinel.CmdLevel || c.Raise != c.Level {
			x.t.Fatalf("proposed %+v", c)
		}
		level = c.Raise
	}
	return level
}

func TestLevelIsRaisedWhenAllVotersKnowIt(t *testing.T) {
	x := newRaising(t)
	x.hellos(9*time.Second, 3, 3)
	if len(x.got) != 0 {
		t.Fatalf("proposed %+v before they all had known it for a while", x.got)
	}
	x.hellos(3*time.Second, 3, 3)
	if x.raised() != 3 {
		t.Fatalf("proposed %+v, want a raise to 3", x.got)
	}
	if x.r.Level() != 2 {
		t.Fatalf("level %d before the raise is committed", x.r.Level())
	}
	x.step(sentinel.Applied{Index: 1, Command: x.got[0]})
	n := len(x.got)
	x.hellos(30*time.Second, 3, 3)
	if x.r.Level() != 3 || len(x.got) != n || x.whyNot(3) != "" {
		t.Fatalf("level %d, proposed %+v, why not %q after the raise", x.r.Level(), x.got[n:], x.whyNot(3))
	}
}

func TestLevelIsNotRaised(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(x *raising)
		why string
	}{
		"while a voter runs an older build": {func(x *raising) { x.hellos(time.Minute, 3, 2) }, "watcher c runs an older build (level 2, this needs 3)"},
		"while a voter has not been heard":  {func(x *raising) { x.hellos(time.Minute, 3, 0) }, "c has not said lately"},
		"once a voter has fallen silent":    {func(x *raising) { x.hellos(5*time.Second, 3, 3); x.hellos(time.Minute, 3, 0) }, "c has not said lately"},
		"when one goes back in between": {func(x *raising) {
			x.hellos(8*time.Second, 3, 3)
			x.hellos(4*time.Second, 3, 2)
			x.hellos(8*time.Second, 3, 3)
		}, "about to be raised"},
		"by a follower": {func(x *raising) { x.step(sentinel.Led{Term: 1}); x.hellos(time.Minute, 3, 3) }, "about to be raised"},
		"by one that was just elected": {func(x *raising) {
			x.step(sentinel.Led{Term: 1})
			x.hellos(time.Minute, 3, 3)
			x.step(sentinel.Led{Leading: true, Term: 2})
			x.hellos(8*time.Second, 3, 3)
		}, "about to be raised"},
		"when this watcher is kept below": {func(x *raising) { x.step(sentinel.Known{From: "a", Level: 2}); x.hellos(time.Minute, 3, 3) }, "kept at level 2"},
		"when a new voter has said nothing": {func(x *raising) {
			x.hellos(8*time.Second, 3, 3)
			x.step(sentinel.Membership{Me: "a", Voters: []sentinel.WatcherID{"a", "b", "c", "d", "e"}})
			x.hellos(time.Minute, 3, 3)
		}, "d has not said lately"},
		"after a pause of one hello that hides a restart": {func(x *raising) {
			x.hellos(8*time.Second, 3, 3)
			x.now += 6 * time.Second // nobody is woken meanwhile
			x.hellos(8*time.Second, 3, 3)
		}, "about to be raised"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newRaising(t)
			c.do(x)
			if len(x.got) != 0 {
				t.Fatalf("proposed %+v", x.got)
			}
			// Whoever is silent may speak in a moment; nothing else passes as soon.
			if why, soon := x.r.WhyNot(3); !strings.Contains(why, c.why) || soon != strings.Contains(why, "has not said lately") {
				t.Fatalf("asked why not, the answer is %q (soon: %v), want %q", why, soon, c.why)
			}
		})
	}
}

// Level 2 was in use before levels were committed: only who says that it knows less
// is waited for.
func TestCommandsOfTheFloorNeedNoRaise(t *testing.T) {
	x := newRaising(t)
	if why, _ := x.r.WhyNot(2); why != "" {
		t.Fatalf("level 2 is refused: %s", why)
	}
	x.step(sentinel.Known{From: "b", Level: 1})
	x.now += time.Hour
	if why, _ := x.r.WhyNot(2); !strings.Contains(why, "watcher b runs an older build (level 1, this needs 2)") {
		t.Fatalf("why not level 2: %q", why)
	}
	if why, _ := x.r.WhyNot(1); why != "" {
		t.Fatalf("level 1 is refused: %s", why)
	}
}

func TestLevelIsRaisedAgainWhenTheProposalGetsLost(t *testing.T) {
	x := newRaising(t)
	x.hellos(14*time.Second, 3, 3)
	if len(x.got) < 2 {
		t.Fatalf("proposed %+v, want it repeated", x.got)
	}
	if len(x.got) > 4 {
		t.Fatalf("proposed %d times in 4 s", len(x.got))
	}
}

func raise(level int) sentinel.Command {
	return sentinel.Command{Level: level, Type: sentinel.CmdLevel, Raise: level}
}

func TestLevelOnlyGrows(t *testing.T) {
	r := sentinel.NewRegistry()
	if r.CommittedLevel() != 2 {
		t.Fatalf("an empty log is of level %d, want 2: its commands were in use before levels were committed", r.CommittedLevel())
	}
	for _, c := range []sentinel.Command{raise(2), raise(1), raise(0), {Level: 3, Type: sentinel.CmdLevel, Raise: 4}} {
		if res := r.Apply(c); res.Accepted {
			t.Errorf("%+v was accepted", c)
		}
	}
	if res := r.Apply(raise(3)); !res.Accepted || r.CommittedLevel() != 3 {
		t.Fatalf("%+v, level %d", res, r.CommittedLevel())
	}
	if res := r.Apply(raise(3)); res.Accepted || !strings.Contains(res.Reason, "already") {
		t.Fatalf("raised twice: %+v", res)
	}
}

// shippedRegistry is what builds of level 2 read a snapshot into.
type shippedRegistry struct {
	Masters map[string]*struct {
		Name        string         `json:"name"`
		Last        sentinel.Epoch `json:"last"`
		Released    bool           `json:"released"`
		PausedUntil time.Time      `json:"pausedUntil"`
	} `json:"masters"`
}

func TestSnapshotOfTheFloorIsWhatOlderBuildsRead(t *testing.T) {
	r := newRegistry(t)
	r.Apply(sentinel.Command{Type: sentinel.CmdRelease, Master: "orders", Released: true})
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var old shippedRegistry
	if err := json.Unmarshal(b, &old); err != nil || !old.Masters["orders"].Released {
		t.Fatalf("%v, %+v", err, old)
	}
	if strings.Contains(string(b), "evel") {
		t.Errorf("the snapshot has a level: %s", b)
	}
}

func TestSnapshotOfAHigherLevelStopsOlderBuilds(t *testing.T) {
	r := newRegistry(t)
	r.Apply(raise(3))
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var old shippedRegistry
	if err := json.Unmarshal(b, &old); err == nil || !strings.Contains(err.Error(), "needs a triwatch of level 3") {
		t.Errorf("a build of level 2 reads it: %v", err)
	}
	var oldest struct {
		Masters map[string]*struct {
			Last sentinel.Epoch `json:"last"`
		} `json:"masters"`
	}
	if err := json.Unmarshal(b, &oldest); err == nil {
		t.Error("a build of level 1 reads it")
	}
	back, err := sentinel.UnmarshalRegistry(b)
	if err != nil || back.CommittedLevel() != 3 || !reflect.DeepEqual(back, r) {
		t.Fatalf("%v, level %d: read back as\n%+v", err, back.CommittedLevel(), back)
	}
}

func TestSnapshotOfAnUnknownLevelIsNotRead(t *testing.T) {
	r := newRegistry(t)
	r.Level = 99
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sentinel.UnmarshalRegistry(b); !errors.Is(err, sentinel.ErrLevel) || sentinel.NeedsLevel(err) != 99 {
		t.Fatalf("error is %v", err)
	}
}

func TestRestoredLevelCounts(t *testing.T) {
	x := newRaising(t)
	reg := sentinel.NewRegistry()
	reg.Apply(raise(3))
	x.step(sentinel.Restored{Registry: reg})
	if x.r.Level() != 3 {
		t.Fatalf("level %d after a snapshot of level 3", x.r.Level())
	}
	x.step(sentinel.Restored{Registry: sentinel.NewRegistry()})
	if x.r.Level() != 2 {
		t.Fatalf("level %d after an empty snapshot: another log has begun", x.r.Level())
	}
}
