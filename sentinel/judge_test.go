package sentinel_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/triwatch/triwatch/sentinel"
)

func drawEvidence(t *rapid.T) sentinel.Evidence {
	e := sentinel.Evidence{Voters: rapid.SampledFrom([]int{1, 3, 5, 7}).Draw(t, "voters")}
	e.Needed = sentinel.Needed(e.Voters, rapid.IntRange(1, e.Voters).Draw(t, "quorum"))
	e.Alive = rapid.IntRange(0, e.Voters).Draw(t, "alive")
	e.Crashed = rapid.IntRange(0, e.Voters-e.Alive).Draw(t, "crashed")
	e.Silent = rapid.IntRange(0, e.Voters-e.Alive).Draw(t, "silent")
	n := rapid.IntRange(0, 3)
	e.Advancing, e.Stalled, e.Lost, e.Unknown = n.Draw(t, "advancing"), n.Draw(t, "stalled"), n.Draw(t, "lost"), n.Draw(t, "unknown")
	e.Up = e.Advancing + e.Stalled + rapid.IntRange(0, e.Unknown).Draw(t, "up")
	e.Down = rapid.SampledFrom([]time.Duration{0, time.Second, 3 * time.Second, time.Minute}).Draw(t, "down")
	e.PingPeriod = rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second}).Draw(t, "ping period")
	e.LossTooHigh = rapid.Bool().Draw(t, "loss too high")
	e.Back = rapid.Float64Range(0, 1).Draw(t, "back") < 0.1
	return e
}

func drawConfig(t *rapid.T) sentinel.Config {
	c := sentinel.DefaultConfig()
	c.CrashWaits = rapid.Bool().Draw(t, "on-crash: wait")
	c.WitnessMax = rapid.SampledFrom([]time.Duration{0, 2 * time.Second, 30 * time.Second}).Draw(t, "witness-max")
	return c
}

func TestMoreWatchersThatSawTheCrashNeverSaveTheMaster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, cfg := drawEvidence(t), drawConfig(t)
		if !sentinel.Judge(e, cfg).Lost() {
			return
		}
		for e.Crashed+e.Alive < e.Voters {
			e.Crashed++
			if v := sentinel.Judge(e, cfg); !v.Lost() {
				t.Fatalf("one more crashed makes it %s: %+v", v, e)
			}
		}
		for e.Silent+e.Alive < e.Voters {
			e.Silent++
			if v := sentinel.Judge(e, cfg); !v.Lost() {
				t.Fatalf("one more silent makes it %s: %+v", v, e)
			}
		}
	})
}

func TestMasterHeardByAMajorityIsNeverLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, cfg := drawEvidence(t), drawConfig(t)
		e.Back = false
		if e.Alive > e.Voters/2 {
			if v := sentinel.Judge(e, cfg); v.Lost() || v == sentinel.VerdictHeld {
				t.Fatalf("%s: %+v", v, e)
			}
		}
	})
}

func TestVerdictOfLostNeedsItsEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, cfg := drawEvidence(t), drawConfig(t)
		switch v := sentinel.Judge(e, cfg); v {
		case sentinel.VerdictCrash:
			if e.Crashed < e.Voters/2+1 || e.Alive > 0 || e.Lost == 0 || e.Advancing > 0 || e.Stalled > 0 || cfg.CrashWaits || e.LossTooHigh {
				t.Fatalf("crash by %+v", e)
			}
		case sentinel.VerdictSilence:
			if e.Silent < e.Voters/2+1 {
				t.Fatalf("silence by %+v", e)
			}
			if e.Advancing > 0 && (cfg.WitnessMax == 0 || e.Down < cfg.WitnessMax) {
				t.Fatalf("silence though a replica advances: %+v", e)
			}
			if e.Unknown > 0 && e.Down < 2*e.PingPeriod {
				t.Fatalf("silence though a witness has not been heard: %+v", e)
			}
		case sentinel.VerdictHeld:
			if e.Advancing == 0 || e.Silent < e.Needed {
				t.Fatalf("held by %+v", e)
			}
		case sentinel.VerdictAlive:
			if e.Alive < e.Needed || e.Crashed+e.Silent > 0 {
				t.Fatalf("alive by %+v", e)
			}
		case sentinel.VerdictBack:
			if !e.Back {
				t.Fatalf("back by %+v", e)
			}
		case sentinel.VerdictUnknown, sentinel.VerdictWait:
		}
	})
}

func TestQuorumNeverReplacesTheMajority(t *testing.T) {
	for _, c := range []struct{ voters, quorum, want int }{{1, 1, 1}, {3, 1, 2}, {3, 2, 2}, {3, 3, 3}, {5, 2, 3}, {5, 4, 4}, {7, 1, 4}} {
		if got := sentinel.Needed(c.voters, c.quorum); got != c.want {
			t.Errorf("%d voters, quorum %d: %d needed, not %d", c.voters, c.quorum, got, c.want)
		}
	}
	for _, c := range []struct {
		yes, no int
		want    sentinel.Vote
	}{{2, 0, sentinel.VoteWon}, {2, 1, sentinel.VoteWon}, {1, 2, sentinel.VoteLost}, {0, 2, sentinel.VoteLost}, {1, 1, sentinel.VotePending}, {0, 0, sentinel.VotePending}} {
		if got := sentinel.CountVote(c.yes, c.no, 3, 2); got != c.want {
			t.Errorf("%d yes, %d no of 3: %v", c.yes, c.no, got)
		}
	}
}

