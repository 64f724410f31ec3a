// Package httpapi answers over HTTP: probes for whoever runs the process, metrics,
// and the state of all masters as JSON, from which the command line makes its
// tables.
//
// The story of a request. A read asks the Source for the leader's view, because
// only the leader has heard all watchers; if the leader does not answer within a
// second, this watcher's own view is shown and marked stale. Losing the quorum
// never takes the answers away. A write first passes the guard: it comes from this
// host or carries the token, and no web page sent it. Then it waits for the
// outcome, which may be that nobody knows: a handover whose leader died may
// still happen, so it is not reported as failed.
//
// Duties of the caller: implement Source on top of the runner and the election,
// call Shutdown after Start, and give probes of an orchestrator /livez (does the
// loop turn?) and /readyz (does this watcher take part?), never /healthz, which
// is about the masters and which a restart does not mend.
//
// Words: what goes over the wire has types of its own (wire.go) that change only by
// addition; a standing heads every answer and says who answers and whether it is
// stale; a ref names an instance by ID, name and address; epochs are written as
// people see them ("13", or "1.13" in generation 1) and as a number beside.
package httpapi
