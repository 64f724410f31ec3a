// Package sentinel decides. It holds what one watcher knows of a Redis master
// and its replicas, and turns each new piece of knowledge into actions: probe
// this, ask the others, propose that, write this to Redis, tell the clients.
//
// The story of a failover. Probes say that the master's connection was closed
// and that a redial is refused; the watcher reports that to the leader. The
// leader counts reports of a majority, hears the replicas as witnesses (is your
// link down?), asks everybody once more with fresh probes, chooses a replica, and
// proposes a Begin with the next epoch. When the Begin is committed, the plan is
// the only one for this master; whoever leads carries it on from the phase that
// the log shows: promote, verify, Promoted, tell everybody, repoint the others,
// Done. A handover goes the same way, but fences the old master before it promotes
// the new one, and waits until the new one has everything.
//
// The package has no clock, no goroutine, no network and no logger. Step is a
// function of the state and one Input; Apply is a function of the committed
// state and one Command. Both give the same answer wherever they run, so that a
// transcript, a simulation and production show the same behaviour.
//
// Duties of the caller (package runner):
//
//   - one goroutine owns a Router and calls Step; At never goes back;
//   - call Step with a nil Event when Deadline has come;
//   - actions are carried out in order as far as they concern one instance;
//   - Propose and Do are carried out only while leading, and Do only with
//     leadership freshly verified; every Do is answered by one Done, every
//     Propose by Applied or Proposed;
//   - Applied arrives in log order on every watcher.
//
// Words: a watcher is one triwatch process; the leader is the one that leads
// Raft; sdown is one watcher's opinion, odown the quorum's; an epoch numbers the
// assignments of mastership; a plan is one failover (master lost) or handover
// (master alive) with its phase; lineage is a data set's replication id and offset; to
// fence is to make an old master unable to acknowledge writes; a witness is a
// replica whose link tells whether its master lives.
package sentinel
