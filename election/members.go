package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

const (
	tendInterval  = 200 * time.Millisecond
	lookInterval  = 500 * time.Millisecond // between looks for a leader
	changeTimeout = 2 * time.Second        // of one configuration change
	// catchUpSlack is how many entries a newcomer may be behind when it is made
	// a voter; replication closes that gap within a round trip or two.
	catchUpSlack = 16
)

// tend keeps links, members and the record in line with the Raft configuration
// until Stop or until we are superseded.
func (n *life) tend() {
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	var looked time.Time
	for n.acting.Err() == nil {
		servers := n.servers()
		n.book.configure(servers)
		n.updateLinks(servers)
		if n.leading() {
			n.setWaiting("")
			n.setRemoved(false)
			n.noteQuorum()
			n.leadMembers(n.acting, servers)
			n.giveWay(n.acting)
		} else if n.lost() && time.Since(looked) >= lookInterval {
			n.findLeader(n.acting)
			n.tryRecover(n.acting)
			looked = time.Now()
		}
		n.syncRecord(n.acting, servers)
		select {
		case <-n.acting.Done():
		case <-n.nudge:
		case <-tick.C:
		}
	}
}

func (n *life) updateLinks(servers []raft.Server) {
	peers := make(map[ID]bool, len(servers))
	for _, s := range servers {
		if ID(s.ID) != n.store.id {
			peers[ID(s.ID)] = true
		}
	}
	n.links.update(n.acting, peers)
}

// lost is true while this watcher, a follower, has no vote or no leader.
func (n *life) lost() bool {
	leader, _ := n.Leader()
	if leader != "" {
		n.noteQuorum()
	}
	if leader != "" && n.isVoter(n.store.id) {
		n.noteVoted()
		n.setWaiting("")
		n.setRemoved(false)
		return false
	}
	return true
}

// noteVoted remembers for good that we have been a voter.
func (n *life) noteVoted() {
	if n.membership().Voted {
		return
	}
	n.transition.Lock()
	defer n.transition.Unlock()
	m := n.member
	m.Voted = true
	if err := n.saveMembershipLocked(m); err != nil {
		n.warnOnce("voted", "membership not written", zap.Error(err))
	}
}

// findLeader looks for the leader. That also tells everybody our address, in
// case all have moved. A newcomer asks the leader to be added.
func (n *life) findLeader(ctx context.Context) {
	addrs, err := n.candidates(ctx)
	if err != nil {
		n.warnOnce("discover", "discovering peers failed", zap.Error(err))
	}
	m := n.membership()
	for _, s := range n.lookAround(ctx, addrs) {
		if s.err != nil || !s.Leading || s.Membership.Cluster != m.Cluster || s.ID == n.store.id {
			continue
		}
		switch {
		case s.Known && n.isVoter(n.store.id):
			n.setWaiting("")
		case s.Known:
			n.setWaiting("catching up with the leader at " + s.Addr)
		case (m.Voted || s.Removed) && n.cfg.Record.Shared() && !n.leaving.Load():
			n.log.Warn("removed from the cluster, joining anew", zap.String("leader", s.Addr), zap.String("directory", n.cfg.Dir))
			n.setRemoved(true)
			n.end(endingDiscard)
		case m.Voted, s.Removed:
			n.noteVoted() // so that it holds after a restart and under the next leader
			n.setRemoved(true)
			n.setWaiting(fmt.Sprintf("removed from the cluster by the leader at %s; to rejoin, stop this watcher and move %s away", s.Addr, n.cfg.Dir))
		default:
			n.setWaiting("asking the leader at " + s.Addr + " to be added")
			n.askToJoin(ctx, s.Addr, s.ID)
		}
		return
	}
	if !m.Voted && !(n.recovers() && n.lostForLong()) {
		n.setWaiting("waiting for a leader to join; asked " + strings.Join(addrs, ", "))
	}
}

func (n *life) askToJoin(ctx context.Context, addr string, leader ID) {
	a, err := n.ask(ctx, addr, leader, query{Op: opJoin})
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		n.log.Info("asking to be added failed", zap.String("leader", addr), zap.Error(err))
	}
}

