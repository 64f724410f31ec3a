package e2e

import (
	"fmt"
	"testing"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// The life of the StatefulSet: rolls and scaling lose nothing.
func TestStatefulSetIsRolledAndScaled(t *testing.T) {
	s := stage(t, "rolls", "overlays/all", "")
	t.Run("resources rolled", func(t *testing.T) {
		s.in(t).rolled("resources", "set", "resources", "statefulset/redis", "--requests=cpu=11m")
	})
	t.Run("image rolled", func(t *testing.T) {
		s.in(t).rolled("image", "set", "image", "statefulset/redis", "redis="+lab.OtherRedisImage)
	})
	t.Run("scaled to 5 and back", func(t *testing.T) { s.in(t).scaled(5) })
	t.Run("scaled to 1 and up again", func(t *testing.T) { s.in(t).scaled(1) })
}

func (s *scene) rolled(what string, change ...string) {
	s.well(3)
	l := s.begin()
	s.kubectl(change...)
	s.kubectl("rollout", "status", "statefulset/redis", "--timeout=300s")
	s.well(3)
	s.lossless(s.end("rolling update of the Redis StatefulSet, "+what, l))
}

func (s *scene) scaled(n int) {
	s.well(3)
	l := s.begin()
	s.kubectl("scale", "statefulset/redis", fmt.Sprintf("--replicas=%d", n))
	if n == 1 {
		s.alone()
	} else {
		s.well(n)
	}
	s.kubectl("scale", "statefulset/redis", "--replicas=3")
	s.well(3)
	s.lossless(s.end(fmt.Sprintf("scaled to %d and back", n), l))
}

// alone waits until one instance is left, which is the master: ordinal 0.
func (s *scene) alone() {
	s.Helper()
	st := s.well(1)
	if st.Master.Current.Name != "redis-0" {
		s.Errorf("the master is %s", st.Master.Current.Name)
	}
}
