package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// What a crowd is: connections to every watcher that do nothing, and a few that mean no good.
const (
	crowdIdle     = 9900 // of one watcher; it takes 10 000
	crowdElse     = 100  // of each of the others
	crowdDialers  = 8
	crowdTrickle  = 50 * time.Millisecond
	crowdChannels = 1_000_000
)

// crowded is kill with a crowd at the watchers' doors.
func (b *bench) crowded(ctx context.Context, c contender, run int) sample {
	var all visitors
	defer all.leave()
	sc := scenario{name: crowded, do: killMaster,
		prepare: func(ctx context.Context, r *rig) error { return all.come(ctx, r.side.addrs()) }}
	return b.once(ctx, sc, c, run)
}

// visitors are the connections of a crowd.
type visitors struct {
	mu    sync.Mutex
	conns []net.Conn
	stop  context.CancelFunc
	all   sync.WaitGroup
}

// come fills the first watcher with idle connections; each of them gets a subscriber to everything that never reads, one that wants a
// million channels, one that announces the longest command there can be, and one whose command comes a byte at a time.
func (v *visitors) come(ctx context.Context, addrs []string) error {
	run, cancel := context.WithCancel(ctx)
	v.stop = cancel
	for i, at := range addrs {
		n := crowdElse
		if i == 0 {
			n = crowdIdle
		}
		if err := v.idle(ctx, at, n); err != nil {
			return err
		}
		for _, words := range []string{"PSUBSCRIBE *\r\n", "*9223372036854775807\r\n"} {
			if err := v.say(ctx, at, words); err != nil {
				return err
			}
		}
		if err := v.channels(run, at); err != nil {
			return err
		}
		if err := v.trickle(run, at); err != nil {
			return err
		}
	}
	_, err := agreed(ctx, addrs, masterName) // they still answer
	return err
}

func (v *visitors) leave() {
	if v.stop != nil {
		v.stop()
	}
	v.mu.Lock()
	for _, c := range v.conns {
		c.Close() //nolint:errcheck // nothing more is done with it
	}
	v.mu.Unlock()
	v.all.Wait()
}

func (v *visitors) dial(ctx context.Context, at string) (net.Conn, error) {
	d := net.Dialer{Timeout: askTimeout, KeepAlive: -1}
	c, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("visit watcher %s: %w", at, err)
	}
	v.mu.Lock()
	v.conns = append(v.conns, c)
	v.mu.Unlock()
	return c, nil
}

// idle makes connections that say nothing.
func (v *visitors) idle(ctx context.Context, at string, n int) error {
	errs := make([]error, crowdDialers)
	var all sync.WaitGroup
	for d := range crowdDialers {
		all.Go(func() {
			for i := d; i < n && errs[d] == nil; i += crowdDialers {
				_, errs[d] = v.dial(ctx, at)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// say sends words and never reads.
func (v *visitors) say(ctx context.Context, at, words string) error {
	c, err := v.dial(ctx, at)
	if err == nil {
		_, err = c.Write([]byte(words))
	}
	return err
}

// channels subscribes to channel after channel until the watcher closes the connection or there are a million.
func (v *visitors) channels(ctx context.Context, at string) error {
	c, err := wire.Dial(ctx, at, wire.Options{})
	if err != nil {
		return fmt.Errorf("visit watcher %s: %w", at, err)
	}
	v.all.Go(func() {
		defer c.Close()                                     //nolint:errcheck // nothing more is done with it
		end := context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // the read or write fails instead
		defer end()
		for i := range crowdChannels {
			if _, err := c.Do("SUBSCRIBE", fmt.Sprintf("channel:%d", i)); err != nil {
				return
			}
		}
	})
	return nil
}

// trickle sends a command a byte at a time.
func (v *visitors) trickle(ctx context.Context, at string) error {
	c, err := v.dial(ctx, at)
	if err != nil {
		return err
	}
	v.all.Go(func() {
		tick := time.NewTicker(crowdTrickle)
		defer tick.Stop()
		if _, err := c.Write([]byte("*2\r\n$4\r\nPING\r\n$16000\r\n")); err != nil {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
		}
	})
	return nil
}
