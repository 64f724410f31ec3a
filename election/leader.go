package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// maxCommand bounds a proposal; a command is an intent, not data.
const maxCommand = 1 << 20

// observe follows what Raft tells about leaders and members.
func (n *life) observe(r *raft.Raft, transport *patientTransport) {
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
func (n *life) watchLeadership(r *raft.Raft, transport *patientTransport) {
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
func (n *life) takeOffice(ctx context.Context, r *raft.Raft) {
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
	case n.leaderships <- Leadership{Ctx: ctx, Term: term, Generation: n.Generation()}:
	case <-ctx.Done():
	}
}

// await runs a blocking call of Raft's and returns early when the context ends.
func (n *life) await(ctx context.Context, call func() error) error {
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
func (n *life) running() (*raft.Raft, error) {
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

func (n *life) notLeader() error {
	if id, addr := n.Leader(); id != "" {
		return fmt.Errorf("%w: the leader is %s at %s", ErrNotLeader, id.Short(), addr)
	}
	return fmt.Errorf("%w: no leader is known", ErrNotLeader)
}

func (n *life) Propose(ctx context.Context, cmd []byte) Outcome {
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

func (n *life) Verify(ctx context.Context) error {
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

func (n *life) leaderChanged() {
	select {
	case n.changes <- struct{}{}:
	default:
	}
}

// poke makes the tending loop look without waiting for its next tick.
func (n *life) poke() {
	select {
	case n.nudge <- struct{}{}:
	default:
	}
}

// supersede stops acting: a peer or the record proved to belong to a later
// generation. Where the record is shared we join anew by ourselves.
func (n *life) supersede(generation uint32, by ID) {
	n.mu.Lock()
	first := !n.superseded
	n.superseded = true
	own := n.member.Generation
	n.mu.Unlock()
	if !first {
		return
	}
	fs := []zap.Field{zap.Uint32("generation", own), zap.Uint32("current_generation", generation),
		zap.String("told_by", string(by)), zap.String("directory", n.cfg.Dir)}
	if n.cfg.Record.Shared() {
		n.log.Warn("superseded: the cluster went on without this watcher; it stops acting and joins anew", fs...)
		n.end(endingDiscard)
	} else {
		n.log.Error("superseded: the cluster was recovered without this watcher; it stops acting. Move its data directory away and restart it to rejoin", fs...)
		n.halt()
	}
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
