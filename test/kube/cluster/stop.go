package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Stop ends every process that the cluster has started, with its pods, and
// removes its mounts, cgroups, network and files. A second call does nothing harmful.
// After Stop, Start works again.
func (c *Cluster) Stop(ctx context.Context) error {
	var all []error
	// Nobody may restart a pod, make a new one or clean up after one once pods are
	// being ended: the latest components go first.
	order := slices.Clone(components)
	slices.Reverse(order)
	for _, name := range order {
		all = append(all, c.StopComponent(ctx, name, syscall.SIGKILL))
	}
	c.waiting.Wait()
	all = append(all, c.endPods(ctx), unmountBelow(c.dir), removeCgroups(c.dir), c.removeNetwork(ctx), c.removeFiles())
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("stop cluster: %w", err)
	}
	return nil
}

// endPods kills every process in the containers' cgroups, and the shims that hold them.
func (c *Cluster) endPods(ctx context.Context) error {
	return c.pollGone(ctx, "pods to end", func() ([]int, error) {
		pids, err := c.podProcesses()
		if err != nil {
			return nil, err
		}
		shims, err := processesNamed("containerd-shim")
		if err != nil {
			return nil, err
		}
		for _, pid := range append(pids, shims...) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, fmt.Errorf("kill process %d of a pod: %w", pid, err)
			}
		}
		return append(pids, shims...), nil
	})
}

// podProcesses are the processes in the containers' cgroups.
func (c *Cluster) podProcesses() ([]int, error) {
	dirs, err := cgroupDirs(c.dir)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue // it went away meanwhile
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// processesNamed are the processes of this pid namespace with a name that starts
// so. Only this run's processes are in it.
func processesNamed(start string) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, path := range paths {
		name, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(name), start) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// pollGone calls left until it finds nothing left.
func (c *Cluster) pollGone(ctx context.Context, what string, left func() ([]int, error)) error {
	var pids []int
	// The components have been told to end, so that poll does not take them for dead.
	err := c.poll(ctx, what, func() (bool, error) {
		var err error
		if pids, err = left(); err != nil {
			return false, err
		}
		return len(pids) == 0, fmt.Errorf("processes %v are there", pids)
	})
	return err
}

// removeNetwork takes back what makeNetwork and kube-proxy have made, for a next Start.
func (c *Cluster) removeNetwork(ctx context.Context) error {
	links, err := run(ctx, nil, "ip", "-o", "link", "show")
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(strings.NewReader(links))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(fields[1], ":"), "@")
		if name == "lo" || strings.Contains(lines.Text(), "link/none") || strings.Contains(lines.Text(), "link/ipip") {
			continue
		}
		// A link that went with its other end is gone already.
		_, _ = run(ctx, nil, "ip", "link", "delete", name)
	}
	_, err = run(ctx, nil, "nft", "flush", "ruleset")
	return err
}

// removeFiles empties the state directory, but for what is mounted since before Start.
func (c *Cluster) removeFiles() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("remove files: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == "sysctl" {
			continue
		}
		if err := os.RemoveAll(c.path(entry.Name())); err != nil {
			return fmt.Errorf("remove files: %w", err)
		}
	}
	return nil
}
