package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/triwatch/triwatch/test/kube/cluster"
	"github.com/triwatch/triwatch/test/kube/image"
)

func TestMain(m *testing.M) {
	if os.Getenv(envHang) == "" {
		os.Exit(cluster.Main(m))
	}
	hang()
}

// until asks again and again until done says so, and shows its last answer when time is up.
func until(t *testing.T, what string, done func() (string, bool)) {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		last, ok := done()
		if ok {
			t.Logf("%6.2f s  %s", time.Since(began).Seconds(), what)
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("wait for %s: after %v: %s", what, time.Since(began), last)
		}
	}
}

// ping asks Redis at address.
func ping(address string) (string, bool) {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, "6379"), 300*time.Millisecond)
	if err != nil {
		return err.Error(), false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err.Error(), false
	}
	fmt.Fprint(conn, "PING\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err.Error(), false
	}
	return line, line == "+PONG\r\n"
}

func answers(address string) func() (string, bool) {
	return func() (string, bool) { return ping(address) }
}

func silent(address string) func() (string, bool) {
	return func() (string, bool) {
		said, ok := ping(address)
		return said, !ok
	}
}

// smoke is one cluster with one Redis.
type smoke struct {
	*testing.T
	*cluster.Cluster
	ctx context.Context
}

func (s smoke) kubectl(args ...string) string {
	s.Helper()
	out, err := s.Kubectl(s.ctx, args...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (s smoke) do(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s smoke) podIP() string {
	s.Helper()
	return s.kubectl("get", "pod", "redis-0", "-o", "jsonpath={.status.podIP}")
}

func start(t *testing.T) smoke {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	began := time.Now()
	logs := filepath.Join(os.TempDir(), "triwatch-logs", t.Name())
	c, err := cluster.Start(ctx, cluster.Options{DNS: true, FailedLogs: logs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Finish(t, logs) })
	t.Logf("%6.2f s  cluster ready", time.Since(began).Seconds())
	return smoke{T: t, Cluster: c, ctx: ctx}
}

func TestRedisPodIsKilledCutOffAndDeleted(t *testing.T) {
	s := start(t)
	tar := filepath.Join(t.TempDir(), "redis.tar")
	s.do(image.Redis(s.ctx, tar, "redis:test"))
	s.do(s.LoadImage(s.ctx, tar))
	s.do(s.MakeVolumes(s.ctx, 1, "10Mi", "disk"))
	s.kubectl("apply", "-f", "testdata/redis.yaml")
	service := s.kubectl("get", "service", "redis-master", "-o", "jsonpath={.spec.clusterIP}")
	until(t, "Redis answers through the ClusterIP", answers(service))
	first := s.podIP()

	s.checkPod(service)

	s.do(s.KillInContainer(s.ctx, "default", "redis-0", "redis", syscall.SIGKILL))
	until(t, "the killed container is silent", silent(first))
	until(t, "the killed container is back at its address", answers(first))
	if ip := s.podIP(); ip != first {
		t.Errorf("the pod has address %s after its container was killed, had %s", ip, first)
	}

	s.do(s.KillInContainer(s.ctx, "default", "redis-0", "redis", syscall.SIGSTOP))
	until(t, "the frozen container is silent", silent(first))
	s.do(s.KillInContainer(s.ctx, "default", "redis-0", "redis", syscall.SIGCONT))
	until(t, "the thawed container answers", answers(first))

	link, err := s.Veth(s.ctx, "default", "redis-0")
	s.do(err)
	s.do(s.LinkDown(s.ctx, link))
	until(t, "the cut pod is silent", silent(first))
	s.do(s.LinkUp(s.ctx, link))
	until(t, "the healed pod answers", answers(first))

	s.kubectl("delete", "pod", "redis-0", "--wait=false")
	until(t, "a new pod has a new address", func() (string, bool) {
		out, err := s.Kubectl(s.ctx, "get", "pod", "redis-0", "-o", "jsonpath={.status.podIP}")
		return fmt.Sprint(out, err), err == nil && out != "" && out != first
	})
	until(t, "the new pod answers through the ClusterIP", answers(service))
	s.restartAPI(service)
	s.restartProxy(service)
}

// checkPod looks at the cluster from inside the pod: DNS, the API server's address, the token.
func (s smoke) checkPod(service string) {
	s.Helper()
	for name, address := range map[string]string{"redis-master.default.svc.cluster.local": service, "redis-0.redis.default.svc.cluster.local": s.podIP()} {
		until(s.T, name+" is resolved in the pod", func() (string, bool) {
			out, err := s.Exec(s.ctx, "default", "redis-0", "redis", "nslookup", name)
			return fmt.Sprint(out, err), strings.Contains(out, "Address: "+address+"\n")
		})
	}
	if _, err := s.Exec(s.ctx, "default", "redis-0", "redis", "sh", "-c", "nc -w 2 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null"); err != nil {
		s.Errorf("the pod does not reach the API server: %v", err)
	}
	const secrets = "/var/run/secrets/kubernetes.io/serviceaccount/"
	token, err := s.Exec(s.ctx, "default", "redis-0", "redis", "cat", secrets+"token")
	s.do(err)
	ca, err := s.Exec(s.ctx, "default", "redis-0", "redis", "cat", secrets+"ca.crt")
	s.do(err)
	pod, err := kubernetes.NewForConfig(&rest.Config{Host: "https://10.96.0.1", BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(ca)}})
	s.do(err)
	review, err := pod.AuthenticationV1().SelfSubjectReviews().Create(s.ctx, &authv1.SelfSubjectReview{}, metav1.CreateOptions{})
	s.do(err)
	if name := review.Status.UserInfo.Username; name != "system:serviceaccount:default:default" {
		s.Errorf("the pod's token is that of %q", name)
	}
	if _, err := pod.CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{}); err == nil {
		s.Error("the pod may list pods: RBAC is not at work")
	}
}

