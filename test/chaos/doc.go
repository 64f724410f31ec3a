// Package chaos runs three real redis-servers and three real watchers on a network of
// their own, lets everything go wrong, and holds what clients saw against what is
// promised.
//
// A schedule is played by a process of its own in new namespaces for network, mounts
// and processes. There it makes seven network namespaces, one for each member and one
// with a bridge that has no way out. It is the client itself: four writers and two readers who ask
// the watchers, a writer pinned to each Redis whatever that Redis is, samplers that
// note what every member says ten times a second. Since it is the first process of its
// namespace and all names and mounts are private, nothing is left when it ends, however
// it ends; the directory of a run that was killed is swept by the next.
//
// A schedule follows from a seed; package faults has its format. After each round the lab must
// become writable again within ten seconds and entirely well within sixty, and
// everything acknowledged so far is looked for on all three. These bounds contain four
// times what this machine stood still meanwhile.
//
//	make chaos SEED=7 TIME=5m
//	make chaos FILE=schedule.txt TIME=5m
//	make chaos-ci
//
// runs the schedules of seed 7, 8, ... until the time is over; or the one of a file, again and
// again, because the same faults are not the same run; or ten minutes of schedules that nobody has
// seen, of which each is printed with its seed. When one fails, its text, with the reasons, and a
// timeline go to a directory below bin/chaos-failed, which is printed with the commands to replay
// it here and in the simulation, and to keep it: faults, what all six processes logged, what
// watchers told, all stamped with one clock. A schedule whose failure was mended goes to
// testdata/schedules, where it is run again with every chaos run, and in test/sim with every test.
//
// # What is checked
//
// A lost write is followed from master to master: in a handover the next one must have
// it; in a failover if it was seen there, in the same life of the process, before; what
// WAIT said that all replicas have must survive everything, because only one copy is
// ever destroyed in a round. Epochs never go back at any watcher, not even over its restarts, an
// epoch has one master for all, and the histories of all watchers tell the same of it for
// ever. A process that the watchers say was fenced acknowledges nothing that was sent
// after it was deposed, whatever happens; a handover always fences. A deposed master that could not
// be fenced does not acknowledge anything three seconds after it was deposed, if nothing has
// hindered the watchers for as long: neither one watcher that is gone nor clocks are an excuse.
// No process ever has less than half of the keys that it had, nor loses one of those that all had
// from the beginning. The Redis of a stranger at a member's address keeps its data, and no
// member gets it. Readers go back only around a failover. When all Redis were ended at once, nobody
// has less afterwards than the best disk. Every rule has a test that feeds it a bad history.
//
// # Faults, and what is not possible
//
// Ways are cut, and packets lost, by nftables where they arrive. Delay and another order come
// from NFQUEUE and a reader in this package rather than from netem, which many small kernels
// do not have; there is no duplication. A watcher whose store is gone is another watcher:
// until it has joined it tells what its file says, which is not held against it. A wall clock jumps
// in one running watcher only, see skew; other than the real thing this does not move
// timers that the kernel keeps on the wall clock, of which Go uses none. A monotonic
// clock cannot jump while a process runs, it is another one after the start instead. The drift of clocks
// is not played. A full disk is a full tmpfs: fsync costs nothing and never fails
// there, and slow disks are not played. Starvation is busy processes for five seconds at most, because other
// people use the machine; when this process itself gets no processor for 200 ms, a calm
// round is not judged.
//
// What is documented as not promised is counted, not called a mistake: writes that the promoted replica never
// had, and what clients write to a stranger.
//
// # Words
//
// Life: one process of a member, counted from 1. Durable: a key that WAIT vouched
// for. Move: a failover or handover of the watchers' history. Told: what a watcher answers to
// SENTINEL MASTER. Stranger, foreign: a Redis with other data at a member's address.
package chaos
