package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.uber.org/zap"
)

// When a majority of the voters is gone for good, Raft can't go on: nobody can be
// elected, and the dead can't be removed. One survivor then begins a new
// generation alone, from its own log, with itself as the only voter; whoever else
// is left puts its store aside and joins it. What makes that safe:
//
//   - The generation is taken by compare-and-swap on the cluster record, once.
//   - Every voter of our configuration and of the record must either answer and be
//     without a leader too, or be gone for good by the word of whoever runs the
//     watchers. The record knows of voters that came after we were cut off.
//   - Every connection names the generation. The old majority, should it come
//     back, meets the record or us and stops acting.
//   - All entries of the log count as committed: those that are not may be, by a
//     majority of which we are the rest. Entries that only the dead had are lost;
//     so the longest log among the survivors goes on.

// errNotLost is why nothing is recovered while there is a leader.
var errNotLost = errors.New("the cluster has a leader; remove members with its majority instead")

// noteQuorum remembers that a leader is known.
func (n *life) noteQuorum() {
	n.mu.Lock()
	n.quorumAt = time.Now()
	n.mu.Unlock()
}

// lostForLong is true if a member has not known a leader for lostAfter heartbeats.
func (n *life) lostForLong() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.raft != nil && !n.superseded && time.Since(n.quorumAt) > lostAfter*n.cfg.Heartbeat
}

// recovers is true if a new generation can begin without a person.
func (n *life) recovers() bool { return n.cfg.Gone != nil && n.cfg.Record.Shared() }

// tryRecover begins a new generation if it is called for.
func (n *life) tryRecover(ctx context.Context) {
	if !n.recovers() || !n.lostForLong() || time.Since(n.gone.asked) < goneInterval {
		return
	}
	n.gone.asked = time.Now()
	_, err := n.begin(ctx, n.isGone, func(a answer) bool { return a.Lost })
	if err != nil && ctx.Err() == nil {
		n.setWaiting(fmt.Sprintf("no majority of the voters is reachable: %v", err))
	}
}

func (n *life) recoverByWord(ctx context.Context, drop []ID) (generation uint32, err error) {
	if _, err := n.running(); err != nil {
		return 0, fmt.Errorf("recover: %w", err)
	}
	if id, addr := n.Leader(); id != "" {
		return 0, fmt.Errorf("recover: %w: %s at %s leads", errNotLost, id.Short(), addr)
	}
	generation, err = n.begin(ctx, func(ctx context.Context, id ID, addr string) (bool, string) {
		if addr != "" {
			if a, err := n.helloOnce(ctx, addr, id); err == nil && a.ID == id {
				return false, "it answers"
			}
		}
		return slices.Contains(drop, id), "it is not among those to drop"
	}, func(a answer) bool { return !a.Leading && a.LeaderID == "" })
	if err != nil {
		return 0, fmt.Errorf("recover: %w", err)
	}
	return generation, nil
}

// goneFunc tells whether a voter that was not seen is gone for good, or why it
// does not count as gone.
type goneFunc func(ctx context.Context, id ID, addr string) (gone bool, why string)

// begin takes the next generation in the record and ends this life, if everything
// said above holds. The error is why not.
func (n *life) begin(ctx context.Context, gone goneFunc, lost func(answer) bool) (uint32, error) {
	rec, version, err := n.loadRecord(ctx)
	if err != nil {
		return 0, fmt.Errorf("the cluster record is not readable: %w", err)
	}
	m := n.membership()
	if n.overtaken(rec) {
		return 0, fmt.Errorf("the cluster record has generation %d already", rec.Generation)
	}
	if rec.ClusterID != "" && rec.ClusterID != m.Cluster {
		return 0, fmt.Errorf("the cluster record names cluster %s, this watcher belongs to %s", rec.ClusterID, m.Cluster)
	}
	s := n.survey(ctx, rec)
	for _, a := range s.alive {
		if !lost(a) {
			return 0, fmt.Errorf("watcher %s at %s has a leader, or had one a moment ago", a.ID.Short(), a.Addr)
		}
	}
	if err := s.lostMajority(); err != nil {
		return 0, err
	}
	if err := s.allGone(ctx, gone); err != nil {
		return 0, err
	}
	if !s.eligible {
		if s.recordedAlive() == 0 {
			n.log.Warn("the cluster went on without this watcher and is gone, joining anew", zap.String("directory", n.cfg.Dir))
			n.end(endingDiscard)
		}
		return 0, errors.New("this watcher is not a voter by the cluster record")
	}
	if a, ok := s.better(); ok {
		return 0, fmt.Errorf("watcher %s at %s has the better claim to go on", a.ID.Short(), a.Addr)
	}
	next := ClusterRecord{ClusterID: m.Cluster, Generation: m.Generation + 1, Voters: []Voter{{ID: n.store.id, Addr: n.Addr()}}}
	if err := n.storeRecord(ctx, next, version); err != nil {
		return 0, fmt.Errorf("write the cluster record: %w", err)
	}
	n.log.Warn("a majority of the voters is gone for good, a new generation begins here",
		zap.Uint32("generation", next.Generation), zap.Strings("gone", s.names))
	n.end(endingRestart)
	return next.Generation, nil
}

