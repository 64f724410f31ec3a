// Package e2e runs the product in a real one-node Kubernetes: the overlays of deploy/
// are applied as they are, then pods are deleted, killed, frozen, cut off and rolled
// while clients write through the master Service and through Sentinel, and every
// acknowledged write is looked for at the end.
//
// All tests share one cluster, in namespaces of their own. Each prints what it
// measured; what is asserted is what must hold on a slow machine too.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/kube/cluster"
	"github.com/triwatch/triwatch/test/kube/lab"
)

var (
	binary = flag.String("triwatch", "../../../bin/triwatch", "the static binary to test")
	logs   = flag.String("logs", filepath.Join(os.TempDir(), "triwatch-e2e-logs"), "where the cluster's logs go when a test fails")
)

// shared is the cluster of all tests; it is set before the first one runs.
var shared *lab.Lab

func TestMain(m *testing.M) { os.Exit(cluster.Main(&suite{m: m})) }

// suite starts the cluster around all tests.
type suite struct {
	m      *testing.M
	failed bool
}

// Run implements the part of testing.M that cluster.Main needs.
func (s *suite) Run() int {
	flag.Parse()
	ctx := context.Background()
	began := time.Now()
	c, err := cluster.Start(ctx, cluster.Options{DNS: true, FailedLogs: *logs})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := s.within(ctx, c, began)
	s.failed = code != 0
	c.Finish(s, *logs)
	return code
}

func (s *suite) within(ctx context.Context, c *cluster.Cluster, began time.Time) int {
	dir, err := os.MkdirTemp("", "triwatch-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	root, err := filepath.Abs("../../..")
	if err == nil {
		shared, err = lab.New(ctx, c, root, *binary, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("cluster ready after %.1f s\n", time.Since(began).Seconds())
	return s.m.Run()
}

// Failed, Logf and Errorf implement cluster.Reporter.
func (s *suite) Failed() bool { return s.failed }

// Logf prints.
func (s *suite) Logf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Errorf prints, and fails the run.
func (s *suite) Errorf(format string, args ...any) { s.Logf(format, args...) }
