// Command bench measures triwatch beside redis-sentinel on this machine.
//
// The story: every scenario is run a number of times for both, in turn, so that whatever else the machine does hits both. Each
// run has three redis-servers and three watchers of its own, the same sentinel.conf for either kind, and eight writers at full
// load (test/writer). Then something happens to the master: it is killed, frozen, moved in order, or killed together with a
// watcher. What counts is the longest time without any acknowledged write that ended after the strike, and how many of the
// acknowledged writes the final master does not have. A go-redis FailoverClient with default options runs beside the writers of
// two scenarios, because that is what most programs see. Then three hundred small redis-servers make a hundred masters, and the
// processor time and memory of one watcher are read from /proc. Beside these, kill is run once more with ten thousand idle clients at the
// watchers' doors and some that mean no good, the time from the promotion to +switch-master at every watcher's subscribers is
// taken, and redis-benchmark asks one watcher for the master's address. A scenario of its own, busy, is not in the default set: it takes
// ten minutes in which nothing may happen, and a kill after which something must.
//
// Medians are judged, except where a single bad run is a broken promise (lost writes, wrong failovers): there the worst counts.
// A run that fails is never repeated or left out: its reason is printed, what it measured still counts, and the figure is missed.
//
// # The caller's duties
//
// A quiet machine: a warning is printed where the load at the start says otherwise. Linux, for the processor times. Ending the
// bench by a signal prints what was measured so far; all child processes end with it.
//
// # Glossary
//
// Side: redis-sentinel or triwatch. Strike: the moment at which something is done to the master. Sample: what one run of one
// scenario with one side came to. Figure: one line of the table, made of many samples. Pause before: the longest gap before the
// strike, which is this machine's noise; a gap below it says little.
package main
