package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/test/kube/lab"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The StatefulSet of the common tutorial, unchanged: its ordinal 0 dies, and boots as a
// master again.
func TestTutorialStatefulSet(t *testing.T) {
	s := &scene{T: t, ctx: t.Context(), Set: &lab.Set{Lab: shared, Namespace: "tutorial", StatefulSet: "redis-sfs", Master: "redis-sfs",
		Service: "redis-master", App: "redis-sfs"}}
	dir, err := shared.Overlay("tutorial", "overlays/tutorial", "")
	s.do(err)
	s.do(shared.Apply(s.ctx, "tutorial", dir))
	t.Cleanup(s.strike)
	before := s.well(3)
	if before.Master.Current.Name != "redis-sfs-0" {
		s.Errorf("the first master is %s", before.Master.Current.Name)
	}
	keys := s.fill(before)
	l := s.begin()
	s.kubectl("delete", "pod", "redis-sfs-0", "--wait=false")
	s.moved(before)
	s.do(s.Gone(s.ctx, s.Namespace, "redis-sfs-0", before.Master.Current.ID, patience))
	after := s.well(3)
	s.lossless(s.end("ordinal 0 of the tutorial's StatefulSet deleted", l))
	s.kept(after, keys)
	s.oneMaster()
}

// Two StatefulSets in two namespaces, watched by one trio in a third; and a right that
// is taken away in one of them.
func TestTwoNamespaces(t *testing.T) {
	orders := &scene{T: t, ctx: t.Context(), Set: &lab.Set{Lab: shared, Namespace: "orders", Watchers: "triwatch", StatefulSet: "redis", Master: "orders",
		Service: "redis-master", Password: password, App: "redis"}}
	set := *orders.Set
	set.Namespace, set.Master = "carts", "carts"
	carts := &scene{T: t, ctx: t.Context(), Set: &set}
	dir, err := shared.Overlay("", "overlays/namespaces", "")
	orders.do(err)
	orders.do(shared.Apply(orders.ctx, "", dir))
	t.Cleanup(orders.strike)
	t.Cleanup(carts.strike)
	t.Cleanup(func() { (&scene{T: t, ctx: t.Context(), Set: &lab.Set{Lab: shared, Namespace: "triwatch"}}).strike() })
	carts.well(3)
	for _, s := range []*scene{orders, carts} {
		before := s.well(3)
		s.steady()
		l := s.begin()
		s.kubectl("delete", "pod", before.Master.Current.Name, "--wait=false")
		s.moved(before)
		s.well(3)
		s.lossless(s.end("master of "+s.Master, l))
	}
	t.Run("a right is taken away", func(t *testing.T) { rightTaken(orders.in(t), carts.in(t)) })
}

// rightTaken takes the right to patch Services away in one namespace.
func rightTaken(orders, carts *scene) {
	before := orders.well(3)
	role := withoutVerb(orders, "services", "patch")
	orders.kubectl("delete", "pod", before.Master.Current.Name, "--wait=false")
	orders.moved(before)
	orders.do(lab.Wait(orders.ctx, patience, "the refused write to be counted and said", func(ctx context.Context) (string, error) {
		pods, err := orders.WatcherPods(ctx)
		if err != nil {
			return "", err
		}
		counted, said := false, false
		for _, p := range pods {
			text, err := lab.Metrics(ctx, p.Status.PodIP)
			if err != nil {
				return "", err
			}
			for line := range strings.Lines(text) {
				if n, ok := strings.CutPrefix(line, `triwatch_k8s_write_errors_total{resource="services",verb="patch"} `); ok && strings.TrimSpace(n) != "0" {
					counted = true
				}
			}
			log, err := orders.Kubectl(ctx, "-n", "triwatch", "logs", p.Name)
			if err != nil {
				return "", err
			}
			said = said || strings.Contains(log, "forbidden") && strings.Contains(log, "redis-master")
		}
		if counted && said {
			return "", nil
		}
		return "counted: " + strconv.FormatBool(counted) + ", said: " + strconv.FormatBool(said), nil
	}))
	other := carts.well(3)
	l := carts.begin()
	carts.kubectl("delete", "pod", other.Master.Current.Name, "--wait=false")
	carts.moved(other)
	carts.well(3)
	carts.lossless(carts.end("the other master, meanwhile", l))
	role.ResourceVersion = ""
	_, err := orders.Client().RbacV1().Roles(orders.Namespace).Update(orders.ctx, role, metav1.UpdateOptions{})
	orders.do(err)
	orders.well(3)
}

