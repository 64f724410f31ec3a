package election

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTwoOfThreeGoneAndTheSurvivorGoesOn(t *testing.T) {
	for name, snapshot := range map[string]bool{"from its log": false, "from a snapshot": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPods(t, 3)
			p.startAll()
			leader := p.awaitLeader()
			p.awaitVoters(p.ws...)
			mustCommit(t, leader, "a")
			survivor := p.others(leader)[0]
			awaitApplied(t, survivor, "a")
			if snapshot {
				if err := survivor.life().raft.Snapshot().Error(); err != nil {
					t.Fatal(err)
				}
				mustCommit(t, leader, "a2")
				awaitApplied(t, survivor, "a", "a2")
			}
			want := survivor.list.all()
			id, cluster := survivor.ID(), survivor.ClusterID()
			p.kill(true, p.others(survivor)...)
			eventually(t, "the survivor leads a new generation", patience, func() (bool, string) {
				l, ok := survivor.office()
				return ok && l.Generation == 1 && survivor.State().Leading && survivor.Generation() == 1, p.String()
			})
			if survivor.ID() != id || survivor.ClusterID() != cluster {
				t.Errorf("it is %s in %s, was %s in %s", survivor.ID(), survivor.ClusterID(), id, cluster)
			}
			mustCommit(t, survivor, "b")
			fresh := p.replace(2, 3)
			p.awaitVoters(append(fresh, survivor)...)
			p.awaitRecorded(1, append(fresh, survivor)...)
			want = append(want, "b")
			for _, w := range append(fresh, survivor) {
				awaitApplied(t, w, want...) // each once: nothing is applied again
			}
			survivor.stop()
			survivor.start()
			p.awaitVoters(append(fresh, survivor)...)
			awaitApplied(t, survivor, want...)
		})
	}
}

func TestAllReplacedMakeANewEmptyClusterOfTheNextGeneration(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	mustCommit(t, p.awaitLeader(), "a")
	old := p.recorded()
	p.kill(false, p.ws...)
	fresh := p.replace(3, 3)
	awaitWaiting(t, fresh[0], old.Voters[0].ID.Short(), old.Voters[0].Addr, "does not count as gone", "its pod is there")
	p.setAway(true)
	p.mu.Lock()
	for _, v := range old.Voters {
		p.gone[v.ID] = true
	}
	p.mu.Unlock()
	awaitWaiting(t, fresh[0], "the API is away")
	if rec := p.recorded(); !equalRecords(rec, old) {
		t.Fatalf("the record was changed to %+v", rec)
	}
	p.setAway(false)
	leader := p.awaitLeader()
	p.awaitVoters(fresh...)
	mustCommit(t, leader, "b")
	for _, w := range fresh {
		awaitApplied(t, w, "b")
		if w.Generation() != old.Generation+1 || w.ClusterID() == old.ClusterID {
			t.Errorf("%s is in cluster %s generation %d", w.name, w.ClusterID(), w.Generation())
		}
	}
	p.awaitRecorded(old.Generation+1, fresh...)

	// One of the old comes back after all: it joins anew, without its data.
	zombie := p.ws[0]
	was := zombie.cfg.Dir
	p.back(zombie)
	p.awaitVoters(append(fresh, zombie)...)
	awaitApplied(t, zombie, "b")
	if _, err := os.Stat(filepath.Join(was, asideName, storeFileName)); err != nil {
		t.Errorf("the old store is not kept: %v", err)
	}
}

func TestNothingHappensWhileTheSilentAreNotKnownToBeGone(t *testing.T) {
	for name, c := range map[string]struct {
		away  bool
		gone  int
		waits string
	}{
		"the API is away":       {true, 2, "the API is away"},
		"both are only silent":  {false, 0, "its pod is there"},
		"one of two is silent":  {false, 1, "its pod is there"},
		"the record is away":    {false, 2, "record is not readable"},
		"a majority is running": {false, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPods(t, 3)
			p.startAll()
			mustCommit(t, p.awaitLeader(), "a")
			p.awaitVoters(p.ws...)
			p.awaitRecorded(0, p.ws...)
			before := p.recorded()
			survivor := p.ws[0]
			p.setAway(c.away)
			p.record.setDown(c.waits == "record is not readable")
			switch c.gone {
			case -1:
				p.mu.Lock() // the word alone does not kill who answers
				for _, w := range p.ws {
					p.gone[w.ID()] = true
				}
				p.mu.Unlock()
			default:
				p.kill(c.gone > 0, p.ws[1])
				p.kill(c.gone > 1, p.ws[2])
			}
			if c.waits != "" {
				awaitWaiting(t, survivor, c.waits)
			}
			lastsFor(t, 2500*time.Millisecond, "generation 0 and its voters", func() (bool, string) {
				s := survivor.State()
				return s.Generation == 0 && len(survivor.Peers()) == 3 && (!s.Leading || c.gone == -1), fmt.Sprintf("%+v", s)
			})
			p.record.setDown(false)
			if rec := p.recorded(); !equalRecords(rec, before) {
				t.Errorf("the record became %+v", rec)
			}
			if c.gone == -1 {
				return
			}
			p.setAway(false)
			p.back(p.ws[1:]...)
			mustCommit(t, p.awaitLeader(), "b")
			if g := survivor.Generation(); g > 0 && c.gone == 0 {
				t.Errorf("generation %d although nobody was gone", g)
			}
		})
	}
}

