package election

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestALostStoreRejoinsUnderANewID(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	mustCommit(t, leader, "a")
	victim := c.others(leader)[0]
	old := victim.ID()
	victim.stop()
	if err := os.RemoveAll(victim.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	victim.start()
	if victim.ID() == old {
		t.Fatal("the ID was used again with an empty store")
	}
	c.awaitVoters(c.ws...) // the old one is removed, the new one votes
	awaitApplied(t, victim, "a")

	// It really votes: with the other follower gone it makes the majority.
	for _, w := range c.others(leader) {
		if w != victim {
			w.crash()
		}
	}
	mustCommit(t, c.awaitLeader(), "b")
	awaitApplied(t, victim, "a", "b")
}

func TestADamagedStoreMovedAwayRejoinsByTheRecord(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	victim := c.others(leader)[0]
	clusterID := victim.ClusterID()
	victim.stop()
	if err := os.Remove(victim.cfg.Dir + "/" + storeFileName); err != nil {
		t.Fatal(err)
	}
	victim.start()
	c.awaitVoters(c.ws...)
	if victim.ClusterID() != clusterID {
		t.Errorf("joined %q, was in %q", victim.ClusterID(), clusterID)
	}
}

func TestAFourthWatcherJoinsAndIsRemoved(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	mustCommit(t, leader, "a")
	fourth := newWatcher(t, "w3", freeAddrs(t, 1)[0], c.ws[0].cfg.Peers)
	fourth.start()
	c.ws = append(c.ws, fourth)
	c.awaitVoters(c.ws...)
	awaitApplied(t, fourth, "a")

	leader = c.awaitLeader()
	if fourth == leader {
		eventually(t, "the newcomer gives the leadership up", patience, func() (bool, string) {
			err := fourth.TransferLeadership(t.Context())
			return err == nil, fmt.Sprint(err)
		})
		leader = c.awaitLeader()
	}
	if err := leader.RemovePeer(t.Context(), newID()); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("removing a stranger: %v", err)
	}
	if err := leader.RemovePeer(t.Context(), fourth.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removed watcher knows it", patience, func() (bool, string) {
		s := fourth.State()
		return s.Removed && strings.Contains(s.Waiting, "removed"), fmt.Sprintf("%+v", s)
	})
	three := c.ws[:3]
	c.ws = three
	c.awaitVoters(three...)
	mustCommit(t, c.awaitLeader(), "b")

	fourth.stop()
	fourth.start() // with its store: it stays out
	eventually(t, "the removed watcher knows it after a restart", patience, func() (bool, string) {
		s := fourth.State()
		return s.Removed, fmt.Sprintf("%+v", s)
	})
	c.awaitVoters(three...)
}

func TestAWatcherMovesToAnotherAddress(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	mover := c.others(leader)[0]
	id := mover.ID()
	mover.stop()
	mover.cfg.Bind = freeAddrs(t, 1)[0]
	mover.start()
	eventually(t, "everybody has the new address in the configuration", patience, func() (bool, string) {
		for _, w := range c.ws {
			for _, s := range w.life().servers() {
				if ID(s.ID) == id && s.Address != joinServerAddress(id, mover.cfg.Bind) {
					return false, fmt.Sprint(w.name, w.life().servers())
				}
			}
		}
		return true, ""
	})
	c.awaitVoters(c.ws...)
	mustCommit(t, c.awaitLeader(), "a")
	awaitApplied(t, mover, "a")
}

func TestAFollowerBackAfterALongTimeGetsEntriesAtOnce(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Heartbeat, cfg.Election, cfg.Lease = time.Second, time.Second, time.Second
	})
	c.startAll()
	leader := c.awaitLeader()
	others := c.others(leader)
	away, stays := others[0], others[1]
	away.crash()
	// Raft's own back-off would have grown to more than a second by now.
	until := time.Now().Add(3 * time.Second)
	for i := 0; time.Now().Before(until); i++ {
		mustCommit(t, leader, fmt.Sprint("while away ", i))
		eventually(t, "the other follows", patience, func() (bool, string) {
			return len(stays.list.all()) == i+1, fmt.Sprint(stays.list.all())
		})
	}
	want := leader.list.all()
	away.start()
	eventually(t, "the leader reaches it", patience, func() (bool, string) {
		ps := leader.Peers()
		return !slices.ContainsFunc(ps, func(p Peer) bool { return !p.Reachable }), c.String()
	})
	back := time.Now()
	awaitApplied(t, away, want...)
	if took := time.Since(back); took > time.Second {
		t.Errorf("caught up only after %v", took)
	}
}

