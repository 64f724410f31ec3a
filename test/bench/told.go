package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// told measures how long it takes from the promotion to +switch-master at the last of the watchers.
func (b *bench) told(ctx context.Context, c contender, run int) sample {
	return b.sampled(told, c, run, func(dir string, values map[string]float64) error { return b.toldOnce(ctx, c, dir, values) })
}

// heard is one event at one watcher's subscriber.
type heard struct {
	watcher, event string
	at             time.Time
}

func (b *bench) toldOnce(ctx context.Context, c contender, dir string, values map[string]float64) error {
	r, err := newRig(ctx, dir, c.start, b.opt.downAfter)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer r.stop()
	all := make(chan heard, 100)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, w := range r.side.addrs() {
		if err := subscribe(ctx, w, all); err != nil {
			return err
		}
	}
	l, err := startLoad(ctx, r.side.addrs(), masterName, b.opt.rate, false)
	if err != nil {
		return err
	}
	defer l.stop() //nolint:errcheck // only the load counts
	if err := pause(ctx, b.opt.before); err != nil {
		return err
	}
	old := r.servers[0].Addr()
	r.servers[0].Kill()
	var promoted, last time.Time
	switched := map[string]bool{}
	err = trio.Wait(ctx, b.opt.after+b.opt.limit, func() error {
		for len(all) > 0 {
			switch h := <-all; {
			case h.event == "+promoted-slave" && promoted.IsZero():
				promoted = h.at
			case h.event == "+switch-master" && !switched[h.watcher]:
				switched[h.watcher], last = true, h.at
			}
		}
		if promoted.IsZero() || len(switched) < len(r.side.addrs()) {
			return fmt.Errorf("promoted: %v, %d of %d watchers have said +switch-master", !promoted.IsZero(), len(switched), len(r.side.addrs()))
		}
		return nil
	})
	if err != nil {
		return err
	}
	values[vTold] = ms(last.Sub(promoted))
	_, err = r.recovered(ctx, l, old, b.opt.limit) // what they said is true
	return err
}

// subscribe listens to a watcher until ctx ends.
func subscribe(ctx context.Context, watcher string, to chan<- heard) error {
	c, err := wire.Dial(ctx, watcher, wire.Options{})
	if err != nil {
		return fmt.Errorf("subscribe at %s: %w", watcher, err)
	}
	context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // the read or write fails instead
	for _, ch := range []string{"+promoted-slave", "+switch-master"} {
		if reply, err := c.Do("SUBSCRIBE", ch); err != nil || reply.Err() != nil {
			return errors.Join(fmt.Errorf("subscribe at %s to %s", watcher, ch), err, reply.Err())
		}
	}
	go func() {
		for {
			m, err := c.Receive()
			if err != nil {
				return
			}
			if s := m.Strings(); len(s) == 3 && s[0] == "message" {
				to <- heard{watcher, s[1], time.Now()}
			}
		}
	}()
	return nil
}
