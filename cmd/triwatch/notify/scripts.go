package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Redis Sentinel's limits (sentinel.c, script execution, Redis 7.0).
const (
	scriptsMax     = 256
	scriptsAtOnce  = 16
	scriptsTime    = time.Minute
	scriptsTries   = 10
	scriptsRetryIn = 30 * time.Second
)

// ended is how a script ended.
type ended struct {
	exit, signal int
	// output is the end of what it wrote, both streams.
	output string
	err    error // it could not be run at all
}

// runner runs a program to its end; it is killed when ctx ends. started is told its
// process number.
type runner func(ctx context.Context, argv []string, started func(pid int)) ended

// Scripts is the queue of scripts. Its methods may be called from any goroutine.
type Scripts struct {
	run     runner
	log     *zap.Logger
	publish func(name, payload string)
	count   func(kind, result string)

	wake   chan struct{}
	ctx    context.Context // ends when nothing more is started
	cancel context.CancelFunc
	kill   context.Context // ends when what runs is killed
	killed context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	jobs    []*job // oldest first
	running int
}

// job is one script with its arguments.
type job struct {
	kind    string
	argv    []string
	running bool
	pid     int
	tries   int
	// since is when it was started, due when it may be started again.
	since, due time.Time
}

// Pending is one script that waits or runs, as SENTINEL PENDING-SCRIPTS shows it.
type Pending struct {
	// Argv is the path and the arguments.
	Argv    []string
	Running bool
	// PID is 0 unless it runs.
	PID int
	// For is how long it has been running, or how long it still waits.
	For time.Duration
	// Tries counts how often it was started.
	Tries int
}

func newScripts(run runner, log *zap.Logger, publish func(name, payload string), count func(kind, result string)) *Scripts {
	if publish == nil {
		publish = func(string, string) {}
	}
	s := &Scripts{run: run, log: log, publish: publish, count: count, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.kill, s.killed = context.WithCancel(context.Background())
	return s
}

func (s *Scripts) start() { s.wg.Go(s.loop) }

// stop waits for what runs, and ends it when ctx ends.
func (s *Scripts) stop(ctx context.Context) {
	s.cancel()
	over := make(chan struct{})
	go func() { s.wg.Wait(); close(over) }()
	select {
	case <-over:
	case <-ctx.Done():
	}
	s.killed()
	<-over
}

// add queues a script. When there are too many, the oldest that does not run goes.
func (s *Scripts) add(kind, path string, args ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, &job{kind: kind, argv: append([]string{path}, args...)})
	if len(s.jobs) > scriptsMax {
		n := slices.IndexFunc(s.jobs, func(j *job) bool { return !j.running })
		s.count(s.jobs[n].kind, resultDropped)
		s.log.Warn("script dropped, too many wait", zap.Strings("argv", s.jobs[n].argv), zap.Int("waiting", scriptsMax))
		s.jobs = slices.Delete(s.jobs, n, n+1)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loop starts what is due.
func (s *Scripts) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.startDue(time.Now()))
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// startDue starts the oldest first and returns after how long something else is due.
func (s *Scripts) startDue(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := time.Hour
	for _, j := range s.jobs {
		if s.ctx.Err() != nil || s.running >= scriptsAtOnce {
			break // woken when one ends
		}
		if j.running {
			continue
		}
		if wait := j.due.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		j.running, j.since = true, now
		j.tries++
		s.running++
		s.wg.Go(func() { s.carryOut(j) })
	}
	return next
}

// carryOut runs one script once.
func (s *Scripts) carryOut(j *job) {
	ctx, cancel := context.WithTimeout(s.kill, scriptsTime)
	defer cancel()
	pid := 0
	e := s.run(ctx, j.argv, func(p int) {
		pid = p
		s.mu.Lock()
		j.pid = p
		s.mu.Unlock()
	})
	if e.signal != 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.publish("-script-timeout", fmt.Sprintf("%s %d", j.argv[0], pid))
	}
	again := (e.signal != 0 || e.exit == 1) && e.err == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	j.running, j.pid = false, 0
	result := resultOK
	switch {
	case again && j.tries < scriptsTries:
		result, j.due = resultRetried, time.Now().Add(scriptsRetryIn<<(j.tries-1))
	default:
		if again || e.exit != 0 || e.err != nil {
			result = resultFailed
			s.publish("-script-error", fmt.Sprintf("%s %d %d", j.argv[0], e.signal, e.exit))
		}
		s.jobs = slices.DeleteFunc(s.jobs, func(other *job) bool { return other == j })
	}
	s.count(j.kind, result)
	s.report(j, e, result)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Scripts) report(j *job, e ended, result string) {
	fields := []zap.Field{zap.Strings("argv", j.argv), zap.Int("try", j.tries), zap.Int("exit", e.exit), zap.Int("signal", e.signal),
		zap.Duration("took", time.Since(j.since))}
	if result == resultOK {
		s.log.Debug("script ended", fields...)
		return
	}
	if result == resultRetried {
		fields = append(fields, zap.Duration("again_in", time.Until(j.due).Round(time.Second)))
	}
	s.log.Warn("script failed", append(fields, zap.String("output", strings.TrimSpace(e.output)), zap.Error(e.err))...)
}

func (s *Scripts) pending() []Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	out := make([]Pending, 0, len(s.jobs))
	for _, j := range s.jobs {
		p := Pending{Argv: slices.Clone(j.argv), Running: j.running, PID: j.pid, Tries: j.tries, For: max(0, j.due.Sub(now))}
		if j.running {
			p.For = now.Sub(j.since)
		}
		out = append(out, p)
	}
	return out
}