func TestTheOldMajorityComesBackAndJoinsAnew(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	mustCommit(t, leader, "a")
	survivor := p.others(leader)[0]
	awaitApplied(t, survivor, "a")
	majority := p.others(survivor)
	old := []ID{majority[0].ID(), majority[1].ID()}
	p.kill(true, majority...)
	eventually(t, "the survivor leads", patience, func() (bool, string) { return survivor.State().Leading && survivor.Generation() == 1, p.String() })
	mustCommit(t, survivor, "b")
	p.back(majority...)
	p.awaitVoters(p.ws...)
	for i, w := range majority {
		awaitApplied(t, w, "a", "b")
		p.mu.Lock()
		announced := p.naming[w.ID()]
		p.mu.Unlock()
		if w.ID() == old[i] || w.Generation() != 1 || !announced {
			t.Errorf("%s is %s (was %s), generation %d, announced: %v", w.name, w.ID(), old[i], w.Generation(), announced)
		}
	}
	if l := p.awaitLeader(); l.Generation() != 1 {
		t.Errorf("generation %d", l.Generation())
	}
	mustCommit(t, p.awaitLeader(), "c")
	for _, w := range p.ws {
		awaitApplied(t, w, "a", "b", "c")
	}
}

func TestARunningMemberOfALowerGenerationStopsAtOnceAndJoinsAnew(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	mustCommit(t, leader, "a")
	office, _ := leader.office()
	stays := p.others(leader)[0]
	awaitApplied(t, stays, "a")
	id := leader.ID()
	// Somebody else takes the generation while this leader leads and all is well.
	stays.stop()
	eventually(t, "the record is taken over", patience, func() (bool, string) {
		rec, version, _ := p.record.Load(t.Context())
		rec.Generation, rec.Voters = 1, []Voter{{storeID(t, stays), stays.cfg.Bind}}
		err := p.record.Store(t.Context(), rec, version)
		return err == nil, fmt.Sprint(err)
	})
	select {
	case <-office.Ctx.Done():
	case <-time.After(patience):
		t.Fatal("the leader of the lower generation goes on")
	}
	stays.start() // it finds that it took the generation, and begins it
	p.awaitVoters(p.ws...)
	if leader.ID() == id || leader.Generation() != 1 || stays.Generation() != 1 {
		t.Errorf("%s", p)
	}
	awaitApplied(t, leader, "a")
}

// storeID reads the ID in a stopped watcher's store.
func storeID(t *testing.T, w *watcher) ID {
	t.Helper()
	s, err := openStore(w.cfg.Dir, newRaftLogger(w.cfg.Logger))
	if err != nil {
		t.Fatal(err)
	}
	return closeID(t, s)
}

func closeID(t *testing.T, s *store) ID {
	t.Helper()
	if err := s.bolt.Close(); err != nil {
		t.Fatal(err)
	}
	return s.id
}

func TestAGenerationThatWasTakenIsBegunAfterACrash(t *testing.T) {
	t.Parallel()
	p := newPods(t, 3)
	p.startAll()
	leader := p.awaitLeader()
	mustCommit(t, leader, "a")
	survivor := p.others(leader)[0]
	awaitApplied(t, survivor, "a")
	p.kill(true, p.ws...)
	// It had begun to change its store, and the record is away when it starts.
	s, err := openStore(survivor.cfg.Dir, newRaftLogger(survivor.cfg.Logger))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.loadMembership()
	if err != nil {
		t.Fatal(err)
	}
	m.Taking = 1
	if err := s.saveMembership(m); err != nil {
		t.Fatal(err)
	}
	closeID(t, s)
	p.record.setDown(true)
	p.back(survivor)
	l := p.awaitLeader()
	if l != survivor || l.Generation() != 1 {
		t.Errorf("%s", p)
	}
	awaitApplied(t, survivor, "a")
}

