//go:build unix

package app

import "syscall"

// stopSelf stops the process until somebody sends SIGCONT.
func stopSelf() error { return syscall.Kill(syscall.Getpid(), syscall.SIGSTOP) }
