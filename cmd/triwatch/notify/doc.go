// Package notify tells the world outside of a watcher what happened to its masters, and
// asks it before an automatic failover.
//
// On hosts the notification and client reconfiguration scripts of sentinel.conf are run as
// Redis Sentinel 7 runs them: with its arguments, at most 16 at a time from a queue of
// at most 256, killed after a minute, tried up to ten times with a growing pause if they
// end with 1 or by a signal. A webhook gets the same events as JSON, from the leader only,
// in their order for each master. What is asked before a failover is a program or a
// URL; only a clear veto is one.
//
// Duties of the caller: Start once, Stop once; Event from one goroutine, in the order in
// which things happened. Event never waits: what cannot be queued is dropped, counted and
// logged. All other methods may be called from any goroutine, before Start and after
// Stop too.
//
// Words: a target is what is configured for one master; a job is one script that waits
// to be run, or runs; a lane is the queue of one master's webhook; to ask is what is done
// before a failover.
package notify
