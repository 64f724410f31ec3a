//go:build unix

package app

import (
	"syscall"
	"time"
)

// stopSelf stops the process until somebody sends SIGCONT.
func stopSelf() error {
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(stopDelivery) // the caller must not get any further before it stands still
	return nil
}

// stopDelivery is the time in which a signal to oneself arrives for certain.
const stopDelivery = 100 * time.Millisecond
