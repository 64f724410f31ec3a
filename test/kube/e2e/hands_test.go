package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/kube/lab"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What people and other controllers do to the objects is set right, or harmless.
func TestHandEdits(t *testing.T) {
	s := stage(t, "hands", "overlays/all", "")
	t.Run("labels and selector edited", func(t *testing.T) { s.in(t).edited() })
	t.Run("applied again", func(t *testing.T) { s.in(t).appliedAgain() })
	t.Run("stale leader", func(t *testing.T) { s.in(t).staleLeader() })
	t.Run("password rotated", func(t *testing.T) { s.in(t).passwordRotated() })
	t.Run("bad annotations", func(t *testing.T) { s.in(t).badAnnotations() })
	t.Run("names announced", func(t *testing.T) { s.in(t).namesAnnounced() })
	t.Run("released", func(t *testing.T) { s.in(t).released() })
}

// edited lets a hand change one thing after the other and waits until it is right again.
func (s *scene) edited() {
	st := s.well(3)
	master, replica := st.Master.Current.Name, ""
	for _, i := range st.Master.Instances {
		if !i.Master {
			replica = i.Name
		}
	}
	for _, edit := range [][]string{
		{"label", "pod", master, "triwatch.io/role=replica", "--overwrite"},
		{"label", "pod", master, "triwatch.io/role-", "triwatch.io/instance-"},
		{"label", "pod", replica, "triwatch.io/role=master", "--overwrite"},
		{"label", "pod", replica, "triwatch.io/reads-"},
		{"annotate", "service", s.Service, "triwatch.io/epoch=0", "--overwrite"},
		{"annotate", "service", s.Service, "triwatch.io/epoch-"},
		{"patch", "service", s.Service, "--type=json", "-p", `[{"op":"remove","path":"/spec/selector/triwatch.io~1instance"}]`},
		{"patch", "service", s.Service, "--type=merge", "-p", `{"spec":{"selector":{"triwatch.io/instance":"nobody"}}}`},
	} {
		s.kubectl(edit...)
		began := time.Now()
		s.well(3)
		s.Logf("kubectl %s: right again after %d ms", strings.Join(edit, " "), time.Since(began).Milliseconds())
	}
}

// appliedAgain applies the manifests once more, in both ways, under load.
func (s *scene) appliedAgain() {
	before := s.well(3)
	s.steady()
	dir, err := shared.Overlay(s.Namespace, "overlays/all", "")
	s.do(err)
	l := s.begin()
	version := s.version()
	s.kubectl("apply", "-k", dir)
	if now := s.version(); now != version {
		s.Errorf("kubectl apply of the same manifests changed the Service: %s to %s", version, now)
	}
	s.kubectl("apply", "-k", dir, "--server-side", "--force-conflicts")
	began := time.Now()
	after := s.well(3)
	s.Logf("after a forced server-side apply: right again after %d ms", time.Since(began).Milliseconds())
	v := s.end("applied again", l)
	s.lossless(v)
	if len(v.Service.Errors) != 0 {
		s.Errorf("clients of the Service noticed: %v", v.Service.Errors)
	}
	if after.Master.EpochNumber != before.Master.EpochNumber {
		s.Errorf("epoch %d to %d", before.Master.EpochNumber, after.Master.EpochNumber)
	}
}

// steady waits until the Service has answered for three seconds on end: kube-proxy
// carries out an edit up to a second late.
func (s *scene) steady() {
	s.Helper()
	addr, err := s.ServiceAddr(s.ctx)
	s.do(err)
	since := time.Now()
	s.do(lab.Wait(s.ctx, patience, "the Service to answer for three seconds on end", func(ctx context.Context) (string, error) {
		conn, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(ctx, "tcp", addr)
		if err != nil {
			since = time.Now()
			return "", err
		}
		if good := time.Since(since); good < 3*time.Second {
			return good.String(), conn.Close()
		}
		return "", conn.Close()
	}))
}

