package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// startTime is when a process started, in clock ticks since boot: together with
// the pid it names a process for good. See proc(5), stat, field 22.
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	// The second field is the name in parentheses, which may have spaces in it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("read start time of process %d: %q has too few fields", pid, text)
	}
	return fields[19], nil
}

// pidNamespace is the number of this program's pid namespace.
func pidNamespace() (string, error) {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", fmt.Errorf("find pid namespace: %w", err)
	}
	return strings.Trim(strings.TrimPrefix(link, "pid:"), "[]"), nil
}

// lockFile waits for the lock on a file, and returns what gives it back.
func lockFile(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing gives the lock back
}

// cgroupDirs are the cgroups of the containers of the run whose state directory is
// dir, children before their parents. containerd makes one per container in each
// controller's directory of cgroup v1, or one in the only directory of v2.
func cgroupDirs(dir string) ([]string, error) {
	containers, err := filepath.Glob(filepath.Join(dir, bundles, "*"))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var roots []string
	for _, container := range containers {
		for _, pattern := range []string{"/sys/fs/cgroup/k8s.io/", "/sys/fs/cgroup/*/k8s.io/"} {
			found, err := filepath.Glob(pattern + filepath.Base(container))
			if err != nil {
				return nil, fmt.Errorf("list cgroups: %w", err)
			}
			roots = append(roots, found...)
		}
	}
	var dirs []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
	}
	slices.Reverse(dirs)
	return dirs, nil
}

// removeCgroups removes the cgroups of the containers of a run. A killed process keeps its cgroup
// busy until the kernel has reaped it, so this tries for some seconds.
func removeCgroups(dir string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		dirs, err := cgroupDirs(dir)
		if err != nil {
			return err
		}
		var last error
		for _, cgroup := range dirs {
			if err := os.Remove(cgroup); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = err
			}
		}
		if last == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup: %w", last)
		}
		time.Sleep(20 * time.Millisecond) // there is nothing to wait on
	}
}
