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
func (n *life) settle(ctx context.Context) error {
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
func (n *life) settleOnce(ctx context.Context) (done bool, waiting string) {
	mine := n.membership()
	if mine.Phase == phaseMember {
		return true, "" // whatever the record says: it may be out of reach
	}
	rec, _, err := n.loadRecord(ctx)
	if err != nil {
		return false, fmt.Sprintf("waiting for the cluster record: %v", err)
	}
	if mine.Phase == phaseInvited && rec.ClusterID != "" && rec.ClusterID == mine.Cluster && rec.Generation == mine.Generation {
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
	plan := membership{Phase: phaseInvited}
	if rec.ClusterID != "" {
		if all, why := n.allRecordedGone(ctx, rec); !all {
			n.setView(view{})
			return false, fmt.Sprintf("waiting for a member of cluster %s, which the cluster record names; no peer belongs to it", rec.ClusterID) + why
		}
		plan.Generation, plan.Replaces = rec.Generation+1, rec.ClusterID
	}
	founders, missing := n.founders(seen)
	plan.Voters = founders
	n.setView(view{plan: plan, complete: missing == ""})
	if missing != "" {
		return false, missing
	}
	if founders[0].ID != n.store.id {
		return false, fmt.Sprintf("waiting for %s to make the cluster", founders[0].Addr)
	}
	return n.found(ctx, plan)
}

// chooseCluster returns the membership to adopt if a peer is a member already.
// why is set when that can not be decided.
func (n *life) chooseCluster(seen []sighting, rec ClusterRecord) (m membership, why string) {
	at := ""
	for _, s := range seen {
		theirs := s.Membership
		if s.err != nil || theirs.Phase != phaseMember {
			continue
		}
		if n.cfg.Record.Shared() && theirs.Generation < rec.Generation {
			continue // left over from a cluster that has been replaced
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
func (n *life) founders(seen []sighting) (all []Voter, missing string) {
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
	// A shared record lets one cluster come about only; who is missing joins it.
	enough := n.cfg.Record.Shared() && n.cfg.Expect > 0 && len(all) >= n.cfg.Expect
	if len(absent) > 0 && !enough {
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
func (n *life) found(ctx context.Context, plan membership) (done bool, waiting string) {
	inv, err := n.ownInvitation(plan)
	if err != nil {
		return false, fmt.Sprintf("waiting: %v", err)
	}
	for _, f := range plan.Voters {
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
func (n *life) ownInvitation(plan membership) (membership, error) {
	n.transition.Lock()
	defer n.transition.Unlock()
	if n.member.Phase == phaseMember {
		return membership{}, errors.New("joined meanwhile")
	}
	if n.member.Phase == phaseInvited && slices.Equal(n.member.Voters, plan.Voters) && sameOrigin(n.member, plan) {
		return n.member, nil
	}
	inv := plan
	inv.Cluster = string(newID())
	return inv, n.saveMembershipLocked(inv)
}

// acceptInvite promises to found a cluster, if we see the same founders.
func (n *life) acceptInvite(from ID, inv *membership) error {
	if inv == nil || inv.Phase != phaseInvited || inv.Cluster == "" || len(inv.Voters) == 0 {
		return errors.New("the invitation is malformed")
	}
	n.transition.Lock()
	defer n.transition.Unlock()
	n.mu.Lock()
	view := n.view
	n.mu.Unlock()
	switch {
	case n.member.Phase == phaseMember:
		return fmt.Errorf("already a member of cluster %s", n.member.Cluster)
	case !view.complete:
		return errors.New("not all peers are seen from here yet")
	case !sameOrigin(view.plan, *inv):
		return fmt.Errorf("from here the cluster would have generation %d and replace %q, in the invitation %d and %q",
			view.plan.Generation, view.plan.Replaces, inv.Generation, inv.Replaces)
	case !sameIDs(view.plan.Voters, inv.Voters):
		return fmt.Errorf("from here %d watchers are seen, in the invitation are %d, or others; compare the lists of peers", len(view.plan.Voters), len(inv.Voters))
	case inv.Voters[0].ID != from:
		return errors.New("the invitation is not from the watcher with the smallest ID")
	}
	if n.member.Cluster == inv.Cluster && slices.Equal(n.member.Voters, inv.Voters) {
		return nil
	}
	return n.saveMembershipLocked(*inv)
}

// sameOrigin is true if two clusters would come about in the same way.
func sameOrigin(a, b membership) bool {
	return a.Generation == b.Generation && a.Replaces == b.Replaces
}

func sameIDs(a, b []Voter) bool {
	return slices.EqualFunc(a, b, func(x, y Voter) bool { return x.ID == y.ID })
}

func (n *life) isSelf(v Voter) bool { return v.ID == n.store.id }

// adopt makes us a member: first in the record, which decides alone where all
// watchers share it, then in the store.
func (n *life) adopt(ctx context.Context, m membership) (done bool, waiting string) {
	n.transition.Lock()
	defer n.transition.Unlock()
	if m.Phase == phaseInvited && (n.member.Phase != phaseInvited || n.member.Cluster != m.Cluster) {
		return false, "waiting: another invitation was accepted meanwhile"
	}
	if !n.hasAnnounced() {
		return false, "waiting until our identity is announced"
	}
	if err := n.claimRecord(ctx, m); err != nil {
		return false, fmt.Sprintf("waiting for the cluster record: %v", err)
	}
	m.Phase, m.Voted, m.Replaces = phaseMember, len(m.Voters) > 0, ""
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

// claimRecord writes a cluster into the record that is being made, and fails if
// the record names another one.
func (n *life) claimRecord(ctx context.Context, m membership) error {
	rec, version, err := n.loadRecord(ctx)
	if err != nil {
		return err
	}
	mine := ClusterRecord{ClusterID: m.Cluster, Generation: m.Generation, Voters: m.Voters}
	switch {
	case rec.ClusterID == m.Cluster && rec.Generation > m.Generation:
		return fmt.Errorf("it has generation %d, the peers have %d", rec.Generation, m.Generation)
	case rec.ClusterID == m.Cluster:
		return nil
	case m.Replaces != "" && rec.ClusterID == m.Replaces && rec.Generation+1 == m.Generation:
		n.log.Warn("all voters of the cluster are gone for good, a new one is made",
			zap.String("replaced", rec.ClusterID), zap.String("cluster", m.Cluster), zap.Uint32("generation", m.Generation))
	case rec.ClusterID != "":
		return fmt.Errorf("it names cluster %s already", rec.ClusterID)
	case m.Replaces != "":
		return fmt.Errorf("it names cluster %s no more", m.Replaces)
	case n.cfg.Record.Shared() && len(m.Voters) == 0:
		return nil // we join; the leader writes it, who knows the voters
	}
	return n.storeRecord(ctx, mine, version)
}

// allRecordedGone is true if every voter of the record is gone for good. why names
// one who is not. It asks at most once per goneInterval.
func (n *life) allRecordedGone(ctx context.Context, rec ClusterRecord) (all bool, why string) {
	if n.cfg.Gone == nil || !n.cfg.Record.Shared() || len(rec.Voters) == 0 {
		return false, ""
	}
	if time.Since(n.gone.asked) < goneInterval && n.gone.about == rec.ClusterID {
		return n.gone.all, n.gone.verdict
	}
	defer func() {
		n.gone.asked, n.gone.about, n.gone.all, n.gone.verdict = time.Now(), rec.ClusterID, all, why
	}()
	for _, v := range rec.Voters {
		if gone, because := n.isGone(ctx, v.ID, v.Addr); !gone {
			return false, fmt.Sprintf(", and voter %s at %s does not count as gone for good: %s", v.ID.Short(), v.Addr, because)
		}
	}
	return true, ""
}

// saveMembershipLocked stores and then shows the membership; n.transition is
// held, under which alone n.member may be read without n.mu.
func (n *life) saveMembershipLocked(m membership) error {
	if err := n.store.saveMembership(m); err != nil {
		return err
	}
	n.mu.Lock()
	n.member = m
	n.mu.Unlock()
	return nil
}

// view is what the last look around would make: the cluster without its ID, and
// whether everybody is seen who must take part.
type view struct {
	plan     membership
	complete bool
}

func (n *life) setView(v view) {
	n.mu.Lock()
	n.view = v
	n.mu.Unlock()
}
