package deploy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/triwatch/triwatch/test/redisproc"
)

// redisPods are the StatefulSets whose pods are born replicas.
func redisPods(objects []object) []*appsv1.StatefulSet {
	var out []*appsv1.StatefulSet
	for _, s := range all[*appsv1.StatefulSet](objects) {
		if s.Name == "redis" {
			out = append(out, s)
		}
	}
	return out
}

func TestRedisPodsAreHeldAndNeverRestartedByAProbe(t *testing.T) {
	for _, dir := range []string{"redis", "overlays/all", "overlays/persistent", "overlays/namespaces"} {
		found := redisPods(build(t, dir))
		require.NotEmpty(t, found, dir)
		for _, s := range found {
			assert.Equal(t, appsv1.ParallelPodManagement, s.Spec.PodManagementPolicy, dir)
			assert.Equal(t, int32(3), *s.Spec.Replicas, dir)
			require.Len(t, s.Spec.Template.Spec.Containers, 1, dir)
			c := s.Spec.Template.Spec.Containers[0]
			assert.Nil(t, c.LivenessProbe, dir)
			assert.Nil(t, c.StartupProbe, dir)
			require.NotNil(t, c.ReadinessProbe.Exec, dir)
			require.NotNil(t, c.Lifecycle.PreStop.Sleep, dir)
			held, grace := c.Lifecycle.PreStop.Sleep.Seconds, *s.Spec.Template.Spec.TerminationGracePeriodSeconds
			assert.GreaterOrEqual(t, held, int64(3), "the handover begins after 1.2 s")
			assert.LessOrEqual(t, held+10, grace, "Redis waits up to 10 s for its replicas when it shuts down")
			assert.False(t, *s.Spec.Template.Spec.AutomountServiceAccountToken, dir)
			assert.False(t, *s.Spec.Template.Spec.EnableServiceLinks, dir)
			headless := in[*corev1.Service](build(t, dir), s.Namespace, s.Spec.ServiceName)
			assert.True(t, headless.Spec.PublishNotReadyAddresses, dir)
		}
	}
}

func TestVolumesOutliveTheStatefulSet(t *testing.T) {
	s := redisPods(build(t, "overlays/persistent"))[0]
	require.Len(t, s.Spec.VolumeClaimTemplates, 1)
	keep := s.Spec.PersistentVolumeClaimRetentionPolicy
	require.NotNil(t, keep)
	assert.Equal(t, appsv1.RetainPersistentVolumeClaimRetentionPolicyType, keep.WhenDeleted)
	assert.Equal(t, appsv1.RetainPersistentVolumeClaimRetentionPolicyType, keep.WhenScaled)
	assert.Empty(t, redisPods(build(t, "overlays/all"))[0].Spec.VolumeClaimTemplates)
}

// The tutorial's StatefulSet must not restart because triwatch watches it.
func TestTutorialsStatefulSetOnlyGetsAnnotations(t *testing.T) {
	text, err := filesys.MakeFsOnDisk().ReadFile("overlays/tutorial/redis-sfs.yaml")
	require.NoError(t, err)
	var before appsv1.StatefulSet
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(doc, "kind: StatefulSet") {
			require.NoError(t, yaml.UnmarshalStrict([]byte(doc), &before))
		}
	}
	after := one[*appsv1.StatefulSet](t, build(t, "overlays/tutorial"), "redis-sfs")
	require.Equal(t, int32(3), *before.Spec.Replicas)
	assert.Equal(t, before.Spec, after.Spec)
	assert.Equal(t, before.Labels, after.Labels)
	assert.NotEqual(t, before.Annotations, after.Annotations)
	assert.NotContains(t, string(text), "triwatch.io/")
	assert.Nil(t, after.Spec.Template.Spec.Containers[0].Lifecycle)
}

// pod is one Redis pod of the manifests, started here as Kubernetes would.
type pod struct {
	*redisproc.Server
	t        *testing.T
	dir      string
	env      string // the password in the environment of the container
	probe    string
	readonly string // where the Secret is mounted
}

