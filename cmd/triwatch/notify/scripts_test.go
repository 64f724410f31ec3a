package notify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// stage is a queue of scripts that are only played. It lives in a synctest bubble.
type stage struct {
	*Scripts
	mu        sync.Mutex
	began     time.Time
	starts    []time.Duration
	now, most int
	counts    map[string]int
	published []string
	play      func(ctx context.Context, argv []string) ended
}

func newStage(t *testing.T) *stage {
	s := &stage{began: time.Now(), counts: map[string]int{}}
	s.Scripts = newScripts(s.perform, zap.NewNop(), func(name, payload string) { s.published = append(s.published, name+" "+payload) },
		func(kind, result string) { s.counts[result]++ })
	s.start()
	t.Cleanup(func() { s.stop(context.Background()) })
	return s
}

func (s *stage) perform(ctx context.Context, argv []string, started func(int)) ended {
	s.mu.Lock()
	s.starts = append(s.starts, time.Since(s.began))
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	started(4711)
	e := s.play(ctx, argv)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return e
}

func TestScriptThatEndsWithOneIsTriedTenTimesWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.play = func(context.Context, []string) ended { return ended{exit: 1} }
		s.add(kindReconfig, "/x", "a")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		p := s.pending()
		if len(p) != 1 || p[0].Tries != 2 || p[0].Running || p[0].PID != 0 || p[0].For != 59*time.Second || fmt.Sprint(p[0].Argv) != "[/x a]" {
			t.Fatalf("pending after two tries: %+v", p)
		}
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0}
		for n, pause := 0, 30*time.Second; n < 9; n, pause = n+1, 2*pause {
			want = append(want, want[n]+pause)
		}
		if fmt.Sprint(s.starts) != fmt.Sprint(want) {
			t.Errorf("started at %v, want %v", s.starts, want)
		}
		if s.counts[resultRetried] != 9 || s.counts[resultFailed] != 1 || fmt.Sprint(s.published) != "[-script-error /x 0 1]" || len(s.pending()) != 0 {
			t.Errorf("counted %v, published %q, pending %v", s.counts, s.published, s.pending())
		}
	})
}

func TestScriptThatEndsWithTwoIsNotTriedAgainAndOneEndedByASignalIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.play = func(_ context.Context, argv []string) ended {
			if argv[0] == "/signal" {
				return ended{signal: 15}
			}
			return ended{exit: 2}
		}
		s.add(kindNotification, "/two")
		synctest.Wait()
		if len(s.pending()) != 0 || s.counts[resultFailed] != 1 {
			t.Errorf("exit code 2: counted %v, pending %v", s.counts, s.pending())
		}
		s.add(kindNotification, "/signal")
		synctest.Wait()
		if len(s.pending()) != 1 || s.counts[resultRetried] != 1 {
			t.Errorf("a signal: counted %v, pending %v", s.counts, s.pending())
		}
	})
}

func TestScriptThatHangsIsKilledAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.play = func(ctx context.Context, _ []string) ended { <-ctx.Done(); return ended{signal: 9} }
		s.add(kindNotification, "/x")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if p := s.pending(); len(p) != 1 || !p[0].Running || p[0].PID != 4711 || p[0].For != 10*time.Second {
			t.Errorf("pending %+v", p)
		}
		time.Sleep(51 * time.Second)
		synctest.Wait()
		if s.now != 0 || fmt.Sprint(s.published) != "[-script-timeout /x 4711]" || s.counts[resultRetried] != 1 {
			t.Errorf("%d run, published %q, counted %v", s.now, s.published, s.counts)
		}
	})
}

func TestSixteenScriptsRunAtOnceAndTheOldestOfTooManyGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		open := make(chan struct{})
		var done []string
		s.play = func(_ context.Context, argv []string) ended {
			<-open
			s.mu.Lock()
			done = append(done, argv[1])
			s.mu.Unlock()
			return ended{}
		}
		for n := range 16 {
			s.add(kindNotification, "/x", fmt.Sprint("first", n))
		}
		synctest.Wait()
		for n := range 250 {
			s.add(kindNotification, "/x", fmt.Sprint(n))
		}
		synctest.Wait()
		if s.now != scriptsAtOnce || len(s.pending()) != scriptsMax || s.counts[resultDropped] != 10 {
			t.Errorf("%d run, %d are queued, %v: want 16, 256 and 10 dropped", s.now, len(s.pending()), s.counts)
		}
		if p := s.pending()[16]; p.Argv[1] != "10" {
			t.Errorf("the oldest that waits is %v, want the oldest ten dropped", p.Argv)
		}
		close(open)
		synctest.Wait()
		if s.most != scriptsAtOnce || s.counts[resultOK] != scriptsMax || len(done) != scriptsMax {
			t.Errorf("at most %d at once, %v", s.most, s.counts)
		}
	})
}

func TestStopLetsScriptsEndForAMomentAndKillsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.play = func(ctx context.Context, argv []string) ended {
			if argv[0] == "/short" {
				time.Sleep(time.Second)
				return ended{}
			}
			<-ctx.Done()
			return ended{signal: 9}
		}
		s.add(kindNotification, "/short")
		s.add(kindNotification, "/long")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
		defer cancel()
		s.stop(ctx)
		if took := time.Since(s.began); took != stopGrace || s.counts[resultOK] != 1 || s.now != 0 {
			t.Errorf("stopped after %v, %v, %d still run", took, s.counts, s.now)
		}
	})
}

// script writes an executable shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.sh")
	// Not by way of an open file: a child that another test forks just then would hold it open.
	if err := os.WriteFile(path+".tmp", []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProgramsEndIsToldWithTheEndOfItsOutput(t *testing.T) {
	for _, c := range []struct {
		text         string
		exit, signal int
		output       string
	}{
		{"exit 0", 0, 0, ""},
		{`echo "$1|$2"; echo oops >&2; exit 1`, 1, 0, "a b|c\noops\n"},
		{"exit 7", 7, 0, ""},
		{"kill -TERM $$", 0, 15, ""},
		{"sleep 60 & exit 3", 3, 0, ""},
	} {
		e := program{}.run(t.Context(), []string{script(t, c.text), "a b", "c"}, func(int) {})
		if e.exit != c.exit || e.signal != c.signal || e.output != c.output || e.err != nil {
			t.Errorf("%s: %+v", c.text, e)
		}
	}
	e := program{}.run(t.Context(), []string{script(t, "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; exit 1")}, func(int) {})
	if len(e.output) != outputMax || !strings.HasSuffix(e.output, "2998\n2999\n") {
		t.Errorf("%d bytes were kept, ending in %q", len(e.output), e.output[max(0, len(e.output)-20):])
	}
	for _, path := range []string{"/nowhere/at/all", "/etc/passwd", "sh"} {
		if e := (program{}).run(t.Context(), []string{path}, func(int) {}); e.exit != notRun || e.err == nil {
			t.Errorf("%s: %+v, want what Sentinel does with what cannot be run", path, e)
		}
	}
}

func TestKilledProgramTakesItsChildrenAlong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan ended, 1)
	go func() {
		over <- program{}.run(ctx, []string{script(t, "sleep 600 & echo $! > "+file+".tmp; mv "+file+".tmp "+file+"; wait")}, func(int) {})
	}()
	pid := ""
	until(t, "the child's number", func() bool { b, _ := os.ReadFile(file); pid = strings.TrimSpace(string(b)); return pid != "" })
	cancel()
	if e := <-over; e.signal != 9 {
		t.Errorf("ended as %+v, want killed", e)
	}
	until(t, "the end of child "+pid, func() bool {
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
