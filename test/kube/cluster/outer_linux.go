package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// hidden are the directories with fixed names that containerd and kubelet write
// to; each run sees an empty one of its own in its mount namespace.
var hidden = []string{"/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"} // constant

const netnsDir = "/var/run/netns"

// runOuter makes the namespaces, starts process 1 in them, hands signals on to
// it and cleans up after it. It returns the exit code of the innermost run.
func runOuter(bin string) (code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 2, fmt.Errorf("find this program: %w", err)
	}
	name, err := ownName()
	if err != nil {
		return 2, err
	}
	p := place{name: name, dir: filepath.Join(os.TempDir(), name), bin: bin}
	if err := p.prepare(); err != nil {
		return 2, errors.Join(err, p.remove())
	}
	// The kernel sends the parent's death signal when the thread that started the
	// child ends, so this has to stay on the thread that lives as long as the program.
	runtime.LockOSThread()
	cmd := exec.Command("nsenter", append([]string{"--net=" + filepath.Join(netnsDir, name), self}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), envStage+"=init", envDir+"="+p.dir, envBin+"="+p.bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // Ctrl-C comes to the outer run alone, which hands it on once
	}
	code, err = runForwarding(cmd)
	return code, errors.Join(err, p.remove())
}

// runForwarding runs cmd, hands it the signals that end a program, and returns its exit code.
func runForwarding(cmd *exec.Cmd) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 2, fmt.Errorf("start this program in new namespaces: %w", err)
	}
	over, forwarded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(forwarded)
		for {
			select {
			case s := <-signals:
				// It fails only where the child has just ended, which Wait tells.
				_ = cmd.Process.Signal(s)
			case <-over:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(over)
	<-forwarded
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 2, fmt.Errorf("run this program in new namespaces: %w", err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// prepare makes what the outer run owns, after removing what dead runs have left.
func (p place) prepare() error {
	unlock, err := lockFile(filepath.Join(p.bin, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := sweep(); err != nil {
		return err
	}
	for _, dir := range append([]string{p.dir}, hidden...) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("prepare cluster: %w", err)
		}
	}
	if out, err := exec.Command("ip", "netns", "add", p.name).CombinedOutput(); err != nil {
		return fmt.Errorf("create network namespace %s: %w: %s", p.name, err, out)
	}
	return nil
}

// remove undoes prepare. The processes and mounts of the run are gone by then.
func (p place) remove() error {
	unlock, err := lockFile(filepath.Join(p.bin, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeRun(p.name); err != nil {
		return err
	}
	names, err := runs()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return nil // removing a directory would take it from under another run's mount
	}
	if entries, err := os.ReadDir(netnsDir); err == nil && len(entries) == 0 {
		// ip mounts the directory on itself for its first namespace and leaves it so.
		_ = syscall.Unmount(netnsDir, 0)
	}
	parents, err := filepath.Glob("/sys/fs/cgroup/*/k8s.io")
	if err != nil {
		return fmt.Errorf("list cgroups: %w", err)
	}
	for _, dir := range append(append(parents, "/sys/fs/cgroup/k8s.io", netnsDir), hidden...) {
		// Only an empty directory goes. One with something in it belongs to somebody else.
		_ = os.Remove(dir)
	}
	return nil
}

// ownName is the name of this run. It names its outer process for good: the pid, the
// start time, and the pid namespace in which the pid means something.
func ownName() (string, error) {
	started, err := startTime(os.Getpid())
	if err != nil {
		return "", err
	}
	space, err := pidNamespace()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%d-%s-%s", prefix, os.Getpid(), started, space), nil
}

// gone says whether name is that of a run of this pid namespace whose outer process has ended.
func gone(name, space string) bool {
	parts := strings.Split(strings.TrimPrefix(name, prefix), "-")
	if len(parts) != 3 || parts[2] != space {
		return false // whether it lives can't be known from here
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	started, err := startTime(pid)
	return err != nil || started != parts[1]
}

// sweep removes what is left of runs whose outer process is gone.
func sweep() error {
	names, err := runs()
	if err != nil {
		return err
	}
	space, err := pidNamespace()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !gone(name, space) {
			continue
		}
		if err := removeRun(name); err != nil {
			return fmt.Errorf("sweep up after a run that was killed: %w", err)
		}
	}
	return nil
}

// runs are the names of all runs that have left something on the machine.
func runs() ([]string, error) {
	seen := make(map[string]bool)
	var names []string
	for _, pattern := range []string{filepath.Join(os.TempDir(), prefix+"*"), filepath.Join(netnsDir, prefix+"*")} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("list runs of clusters: %w", err)
		}
		for _, path := range paths {
			if name := filepath.Base(path); !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// removeRun removes the namespace's name, the cgroups and the state directory of one run.
func removeRun(name string) error {
	ns := filepath.Join(netnsDir, name)
	if _, err := os.Stat(ns); err == nil {
		if err := syscall.Unmount(ns, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("unmount network namespace %s: %w", name, err)
		}
		if err := os.Remove(ns); err != nil {
			return fmt.Errorf("remove network namespace: %w", err)
		}
	}
	dir := filepath.Join(os.TempDir(), name)
	if err := removeCgroups(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	return nil
}