// acceptJoin notes that a watcher wants to be added. It has adopted our cluster
// already, and asks again until it is added.
func (n *life) acceptJoin(h hello) error {
	if h.Cluster == "" || h.Cluster != n.ClusterID() {
		return fmt.Errorf("the cluster here is %q, not %q", n.ClusterID(), h.Cluster)
	}
	if !n.leading() {
		return n.notLeader()
	}
	if n.wasExpelled(h.From) {
		return fmt.Errorf("watcher %s was removed from the cluster", h.From.Short())
	}
	n.mu.Lock()
	for id, addr := range n.joins {
		if addr == h.Addr {
			delete(n.joins, id) // an earlier life of the same watcher
		}
	}
	if len(n.joins) < 64 {
		n.joins[h.From] = h.Addr
	}
	n.lastJoin = time.Now()
	n.mu.Unlock()
	n.poke()
	return nil
}

// leadMembers makes at most one change of the configuration, the first that is
// called for. Raft allows one at a time, and the next look sees its effect.
func (n *life) leadMembers(ctx context.Context, servers []raft.Server) {
	r := n.raftOrNil()
	if r == nil {
		return
	}
	for _, step := range []func(context.Context, *raft.Raft, []raft.Server) bool{
		n.moveMember, n.dropReplaced, n.addNewcomer, n.promoteNewcomer, n.dropGone,
	} {
		if step(ctx, r, servers) || ctx.Err() != nil {
			n.poke()
			return
		}
	}
}

// change makes one change and logs it. It returns true so that nothing else is
// tried on the same look.
func (n *life) change(ctx context.Context, what string, id ID, addr string, call func() raft.IndexFuture) bool {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	err := n.await(ctx, func() error { return call().Error() })
	fs := []zap.Field{zap.String("change", what), zap.String("peer", string(id)), zap.String("address", addr)}
	if err != nil {
		n.warnOnce(what+string(id), "member change failed", append(fs, zap.Error(err))...)
		// Without a pause a change that fails at once would be repeated at once.
		select {
		case <-ctx.Done():
		case <-time.After(tendInterval):
		}
		return true
	}
	n.log.Info("member changed", fs...)
	return true
}

// moveMember writes a peer's new address into the configuration.
func (n *life) moveMember(ctx context.Context, r *raft.Raft, servers []raft.Server) bool {
	for _, s := range servers {
		id := ID(s.ID)
		addr := n.book.lookup(id)
		if addr == "" || s.Address == joinServerAddress(id, addr) {
			continue
		}
		add := r.AddVoter
		if s.Suffrage != raft.Voter {
			add = r.AddNonvoter
		}
		return n.change(ctx, "move", id, addr, func() raft.IndexFuture {
			return add(s.ID, joinServerAddress(id, addr), 0, changeTimeout)
		})
	}
	return false
}

// addNewcomer adds one watcher that asked, without a vote.
func (n *life) addNewcomer(ctx context.Context, r *raft.Raft, servers []raft.Server) bool {
	n.mu.Lock()
	var id ID
	var addr string
	for i, a := range n.joins {
		delete(n.joins, i)
		if !slices.ContainsFunc(servers, func(s raft.Server) bool { return ID(s.ID) == i }) {
			id, addr = i, a
			break
		}
	}
	n.mu.Unlock()
	if id == "" {
		return false
	}
	n.book.learn(id, addr)
	return n.change(ctx, "add", id, addr, func() raft.IndexFuture {
		return r.AddNonvoter(raft.ServerID(id), joinServerAddress(id, addr), 0, changeTimeout)
	})
}

// promoteNewcomer gives one newcomer that has caught up its vote.
func (n *life) promoteNewcomer(ctx context.Context, r *raft.Raft, servers []raft.Server) bool {
	for _, s := range servers {
		id := ID(s.ID)
		if s.Suffrage == raft.Voter {
			continue
		}
		addr := n.book.lookup(id)
		a, err := n.quickHello(ctx, addr, id)
		if err != nil || a.LastIndex+catchUpSlack < r.LastIndex() {
			continue
		}
		// In the record first, so that a survivor finds itself in it; a record that
		// can't be written now is no reason to go on with a voter less.
		if n.cfg.Record.Shared() {
			if err := n.writeRecord(ctx, withVoter(servers, s)); err != nil {
				n.warnOnce("record", "cluster record not written", zap.Error(err))
			}
		}
		return n.change(ctx, "promote", id, addr, func() raft.IndexFuture {
			return r.AddVoter(s.ID, joinServerAddress(id, addr), 0, changeTimeout)
		})
	}
	return false
}

