// Package lab puts the product into a real cluster: it applies the overlays of
// deploy/, watches them through the watchers' own HTTP answers, writes through the
// master Service and through Sentinel at the same time, and says how long nobody
// could write and what was lost. The end-to-end tests and the benchmark share it.
//
// # The caller's duties
//
// Enter the cluster's namespaces first (package cluster). A Set belongs to one
// Kubernetes namespace. A Load that was begun must be ended; its verdict wants a
// master that takes writes.
//
// # Glossary
//
// Set: one StatefulSet of Redis with its Services and, unless they live elsewhere,
// its watchers. Load: the two writers of one scenario. Well: every watcher agrees, the
// Service follows, all replicas are in sync.
package lab
