// Package faults says what goes wrong, and when: schedules of faults as text, made
// from a seed or read from a file. It plays nothing. Two worlds do: test/chaos with real
// processes in network namespaces, and test/sim in virtual time, so that a
// schedule that failed in one is tried in the other.
//
// A schedule has rounds. The events of a round may overlap, each undoes itself when its
// time is over, and then the world has to become well again before the next
// round. In a round that is called calm no plan may be begun.
//
//	seed 912
//	persist rdb
//	round
//	  0.3s kill master for 500ms
//	  2.5s cut leader watchers for 1s
//	round calm
//	  0.1s freeze w3 for 2s
//
// What the two worlds make of each kind:
//
//	kill, restart   SIGKILL, SIGTERM; a leader that is asked to end     process gone, connections reset; a leader that is
//	                hands over first                                    asked hands over first
//	empty           files removed; a watcher gets a new identity        nothing on disk; a watcher has no vote until it caught up
//	reuse           another redis-server, 50 000 keys                   another process with data of its own
//	freeze          SIGSTOP                                             answers nothing, finds its mail when it thaws
//	cut, oneway     nftables, where packets arrive                      ways blocked; what was on its way comes later or never
//	lose            nftables                                            retransmissions of 200 ms and more
//	delay, jitter   NFQUEUE (netem does the same, where it exists)      later by a fixed or a random time
//	clock           wall clock of a running process, in its vDSO        the wall clock that a step is given
//	boot            a time namespace                                    another monotonic clock, with every start
//	full            a small tmpfs, filled                               no entry of the log is taken, no leadership
//	starve          busy processes                                      everybody stands still for up to 150 ms, in turn
//	hangup          CLIENT KILL                                         connections reset
//	handover        HTTP                                                the request itself
//	failover        SENTINEL FAILOVER                                   the request itself
//	idle            clients pause                                       clients pause
//
// test/sim has kinds of its own besides: orders that land late, leadership that moves,
// hosts that vanish without a word, other numbers of watchers and instances, and Redis that
// follow the command line or what CONFIG REWRITE wrote. What only the real world has:
// Raft's own elections, TCP, the kernel, go-redis, and time that is not exact.
//
// Targets are members (r1 to r3, w1 to w3) or the role that somebody has when the event
// begins: master, replica and other (the two replicas), replicas, redis, leader, follower,
// watchers, all; several are joined by commas.
package faults
