package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/writer"
)

// strike does something to the master at old.
type strike func(ctx context.Context, r *rig) error

// scenario is one kind of run.
type scenario struct {
	name string
	do   strike
	// client has a go-redis client write beside the raw writers.
	client bool
	// prepare is done before the load begins, if it is not nil.
	prepare func(ctx context.Context, r *rig) error
}

func scenarios() []scenario {
	return []scenario{
		{name: kill, do: killMaster, client: true},
		{name: stop, do: func(_ context.Context, r *rig) error { return r.servers[0].Freeze() }},
		{name: planned, do: func(ctx context.Context, r *rig) error { return r.side.failover(ctx, masterName) }, client: true},
		{name: leader, do: killBoth},
	}
}

// killBoth kills the leader and the master at the same moment.
func killBoth(ctx context.Context, r *rig) error {
	killLeader, err := r.side.leads(ctx)
	if err != nil {
		return err
	}
	var both sync.WaitGroup
	both.Go(killLeader)
	both.Go(r.servers[0].Kill)
	both.Wait()
	return nil
}

// once makes one run and says what it came to; it never fails otherwise than in its sample.
func (b *bench) once(ctx context.Context, sc scenario, s contender, run int) sample {
	return b.sampled(sc.name, s, run, func(dir string, values map[string]float64) error { return b.strikeOnce(ctx, sc, s, dir, values) })
}

// sampled makes a sample of what one run measures in a folder of its own, and of why it failed if it did.
func (b *bench) sampled(scenario string, s contender, run int, measure func(dir string, values map[string]float64) error) sample {
	out := sample{Scenario: scenario, Side: s.name, Run: run, Values: map[string]float64{}}
	if err := measure(b.folder(scenario, s.name, run), out.Values); err != nil {
		out.Failed = err.Error()
	}
	return out
}

// killMaster kills the master's process.
func killMaster(_ context.Context, r *rig) error {
	r.servers[0].Kill()
	return nil
}

func (b *bench) strikeOnce(ctx context.Context, sc scenario, s contender, dir string, values map[string]float64) error {
	r, err := newRig(ctx, dir, s.start, b.opt.downAfter)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer r.stop()
	if sc.prepare != nil {
		if err := sc.prepare(ctx, r); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	l, err := startLoad(ctx, r.side.addrs(), masterName, b.opt.rate, sc.client)
	if err != nil {
		return err
	}
	defer l.stop() //nolint:errcheck // a second time; the first one counts
	if err := pause(ctx, b.opt.before); err != nil {
		return err
	}
	old := r.servers[0].Addr()
	struck := time.Now()
	if err := sc.do(ctx, r); err != nil {
		return fmt.Errorf("strike: %w", err)
	}
	// Nobody asks the watchers anything while it matters.
	if err := pause(ctx, b.opt.after); err != nil {
		return err
	}
	next, bad := r.recovered(ctx, l, old, b.opt.limit)
	if bad == nil && time.Since(struck) > b.opt.after+settled {
		bad = pause(ctx, settled) // it took long: see it write for a moment
	}
	res, err := l.stop()
	if err != nil {
		return err
	}
	measure(values, res, struck)
	if l.client != nil {
		values[vClient] = ms(l.client.longest(struck))
	}
	if bad != nil {
		return bad
	}
	return verify(ctx, l.w, next.Addr(), res, values)
}

// settled is how long writes are watched after a slow failover.
const settled = time.Second

// measure takes what the writers saw.
func measure(values map[string]float64, r writer.Result, struck time.Time) {
	values[vGap] = ms(outage(r, struck))
	values[vBefore] = ms(noise(r, struck))
	values[vAcked] = float64(r.Acked)
}

// verify looks for every acknowledged write on the final master.
func verify(ctx context.Context, w *writer.Writer, addr string, r writer.Result, values map[string]float64) error {
	if r.Acked == 0 {
		return fmt.Errorf("not one write was acknowledged (%v)", r.Errors)
	}
	v, err := w.Verify(ctx, addr)
	if err != nil {
		return err
	}
	values[vAcked] = float64(v.Checked)
	values[vLost] = float64(v.Lost)
	values[vLostPart] = 100 * float64(v.Lost) / float64(v.Checked)
	return nil
}
