package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// kubeFlags reads the flags of `triwatch kube` and their defaults from where they are
// declared; each is also TRIWATCH_ and its name in capitals.
func kubeFlags(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../cmd/triwatch/kube.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	flags := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 4 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		name, isText := call.Args[1].(*ast.BasicLit)
		if !ok || !isText || !strings.HasSuffix(sel.Sel.Name, "Var") {
			return true
		}
		key, err := strconv.Unquote(name.Value)
		require.NoError(t, err)
		flags[key] = ""
		if value, ok := call.Args[2].(*ast.BasicLit); ok {
			flags[key] = strings.Trim(value.Value, `"`)
		}
		return true
	})
	for _, needed := range []string{"namespaces", "watchers", "selector", "data-dir", "http-addr", "record"} {
		require.Contains(t, flags, needed)
	}
	return flags
}

// ours are workloads that this folder is the author of, not the tutorial's.
func ours(objects []object) []workload {
	return slices.DeleteFunc(workloads(objects), func(w workload) bool { return w.GetName() == "redis-sfs" })
}

func TestPodsAreConfined(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range ours(objects) {
			p := w.pod.Spec.SecurityContext
			require.NotNil(t, p, "%s", w)
			assert.True(t, *p.RunAsNonRoot, "%s", w)
			assert.Positive(t, *p.RunAsUser, "%s", w)
			assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, p.SeccompProfile.Type, "%s", w)
			assert.False(t, w.pod.Spec.HostNetwork || w.pod.Spec.HostPID || w.pod.Spec.HostIPC, "%s", w)
			for _, c := range append(slices.Clone(w.pod.Spec.InitContainers), w.pod.Spec.Containers...) {
				s := c.SecurityContext
				require.NotNil(t, s, "%s", w)
				assert.False(t, *s.AllowPrivilegeEscalation, "%s", w)
				assert.True(t, *s.ReadOnlyRootFilesystem, "%s", w)
				assert.Equal(t, []corev1.Capability{"ALL"}, s.Capabilities.Drop, "%s", w)
				assert.Empty(t, s.Capabilities.Add, "%s", w)
			}
			for _, v := range w.pod.Spec.Volumes {
				assert.Nil(t, v.HostPath, "%s", w)
			}
		}
	})
}

func TestMemoryIsAskedForAsLimitedAndCPUIsNotLimited(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range ours(objects) {
			for _, c := range w.pod.Spec.Containers {
				assert.False(t, c.Resources.Requests.Cpu().IsZero(), "%s", w)
				assert.True(t, c.Resources.Limits.Cpu().IsZero(), "%s", w)
				assert.False(t, c.Resources.Limits.Memory().IsZero(), "%s", w)
				assert.True(t, c.Resources.Requests.Memory().Equal(*c.Resources.Limits.Memory()), "%s", w)
			}
		}
	})
}

func TestPodsLeaveALostNodeAndKeepApart(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range ours(objects) {
			for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
				i := slices.IndexFunc(w.pod.Spec.Tolerations, func(o corev1.Toleration) bool { return o.Key == key })
				require.GreaterOrEqual(t, i, 0, "%s: %s", w, key)
				o := w.pod.Spec.Tolerations[i]
				assert.Equal(t, corev1.TolerationOpExists, o.Operator)
				assert.Equal(t, corev1.TaintEffectNoExecute, o.Effect)
				assert.Equal(t, int64(30), *o.TolerationSeconds)
			}
			a := w.pod.Spec.Affinity.PodAntiAffinity
			assert.Empty(t, a.RequiredDuringSchedulingIgnoredDuringExecution, "%s must fit on one node too", w)
			assert.Equal(t, corev1.LabelHostname, a.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.TopologyKey)
			s := w.pod.Spec.TopologySpreadConstraints
			require.Len(t, s, 1, "%s", w)
			assert.Equal(t, corev1.LabelTopologyZone, s[0].TopologyKey)
			assert.Equal(t, corev1.ScheduleAnyway, s[0].WhenUnsatisfiable)
			assert.Equal(t, int64(30), *w.pod.Spec.TerminationGracePeriodSeconds)
		}
	})
}

