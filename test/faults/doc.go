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
// Targets are members (r1 to r3, w1 to w3) or the role that somebody has when the event
// begins: master, replica and other (the two replicas), replicas, redis, leader, follower,
// watchers, all; several are joined by commas.
package faults
