package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/triwatch/triwatch/test/writer"
)

// Load is two writers at work: one through the master Service, one through Sentinel.
type Load struct {
	set     *Set
	cancel  context.CancelFunc
	service running
	watcher running
}

type running struct {
	w    *writer.Writer
	done chan struct{}
	res  writer.Result
	err  error
}

// Verdict is what a Load came to.
type Verdict struct {
	Service, Sentinel Writes
}

// Writes is one writer's part: the longest time without an acknowledged write, how
// many were acknowledged, and how many of them are not on the master.
type Writes struct {
	Gap    time.Duration
	From   time.Time // when the gap began
	Acked  int64
	Lost   int64
	Errors map[string]int64
}

// String returns the verdict for a log.
func (v Verdict) String() string {
	one := func(w Writes) string {
		return fmt.Sprintf("gap %v, %d acknowledged, %d lost, errors %v", w.Gap.Round(100*time.Microsecond), w.Acked, w.Lost, w.Errors)
	}
	return "service: " + one(v.Service) + "; sentinel: " + one(v.Sentinel)
}

// rate is each writer's pace: fast enough to see a gap of ten milliseconds, slow
// enough to leave two processors to the cluster.
const rate = 400

// Begin starts both writers and returns when each has had a write acknowledged.
func (s *Set) Begin(ctx context.Context) (*Load, error) {
	service, err := s.ServiceAddr(ctx)
	if err != nil {
		return nil, err
	}
	ask, err := s.sentinel(ctx)
	if err != nil {
		return nil, err
	}
	l := &Load{set: s}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	if err := errors.Join(l.service.start(run, s, writer.Fixed(service)), l.watcher.start(run, s, ask)); err != nil {
		cancel()
		return nil, err
	}
	err = Wait(ctx, 30*time.Second, "the first acknowledged writes", func(context.Context) (string, error) {
		a, b := l.service.w.Snapshot(), l.watcher.w.Snapshot()
		if a.Acked > 0 && b.Acked > 0 {
			return "", nil
		}
		return fmt.Sprintf("service %v, sentinel %v", a.Errors, b.Errors), nil
	})
	if err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

func (r *running) start(ctx context.Context, s *Set, to writer.Resolver) (err error) {
	r.done = make(chan struct{})
	r.w, err = writer.New(writer.Options{Resolver: to, Conns: 4, Modes: []writer.Mode{writer.Single}, Rate: rate, Password: s.Password})
	if err != nil {
		close(r.done)
		return err
	}
	go func() {
		defer close(r.done)
		r.res, r.err = r.w.Run(ctx)
	}()
	return nil
}

func (l *Load) stop() {
	l.cancel()
	<-l.service.done
	<-l.watcher.done
}

// Acked tells how many writes were acknowledged so far, in all.
func (l *Load) Acked() int64 { return l.service.w.Snapshot().Acked + l.watcher.w.Snapshot().Acked }

// Flowing waits until both writers get acknowledgements again.
func (l *Load) Flowing(ctx context.Context, limit time.Duration) error {
	for _, r := range []*running{&l.service, &l.watcher} {
		if err := r.flowing(ctx, limit); err != nil {
			return err
		}
	}
	return nil
}

// End stops the writers and looks for every acknowledged write on the master that the
// watchers name.
func (l *Load) End(ctx context.Context) (Verdict, error) {
	l.stop()
	st, err := l.set.Status(ctx)
	if err != nil {
		return Verdict{}, err
	}
	var v Verdict
	for _, x := range []struct {
		r   *running
		out *Writes
	}{{&l.service, &v.Service}, {&l.watcher, &v.Sentinel}} {
		if x.r.err != nil {
			return v, x.r.err
		}
		got, err := x.r.w.Verify(ctx, st.Master.Current.Address)
		if err != nil {
			return v, err
		}
		*x.out = Writes{Gap: x.r.res.LongestGap, From: x.r.res.GapStart, Acked: x.r.res.Acked, Lost: got.Lost, Errors: x.r.res.Errors}
	}
	return v, nil
}

// SentinelFlowing waits until the writer that follows Sentinel gets acknowledgements.
func (l *Load) SentinelFlowing(ctx context.Context, limit time.Duration) error {
	return l.watcher.flowing(ctx, limit)
}

func (r *running) flowing(ctx context.Context, limit time.Duration) error {
	before := r.w.Snapshot().Acked
	return Wait(ctx, limit, "writes to be acknowledged", func(context.Context) (string, error) {
		if now := r.w.Snapshot(); now.Acked > before+rate/4 {
			return "", nil
		}
		return fmt.Sprintf("%v", r.w.Snapshot().Errors), nil
	})
}

func (s *Set) sentinel(ctx context.Context) (*writer.Sentinel, error) {
	watchers, err := s.SentinelAddr(ctx)
	if err != nil {
		return nil, err
	}
	return writer.NewSentinel(writer.SentinelOptions{Addrs: []string{watchers}, Master: s.Master})
}

// Told returns the master's address as a Sentinel client is told it.
func (s *Set) Told(ctx context.Context) (string, error) {
	ask, err := s.sentinel(ctx)
	if err != nil {
		return "", err
	}
	return ask.Resolve(ctx)
}
