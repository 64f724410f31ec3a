package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestThreeFreshWatchersMakeOneClusterAndCommit(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	if o := mustCommit(t, leader, "a"); o.Result != 1 || o.Index == 0 || o.Err != nil {
		t.Fatalf("outcome %+v, want Apply's result 1 and an index", o)
	}
	for _, w := range c.ws {
		awaitApplied(t, w, "a")
		if w.ClusterID() != leader.ClusterID() || w.ClusterID() == "" {
			t.Errorf("%s is in cluster %q, the leader in %q", w.name, w.ClusterID(), leader.ClusterID())
		}
		eventually(t, w.name+" is a healthy voter", patience, func() (bool, string) {
			s := w.State()
			return s.HasQuorum && s.Voter && s.CaughtUp && s.Waiting == "" && s.LeaderAddr == leader.Addr(), fmt.Sprintf("%+v", s)
		})
	}
	if err := leader.Verify(t.Context()); err != nil {
		t.Errorf("verify on the leader: %v", err)
	}
}

func TestAFollowerRefusesAndNamesTheLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	for _, w := range c.others(leader) {
		o := w.Propose(t.Context(), []byte("x"))
		if o.Status != NotLeader || !errors.Is(o.Err, ErrNotLeader) || !strings.Contains(o.Err.Error(), leader.Addr()) {
			t.Errorf("%s: %v, %v", w.name, o.Status, o.Err)
		}
		for what, err := range map[string]error{
			"verify":   w.Verify(t.Context()),
			"remove":   w.RemovePeer(t.Context(), leader.ID()),
			"transfer": w.TransferLeadership(t.Context()),
		} {
			if !errors.Is(err, ErrNotLeader) || !strings.Contains(err.Error(), leader.Addr()) {
				t.Errorf("%s: %s: %v", w.name, what, err)
			}
		}
	}
}

func TestACutOffLeaderReportsUnknownAndLosesItsContext(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	office, _ := leader.office()
	for _, w := range c.others(leader) {
		w.crash()
	}
	o := leader.Propose(t.Context(), []byte("maybe"))
	if o.Status == Committed {
		t.Fatalf("committed without a majority: %+v", o)
	}
	if o.Status == NotLeader && !errors.Is(o.Err, ErrNotLeader) {
		t.Fatalf("refused because of %v", o.Err)
	}
	select {
	case <-office.Ctx.Done():
	case <-time.After(patience):
		t.Fatal("the leadership's context outlived the majority")
	}
	eventually(t, "no quorum is reported", patience, func() (bool, string) {
		s := leader.State()
		return !s.HasQuorum && !s.Leading, fmt.Sprintf("%+v", s)
	})
}

func TestADeadlineInFlightIsUnknown(t *testing.T) {
	// A lease this long keeps the leader in office without a majority.
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Heartbeat, cfg.Election, cfg.Lease = 2*time.Second, 2*time.Second, 2*time.Second
	})
	c.startAll()
	leader := c.awaitLeader()
	for _, w := range c.others(leader) {
		w.crash()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if o := leader.Propose(ctx, []byte("maybe")); o.Status != Unknown || !errors.Is(o.Err, context.DeadlineExceeded) {
		t.Fatalf("%v, %v", o.Status, o.Err)
	}
	if o := leader.Propose(ctx, []byte("never")); o.Status != NotLeader {
		t.Fatalf("with an ended context: %v, %v", o.Status, o.Err)
	}
}

func TestTheLeaderDiesAndAnotherTakesOver(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	first := c.awaitLeader()
	mustCommit(t, first, "a")
	office, _ := first.office()
	died := time.Now()
	first.crash()
	second := c.awaitLeader()
	took := time.Since(died)
	t.Logf("a new leader after %v", took)
	if took > 5*time.Second { // 25 heartbeats; the machine may be busy
		t.Errorf("a new leader only after %v", took)
	}
	if office.Ctx.Err() == nil {
		t.Error("the dead leader's context lives")
	}
	if next, _ := second.office(); next.Term <= office.Term {
		t.Errorf("term %d follows term %d", next.Term, office.Term)
	}
	if got := second.list.all(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("in office with %v applied, want everything committed before", got)
	}
	mustCommit(t, second, "b")
}

func TestStopHandsTheLeadershipOver(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { // without a hand-over nobody would lead for two seconds
		cfg.Heartbeat, cfg.Election, cfg.Lease = 2*time.Second, 2*time.Second, time.Second
	})
	c.startAll()
	leader := c.awaitLeader()
	eventually(t, "the others are reachable", patience, func() (bool, string) {
		return !slices.ContainsFunc(leader.Peers(), func(p Peer) bool { return !p.Reachable }), c.String()
	})
	office, _ := leader.office()
	stopped := time.Now()
	leader.stop()
	if office.Ctx.Err() == nil {
		t.Error("the context outlived Stop")
	}
	next := c.awaitLeader()
	if took := time.Since(stopped); took > 1500*time.Millisecond {
		t.Errorf("a new leader only after %v", took)
	}
	mustCommit(t, next, "after")
}

