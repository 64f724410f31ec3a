package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// The empty restart: how many keys there are, how long the master is away, and how long is waited for what becomes of it.
const (
	emptyKeys  = 1000
	emptyAway  = 500 * time.Millisecond
	emptyCalm  = 8 * time.Second
	emptyDelay = 10 * time.Second
)

// empty kills a master and brings it back without data, before Sentinel holds it down. Its replicas follow an address, so whoever
// answers there as a master is copied.
func (b *bench) empty(ctx context.Context, c contender, run int) sample {
	return b.sampled(empty, c, run, func(dir string, values map[string]float64) error { return b.emptyOnce(ctx, c, dir, values) })
}

func (b *bench) emptyOnce(ctx context.Context, c contender, dir string, values map[string]float64) error {
	r, err := newRig(ctx, dir, c.start, b.opt.downAfter)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer r.stop()
	if err := r.fill(ctx); err != nil {
		return err
	}
	r.servers[0].Kill()
	if err := pause(ctx, emptyAway); err != nil {
		return err
	}
	if err := r.servers[0].Restart(ctx, redisproc.RestartOptions{Empty: true}); err != nil {
		return err
	}
	if err := pause(ctx, emptyCalm); err != nil {
		return err
	}
	at, err := agreed(ctx, r.side.addrs(), masterName)
	if err != nil {
		return err
	}
	master, err := r.at(at)
	if err != nil {
		return err
	}
	left, err := keys(ctx, master)
	if err != nil {
		return err
	}
	values[vKeysLost] = float64(emptyKeys - left)
	return nil
}

// fill writes the keys and waits until every replica has them.
func (r *rig) fill(ctx context.Context) error {
	args := []string{"MSET"}
	for i := range emptyKeys {
		args = append(args, "key:"+strconv.Itoa(i), strconv.Itoa(i))
	}
	if reply, err := r.servers[0].Do(ctx, args...); err != nil || reply.Err() != nil {
		return fmt.Errorf("fill the master: %w %w", err, reply.Err())
	}
	return trio.Wait(ctx, emptyDelay, func() error {
		for _, s := range r.servers {
			n, err := keys(ctx, s)
			if err != nil {
				return err
			}
			if n != emptyKeys {
				return fmt.Errorf("%s has %d of %d keys", s.Addr(), n, emptyKeys)
			}
		}
		return nil
	})
}

func keys(ctx context.Context, s *redisproc.Server) (int, error) {
	reply, err := s.Do(ctx, "DBSIZE")
	if err != nil {
		return 0, fmt.Errorf("count the keys of %s: %w", s.Addr(), err)
	}
	n, err := strconv.Atoi(reply.Str)
	if err != nil {
		return 0, fmt.Errorf("count the keys of %s: %q is no number", s.Addr(), reply.Str)
	}
	return n, nil
}
