// Package k8sbind is what triwatch and Kubernetes say to each other. This package
// holds the names; the packages below it do the work:
//
//   - watch reads: StatefulSets with an annotation, their pods, their Services and
//     passwords become settings and an inventory for the core;
//   - publish writes: labels, Service selectors and Events follow what is committed;
//   - record keeps the watchers' own cluster record, certificates and membership.
//
// The truth is the committed state; everything here is either input to it or derived
// from it. None of these packages decides anything about a master.
package k8sbind