func TestTransferMovesTheLeadership(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	eventually(t, "the leadership moves", patience, func() (bool, string) {
		err := leader.TransferLeadership(t.Context())
		return err == nil, fmt.Sprint(err)
	})
	if next := c.awaitLeader(); next == leader {
		t.Error("the same watcher leads")
	}
}

func TestARestartKeepsIdentityAndState(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	mustCommit(t, leader, "a")
	ids, clusterID := map[*watcher]ID{}, leader.ClusterID()
	for _, w := range c.ws {
		awaitApplied(t, w, "a")
		ids[w] = w.ID()
	}
	for _, w := range c.ws {
		w.stop()
	}
	c.startAll()
	leader = c.awaitLeader()
	mustCommit(t, leader, "b")
	for _, w := range c.ws {
		if w.ID() != ids[w] || w.ClusterID() != clusterID {
			t.Errorf("%s was %s in %s, is %s in %s", w.name, ids[w], clusterID, w.ID(), w.ClusterID())
		}
		awaitApplied(t, w, "a", "b")
	}
}

func TestAMachineIsToldWhatWasCommittedBeforeTheStart(t *testing.T) {
	for _, n := range []int{1, 3} {
		c := newCluster(t, n)
		c.startAll()
		leader := c.awaitLeader()
		for _, cmd := range []string{"a", "b", "c"} {
			mustCommit(t, leader, cmd)
		}
		w := c.ws[0]
		for _, other := range c.others(leader) {
			w = other
		}
		awaitApplied(t, w, "a", "b", "c")
		last := w.list.last
		w.stop()
		w.start()
		awaitApplied(t, w, "a", "b", "c")
		if w.list.behind != last || w.list.told != 1 {
			t.Errorf("%d watchers: told %d times that all up to %d follow at once, not once up to %d", n, w.list.told, w.list.behind, last)
		}
		mustCommit(t, c.awaitLeader(), "d")
		awaitApplied(t, w, "a", "b", "c", "d")
		if w.list.behind != last || w.list.told != 1 {
			t.Errorf("%d watchers: told again: %d times, up to %d", n, w.list.told, w.list.behind)
		}
	}
}

func TestStateSurvivesThroughASnapshot(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll()
	w := c.awaitLeader()
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprint("cmd", i))
		mustCommit(t, w, want[i])
	}
	if err := w.life().raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.start()
	awaitApplied(t, w, want...)
}

func TestOneWatcherIsACluster(t *testing.T) {
	for name, peers := range map[string]func(string) []string{
		"no peers":      func(string) []string { return nil },
		"itself a peer": func(a string) []string { return []string{a} },
		"itself by another name": func(a string) []string {
			return []string{strings.Replace(a, "127.0.0.1", "localhost", 1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := freeAddrs(t, 1)[0]
			c := &cluster{t: t, ws: []*watcher{newWatcher(t, "w", addr, peers(addr))}}
			c.startAll()
			mustCommit(t, c.awaitLeader(), "a")
			c.awaitVoters(c.ws...)
		})
	}
}

func TestFiveWatchersSurviveTwo(t *testing.T) {
	c := newCluster(t, 5)
	c.startAll()
	first := c.awaitLeader()
	c.awaitVoters(c.ws...)
	mustCommit(t, first, "a")
	first.crash()
	second := c.awaitLeader()
	second.crash()
	mustCommit(t, c.awaitLeader(), "b")
}

func TestMessagesArriveInOrder(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	c.awaitLeader()
	from := c.ws[0]
	eventually(t, "all are reachable", patience, func() (bool, string) {
		ps := from.Peers()
		return len(ps) == 3 && !slices.ContainsFunc(ps, func(p Peer) bool { return !p.Reachable }), c.String()
	})
	var want []string
	for i := range 100 {
		payload := fmt.Sprint("m", i)
		want = append(want, from.ID().Short()+":"+payload)
		from.Broadcast([]byte(payload))
	}
	for _, to := range c.ws[1:] {
		eventually(t, "all messages arrive", patience, func() (bool, string) {
			to.mu.Lock()
			defer to.mu.Unlock()
			return slices.Equal(to.messages, want), fmt.Sprint(to.messages)
		})
	}
	if err := from.Send(newID(), []byte("x")); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("to a stranger: %v", err)
	}
	if err := from.Send(c.ws[1].ID(), nil); err == nil {
		t.Error("an empty message was accepted; it would be taken for a ping")
	}
	dead := c.ws[1].ID()
	c.ws[1].crash()
	eventually(t, "sending to the dead fails", patience, func() (bool, string) {
		err := from.Send(dead, []byte("x"))
		return errors.Is(err, ErrUnreachable), fmt.Sprint(err)
	})
}