// withoutVerb takes one verb on one resource from a Role and returns the Role as it was.
func withoutVerb(s *scene, resource, verb string) *rbacv1.Role {
	s.Helper()
	roles := s.Client().RbacV1().Roles(s.Namespace)
	was, err := roles.Get(s.ctx, "triwatch-redis", metav1.GetOptions{})
	s.do(err)
	now := was.DeepCopy()
	now.Rules = nil
	for _, rule := range was.Rules {
		if slices.Contains(rule.Resources, resource) && slices.Contains(rule.Verbs, verb) {
			less := rule.DeepCopy()
			less.Resources, less.Verbs = []string{resource}, slices.DeleteFunc(less.Verbs, func(v string) bool { return v == verb })
			now.Rules = append(now.Rules, *less)
			rule.Resources = slices.DeleteFunc(slices.Clone(rule.Resources), func(r string) bool { return r == resource })
		}
		if len(rule.Resources) > 0 {
			now.Rules = append(now.Rules, rule)
		}
	}
	_, err = roles.Update(s.ctx, now, metav1.UpdateOptions{})
	s.do(err)
	return was
}

// A watcher's address is used again by a fresh one: it is never taken for the dead one.
func TestWatcherOnAReusedAddress(t *testing.T) {
	s := stage(t, "reused", "overlays/all", "")
	before := s.well(3)
	pods, err := s.WatcherPods(s.ctx)
	s.do(err)
	dead := pods[0]
	// Two are asked for, and one is deleted without a word: nobody takes its place yet.
	s.kubectl("annotate", "pod", dead.Name, "controller.kubernetes.io/pod-deletion-cost=-1")
	s.kubectl("scale", "deployment/triwatch", "--replicas=2")
	s.kubectl("delete", "pod", dead.Name, "--force", "--grace-period=0", "--wait=false", "--ignore-not-found")
	s.do(s.Gone(s.ctx, s.Namespace, dead.Name, string(dead.UID), patience))
	s.do(reuse(s, dead.Status.PodIP))
	s.kubectl("scale", "deployment/triwatch", "--replicas=3")
	after := s.well(3)
	// The watcher may be well before the kubelet has told the API server its address.
	s.do(lab.Wait(s.ctx, patience, "a watcher at "+dead.Status.PodIP+" again: the test shows nothing otherwise", func(ctx context.Context) (string, error) {
		now, err := s.WatcherPods(ctx)
		var said []string
		for _, p := range now {
			if p.Status.PodIP == dead.Status.PodIP {
				return "", nil
			}
			said = append(said, p.Name+" has "+p.Status.PodIP)
		}
		return strings.Join(said, ", "), err
	}))
	if after.Master.EpochNumber != before.Master.EpochNumber {
		s.Errorf("epoch %d to %d", before.Master.EpochNumber, after.Master.EpochNumber)
	}
	s.works(after)
}

// reuse makes the next pod get that address, once it is free.
func reuse(s *scene, ip string) error {
	dir, err := addresses(s.Dir(), ip)
	if err != nil {
		return err
	}
	err = lab.Wait(s.ctx, patience, ip+" to be free", func(context.Context) (string, error) {
		if _, err := os.Stat(filepath.Join(dir, ip)); os.IsNotExist(err) {
			return "", nil
		}
		return "taken", nil
	})
	if err != nil {
		return err
	}
	i := strings.LastIndexByte(ip, '.')
	last, err := strconv.Atoi(ip[i+1:])
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "last_reserved_ip.0"), []byte(ip[:i+1]+strconv.Itoa(last-1)), 0o600)
}

// addresses finds the directory in which the network plugin keeps who has which address.
func addresses(root, ip string) (dir string, err error) {
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == ip {
			dir = filepath.Dir(path)
			return filepath.SkipAll
		}
		return nil
	})
	if err == nil && dir == "" {
		err = os.ErrNotExist
	}
	return dir, err
}
