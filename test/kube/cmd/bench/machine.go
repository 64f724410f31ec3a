package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/triwatch/triwatch/test/kube/cluster"
)

// machine is where the figures were measured, and with what.
type machine struct {
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Redis      string `json:"redis"`
	Kubernetes string `json:"kubernetes"`
	Containerd string `json:"containerd"`
	Triwatch   string `json:"triwatch"`
	// Load is the load average of the last minute, -1 if it can't be read.
	Load float64 `json:"load1"`
}

// quietLoad is the load average above which figures are noise.
const quietLoad = 1.5

const unknown = "unknown"

// thisMachine takes what it can get before the cluster runs; versions, the rest.
func thisMachine(ctx context.Context, triwatch string) machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Kernel: unknown, Redis: unknown, Kubernetes: unknown, Containerd: unknown, Triwatch: unknown, Load: -1}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		one, _, _ := strings.Cut(string(b), " ")
		if v, err := strconv.ParseFloat(one, 64); err == nil {
			m.Load = v
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	for _, f := range strings.Fields(output(ctx, "redis-server", "--version")) {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			m.Redis = v
		}
	}
	if f := strings.Fields(output(ctx, "containerd", "--version")); len(f) > 2 {
		m.Containerd = f[2]
	}
	if f := strings.Fields(output(ctx, triwatch, "version")); len(f) > 0 {
		m.Triwatch = strings.TrimSuffix(f[min(1, len(f)-1)], ",")
	}
	return m
}

// of adds what only the cluster knows.
func (m *machine) of(c *cluster.Cluster) {
	if v, err := c.Client().Discovery().ServerVersion(); err == nil {
		m.Kubernetes = v.GitVersion
	}
}

func (m machine) warnings() []string {
	if m.Load > quietLoad {
		return []string{fmt.Sprintf("the load average was %.2f at the start (above %.1f): if that was not the build, the figures are noise", m.Load, quietLoad)}
	}
	return nil
}

// output is a program's standard output, empty if it can't be had.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