func (s *scene) version() string {
	s.Helper()
	svc, err := s.Client().CoreV1().Services(s.Namespace).Get(s.ctx, s.Service, metav1.GetOptions{})
	s.do(err)
	return svc.ResourceVersion
}

// staleLeader sends what a leader of an earlier epoch would send too late.
func (s *scene) staleLeader() {
	before := s.well(3)
	s.works(before)
	after := s.well(3)
	old := before.Master.EpochNumber
	patch := fmt.Sprintf(`[{"op":"test","path":"/metadata/annotations/triwatch.io~1epoch","value":"%d"},
		{"op":"replace","path":"/metadata/annotations/triwatch.io~1epoch","value":"%d"},
		{"op":"replace","path":"/spec/selector/triwatch.io~1instance","value":%q}]`, old, old, before.Master.Current.ID)
	_, err := s.Client().CoreV1().Services(s.Namespace).Patch(s.ctx, s.Service, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		s.Errorf("a stale leader's write was not refused: %v", err)
	}
	if st := s.well(3); st.Master.Current.ID != after.Master.Current.ID {
		s.Errorf("the master is %s", st.Master.Current.Name)
	}
}

// passwordRotated changes the password as deploy/redis says, under load.
func (s *scene) passwordRotated() {
	before := s.well(3)
	next := "changed-by-hand"
	l := s.begin()
	pods, err := s.RedisPods(s.ctx)
	s.do(err)
	for _, p := range pods {
		_, err := s.Redis(s.ctx, p.Name, "ACL", "SETUSER", "default", ">"+next)
		s.do(err)
		_, err = s.Redis(s.ctx, p.Name, "CONFIG", "SET", "masterauth", next)
		s.do(err)
	}
	s.kubectl("patch", "secret", "redis-auth", "--type=merge", "-p", fmt.Sprintf(`{"stringData":{"password":%q}}`, next))
	s.do(l.Flowing(s.ctx, patience))
	s.lossless(s.end("password rotated", l))
	for _, p := range pods {
		_, err := s.Redis(s.ctx, p.Name, "ACL", "SETUSER", "default", "<"+s.Password)
		s.do(err)
	}
	s.Password = next
	// New connections prove that everybody has the new one: clients, replicas, watchers.
	for _, p := range pods {
		_, err := s.Redis(s.ctx, p.Name, "CLIENT", "KILL", "TYPE", "normal")
		s.do(err)
	}
	after := s.well(3)
	if after.Master.EpochNumber != before.Master.EpochNumber {
		s.Errorf("a new password moved the master: epoch %d to %d", before.Master.EpochNumber, after.Master.EpochNumber)
	}
	s.works(after)
	s.well(3)
}

// badAnnotations writes nonsense and looks for the Event, the metric and the log line.
func (s *scene) badAnnotations() {
	s.well(3)
	for _, bad := range []struct{ object, annotation, reason, names string }{
		{"statefulset/redis", "triwatch.io/down-after=soon", "InvalidAnnotation", "down-after"},
		{"statefulset/redis", "triwatch.io/fail-fast=yes", "UnknownAnnotation", "fail-fast"},
		{"service/redis-headless", "triwatch.io/serve=nobody/master", "UnknownMaster", "nobody"},
		{"statefulset/redis", "triwatch.io/auth-secret=none", "MissingSecret", "none"},
	} {
		key, _, _ := strings.Cut(bad.annotation, "=")
		was := s.kubectl("get", bad.object, "-o", "jsonpath={.metadata.annotations."+strings.ReplaceAll(key, ".", `\.`)+"}")
		s.kubectl("annotate", bad.object, bad.annotation, "--overwrite")
		s.complained(bad.object, bad.reason, bad.names)
		if was == "" {
			s.kubectl("annotate", bad.object, key+"-")
		} else {
			s.kubectl("annotate", bad.object, key+"="+was, "--overwrite")
		}
	}
	s.well(3)
}

