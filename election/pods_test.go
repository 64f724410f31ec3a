package election

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pods is a cluster of watchers as Kubernetes runs them: with one record, with
// addresses that are discovered, and with somebody who knows who is gone.
type pods struct {
	*cluster
	record *sharedRecord

	mu      sync.Mutex
	away    bool            // the API does not answer
	gone    map[ID]bool     // pods that are gone for good
	addrs   map[string]bool // pods that are listed
	naming  map[ID]bool     // whose ID was announced
	created int
}

var podIPs atomic.Uint32

// podAddr returns an address of its own IP, so that it is never another test's.
func podAddr() string {
	k := podIPs.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:36379", 10+os.Getpid()%200, k/250, 1+k%250)
}

func newPods(t *testing.T, count int) *pods {
	t.Helper()
	p := &pods{cluster: &cluster{t: t}, record: &sharedRecord{}, gone: map[ID]bool{}, addrs: map[string]bool{}, naming: map[ID]bool{}}
	for range count {
		p.add(podAddr(), count)
	}
	return p
}

// add makes a pod that is not started yet.
func (p *pods) add(addr string, expect int) *watcher {
	p.created++
	w := newWatcher(p.t, fmt.Sprint("pod", p.created), addr, nil, func(cfg *Config) {
		cfg.Record, cfg.Expect, cfg.Gone, cfg.Announce = p.record, expect, p.isGone, p.announce
		cfg.Discover = func(context.Context) ([]string, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			var list []string
			for a := range p.addrs {
				list = append(list, a)
			}
			return list, nil
		}
	})
	p.mu.Lock()
	p.addrs[addr] = true
	p.mu.Unlock()
	p.ws = append(p.ws, w)
	return w
}

func (p *pods) isGone(_ context.Context, id ID, _ string) (bool, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return false, "", errors.New("the API is away")
	}
	return p.gone[id], "its pod is there", nil
}

func (p *pods) announce(_ context.Context, id ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.naming[id] = true
	return nil
}

func (p *pods) setAway(away bool) {
	p.mu.Lock()
	p.away = away
	p.mu.Unlock()
}

// kill crashes watchers; with gone set, their pods are no more.
func (p *pods) kill(gone bool, ws ...*watcher) {
	for _, w := range ws {
		id := w.ID()
		w.crash()
		p.mu.Lock()
		p.gone[id] = gone
		delete(p.addrs, w.cfg.Bind)
		p.mu.Unlock()
	}
}

// back makes pods known again, and starts them from their directories.
func (p *pods) back(ws ...*watcher) {
	p.mu.Lock()
	clear(p.gone)
	for _, w := range ws {
		p.addrs[w.cfg.Bind] = true
	}
	p.mu.Unlock()
	for _, w := range ws {
		w.start()
	}
}

// replace starts fresh pods at addresses of their own.
func (p *pods) replace(count, expect int) []*watcher {
	p.t.Helper()
	var fresh []*watcher
	for range count {
		w := p.add(podAddr(), expect)
		w.start()
		fresh = append(fresh, w)
	}
	return fresh
}

func (p *pods) recorded() ClusterRecord {
	rec, _, _ := p.record.Load(context.Background())
	return rec
}

func (p *pods) awaitRecorded(generation uint32, want ...*watcher) {
	p.t.Helper()
	eventually(p.t, "the record names generation and voters", patience, func() (bool, string) {
		rec := p.recorded()
		ok := rec.Generation == generation && len(rec.Voters) == len(want)
		for _, w := range want {
			ok = ok && slices.Contains(rec.Voters, Voter{w.ID(), w.Addr()})
		}
		return ok, fmt.Sprintf("%+v", rec)
	})
}

// awaitWaiting waits until a watcher says for what it waits.
func awaitWaiting(t *testing.T, w *watcher, what ...string) {
	t.Helper()
	eventually(t, w.name+" says for what it waits", patience, func() (bool, string) {
		waiting := w.State().Waiting
		for _, s := range what {
			if !strings.Contains(waiting, s) {
				return false, fmt.Sprintf("%+v", w.State())
			}
		}
		return true, ""
	})
}

// lastsFor checks that something does not become true for as long as several
// questions take that could make it so.
func lastsFor(t *testing.T, d time.Duration, what string, cond func() (bool, string)) {
	t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if ok, state := cond(); !ok {
			t.Fatalf("no longer: %s; state: %s", what, state)
		}
	}
}
