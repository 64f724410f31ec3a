package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// settlePause is the time between two looks around while a cluster is made.
const settlePause = 100 * time.Millisecond

// settle returns when this watcher belongs to a cluster: made by all fresh
// watchers together, or found. It waits as long as it takes; the only error is
// the context's.
//
// Making a cluster has two steps. Once every watcher sees every other one, the
// one with the smallest ID invites all to a cluster with a new ID and exactly
// these voters; each promises durably, and only if it sees the same set. With
// all promises the inviter becomes a member, which is the decision: from then on
// every other founder that sees any member of this cluster with itself among the
// voters follows. All bootstrap Raft with the same configuration.
//
// A crash at any point is made good by going on: a promise binds nobody and is
// renewed or replaced, and two inviters can not both succeed, since each needs
// the promise of the other, and an inviter that gave a promise has dropped its
// own invitation. A founder that loses its store has another ID afterwards, is
// no voter, and joins.
func (n *Node) settle(ctx context.Context) error {
	for {
		done, waiting := n.settleOnce(ctx)
		if done {
			n.setWaiting("")
			return nil
		}
		n.setWaiting(waiting)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settlePause):
		}
	}
}

// settleOnce takes one look around and the step that follows from it.
func (n *Node) settleOnce(ctx context.Context) (done bool, waiting string) {
	mine := n.membership()
	if mine.Phase == phaseMember {
		return true, "" // whatever the record says: it may be out of reach
	}
	rec, _, err := n.loadRecord(ctx)
	if err != nil {
		return false, fmt.Sprintf("waiting for the cluster record: %v", err)
	}
	if mine.Phase == phaseInvited && rec.ClusterID != "" && rec.ClusterID == mine.Cluster {
		return n.adopt(ctx, mine) // the record is the decision
	}
	addrs, err := n.candidates(ctx)
	if err != nil {
		return false, fmt.Sprintf("waiting to learn who the peers are: %v", err)
	}
	seen := n.lookAround(ctx, addrs)
	if m, why := n.chooseCluster(seen, rec); why != "" {
		return false, why
	} else if m.Phase == phaseMember {
		return n.adopt(ctx, m)
	}
	if rec.ClusterID != "" {
		return false, fmt.Sprintf("waiting for a member of cluster %s, which the cluster record names; no peer belongs to it", rec.ClusterID)
	}
	founders, missing := n.founders(seen)
	n.setView(founders, missing == "")
	if missing != "" {
		return false, missing
	}
	if founders[0].ID != n.store.id {
		return false, fmt.Sprintf("waiting for %s to make the cluster", founders[0].Addr)
	}
	return n.found(ctx, founders)
}

// chooseCluster returns the membership to adopt if a peer is a member already.
// why is set when that can not be decided.
func (n *Node) chooseCluster(seen []sighting, rec ClusterRecord) (m membership, why string) {
	at := ""
	for _, s := range seen {
		theirs := s.Membership
		if s.err != nil || theirs.Phase != phaseMember {
			continue
		}
		if rec.ClusterID != "" && theirs.Cluster != rec.ClusterID {
			return membership{}, fmt.Sprintf("waiting: the cluster record names cluster %s, but %s belongs to %s; if the peers are right, move the record away", rec.ClusterID, s.addr, theirs.Cluster)
		}
		if theirs.Generation < rec.Generation {
			continue // left over from before the cluster was recovered
		}
		if m.Phase == phaseMember && theirs.Cluster != m.Cluster {
			return membership{}, fmt.Sprintf("waiting: %s belongs to cluster %s, but %s to %s; they can not both be peers", at, m.Cluster, s.addr, theirs.Cluster)
		}
		// A founder's answer has the first voters, a joiner's has none; a lower
		// generation would refuse us later.
		if m.Phase != phaseMember || theirs.Generation > m.Generation ||
			theirs.Generation == m.Generation && len(m.Voters) == 0 {
			m, at = theirs, s.addr
		}
	}
	if m.Phase == phaseMember && !slices.ContainsFunc(m.Voters, n.isSelf) {
		m.Voters = nil // found by others: we join
	}
	return m, ""
}