func TestBudgetsLetBrokenPodsGo(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		covered := map[string]bool{}
		for _, p := range all[*policyv1.PodDisruptionBudget](objects) {
			assert.Equal(t, 1, p.Spec.MaxUnavailable.IntValue(), "%s", p.Name)
			assert.Equal(t, policyv1.AlwaysAllow, *p.Spec.UnhealthyPodEvictionPolicy, "%s", p.Name)
			for _, w := range selected(objects, p.Namespace, p.Spec.Selector.MatchLabels) {
				covered[w.String()] = true
			}
		}
		for _, w := range ours(objects) {
			assert.True(t, covered[w.String()], "%s has no budget", w)
		}
	})
}

func watchers(t *testing.T, objects []object) (*appsv1.Deployment, corev1.Container) {
	t.Helper()
	d := one[*appsv1.Deployment](t, objects, "triwatch")
	require.Len(t, d.Spec.Template.Spec.Containers, 1)
	return d, d.Spec.Template.Spec.Containers[0]
}

func TestWatchersAreThreeAtAnyTimeOfARoll(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		d, _ := watchers(t, objects)
		assert.Equal(t, kubeFlags(t)["watchers"], strconv.Itoa(int(*d.Spec.Replicas)))
		assert.Equal(t, appsv1.RollingUpdateDeploymentStrategyType, d.Spec.Strategy.Type)
		assert.Equal(t, 1, d.Spec.Strategy.RollingUpdate.MaxSurge.IntValue())
		assert.Equal(t, 0, d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
	})
}

func TestWatchersAreToldOnlyFlagsThatExist(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		d, c := watchers(t, objects)
		require.NotEmpty(t, c.Args)
		assert.Equal(t, "kube", c.Args[0])
		for _, arg := range c.Args[1:] {
			if name, ok := strings.CutPrefix(arg, "--"); ok {
				name, _, _ = strings.Cut(name, "=")
				assert.Contains(t, kubeFlags(t), name)
			}
		}
		fields := map[string]string{}
		for _, e := range c.Env {
			if name, ok := strings.CutPrefix(e.Name, "TRIWATCH_"); ok {
				assert.Contains(t, kubeFlags(t), strings.ReplaceAll(strings.ToLower(name), "_", "-"))
			}
			if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
				fields[e.Name] = e.ValueFrom.FieldRef.FieldPath
			}
		}
		assert.Equal(t, map[string]string{
			"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_IP": "status.podIP", "POD_UID": "metadata.uid",
		}, fields)
		// TRIWATCH_PORT and others would come from the Service of that name.
		assert.False(t, *d.Spec.Template.Spec.EnableServiceLinks)
		assert.True(t, *d.Spec.Template.Spec.AutomountServiceAccountToken)
	})
}

func TestDefaultsOfTheFlagsFitTheManifests(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		d, c := watchers(t, objects)
		key, value, _ := strings.Cut(kubeFlags(t)["selector"], "=")
		assert.Equal(t, value, d.Spec.Template.Labels[key])
		assert.Equal(t, kubeFlags(t)["data-dir"], c.VolumeMounts[0].MountPath)
		assert.NotNil(t, d.Spec.Template.Spec.Volumes[0].EmptyDir.SizeLimit)
		ports := map[string]int32{}
		for _, p := range c.Ports {
			ports[p.Name] = p.ContainerPort
		}
		assert.Equal(t, map[string]int32{"sentinel": 26379, "peers": 36379, "http": 8080}, ports)
		assert.Equal(t, kubeFlags(t)["http-addr"], ":"+d.Spec.Template.Annotations["prometheus.io/port"])
		role := in[*rbacv1.Role](objects, d.Namespace, roleOwn)
		require.NotNil(t, role)
		named := 0
		for _, r := range role.Rules {
			if len(r.ResourceNames) > 0 {
				named++
				assert.Equal(t, []string{kubeFlags(t)["record"]}, r.ResourceNames)
			}
		}
		assert.Positive(t, named, "no rule is limited to the record")
	})
}

