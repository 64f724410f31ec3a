package app

import (
	"context"
	"errors"

	"github.com/triwatch/triwatch/election"
	"github.com/triwatch/triwatch/sentinel"
)

// cluster gives the runner the part of election that it needs.
type cluster struct{ node *election.Node }

// Propose implements runner.Cluster.
func (c cluster) Propose(ctx context.Context, cmd []byte) (sentinel.Outcome, error) {
	out := c.node.Propose(ctx, cmd)
	switch out.Status {
	case election.Committed:
		return sentinel.OutcomeOK, nil
	case election.NotLeader:
		return sentinel.OutcomeNotLeader, out.Err
	case election.Unknown:
		return sentinel.OutcomeUnknown, out.Err
	}
	return sentinel.OutcomeUnknown, out.Err
}

// Verify implements runner.Cluster.
func (c cluster) Verify(ctx context.Context) error { return c.node.Verify(ctx) }

// Send implements runner.Cluster.
func (c cluster) Send(to sentinel.WatcherID, frame []byte) error {
	err := c.node.Send(election.ID(to), frame)
	if errors.Is(err, election.ErrUnreachable) {
		return nil // it is asked again when it is back; the log has a line about the link already
	}
	return err
}

// Broadcast implements runner.Cluster.
func (c cluster) Broadcast(frame []byte) { c.node.Broadcast(frame) }

// Leader implements runner.Cluster.
func (c cluster) Leader() sentinel.WatcherID {
	id, _ := c.node.Leader()
	return sentinel.WatcherID(id)
}
