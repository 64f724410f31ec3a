// Package raftsim runs package sentinel on real hashicorp/raft in virtual time.
//
// Package sim has a modelled log, and is the same run for the same seed, event by event.
// What a model cannot show is here: three or five watchers, each with a real Raft over
// in-memory stores, a state machine around sentinel.Registry with its snapshots, and a
// sentinel.Router on one goroutine, all in a bubble of testing/synctest, where half a
// minute of heartbeats, elections, probes and failovers takes some tens of milliseconds.
// The watchers look after three modelled Redis processes. A schedule that follows from a
// seed cuts watchers off (both ways or one way), restarts them with their stores, kills,
// freezes and restarts the master, moves the leadership and asks for handovers, for
// 10 to 20 seconds; then everything heals.
//
// The invariants are checked at every entry that any watcher applies or restores, at
// every Step, and at every order that reaches a Redis: the same log makes the same state
// everywhere, epochs only grow and none is used twice, one plan is open at most, one
// leader in a term, one master told for an epoch, and nobody is promoted or told to follow
// without a committed plan or assignment. Within a bound after the healing there must
// be one committed master that is a master, followed by the others, known to every watcher,
// with no plan open.
//
// The schedule of a seed is always the same, but neither hashicorp/raft's randomness nor
// the order of goroutines follows from the seed: a failure prints the end of its trace,
// because the next run of the seed may not fail. To look for it again:
//
//	go test ./test/sim/raft -run TestSchedules -simraft.from=N -simraft.seeds=1 -count=100
//
// To run more: -simraft.seeds=5000. There are disks, too, that take no entries for seconds
// while heartbeats pass; -simraft.stalls=false leaves them out.
//
// What is simplified. Redis is much smaller than in sim: data sets are an offset, a
// number of keys and replication ids. A watcher that dies is first cut off, and its Raft is
// shut down when the futures have ended, as a Raft that loses its power would be from
// outside; its stores lose nothing.
//
// Words: a node is the place of a watcher with its stores, a process is one run of it;
// the truth is the state after the latest entry that any watcher has applied; a wire
// is the network between the nodes; late is an order that landed when its time was over.
package raftsim
