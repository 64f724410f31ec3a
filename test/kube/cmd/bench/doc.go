// Command bench measures, in a real one-node Kubernetes, how long clients of a master
// Service cannot write when something happens to the master's pod.
//
// The story: a cluster is started, deploy/overlays/all is applied in a namespace of its
// own, and each scenario is run a number of times, first with the cluster otherwise quiet, then with
// the endpoints of another Service changing every 200 ms. Then the same is done to the
// tutorial's StatefulSet with a Service on its ordinal 0 and without any watcher, and to a Service that follows
// a label that is moved by hand. Before each strike the bench waits until all is well,
// every pod is ready and no EndpointSlice has changed for longer than kube-proxy's
// minimum time between two syncs, because that is what "quiet" means to kube-proxy.
//
// What counts is the longest time without an acknowledged write, until all is well again
// (test/writer: four connections through the Service and four through Sentinel, 400
// writes a second each); or, for a flip, the time from the accepted write of the Service,
// as a watch of the API shows it, to the first answer of the new master to a client that
// connects to the ClusterIP again and again, a millisecond apart.
//
// Medians are judged, except for lost data: there the worst run counts. A run that fails is never
// repeated or left out. A missed target is no error of the bench; a failed run is.
//
// # The caller's duties
//
// Root on Linux, a quiet machine: the load at the start is printed. Ending the bench by a signal
// prints what was measured so far. Nothing is left behind but what -json and -keep-logs
// name.
//
// # Glossary
//
// Side: triwatch, or without it. Strike: the moment at which something is done.
// Sample: what one run of one scenario with one side came to. Figure: one line
// of the table, made of many samples. Busy: with another Service's endpoints changing.
package main
