package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// hellos are the greetings that one instance has passed on, the last one by who sent it.
type hellos struct {
	mu sync.Mutex
	by map[string]string
}

func (h *hellos) text(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[id]
}

// hellos listens to the greetings on an instance until the test ends, anew when the
// instance sends its clients away.
func (r *rig) hellos(s *redisproc.Server) *hellos {
	r.t.Helper()
	h := &hellos{by: map[string]string{}}
	ctx, cancel := context.WithCancel(r.t.Context())
	heard, ended := make(chan struct{}), make(chan struct{})
	subscribed := sync.OnceFunc(func() { close(heard) })
	go func() {
		defer close(ended)
		for tick := time.Tick(10 * time.Millisecond); ctx.Err() == nil; <-tick {
			h.listen(ctx, s, subscribed)
		}
	}()
	r.t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-heard:
	case <-time.After(waitLimit):
		r.t.Fatalf("no subscription at %s within %v", s.Addr(), waitLimit)
	}
	return h
}

// listen takes up greetings until the connection ends.
func (h *hellos) listen(ctx context.Context, s *redisproc.Server, subscribed func()) {
	c, err := wire.Dial(ctx, s.Addr(), wire.Options{})
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { c.Close() })() //nolint:errcheck // the read fails instead
	defer c.Close()                                      //nolint:errcheck // it is done with
	if reply, err := c.Do("SUBSCRIBE", "__sentinel__:hello"); err != nil || reply.Err() != nil {
		return
	}
	subscribed()
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		if s := m.Strings(); len(s) == 3 {
			if f := strings.Split(s[2], ","); len(f) == 8 {
				h.mu.Lock()
				h.by[f[2]] = s[2]
				h.mu.Unlock()
			}
		}
	}
}

// Tools that look for Sentinels on __sentinel__:hello find the watchers there, on every
// instance, and the watchers do not take each other for strangers.
func TestGreetingsArePublishedWhereThatIsWanted(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{args: []string{"--publish-hello"}})
		told := func(of *redisproc.Server, at []*hellos, epoch string) func() error {
			return func() error {
				for _, w := range r.trio.Watchers {
					host, port, _ := strings.Cut(w.Addr(), ":")
					id := r.tell(w, "sentinel", "myid")
					want := fmt.Sprintf("%s,%s,%s,%s,%s,127.0.0.1,%d,%s", host, port, id, epoch, name, of.Port(), epoch)
					for i, h := range at {
						if got := h.text(id); got != want {
							return fmt.Errorf("%s greets on instance %d with %q, want %q", w.Name, i, got, want)
						}
					}
				}
				return nil
			}
		}
		var all []*hellos
		for _, s := range r.redis {
			all = append(all, r.hellos(s))
		}
		r.wait("all greet on every instance", told(r.redis[0], all, "0"))
		r.stays("nobody is a stranger", 5*time.Second, func() error {
			if m := r.state(r.leader()); strings.Contains(m.Note, "another Sentinel") {
				return fmt.Errorf("%s: %s", m.State, m.Note)
			}
			return nil
		})
		next := r.next(func(*redisproc.Server) { r.asks(r.follower(), "OK", "sentinel", "failover", name) })
		r.wait("the new master is told", told(next, all, "1"))
	})
}

// Nobody greets unasked: a Sentinel that watches the same master would count the watchers
// as its own.
func TestNoGreetingsUnasked(t *testing.T) {
	scenario(t, func(t *T) {
		r := start(t, setup{})
		h := r.hellos(r.redis[0])
		r.stays("no greetings", 5*time.Second, func() error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.by) > 0 {
				return errors.New("greetings of " + strings.Join(slices.Collect(maps.Keys(h.by)), ", "))
			}
			return nil
		})
	})
}
