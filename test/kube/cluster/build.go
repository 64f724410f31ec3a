package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	version = "1.34.4" // of Kubernetes; node/go.mod names it too
	module  = "github.com/triwatch/triwatch/test/kube"
)

// Build compiles the programs of a cluster into dir: node (all of Kubernetes),
// dns and pause. Go's own cache makes it quick where nothing has changed; the
// first time takes minutes and needs the module proxy. Concurrent calls wait
// for each other.
func Build(ctx context.Context, dir string) error {
	source, err := sourceDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create directory for the built programs: %w", err)
	}
	unlock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	const stamp = "k8s.io/component-base/version."
	minor := strings.Split(version, ".")
	stamped := fmt.Sprintf("-s -w -X %[1]sgitVersion=v%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s", stamp, version, minor[0], minor[1])
	for _, program := range []struct{ name, module, pkg, ldflags string }{
		{"node", "node", ".", stamped},
		{"dns", "dns", ".", "-s -w"},
		{"pause", ".", "./cmd/pause", "-s -w"},
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", program.ldflags, "-o", filepath.Join(dir, program.name), program.pkg)
		cmd.Dir = filepath.Join(source, program.module)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s in %s: %w\n%s", program.name, cmd.Dir, err, out.Bytes())
		}
	}
	return nil
}

// sourceDir is the directory of this module, looked for from the working directory upwards.
func sourceDir() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the sources of the cluster: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "test", "kube")} {
			text, err := os.ReadFile(filepath.Join(candidate, "go.mod"))
			if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the sources of the cluster: no go.mod of %s in %s or above it", module, wd)
		}
	}
}
