// Package trio starts watchers as real processes on loopback: for the demo, the
// process tests and the benches. A Trio is any number of triwatch processes, each
// with its sentinel.conf and data directory, that know each other as peers; a
// watcher can be killed, ended, started again, or lose its store.
//
// The caller owes a Stop.
package trio
