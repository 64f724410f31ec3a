//go:build !linux

package cluster

// Enter has turned down the run before it could come here.

func runOuter(string) (int, error)        { return 2, ErrUnsupported }
func runInit() (int, error)               { return 2, ErrUnsupported }
func lockFile(string) (func(), error)     { return nil, ErrUnsupported }
func cgroupDirs(string) ([]string, error) { return nil, ErrUnsupported }
func removeCgroups(string) error          { return ErrUnsupported }
func unmountBelow(string) error           { return ErrUnsupported }
