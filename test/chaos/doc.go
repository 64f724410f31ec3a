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
// A schedule follows from a seed. It has rounds; a round has faults that may overlap and
// are all undone by themselves. Then the lab must become writable again within ten
// seconds and entirely well within sixty, and everything acknowledged so far is looked
// for on all three. Rounds that are called calm forbid any plan.
//
//	go test ./test/chaos -run TestChaos -chaos.seed 7 -chaos.time 5m -v
//	go test ./test/chaos -run TestChaos -chaos.file FILE -chaos.time 1m -v
//
// runs the schedules of seed 7, 8, ... until the time is over, or the one of a file. When one fails, its text, with the
// reasons, and a timeline are kept in a directory that is printed: faults, what all six
// processes logged, what watchers told, all stamped with one clock. A schedule whose failure was mended goes to
// testdata/schedules, where it is run again with every chaos run.
//
// # What is checked
//
// A lost write is followed from master to master: in a handover the next one must have
// it; in a failover if it was seen there, in the same life of the process, before; what
// WAIT said that all replicas have must survive everything, because only one copy is
// ever destroyed in a round. Epochs never go back at any watcher, and an epoch has one
// master for all. A deposed master does not acknowledge anything three seconds after it
// was deposed, if nothing has hindered the watchers for as long. No process ever has
// less than half of the keys that it had. The Redis of a stranger at a member's address
// keeps its data. Readers go back only around a failover.
//
// # Faults, and what is not possible
//
// Ways are cut, and packets lost, by nftables where they arrive. Delay comes from
// NFQUEUE and a reader in this package rather than from netem, which many small kernels
// do not have; there is no reordering and no duplication. A wall clock jumps
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