// overtaken draws the consequences of a record of a higher generation. If it is
// ours alone we took it, and did not live to begin it.
func (n *life) overtaken(rec ClusterRecord) bool {
	m := n.membership()
	switch {
	case rec.Generation <= m.Generation, rec.ClusterID == "":
		return false
	case rec.ClusterID != m.Cluster && !n.cfg.Record.Shared():
		return false // a file from elsewhere proves nothing
	case rec.ClusterID == m.Cluster && n.soleVoter(rec):
		n.end(endingRestart)
	default:
		n.supersede(rec.Generation, "")
	}
	return true
}

func (n *life) soleVoter(rec ClusterRecord) bool {
	return len(rec.Voters) == 1 && rec.Voters[0].ID == n.store.id
}

// survey is who is left of a cluster without a leader.
type survey struct {
	self       claim
	eligible   bool // to begin a new generation
	alive      map[ID]answer
	configured []Voter // the voters of our latest configuration
	recorded   []Voter // those of the record; nil where it is not shared
	names      []string
}

func (n *life) survey(ctx context.Context, rec ClusterRecord) *survey {
	m, r := n.membership(), n.raftOrNil()
	s := &survey{self: claim{id: n.store.id}, alive: make(map[ID]answer)}
	if r != nil {
		s.self.term, s.self.index = lastTerm(r), r.LastIndex()
	}
	s.configured = n.recordOf(n.servers()).Voters
	addrs, _ := n.candidates(ctx) // without discovery the configured and recorded are left
	for i, v := range s.configured {
		s.configured[i].Addr = cmp.Or(n.book.lookup(v.ID), v.Addr)
	}
	if n.cfg.Record.Shared() {
		s.recorded = rec.Voters
		for _, v := range rec.Voters {
			if v.ID != n.store.id && !slices.Contains(addrs, v.Addr) {
				addrs = append(addrs, v.Addr)
			}
		}
	}
	s.eligible = len(s.recorded) == 0 || !m.Voted || s.inRecord(n.store.id)
	lctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, seen := range n.lookAround(lctx, addrs) {
		theirs := seen.Membership
		if seen.err == nil && seen.ID != n.store.id && theirs.Phase == phaseMember && theirs.Cluster == m.Cluster && theirs.Generation >= m.Generation {
			s.alive[seen.ID] = seen.answer
		}
	}
	return s
}

func (s *survey) inRecord(id ID) bool {
	return slices.ContainsFunc(s.recorded, func(v Voter) bool { return v.ID == id })
}

func (s *survey) living(voters []Voter) int {
	count := 0
	for _, v := range voters {
		if _, ok := s.alive[v.ID]; ok || v.ID == s.self.id {
			count++
		}
	}
	return count
}

func (s *survey) recordedAlive() int { return s.living(s.recorded) }

// lostMajority returns nil if neither our configuration nor the record has a
// majority that answers.
func (s *survey) lostMajority() error {
	for _, voters := range [][]Voter{s.configured, s.recorded} {
		if living := s.living(voters); len(voters) > 0 && 2*living > len(voters) {
			return fmt.Errorf("%d of %d voters answer, which is a majority", living, len(voters))
		}
	}
	return nil
}

