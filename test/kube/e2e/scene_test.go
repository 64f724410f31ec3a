package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// patience is how long anything may take on a busy machine.
const patience = 3 * time.Minute

// scene is one Set in the middle of a test.
type scene struct {
	*testing.T
	*lab.Set
	ctx context.Context
}

// password is the placeholder in deploy/redis.
const password = "change-me"

// stage applies an overlay in a namespace of its own and waits until all is well.
func stage(t *testing.T, namespace, overlay, more string) *scene {
	t.Helper()
	s := &scene{T: t, ctx: t.Context(), Set: &lab.Set{Lab: shared, Namespace: namespace, StatefulSet: "redis", Master: "redis",
		Service: "redis-master", Password: password, App: "redis"}}
	dir, err := shared.Overlay(namespace, overlay, more)
	s.do(err)
	s.do(shared.Apply(s.ctx, namespace, dir))
	t.Cleanup(func() { s.strike() })
	s.well(3)
	return s
}

// strike removes what the test made, so that the next one has the machine for itself.
func (s *scene) strike() {
	if s.Failed() {
		for name, text := range s.LastLines(s.Namespace, "triwatch", 60) {
			s.Logf("the end of %s:\n%s", name, text)
		}
		return // the logs want the pods
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
	defer cancel()
	for _, args := range [][]string{
		{"-n", s.Namespace, "delete", "statefulsets,deployments", "--all", "--wait=false"},
		{"-n", s.Namespace, "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=true"},
		{"delete", "namespace", s.Namespace, "--wait=false"},
	} {
		if out, err := s.Kubectl(ctx, args...); err != nil {
			s.Errorf("delete namespace: %v: %s", err, out)
		}
	}
}

func (s *scene) do(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// kubectl runs it in the scene's namespace, and no longer than patience.
func (s *scene) kubectl(args ...string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	out, err := s.Kubectl(ctx, append([]string{"-n", s.Namespace}, args...)...)
	s.do(err)
	return out
}

func (s *scene) well(instances int) lab.Status {
	s.Helper()
	st, err := s.Well(s.ctx, instances, patience)
	s.do(err)
	return st
}

// moved waits for a new master and says how long that took.
func (s *scene) moved(before lab.Status) lab.Status {
	s.Helper()
	st, err := s.Moved(s.ctx, before, patience)
	s.do(err)
	return st
}

func (s *scene) begin() *lab.Load {
	s.Helper()
	l, err := s.Begin(s.ctx)
	s.do(err)
	return l
}

// end waits until writes flow, ends the load, and says what came of it.
func (s *scene) end(what string, l *lab.Load) lab.Verdict {
	s.Helper()
	s.do(l.Flowing(s.ctx, patience))
	v, err := l.End(s.ctx)
	s.do(err)
	s.Logf("%s: %v", what, v)
	return v
}

// lossless fails the test if an acknowledged write is missing.
func (s *scene) lossless(v lab.Verdict) {
	s.Helper()
	if v.Service.Lost != 0 || v.Sentinel.Lost != 0 {
		s.Errorf("acknowledged writes are missing: %v", v)
	}
}
