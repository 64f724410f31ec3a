package main

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/triwatch/triwatch/test/writer"
)

// load is the writers at work, and a go-redis client beside them if one is wanted.
type load struct {
	w      *writer.Writer
	cancel context.CancelFunc
	all    sync.WaitGroup
	result writer.Result
	err    error
	client *client
}

// startLoad starts eight writers; rate 0 is as fast as they can.
func startLoad(ctx context.Context, watchers []string, master string, rate int, withClient bool) (*load, error) {
	res, err := writer.NewSentinel(writer.SentinelOptions{Addrs: watchers, Master: master})
	if err != nil {
		return nil, err
	}
	l := &load{}
	if l.w, err = writer.New(writer.Options{Resolver: res, Rate: rate}); err != nil {
		return nil, err
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.all.Go(func() {
		defer res.Close()
		l.result, l.err = l.w.Run(ctx)
	})
	if withClient {
		l.client = &client{}
		l.all.Go(func() { l.client.run(ctx, watchers, master) })
	}
	return l, nil
}

// stop ends the writing and waits for it. It may be called twice.
func (l *load) stop() (writer.Result, error) {
	l.cancel()
	l.all.Wait()
	return l.result, l.err
}

// client is one program that uses go-redis as its documentation shows it.
type client struct {
	mu   sync.Mutex
	gaps []writer.Gap
}

// leastClientGap is what is remembered of the client's pauses; shorter ones are never the longest of a run.
const leastClientGap = time.Millisecond

// run writes one key after the other until ctx ends. All options of go-redis are its defaults: its time-outs, retries and pauses
// are what this is about.
func (c *client) run(ctx context.Context, watchers []string, master string) {
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: master, SentinelAddrs: watchers})
	defer rdb.Close() //nolint:errcheck // nothing is lost with it
	last := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		if err := rdb.Set(ctx, "beside", i, 0).Err(); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond): // a program that spins would take the processor from the others
			}
			continue
		}
		now := time.Now()
		c.note(last, now)
		last = now
	}
	// A client that never came back has waited until now.
	c.note(last, time.Now())
}

func (c *client) note(from, to time.Time) {
	if to.Sub(from) < leastClientGap {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaps = append(c.gaps, writer.Gap{Start: from, End: to, Took: to.Sub(from)})
}

// longest is the longest pause that ended after the strike.
func (c *client) longest(strike time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, _ := longestAfter(c.gaps, strike)
	return d
}

// What a writer keeps of its gaps, see writer.Result.
const (
	keptGaps = 16
	leastGap = 2 * time.Millisecond
)

// outage is the longest gap that ended after the strike, the end of the run included. Where the writer kept none of these, it is
// the length that it can't have exceeded.
func outage(r writer.Result, strike time.Time) time.Duration {
	d, ok := longestAfter(r.Gaps, strike)
	switch {
	case ok:
		return d
	case len(r.Gaps) >= keptGaps:
		return r.Gaps[len(r.Gaps)-1].Took
	}
	return leastGap
}

func longestAfter(gaps []writer.Gap, strike time.Time) (d time.Duration, ok bool) {
	for _, g := range gaps {
		if g.End.After(strike) {
			d, ok = max(d, g.Took), true
		}
	}
	return d, ok
}

// noise is the longest gap that ended before the strike, without the first one, in which the writers connect.
func noise(r writer.Result, strike time.Time) time.Duration {
	var d time.Duration
	for _, g := range r.Gaps {
		if !g.End.After(strike) && g.Start.After(r.Started) {
			d = max(d, g.Took)
		}
	}
	return d
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