func TestCollectorIsToldLessThanTheMemoryLimit(t *testing.T) {
	_, c := watchers(t, build(t, "base"))
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "GOMEMLIMIT" })
	require.GreaterOrEqual(t, i, 0)
	// Go writes MiB, Kubernetes Mi.
	soft := resource.MustParse(strings.TrimSuffix(c.Env[i].Value, "B"))
	assert.Negative(t, soft.Cmp(*c.Resources.Limits.Memory()))
	assert.Greater(t, soft.Value(), c.Resources.Limits.Memory().Value()*3/4)
}

func TestProbesAskWhatTheyAreMeantTo(t *testing.T) {
	_, c := watchers(t, build(t, "base"))
	for path, probes := range map[string][]*corev1.Probe{"/livez": {c.StartupProbe, c.LivenessProbe}, "/readyz": {c.ReadinessProbe}} {
		for _, p := range probes {
			require.NotNil(t, p, path)
			require.NotNil(t, p.HTTPGet, path)
			assert.Equal(t, path, p.HTTPGet.Path)
			assert.Equal(t, "http", p.HTTPGet.Port.String())
		}
	}
}

func TestWatchersServicesPublishPodsThatAreNotReady(t *testing.T) {
	objects := build(t, "base")
	sentinel, peers := one[*corev1.Service](t, objects, "triwatch"), one[*corev1.Service](t, objects, "triwatch-peers")
	assert.True(t, sentinel.Spec.PublishNotReadyAddresses)
	assert.True(t, peers.Spec.PublishNotReadyAddresses)
	assert.NotEqual(t, corev1.ClusterIPNone, sentinel.Spec.ClusterIP)
	assert.Equal(t, corev1.ClusterIPNone, peers.Spec.ClusterIP)
	assert.Equal(t, int32(26379), sentinel.Spec.Ports[0].Port)
	assert.Equal(t, int32(36379), peers.Spec.Ports[0].Port)
}

func TestOnlyWatchersReachThePeersPort(t *testing.T) {
	objects := build(t, "base")
	d, c := watchers(t, objects)
	policy := one[*networkingv1.NetworkPolicy](t, objects, "triwatch")
	assert.Equal(t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, policy.Spec.PolicyTypes, "going out stays open")
	from := map[string][]networkingv1.NetworkPolicyPeer{}
	for _, rule := range policy.Spec.Ingress {
		require.NotEmpty(t, rule.Ports, "a rule without ports opens all")
		require.NotEmpty(t, rule.From, "a rule without from is open to the world")
		for _, p := range rule.Ports {
			from[p.Port.String()] = append(from[p.Port.String()], rule.From...)
		}
	}
	for _, p := range c.Ports {
		require.Len(t, from[p.Name], 1, "port %s", p.Name)
	}
	assert.Len(t, from, len(c.Ports))
	peer := from["peers"][0]
	assert.Nil(t, peer.NamespaceSelector)
	assert.Nil(t, peer.IPBlock)
	assert.Equal(t, d.Spec.Selector.MatchLabels, peer.PodSelector.MatchLabels)
}

func TestWatchersOfSeveralNamespacesAreToldThem(t *testing.T) {
	objects := build(t, "overlays/namespaces")
	_, c := watchers(t, objects)
	var spaces []string
	for _, s := range all[*appsv1.StatefulSet](objects) {
		spaces = append(spaces, s.Namespace)
	}
	slices.Sort(spaces)
	require.Equal(t, []string{"carts", "orders"}, spaces)
	assert.Equal(t, []string{"kube", "--namespaces", "orders,carts"}, c.Args)
}

func TestEveryManifestSaysWhatItIsFor(t *testing.T) {
	for _, dir := range kustomizations(t) {
		text, err := os.ReadFile(dir + "/kustomization.yaml")
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(text), "# "), "%s", dir)
	}
}
