package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

// fleet is many small masters with two replicas each.
type fleet struct {
	servers    []*redisproc.Server
	names      []string
	directives string
}

// fleetStarts is how many redis-servers are started at a time.
const fleetStarts = 8

// small is what keeps an idle redis-server cheap, so that the machine is the watchers'.
func small() []string {
	return []string{"--maxmemory", "2mb", "--hz", "1", "--repl-backlog-size", "16kb", "--io-threads", "1", "--activerehashing", "no"}
}

// newFleet starts the masters, then their replicas, and waits until all are in sync. The directives name every master.
func newFleet(ctx context.Context, dir string, masters int, downAfter time.Duration) (f *fleet, err error) {
	f = &fleet{servers: make([]*redisproc.Server, 3*masters)}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	if err := f.start(ctx, dir, 0, masters); err != nil {
		return nil, err
	}
	if err := f.start(ctx, dir, masters, 3*masters); err != nil {
		return nil, err
	}
	var conf strings.Builder
	for i := range masters {
		name := fmt.Sprintf("m%03d", i)
		f.names = append(f.names, name)
		conf.WriteString(watched(name, f.servers[i].Addr(), downAfter))
	}
	f.directives = conf.String()
	wait, cancel := context.WithTimeout(ctx, steadyTimeout)
	defer cancel()
	for _, s := range f.servers[masters:] {
		if err := s.WaitInfo(wait, "master_link_status", "up"); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// start starts the servers from lo up to and without hi; the first third are masters.
func (f *fleet) start(ctx context.Context, dir string, lo, hi int) error {
	masters := len(f.servers) / 3
	room := make(chan struct{}, fleetStarts)
	errs := make([]error, hi-lo)
	var all sync.WaitGroup
	for i := lo; i < hi; i++ {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			o := redisproc.Options{Dir: filepath.Join(dir, "redis-"+strconv.Itoa(i)), Args: small(), StartTimeout: steadyTimeout}
			if i >= masters {
				o.ReplicaOf = f.servers[i%masters].Addr()
			}
			if errs[i-lo] = os.MkdirAll(o.Dir, 0o750); errs[i-lo] == nil {
				f.servers[i], errs[i-lo] = redisproc.Start(ctx, o)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (f *fleet) stop() {
	var all sync.WaitGroup
	for _, s := range f.servers {
		if s != nil {
			all.Go(func() { s.Kill(); s.Stop() })
		}
	}
	all.Wait()
}

func (f *fleet) pids() []int {
	var out []int
	for _, s := range f.servers {
		out = append(out, s.PID())
	}
	return out
}

// hundred measures both sides in turn on one fleet, never two at a time.
func (b *bench) hundred(ctx context.Context) {
	runs := min(b.opt.runs, b.opt.hundredRuns)
	b.say("hundred: starting the instances of %d masters, three each", b.opt.masters)
	f, err := newFleet(ctx, b.folder(hundred, "fleet"), b.opt.masters, b.opt.downAfter)
	if err != nil {
		for _, c := range b.contenders(hundred) {
			b.add(ctx, sample{Scenario: hundred, Side: c.name, Run: 1, Failed: "start: " + err.Error()})
		}
		return
	}
	defer f.stop()
	for i := range runs {
		for _, c := range b.contenders(hundred) {
			if ctx.Err() != nil {
				return
			}
			b.add(ctx, b.sampled(hundred, c, i+1, func(dir string, values map[string]float64) error { return b.watchFleet(ctx, f, c, dir, values) }))
		}
	}
}

// watchFleet measures one side: three watchers of either kind, and for Sentinel also one alone, which is the least that it needs
// and so the harder figure to reach.
func (b *bench) watchFleet(ctx context.Context, f *fleet, c contender, dir string, values map[string]float64) error {
	u, err := b.use(ctx, f, c.start, filepath.Join(dir, "three"))
	if err != nil {
		return err
	}
	values[vTrioCPU], values[vRedisCPU], values[vTrioRSS] = mean(u.cpu), u.redis, highest(u.rss)
	if c.name == sentinelSide {
		if u, err = b.use(ctx, f, launchSentinel(1), filepath.Join(dir, "alone")); err != nil {
			return err
		}
		values[vLeaderCPU], values[vFollowerCPU], values[vRSS] = u.cpu[0], u.cpu[0], u.rss[0]
		return nil
	}
	values[vLeaderCPU], values[vFollowerCPU], values[vRSS] = u.cpu[0], mean(u.cpu[1:]), highest(u.rss)
	return nil
}

// usage is what watchers and instances used: processor time in milliseconds per second, memory in megabytes at the end.
type usage struct {
	cpu, rss []float64
	redis    float64
}

// use starts watchers on the fleet, lets them settle, and measures. Before and after, every one of them must show every master
// with both replicas: a watcher that does nothing costs nothing.
func (b *bench) use(ctx context.Context, f *fleet, start launch, dir string) (u usage, err error) {
	s, err := start(ctx, dir, f.directives)
	if err != nil {
		return u, fmt.Errorf("start: %w", err)
	}
	defer s.stop()
	if err := s.steady(ctx, f.names); err != nil {
		return u, err
	}
	if err := pause(ctx, b.opt.settle); err != nil {
		return u, err
	}
	pids, err := s.pids(ctx)
	if err != nil {
		return u, err
	}
	if u, err = b.sampleUse(ctx, pids, f.pids()); err != nil {
		return u, err
	}
	after, err := s.pids(ctx)
	if err == nil && after[0] != pids[0] {
		err = errors.New("the leader changed while it was measured")
	}
	return u, errors.Join(err, s.steady(ctx, f.names))
}

func (b *bench) sampleUse(ctx context.Context, pids, redis []int) (u usage, err error) {
	from := make([]time.Duration, len(pids))
	for i, pid := range pids {
		if from[i], err = cpuTime(pid); err != nil {
			return u, err
		}
	}
	fromRedis, err := cpuTime(redis...)
	if err != nil {
		return u, err
	}
	begun := time.Now()
	if err := pause(ctx, b.opt.window); err != nil {
		return u, err
	}
	took := time.Since(begun)
	for i, pid := range pids {
		to, err := cpuTime(pid)
		if err != nil {
			return u, err
		}
		mb, err := rss(pid)
		if err != nil {
			return u, err
		}
		u.cpu, u.rss = append(u.cpu, perSecond(to-from[i], took)), append(u.rss, mb)
	}
	toRedis, err := cpuTime(redis...)
	u.redis = perSecond(toRedis-fromRedis, took)
	return u, err
}

// perSecond is in milliseconds.
func perSecond(used, over time.Duration) float64 { return ms(used) / over.Seconds() }

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func highest(v []float64) (m float64) {
	for _, x := range v {
		m = max(m, x)
	}
	return m
}
