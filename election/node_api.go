package election

import "context"

// ID returns our own ID. Where the record is shared it changes when this watcher
// was left behind and joins anew; LeaderChanges tells.
func (n *Node) ID() ID { return n.life().ID() }

// Addr returns the address the other watchers reach us at; before Start it is
// empty when it depends on the port that will be bound.
func (n *Node) Addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

// ClusterID returns the cluster's ID, empty until it is made or joined.
func (n *Node) ClusterID() string { return n.life().ClusterID() }

// Generation returns the cluster's generation, 0 until it is joined. It can grow
// while the Node lives; LeaderChanges tells. A Leadership's Generation is the one
// that its epochs are made from.
func (n *Node) Generation() uint32 { return n.life().Generation() }

// Leader returns the leader as far as known, else "" twice.
func (n *Node) Leader() (id ID, addr string) { return n.life().Leader() }

// Peers returns the members of the latest configuration, sorted by address.
func (n *Node) Peers() []Peer { return n.life().Peers() }

// State returns the present state. It does not block on the network.
func (n *Node) State() State { return n.life().State() }

// Propose replicates a command and waits until it is applied here. A
// leadership lost in between, or the context's end, is Unknown: the command may
// still be committed later.
func (n *Node) Propose(ctx context.Context, cmd []byte) Outcome { return n.life().Propose(ctx, cmd) }

// Verify returns nil if a majority confirmed, after the call, that we lead.
func (n *Node) Verify(ctx context.Context) error { return n.life().Verify(ctx) }

// TransferLeadership hands the leadership to another voter that is reachable and
// not terminating, the one heard from last first.
func (n *Node) TransferLeadership(ctx context.Context) error {
	return n.life().TransferLeadership(ctx)
}

// Leaderships delivers each gained leadership once, after everything committed
// before it was applied here. One that is lost before it was received is not
// delivered. The channel is closed by Stop.
func (n *Node) Leaderships() <-chan Leadership { return n.leaderships }

// LeaderChanges receives a value after the leader, our own role, our identity, the
// generation or the members may have changed; changes in quick succession are one
// value. Ask Leader, Peers or State then. There is one channel, for one reader;
// Stop closes it.
func (n *Node) LeaderChanges() <-chan struct{} { return n.changes }

// Send queues a payload for a peer and does not wait for its arrival. It
// returns ErrUnreachable without a connection, ErrUnknownPeer for an ID that is
// not another member's, and ErrQueueFull when 256 payloads are waiting already
// (the new one is dropped). Payloads of one sender arrive in order; a broken
// connection loses those under way. The payload is copied; at most 8 MiB.
func (n *Node) Send(to ID, payload []byte) error { return n.life().Send(to, payload) }

// Broadcast queues a payload for every connected peer, as Send does. Peers that
// can't take it now do not get it.
func (n *Node) Broadcast(payload []byte) { n.life().Broadcast(payload) }

// RemovePeer removes a member for good: its ID can not come back. On a follower
// it returns an ErrNotLeader that names the leader. Removing ourselves ends our
// leadership.
func (n *Node) RemovePeer(ctx context.Context, id ID) error { return n.life().RemovePeer(ctx, id) }

// SetLeaving announces that this watcher is terminating, or takes that back:
// nobody hands the leadership to it, and it hands its own on as soon as somebody
// else can take it. It does not change the membership.
func (n *Node) SetLeaving(leaving bool) {
	n.leaving.Store(leaving)
	n.life().poke()
}

// SetUnfit tells that this watcher can not lead, or takes that back: it does not
// succeed a lost leader, nobody hands the leadership to it, and if Raft elects it
// all the same it hands the leadership on at once, again and again until somebody
// takes it. It votes and keeps the log as before.
func (n *Node) SetUnfit(unfit bool) {
	n.unfit.Store(unfit)
	n.life().poke()
}

// Leave takes this watcher out of the cluster for good: it announces that it is
// terminating, hands the leadership on, and asks the leader to remove it, again
// and again until the context ends. A leader refuses while those that would be
// left have no majority. The only voter can't leave; the error says so. Stop is
// owed afterwards all the same.
func (n *Node) Leave(ctx context.Context) error {
	n.SetLeaving(true)
	return n.life().leave(ctx)
}

// Recover begins a new generation of the cluster from this watcher alone, on a
// person's word that the members in drop are gone for good and a majority with
// them. The others join it anew. It returns when this watcher leads the new
// generation, or why not: every voter must either answer or be in drop, none in
// drop may answer, and of those that answer none may have a leader or a longer
// log than ours.
func (n *Node) Recover(ctx context.Context, drop []ID) error {
	cur := n.life()
	generation, err := cur.recoverByWord(ctx, drop)
	if err != nil {
		return err
	}
	return n.awaitGeneration(ctx, generation)
}
