package election

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// How long things take, in heartbeats; the defaults make 1, 5 and 10 seconds.
const (
	// silentAfter is when a member that was not heard from may be asked about.
	silentAfter = 2
	// lostAfter is how long a watcher is without a leader before it asks whether
	// the others are gone for good.
	lostAfter = 10
	// newcomerWait is how long a dead voter stays while its replacement may come.
	newcomerWait = 20
)

const (
	// goneInterval is the time between questions whether members are gone.
	goneInterval = time.Second
	goneTimeout  = 3 * time.Second
)

// goneWatch is what the one loop that asks knows of members that are gone.
type goneWatch struct {
	asked time.Time        // when it last asked
	since map[ID]time.Time // since when members are known to be gone
	// While no cluster is joined: which cluster was asked about, and what keeps a
	// new one from being made.
	about, verdict string
	all            bool
}

// isGone asks whether a member is gone for good. A member that answers is not,
// whatever anybody says; nor is one about whom nobody can tell.
func (n *life) isGone(ctx context.Context, id ID, addr string) (gone bool, why string) {
	if addr != "" {
		a, err := n.helloOnce(ctx, addr, id)
		if err == nil && a.ID == id {
			return false, "it answers"
		}
	}
	if n.cfg.Gone == nil {
		return false, "nobody can tell whether it is gone for good"
	}
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	gone, why, err := n.cfg.Gone(ctx, id, addr)
	if err != nil {
		return false, fmt.Sprintf("it can not be told whether it is gone for good: %v", err)
	}
	return gone, why
}

// helloOnce asks one watcher, of whatever cluster, briefly.
func (n *life) helloOnce(ctx context.Context, addr string, id ID) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	return n.ask(ctx, addr, id, query{Op: opHello})
}

// dropGone removes one member that is gone for good: at once if it has no vote,
// else after its replacement votes or when none can be awaited, and only if those
// that are left have a majority that is reachable.
func (n *life) dropGone(ctx context.Context, r *raft.Raft, servers []raft.Server) bool {
	if n.cfg.Gone == nil || time.Since(n.gone.asked) < goneInterval {
		return false
	}
	n.gone.asked = time.Now()
	since := make(map[ID]time.Time)
	defer func() { n.gone.since = since }()
	removed := false
	for _, p := range n.Peers() {
		if p.Self || (p.LastContact >= 0 && p.LastContact <= silentAfter*n.cfg.Heartbeat) {
			continue
		}
		gone, why := n.isGone(ctx, p.ID, p.Addr)
		if !gone {
			n.log.Debug("a silent member stays", zap.String("peer", string(p.ID)), zap.String("address", p.Addr), zap.String("why", why))
			continue
		}
		since[p.ID] = time.Now()
		if before, ok := n.gone.since[p.ID]; ok {
			since[p.ID] = before
		}
		if removed || !n.mayDrop(p, servers, since[p.ID]) {
			continue // its time is kept all the same
		}
		n.log.Info("a member is gone for good", zap.String("peer", string(p.ID)), zap.String("address", p.Addr), zap.String("why", why))
		removed = n.drop(ctx, r, servers, "remove gone", p.ID, p.Addr)
	}
	return removed
}

// mayDrop is true if the time has come to remove a member that is gone.
func (n *life) mayDrop(p Peer, servers []raft.Server, since time.Time) bool {
	if !p.Voter {
		return true
	}
	if err := n.canLose(p.ID); err != nil {
		n.log.Debug("a dead voter stays", zap.String("peer", string(p.ID)), zap.Error(err))
		return false
	}
	voters, coming := 0, false
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		} else if last, connected := n.links.contact(ID(s.ID)); connected && time.Since(last) < newcomerWait*n.cfg.Heartbeat {
			coming = true
		}
	}
	if voters > n.expected() {
		return true // the replacement votes
	}
	n.mu.Lock()
	lastJoin := n.lastJoin
	n.mu.Unlock()
	if lastJoin.After(since) {
		since = lastJoin
	}
	return !coming && time.Since(since) > newcomerWait*n.cfg.Heartbeat
}

// expected is how many watchers there should be.
func (n *life) expected() int {
	peers := 1
	for _, p := range n.cfg.Peers {
		if p != n.Addr() {
			peers++
		}
	}
	return max(n.cfg.Expect, peers)
}

// announce makes our ID known, again and again until it works.
func (n *life) announce() {
	for n.cfg.Announce != nil {
		ctx, cancel := context.WithTimeout(n.ctx, goneTimeout)
		err := n.cfg.Announce(ctx, n.store.id)
		cancel()
		if err == nil {
			n.mu.Lock()
			n.announced = true
			n.mu.Unlock()
			return
		}
		if n.ctx.Err() == nil {
			n.warnOnce("announce", "own identity not announced", zap.String("id", string(n.store.id)), zap.Error(err))
		}
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(goneInterval):
		}
	}
}

// hasAnnounced is true once others can tell whether we are gone.
func (n *life) hasAnnounced() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.announced || n.cfg.Announce == nil
}