func (s smoke) restartAPI(service string) {
	s.Helper()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		s.do(s.StopAPI(s.ctx, signal))
		if _, err := s.Kubectl(s.ctx, "get", "pods", "--request-timeout=2s"); err == nil {
			s.Error("the stopped API server answers")
		}
		if _, err := s.PodPID("default", "redis-0", "redis"); err != nil {
			s.Errorf("without an API server: %v", err)
		}
		if said, ok := ping(service); !ok {
			s.Errorf("without an API server the Service says %s", said)
		}
		s.do(s.StartAPI(s.ctx))
		s.kubectl("get", "pod", "redis-0")
	}
}

// restartProxy proves that kube-proxy works after a restart: a new Service comes to answer.
func (s smoke) restartProxy(service string) {
	s.Helper()
	s.do(s.Restart(s.ctx, cluster.Proxy))
	s.kubectl("expose", "service", "redis-master", "--name=second")
	second := s.kubectl("get", "service", "second", "-o", "jsonpath={.spec.clusterIP}")
	until(s.T, "a Service made after kube-proxy's restart answers", answers(second))
	until(s.T, "the old Service answers", answers(service))
}

func TestStoppedClusterLeavesNothingAndStartsAgain(t *testing.T) {
	for range 2 {
		s := start(t)
		tar := filepath.Join(t.TempDir(), "redis.tar")
		s.do(image.Redis(s.ctx, tar, "redis:test"))
		s.do(s.LoadImage(s.ctx, tar))
		s.kubectl("run", "redis", "--image=redis:test", "--image-pull-policy=Never")
		until(t, "the pod runs", func() (string, bool) {
			_, err := s.PodPID("default", "redis", "redis")
			return fmt.Sprint(err), err == nil
		})
		pid, err := s.PodPID("default", "redis", "redis")
		s.do(err)
		groups := cgroups(t, pid)
		s.do(s.Stop(s.ctx))
		nothingLeft(t, s.Dir(), groups)
	}
}

// cgroups are the directories of a process's cgroups.
func cgroups(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(strings.TrimSpace(string(text))) {
		path := strings.SplitN(strings.TrimSpace(line), ":", 3)[2]
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			dirs, err := filepath.Glob(root + path)
			if err != nil {
				t.Fatal(err)
			}
			if path != "/" {
				found = append(found, dirs...)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("process %d of a pod has no cgroup: %s", pid, text)
	}
	return found
}

// nothingLeft looks at what a cluster makes: processes, mounts, links, rules, cgroups and files.
func nothingLeft(t *testing.T, dir string, groups []string) {
	t.Helper()
	show := func(args ...string) string {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	ps := show("ps", "-e", "-o", "pid=,args=")
	if lines := strings.Split(strings.TrimSpace(ps), "\n"); len(lines) != 3 { // process 1, this one, ps
		t.Errorf("processes are left:\n%s", ps)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[4], dir) {
			t.Errorf("a mount is left: %s", line)
		}
	}
	if links := strings.TrimSpace(show("ip", "-o", "link", "show", "type", "veth") + show("ip", "-o", "link", "show", "type", "bridge")); links != "" {
		t.Errorf("links are left:\n%s", links)
	}
	if rules := show("nft", "list", "ruleset"); rules != "" {
		t.Errorf("rules are left:\n%s", rules)
	}
	for _, group := range groups {
		if exists(group) {
			t.Errorf("a cgroup is left: %s", group)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != "sysctl" { // mounted by process 1, for as long as this program runs
			t.Errorf("a file is left: %s", entry.Name())
		}
	}
}
