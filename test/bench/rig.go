package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// masterName is what the one master of a run is called.
const masterName = "bench"

// rig is one run's redis-servers and watchers.
type rig struct {
	servers []*redisproc.Server // the master first
	side    side
}

// newRig starts three redis-servers and the watchers, and waits until all is in sync.
func newRig(ctx context.Context, dir string, start launch, downAfter time.Duration) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	for i := range 3 {
		o := redisproc.Options{Dir: filepath.Join(dir, "redis-"+strconv.Itoa(i))}
		if i > 0 {
			o.ReplicaOf = r.servers[0].Addr()
		}
		if err := os.MkdirAll(o.Dir, 0o750); err != nil {
			return nil, fmt.Errorf("prepare redis: %w", err)
		}
		s, err := redisproc.Start(ctx, o)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, s)
	}
	if r.side, err = start(ctx, dir, watched(masterName, r.servers[0].Addr(), downAfter)); err != nil {
		return nil, err
	}
	return r, r.side.steady(ctx, []string{masterName})
}

// stop ends everything. The instances are killed: a frozen one would be waited for.
func (r *rig) stop() {
	var all sync.WaitGroup
	if r.side != nil {
		all.Go(r.side.stop)
	}
	for _, s := range r.servers {
		all.Go(func() { s.Kill(); s.Stop() })
	}
	all.Wait()
}

// at is the server with that address.
func (r *rig) at(addr string) (*redisproc.Server, error) {
	for _, s := range r.servers {
		if s.Addr() == addr {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the watchers name %s, which is none of this run's instances", addr)
}

var errStays = errors.New("the master is still the old one")

// recovered waits until all living watchers name the same other master, it says that it is one, and writes go on.
func (r *rig) recovered(ctx context.Context, l *load, old string, limit time.Duration) (next *redisproc.Server, err error) {
	err = trio.Wait(ctx, limit, func() error {
		at, err := agreed(ctx, r.side.addrs(), masterName)
		if err != nil {
			return err
		}
		if at == old {
			return errStays
		}
		if next, err = r.at(at); err != nil {
			return err
		}
		info, err := next.Info(ctx, "replication")
		if err != nil {
			return err
		}
		if info["role"] != "master" {
			return fmt.Errorf("%s says that it is a %s", at, info["role"])
		}
		if s := l.w.Snapshot(); s.SinceAck > flowing {
			return fmt.Errorf("%s is master, but no write was acknowledged for %s", at, s.SinceAck)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for another master: %w", err)
	}
	return next, nil
}

// flowing is the longest time without an acknowledgement after which writes are still said to go on.
const flowing = time.Second

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
