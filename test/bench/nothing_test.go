package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// TestWatcherThatDoesNothingFails runs the bench on a Sentinel that can't act: it is alone, and the quorum is two.
func TestWatcherThatDoesNothingFails(t *testing.T) {
	for _, name := range []string{"redis-server", "redis-sentinel"} {
		if _, err := redisproc.LookupBinary(name); err != nil {
			t.Skip(err)
		}
	}
	alone := contender{triwatchSide, launchSentinel(1)}
	b := &bench{opt: options{downAfter: 100 * time.Millisecond, before: 300 * time.Millisecond, after: 400 * time.Millisecond,
		limit: 300 * time.Millisecond, rate: 2000}, dir: t.TempDir(), stderr: io.Discard}
	for _, sc := range scenarios() {
		if sc.name != kill && sc.name != stop {
			continue
		}
		s := b.once(t.Context(), sc, alone, 1)
		if !strings.Contains(s.Failed, errStays.Error()) {
			t.Errorf("%s: the reason is %q", sc.name, s.Failed)
		}
		if s.Values[vGap] < 600 || s.Values[vAcked] == 0 {
			t.Errorf("%s: %v, want a gap to the end of the run", sc.name, s.Values)
		}
		if v := atMost(1e9).judge(summary{}, summarize([]sample{s}, sc.name, triwatchSide, vGap)); v != verdictMissed {
			t.Errorf("%s: its figure is %s", sc.name, v)
		}
	}
}

// TestWatcherThatDoesNotMoveThePlannedMaster has a move that is acknowledged and not made: nothing is lost, no gap is there.
func TestWatcherThatDoesNotMoveThePlannedMaster(t *testing.T) {
	for _, name := range []string{"redis-server", "redis-sentinel"} {
		if _, err := redisproc.LookupBinary(name); err != nil {
			t.Skip(err)
		}
	}
	alone := contender{triwatchSide, launchSentinel(1)}
	b := &bench{opt: options{downAfter: time.Second, before: 300 * time.Millisecond, after: 300 * time.Millisecond,
		limit: 200 * time.Millisecond, rate: 2000}, dir: t.TempDir(), stderr: io.Discard}
	s := b.once(t.Context(), scenario{name: planned, do: func(context.Context, *rig) error { return nil }}, alone, 1)
	if !strings.Contains(s.Failed, errStays.Error()) {
		t.Errorf("the reason is %q", s.Failed)
	}
	for _, f := range figures() {
		if v := f.Target.judge(summary{}, summarize([]sample{s}, planned, triwatchSide, f.Value)); f.Scenario == planned && v == verdictReached {
			t.Errorf("%s is reached", f.Title)
		}
	}
}
