//go:build !unix

package notify

import "os/exec"

// ownGroup does nothing here: a program is killed, its children are not.
func ownGroup(*exec.Cmd) {}
