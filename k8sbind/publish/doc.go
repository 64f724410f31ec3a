// Package publish writes to Kubernetes what is committed: labels of Redis pods, the
// selector of the master Service, and Events.
//
// The story of one flip. Epoch 13 makes redis-1 the master, and Set hands that wish
// over. The worker of this master compares the wish with the informers' caches, has
// the leadership verified, and writes, in this order:
//
//  1. triwatch.io/role=master on redis-1. The Service selects one pod by its UID, so
//     that this changes no endpoints yet.
//  2. One JSON patch of each master Service: it tests the epoch annotation that was
//     read, sets it to 13, and sets triwatch.io/instance in the selector to redis-1's
//     UID. This is the flip.
//  3. triwatch.io/role=replica on the old master, the roles of the other pods, and
//     triwatch.io/reads on all of them. They change endpoints of other Services, and
//     kube-proxy syncs a node's Services once a second only: had they come first, the
//     flip would have to wait for that second. When the API refuses the flip they
//     wait for it, but for five seconds at most.
//
// triwatch.io/instance=<its own UID> is put on every pod when it is first seen, whether
// a master is adopted or not, so that the flip finds it there.
//
// Everything is derived again on every pass: at once when Set brings something new,
// within 100 ms of Check, and once a second as long as this watcher leads. Only what
// differs is written, so a pass over a settled master makes no call at all. Whatever
// somebody edits by hand is set right by the same comparison.
//
// Why a stale leader does no harm. Its leadership is verified before every batch, and
// its calls are cancelled with its leadership. A patch that is under way all the same
// tests the epoch annotation that it replaces (on pods the UID as well), and every
// write leaves the epoch it was made for. An object that carries a higher epoch than
// the wish is left alone: either a newer leader wrote it, or somebody raised it by
// hand, and this package can't tell which. A Service like that stops all role writes
// for its master, a pod only its own. It is reported once as an Event and a log line,
// and in State; a plan with an epoch above it passes it.
//
// The tests follow what the API server does (gopkg.in/evanphx/json-patch.v4): a "test"
// with value null passes when the key is absent and its parent exists. A missing parent
// is created by the same patch, behind a test that it is still missing. A refused test
// is answered with 422; the object is then read from the API itself, not from the cache.
//
// The cache lags behind our own writes. What the API returned for a write is
// remembered, and the newer of the two by resourceVersion counts, so that nothing is
// written twice. The memory is given up after five seconds, because resource
// versions go back when etcd is restored from a backup.
//
// Release gives a Service back; see there for what is left in place and why.
//
// Duties of the caller:
//
//   - Set is called for every commit that changes a wish on every watcher, or at the
//     latest before Lead: a wish outlives a leadership, and the newest one is written
//     as soon as this watcher leads;
//   - Check is called when an informer saw a pod or Service of a master change;
//   - Flips has no rate limiter. It carries the flips and the one label that comes
//     before them; Client carries everything else and may have one;
//   - Verify, Failed and Flipped are called from several goroutines. Failed and
//     Flipped must not block;
//   - the Service of the replicas selects triwatch.io/reads and not triwatch.io/role, or
//     step 1 already changes its endpoints;
//   - what Verify costs is paid once per batch, not per write.
//
// Words: a wish is a Desired, the newest committed state of one master; a pass is one
// comparison of a wish with the caches; a flip is the patch that makes a Service follow
// another pod; settled is an object on which nothing differs.
package publish