// startPod runs what the StatefulSet of an overlay says, on a port of its own.
func startPod(t *testing.T, overlay, password string) *pod {
	t.Helper()
	objects := build(t, overlay)
	s := redisPods(objects)[0]
	c := s.Spec.Template.Spec.Containers[0]
	p := &pod{t: t, dir: t.TempDir(), env: password}
	p.readonly = filepath.Join(p.dir, "auth")
	p.write("auth", password)
	for name, text := range all[*corev1.ConfigMap](objects)[0].Data {
		text = strings.ReplaceAll(text, "include /etc/redis", "include "+p.dir)
		p.write(name, strings.ReplaceAll(text, "dir /data", "dir "+t.TempDir()))
	}
	require.Equal(t, []string{"redis-server"}, c.Command)
	require.Equal(t, "/etc/redis/redis.conf", c.Args[0])
	args := []string{filepath.Join(p.dir, "redis.conf")}
	for _, arg := range c.Args[1:] {
		args = append(args, strings.ReplaceAll(arg, "$(REDIS_PASSWORD)", password))
	}
	p.probe = strings.ReplaceAll(c.ReadinessProbe.Exec.Command[2], "/etc/redis-auth/password", p.readonly)
	require.NotEqual(t, c.ReadinessProbe.Exec.Command[2], p.probe, "the mounted password is not read")

	// redisproc's own arguments are left away, except for the port (the second).
	quoted := ""
	for _, arg := range args {
		quoted += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	server := p.program("server", `exec redis-server`+quoted+` --port "$2" --bind 127.0.0.1`)
	var err error
	p.Server, err = redisproc.Start(t.Context(), redisproc.Options{Binary: server, Password: password})
	require.NoError(t, err)
	t.Cleanup(p.Stop)
	p.program("redis-cli", fmt.Sprintf(`exec redis-cli -p %d "$@"`, p.Port()))
	return p
}

func (p *pod) write(name, text string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
}

// program makes a shell script that runs with the PATH of the test.
func (p *pod) program(name, line string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	text := fmt.Sprintf("#!/bin/sh\nPATH=%q\n%s\n", os.Getenv("PATH"), line)
	require.NoError(p.t, os.WriteFile(path, []byte(text), 0o700)) //nolint:gosec // a program has to be executable
	return path
}

// ready runs the readiness probe with one shell.
func (p *pod) ready(shell ...string) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	if len(shell) == 0 {
		shell = []string{"sh"}
	}
	args := append(append([]string{}, shell[1:]...), "-c", p.probe)
	cmd := exec.CommandContext(ctx, shell[0], args...)
	cmd.Env = []string{"PATH=" + p.dir + ":" + os.Getenv("PATH"), "REDIS_PASSWORD=" + p.env}
	out, err := cmd.CombinedOutput()
	require.NoError(p.t, ctx.Err(), "the probe hangs")
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(p.t, err, &exit)
		require.Equal(p.t, 1, exit.ExitCode(), "%s", out)
	}
	return err == nil
}

func (p *pod) do(args ...string) string {
	p.t.Helper()
	reply, err := p.Do(p.t.Context(), args...)
	require.NoError(p.t, err)
	require.NoError(p.t, reply.Err(), "%v", args)
	return reply.Str
}

func (p *pod) waitInfo(field, value string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(p.t, p.WaitInfo(ctx, field, value))
}

func TestBornReplicaIsReadyOnceItHasAPart(t *testing.T) {
	const password = `p w"x$'1`
	a, b := startPod(t, "redis", password), startPod(t, "redis", password)
	a.waitInfo("role", "slave")
	assert.False(t, a.ready(), "born, with nobody to follow")
	reply, err := a.Do(t.Context(), "SET", "k", "v")
	require.NoError(t, err)
	require.ErrorContains(t, reply.Err(), "READONLY")

	a.do("REPLICAOF", "NO", "ONE")
	assert.True(t, a.ready(), "master")
	a.do("SET", "k", "v")
	b.do("REPLICAOF", "127.0.0.1", strconv.Itoa(a.Port()))
	b.waitInfo("master_link_status", "up")
	assert.True(t, b.ready(), "replica in sync")
	a.do("REPLICAOF", "127.0.0.1", "0")
	assert.False(t, a.ready(), "fenced")
}

