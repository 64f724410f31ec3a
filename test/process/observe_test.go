package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
)

// observeFor is how long faults go on after each has come once.
var observeFor = flag.Duration("observe-for", 0, "how much longer to strike beside live Sentinels in TestObserveBesideLiveSentinels")

// beside is a set that Sentinels look after, and watchers that only look.
type beside struct {
	*rig
	others []*redisproc.Server
	moves  int // by the Sentinels
}

// would waits for a record of what would have been done, newer than those before it.
func (b *beside) would(since time.Time, words ...string) httpapi.Record {
	b.t.Helper()
	var found httpapi.Record
	b.wait("history says what would have been done: "+strings.Join(words, ", "), func() error {
		l := b.trio.Leader(b.t.Context())
		if l == nil {
			return errors.New("nobody leads")
		}
		list, err := l.History(b.t.Context(), name)
		if err != nil {
			return err
		}
		for _, rec := range list {
			if rec.Kind == "would" && !rec.When.Before(since) && containsAll(rec.Why, words) {
				found = rec
				return nil
			}
		}
		return fmt.Errorf("since %s it has %+v", since, list)
	})
	return found
}

// well waits until the Sentinels agree, everybody follows, and the watchers have seen it.
func (b *beside) well() *redisproc.Server {
	b.t.Helper()
	var master *redisproc.Server
	b.wait("the Sentinels have set all right, and the watchers know", func() error {
		if master = b.decided(b.others[0]); master == nil {
			return errors.New("no Sentinel names a master")
		}
		for _, s := range b.others[1:] {
			if m := b.decided(s); m != master {
				return fmt.Errorf("%s names another master", s.Addr())
			}
		}
		for _, s := range b.redis {
			if s == master {
				if err := b.has(s, "role", "master"); err != nil {
					return err
				}
				continue
			}
			if err := errors.Join(b.has(s, "role", "slave"), b.has(s, "master_port", strconv.Itoa(master.Port())), b.has(s, "master_link_status", "up")); err != nil {
				return err
			}
		}
		for _, w := range b.running() {
			m, _, err := w.Master(b.t.Context(), name)
			if err != nil {
				return err
			}
			for _, i := range m.Instances {
				if i.Address != master.Addr() && i.Link != "up" {
					return fmt.Errorf("%s: %s has its link %s", w.Name, i.Address, i.Link)
				}
			}
			if m.Current.Address != master.Addr() || m.State != "observed" || m.Acting {
				return fmt.Errorf("%s: %s is master, %s (%s); it is %s", w.Name, m.Current.Address, m.State, m.Note, master.Addr())
			}
		}
		return nil
	})
	return master
}

// compared waits for the Sentinels' choice and compares it with what would have been chosen.
func (b *beside) compared(old *redisproc.Server, rec httpapi.Record) {
	b.t.Helper()
	next := b.failedOver(b.others[0], old)
	b.moves++
	said := "another than the Sentinels'"
	if strings.Contains(rec.Why, "to "+next.Addr()) {
		said = "the Sentinels' as well"
	}
	b.t.Logf("%s; the choice is %s, %s", rec.Why, said, next.Addr())
}

// The faults. Each leaves the set as Sentinels have set it right.

func (b *beside) killed(master *redisproc.Server) {
	since := time.Now()
	b.attempts(b.redis...)
	master.Kill()
	rec := b.would(since, "would fail over to", "crash")
	b.compared(master, rec)
	b.back(master)
}

// frozen does not ask for what would have been done: the master's ping period is not
// ours to set here, and until two of its ten seconds are over the Sentinels were faster.
func (b *beside) frozen(master *redisproc.Server) {
	if err := master.Freeze(); err != nil {
		b.t.Fatal(err)
	}
	b.failedOver(b.others[0], master)
	b.moves++
	if err := master.Thaw(); err != nil {
		b.t.Fatal(err)
	}
}

// emptied restarts the master empty at once. Whether a watcher sees it before it has
// emptied its replicas is a matter of milliseconds.
func (b *beside) emptied(master *redisproc.Server) {
	b.attempts(b.redis...)
	b.blank(master)
	b.do(master, "REPLICAOF", "NO", "ONE") // it may have been started as a replica once
}

func (b *beside) detachedByHand(master *redisproc.Server) {
	since := time.Now()
	replica := b.others1(master)
	ctx, cancel := context.WithCancel(b.t.Context())
	var again sync.WaitGroup
	again.Go(func() { // a Sentinel that is about to set something right there does it sooner than anything is said
		for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			_, _ = replica.Do(ctx, "REPLICAOF", "NO", "ONE") // it is running; anything else shows below
		}
	})
	defer again.Wait()
	defer cancel()
	b.would(since, "would fence it, a second master")
}

func (b *beside) chained(master *redisproc.Server) {
	since := time.Now()
	rest := b.rig.others(master)
	b.do(rest[0], "REPLICAOF", "127.0.0.1", strconv.Itoa(rest[1].Port()))
	b.would(since, "would make it a replica of "+master.Addr())
}

func (b *beside) replicaRestarted(master *redisproc.Server) {
	b.attempts(b.redis...)
	b.back(b.others1(master))
}

func (b *beside) others1(master *redisproc.Server) *redisproc.Server { return b.rig.others(master)[0] }

// Three watchers that may look and nothing else, beside three Sentinels that fail over:
// every fault comes, history, log and metrics say what would have been done, and what is
// not allowed was never tried.
func TestObserveBesideLiveSentinels(t *testing.T) {
	scenario(t, func(t *T) {
		r := besideOthers(t, lookingRules, setup{args: []string{"--observe-only"}})
		b := &beside{rig: r}
		b.fill(r.redis[0], 100)
		b.others = b.sentinels(3, 2, "sentinel failover-timeout "+name+" 4000\n")
		faults := []func(*redisproc.Server){b.killed, b.frozen, b.detachedByHand, b.chained, b.replicaRestarted, b.emptied}
		for _, f := range faults {
			f(b.well())
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for end := time.Now().Add(*observeFor); time.Now().Before(end); {
			b.pass(5 * time.Second) // the same is not recorded again within three, and not more than twelve things in a minute
			faults[rnd.IntN(len(faults))](b.well())
		}
		b.well()
		b.attempts(r.redis...)
		if b.moves < 2 {
			t.Fatalf("the Sentinels failed over %d times", b.moves)
		}
		followed := 0
		for _, rec := range r.records() {
			if rec.Kind == "adopted" && strings.Contains(rec.Why, "mode observe: somebody else made") {
				followed++
			}
			if rec.Kind != "adopted" && rec.Kind != "held" && rec.Kind != "would" && rec.Kind != "restarted" {
				t.Fatalf("in mode observe history has %+v", rec)
			}
		}
		if followed < min(b.moves, 2) {
			t.Fatalf("%d moves, followed %d times: %+v", b.moves, followed, r.records())
		}
		if got := r.metric("triwatch_held_total", `reason="observe"`); got < 4 {
			t.Fatalf("triwatch_held_total for observe is %v", got)
		}
		for _, w := range r.running() {
			if text := w.Tail(1 << 20); strings.Contains(text, "redis write") || strings.Contains(text, "action-failed") {
				t.Fatalf("%s wrote, or tried to", w.Name)
			}
		}
	})
}
