// Package resp serves the Redis Sentinel protocol, so that every client and
// tool that knows Sentinel finds the master through triwatch.
//
// # The story
//
// A client connects, maybe says HELLO and AUTH, and asks
// SENTINEL get-master-addr-by-name. Most then SUBSCRIBE to +switch-master and
// keep quiet for months. The port is open to whoever reaches the host, so
// nothing that a client merely announces costs memory: the codec keeps the
// bytes that have arrived, up to a limit that is tighter before AUTH, and every
// connection counts against server-wide budgets.
//
// One goroutine reads a connection, runs its commands one after the other and
// writes the replies. The first subscription gives the connection a second
// goroutine that drains its output queue. Publish only appends to such queues:
// it never waits for a socket, and a subscriber whose queue is full is cut off.
// A message is encoded once per protocol version and flushed at once, because
// Publish of +switch-master is the last step of a failover.
//
// Reply shapes, argument checks and error texts are those of redis-sentinel
// 7.0.15, compared side by side in the tests. CLIENT SETINFO (Redis 7.2) is
// there besides, because client libraries send it unasked.
//
// # The caller's duties
//
//   - Implement [Backend]. docs/sentinel-compatibility.md says what may differ from Sentinel. All of its methods are called concurrently, from one
//     goroutine per connection. MasterAddr is the hot one and must not wait for
//     anything; the others answer from memory; Failover may block until its
//     context ends, and has to end with it.
//   - Call [Server.Serve] for each listener, [Server.Publish] for each event,
//     and [Server.Stop] once. Stop joins every goroutine of the server.
//   - Give Publish its events in order: each subscriber sees them in the order
//     of the calls.
//
// # Glossary
//
//   - bulk: a string with its length in front; multibulk: an array of bulks, the
//     form in which clients send commands; inline: a command typed as a line.
//   - push: RESP3's out-of-band array, which carries published messages.
//   - subscriber: a connection with at least one channel or pattern.
//   - budget: a number of bytes that all connections share.
//   - ready, sdown, odown: flags of an instance, see [Flags].
package resp