// allGone returns nil if every voter that does not answer is gone for good.
func (s *survey) allGone(ctx context.Context, gone goneFunc) error {
	missing := make(map[Voter]bool)
	for _, v := range slices.Concat(s.configured, s.recorded) {
		if _, ok := s.alive[v.ID]; !ok && v.ID != s.self.id {
			missing[v] = true
		}
	}
	s.names = nil
	for _, v := range slices.SortedFunc(maps.Keys(missing), compareVoters) {
		if ok, why := gone(ctx, v.ID, v.Addr); !ok {
			return fmt.Errorf("watcher %s at %s is silent, but does not count as gone for good: %s", v.ID.Short(), v.Addr, why)
		}
		s.names = append(s.names, v.ID.Short()+" at "+v.Addr)
	}
	return nil
}

func compareVoters(a, b Voter) int {
	return cmp.Or(strings.Compare(string(a.ID), string(b.ID)), strings.Compare(a.Addr, b.Addr))
}

// better returns a survivor that should go on rather than we: a recorded voter
// before others, then the more complete log, then the smaller ID.
func (s *survey) better() (answer, bool) {
	for _, a := range s.alive {
		theirs := claim{term: a.LastTerm, index: a.LastIndex, id: a.ID}
		they, we := s.inRecord(a.ID), s.inRecord(s.self.id)
		if they && !we || they == we && theirs.before(s.self) {
			return a, true
		}
	}
	return answer{}, false
}

// takeGeneration makes this store, while Raft does not run, the beginning of a
// generation of which we are the only voter.
func (n *life) takeGeneration(generation uint32) error {
	n.transition.Lock()
	defer n.transition.Unlock()
	m := n.member
	// Raft must never start with the new configuration under the old generation,
	// nor, but for a crash in between, the other way round.
	m.Taking = generation
	if err := n.saveMembershipLocked(m); err != nil {
		return err
	}
	if err := n.store.becomeOnlyVoter(n.Addr()); err != nil {
		return err
	}
	m = membership{Phase: phaseMember, Cluster: m.Cluster, Generation: generation, Voted: true}
	if err := n.saveMembershipLocked(m); err != nil {
		return err
	}
	n.log.Warn("new generation of the cluster begun", zap.Uint32("generation", generation), zap.String("cluster", m.Cluster))
	return nil
}

var keyCurrentTerm = []byte("CurrentTerm") // Raft's

// becomeOnlyVoter appends a configuration to the log. Raft goes by the last one
// in its log, committed or not.
func (s *store) becomeOnlyVoter(addr string) error {
	fail := func(err error) error { return fmt.Errorf("append configuration to %s: %w", s.path, err) }
	last, err := s.bolt.LastIndex()
	if err != nil {
		return fail(err)
	}
	term, err := s.bolt.GetUint64(keyCurrentTerm)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		term = 0
	} else if err != nil {
		return fail(err)
	}
	if last > 0 {
		var entry raft.Log
		if err := s.bolt.GetLog(last, &entry); err != nil {
			return fail(err)
		}
		term = max(term, entry.Term)
	}
	snaps, err := s.snaps.List()
	if err != nil {
		return fail(err)
	}
	if len(snaps) > 0 {
		last, term = max(last, snaps[0].Index), max(term, snaps[0].Term)
	}
	term = max(term, 1)
	if err := s.bolt.SetUint64(keyCurrentTerm, term); err != nil {
		return fail(err)
	}
	only := firstConfiguration([]Voter{{ID: s.id, Addr: addr}})
	err = s.bolt.StoreLog(&raft.Log{
		Index: last + 1, Term: term, Type: raft.LogConfiguration,
		Data: raft.EncodeConfiguration(only), AppendedAt: time.Now(),
	})
	if err != nil {
		return fail(err)
	}
	return nil
}

// awaitGeneration returns when this watcher leads a generation.
func (n *Node) awaitGeneration(ctx context.Context, generation uint32) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s := n.State()
		if s.Leading && s.Generation >= generation {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("recover: generation %d is decided but does not run yet (%s): %w", generation, s.Waiting, ctx.Err())
		case <-n.ctx.Done():
			return fmt.Errorf("recover: %w", ErrNotStarted)
		case <-tick.C:
		}
	}
}
