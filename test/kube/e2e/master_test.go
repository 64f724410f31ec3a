package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// The life of a master pod, without volumes: whatever happens to it, clients go on and
// nothing that was acknowledged in a handover is missing.
func TestMasterPod(t *testing.T) {
	s := stage(t, "master", "overlays/all", "")
	t.Run("deleted", func(t *testing.T) { s.in(t).deleted(10) })
	t.Run("replica deleted", func(t *testing.T) { s.in(t).replicaDeleted() })
	t.Run("deleted by force", func(t *testing.T) { s.in(t).deletedByForce() })
	t.Run("evicted", func(t *testing.T) { s.in(t).evicted() })
	t.Run("container killed", func(t *testing.T) { s.in(t).containerKilled() })
	t.Run("frozen", func(t *testing.T) { s.in(t).frozen() })
	t.Run("cut off", func(t *testing.T) { s.in(t).cutOff() })
}

// in is the same scene for a part of the test.
func (s *scene) in(t *testing.T) *scene {
	return &scene{T: t, Set: s.Set, ctx: t.Context()}
}

func (s *scene) deleted(times int) {
	var gaps []time.Duration
	for range times {
		before := s.well(3)
		l := s.begin()
		name := before.Master.Current.Name
		s.kubectl("delete", "pod", name, "--wait=false")
		s.moved(before)
		s.do(s.Gone(s.ctx, s.Namespace, name, before.Master.Current.ID, patience))
		s.well(3)
		v := s.end("kubectl delete pod "+name, l)
		s.lossless(v)
		gaps = append(gaps, v.Service.Gap)
	}
	slices.Sort(gaps)
	s.Logf("longest time without an acknowledged write through the Service: median %v, %v to %v", gaps[len(gaps)/2], gaps[0], gaps[len(gaps)-1])
}

func (s *scene) replicaDeleted() {
	before := s.well(3)
	l := s.begin()
	for _, i := range before.Master.Instances {
		if !i.Master {
			s.kubectl("delete", "pod", i.Name, "--wait=false")
			s.do(s.Gone(s.ctx, s.Namespace, i.Name, i.ID, patience))
			break
		}
	}
	after := s.well(3)
	s.lossless(s.end("replica deleted", l))
	if after.Master.EpochNumber != before.Master.EpochNumber {
		s.Errorf("a deleted replica moved the master: epoch %d to %d", before.Master.EpochNumber, after.Master.EpochNumber)
	}
}

func (s *scene) deletedByForce() {
	before := s.well(3)
	l := s.begin()
	s.kubectl("delete", "pod", before.Master.Current.Name, "--force", "--grace-period=0", "--wait=false")
	s.moved(before)
	s.well(3)
	s.end("deleted by force", l)
}

func (s *scene) evicted() {
	before := s.well(3)
	l := s.begin()
	name := before.Master.Current.Name
	body := fmt.Sprintf(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":%q,"namespace":%q}}`, name, s.Namespace)
	// As kubectl drain does, until the budget has heard that the pods before are replaced.
	s.do(lab.Wait(s.ctx, patience, "the eviction to be granted", func(ctx context.Context) (string, error) {
		_, err := s.KubectlInput(ctx, body, "create", "--raw", "/api/v1/namespaces/"+s.Namespace+"/pods/"+name+"/eviction", "-f", "-")
		if err != nil && strings.Contains(err.Error(), "TooManyRequests") {
			return err.Error(), nil
		}
		s.do(err)
		return "", nil
	}))
	s.moved(before)
	s.well(3)
	s.lossless(s.end("evicted", l))
}

func (s *scene) containerKilled() {
	before := s.well(3)
	keys := s.fill(before)
	l := s.begin()
	name := before.Master.Current.Name
	s.do(s.KillInContainer(s.ctx, s.Namespace, name, "redis", syscall.SIGKILL))
	s.moved(before)
	after := s.well(3)
	s.end("container killed", l)
	s.kept(after, keys)
}

// fill writes keys that every replica has before anything happens.
func (s *scene) fill(st lab.Status) []string {
	s.Helper()
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("kept-%d-%d", st.Master.EpochNumber, i))
	}
	words := []string{"MSET"}
	for _, k := range keys {
		words = append(words, k, "here")
	}
	_, err := s.Redis(s.ctx, st.Master.Current.Name, words...)
	s.do(err)
	n, err := s.Redis(s.ctx, st.Master.Current.Name, "WAIT", "2", "10000")
	s.do(err)
	if n != "2" {
		s.Fatalf("only %s replicas acknowledged", n)
	}
	return keys
}

// kept looks for keys on the master.
func (s *scene) kept(st lab.Status, keys []string) {
	s.Helper()
	n, err := s.Redis(s.ctx, st.Master.Current.Name, append([]string{"EXISTS"}, keys...)...)
	s.do(err)
	if n != fmt.Sprint(len(keys)) {
		s.Errorf("%s of %d keys that every replica had are left", n, len(keys))
	}
}

func (s *scene) frozen() {
	before := s.well(3)
	l := s.begin()
	name := before.Master.Current.Name
	s.do(s.KillInContainer(s.ctx, s.Namespace, name, "redis", syscall.SIGSTOP))
	s.moved(before)
	s.do(l.Flowing(s.ctx, patience))
	s.do(s.KillInContainer(s.ctx, s.Namespace, name, "redis", syscall.SIGCONT))
	s.well(3)
	s.end("frozen and let go", l)
	s.oneMaster()
}

// oneMaster fails the test if more than one Redis says that it is master.
func (s *scene) oneMaster() {
	s.Helper()
	pods, err := s.RedisPods(s.ctx)
	s.do(err)
	masters := 0
	for _, p := range pods {
		role, err := s.Redis(s.ctx, p.Name, "ROLE")
		s.do(err)
		if len(role) >= 6 && role[:6] == "master" {
			masters++
		}
	}
	if masters != 1 {
		s.Errorf("%d masters", masters)
	}
}

func (s *scene) cutOff() {
	before := s.well(3)
	keys := s.fill(before)
	l := s.begin()
	link, err := s.Veth(s.ctx, s.Namespace, before.Master.Current.Name)
	s.do(err)
	s.do(s.LinkDown(s.ctx, link))
	s.moved(before)
	s.do(l.Flowing(s.ctx, patience))
	s.do(s.LinkUp(s.ctx, link))
	after := s.well(3)
	s.end("cut off and healed", l)
	s.kept(after, keys)
	s.oneMaster()
}
