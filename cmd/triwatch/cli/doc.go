// Package cli holds the commands that ask a watcher, or tell it what to do:
// status, history, check, handover, failover, peers and version.
//
// The story. Every command speaks HTTP to one watcher, by default the one on this
// host, and prints a table or, with -o json, what the watcher answered. The watcher
// passes a wish on to the leader, so any of them will do. When the watchers have no
// quorum the first line says so, and below the table stands what a person can do
// by hand, with the real addresses, and what triwatch will do once it is back.
//
// Duties of the caller (main): add the commands to a root made with NewRoot, run
// it with a context that ends on a signal, print what is left to say with Report,
// and exit with ExitCode.
//
// Words: the exit codes are 0 fine, 1 error, 2 usage, 3 no quorum, 4 refused (the
// watcher understood and says no, with the reason).
package cli
