package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// sentinels are redis-sentinel processes.
type sentinels struct {
	servers []*redisproc.Server
	dead    map[*redisproc.Server]bool
}

// launchSentinel starts that many Sentinels, with the same file that triwatch gets.
func launchSentinel(size int) launch {
	return func(ctx context.Context, dir, directives string) (side, error) {
		t := &sentinels{dead: map[*redisproc.Server]bool{}}
		for i := range size {
			o := redisproc.Options{Dir: filepath.Join(dir, "s"+strconv.Itoa(i+1)), SentinelConf: directives}
			if err := os.MkdirAll(o.Dir, 0o750); err != nil {
				t.stop()
				return nil, fmt.Errorf("prepare sentinel: %w", err)
			}
			s, err := redisproc.Start(ctx, o)
			if err != nil {
				t.stop()
				return nil, fmt.Errorf("start sentinel: %w", err)
			}
			t.servers = append(t.servers, s)
		}
		return t, nil
	}
}

func (t *sentinels) addrs() []string {
	var out []string
	for _, s := range t.servers {
		if !t.dead[s] {
			out = append(out, s.Addr())
		}
	}
	return out
}

func (t *sentinels) pids(context.Context) ([]int, error) {
	var out []int
	for _, s := range t.servers {
		out = append(out, s.PID())
	}
	return out, nil
}

func (t *sentinels) steady(ctx context.Context, masters []string) error {
	err := trio.Wait(ctx, steadyTimeout, func() error {
		for _, at := range t.addrs() {
			all, err := ask(ctx, at, "SENTINEL", "MASTERS")
			if err != nil {
				return err
			}
			if err := t.seen(ctx, at, all, len(masters)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait until the sentinels are steady: %w", err)
	}
	return nil
}

// seen checks one Sentinel's masters and their replicas.
func (t *sentinels) seen(ctx context.Context, at string, all wire.Reply, masters int) error {
	if len(all.Items) != masters {
		return fmt.Errorf("%s knows %d of %d masters", at, len(all.Items), masters)
	}
	for _, r := range all.Items {
		m := fields(r)
		others := strconv.Itoa(len(t.servers) - 1)
		if m["flags"] != "master" || m["num-slaves"] != "2" || m["num-other-sentinels"] != others {
			return fmt.Errorf("%s: %s is %q with %s replicas and %s other sentinels", at, m["name"], m["flags"], m["num-slaves"], m["num-other-sentinels"])
		}
		replicas, err := ask(ctx, at, "SENTINEL", "REPLICAS", m["name"])
		if err != nil {
			return err
		}
		for _, r := range replicas.Items {
			if f := fields(r); f["flags"] != "slave" || f["master-link-status"] != "ok" {
				return fmt.Errorf("%s: replica %s of %s is %q, link %s", at, f["name"], m["name"], f["flags"], f["master-link-status"])
			}
		}
	}
	return nil
}

func (t *sentinels) failover(ctx context.Context, master string) error {
	_, err := ask(ctx, t.addrs()[0], "SENTINEL", "FAILOVER", master)
	return err
}

// leads picks the first: Sentinel elects a leader for each failover, so any one may be it.
func (t *sentinels) leads(context.Context) (func(), error) {
	if len(t.servers) == 0 {
		return nil, errors.New("no sentinel runs")
	}
	s := t.servers[0]
	t.dead[s] = true
	return s.Kill, nil
}

// failovers is the master's epoch: every completed failover gives it a higher one. Attempts that were given up are not told.
func (t *sentinels) failovers(ctx context.Context, master string) (int, error) {
	r, err := ask(ctx, t.addrs()[0], "SENTINEL", "MASTER", master)
	if err != nil {
		return 0, err
	}
	return number(fields(r), "config-epoch")
}

func (t *sentinels) stop() {
	var all sync.WaitGroup
	for _, s := range t.servers {
		all.Go(s.Stop)
	}
	all.Wait()
}
