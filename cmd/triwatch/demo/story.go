package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// story prints the timeline: what the watchers publish, as it arrives.
type story struct {
	d     *demo
	mu    sync.Mutex
	start time.Time
	told  map[string]int // event -> by how many watchers
	subs  []*redis.PubSub
	wg    sync.WaitGroup
	once  sync.Once
	conns []*redis.SentinelClient
}

func newStory(d *demo) *story { return &story{d: d, told: map[string]int{}, start: time.Now()} }

// listen subscribes to every watcher, as any Sentinel client can.
func (s *story) listen(ctx context.Context) error {
	for _, w := range s.d.trio.Watchers {
		c := w.Client()
		ps := c.PSubscribe(ctx, "*")
		s.conns, s.subs = append(s.conns, c), append(s.subs, ps)
		if _, err := ps.Receive(ctx); err != nil {
			return fmt.Errorf("subscribe at %s: %w", w.Name, err)
		}
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			for m := range ps.Channel(redis.WithChannelSize(1000)) {
				s.event(w.Name, m.Channel, m.Payload)
			}
		}()
	}
	return nil
}

func (s *story) close() {
	s.once.Do(func() {
		for i, ps := range s.subs {
			ps.Close()         //nolint:errcheck // nothing more is wanted from it
			s.conns[i].Close() //nolint:errcheck // likewise
		}
		s.wg.Wait()
	})
}

func (s *story) begin() {
	s.mu.Lock()
	s.start = time.Now()
	s.mu.Unlock()
}

// tell prints one line with the time since the strike.
func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line(fmt.Sprintf(format, args...))
}

func (s *story) line(text string) {
	after := time.Since(s.start)
	at := fmt.Sprintf("+%.1f ms", float64(after.Microseconds())/1000)
	if after >= time.Second {
		at = fmt.Sprintf("+%.2f s", after.Seconds())
	}
	s.d.say("%11s  %s", at, s.d.named(text))
}

// event turns an event into a line.
func (s *story) event(watcher, channel, payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, reason, _ := strings.Cut(payload, " # ")
	n := s.told[channel+payload] + 1
	s.told[channel+payload] = n
	all := len(s.d.trio.Watchers)
	switch channel {
	case "+sdown":
		if strings.HasPrefix(payload, "master ") {
			s.line(fmt.Sprintf("%-10s %s holds the master down (%d of %d)", "seen", watcher, n, all))
		}
	case "+evidence":
		s.line(fmt.Sprintf("%-10s %s", "agreed", reason))
	case "+chosen":
		s.line(fmt.Sprintf("%-10s %s", "chosen", reason))
	case "+new-epoch":
		if n == 1 {
			s.line(fmt.Sprintf("%-10s epoch %s is committed by the watchers' log", "committed", payload))
		}
	case "+promoted-slave":
		s.line(fmt.Sprintf("%-10s %s answers role master", "promoted", instance(payload)))
	case "+switch-master":
		f := strings.Fields(payload)
		if len(f) == 5 {
			s.line(fmt.Sprintf("%-10s clients of %s are told: %s:%s (%d of %d)", "moved", watcher, f[3], f[4], n, all))
		}
	case "+fenced":
		s.line(fmt.Sprintf("%-10s %s: %s", "fenced", instance(payload), reason))
	case "+convert-to-slave", "+slave-reconf-sent", "+fix-slave-config":
		s.line(fmt.Sprintf("%-10s %s is told to follow the new master", "repointed", instance(payload)))
	case "+failover-end":
		s.line(fmt.Sprintf("%-10s the plan is closed", "done"))
	case "+refused", "+held", "-failover-abort-no-good-slave", "+action-failed", "-failover-abort":
		s.line(fmt.Sprintf("%-10s %s", "note", reason))
	}
}

// instance is the address in an event's payload.
func instance(payload string) string {
	f := strings.Fields(payload)
	switch {
	case len(f) >= 4 && f[0] == "slave":
		return f[1]
	case len(f) >= 4 && f[0] == "master":
		return f[2] + ":" + f[3]
	}
	return payload
}
