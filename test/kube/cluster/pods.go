package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// sandbox is what containerd calls the container that holds a pod's namespaces.
const sandbox = ""

// PodPID is the first process of a running container, as a pid of this
// program's namespace. It asks containerd's files, not the API server, so it works
// without one and sees a new container at once. It is an error when none is running.
func (c *Cluster) PodPID(namespace, pod, container string) (int, error) {
	configs, err := filepath.Glob(c.path(bundles, "*", "config.json"))
	if err != nil {
		return 0, fmt.Errorf("list containers: %w", err)
	}
	for _, path := range configs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		var config struct {
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal(text, &config); err != nil {
			continue // it is being written
		}
		const cri = "io.kubernetes.cri."
		isSandbox := config.Annotations[cri+"container-type"] == "sandbox"
		if config.Annotations[cri+"sandbox-namespace"] != namespace || config.Annotations[cri+"sandbox-name"] != pod ||
			config.Annotations[cri+"container-name"] != container || isSandbox != (container == sandbox) {
			continue
		}
		if pid, ok := alive(filepath.Join(filepath.Dir(path), "init.pid")); ok {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("find container %q of pod %s/%s: none is running", container, namespace, pod)
}

// alive reads a pid from a file and says whether that process runs: it exists and is no zombie.
func alive(file string) (int, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return pid, !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// KillInContainer sends a signal to the first process of a container: SIGKILL
// ends it as a crash does, SIGSTOP freezes it and SIGCONT lets it go on.
func (c *Cluster) KillInContainer(_ context.Context, namespace, pod, container string, signal syscall.Signal) error {
	pid, err := c.PodPID(namespace, pod, container)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("send %s to container %s of pod %s/%s: %w", signal, container, namespace, pod, err)
	}
	return nil
}

// Exec runs a program in a container and returns its standard output.
func (c *Cluster) Exec(ctx context.Context, namespace, pod, container string, command ...string) (string, error) {
	return c.Kubectl(ctx, append([]string{"exec", "--namespace=" + namespace, pod, "--container=" + container, "--"}, command...)...)
}

// peer finds the number of the other end of a veth pair in what ip says of a link.
var peer = regexp.MustCompile(`eth0@if(\d+):`)

// Veth is the name of the host end of a pod's network interface.
func (c *Cluster) Veth(ctx context.Context, namespace, pod string) (string, error) {
	pid, err := c.PodPID(namespace, pod, sandbox)
	if err != nil {
		return "", err
	}
	text, err := run(ctx, nil, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", pid), "ip", "-o", "link", "show", "dev", "eth0")
	if err != nil {
		return "", fmt.Errorf("find the network interface of pod %s/%s: %w", namespace, pod, err)
	}
	match := peer.FindStringSubmatch(text)
	if match == nil {
		return "", fmt.Errorf("find the network interface of pod %s/%s: no other end in %q", namespace, pod, text)
	}
	index, err := strconv.Atoi(match[1])
	if err != nil {
		return "", fmt.Errorf("find the network interface of pod %s/%s: %w", namespace, pod, err)
	}
	link, err := net.InterfaceByIndex(index)
	if err != nil {
		return "", fmt.Errorf("find the network interface of pod %s/%s: %w", namespace, pod, err)
	}
	return link.Name, nil
}

// LinkDown cuts a pod's network: link is what Veth says. Packets both ways are
// lost without an answer, kubelet's probes too.
func (c *Cluster) LinkDown(ctx context.Context, link string) error {
	_, err := run(ctx, nil, "ip", "link", "set", link, "down")
	return err
}

// LinkUp heals what LinkDown has cut.
func (c *Cluster) LinkUp(ctx context.Context, link string) error {
	_, err := run(ctx, nil, "ip", "link", "set", link, "up")
	return err
}

// ErrNoVolumes is returned when MakeVolumes is asked for none.
var ErrNoVolumes = errors.New("make volumes: the number is below one")

// MakeVolumes makes n PersistentVolumes of a storage class, each a directory of
// this machine that any user may write to, and the storage class, as the default one.
// size is a Kubernetes quantity such as 1Gi and is not enforced. A volume that was
// released by its claim is not used again: make as many as the test claims.
func (c *Cluster) MakeVolumes(ctx context.Context, n int, size, class string) error {
	if n < 1 {
		return ErrNoVolumes
	}
	c.mu.Lock()
	first := c.volumes
	c.volumes += n
	c.mu.Unlock()
	text := fmt.Sprintf("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: %s, annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}}\nprovisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: Immediate\n", class)
	for i := first; i < first+n; i++ {
		dir := c.path("volumes", strconv.Itoa(i))
		if err := errors.Join(os.MkdirAll(dir, 0o777), os.Chmod(dir, 0o777)); err != nil { // the umask takes bits from MkdirAll
			return fmt.Errorf("make volume: %w", err)
		}
		text += fmt.Sprintf("---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {name: volume-%d}\nspec: {capacity: {storage: %s}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, storageClassName: %s, hostPath: {path: %q}}\n", i, size, class, dir)
	}
	if _, err := c.KubectlInput(ctx, text, "apply", "-f", "-"); err != nil {
		return fmt.Errorf("make volumes: %w", err)
	}
	return nil
}
