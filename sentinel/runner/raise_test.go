package runner

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// greet sends a hello of every other voter every two seconds.
func (r *rig) greet(t *testing.T, span time.Duration, levels map[sentinel.WatcherID]int) {
	t.Helper()
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(helloPeriod) {
		for id, level := range levels {
			b, err := json.Marshal(frame{Hello: &Hello{Level: level, Version: "0.1.0"}})
			if err != nil {
				t.Fatal(err)
			}
			r.Message(id, b)
		}
	}
	synctest.Wait()
}

func (r *rig) raises() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.proposed {
		if c.Type == sentinel.CmdLevel {
			n++
		}
	}
	return n
}

func TestLevelIsRaisedOnceAllVotersHaveGreeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		r.greet(t, 30*time.Second, map[sentinel.WatcherID]int{"b": sentinel.CommandLevel})
		if r.raises() != 0 || r.Level() != sentinel.LevelFloor {
			t.Fatalf("level %d, %d raises while one voter is silent", r.Level(), r.raises())
		}
		r.greet(t, 14*time.Second, map[sentinel.WatcherID]int{"b": sentinel.CommandLevel, "c": sentinel.CommandLevel})
		if r.raises() != 1 || r.Level() != sentinel.CommandLevel {
			t.Fatalf("level %d after %d raises", r.Level(), r.raises())
		}
	})
}

// A command above the committed level is not proposed, and the asker is told why.
func TestCommandAboveTheCommittedLevelIsRefusedWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		r.greet(t, 2*time.Second, map[sentinel.WatcherID]int{"b": sentinel.CommandLevel, "c": 2})
		n := len(r.proposed)
		done := make(chan struct{})
		// Until it is raised, a pause of a higher level is what no command of today is.
		r.mail.put(func() {
			defer close(done)
			r.propose(sentinel.Command{Level: sentinel.CommandLevel, Type: sentinel.CmdPause, Master: "orders"})
		})
		<-done
		synctest.Wait()
		if len(r.proposed) != n {
			t.Fatal("it was proposed")
		}
		if why, _ := r.router.WhyNot(sentinel.CommandLevel); !strings.Contains(why, "watcher c runs an older build (level 2") {
			t.Fatalf("the reason is %q", why)
		}
	})
}

func TestAWatcherKeptAtALevelKeepsAllThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{frames: map[sentinel.WatcherID][]string{}, outcome: sentinel.OutcomeOK}
		start := time.Now()
		r.Runner = New(Options{Redis: r, Cluster: r, Logger: zap.NewNop(), Clock: func() sentinel.Time { return time.Since(start) }, Hello: Hello{Level: 2, Version: "0.1.0"}})
		r.Start()
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.lead(ctx)
		r.greet(t, 30*time.Second, map[sentinel.WatcherID]int{"b": 3, "c": 3})
		if r.raises() != 0 || r.Knows() != 2 {
			t.Fatalf("%d raises, says that it knows %d", r.raises(), r.Knows())
		}
		if sent := r.sent("*"); !strings.Contains(sent, `"level":2,"version":"0.1.0"`) {
			t.Fatalf("its hello is %s", sent)
		}
		// Another leader raised it before this one was kept: it understands that, and says so.
		r.Applied(9, sentinel.Command{Level: 3, Type: sentinel.CmdLevel, Raise: 3})
		time.Sleep(2 * helloPeriod)
		synctest.Wait()
		if r.Knows() != 3 || !strings.Contains(r.sent("*"), `"level":3`) {
			t.Fatalf("says that it knows %d of level %d", r.Knows(), r.Level())
		}
	})
}

// Whoever asks for something new in the first moments, before all watchers have greeted
// the leader, is told that it will be possible soon; the leader greets at once.
func TestWhatNeedsALevelIsPossibleSoonAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		time.Sleep(helloPeriod / 4)
		synctest.Wait()
		hellos := strings.Count(r.sent("*"), `{"h":`)
		r.lead(ctx)
		if n := strings.Count(r.sent("*"), `{"h":`); n != hellos+1 {
			t.Fatalf("%d hellos when it began to lead, %d before", n, hellos)
		}
		ask := func(wantCode string) {
			t.Helper()
			a, err := r.Request(ctx, sentinel.Request{Master: "orders", Kind: sentinel.RequestRemove})
			if err != nil || a.Code != wantCode {
				t.Fatalf("answered %+v (%v), want the code %q", a, err, wantCode)
			}
		}
		ask(sentinel.CodeUnheard)
		r.greet(t, helloPeriod, map[sentinel.WatcherID]int{"b": sentinel.CommandLevel, "c": 2})
		ask("") // an older build does not pass by itself
	})
}
