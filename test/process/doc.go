// Package process holds the tests that run the whole program: real redis-servers,
// real triwatch processes, real signals.
//
// Every test starts its own masters, replicas and watchers on loopback, does
// something to them, and waits until all of them say what they have to say. The
// watchers are the program as it is built by `go build`, once for a run. The load is
// test/writer's, with a rate, so that several tests fit on a small machine.
//
// What may not happen is watched for a while ("stays"), what must happen is waited
// for with a bound that a slow machine keeps, too. When a test fails it prints the
// end of every watcher's log and what every Redis says of its replication. It is
// repeated only if the machine itself stood still meanwhile, see scenario.
package process
