// Package metrics shows a watcher's figures to Prometheus.
//
// The story. What is true now (who is master, what answers, is there a quorum) is
// read at each scrape from the watcher itself, so that it cannot be out of step.
// What happened (failovers, how long each phase took, what was held back) is
// counted when it is told: Event for every event that the core emits, Record for
// every record that is committed to a master's history.
//
// Duties of the caller: call Event from the runner's event hook, and Record once
// for every new record, on the leader only. Then a sum over all watchers counts each
// failover once, whoever led; counted on every watcher it would count three
// times. A watcher that starts again counts from zero, as counters do, and must
// not be fed the records that were there before.
//
// Words: redis is the label for an instance's name (host:port on hosts, the pod's
// name on Kubernetes; Prometheus uses "instance" for itself). No label holds an ID
// that changes when a pod or process is replaced, but for the epoch of
// triwatch_master_info, which is one series per master at a time.
//
// triwatch_foreign_sentinels comes with the code that hears them: until then it
// would be a constant that looks like an observation.
package metrics
