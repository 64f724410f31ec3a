package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

const (
	// leavePause is the time between attempts to leave.
	leavePause = 100 * time.Millisecond
	// giveWayPause is the time between a terminating leader's attempts to hand over.
	giveWayPause = time.Second
)

func (n *life) TransferLeadership(ctx context.Context) error {
	r, err := n.running()
	if err != nil {
		return err
	}
	if r.State() != raft.Leader {
		return n.notLeader()
	}
	heirs := n.heirs(ctx)
	err = errors.New("no other voter is reachable that is not terminating")
	for _, p := range heirs {
		to, _ := n.book.ServerAddr(raft.ServerID(p.ID))
		err = n.await(ctx, func() error {
			return r.LeadershipTransferToServer(raft.ServerID(p.ID), to).Error()
		})
		if err == nil {
			n.log.Info("leadership handed over", zap.String("to", string(p.ID)), zap.String("address", p.Addr))
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("transfer leadership: %w", err)
}

// heirs are the voters that can take the leadership: those that answer now and
// are not terminating, the one heard from last first.
func (n *life) heirs(ctx context.Context) []Peer {
	peers := slices.DeleteFunc(n.Peers(), func(p Peer) bool { return p.Self || !p.Voter || !p.Reachable })
	able := make([]bool, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			a, err := n.quickHello(ctx, p.Addr, p.ID)
			able[i] = err == nil && !a.Leaving
		})
	}
	wg.Wait()
	var heirs []Peer
	for i, p := range peers {
		if able[i] {
			heirs = append(heirs, p)
		}
	}
	slices.SortFunc(heirs, func(a, b Peer) int { return cmp.Compare(a.LastContact, b.LastContact) })
	return heirs
}

// shuns is true if this watcher is not to lead: it is terminating, or unfit.
func (n *life) shuns() bool { return n.leaving.Load() || n.unfit.Load() }

// giveWay hands the leadership of a watcher on that is not to lead. An election can
// give it to one after all, when nobody else has the votes.
func (n *life) giveWay(ctx context.Context) {
	if !n.shuns() || !n.leading() || time.Since(n.handedOver) < giveWayPause {
		return
	}
	n.handedOver = time.Now()
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	if err := n.TransferLeadership(ctx); err != nil {
		n.log.Warn("leadership not handed on; tried again", zap.Error(err))
		return
	}
	n.handedOver = time.Time{} // should it come back, it goes at once
}

// leave is the work of Node.Leave in one life.
func (n *life) leave(ctx context.Context) error {
	for {
		done, err := n.tryLeave(ctx)
		if done {
			return err
		}
		n.log.Debug("leaving the cluster is tried again", zap.Error(err))
		select {
		case <-ctx.Done():
			return fmt.Errorf("leave the cluster: %w (last attempt: %w)", ctx.Err(), err)
		case <-n.ctx.Done():
			return fmt.Errorf("leave the cluster: %w", ErrNotStarted)
		case <-time.After(leavePause):
		}
	}
}

// tryLeave takes the next step out; done when there is none.
func (n *life) tryLeave(ctx context.Context) (done bool, err error) {
	if _, err := n.running(); err != nil {
		// Not in, or left behind: nobody counts on us.
		return true, nil
	}
	servers := n.servers()
	others := slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool {
		return ID(s.ID) == n.store.id || s.Suffrage != raft.Voter
	})
	if len(others) == 0 && n.isVoter(n.store.id) {
		return true, errors.New("leave the cluster: this watcher is its only voter")
	}
	if n.leading() {
		tctx, cancel := context.WithTimeout(ctx, handOverTimeout)
		defer cancel()
		if err := n.TransferLeadership(tctx); err != nil {
			return false, err
		}
	}
	addrs, _ := n.candidates(ctx) // without discovery the members are left, who know
	lctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, s := range n.lookAround(lctx, addrs) {
		if s.err != nil || !s.Leading || s.Membership.Cluster != n.ClusterID() {
			continue
		}
		if !s.Known {
			n.log.Info("left the cluster", zap.String("leader", s.Addr))
			return true, nil
		}
		a, err := n.ask(ctx, s.Addr, s.ID, query{Op: opLeave})
		if err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
		if err != nil {
			return false, fmt.Errorf("ask the leader at %s: %w", s.Addr, err)
		}
		n.log.Info("left the cluster", zap.String("leader", s.Addr))
		return true, nil
	}
	return false, errors.New("no leader is found")
}

// acceptLeave removes the asker, unless that would leave no majority.
func (n *life) acceptLeave(h hello) error {
	if h.Cluster == "" || h.Cluster != n.ClusterID() {
		return fmt.Errorf("the cluster here is %q, not %q", n.ClusterID(), h.Cluster)
	}
	if !n.leading() {
		return n.notLeader()
	}
	if h.From == n.store.id || !n.isMember(h.From) {
		return nil
	}
	if n.isVoter(h.From) {
		if err := n.canLose(h.From); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(n.acting, changeTimeout)
	defer cancel()
	return n.RemovePeer(ctx, h.From)
}

// canLose returns nil if the voters that are left without this one have a
// majority that is reachable.
func (n *life) canLose(id ID) error {
	left, alive := 0, 0
	for _, p := range n.Peers() {
		if !p.Voter || p.ID == id {
			continue
		}
		left++
		if p.Reachable {
			alive++
		}
	}
	if 2*alive <= left {
		return fmt.Errorf("without watcher %s only %d of %d voters would be reachable", id.Short(), alive, left)
	}
	return nil
}
