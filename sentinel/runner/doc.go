// Package runner is the one loop that owns a watcher's state. Whatever happens,
// a probe's outcome, a message of another watcher, a committed command, a
// person's request, lands in its mailbox; the loop takes the entries one by one,
// lets the core decide (sentinel.Router.Step), and has the actions carried out by
// the adapters it was given.
//
// What writes runs beside the loop and under the leadership's context: losing the
// leadership cancels everything in flight, and no write to Redis is sent unless
// the leadership was verified within half a leader lease. Its outcome comes back
// through the mailbox like everything else.
//
// Duties of the caller: call Start once and Stop once; Lead with a context that
// ends with the leadership; Applied in log order. All methods may be called from
// any goroutine; none but Request and View waits for the loop.
//
// Words: the mailbox is the queue of inputs; a frame is one message to another
// watcher and carries everything that one pass had to say to it.
package runner
