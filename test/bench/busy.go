package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/triwatch/triwatch/test/proc"
)

// spin uses one processor until ctx ends, or the parent does.
func spin(ctx context.Context) {
	for n := 0; ; n++ {
		if n&0xffffff == 0 && ctx.Err() != nil {
			return
		}
	}
}

// crowd starts n busy processes: this program again. They are children and not goroutines, because the scheduler shares the
// processors among threads of all processes, and the writers must not be in the crowd's process.
func crowd(n int) (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the bench itself: %w", err)
	}
	var all []*proc.Process
	end = func() {
		for _, p := range all {
			p.Kill()
		}
	}
	for range n {
		cmd := exec.Command(self, "-spin")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		p, err := proc.Spawn(cmd)
		if err != nil {
			end()
			return nil, fmt.Errorf("start a busy process: %w", err)
		}
		all = append(all, p)
	}
	return end, nil
}

// The pace of busy.
const (
	tellEvery   = time.Minute
	busyTimeout = 30 * time.Second // well above the target, so that a late failover is told from none
)

// busy holds the load for a long time, in which nothing may happen, and then kills the master, so that something must.
func (b *bench) busy(ctx context.Context, c contender) sample {
	return b.sampled(busy, c, 1, func(dir string, values map[string]float64) error { return b.busyOnce(ctx, c, dir, values) })
}

func (b *bench) busyOnce(ctx context.Context, c contender, dir string, values map[string]float64) error {
	r, err := newRig(ctx, dir, c.start, b.opt.downAfter)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer r.stop()
	was, err := r.side.failovers(ctx, masterName)
	if err != nil {
		return err
	}
	end, err := crowd(b.opt.busyProcs)
	if err != nil {
		return err
	}
	defer end()
	l, err := startLoad(ctx, r.side.addrs(), masterName, b.opt.busyRate, false)
	if err != nil {
		return err
	}
	defer l.stop() //nolint:errcheck // a second time; the first one counts
	if err := b.quiet(ctx, r.side, was, values); err != nil {
		return err
	}
	// It may be another one by now.
	old, err := agreed(ctx, r.side.addrs(), masterName)
	if err != nil {
		return err
	}
	master, err := r.at(old)
	if err != nil {
		return err
	}
	struck := time.Now()
	master.Kill()
	next, bad := r.recovered(ctx, l, old, busyTimeout)
	if bad == nil {
		bad = pause(ctx, settled)
	}
	res, err := l.stop()
	if err != nil {
		return err
	}
	end() // the check needs no load
	measure(values, res, struck)
	if bad != nil {
		return bad
	}
	return verify(ctx, l.w, next.Addr(), res, values)
}

// quiet waits for the long time and counts.
func (b *bench) quiet(ctx context.Context, s side, was int, values map[string]float64) error {
	begun := time.Now()
	for left := b.opt.busyFor; ; left = b.opt.busyFor - time.Since(begun) {
		if left > 0 {
			if err := pause(ctx, min(left, tellEvery)); err != nil {
				return err
			}
		}
		n, err := s.failovers(ctx, masterName)
		if err != nil {
			return fmt.Errorf("count failovers: %w", err)
		}
		values[vFailovers] = float64(n - was)
		b.say("busy: %s, failovers: %d", time.Since(begun).Round(time.Second), n-was)
		if time.Since(begun) >= b.opt.busyFor {
			return nil
		}
	}
}
