// Package wire is the smallest Redis client that can be trusted not to hide anything: one TCP connection, RESP2, no retry, no pool.
//
// The story: the load writer and the process helpers measure what Redis does. A client library that retries, redials or backs off
// measures itself. Here every read and write has a deadline, and after any error but a Redis error reply the connection is
// broken for good: the reply that was not read would be taken for the answer to the next command.
//
// # The caller's duties
//
// A Conn is used by one goroutine at a time (Close may be called from another). After Receive, Do or Flush returned an error,
// Close it and dial again.
//
// # Glossary
//
// Error reply: a Redis "-..." line, which arrives as a Reply of Kind Error and not as a Go error.
package wire
