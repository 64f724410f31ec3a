// Package demo shows a failover, or a handover, of real processes on this
// machine: three redis-servers, three watchers, and writers that follow the
// master. It prints what happens as it happens, and checks afterwards that nothing
// was lost that the promoted replica had.
package demo
