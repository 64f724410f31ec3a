// Package writer is the load that all suites use to say how long clients could not write and what they lost.
//
// The story: some raw connections write as fast as they are let, each key once, with a value that names connection and sequence.
// Time-outs are short and nothing is retried behind the caller's back, because a client library turns an outage of 1.6 s into one
// of 2.6 s. After an error a connection is dropped, the master's address is asked for again, and after one millisecond it goes
// on. Two things come out: the longest time in which no connection at all got an acknowledgement, start and end of the run
// included, and the exact set of acknowledged keys, which Verify looks for on the final master.
//
// A write that was sent and got no reply may or may not have happened; it is counted as Unknown and never as acknowledged. A
// transaction is acknowledged by the reply to EXEC, not by QUEUED.
//
// # The caller's duties
//
// A Writer runs once. Run returns within a few time-outs after its context ended or the duration is over, and by then has joined
// all that it started; the last replies still count as acknowledged. Verify comes after Run and must be given the final master.
// Without a Rate the writers take all the CPU that they can get; with one, gaps shorter than the distance of two writes can't be
// seen.
//
// # Glossary
//
// Gap: a time without any acknowledged write over all connections. Mode: how a connection sends (single, pipelined, multi).
// Batch: the writes that go out together. Resolver: who knows the master's address.
package writer
