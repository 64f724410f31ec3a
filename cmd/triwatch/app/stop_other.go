//go:build !unix

package app

import "errors"

func stopSelf() error { return errors.New("there is no SIGSTOP on this system") }
