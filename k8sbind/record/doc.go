// Package record is what the watchers of a Deployment keep in Kubernetes about
// themselves: the cluster record, the CA of their peer connections, and who of them
// lives in which pod.
//
// # The story
//
// One Secret holds it all. Whoever comes first creates it, with a fresh CA; the
// others find it. The cluster record in it is replaced by compare-and-swap on the
// resource version only. Every watcher mints its own certificate from the CA, in
// memory, and accepts peers that show one of the same CA: mutual TLS without any
// configuration.
//
// Each watcher writes its Raft ID on its own pod before it joins a cluster. So a
// member is gone for good when a fresh list of the pods, from the API server itself
// and not from a cache, has none with that ID, and none at its address that has not
// said who it is. A pod that is being deleted counts until its grace is over by ten
// seconds, by our own clock from when we first saw it: clocks are not compared.
//
// A Secret that is deleted while the cluster lives is created again by the leader
// with the same CA. Should another watcher be faster, with a CA of its own, both are
// trusted and both end up in the bundle.
//
// # The caller's duties
//
//   - Call Start before anything else and Stop at the end.
//   - Call TLS and wait for it before the election starts; it needs the API server.
//   - Give Record, Discover, Gone and Announce to election.Config.
//   - Keep the Selector in line with the Deployment's pod labels. Gone refuses to
//     answer as long as our own pod is not selected.
//
// The Role needs: pods get, list, watch, patch; secrets get, create, update.
//
// To rotate the CA, add the new certificate to ca.crt, wait a minute, replace ca.key
// by the new one's, and take the old certificate out after half a year, when all
// watchers have a new certificate, or after all have been restarted.
//
// # Glossary
//
//   - announce: write our Raft ID as annotation triwatch.io/raft-id on our pod.
//   - gone: no process with that Raft ID can be running any more.
package record
