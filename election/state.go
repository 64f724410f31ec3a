package election

import (
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

func (n *life) ID() ID { return n.store.id }

func (n *life) Addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

func (n *life) ClusterID() string {
	if m := n.membership(); m.Phase == phaseMember {
		return m.Cluster
	}
	return ""
}

func (n *life) Generation() uint32 { return n.membership().Generation }

func (n *life) Leader() (id ID, addr string) {
	r := n.raftOrNil()
	if r == nil {
		return "", ""
	}
	a, sid := r.LeaderWithID()
	if sid == "" {
		return "", ""
	}
	_, addr = splitServerAddress(a)
	return ID(sid), addr
}

func (n *life) Peers() []Peer {
	leader, _ := n.Leader()
	now := time.Now()
	var peers []Peer
	for _, s := range n.servers() {
		p := Peer{ID: ID(s.ID), Addr: n.book.lookup(ID(s.ID)), Voter: s.Suffrage == raft.Voter}
		if p.Addr == "" {
			_, p.Addr = splitServerAddress(s.Address)
		}
		p.Self, p.Leader = p.ID == n.store.id, p.ID == leader
		last, connected := n.links.contact(p.ID)
		switch {
		case p.Self:
			p.Reachable = true
		case last.IsZero():
			p.LastContact = -1
		default:
			p.LastContact = now.Sub(last)
			p.Reachable = connected && p.LastContact < 5*n.cfg.Heartbeat/2
		}
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		if c := strings.Compare(a.Addr, b.Addr); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return peers
}

func (n *life) State() State {
	n.mu.Lock()
	s := State{Waiting: n.waiting, Superseded: n.superseded, Removed: n.removed}
	r, readyTerm := n.raft, n.readyTerm
	n.mu.Unlock()
	if r == nil {
		return s
	}
	s.Generation = n.Generation()
	s.Term, s.CommitIndex, s.AppliedIndex = r.CurrentTerm(), r.CommitIndex(), r.AppliedIndex()
	s.LeaderID, s.LeaderAddr = n.Leader()
	s.Voter = n.isVoter(n.store.id)
	applied := s.AppliedIndex >= s.CommitIndex
	switch {
	case s.Superseded:
	case r.State() == raft.Leader:
		// Raft itself steps down within the lease.
		s.Leading, s.HasQuorum = true, true
		s.CaughtUp = applied && readyTerm == s.Term
	case s.LeaderID != "" && s.LeaderID != n.store.id:
		s.HasQuorum = leaderContact(r) < n.cfg.Election
		s.CaughtUp = applied && s.HasQuorum
	}
	return s
}

func (n *life) membership() membership {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.member
}

// identity is what we say of ourselves when we dial.
func (n *life) identity() hello {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := hello{From: n.store.id, Addr: n.addr, Generation: n.member.Generation}
	if n.member.Phase == phaseMember {
		h.Cluster = n.member.Cluster
	}
	return h
}

func (n *life) raftOrNil() *raft.Raft {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.raft
}

// servers returns the latest configuration, committed or not, as Raft uses it.
func (n *life) servers() []raft.Server {
	r := n.raftOrNil()
	if r == nil {
		return nil
	}
	f := r.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

func (n *life) isMember(id ID) bool {
	return slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return ID(s.ID) == id })
}

func (n *life) isVoter(id ID) bool {
	return slices.ContainsFunc(n.servers(), func(s raft.Server) bool {
		return ID(s.ID) == id && s.Suffrage == raft.Voter
	})
}

func (n *life) leading() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.raft != nil && !n.superseded && n.raft.State() == raft.Leader
}

// setWaiting shows, and logs when it is news, what we wait for.
func (n *life) setWaiting(why string) {
	n.mu.Lock()
	changed := n.waiting != why
	n.waiting = why
	n.mu.Unlock()
	if changed && why != "" {
		n.log.Info("not taking part yet", zap.String("why", why))
	}
}