// founders returns everyone seen and ourselves sorted by ID, and who is missing
// in words.
func (n *Node) founders(seen []sighting) (all []Voter, missing string) {
	all = []Voter{{ID: n.store.id, Addr: n.Addr()}}
	var absent []string
	for _, s := range seen {
		switch {
		case s.err != nil:
			absent = append(absent, fmt.Sprintf("%s (%s)", s.addr, briefly(s.err)))
		case !slices.ContainsFunc(all, func(v Voter) bool { return v.ID == s.ID }):
			all = append(all, Voter{ID: s.ID, Addr: s.Addr})
		}
	}
	slices.SortFunc(all, func(a, b Voter) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if len(absent) > 0 {
		return all, "waiting for peers " + strings.Join(absent, ", ")
	}
	if len(all) < n.cfg.Expect {
		return all, fmt.Sprintf("waiting for peers: %d of %d watchers found", len(all), n.cfg.Expect)
	}
	return all, ""
}

// briefly keeps the part of a dial error that does not repeat the address.
func briefly(err error) string {
	var refused *RefusedError
	if errors.As(err, &refused) {
		if refused.reason != "" {
			return refused.code.String() + ": " + refused.reason
		}
		return refused.code.String()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// found invites all founders and, with all promises, decides.
func (n *Node) found(ctx context.Context, founders []Voter) (done bool, waiting string) {
	inv, err := n.ownInvitation(founders)
	if err != nil {
		return false, fmt.Sprintf("waiting: %v", err)
	}
	for _, f := range founders {
		if f.ID == n.store.id {
			continue
		}
		a, err := n.ask(ctx, f.Addr, f.ID, query{Op: opInvite, Invite: &inv})
		if err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
		if err != nil {
			return false, fmt.Sprintf("waiting for %s to accept the invitation: %v", f.Addr, err)
		}
	}
	return n.adopt(ctx, inv)
}

// ownInvitation promises ourselves, under the ID of an earlier attempt with the
// same founders if there was one.
func (n *Node) ownInvitation(founders []Voter) (membership, error) {
	n.transition.Lock()
	defer n.transition.Unlock()
	if n.member.Phase == phaseMember {
		return membership{}, errors.New("joined meanwhile")
	}
	if n.member.Phase == phaseInvited && slices.Equal(n.member.Voters, founders) {
		return n.member, nil
	}
	inv := membership{Phase: phaseInvited, Cluster: string(newID()), Voters: founders}
	return inv, n.saveMembershipLocked(inv)
}

// acceptInvite promises to found a cluster, if we see the same founders.
func (n *Node) acceptInvite(from ID, inv *membership) error {
	if inv == nil || inv.Phase != phaseInvited || inv.Cluster == "" || len(inv.Voters) == 0 {
		return errors.New("the invitation is malformed")
	}
	n.transition.Lock()
	defer n.transition.Unlock()
	n.mu.Lock()
	view, complete := n.view, n.viewComplete
	n.mu.Unlock()
	switch {
	case n.member.Phase == phaseMember:
		return fmt.Errorf("already a member of cluster %s", n.member.Cluster)
	case !complete:
		return errors.New("not all peers are seen from here yet")
	case !sameIDs(view, inv.Voters):
		return fmt.Errorf("from here %d watchers are seen, in the invitation are %d, or others; compare the lists of peers", len(view), len(inv.Voters))
	case inv.Voters[0].ID != from:
		return errors.New("the invitation is not from the watcher with the smallest ID")
	}
	if n.member.Cluster == inv.Cluster && slices.Equal(n.member.Voters, inv.Voters) {
		return nil
	}
	return n.saveMembershipLocked(*inv)
}

func sameIDs(a, b []Voter) bool {
	return slices.EqualFunc(a, b, func(x, y Voter) bool { return x.ID == y.ID })
}

func (n *Node) isSelf(v Voter) bool { return v.ID == n.store.id }

// adopt makes us a member: first in the record, which decides alone where all
// watchers share it, then in the store.
func (n *Node) adopt(ctx context.Context, m membership) (done bool, waiting string) {
	n.transition.Lock()
	defer n.transition.Unlock()
	if m.Phase == phaseInvited && (n.member.Phase != phaseInvited || n.member.Cluster != m.Cluster) {
		return false, "waiting: another invitation was accepted meanwhile"
	}
	m.Phase, m.Voted = phaseMember, len(m.Voters) > 0
	rec, version, err := n.loadRecord(ctx)
	if err == nil && rec.ClusterID == "" {
		err = n.storeRecord(ctx, ClusterRecord{ClusterID: m.Cluster, Generation: m.Generation, Voters: m.Voters}, version)
	} else if err == nil && rec.ClusterID != m.Cluster {
		err = fmt.Errorf("it names cluster %s already", rec.ClusterID)
	}
	if err != nil {
		return false, fmt.Sprintf("waiting for the cluster record: %v", err)
	}
	if err := n.saveMembershipLocked(m); err != nil {
		return false, fmt.Sprintf("waiting: %v", err)
	}
	if len(m.Voters)%2 == 0 && len(m.Voters) > 0 {
		n.log.Warn("an even number of watchers survives no more losses than one less", zap.Int("watchers", len(m.Voters)))
	}
	n.log.Info("cluster settled", zap.String("cluster", m.Cluster), zap.Uint32("generation", m.Generation),
		zap.Bool("founder", len(m.Voters) > 0), zap.Any("voters", m.Voters))
	return true, ""
}

// saveMembershipLocked stores and then shows the membership; n.transition is
// held, under which alone n.member may be read without n.mu.
func (n *Node) saveMembershipLocked(m membership) error {
	if err := n.store.saveMembership(m); err != nil {
		return err
	}
	n.mu.Lock()
	n.member = m
	n.mu.Unlock()
	return nil
}

func (n *Node) setView(founders []Voter, complete bool) {
	n.mu.Lock()
	n.view, n.viewComplete = founders, complete
	n.mu.Unlock()
}
