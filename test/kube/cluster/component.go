package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Component names a process of the control plane or of the node.
type Component string

// The components, in the order in which they start.
const (
	Etcd              Component = "etcd"
	Containerd        Component = "containerd"
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
	Proxy             Component = "kube-proxy"
	Kubelet           Component = "kubelet"
	DNS               Component = "dns"
)

var components = []Component{Etcd, Containerd, APIServer, ControllerManager, Scheduler, Proxy, Kubelet, DNS} // constant

// process is a component that has been started.
type process struct {
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended
	err  error         // how it ended; to be read after over is closed
}

func (p *process) running() bool {
	select {
	case <-p.over:
		return false
	default:
		return true
	}
}

// arguments are the command line of a component.
func (c *Cluster) arguments(name Component) []string {
	etc := func(file string) string { return c.path("etc", file) }
	kubeconfig := "--kubeconfig=" + etc(string(name)+".kubeconfig")
	delegated := []string{kubeconfig, "--authentication-kubeconfig=" + etc(string(name)+".kubeconfig"), "--authorization-kubeconfig=" + etc(string(name)+".kubeconfig"), "--leader-elect=false"}
	switch name {
	case Etcd:
		return []string{"etcd", "--data-dir=" + c.path("etcd"), "--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL, "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn"}
	case Containerd:
		return []string{"containerd", "--config=" + etc("containerd.toml")}
	case APIServer:
		return []string{c.path("bin", string(name)), "--etcd-servers=" + etcdURL, "--bind-address=" + NodeIP, "--advertise-address=" + NodeIP, "--secure-port=6443",
			"--service-cluster-ip-range=" + Services, "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--token-auth-file=" + etc("tokens.csv"),
			"--tls-cert-file=" + etc("apiserver.crt"), "--tls-private-key-file=" + etc("apiserver.key"), "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + etc("accounts.key"), "--service-account-signing-key-file=" + etc("accounts.key"), "--kubelet-preferred-address-types=InternalIP", "--allow-privileged"}
	case ControllerManager:
		return append([]string{c.path("bin", string(name)), "--use-service-account-credentials", "--service-account-private-key-file=" + etc("accounts.key"), "--root-ca-file=" + etc("ca.crt")}, delegated...)
	case Scheduler:
		return append([]string{c.path("bin", string(name))}, delegated...)
	case Proxy:
		return []string{c.path("bin", string(name)), "--config=" + etc("kube-proxy.yaml")}
	case Kubelet:
		return []string{c.path("bin", string(name)), kubeconfig, "--config=" + etc("kubelet.yaml"), "--hostname-override=" + NodeName, "--node-ip=" + NodeIP, "--root-dir=" + c.path("kubelet"), "--cert-dir=" + c.path("kubelet", "pki")}
	case DNS:
		return []string{filepath.Join(c.bin, "dns"), "-conf", etc("Corefile")}
	}
	return nil
}

// StartComponent starts a component that is not running. It does not wait for it
// to be ready.
func (c *Cluster) StartComponent(name Component) error {
	args := c.arguments(name)
	if args == nil {
		return fmt.Errorf("start component %q: there is no such one", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.processes[name]; p != nil && p.running() {
		return fmt.Errorf("start %s: it is running", name)
	}
	log, err := os.OpenFile(c.path("log", string(name)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	p := &process{cmd: exec.Command(args[0], args[1:]...), over: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, c.dir
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TRIWATCH_KUBE_") }), "TMPDIR="+c.path("tmp"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.processes[name], c.stopped[name] = p, false
	c.waiting.Go(func() {
		p.err = p.cmd.Wait()
		close(p.over)
	})
	return nil
}

// StopComponent sends a component signal, and waits until it has ended or ctx is
// over. With SIGTERM one that takes more than ten seconds is killed. It is no
// error when the component is not running.
func (c *Cluster) StopComponent(ctx context.Context, name Component, signal syscall.Signal) error {
	c.mu.Lock()
	p := c.processes[name]
	c.stopped[name] = true
	c.mu.Unlock()
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	for {
		select {
		case <-p.over:
			return nil
		case <-patience.C:
			if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("kill %s: %w", name, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("stop %s: %w", name, ctx.Err())
		}
	}
}

// Restart stops a component with SIGTERM and starts it again.
func (c *Cluster) Restart(ctx context.Context, name Component) error {
	if err := c.StopComponent(ctx, name, syscall.SIGTERM); err != nil {
		return err
	}
	return c.StartComponent(name)
}

// StopAPI takes the API server away; etcd keeps everything. SIGKILL does it at
// once. With SIGTERM it says goodbye first and would wait up to a minute for its watches; after
// ten seconds it is killed.
func (c *Cluster) StopAPI(ctx context.Context, signal syscall.Signal) error {
	return c.StopComponent(ctx, APIServer, signal)
}

// StartAPI brings the API server back on the same etcd, and waits until it is ready.
func (c *Cluster) StartAPI(ctx context.Context) error {
	if err := c.StartComponent(APIServer); err != nil {
		return err
	}
	return c.waitAPI(ctx)
}
