package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// maxCommand bounds a proposal; a command is an intent, not data.
const maxCommand = 1 << 20

// observe follows what Raft tells about leaders and members.
func (n *Node) observe(r *raft.Raft, transport *patientTransport) {
	ch := make(chan raft.Observation, 64)
	o := raft.NewObserver(ch, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.PeerObservation, raft.RaftState:
			return true
		default:
			return false
		}
	})
	r.RegisterObserver(o)
	n.group.run(func() {
		defer r.DeregisterObserver(o)
		for {
			select {
			case <-n.ctx.Done():
				return
			case <-ch: // full or not, the reader asks for the state anyway
				n.leaderChanged()
				n.poke()
			}
		}
	})
	n.group.run(func() { n.watchLeadership(r, transport) })
	n.group.run(func() { n.watchSuccession(r, transport) })
}

// watchLeadership turns Raft's notifications into Leaderships. It does nothing
// that takes time, since Raft waits for it, and so a loss cancels at once.
func (n *Node) watchLeadership(r *raft.Raft, transport *patientTransport) {
	lose := func() {}
	defer func() { lose() }()
	for {
		select {
		case <-n.acting.Done():
			return
		case gained := <-n.notify:
			lose()
			if gained {
				ctx, cancel := context.WithCancel(n.acting)
				lose = cancel
				n.group.run(func() { n.takeOffice(ctx, r) })
			} else {
				n.log.Info("leadership lost")
				transport.wakeAll(false)
			}
			n.leaderChanged()
			n.poke()
		}
	}
}

// takeOffice delivers a Leadership once everything committed before is applied.
func (n *Node) takeOffice(ctx context.Context, r *raft.Raft) {
	term := r.CurrentTerm()
	if err := n.await(ctx, func() error { return r.Barrier(0).Error() }); err != nil {
		n.log.Debug("leadership ended before it began", zap.Uint64("term", term), zap.Error(err))
		return
	}
	n.mu.Lock()
	n.readyTerm = term
	n.mu.Unlock()
	n.log.Info("leadership gained", zap.Uint64("term", term))
	n.poke()
	select {
	case n.leaderships <- Leadership{Ctx: ctx, Term: term}:
	case <-ctx.Done():
	}
}

// await runs a blocking call of Raft's and returns early when the context ends.
func (n *Node) await(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	if !n.futures.run(func() { done <- call() }) {
		return ErrNotStarted
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// running returns Raft, or why it can not be used.
func (n *Node) running() (*raft.Raft, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.superseded:
		return nil, ErrSuperseded
	case n.raft == nil && n.waiting != "":
		return nil, fmt.Errorf("%w: %s", ErrNotStarted, n.waiting)
	case n.raft == nil:
		return nil, ErrNotStarted
	}
	return n.raft, nil
}

func (n *Node) notLeader() error {
	if id, addr := n.Leader(); id != "" {
		return fmt.Errorf("%w: the leader is %s at %s", ErrNotLeader, id.Short(), addr)
	}
	return fmt.Errorf("%w: no leader is known", ErrNotLeader)
}

// Propose replicates a command and waits until it is applied here. A
// leadership lost in between, or the context's end, is Unknown: the command may
// still be committed later.
func (n *Node) Propose(ctx context.Context, cmd []byte) Outcome {
	refuse := func(err error) Outcome { return Outcome{Status: NotLeader, Err: err} }
	r, err := n.running()
	if err != nil {
		return refuse(err)
	}
	if err := ctx.Err(); err != nil {
		return refuse(fmt.Errorf("propose: %w", err))
	}
	if len(cmd) > maxCommand {
		return refuse(fmt.Errorf("propose: command has %d bytes, at most %d are allowed", len(cmd), maxCommand))
	}
	if r.State() != raft.Leader {
		return refuse(n.notLeader())
	}
	var f raft.ApplyFuture
	err = n.await(ctx, func() error {
		future := r.ApplyLog(raft.Log{Data: cmd}, n.cfg.Election)
		err := future.Error()
		f = future // read only if await returned this very result
		return err
	})
	switch {
	case err == nil:
		return Outcome{Status: Committed, Index: f.Index(), Result: f.Response()}
	case errors.Is(err, ErrNotStarted):
		return refuse(err)
	case errors.Is(err, raft.ErrNotLeader):
		return refuse(n.notLeader())
	case errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return refuse(fmt.Errorf("propose: %w", err)) // never reached the log
	default:
		return Outcome{Status: Unknown, Err: fmt.Errorf("propose: %w", err)}
	}
}

// Verify returns nil if a majority confirmed, after the call, that we lead.
func (n *Node) Verify(ctx context.Context) error {
	r, err := n.running()
	if err != nil {
		return err
	}
	err = n.await(ctx, func() error { return r.VerifyLeader().Error() })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost):
		return n.notLeader()
	default:
		return fmt.Errorf("verify leadership: %w", err)
	}
}

// TransferLeadership hands the leadership to another voter that is reachable,
// the one heard from last first.
func (n *Node) TransferLeadership(ctx context.Context) error {
	r, err := n.running()
	if err != nil {
		return err
	}
	if r.State() != raft.Leader {
		return n.notLeader()
	}
	peers := slices.DeleteFunc(n.Peers(), func(p Peer) bool { return p.Self || !p.Voter || !p.Reachable })
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.LastContact, b.LastContact) })
	err = errors.New("no other voter is reachable")
	for _, p := range peers {
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

// Leaderships delivers each gained leadership once, after everything committed
// before it was applied here. One that is lost before it was received is not
// delivered. The channel is closed by Stop.
func (n *Node) Leaderships() <-chan Leadership { return n.leaderships }

// LeaderChanges receives a value after the leader, our own role or the members
// may have changed; changes in quick succession are one value. Ask Leader,
// Peers or State then. There is one channel, for one reader; Stop closes it.
func (n *Node) LeaderChanges() <-chan struct{} { return n.changes }

func (n *Node) leaderChanged() {
	select {
	case n.changes <- struct{}{}:
	default:
	}
}

// poke makes the tending loop look without waiting for its next tick.
func (n *Node) poke() {
	select {
	case n.nudge <- struct{}{}:
	default:
	}
}

// supersede stops acting: a peer proved to belong to a later generation.
func (n *Node) supersede(generation uint32, by ID) {
	n.mu.Lock()
	first := !n.superseded
	n.superseded = true
	own := n.member.Generation
	n.mu.Unlock()
	if !first {
		return
	}
	n.log.Error("superseded: the cluster was recovered without this watcher; it stops acting. Move its data directory away and restart it to rejoin",
		zap.Uint32("generation", own), zap.Uint32("current_generation", generation), zap.String("told_by", string(by)), zap.String("directory", n.cfg.Dir))
	n.halt()
	n.poke()
	n.leaderChanged()
}

// leaderContact is how long ago a follower heard from its leader.
func leaderContact(r *raft.Raft) time.Duration {
	last := r.LastContact()
	if last.IsZero() {
		return time.Duration(1<<63 - 1)
	}
	return time.Since(last)
}
