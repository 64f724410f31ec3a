package election

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// operation is what a query asks for.
type operation string

const (
	opHello  operation = "hello"  // who are you, and how far
	opInvite operation = "invite" // promise to found this cluster with us
	opJoin   operation = "join"   // add me (to the leader)
	opGone   operation = "gone"   // is the leader gone from where you stand
	opLeave  operation = "leave"  // remove me (to the leader)
)

// query is a question; who asks is in the handshake.
type query struct {
	Op     operation   `json:"op"`
	Invite *membership `json:"invite,omitempty"`
	// For opGone: which leader, and how complete the asker's log is.
	Leader    ID     `json:"leader,omitempty"`
	LastTerm  uint64 `json:"last_term,omitempty"`
	LastIndex uint64 `json:"last_index,omitempty"`
}

// answer says who answers and how far it has come. Error is why the request was
// not granted.
type answer struct {
	ID         ID     `json:"id"`
	Addr       string `json:"addr"`
	Error      string `json:"error,omitempty"`
	Membership membership
	// Leading and the leader's ID and address as the answering watcher knows it.
	Leading    bool   `json:"leading"`
	LeaderID   ID     `json:"leader_id,omitempty"`
	LeaderAddr string `json:"leader_addr,omitempty"`
	// Known is that the asker is in the answering watcher's configuration.
	Known bool `json:"known"`
	// Removed is that the asker was removed while the answering watcher led.
	Removed bool `json:"removed,omitempty"`
	// Leaving is that the answering watcher is terminating, Lost that it has not
	// known a leader for long enough to ask whether the others are gone.
	Leaving bool `json:"leaving,omitempty"`
	Lost    bool `json:"lost,omitempty"`
	// LastIndex and LastTerm are of the last entry in the answering watcher's
	// log, Voter that it votes in the latest configuration there.
	Voter     bool   `json:"voter,omitempty"`
	LastIndex uint64 `json:"last_index"`
	LastTerm  uint64 `json:"last_term,omitempty"`
	// Gone is that the leader asked about is gone from there as well, Asking that
	// the answering watcher is asking for votes already.
	Gone   bool `json:"gone,omitempty"`
	Asking bool `json:"asking,omitempty"`
}

// ask sends one query to an address. An empty target asks whoever lives there.
func (n *life) ask(ctx context.Context, addr string, target ID, q query) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, _, err := n.dialer.dial(ctx, addr, purposeQuery, target)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := writeJSON(conn, q); err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", addr, err)
	}
	var a answer
	if err := readJSON(conn, &a); err != nil {
		return answer{}, fmt.Errorf("read answer of %s: %w", addr, err)
	}
	return a, nil
}

func (n *life) serveQuery(h hello, conn net.Conn) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(queryTimeout)); err != nil {
		return
	}
	var q query
	if err := readJSON(conn, &q); err != nil {
		n.log.Debug("reading a query failed", zap.String("peer", string(h.From)), zap.Error(err))
		return
	}
	var err error
	var gone bool
	switch q.Op {
	case opHello:
	case opInvite:
		err = n.acceptInvite(h.From, q.Invite)
	case opJoin:
		err = n.acceptJoin(h)
	case opLeave:
		err = n.acceptLeave(h)
	case opGone:
		gone, err = n.testify(h.From, q)
	default:
		err = fmt.Errorf("unknown query %q", q.Op)
	}
	a := n.describe(h.From)
	if r := n.raftOrNil(); gone && r != nil {
		a.Gone, a.Asking = true, r.State() == raft.Candidate
	}
	if err != nil {
		a.Error = err.Error()
	}
	if err := writeJSON(conn, a); err != nil {
		n.log.Debug("answering a query failed", zap.String("peer", string(h.From)), zap.Error(err))
	}
}

// describe is our answer to a hello of the given asker.
func (n *life) describe(asker ID) answer {
	a := answer{ID: n.store.id, Addr: n.Addr(), Membership: n.membership(), Leaving: n.shuns(), Lost: n.lostForLong()}
	if r := n.raftOrNil(); r != nil {
		a.Leading = n.leading()
		a.LeaderID, a.LeaderAddr = n.Leader()
		a.Known, a.Removed = n.isMember(asker), n.wasExpelled(asker)
		a.Voter, a.LastIndex, a.LastTerm = n.isVoter(n.store.id), r.LastIndex(), lastTerm(r)
	}
	return a
}

// sighting is what an address answered.
type sighting struct {
	addr string
	answer
	err error
}

// lookAround says hello to every address at once.
func (n *life) lookAround(ctx context.Context, addrs []string) []sighting {
	seen := make([]sighting, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			a, err := n.ask(ctx, addr, "", query{Op: opHello})
			seen[i] = sighting{addr: addr, answer: a, err: err}
		})
	}
	wg.Wait()
	return seen
}

// candidates returns the addresses where peers may live: the configured, the
// discovered and, for a member, those of the Raft configuration.
func (n *life) candidates(ctx context.Context) ([]string, error) {
	set := make(map[string]bool)
	for _, p := range n.cfg.Peers {
		set[p] = true
	}
	var err error
	if n.cfg.Discover != nil {
		dctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		var found []string
		if found, err = n.cfg.Discover(dctx); err != nil {
			err = fmt.Errorf("discover peers: %w", err)
		}
		for _, p := range found {
			set[p] = true
		}
	}
	for _, s := range n.servers() {
		if a := n.book.lookup(ID(s.ID)); a != "" {
			set[a] = true
		}
	}
	delete(set, n.Addr())
	return slices.Sorted(maps.Keys(set)), err
}
