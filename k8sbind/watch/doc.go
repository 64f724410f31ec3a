// Package watch reads Kubernetes and turns what it finds into one Snapshot: the
// annotated StatefulSets as masters, their pods as instances, their Services and
// passwords, and everything that is wrong with them in words for people.
//
// Informers keep a copy of the StatefulSets, pods and Services of each namespace,
// and of the few Secrets that are named in an annotation. Whatever changes wakes
// one goroutine, which derives the whole snapshot again from those copies and
// hands it on if it is not equal to the last one. There is no queue with a rate
// limit and no polling between a watch event and the caller: a deletion that the
// API server tells is handed on within a few milliseconds. Changes that arrive
// while a pass is under way are taken together by the next one.
//
// An API server that is away changes nothing: the copies stay, and calls are made
// again after 100 ms, doubled up to 1 s (5 s where access is denied). These
// retries are made below client-go's reflector, whose own pause grows to a minute
// and cannot be set for a shared informer. What remains of it is the one pause
// of 0.8 to 1.6 s before it lists again when the server has forgotten the
// version from which a watch should go on.
//
// A namespace that can't be read fails alone: Options.Errors tells, the snapshot
// is Unsure, and the other namespaces go on.
//
// Duties of the caller: New, Start once, Stop once; never call Stop from a
// callback. What the callbacks and accessors hand out is shared and must not be
// changed. Snapshot.Unsure must be passed on, because what is missing from an
// unsure snapshot may exist all the same. The service account needs get, list and
// watch on pods, services and statefulsets in each namespace, and on the named
// secrets; nothing of the cluster's own is ever read.
//
// Words: a pass is one derivation of the snapshot; a good value is the last value
// of a setting that could be read, which stays in force while a malformed one
// stands in its place; a problem settles when it has lasted long enough not to be
// the gap between two objects of one kubectl apply; a pod is gone when it should
// have ended long ago and nothing says that it still runs.
package watch