// namesAnnounced tells Sentinel clients names instead of addresses, and addresses again.
func (s *scene) namesAnnounced() {
	master := s.well(3).Master.Current
	for _, c := range [][2]string{{"hostname", master.Name + ".redis-headless." + s.Namespace + ".svc"}, {"ip", master.Address}} {
		want := c[1]
		s.kubectl("annotate", "statefulset/redis", "triwatch.io/announce="+c[0], "--overwrite")
		s.do(lab.Wait(s.ctx, patience, "Sentinel clients to be told "+want, func(ctx context.Context) (string, error) {
			for range 6 { // the Service has three watchers
				if got, err := s.Told(ctx); err != nil || !strings.HasPrefix(got, want) {
					return "told " + got, err
				}
			}
			return "", nil
		}))
	}
	s.kubectl("annotate", "statefulset/redis", "triwatch.io/announce-")
}

// complained waits for the Event on an object, the metric and the log line.
func (s *scene) complained(object, reason, names string) {
	s.Helper()
	_, name, _ := strings.Cut(object, "/")
	s.do(lab.Wait(s.ctx, patience, "the Event "+reason+" on "+object, func(ctx context.Context) (string, error) {
		out, err := s.Kubectl(ctx, "-n", s.Namespace, "get", "events", "--field-selector", "involvedObject.name="+name+",reason="+reason, "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, names) {
			return "messages: " + out, nil
		}
		return "", err
	}))
	pods, err := s.WatcherPods(s.ctx)
	s.do(err)
	text, err := lab.Metrics(s.ctx, pods[0].Status.PodIP)
	s.do(err)
	if want := fmt.Sprintf(`triwatch_k8s_problems{kind=%q,name=%q,namespace=%q,reason=%q} 1`, kindOf(object), name, s.Namespace, reason); !strings.Contains(text, want) {
		s.Errorf("metrics do not have %s", want)
	}
	if log := s.kubectl("logs", pods[0].Name); !strings.Contains(log, reason) {
		s.Errorf("the log does not have %s", reason)
	}
}

func kindOf(object string) string {
	if strings.HasPrefix(object, "service/") {
		return "Service"
	}
	return "StatefulSet"
}

// released gives the master back and takes triwatch away: the Service still answers.
func (s *scene) released() {
	before := s.well(3)
	l := s.begin()
	s.kubectl("exec", "deployment/triwatch", "--", "/triwatch", "release", "redis")
	s.do(lab.Wait(s.ctx, patience, "the Service to be given back", func(ctx context.Context) (string, error) {
		svc, err := s.Client().CoreV1().Services(s.Namespace).Get(ctx, s.Service, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		if svc.Spec.Selector["triwatch.io/instance"] != "" || svc.Annotations["triwatch.io/epoch"] != "" {
			return fmt.Sprintf("selector %v, annotations %v", svc.Spec.Selector, svc.Annotations), nil
		}
		return "", nil
	}))
	pods, err := s.RedisPods(s.ctx)
	s.do(err)
	for _, p := range pods {
		s.do(lab.Wait(s.ctx, patience, "the ping period to be given back", func(context.Context) (string, error) {
			out, err := s.Redis(s.ctx, p.Name, "CONFIG", "GET", "repl-ping-replica-period")
			if err == nil && !strings.HasSuffix(out, "10") {
				return out, nil
			}
			return "", err
		}))
	}
	s.do(l.Flowing(s.ctx, patience))
	v, err := l.End(s.ctx) // while a watcher can still say who the master is
	s.do(err)
	s.lossless(v)
	s.kubectl("delete", "deployment", "triwatch", "--wait=true")
	addr, err := s.ServiceAddr(s.ctx)
	s.do(err)
	host, _, _ := strings.Cut(addr, ":")
	out, err := s.Redis(s.ctx, before.Master.Current.Name, "-h", host, "SET", "after", "release")
	s.do(err)
	if out != "OK" {
		s.Errorf("the Service answers %q", out)
	}
	slices, err := s.Client().DiscoveryV1().EndpointSlices(s.Namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + s.Service})
	s.do(err)
	if len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != 1 {
		s.Errorf("the Service has not exactly one endpoint: %+v", slices.Items)
	}
}
