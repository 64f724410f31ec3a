package election

import (
	"fmt"
	"testing"
	"time"
)

// slow makes Raft's own time-outs longer than the test's limit.
func slow(cfg *Config) {
	cfg.Heartbeat, cfg.Election, cfg.Lease = 2*time.Second, 2*time.Second, time.Second
}

func TestADeadLeaderIsReplacedBeforeAnyTimeout(t *testing.T) {
	for _, count := range []int{3, 5} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			c := newCluster(t, count, slow)
			c.startAll()
			leader := c.awaitLeader()
			c.awaitVoters(c.ws...)
			mustCommit(t, leader, "a")
			died := time.Now()
			leader.crash()
			next := c.awaitLeader()
			took := time.Since(died)
			t.Logf("a new leader after %v", took)
			if took > 1500*time.Millisecond {
				t.Errorf("a new leader only after %v", took)
			}
			mustCommit(t, next, "b")
		})
	}
}

func TestAWatcherThatAloneMissesTheLeaderDoesNotDeposeIt(t *testing.T) {
	c := newCluster(t, 3, slow)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	office, _ := leader.office()
	cut, other := c.others(leader)[0], c.others(leader)[1]
	cut.life().book.learn(leader.ID(), freeAddrs(t, 1)[0]) // refuses connections
	if gone, err := cut.life().testify(other.ID(), query{Leader: leader.ID()}); err != nil || !gone {
		t.Fatalf("the set-up failed: the leader is not gone for the one cut off: %v, %v", gone, err)
	}
	if gone, err := other.life().testify(cut.ID(), query{Leader: leader.ID()}); err != nil || gone {
		t.Fatalf("the leader is gone for the other: %v, %v", gone, err)
	}
	if cut.life().shouldSucceed(t.Context(), cut.life().raftOrNil(), leader.ID()) {
		t.Error("one of three would depose the leader")
	}
	if _, err := other.life().testify(newID(), query{Leader: leader.ID()}); err == nil {
		t.Error("a stranger was given an answer")
	}
	if office.Ctx.Err() != nil {
		t.Error("the leadership was lost")
	}
}

func TestClaimsAreOrderedByLogThenID(t *testing.T) {
	ordered := []claim{{2, 5, "b"}, {2, 5, "c"}, {2, 4, "a"}, {1, 9, "a"}}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := a.before(b); got != (i < j) {
				t.Errorf("%+v before %+v: %v", a, b, got)
			}
		}
	}
}
