package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Logs writes to dir all that helps to understand a failure: the log of each
// component and container, the events, all objects, descriptions of the pods, the rules of
// kube-proxy and the connections that it tracks. It goes on where a part can't be had; the part's
// file then has the reason.
func (c *Cluster) Logs(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	kubectl := []string{c.path("bin", "kubectl"), "--kubeconfig=" + c.Kubeconfig(), "--request-timeout=5s"}
	var all []error
	for name, args := range map[string][]string{
		"events.txt":    append(kubectl, "get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", "-o", "wide"),
		"objects.txt":   append(kubectl, "get", "nodes,all,endpointslices,pvc,pv,secrets,leases", "--all-namespaces", "-o", "wide"),
		"objects.yaml":  append(kubectl, "get", "all,endpointslices", "--all-namespaces", "-o", "yaml"),
		"pods.txt":      append(kubectl, "describe", "pods", "--all-namespaces"),
		"nft.txt":       {"nft", "list", "ruleset"},
		"conntrack.txt": {"conntrack", "--dump"},
		"network.txt":   {"ip", "address", "show"},
		"processes.txt": {"ps", "-ef"},
	} {
		out, err := c.runFor(ctx, args)
		if err != nil {
			out += "\n" + err.Error() + "\n"
		}
		all = append(all, os.WriteFile(filepath.Join(dir, name), []byte(out), 0o644))
	}
	all = append(all, copyTree(c.path("log"), dir))
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("collect logs: %w", err)
	}
	return nil
}

// LastLines returns the last n lines that each container of this name wrote in a
// namespace, by the log's file; what can't be read is left out.
func (c *Cluster) LastLines(namespace, container string, n int) map[string]string {
	files, _ := filepath.Glob(filepath.Join(c.path("log", "pods"), namespace+"_*", container, "*.log")) // the pattern is well-formed
	out := map[string]string{}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			lines := strings.SplitAfter(string(b), "\n")
			out[f] = strings.Join(lines[max(0, len(lines)-n):], "")
		}
	}
	return out
}

func (c *Cluster) runFor(ctx context.Context, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return run(ctx, nil, args...)
}

// copyTree copies the regular files below from. A file that goes away meanwhile is left out.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		source, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		defer func() { _ = source.Close() }()
		copied, err := os.Create(target)
		if err != nil {
			return err
		}
		_, err = io.Copy(copied, source)
		return errors.Join(err, copied.Close())
	})
}

// Reporter is the part of *testing.T that Finish needs.
type Reporter interface {
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Finish ends the use of a cluster in a test; it belongs into t.Cleanup. When the test has failed
// it writes Logs to dir, and with the flag -keep it says how to get into the cluster and waits for
// Ctrl-C. Then it stops the cluster.
func (c *Cluster) Finish(t Reporter, dir string) {
	ctx := context.Background()
	if t.Failed() {
		if err := c.Logs(ctx, dir); err != nil {
			t.Errorf("%v", err)
		}
		t.Logf("logs of the cluster are in %s", dir)
		if keep := flag.Lookup("keep"); keep != nil && keep.Value.String() == "true" {
			fmt.Fprintf(os.Stderr, "\nkept until Ctrl-C: %s get pods -A\n", c.KubectlScript())
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
			<-signals
			signal.Stop(signals)
		}
	}
	if err := c.Stop(ctx); err != nil {
		t.Errorf("%v", err)
	}
}
