// Package redisproc runs real redis-server and redis-sentinel processes on loopback for tests, the demo and the bench.
//
// The story: Start picks a free port, starts the process with persistence off and waits until that very process (not another
// one on the same port) answers. Then it can be killed, frozen, thawed and restarted, with or without its data, as often as a
// scenario needs. On Linux the kernel ends the processes when their parent dies, however it dies.
//
// # The caller's duties
//
// Call Stop on every Server, also after Kill; it joins what Start began and takes a temporary directory away. The context given
// to Start bounds the start only, not the life of the process. The package does not import testing.
//
// # Glossary
//
// Freeze: SIGSTOP; connections stay open and the kernel still accepts new ones, but nothing is answered. Thaw: SIGCONT. Empty:
// restarted without the files of its last life.
package redisproc