// The mounted password follows the Secret, the one in the environment does not.
func TestProbeGoesOnThroughAChangeOfThePassword(t *testing.T) {
	a := startPod(t, "redis", "old")
	a.do("REPLICAOF", "NO", "ONE")
	a.do("ACL", "SETUSER", "default", ">new")
	assert.True(t, a.ready(), "both are good, the old one is mounted")
	a.write("auth", "new")
	a.do("ACL", "SETUSER", "default", "<old")
	assert.True(t, a.ready(), "the new one is mounted")
	a.write("auth", "wrong")
	assert.False(t, a.ready(), "no password is good")
}

func TestProbeOfAFrozenRedisEndsAndIsNotReady(t *testing.T) {
	a := startPod(t, "redis", "secret")
	a.do("REPLICAOF", "NO", "ONE")
	require.True(t, a.ready())
	require.NoError(t, a.Freeze())
	begin := time.Now()
	assert.False(t, a.ready())
	s := redisPods(build(t, "redis"))[0]
	limit := time.Duration(s.Spec.Template.Spec.Containers[0].ReadinessProbe.TimeoutSeconds) * time.Second
	assert.Less(t, time.Since(begin), limit, "kubelet gives up first, and a redis-cli is left behind")
	require.NoError(t, a.Thaw())
}

// A replica's last full sync must not come back after a restart of the container.
func TestWithoutVolumesNoFileOfASyncIsLeft(t *testing.T) {
	a, b := startPod(t, "redis", "secret"), startPod(t, "redis", "secret")
	a.do("REPLICAOF", "NO", "ONE")
	a.do("SET", "k", "v")
	b.do("REPLICAOF", "127.0.0.1", strconv.Itoa(a.Port()))
	b.waitInfo("master_link_status", "up")
	for _, p := range []*pod{a, b} {
		reply, err := p.Do(t.Context(), "CONFIG", "GET", "dir")
		require.NoError(t, err)
		left, err := os.ReadDir(reply.Items[1].Str)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

func TestWithVolumesARestartKeepsTheDataAndIsAReplica(t *testing.T) {
	a := startPod(t, "overlays/persistent", "secret")
	a.do("REPLICAOF", "NO", "ONE")
	a.do("SET", "k", "v")
	a.Kill()
	require.NoError(t, a.Restart(t.Context(), redisproc.RestartOptions{}))
	a.waitInfo("role", "slave")
	assert.Equal(t, "v", a.do("GET", "k"))
}

// canned answers as INFO does, without a Redis.
func canned(t *testing.T, info string) *pod {
	t.Helper()
	s := redisPods(build(t, "redis"))[0]
	p := &pod{t: t, dir: t.TempDir(), env: "secret", probe: s.Spec.Template.Spec.Containers[0].ReadinessProbe.Exec.Command[2]}
	p.program("redis-cli", "cat <<'END'\n"+strings.ReplaceAll(info, "\n", "\r\n")+"\r\nEND")
	return p
}

func TestProbeReadsWhatRedisSays(t *testing.T) {
	const head = "# Server\nos:Linux * x86_64\n# Persistence\n"
	cases := map[string]struct {
		info  string
		ready bool
	}{
		"loaded master":            {head + "loading:0\nasync_loading:0\nrole:master", true},
		"loading master":           {head + "loading:1\nasync_loading:0\nrole:master", false},
		"replica in sync":          {head + "loading:0\nrole:slave\nmaster_link_status:up\nmaster_sync_in_progress:0", true},
		"replica without link":     {head + "loading:0\nrole:slave\nmaster_link_status:down\nmaster_sync_in_progress:0", false},
		"replica that syncs":       {head + "loading:0\nrole:slave\nmaster_link_status:up\nmaster_sync_in_progress:1", false},
		"loading replica":          {head + "loading:1\nrole:slave\nmaster_link_status:up\nmaster_sync_in_progress:0", false},
		"wrong password":           {"NOAUTH Authentication required.", false},
		"nothing":                  {"", false},
		"slave of role:masterlike": {head + "loading:0\nrole:slave\nslave0:ip=role:master", false},
	}
	shells := [][]string{{"sh"}}
	if path, err := exec.LookPath("busybox"); err == nil {
		shells = append(shells, []string{path, "sh"}) // what Alpine and small images have
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := canned(t, c.info)
			for _, shell := range shells {
				assert.Equal(t, c.ready, p.ready(shell...), "%v", shell)
			}
		})
	}
}
