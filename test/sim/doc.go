// Package sim runs package sentinel in virtual time, in a world that goes wrong.
//
// A world is one goroutine: a heap of events and a clock that jumps from one to the
// next. In it live three or five watchers, each with a real sentinel.Router and a
// model of the runner and of redisio around it; a modelled Raft log; Redis processes
// that know as much of replication as the decisions depend on; a network; and clients
// that write unique keys to whom a watcher calls the master. A schedule of faults
// follows from a seed, and so does everything else: the same seed is the same run,
// event by event, which a test checks. After every input and at every log entry, write and
// full sync the invariants of the design are checked, against the truth and not
// against what a watcher believes.
//
// There are two sides to it. In some classes of schedules a failover must happen
// within a bound: the master killed, frozen, cut off, dead together with the leader. In
// others it must not: a short freeze, killed connections, restarted replicas, a lossy
// network, watchers or replicas cut off from a master that lives. In all of them, once the
// faults end, there is one master within a bound, everybody follows it, and what was
// promised to clients is still there.
//
// To look at a failure: go test ./test/sim -run TestSchedules -sim.seed=N -v
// prints the whole trace of seed N. To run more: -sim.seeds=10000 -sim.from=2000. To see
// that the schedules notice broken guards: -run TestGuardsAreNeeded -sim.mutate -v.
//
// The schedules of test/chaos are played here as well (package test/faults has the format
// and a table of what becomes of each fault): TestChaosSchedules plays those of seeds, or the
// one of a file with -sim.file; TestKeptChaosSchedules those that test/chaos keeps.
//
// What is simplified. The log is not Raft: a leader is chosen, not elected, among those
// that hold every committed entry and reach a majority; what is under way when it goes
// may or may not be committed by the next. The network is TCP seen from above: what
// is lost comes late. A full sync takes some time and then replaces everything. An
// order that was sent may land late, by as much as its time-out and the leader's lease.
//
// What is counted and not called a mistake: replicas that follow an address on their own,
// without an order, to a master that came back with less (a Redis that is not born a
// replica; see the design), and runs that end with a question to a person, if the
// question is a fair one.
//
// Words: a class is a kind of schedule; a branch is what one master appended to the
// stream; guaranteed is what must not get lost any more, because the committed master
// acknowledged it or because the promoted replica had it; late is an order that
// landed after it was held up.
package sim
