package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrUnsupported is returned where no cluster can run: elsewhere than on Linux, and without root.
var ErrUnsupported = errors.New("a one-node Kubernetes needs root on Linux, so nothing was started")

const (
	envStage = "TRIWATCH_KUBE_STAGE" // which of the three runs this is; empty: the outer one
	envDir   = "TRIWATCH_KUBE_DIR"   // the state directory, for the two inner runs
	envBin   = "TRIWATCH_KUBE_BIN"   // the directory with the programs that Build made
	prefix   = "triwatch-kube-"
)

// Main runs the tests of m, a *testing.M, where Start works, and returns their
// exit code. It adds the flag -keep, see Finish. Where no cluster can run it says so
// and returns 0.
func Main(m interface{ Run() int }) int {
	flag.Bool("keep", false, "keep the cluster of a failed test running until Ctrl-C")
	inside, code, err := Enter()
	switch {
	case errors.Is(err, ErrUnsupported):
		fmt.Printf("skipped: %v\n", err)
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "start cluster: %v\n", err)
		return 1
	case !inside:
		return code
	}
	return m.Run()
}

// Enter takes the program into namespaces of its own. It comes back with inside
// true in the run that shall go on, and with false in the outer ones, which shall
// exit with code. The error is about the way in: ErrUnsupported, a missing Debian
// package, a failed build.
func Enter() (inside bool, code int, err error) {
	switch os.Getenv(envStage) {
	case "inside":
		return true, 0, nil
	case "init":
		code, err := runInit()
		return false, code, err
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return false, 2, ErrUnsupported
	}
	if err := checkTools(); err != nil {
		return false, 2, err
	}
	bin := os.Getenv(envBin)
	if bin == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return false, 2, fmt.Errorf("find a directory for the built programs (set HOME or %s): %w", envBin, err)
		}
		bin = filepath.Join(cache, "triwatch-kube")
		if err := Build(context.Background(), bin); err != nil {
			return false, 2, err
		}
	}
	code, err = runOuter(bin)
	return false, code, err
}

// tools are the programs that a cluster takes from Debian, with their packages.
var tools = [][2]string{ // constant
	{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"}, {"etcd", "etcd-server"},
	{"/usr/lib/cni/bridge", "containernetworking-plugins"}, {"ip", "iproute2"}, {"nft", "nftables"},
	{"conntrack", "conntrack"}, {"nsenter", "util-linux"}, {"busybox", "busybox-static"},
}

func checkTools() error {
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool[0]); err != nil && !strings.Contains(strings.Join(missing, " ")+" ", tool[1]+" ") {
			missing = append(missing, tool[1])
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("a one-node Kubernetes needs Debian packages that are not installed: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// bundles is where containerd keeps one directory per container that has a task,
// below the state directory.
const bundles = "run/containerd/io.containerd.runtime.v2.task/k8s.io"

// place says where a run has its things.
type place struct {
	name string // of the network namespace and the state directory
	dir  string // the state directory
	bin  string // what Build made
}

func (p place) path(elem ...string) string { return filepath.Join(append([]string{p.dir}, elem...)...) }

// here is the place of this run, known inside only.
func here() (place, error) {
	dir := os.Getenv(envDir)
	if dir == "" || os.Getenv(envStage) != "inside" {
		return place{}, errors.New("not inside a namespace of a cluster: call cluster.Main in TestMain or cluster.Enter in main first")
	}
	return place{name: filepath.Base(dir), dir: dir, bin: os.Getenv(envBin)}, nil
}