// dropReplaced removes a member whose address another member has taken over:
// the old process is gone, since the new one listens there, and its store is
// too, since the new one started with an empty one. A voter goes only after its
// replacement votes.
func (n *life) dropReplaced(ctx context.Context, r *raft.Raft, servers []raft.Server) bool {
	for _, dead := range servers {
		for _, heir := range servers {
			if dead.ID == heir.ID || ID(dead.ID) == n.store.id {
				continue
			}
			addr := n.book.lookup(ID(heir.ID))
			if addr == "" || n.book.lookup(ID(dead.ID)) != addr {
				continue
			}
			if dead.Suffrage == raft.Voter && heir.Suffrage != raft.Voter {
				continue
			}
			if _, err := n.quickHello(ctx, addr, ID(heir.ID)); err != nil {
				continue // the heir must answer there itself
			}
			return n.drop(ctx, r, servers, "remove replaced", ID(dead.ID), addr)
		}
	}
	return false
}

// drop removes a dead member. The record must name a living voter at all times,
// so a shared one is written first.
func (n *life) drop(ctx context.Context, r *raft.Raft, servers []raft.Server, what string, id ID, addr string) bool {
	if n.cfg.Record.Shared() {
		if err := n.writeRecord(ctx, without(servers, id)); err != nil {
			n.warnOnce("record"+what, "member not removed, the cluster record is not written", zap.String("peer", string(id)), zap.Error(err))
			return false
		}
	}
	n.change(ctx, what, id, addr, func() raft.IndexFuture {
		return r.RemoveServer(raft.ServerID(id), 0, changeTimeout)
	})
	if !n.isMember(id) {
		n.removedPeer(id)
	}
	return true
}

func without(servers []raft.Server, id ID) []raft.Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return ID(s.ID) == id })
}

// removedPeer notes that an ID is gone for good. A watcher that was removed
// just after it was added may not know yet that it ever belonged, and would ask
// again.
func (n *life) removedPeer(id ID) {
	n.mu.Lock()
	n.expelled[id] = true
	delete(n.joins, id)
	t := n.transport
	n.mu.Unlock()
	t.wake(raft.ServerID(id)) // its replication waits for a heartbeat that is not sent any more
}

func (n *life) wasExpelled(id ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.expelled[id]
}

// quickHello asks one member, briefly: the loop that asks does everything else.
func (n *life) quickHello(ctx context.Context, addr string, id ID) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	a, err := n.ask(ctx, addr, id, query{Op: opHello})
	if err == nil && a.Membership.Cluster != n.ClusterID() {
		err = fmt.Errorf("%s belongs to cluster %q", addr, a.Membership.Cluster)
	}
	return a, err
}

func (n *life) RemovePeer(ctx context.Context, id ID) error {
	r, err := n.running()
	if err != nil {
		return err
	}
	if r.State() != raft.Leader {
		return n.notLeader()
	}
	servers := n.servers()
	if !slices.ContainsFunc(servers, func(s raft.Server) bool { return ID(s.ID) == id }) {
		return fmt.Errorf("remove peer %s: %w", id, ErrUnknownPeer)
	}
	// The record must name a living voter at all times: those that will be left
	// are written before the last recorded one may go.
	if err := n.writeRecord(ctx, without(servers, id)); err != nil {
		return fmt.Errorf("remove peer %s: %w", id, err)
	}
	err = n.await(ctx, func() error { return r.RemoveServer(raft.ServerID(id), 0, changeTimeout).Error() })
	n.poke()
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return n.notLeader()
	case err != nil:
		return fmt.Errorf("remove peer %s: %w", id, err)
	}
	n.removedPeer(id)
	n.log.Info("member changed", zap.String("change", "remove"), zap.String("peer", string(id)))
	return nil
}

// withVoter is the configuration with one member's vote.
func withVoter(servers []raft.Server, voter raft.Server) []raft.Server {
	voter.Suffrage = raft.Voter
	return append(without(servers, ID(voter.ID)), voter)
}

func (n *life) setRemoved(removed bool) {
	n.mu.Lock()
	n.removed = removed
	n.mu.Unlock()
}
