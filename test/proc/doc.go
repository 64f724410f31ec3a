// Package proc runs child processes for the test programs: servers, watchers,
// load. A child is started once, is always waited for, and dies with its parent.
//
// The caller owes every Process a Stop or Kill.
package proc
