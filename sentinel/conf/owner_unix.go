//go:build unix

package conf

import (
	"os"
	"syscall"
)

// Executable reports whether this process may run what is at path, as far as its mode tells.
func Executable(path string) bool {
	const mayRun = 1 // X_OK of access(2), which is what Sentinel asks
	return syscall.Access(path, mayRun) == nil
}

// keepOwner gives f the owner and group of the file that it replaces.
func keepOwner(f *os.File, old os.FileInfo) error {
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if now, ok := info.Sys().(*syscall.Stat_t); ok && now.Uid == was.Uid && now.Gid == was.Gid {
		return nil
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}
