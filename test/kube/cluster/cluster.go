package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/triwatch/triwatch/test/kube/image"
)

// Options say what kind of cluster to start. The zero value is a good one.
type Options struct {
	DNS bool                 // run CoreDNS, so that pods can resolve names of Services and pods
	Log func(string, ...any) // tells what happens; nil: nothing is told

	// FailedLogs is the directory for Logs when Start fails; empty: none are written.
	FailedLogs string
}

// Cluster is a running one-node Kubernetes. Its methods are safe for concurrent use.
type Cluster struct {
	place
	options Options
	config  *rest.Config
	client  kubernetes.Interface

	mu        sync.Mutex
	processes map[Component]*process
	stopped   map[Component]bool // which ones have been asked to end
	volumes   int                // how many MakeVolumes has made
	waiting   sync.WaitGroup
}

// Start starts a cluster and waits until pods can be made in it. It takes
// about 15 s. When it fails, nothing stays running, and the error has the last lines of
// the log of the component that is to blame, where that is known.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	p, err := here()
	if err != nil {
		return nil, err
	}
	if options.Log == nil {
		options.Log = func(string, ...any) {}
	}
	c := &Cluster{place: p, options: options, processes: make(map[Component]*process), stopped: make(map[Component]bool)}
	if err := c.start(ctx); err != nil {
		err = fmt.Errorf("start cluster: %w", err)
		ctx = context.WithoutCancel(ctx) // what was started has to be stopped all the same
		if options.FailedLogs != "" {
			err = errors.Join(err, c.Logs(ctx, options.FailedLogs))
		}
		return nil, errors.Join(err, c.Stop(ctx))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	began := time.Now()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"prepare files", c.prepareFiles},
		{"make network", c.makeNetwork},
		{"start etcd, containerd and the API server", c.startFirst},
		{"load the pause image", c.loadPause},
		{"wait for the API server", c.waitAPI},
		{"start the other components", c.startRest},
		{"wait for the node", c.waitNode},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		c.options.Log("%6.1f s  %s", time.Since(began).Seconds(), step.name)
	}
	return nil
}

func (c *Cluster) prepareFiles(context.Context) error {
	for _, dir := range []string{"bin", "cni", "containerd", "etc", "etcd", "kubelet", "log", "opt", "run", "tmp", "volumes"} {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return err
		}
	}
	for _, name := range append([]Component{"kubectl"}, components...) {
		// Links by name: node is all of Kubernetes in one file.
		if err := os.Symlink(filepath.Join(c.bin, "node"), c.path("bin", string(name))); err != nil {
			return err
		}
	}
	if err := c.writeConfig(c.options.DNS); err != nil {
		return err
	}
	// What a person needs who wants to look in from outside.
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter --net=%s %s --kubeconfig=%s \"$@\"\n", c.Netns(), c.path("bin", "kubectl"), c.Kubeconfig())
	err := os.WriteFile(c.KubectlScript(), []byte(script), 0o755)
	if err != nil {
		return err
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig()); err != nil {
		return err
	}
	c.config.QPS = -1
	c.client, err = kubernetes.NewForConfig(c.config)
	return err
}

// makeNetwork gives the namespace a node address. Both ends of the pair stay
// inside, so whatever goes by the default route is seen by nobody.
func (c *Cluster) makeNetwork(ctx context.Context) error {
	for _, line := range []string{
		"ip link set lo up",
		"ip link add node0 type veth peer name node1",
		"ip addr add " + NodeIP + "/24 dev node0",
		"ip link set node0 up",
		"ip link set node1 up",
		"ip route add default via 10.250.0.254 dev node0",
	} {
		if _, err := run(ctx, nil, strings.Fields(line)...); err != nil {
			return err
		}
	}
	for _, name := range []string{"net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"} {
		err := os.WriteFile(filepath.Join("/proc/sys", name), []byte("1"), 0)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set %s: %w (load the kernel module br_netfilter: modprobe br_netfilter)", name, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startFirst(context.Context) error {
	return c.startAll(Etcd, Containerd, APIServer)
}

func (c *Cluster) startRest(ctx context.Context) error {
	if err := c.startAll(ControllerManager, Scheduler, Proxy, Kubelet); err != nil {
		return err
	}
	if !c.options.DNS {
		return nil
	}
	if err := c.allowDNS(ctx); err != nil {
		return err
	}
	return c.StartComponent(DNS)
}

func (c *Cluster) startAll(names ...Component) error {
	for _, name := range names {
		if err := c.StartComponent(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) loadPause(ctx context.Context) error {
	if err := c.poll(ctx, "containerd to answer", func() (bool, error) {
		_, err := c.ctr(ctx, "version")
		return err == nil, err
	}); err != nil {
		return err
	}
	tar := c.path("tmp", "pause.tar")
	if err := image.Binary(tar, pauseRef, filepath.Join(c.bin, "pause"), "/pause"); err != nil {
		return err
	}
	return c.LoadImage(ctx, tar)
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.path("etc", "admin.kubeconfig") }

// Dir is the directory with all files of the cluster. It goes away with the program.
func (c *Cluster) Dir() string { return c.dir }

// Netns is the path of the network namespace, for nsenter --net.
func (c *Cluster) Netns() string { return "/var/run/netns/" + c.name }

// KubectlScript is the path of a kubectl for this cluster that works from outside
// of its network namespace.
func (c *Cluster) KubectlScript() string { return c.path("kubectl") }

// Client talks to the API server as administrator, without a rate limit.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Config is the administrator's configuration, for other kinds of clients.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Kubectl runs kubectl as administrator and returns what it wrote to its standard
// output. The error has what it wrote to its standard error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlInput(ctx, "", args...)
}

// KubectlInput is Kubectl with a standard input, as for apply -f -.
func (c *Cluster) KubectlInput(ctx context.Context, input string, args ...string) (string, error) {
	return run(ctx, strings.NewReader(input), append([]string{c.path("bin", "kubectl"), "--kubeconfig=" + c.Kubeconfig(), "--cache-dir=" + c.path("tmp", "kubectl")}, args...)...)
}

// LoadImage gives the node an image from a docker-archive or OCI tar file. Pods
// name it as the archive does and must not use imagePullPolicy Always.
func (c *Cluster) LoadImage(ctx context.Context, tar string) error {
	if _, err := c.ctr(ctx, "images", "import", tar); err != nil {
		return fmt.Errorf("load image %s: %w", tar, err)
	}
	return nil
}

func (c *Cluster) ctr(ctx context.Context, args ...string) (string, error) {
	return run(ctx, nil, append([]string{"ctr", "--address=" + c.path("run", "containerd.sock"), "--namespace=k8s.io"}, args...)...)
}

// run runs a program and returns its output; the error has its standard error.
func run(ctx context.Context, input *strings.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if input != nil {
		cmd.Stdin = input
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("run %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
