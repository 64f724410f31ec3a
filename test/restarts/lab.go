package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// lab is one trio and the groups that it watches.
type lab struct {
	dir    string
	trio   *trio.Trio
	groups []*group
}

// The ports of Redis lie between those of the watchers' peers and the ones that Linux gives to outgoing connections: an
// instance that comes back must find its port free.
const (
	firstPort = 23000
	portCount = 7000
)

// startLimit bounds the wait until all groups are steady for the first time.
const startLimit = 60 * time.Second

// newLab starts the groups and then the watchers, and waits until all is in sync.
func newLab(ctx context.Context, dir, triwatch string, kinds []Variant) (l *lab, err error) {
	l = &lab{dir: dir}
	defer func() {
		if err != nil {
			l.stop()
		}
	}()
	var conf strings.Builder
	port := firstPort + rand.IntN(portCount)
	for n, v := range kinds {
		g := &group{name: "g" + strconv.Itoa(n+1), kind: v, lab: l}
		l.groups = append(l.groups, g)
		if port, err = g.start(ctx, dir, port); err != nil {
			return l, fmt.Errorf("start group %s (%s): %w", g.name, v, err)
		}
		fmt.Fprintf(&conf, "sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 60000\n",
			g.name, g.at[0].Port(), g.name, g.name)
	}
	if l.trio, err = trio.Start(trio.Options{Binary: triwatch, Dir: dir, Conf: conf.String()}); err != nil {
		return l, err
	}
	for _, g := range l.groups {
		if err = l.trio.WaitSteady(ctx, g.name, len(g.at)-1, startLimit); err != nil {
			return l, fmt.Errorf("group %s (%s): %w", g.name, g.kind, err)
		}
	}
	return l, nil
}

// stop ends everything.
func (l *lab) stop() {
	if l.trio != nil {
		l.trio.Stop()
	}
	var all sync.WaitGroup
	for _, g := range l.groups {
		for _, i := range g.at {
			i.hangUp()
			all.Go(func() { i.Kill(); i.Stop() })
		}
	}
	all.Wait()
}

// group is one master and its replicas. One goroutine uses it.
type group struct {
	name   string
	kind   Variant
	lab    *lab
	at     []*instance
	strike int // counts the strikes: every one has values of its own
}

// groupSize is a master and two replicas.
const groupSize = 3

// start starts the instances on free ports from the given one on, and makes the first one the master of the others. It returns
// the port after the last one.
func (g *group) start(ctx context.Context, dir string, port int) (int, error) {
	for n := range groupSize {
		o := g.kind.options()
		o.Dir = filepath.Join(dir, g.name+"-"+strconv.Itoa(n))
		if err := os.MkdirAll(o.Dir, 0o750); err != nil {
			return port, err
		}
		s, next, err := startOn(ctx, o, port)
		if port = next; err != nil {
			return port, err
		}
		g.at = append(g.at, &instance{Server: s})
	}
	return port, g.wire(ctx)
}

// startOn starts a server on the next free port.
func startOn(ctx context.Context, o redisproc.Options, port int) (s *redisproc.Server, next int, err error) {
	for range portCount {
		o.Port = firstPort + (port-firstPort)%portCount
		port++
		if !free(o.Port) {
			continue
		}
		if s, err = redisproc.Start(ctx, o); err == nil || ctx.Err() != nil {
			return s, port, err
		}
	}
	if err == nil {
		err = errors.New("no port is free")
	}
	return nil, port, err
}

// free reports whether nobody listens; trio.FreePort says why it dials.
func free(port int) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
	if err == nil {
		c.Close() //nolint:errcheck // it was only asked whether it is there
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// wire makes the first instance a master with keys and the others its replicas, before anybody watches.
func (g *group) wire(ctx context.Context) error {
	if _, err := g.at[0].ask(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return err
	}
	if err := g.at[0].write(ctx, g.strike); err != nil {
		return err
	}
	for _, i := range g.at[1:] {
		if err := i.follow(ctx, "127.0.0.1", g.at[0].Port()); err != nil {
			return err
		}
	}
	return g.linked(ctx, g.at[0])
}

func (i *instance) follow(ctx context.Context, host string, port int) error {
	_, err := i.ask(ctx, "REPLICAOF", host, strconv.Itoa(port))
	return err
}

// linkLimit bounds the wait for links, syncs and saves.
const linkLimit = 20 * time.Second

// linked waits until every other instance is in sync with the master.
func (g *group) linked(ctx context.Context, master *instance) error {
	return trio.Wait(ctx, linkLimit, func() error {
		for _, i := range g.at {
			if i == master {
				continue
			}
			t, err := i.info(ctx)
			if err != nil {
				return err
			}
			if t.role != "slave" || t.port != strconv.Itoa(master.Port()) || t.link != "up" || t.syncing {
				return fmt.Errorf("%s: role %s of %s:%s, link %s", i.Addr(), t.role, t.host, t.port, t.link)
			}
		}
		return nil
	})
}
