// Package conf reads a sentinel.conf as Redis Sentinel 7.0 writes it and rewrites it so that Redis Sentinel still starts with it.
//
// The story: a person stops redis-sentinel and starts triwatch with the same file; should they want to go back, they do the
// opposite. So Parse accepts what Sentinel accepts, in Sentinel's order (global directives and `sentinel monitor` lines are
// looked at before the lines that name a master, wherever they stand), with Redis' quoting. What triwatch does not use is kept
// and listed in File.Warnings. What would silently make the daemon less safe than Sentinel was (TLS, ACL users of the default
// user, protected mode, renamed commands) is an error instead. File.Rewrite changes only the lines that a watcher owns and keeps
// every other byte: comments, order, quoting.
//
// # The caller's duties
//
// Parse is pure: hosts are not resolved, scripts are not looked for, the quorum is not compared with the number of peers. A
// File holds passwords in the clear, so it must not be logged; errors and warnings never contain one. A File is not changed
// after Parse and may be shared; Rewrite only reads it. After a successful WriteAtomic the caller goes on with the same File:
// Rewrite of a later State gives the same result as it would on a freshly parsed file.
//
// # Glossary
//
// Directive: the first word of a line, or the first two when the first is "sentinel". Owned line: one that Rewrite may change or
// add (myid, monitor, config-epoch, leader-epoch, current-epoch, known-replica, known-slave, known-sentinel). Epoch: Sentinel's
// config-epoch; triwatch uses all 64 bits of it.
package conf
