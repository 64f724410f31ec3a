package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/kube/cluster"
	"github.com/triwatch/triwatch/test/kube/image"
)

// The names under which images are loaded.
const (
	TriwatchImage = "docker.io/library/triwatch:dev"
	RedisImage    = "docker.io/library/redis:7.0"
	// OtherRedisImage is the same files under another name, for a roll of the image.
	OtherRedisImage = "docker.io/library/redis:7.0-again"
)

// Lab is a cluster with the product's images in it.
type Lab struct {
	*cluster.Cluster
	root string // of the product's source
	dir  string // of what is made here
}

// New loads the images. root is the product's source directory, binary the static
// triwatch to test; dir takes temporary files.
func New(ctx context.Context, c *cluster.Cluster, root, binary, dir string) (*Lab, error) {
	l := &Lab{Cluster: c, root: root, dir: dir}
	tar := func(name string) string { return filepath.Join(dir, name+".tar") }
	if err := image.Redis(ctx, tar("redis"), RedisImage); err != nil {
		return nil, err
	}
	if err := image.Redis(ctx, tar("redis-again"), OtherRedisImage); err != nil {
		return nil, err
	}
	if err := image.Binary(tar("triwatch"), TriwatchImage, binary, "/triwatch"); err != nil {
		return nil, err
	}
	for _, name := range []string{"redis", "redis-again", "triwatch"} {
		if err := c.LoadImage(ctx, tar(name)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Root returns the product's source directory.
func (l *Lab) Root() string { return l.root }

// Overlay writes a kustomization that puts an overlay of deploy/ into a namespace,
// with more lines of YAML after it (patches and the like), and returns its directory.
func (l *Lab) Overlay(namespace, overlay, more string) (string, error) {
	dir := filepath.Join(l.dir, "kustomize-"+namespace+"-"+strings.ReplaceAll(overlay, "/", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make kustomization: %w", err)
	}
	up, err := filepath.Rel(dir, filepath.Join(l.root, "deploy", overlay))
	if err != nil {
		return "", fmt.Errorf("make kustomization: %w", err)
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
	if namespace != "" {
		text += "namespace: " + namespace + "\n"
	}
	text += "resources:\n  - " + up + "\n" + more
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("make kustomization: %w", err)
	}
	return dir, nil
}

// Apply applies a kustomization's directory, and makes the namespace before; one of the
// same name that is still being deleted is waited for.
func (l *Lab) Apply(ctx context.Context, namespace, dir string) error {
	if namespace != "" {
		err := Wait(ctx, 2*time.Minute, "namespace "+namespace+" to be free", func(ctx context.Context) (string, error) {
			return l.Kubectl(ctx, "get", "namespace", namespace, "--ignore-not-found", "-o", "jsonpath={.metadata.deletionTimestamp}")
		})
		if err != nil {
			return err
		}
		text := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + namespace + "\n"
		if _, err := l.KubectlInput(ctx, text, "apply", "-f", "-"); err != nil {
			return err
		}
	}
	_, err := l.Kubectl(ctx, "apply", "-k", dir)
	return err
}

// Wait asks again and again until done. A false with a text is what is still wrong;
// the last one is in the error.
func Wait(ctx context.Context, limit time.Duration, what string, done func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := "nothing was said"
	for {
		text, err := done(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			last = err.Error()
		case err == nil && text == "":
			return nil
		case err == nil:
			last = text
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not after %v; last: %s", what, limit, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