func drawCandidate(t *rapid.T, n int) sentinel.Candidate {
	id := sentinel.InstanceID(fmt.Sprintf("r%d", n))
	c := sentinel.Candidate{ID: id, Name: string(id), Addr: sentinel.Addr{Host: "10.0.0." + fmt.Sprint(n+1), Port: 6379}}
	often := func(label string) bool { return rapid.Float64Range(0, 1).Draw(t, label) < 0.85 }
	c.Health, c.Reply = sentinel.HealthUp, sentinel.ReplyOK
	if !often("up") {
		c.Health = rapid.SampledFrom([]sentinel.Health{sentinel.HealthUnknown, sentinel.HealthSuspect, sentinel.HealthDown, sentinel.HealthCrashed}).Draw(t, "health")
	}
	if !often("reply ok") {
		c.Reply = sentinel.Reply(rapid.IntRange(0, int(sentinel.ReplyTimeout)).Draw(t, "reply"))
	}
	c.Deleting, c.Stale = !often("not deleting"), !often("not stale")
	if !often("heard") {
		return c
	}
	i := &sentinel.Info{Role: sentinel.RoleReplica, Keys: rapid.Int64Range(-1, 2).Draw(t, "keys"), Offset: rapid.Int64Range(0, 5).Draw(t, "offset"),
		Priority: rapid.SampledFrom([]int{0, 1, 100, 100, 100}).Draw(t, "priority"), ReplID: rapid.SampledFrom([]string{"ours", "ours", "ours", "foreign"}).Draw(t, "replid"),
		LinkUp: often("link up"), LinkDownFor: rapid.Int64Range(-1, 3).Draw(t, "down for"), Master: sentinel.Addr{Host: "10.0.0.99", Port: 6379}}
	if !often("replica") {
		i.Role = sentinel.RoleMaster
	}
	i.Syncing, i.Loading = !often("synced"), !often("loaded")
	c.Info = i
	return c
}

func ours(id string) bool { return id == "ours" }

func TestChoiceIsSafeCompleteAndTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var cands []sentinel.Candidate
		for n := range rapid.IntRange(0, 6).Draw(t, "candidates") {
			cands = append(cands, drawCandidate(t, n))
		}
		data := slices.ContainsFunc(cands, func(c sentinel.Candidate) bool { return c.Info != nil && c.Info.Keys > 0 })
		got := sentinel.Choose(cands, ours, "")
		named := map[sentinel.InstanceID]int{}
		for _, l := range got.LeftOut {
			named[l.Instance]++
			if l.Why == "" {
				t.Fatalf("%s is left out without a reason", l.Instance)
			}
		}
		if b := got.Best; b != nil {
			named[b.ID]++
			i := b.Info
			if i == nil || b.Health != sentinel.HealthUp || !b.Reply.Usable() || b.Deleting || b.Stale || i.Loading || i.Syncing || i.Priority == 0 ||
				i.Role != sentinel.RoleReplica || i.ReplID != "ours" || (i.Keys == 0 && data) {
				t.Fatalf("chosen: %+v, %+v", b, i)
			}
			for _, c := range cands {
				if !allowedFully(c, data) {
					continue
				}
				if c.Info.Priority < i.Priority || (c.Info.Priority == i.Priority && c.Info.Offset > i.Offset) {
					t.Fatalf("%s (priority %d, offset %d) is better than the chosen %s (%d, %d)", c.ID, c.Info.Priority, c.Info.Offset, b.ID, i.Priority, i.Offset)
				}
			}
			if got.Reason == "" {
				t.Fatal("chosen without a reason")
			}
		} else if slices.ContainsFunc(cands, func(c sentinel.Candidate) bool { return allowedFully(c, data) }) {
			t.Fatalf("nobody chosen of %+v: %+v", cands, got.LeftOut)
		}
		for _, c := range cands {
			if named[c.ID] != 1 {
				t.Fatalf("%s is named %d times", c.ID, named[c.ID])
			}
		}
		mixed := slices.Clone(cands)
		seed := rapid.Uint64().Draw(t, "shuffle")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if again := sentinel.Choose(mixed, ours, ""); !reflect.DeepEqual(got, again) {
			t.Fatalf("another order, another choice: %+v and %+v", got, again)
		}
	})
}

// allowedFully is a candidate against which nothing at all can be said.
func allowedFully(c sentinel.Candidate, data bool) bool {
	i := c.Info
	return i != nil && c.Health == sentinel.HealthUp && c.Reply.Usable() && !c.Deleting && !c.Stale && !i.Loading && !i.Syncing && i.Priority > 0 &&
		i.Role == sentinel.RoleReplica && i.ReplID == "ours" && (i.Keys != 0 || !data) && i.LinkUp
}

func TestOnlyTheOneAskedForIsChosen(t *testing.T) {
	var cands []sentinel.Candidate
	for n, off := range []int64{10, 20, 30} {
		id := sentinel.InstanceID(fmt.Sprintf("uid-%d", n))
		cands = append(cands, sentinel.Candidate{ID: id, Name: fmt.Sprintf("redis-%d", n), Addr: sentinel.Addr{Host: "10.0.0.1", Port: 6379 + n}, Health: sentinel.HealthUp,
			Reply: sentinel.ReplyOK, Info: &sentinel.Info{Role: sentinel.RoleReplica, ReplID: "ours", Offset: off, Priority: 100, Keys: 1, LinkUp: true}})
	}
	for _, want := range []string{"uid-1", "redis-1", "10.0.0.1:6380"} {
		if got := sentinel.Choose(cands, ours, want); got.Best == nil || got.Best.ID != "uid-1" || len(got.LeftOut) != 2 {
			t.Errorf("%s: %+v", want, got)
		}
	}
	if got := sentinel.Choose(cands, ours, "redis-9"); got.Best != nil || len(got.LeftOut) != 3 {
		t.Errorf("nobody of that name: %+v", got)
	}
}