func TestTheFirstStartWaitsForEveryPeerAndNamesTheMissing(t *testing.T) {
	c := newCluster(t, 3)
	c.ws[0].start()
	c.ws[1].start()
	missing := c.ws[2].cfg.Bind
	eventually(t, "the missing peer is named", patience, func() (bool, string) {
		w := c.ws[0].State().Waiting
		return strings.Contains(w, missing) && !strings.Contains(w, c.ws[1].cfg.Bind), w
	})
	if id := c.ws[0].ClusterID(); id != "" {
		t.Fatalf("a cluster was made without everybody: %s", id)
	}
	if o := c.ws[0].Propose(t.Context(), []byte("x")); o.Status != NotLeader || !errors.Is(o.Err, ErrNotStarted) {
		t.Errorf("propose before the start: %v, %v", o.Status, o.Err)
	}
	c.ws[2].start()
	mustCommit(t, c.awaitLeader(), "a")
}

func TestFoundersThatCrashAtAnyPointMakeOneCluster(t *testing.T) {
	for point := range 6 {
		t.Run(fmt.Sprintf("point %d", point), func(t *testing.T) {
			c := newCluster(t, 3)
			var all []Voter
			stores := map[ID]*watcher{}
			for _, w := range c.ws {
				n, err := New(w.cfg, &list{})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, Voter{ID: n.ID(), Addr: w.cfg.Bind})
				stores[n.ID()] = w
				if err := n.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortFunc(all, func(a, b Voter) int { return strings.Compare(string(a.ID), string(b.ID)) })
			// The founders stored these phases when all were killed.
			phases := [][3]phase{
				{phaseInvited, phaseFresh, phaseFresh}, {phaseInvited, phaseInvited, phaseFresh},
				{phaseInvited, phaseInvited, phaseInvited}, {phaseMember, phaseInvited, phaseInvited},
				{phaseMember, phaseMember, phaseInvited}, {phaseFresh, phaseInvited, phaseFresh},
			}[point]
			cluster := string(newID())
			for i, v := range all {
				if phases[i] == phaseFresh {
					continue
				}
				s, err := openStore(stores[v.ID].cfg.Dir, newRaftLogger(stores[v.ID].cfg.Logger))
				if err != nil {
					t.Fatal(err)
				}
				m := membership{Phase: phases[i], Cluster: cluster, Voters: all, Voted: phases[i] == phaseMember}
				if err := errors.Join(s.saveMembership(m), s.bolt.Close()); err != nil {
					t.Fatal(err)
				}
			}
			c.startAll()
			leader := c.awaitLeader()
			c.awaitVoters(c.ws...)
			mustCommit(t, leader, "a")
			if phases[0] == phaseMember && leader.ClusterID() != cluster {
				t.Errorf("the decided cluster %s was given up for %s", cluster, leader.ClusterID())
			}
		})
	}
}

func TestAFounderThatLosesItsStoreWhileTheClusterIsMade(t *testing.T) {
	c := newCluster(t, 3)
	c.ws[0].start()
	c.ws[1].start()
	lost := newID()
	// Both have promised a cluster with a watcher whose store is gone since.
	for _, w := range c.ws[:2] {
		all := []Voter{{w.ID(), w.Addr()}, {lost, c.ws[2].cfg.Bind}}
		w.life().transition.Lock()
		err := w.life().saveMembershipLocked(membership{Phase: phaseInvited, Cluster: string(newID()), Voters: all})
		w.life().transition.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	c.ws[2].start()
	mustCommit(t, c.awaitLeader(), "a")
	c.awaitVoters(c.ws...)
}

func TestTwoClustersDoNotMix(t *testing.T) {
	a, b := newCluster(t, 1), newCluster(t, 1)
	a.startAll()
	b.startAll()
	a.awaitLeader()
	b.awaitLeader()
	addrs := []string{a.ws[0].Addr(), b.ws[0].Addr()}
	third := newWatcher(t, "third", freeAddrs(t, 1)[0], addrs)
	third.start()
	eventually(t, "it waits and names both", patience, func() (bool, string) {
		w := third.State().Waiting
		return strings.Contains(w, a.ws[0].ClusterID()) && strings.Contains(w, b.ws[0].ClusterID()), w
	})
}

func TestAHigherGenerationStopsALowerOne(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	office, _ := leader.office()
	other := c.others(leader)[0]
	other.stop()
	s, err := openStore(other.cfg.Dir, newRaftLogger(other.cfg.Logger))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.loadMembership()
	if err != nil {
		t.Fatal(err)
	}
	m.Generation++
	if err := errors.Join(s.saveMembership(m), s.bolt.Close()); err != nil {
		t.Fatal(err)
	}
	other.start()
	for _, w := range c.others(other) {
		eventually(t, "the lower generation stops", patience, func() (bool, string) {
			s := w.State()
			return s.Superseded && !s.Leading && !s.HasQuorum, fmt.Sprintf("%+v", s)
		})
	}
	if office.Ctx.Err() == nil {
		t.Error("the context of the superseded leader lives")
	}
	if o := leader.Propose(t.Context(), []byte("x")); o.Status != NotLeader || !errors.Is(o.Err, ErrSuperseded) {
		t.Errorf("propose: %v, %v", o.Status, o.Err)
	}
	if other.State().Superseded {
		t.Error("the higher generation was stopped")
	}
}
