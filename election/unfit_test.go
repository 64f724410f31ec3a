package election

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// An unfit watcher has the log and a vote, and must not lead: a build that does not
// understand the log.
func TestAnUnfitLeaderHandsTheLeadershipOn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.startAll()
	unfit := c.awaitLeader()
	c.awaitVoters(c.ws...)
	unfit.SetUnfit(true)
	eventually(t, "somebody else leads", patience, func() (bool, string) {
		id, _ := unfit.Leader()
		return id != "" && id != unfit.ID(), c.String()
	})
	mustCommit(t, c.awaitLeader(), "a")
	awaitApplied(t, unfit, "a")
}

func TestNobodyHandsTheLeadershipToAnUnfitWatcher(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	unfit, other := c.others(leader)[0], c.others(leader)[1]
	unfit.SetUnfit(true)
	for range 4 {
		eventually(t, "the leadership is handed over", patience, func() (bool, string) {
			err := c.awaitLeader().TransferLeadership(t.Context())
			return err == nil, c.String()
		})
		if next := c.awaitLeader(); next != leader && next != other {
			t.Fatalf("%s leads", next.name)
		}
	}
	if l, ok := unfit.office(); ok {
		t.Fatalf("it was in office in term %d", l.Term)
	}
}

func TestAnUnfitWatcherThatRaftElectsHandsTheLeadershipOnAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	unfit := c.others(leader)[0]
	unfit.SetUnfit(true)
	fit := func() *watcher {
		for _, w := range c.others(unfit) {
			if l, ok := w.office(); ok && l.Ctx.Err() == nil && w.State().Leading {
				return w
			}
		}
		return nil
	}
	for range 3 {
		eventually(t, "a fit one leads", patience, func() (bool, string) { leader = fit(); return leader != nil, c.String() })
		office, _ := leader.office()
		to, _ := leader.life().book.ServerAddr(raft.ServerID(unfit.ID()))
		if err := leader.life().raftOrNil().LeadershipTransferToServer(raft.ServerID(unfit.ID()), to).Error(); err != nil {
			t.Fatal(err)
		}
		elected := time.Now()
		var next Leadership
		eventually(t, "a fit one leads again", patience, func() (bool, string) {
			if w := fit(); w != nil {
				next, _ = w.office()
			}
			return next.Term > office.Term, c.String()
		})
		took := time.Since(elected)
		t.Logf("a fit one leads after %v", took)
		if next.Term < office.Term+2 {
			t.Errorf("term %d follows %d: the unfit one was not elected in between, the test shows nothing", next.Term, office.Term)
		}
		if took > 5*time.Second { // the first attempt takes milliseconds; the machine may be busy
			t.Errorf("it led for %v", took)
		}
	}
}

func TestTheLeaderDiesBesideAnUnfitWatcherAndTheOtherSucceedsBeforeAnyTimeout(t *testing.T) {
	c := newCluster(t, 3, slow)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	unfit, heir := c.others(leader)[0], c.others(leader)[1]
	if heir.ID() < unfit.ID() {
		unfit, heir = heir, unfit // the worse case: with equal logs the claim of the first is better
	}
	unfit.SetUnfit(true)
	mustCommit(t, leader, "a")
	awaitApplied(t, unfit, "a")
	awaitApplied(t, heir, "a")
	died := time.Now()
	leader.crash()
	if next := c.awaitLeader(); next != heir {
		t.Fatalf("%s leads", next.name)
	}
	if took := time.Since(died); took > 1500*time.Millisecond {
		t.Errorf("a new leader only after %v", took)
	}
	mustCommit(t, heir, "b")
	awaitApplied(t, unfit, "a", "b")
	unfit.SetUnfit(false)
	if err := heir.TransferLeadership(t.Context()); err != nil {
		t.Fatalf("it is fit again: %v", err)
	}
}
