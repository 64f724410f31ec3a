package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/kube/lab"
	corev1 "k8s.io/api/core/v1"
)

// The life of the watchers: whatever happens to them, Redis serves; and once they are
// there again, a master that dies is replaced under an epoch that was never used.
func TestWatchers(t *testing.T) {
	s := stage(t, "watchers", "overlays/all", "")
	t.Run("rolled", func(t *testing.T) { s.in(t).watchersRolled() })
	t.Run("each deleted", func(t *testing.T) { s.in(t).watchersEachDeleted() })
	t.Run("two at once by force", func(t *testing.T) { s.in(t).watchersByForce(2) })
	t.Run("leader with the master", func(t *testing.T) { s.in(t).leaderWithMaster() })
	t.Run("all at once by force", func(t *testing.T) { s.in(t).watchersByForce(3) })
}

// idle runs f under load and demands that nothing moved and nobody noticed.
func (s *scene) idle(what string, f func(before lab.Status)) {
	s.Helper()
	before := s.well(3)
	l := s.begin()
	f(before)
	after := s.well(3)
	v := s.end(what, l)
	s.lossless(v)
	if after.Master.Current.ID != before.Master.Current.ID {
		s.Errorf("%s moved the master from %s to %s", what, before.Master.Current.Name, after.Master.Current.Name)
	}
	s.works(after)
}

// works kills the master, so that the watchers prove themselves, and compares epochs.
func (s *scene) works(before lab.Status) {
	s.Helper()
	s.kubectl("delete", "pod", before.Master.Current.Name, "--wait=false")
	after := s.moved(before)
	s.do(s.Gone(s.ctx, s.Namespace, before.Master.Current.Name, before.Master.Current.ID, patience))
	s.Logf("epoch %d to %d", before.Master.EpochNumber, after.Master.EpochNumber)
}

func (s *scene) watchersRolled() {
	s.idle("rolling update of the watchers", func(lab.Status) {
		s.kubectl("rollout", "restart", "deployment/triwatch")
		s.kubectl("rollout", "status", "deployment/triwatch", "--timeout=180s")
	})
}

func (s *scene) watchersEachDeleted() {
	s.idle("each watcher deleted in turn", func(lab.Status) {
		pods, err := s.WatcherPods(s.ctx)
		s.do(err)
		for _, p := range pods {
			s.kubectl("delete", "pod", p.Name, "--wait=false")
			s.do(s.Gone(s.ctx, s.Namespace, p.Name, string(p.UID), patience))
			s.well(3)
		}
	})
}

// watchersByForce deletes watchers without a word to them: their processes get no SIGTERM that helps.
func (s *scene) watchersByForce(n int) {
	s.idle(fmt.Sprintf("%d watchers deleted at once, by force", n), func(lab.Status) {
		began := time.Now()
		s.forceWatchers(n)
		s.well(3)
		s.Logf("%d watchers replaced: well again after %.1f s", n, time.Since(began).Seconds())
	})
}

// forceWatchers deletes watchers by force and returns when their pods are gone.
func (s *scene) forceWatchers(n int) {
	s.Helper()
	pods, err := s.WatcherPods(s.ctx)
	s.do(err)
	args := []string{"delete", "pod", "--force", "--grace-period=0", "--wait=false"}
	for _, p := range pods[:n] {
		args = append(args, p.Name)
	}
	s.kubectl(args...)
	for _, p := range pods[:n] {
		s.do(s.Gone(s.ctx, s.Namespace, p.Name, string(p.UID), patience))
	}
}

func (s *scene) leaderWithMaster() {
	before := s.well(3)
	keys := s.fill(before)
	l := s.begin()
	leader := s.leader(before)
	s.kubectl("delete", "pod", leader.Name, before.Master.Current.Name, "--force", "--grace-period=0", "--wait=false")
	s.moved(before)
	after := s.well(3)
	s.end("leader deleted with the master, both by force", l)
	s.kept(after, keys)
}

// leader is the pod of the leading watcher.
func (s *scene) leader(st lab.Status) corev1.Pod {
	s.Helper()
	pods, err := s.WatcherPods(s.ctx)
	s.do(err)
	for _, p := range pods {
		if p.Name == st.Leader {
			return p
		}
	}
	s.Fatalf("no watcher pod is called %q", st.Leader)
	return corev1.Pod{}
}
