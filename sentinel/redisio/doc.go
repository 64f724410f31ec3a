// Package redisio is the go-redis adapter of package sentinel: it turns Redis'
// answers and silences into sentinel.Probe values and carries out sentinel.Do.
//
// # The story
//
// Every watched instance has a prober with two connections. On the command
// connection a loop sends PING, and PING together with INFO when an INFO is due.
// The listening connection is subscribed to a channel on which nobody speaks and
// is always being read: when the process behind it dies, the read ends within a
// fraction of a millisecond. Either connection's end retires both and leads to
// one redial at once, whose outcome is emitted as a Probe with Lost set: refused
// is the evidence of a crash, accepted (with a full INFO, since another process
// may answer now) is no harm.
//
// What is asked out of turn (sentinel.ProbeNow) goes over the command connection
// if that is free and over a short-lived connection of its own if it hangs or
// if a listener is to be proved. Writes (sentinel.Do) have connections of their
// own, so that neither waits for the other. They begin with a read, which makes
// them idempotent, finds dead connections before anything depends on them, and
// lets a failure before the write be told from one after it.
//
// go-redis retries, redials, waits and backs off on its own, also where it is told
// not to: PubSub.Receive redials before it returns the error (and has 64 KiB of
// buffers per connection, not to be configured), and a pool whose dial failed goes
// on dialing every second in the background. Therefore this package dials itself
// and gives go-redis exactly one connection per client; its second dial always
// fails at once. The listening connection is go-redis' for the handshake and
// SUBSCRIBE, then it is read directly. Deadlines are set on the connection by us,
// one per exchange.
//
// # The caller's duties
//
//   - Options.Emit is called from many goroutines and must return quickly; it may be
//     called until Close has returned.
//   - Watch, ProbeNow and SetCredentials return at once. Do blocks; call it in a
//     goroutine, in the order of the actions for one instance, and with a context
//     that ends with leadership.
//   - A Probe names the address that it is about. One of an address or instance that
//     is no longer watched can still be emitted just after Watch.
//   - Call Close once; it joins every goroutine.
//   - go-redis has one logger for the whole process; redis.SetLogger is the main
//     program's to call. Nothing is logged by it in the paths used here.
//
// # What the ACL user needs
//
// PING, INFO, SUBSCRIBE to the channel WatchChannel (without it the listening
// connection is read all the same, but ends after the server's idle `timeout`),
// CLIENT (SETNAME, PAUSE, UNPAUSE, KILL), CONFIG (GET, SET, REWRITE), REPLICAOF
// or SLAVEOF, and ACL DRYRUN and COMMAND INFO (before Redis 7 ACL GETUSER), by which it is
// found out what is missing: 200 ms after a connection was made, then every minute, in
// an exchange of its own that follows a probe and delays none. What is not told counts as allowed.
//
// # Glossary
//
// Link: one TCP connection with a go-redis client that can use nothing else. Wire:
// the net.Conn inside, which notes how it ended. Retire: close a connection
// ourselves, so that its end means nothing. Lost: the other side ended it.
// Short-lived: made for one probe and closed after it.
package redisio
