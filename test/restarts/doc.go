// Command restarts kills Redis masters and brings them back, hundreds of times, and counts what is left of their data.
//
// The story: one trio of real watchers watches several groups of three real redis-servers. In each group, again and again: a
// thousand keys with new values are written and are on every copy; the master is killed with SIGKILL; after a delay it is started
// again on its port and in its directory, with what its persistence left there; when everything is settled (the watchers agree
// on one master without an open plan, all others are in sync with it) the keys of every copy are read again, and
// the watchers' history says what they did and why. The groups differ in what their instances boot as, in what the replicas
// follow, and in persistence: see Variant.
//
// A key counts as kept if the last value that was written is there: an old dump.rdb that won would have a thousand keys, too.
// A restart counts as lost if any copy misses any key when all is settled. Nothing is repeated or left out: a
// group that doesn't settle is a failed restart, and the rest of its restarts are counted as not made.
//
// # The caller's duties
//
// Linux or macOS with redis-server 7 in PATH. Ending the program by a signal prints the table of what was done so
// far; all child processes end with it.
//
// # Glossary
//
// Born replica: started with --replicaof 127.0.0.1 0. Boots as master: started without it. Strike: the kill. Delay: from the end
// of the old process to the start of the new one. Wiped: keys are gone from a copy that had them.
package main
