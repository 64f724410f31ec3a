// Package election makes several watchers one: it keeps a replicated log among
// them with hashicorp/raft, says who leads, and carries messages between them.
//
// # The story
//
// A Node is made from a data directory. A fresh directory gives it a random ID,
// kept in the same file as Raft's log and vote: whoever loses one loses all, and
// comes back as somebody else. That is the point. A Raft member that forgets its
// vote or its log and keeps its name can undo what a majority decided.
//
// All watchers listen on one port each. Every connection opens with a handshake
// that names cluster, generation, the dialer and the ID it means to reach; with
// a shared secret both sides prove that they know it. What does not match is
// closed with a reason that both sides log. So a fresh process on a reused
// address never answers for a dead one.
//
// Configuration names addresses only. Fresh watchers say hello to all of them;
// once all see the same set, the one with the smallest ID invites the others to
// a new cluster, and all bootstrap with the same configuration (see settle for
// why a crash in between does no harm). A fresh watcher that finds a cluster
// joins it instead: the leader adds it without a vote, gives it one when it has
// caught up, and removes the member whose address it has taken over.
//
// Where watchers come and go by themselves (pods of a Deployment), the record is
// shared and Config.Gone says who is gone for good. Then the leader removes the
// dead, a watcher that is deleted leaves (Leave), and when a majority is gone for
// good one survivor begins a new generation from its own log (see recover.go).
// Whoever was left behind stops at once, puts its store aside and joins anew under
// a new ID: the Node begins another life, without a restart. When all are gone,
// fresh watchers make a new, empty cluster of the next generation. Nobody who is
// merely silent is ever passed over. On hosts a person takes the place of Gone
// (Recover), and of the rest.
//
// The leader is told so with a Leadership, whose context ends with it. It comes
// after a barrier: what earlier leaders committed is applied by then.
//
// A leader that stops hands over. One whose process dies is succeeded within
// milliseconds, if a majority has its connections closed and redials refused
// (see succession.go); one that falls silent, after Raft's time-outs.
//
// Followers apply a commit up to twice Config.CommitTimeout after the leader,
// because Raft sends the commit index with its next message only. A leader that
// wants the others to know at once tells them with Broadcast, which takes one
// trip; the payload should carry the Outcome's Index, so that the receiver can
// tell whether its own state is newer.
//
// # The caller's duties
//
//   - Read Leaderships and LeaderChanges, or the newest value waits.
//   - Act only under a Leadership's context, and after Verify when the action
//     can not be undone.
//   - Take an Unknown outcome for what it is: the command may still be committed.
//     Read the state machine under the next leadership instead of trying again.
//   - Keep Machine.Apply free of effects, and OnMessage short.
//   - Authenticate the network: Secret proves identity when a connection is made
//     but hides nothing, and without it and TLS anybody who reaches the port can
//     be a peer.
//   - Make what must never repeat from Leadership.Generation and a counter: the
//     generation grows when a log is lost.
//   - Expect ID and Generation to change while the Node lives, if the record is
//     shared; LeaderChanges tells.
//   - Call Leave before Stop when this watcher will not come back, and only then.
//   - Call Stop, also after a failed Start.
//
// # Glossary
//
//   - cluster: the watchers that share one log, named by a random cluster ID.
//   - founder: a member of the first configuration. All others have joined.
//   - generation: grows when a cluster whose majority is gone for good is made
//     anew from the rest. A member of a lower one is superseded: it stops acting.
//   - gone: will never answer again, by the word of who runs the watchers. Silent
//     is not gone.
//   - life: what a Node does with one store and one generation.
//   - invitation, promise: the first step of making a cluster; it binds nobody.
//   - record: the ClusterRecord, kept outside the log, for people and for the
//     decision who may make a cluster.
//   - voter: a member that counts for majorities. A newcomer does not yet.
package election
