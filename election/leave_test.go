package election

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAGoneMemberIsRemovedAfterItsReplacementVotes(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	mustCommit(t, leader, "a")
	dead := p.others(leader)[0]
	id := dead.ID()
	p.kill(true, dead)
	fresh := p.replace(1, 3)[0]
	eventually(t, "the dead one is no member", patience, func() (bool, string) {
		done := true
		for _, w := range p.running() {
			voters := slices.DeleteFunc(w.Peers(), func(p Peer) bool { return !p.Voter })
			if w != fresh && w.ClusterID() != "" && len(voters) < 3 {
				t.Fatalf("removed before its replacement votes: %s", p)
			}
			done = done && !w.life().isMember(id)
		}
		return done, p.String()
	})
	p.awaitVoters(p.running()...)
	p.awaitRecorded(0, p.running()...)
	awaitApplied(t, fresh, "a")
}

func TestAGoneMemberIsRemovedWhenNobodyComes(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	p.kill(true, p.others(leader)[0])
	p.awaitVoters(p.running()...)
	p.awaitRecorded(0, p.running()...)
	mustCommit(t, p.awaitLeader(), "a")
}

func TestADeadMemberStaysWhileTheAPIIsAwayAndANewcomerJoinsAllTheSame(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	dead := p.others(leader)[0]
	id := dead.ID()
	p.setAway(true)
	p.kill(true, dead)
	fresh := p.replace(1, 3)[0]
	eventually(t, "the newcomer votes", patience, func() (bool, string) { return fresh.State().Voter, p.String() })
	lastsFor(t, 3*time.Second, "the dead one is a member", func() (bool, string) {
		return leader.life().isMember(id), p.String()
	})
	p.setAway(false)
	p.awaitVoters(p.running()...)
}

func TestALeavingLeaderHandsOverAndIsRemoved(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := leader.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	leader.stop()
	p.awaitVoters(p.running()...)
	p.awaitRecorded(0, p.running()...)
	next := p.awaitLeader()
	mustCommit(t, next, "a")
	if err := next.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	next.stop()
	last := p.awaitLeader()
	p.awaitVoters(last)
	if err := last.Leave(ctx); err == nil || !strings.Contains(err.Error(), "only voter") {
		t.Errorf("the only voter left: %v", err)
	}
	awaitApplied(t, last, "a")
	mustCommit(t, last, "b")
}

func TestNobodyLeavesIfThatTakesTheMajority(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	others := p.others(leader)
	p.kill(false, others[0])
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := others[1].Leave(ctx); err == nil {
		t.Error("it left")
	}
	next := p.awaitLeader()
	mustCommit(t, next, "a")
	if !next.life().isVoter(others[1].ID()) || len(next.Peers()) != 3 {
		t.Errorf("%s", p)
	}
	err := next.life().canLose(next.ID())
	if err == nil || !strings.Contains(err.Error(), "1 of 2 voters would be reachable") {
		t.Errorf("the reason: %v", err)
	}
}

func TestTheLeadershipNeverGoesToOneThatIsTerminating(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	others := p.others(leader)
	others[0].SetLeaving(true)
	eventually(t, "the leadership is handed over", patience, func() (bool, string) {
		err := leader.TransferLeadership(t.Context())
		return err == nil, fmt.Sprint(err)
	})
	if next := p.awaitLeader(); next != others[1] {
		t.Fatalf("%s leads, %s terminates", next.name, others[0].name)
	}
	leader.SetLeaving(true)
	eventually(t, "the others are reachable", patience, func() (bool, string) {
		return !slices.ContainsFunc(others[1].Peers(), func(p Peer) bool { return !p.Reachable }), p.String()
	})
	if err := others[1].TransferLeadership(t.Context()); err == nil || !strings.Contains(err.Error(), "terminating") {
		t.Errorf("handed over to one that terminates: %v", err)
	}
	// A terminating leader gives way by itself as soon as somebody can take over.
	leader.SetLeaving(false)
	others[1].SetLeaving(true)
	eventually(t, "the terminating leader gives way", patience, func() (bool, string) {
		return leader.State().Leading, p.String()
	})
}

func TestAMemberThatIsRemovedWhileItRunsJoinsAnew(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	out := p.others(leader)[0]
	id := out.ID()
	eventually(t, "it is removed", patience, func() (bool, string) {
		err := p.awaitLeader().RemovePeer(t.Context(), id)
		return err == nil || errors.Is(err, ErrUnknownPeer), fmt.Sprint(err)
	})
	eventually(t, "it has another ID", patience, func() (bool, string) { return out.ID() != id, p.String() })
	p.awaitVoters(p.ws...)
}

func TestAFreshWatcherOnADeadVotersAddressIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	mustCommit(t, leader, "a")
	dead := p.others(leader)
	p.kill(false, dead...)
	var fresh []*watcher
	for _, w := range dead {
		f := p.add(w.cfg.Bind, 3)
		f.start()
		fresh = append(fresh, f)
	}
	for _, f := range fresh {
		eventually(t, "it has found the cluster", patience, func() (bool, string) { return f.ClusterID() != "", p.String() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if o := leader.Propose(ctx, []byte("b")); o.Status == Committed {
		t.Fatal("strangers have acknowledged an entry")
	}
	eventually(t, "the leader misses its majority", patience, func() (bool, string) { return !leader.State().Leading, p.String() })
	lastsFor(t, 3*time.Second, "nobody leads", func() (bool, string) {
		for _, w := range append(fresh, leader) {
			if w.State().Leading {
				return false, p.String()
			}
		}
		return true, ""
	})
	if err := leader.Verify(ctx); err == nil {
		t.Error("strangers have confirmed a leadership")
	}
	for _, f := range fresh {
		if got := f.list.all(); slices.Contains(got, "b") {
			t.Errorf("%s has applied %v", f.name, got)
		}
	}
}

func TestADeletedRecordIsWrittenAgain(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	p.awaitLeader()
	p.awaitVoters(p.ws...)
	p.awaitRecorded(0, p.ws...)
	p.record.mu.Lock()
	p.record.rec, p.record.version = ClusterRecord{}, 0
	p.record.mu.Unlock()
	p.awaitRecorded(0, p.ws...)
	if rec := p.recorded(); rec.ClusterID != p.ws[0].ClusterID() {
		t.Errorf("%+v", rec)
	}
}

func TestAForeignCAIsOneClearLineAndNothingElse(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *Config) { cfg.Expect = 2 })
	good, bad := mutualTLS(t), mutualTLS(t)
	for i, conf := range []*tls.Config{good, good, bad} {
		c.ws[i].cfg.TLS = conf
		c.ws[i].cfg.Peers = c.ws[1-min(i, 1)].cfg.Peers[:2]
	}
	c.startAll()
	foreign := c.ws[2]
	for _, w := range []*watcher{foreign, c.ws[0]} {
		eventually(t, "the log says so", patience, func() (bool, string) {
			for _, l := range w.logs.All() {
				if strings.Contains(l.Message, "tls handshake") && l.Level.String() == "warn" {
					return true, ""
				}
			}
			return false, fmt.Sprintf("%+v", w.State())
		})
	}
	two := &cluster{t: t, ws: c.ws[:2]}
	mustCommit(t, two.awaitLeader(), "a")
	two.awaitVoters(c.ws[:2]...)
	if foreign.ClusterID() != "" {
		t.Error("it joined")
	}
}
