package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// side is a set of running watchers of one kind.
type side interface {
	// addrs are the Sentinel addresses of those that were not killed.
	addrs() []string
	// pids are the processes, the leader first where there is one.
	pids(ctx context.Context) ([]int, error)
	// steady waits until every watcher shows each of these masters with two replicas in sync, and all other watchers.
	steady(ctx context.Context, masters []string) error
	// failover asks for a planned move and returns when the watcher has answered.
	failover(ctx context.Context, master string) error
	// leads picks the watcher that leads, any one where nobody does; killing it ends it at once.
	leads(ctx context.Context) (killIt func(), err error)
	// failovers is how many there were so far, including those that were begun and given up where that is told.
	failovers(ctx context.Context, master string) (int, error)
	// stop ends all. It may be called twice.
	stop()
}

// launch starts watchers of one kind with the same directives; dir is theirs.
type launch func(ctx context.Context, dir, directives string) (side, error)

// watched writes the directives for one master.
func watched(name, addr string, downAfter time.Duration) string {
	host, port, _ := strings.Cut(addr, ":")
	return fmt.Sprintf("sentinel monitor %s %s %s 2\nsentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 60000\n",
		name, host, port, name, downAfter.Milliseconds(), name)
}

// The times that watchers are given. They are generous: a time-out is a failed run.
const (
	steadyTimeout = 60 * time.Second
	askTimeout    = 5 * time.Second
)

// ask asks a watcher one thing.
func ask(ctx context.Context, addr string, args ...string) (wire.Reply, error) {
	c, err := wire.Dial(ctx, addr, wire.Options{Timeout: askTimeout})
	if err != nil {
		return wire.Reply{}, fmt.Errorf("ask watcher %s: %w", addr, err)
	}
	defer c.Close()                                      //nolint:errcheck // one question, one connection
	stop := context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	reply, err := c.Do(args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return wire.Reply{}, fmt.Errorf("ask watcher %s: %s: %w", addr, strings.Join(args, " "), err)
	}
	return reply, nil
}

// masterAt is the master's address as one watcher tells it.
func masterAt(ctx context.Context, watcher, master string) (string, error) {
	r, err := ask(ctx, watcher, "SENTINEL", "get-master-addr-by-name", master)
	if err != nil {
		return "", err
	}
	if len(r.Items) != 2 {
		return "", fmt.Errorf("ask watcher %s: it does not know %s", watcher, master)
	}
	return net.JoinHostPort(r.Items[0].Str, r.Items[1].Str), nil
}

var errDisagree = errors.New("the watchers name different masters")

// agreed is the address that all watchers tell.
func agreed(ctx context.Context, watchers []string, master string) (string, error) {
	at := ""
	for _, w := range watchers {
		a, err := masterAt(ctx, w, master)
		if err != nil {
			return "", err
		}
		if at != "" && a != at {
			return "", fmt.Errorf("%w: %s and %s", errDisagree, at, a)
		}
		at = a
	}
	return at, nil
}

// fields makes a map of a flat reply of names and values.
func fields(r wire.Reply) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(r.Items); i += 2 {
		out[r.Items[i].Str] = r.Items[i+1].Str
	}
	return out
}

// watchers are triwatch processes.
type watchers struct {
	*trio.Trio
	dead map[*trio.Watcher]bool
}

func launchTriwatch(binary string) launch {
	return func(_ context.Context, dir, directives string) (side, error) {
		t, err := trio.Start(trio.Options{Binary: binary, Dir: dir, Conf: directives})
		if err != nil {
			return nil, err
		}
		return &watchers{t, map[*trio.Watcher]bool{}}, nil
	}
}

func (t *watchers) addrs() []string {
	var out []string
	for _, w := range t.Watchers {
		if !t.dead[w] {
			out = append(out, w.Addr())
		}
	}
	return out
}

func (t *watchers) pids(ctx context.Context) ([]int, error) {
	l, err := t.leader(ctx)
	if err != nil {
		return nil, err
	}
	out := []int{l.Proc().PID()}
	for _, w := range t.Watchers {
		if w != l {
			out = append(out, w.Proc().PID())
		}
	}
	return out, nil
}

// steady asks each watcher for all masters at once, and not often: a question about one master costs the leader as much, and what
// it leaves behind would be counted as the watcher's memory.
func (t *watchers) steady(ctx context.Context, masters []string) error {
	err := trio.Wait(ctx, steadyTimeout, func() error {
		for _, w := range t.Watchers {
			err := t.showsAll(ctx, w, masters)
			if err != nil {
				return errors.Join(err, pause(ctx, 200*time.Millisecond))
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait until the watchers are steady: %w", err)
	}
	return nil
}

// showsAll checks one watcher's masters and their replicas.
func (t *watchers) showsAll(ctx context.Context, w *trio.Watcher, masters []string) error {
	if how, ended := w.Proc().Exited(); ended {
		return fmt.Errorf("%s has ended (%s): %s", w.Name, how, w.Tail(3))
	}
	var all httpapi.Masters
	if _, err := w.Get(ctx, "/v1/masters", &all); err != nil {
		return err
	}
	if all.Stale || !all.HasQuorum || all.Reachable != len(t.Watchers) || len(all.Masters) != len(masters) {
		return fmt.Errorf("%s knows %d of %d masters and %d of %d watchers (stale %v)", w.Name, len(all.Masters), len(masters), all.Reachable,
			len(t.Watchers), all.Stale)
	}
	for _, m := range all.Masters {
		up := 0
		for _, i := range m.Instances {
			if !i.Master && i.Health == "up" && i.Link == "up" {
				up++
			}
		}
		if m.State != "ok" || m.Plan != nil || up != 2 || m.WatchersAgree != len(t.Watchers) {
			return fmt.Errorf("%s: %s is %s (%s), %d of 2 replicas in sync, %d watchers see it", w.Name, m.Name, m.State, m.Note, up, m.WatchersAgree)
		}
	}
	return nil
}

func (t *watchers) failover(ctx context.Context, master string) error {
	_, err := ask(ctx, t.addrs()[0], "SENTINEL", "FAILOVER", master)
	return err
}

func (t *watchers) leader(ctx context.Context) (l *trio.Watcher, err error) {
	err = trio.Wait(ctx, steadyTimeout, func() error {
		if l = t.Leader(ctx); l == nil {
			return errors.New("no watcher says that it leads")
		}
		return nil
	})
	return l, err
}

func (t *watchers) leads(ctx context.Context) (func(), error) {
	l, err := t.leader(ctx)
	if err != nil {
		return nil, err
	}
	t.dead[l] = true
	return l.Kill, nil
}

// failovers counts what the history tells, aborted plans included: those were wrong, too.
func (t *watchers) failovers(ctx context.Context, master string) (n int, err error) {
	err = trio.Wait(ctx, steadyTimeout, func() error {
		all, err := t.Watchers[0].History(ctx, master)
		n = 0
		for _, r := range all {
			switch r.Kind {
			case "failover", "handover", "aborted":
				n++
			}
		}
		return err
	})
	return n, err
}

func (t *watchers) stop() { t.Stop() }

// number reads a number that a watcher told.
func number(of map[string]string, name string) (int, error) {
	n, err := strconv.Atoi(of[name])
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}
