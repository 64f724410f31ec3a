package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// When the leader's process dies, Raft's followers find out by silence: one to
// two heartbeat time-outs, and often an election time-out more, since the first
// to ask is refused by those that still believe in the leader (0.8 to 1.8 s were
// seen at 500 ms). But a dead process is more than silent: its connections end,
// and dialling it again is refused. If a majority of the voters see that, the
// follower with the most complete log does what it would do if the leader had
// handed over to it (TimeoutNow, Raft dissertation section 3.10): it asks for
// votes at once. Others than the best wait for it, and Raft's own time-outs go
// on underneath. Terms and votes are Raft's, so a wrong guess can cost an
// election but no entry; asking the majority keeps a broken path between two
// watchers from costing one again and again.

// successionTimeout bounds one inquiry; by then Raft's own time-outs take over.
const successionTimeout = time.Second

// yieldTime is how long a watcher holds back for one with a better claim: ample
// for an election, short enough that its failure is not felt.
const yieldTime = 150 * time.Millisecond

// suspect notes that the connection from a peer has ended.
func (n *life) suspect(id ID) {
	if leader, _ := n.Leader(); leader != id || n.ctx.Err() != nil {
		return
	}
	select {
	case n.suspects <- id:
	default: // an inquiry is under way
	}
}

// watchSuccession inquires into each suspected loss of the leader.
func (n *life) watchSuccession(r *raft.Raft, transport *patientTransport) {
	for {
		select {
		case <-n.acting.Done():
			return
		case leader := <-n.suspects:
			n.inquire(r, transport, leader)
		}
	}
}

// inquire asks until the leader is another one or the time is up. Once is not
// enough: a dying process closes its connections one after the other and its
// listener some time among them, and the other watchers look at other instants.
func (n *life) inquire(r *raft.Raft, transport *patientTransport, leader ID) {
	ctx, cancel := context.WithTimeout(n.acting, successionTimeout)
	defer cancel()
	for pause := 5 * time.Millisecond; ctx.Err() == nil; pause *= 2 {
		if id, _ := n.Leader(); id != leader {
			return
		}
		term := r.CurrentTerm()
		if n.shouldSucceed(ctx, r, leader) && n.succeed(ctx, r, transport, term) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// claim is how complete a follower's log is; the larger one should lead.
type claim struct {
	term, index uint64
	id          ID
}

// lastID comes after all IDs, which are hexadecimal.
const lastID ID = "~"

func (c claim) before(o claim) bool {
	return cmp.Or(cmp.Compare(o.term, c.term), cmp.Compare(o.index, c.index), cmp.Compare(c.id, o.id)) < 0
}

// shouldSucceed is true if a majority of the voters sees the leader gone and
// our log is the most complete among theirs.
func (n *life) shouldSucceed(ctx context.Context, r *raft.Raft, leader ID) bool {
	if id, _ := n.Leader(); id != leader || n.shuns() || !n.isVoter(n.store.id) || !n.leaderGone(ctx, leader) {
		return false
	}
	mine := claim{term: lastTerm(r), index: r.LastIndex(), id: n.store.id}
	ask := query{Op: opGone, Leader: leader, LastTerm: mine.term, LastIndex: mine.index}
	voters, agree, best := 0, 1, true
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range n.servers() {
		id := ID(s.ID)
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if id == n.store.id || id == leader {
			continue
		}
		wg.Go(func() {
			a, err := n.ask(ctx, n.book.lookup(id), id, ask)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || !a.Gone {
				return
			}
			agree++
			theirs := claim{term: a.LastTerm, index: a.LastIndex, id: id}
			if a.Leaving {
				theirs.id = lastID // it will not ask, so a tie is ours
			}
			best = best && !a.Asking && mine.before(theirs)
		})
	}
	wg.Wait()
	n.log.Debug("the leader's process is gone", zap.String("leader", string(leader)),
		zap.Int("voters", voters), zap.Int("agree", agree), zap.Bool("most_complete_log", best))
	return 2*agree > voters && best
}

// leaderGone is true if Raft here knows no other leader, and this one's address
// refuses connections, is another watcher's, or it says itself that it does not
// lead (it was restarted). No leader at all must count too: that is somebody who
// has begun to ask for votes, and whose claim must keep the others from it.
func (n *life) leaderGone(ctx context.Context, leader ID) bool {
	if id, _ := n.Leader(); (id != leader && id != "") || leader == n.store.id {
		return false
	}
	a, err := n.ask(ctx, n.book.lookup(leader), leader, query{Op: opHello})
	if err == nil {
		return !a.Leading
	}
	return errors.Is(err, syscall.ECONNREFUSED) || refusedWith(err, refusedTarget)
}

// succeed makes our own Raft a candidate, over the same RPC as a hand-over. It
// returns false if the inquiry should go on. A vote given or a better claim met
// since the inquiry began forbids it: a second candidate would depose the first,
// and could lose for want of the first one's newest entry.
func (n *life) succeed(ctx context.Context, r *raft.Raft, transport *patientTransport, term uint64) bool {
	n.mu.Lock()
	yielded := time.Now().Before(n.yieldUntil)
	n.mu.Unlock()
	if yielded || r.CurrentTerm() != term || r.State() != raft.Follower {
		return false
	}
	n.log.Info("the leader's process is gone, asking for votes", zap.Uint64("term", term))
	self, _ := n.book.ServerAddr(raft.ServerID(n.store.id))
	req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.store.id), Addr: []byte(self),
	}}
	err := n.await(ctx, func() error {
		return transport.TimeoutNow(raft.ServerID(n.store.id), self, req, &raft.TimeoutNowResponse{})
	})
	if err != nil {
		n.log.Warn("succession failed, waiting for raft's time-outs", zap.Error(err))
	}
	return true
}

// testify answers another member's question whether the leader is gone, and
// holds back for it if it is and the asker's log is more complete.
func (n *life) testify(asker ID, q query) (gone bool, err error) {
	r := n.raftOrNil()
	if r == nil || !n.isMember(asker) {
		return false, fmt.Errorf("watcher %s is not a member here", asker.Short())
	}
	ctx, cancel := context.WithTimeout(n.acting, successionTimeout)
	defer cancel()
	if !n.leaderGone(ctx, q.Leader) {
		return false, nil
	}
	theirs := claim{term: q.LastTerm, index: q.LastIndex, id: asker}
	if theirs.before(claim{term: lastTerm(r), index: r.LastIndex(), id: n.store.id}) {
		n.mu.Lock()
		n.yieldUntil = time.Now().Add(yieldTime)
		n.mu.Unlock()
	}
	n.suspect(q.Leader) // the asker may wait for us, and no connection of ours may have ended
	return true, nil
}

// lastTerm returns the term of the last entry; Raft tells it nowhere else.
func lastTerm(r *raft.Raft) uint64 {
	term, err := strconv.ParseUint(r.Stats()["last_log_term"], 10, 64)
	if err != nil {
		return 0
	}
	return term
}