func TestOfTwoSurvivorsOneGoesOnAndTheOtherJoinsIt(t *testing.T) {
	t.Parallel()
	p := newPods(t, 5)
	p.startAll()
	leader := p.awaitLeader()
	p.awaitVoters(p.ws...)
	behind := p.others(leader)[0]
	p.kill(false, behind)
	mustCommit(t, leader, "a")
	ahead := p.others(leader)[0]
	awaitApplied(t, ahead, "a")
	p.kill(true, p.others(ahead)...)
	p.mu.Lock()
	delete(p.gone, storeID(t, behind))
	p.addrs[behind.cfg.Bind] = true
	p.mu.Unlock()
	behind.start()
	p.awaitVoters(ahead, behind)
	if ahead.Generation() != 1 || behind.Generation() != 1 {
		t.Errorf("%s", p)
	}
	mustCommit(t, p.awaitLeader(), "b")
	awaitApplied(t, ahead, "a", "b")
	awaitApplied(t, behind, "a", "b")
}

func TestAPersonsWordRecoversOnHosts(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	mustCommit(t, leader, "a")
	survivor := c.others(leader)[0]
	awaitApplied(t, survivor, "a")
	dead := c.others(survivor)
	ids := []ID{dead[0].ID(), dead[1].ID()}
	if err := survivor.Recover(t.Context(), ids); !errors.Is(err, errNotLost) {
		t.Fatalf("with a leader: %v", err)
	}
	dead[0].crash()
	dead[1].crash()
	recovered := func(drop []ID) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return survivor.Recover(ctx, drop)
	}
	eventually(t, "the leader is missed", patience, func() (bool, string) {
		id, _ := survivor.Leader()
		return id == "", string(id)
	})
	if err := recovered(ids[:1]); err == nil || !strings.Contains(err.Error(), ids[1].Short()) {
		t.Fatalf("the other is not named: %v", err)
	}
	if err := recovered(ids); err != nil {
		t.Fatal(err)
	}
	if survivor.Generation() != 1 || len(survivor.Peers()) != 1 {
		t.Errorf("%s", c)
	}
	mustCommit(t, survivor, "b")
	awaitApplied(t, survivor, "a", "b")
	// The old ones stop and wait for a person: nobody may take a disk away.
	dead[0].start()
	eventually(t, "the old one is superseded", patience, func() (bool, string) {
		s := dead[0].State()
		return s.Superseded, fmt.Sprintf("%+v", s)
	})
	if dead[0].ID() != ids[0] {
		t.Error("it took another ID by itself")
	}
	dead[0].stop()
	survivor.stop()
	survivor.start()
	awaitApplied(t, survivor, "a", "b")
}

func TestRecoverRefusesToDropWhoAnswers(t *testing.T) {
	c := newCluster(t, 5)
	c.startAll()
	leader := c.awaitLeader()
	c.awaitVoters(c.ws...)
	left := c.others(leader)[:2]
	var drop []ID
	for _, w := range c.running() {
		if !slices.Contains(left, w) {
			drop = append(drop, w.ID())
			w.crash()
		}
	}
	eventually(t, "the leader is missed", patience, func() (bool, string) {
		a, _ := left[0].Leader()
		b, _ := left[1].Leader()
		return a == "" && b == "", string(a + b)
	})
	// Of two that answer, only one has the claim; a drop of the other is no way out.
	errs := []error{}
	for i, w := range left {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		errs = append(errs, w.Recover(ctx, append([]ID{left[1-i].ID()}, drop...)))
		cancel()
		if errs[i] == nil {
			break
		}
	}
	if errs[0] != nil && !strings.Contains(errs[0].Error(), "better claim") {
		t.Errorf("%v", errs)
	}
	eventually(t, "one goes on", patience, func() (bool, string) {
		return left[0].Generation()+left[1].Generation() == 1, c.String()
	})
}

func TestAStoreHalfPutAsideIsNotTakenForADamagedOne(t *testing.T) {
	w := storeWithHistory(t)
	before := storeID(t, w)
	if err := writeFileAtomically(filepath.Join(w.cfg.Dir, asideMarker), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.cfg.Dir, asideName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.cfg.Dir, "snapshots"), filepath.Join(w.cfg.Dir, asideName, "snapshots")); err != nil {
		t.Fatal(err)
	}
	if after := storeID(t, w); after == before {
		t.Error("the old store is used again")
	}
	for _, name := range []string{"snapshots", storeFileName} {
		if _, err := os.Stat(filepath.Join(w.cfg.Dir, asideName, name)); err != nil {
			t.Error(err)
		}
	}
}
