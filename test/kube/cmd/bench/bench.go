package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/kube/lab"
)

const (
	// patience is how long anything may take in a run before the run has failed.
	patience = time.Minute
	// runLimit bounds a run.
	runLimit = 3 * time.Minute
	// lead is how long the load runs before the strike.
	lead = time.Second
	// steady is how much longer it runs where it is to be a steady one: three INFOs of each
	// replica, a second apart, show that.
	steady = 3 * time.Second
	// settled is longer than kube-proxy's minimum time between two syncs, one second: when no
	// endpoint changed for so long, the next change is synced at once.
	settled = 1500 * time.Millisecond
	// mostFailures is after how many failed runs the bench gives up.
	mostFailures = 4
)

// values is what a run has measured, by the names that the figures use.
type values map[string]float64

func (v values) time(name string, d time.Duration) { v[name] = float64(d) / float64(time.Millisecond) }

// side is one of the two things that are measured: a Set under watch, or one without.
type side interface {
	name() string
	// scenarios are those that it can run, by name. A run fills in values also when it fails.
	scenarios() map[string]func(context.Context, values) error
	// stage applies the objects in a new namespace and waits until all is well.
	stage(ctx context.Context, namespace string) error
	namespace() string
}

// bench is one call of the program.
type bench struct {
	opt      options
	lab      *lab.Lab
	stderr   io.Writer
	began    time.Time
	samples  []sample
	stages   int
	failures int
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.stderr, "%5.0f s  "+format+"\n", append([]any{time.Since(b.began).Seconds()}, args...)...)
}

var errGivenUp = errors.New("too many runs have failed")

// runAll measures one side after the other, each quiet and then busy.
func (b *bench) runAll(ctx context.Context) error {
	sides := []side{&watched{bench: b}}
	if b.opt.without {
		sides = append(sides, &plain{bench: b})
	}
	for _, s := range sides {
		if err := b.runSide(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) runSide(ctx context.Context, s side) error {
	if !slices.ContainsFunc(b.opt.only, func(name string) bool { return s.scenarios()[name] != nil }) {
		return nil
	}
	if err := b.restage(ctx, s); err != nil {
		return err
	}
	if err := b.runSet(ctx, s, false); err != nil {
		return err
	}
	if b.opt.busy {
		n, err := b.startNoise(ctx)
		if err != nil {
			return err
		}
		err = b.runSet(ctx, s, true)
		if err = errors.Join(err, n.stop()); err != nil {
			return err
		}
	}
	return b.strike(ctx, s)
}

// runSet runs every scenario as often as asked for.
func (b *bench) runSet(ctx context.Context, s side, busy bool) error {
	for _, name := range scenarios() {
		once := s.scenarios()[name]
		if once == nil || !slices.Contains(b.opt.only, name) {
			continue
		}
		for i := range b.opt.runs {
			x := sample{Scenario: name, Side: s.name(), Busy: busy, Run: i + 1, Values: values{}}
			err := b.once(ctx, once, x.Values)
			if ctx.Err() != nil {
				return ctx.Err() // it was interrupted, it did not fail
			}
			if err != nil {
				x.Failed = err.Error()
			}
			b.add(x)
			if err == nil {
				continue
			}
			if b.failures++; b.failures >= mostFailures {
				return errGivenUp
			}
			if err := b.restage(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) once(ctx context.Context, once func(context.Context, values) error, v values) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	return once(ctx, v)
}

// add takes a sample and tells it.
func (b *bench) add(x sample) {
	b.samples = append(b.samples, x)
	var parts []string
	for _, f := range figures() {
		if v, ok := x.Values[f.Value]; ok && f.Scenario == x.Scenario {
			parts = append(parts, f.Value+" "+f.Unit.number(v))
		}
	}
	if x.Failed != "" {
		parts = append(parts, "FAILED: "+x.Failed)
	}
	b.say("%s: %s", x.name(), strings.Join(parts, ", "))
}

// restage makes a side anew: what a failed run has left is no place for the next.
func (b *bench) restage(ctx context.Context, s side) error {
	if s.namespace() != "" {
		if err := b.strike(ctx, s); err != nil {
			return err
		}
	}
	b.stages++
	if err := s.stage(ctx, fmt.Sprintf("bench-%d", b.stages)); err != nil {
		return fmt.Errorf("stage %s: %w", s.name(), err)
	}
	b.say("%s: all is well in %s", s.name(), s.namespace())
	return nil
}

// strike removes a side's namespace, so that the other one has the machine for itself.
func (b *bench) strike(ctx context.Context, s side) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	_, err := b.lab.Kubectl(ctx, "delete", "namespace", s.namespace(), "--wait=true")
	return err
}

// pause waits a time, or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
