package deploy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/triwatch/triwatch/k8sbind"
)

// each runs a check on every overlay that people apply as it is.
func each(t *testing.T, check func(t *testing.T, objects []object)) {
	for _, dir := range complete() {
		t.Run(dir, func(t *testing.T) { check(t, build(t, dir)) })
	}
}

func TestSelectorsMatchThePodsTheyAreMeantFor(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(objects) {
			assert.Empty(t, w.selector.MatchExpressions, "%s", w)
			assert.True(t, selects(w.selector.MatchLabels, w.pod.Labels), "%s selects %v, its pods have %v", w, w.selector.MatchLabels, w.pod.Labels)
			assert.Len(t, selected(objects, w.GetNamespace(), w.selector.MatchLabels), 1, "%s shares its pods", w)
			for _, s := range spreads(w.pod.Spec) {
				assert.True(t, selects(s.MatchLabels, w.pod.Labels), "%s spreads itself by %v", w, s.MatchLabels)
			}
		}
		for _, p := range all[*policyv1.PodDisruptionBudget](objects) {
			assert.Len(t, selected(objects, p.Namespace, p.Spec.Selector.MatchLabels), 1, "budget %s", p.Name)
		}
		for _, n := range all[*networkingv1.NetworkPolicy](objects) {
			assert.Len(t, selected(objects, n.Namespace, n.Spec.PodSelector.MatchLabels), 1, "policy %s", n.Name)
		}
		for _, s := range all[*corev1.Service](objects) {
			found := selected(objects, s.Namespace, s.Spec.Selector)
			if assert.Len(t, found, 1, "service %s", s.Name) {
				for _, p := range s.Spec.Ports {
					assert.NotZero(t, portOf(found[0].pod.Spec, p), "service %s: port %s of %s", s.Name, p.Name, found[0])
				}
			}
		}
	})
}

// spreads are the label selectors by which a pod keeps away from its like.
func spreads(p corev1.PodSpec) []*metav1.LabelSelector {
	var out []*metav1.LabelSelector
	for _, s := range p.TopologySpreadConstraints {
		out = append(out, s.LabelSelector)
	}
	if p.Affinity != nil {
		for _, a := range p.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			out = append(out, a.PodAffinityTerm.LabelSelector)
		}
	}
	return out
}

// portOf is the container port behind a Service's port, 0 if none is.
func portOf(p corev1.PodSpec, port corev1.ServicePort) int32 {
	for _, c := range p.Containers {
		for _, cp := range c.Ports {
			target := port.TargetPort
			if target == (intstr.IntOrString{}) {
				target = intstr.FromInt32(port.Port)
			}
			if target.String() == cp.Name || target.IntVal == cp.ContainerPort {
				return cp.ContainerPort
			}
		}
	}
	return 0
}

func TestEverythingThatIsNamedIsThere(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(objects) {
			namesOfPod(t, objects, w)
		}
		for _, s := range all[*appsv1.StatefulSet](objects) {
			headless := in[*corev1.Service](objects, s.Namespace, s.Spec.ServiceName)
			require.NotNil(t, headless, "%s", s.Spec.ServiceName)
			assert.Equal(t, corev1.ClusterIPNone, headless.Spec.ClusterIP)
		}
		for _, b := range all[*rbacv1.RoleBinding](objects) {
			assert.Equal(t, "Role", b.RoleRef.Kind)
			assert.NotNil(t, in[*rbacv1.Role](objects, b.Namespace, b.RoleRef.Name), "role %s of binding %s", b.RoleRef.Name, b.Name)
			for _, s := range b.Subjects {
				namespace := s.Namespace
				if namespace == "" {
					namespace = b.Namespace // as the API server reads it
				}
				assert.NotNil(t, in[*corev1.ServiceAccount](objects, namespace, s.Name), "account %s of binding %s in %s", s.Name, b.Name, b.Namespace)
			}
		}
	})
}

func namesOfPod(t *testing.T, objects []object, w workload) {
	t.Helper()
	spec, ns := w.pod.Spec, w.GetNamespace()
	if spec.ServiceAccountName != "" {
		assert.NotNil(t, in[*corev1.ServiceAccount](objects, ns, spec.ServiceAccountName), "%s: account %s", w, spec.ServiceAccountName)
	}
	var volumes []string
	for _, v := range spec.Volumes {
		volumes = append(volumes, v.Name)
		if v.ConfigMap != nil {
			assert.NotNil(t, in[*corev1.ConfigMap](objects, ns, v.ConfigMap.Name), "%s: config %s", w, v.ConfigMap.Name)
		}
		if v.Secret != nil {
			assert.NotNil(t, in[*corev1.Secret](objects, ns, v.Secret.SecretName), "%s: secret %s", w, v.Secret.SecretName)
		}
	}
	if s, ok := w.object.(*appsv1.StatefulSet); ok {
		for _, c := range s.Spec.VolumeClaimTemplates {
			assert.NotContains(t, volumes, c.Name, "%s: the volume hides the claim", w)
			volumes = append(volumes, c.Name)
		}
	}
	for _, c := range append(slices.Clone(spec.InitContainers), spec.Containers...) {
		for _, m := range c.VolumeMounts {
			assert.Contains(t, volumes, m.Name, "%s", w)
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				ref := e.ValueFrom.SecretKeyRef
				secret := in[*corev1.Secret](objects, ns, ref.Name)
				if assert.NotNil(t, secret, "%s: secret %s", w, ref.Name) {
					assert.Contains(t, secret.Data, ref.Key)
				}
			}
		}
	}
}

// in returns the object of a namespace, nil if there is none.
func in[T object](objects []object, namespace, name string) T {
	var none T
	for _, o := range all[T](objects) {
		if o.GetNamespace() == namespace && o.GetName() == name {
			return o
		}
	}
	return none
}

// settings are the annotations that a kind may carry. None of triwatch's labels may be
// in a manifest, except in the selectors of Services.
func settings(o object) []string {
	switch o.(type) {
	case *appsv1.StatefulSet:
		return []string{
			k8sbind.AnnotationWatch, k8sbind.AnnotationPort, k8sbind.AnnotationDownAfter, k8sbind.AnnotationFailoverTimeout,
			k8sbind.AnnotationParallelSyncs, k8sbind.AnnotationOnCrash, k8sbind.AnnotationMaxLoss, k8sbind.AnnotationMode,
			k8sbind.AnnotationFence, k8sbind.AnnotationUnfenced, k8sbind.AnnotationAuthSecret, k8sbind.AnnotationAnnounce,
		}
	case *corev1.Service:
		return []string{k8sbind.AnnotationServe}
	}
	return nil
}

func TestAnnotationsAreKnownAndLeadSomewhere(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		masters := map[string]string{} // namespace by name
		for _, s := range all[*appsv1.StatefulSet](objects) {
			name := s.Annotations[k8sbind.AnnotationWatch]
			require.NotEmpty(t, name, "%s is watched by nobody", s.Name)
			require.NotContains(t, masters, name, "two StatefulSets of one name")
			masters[name] = s.Namespace
			for _, key := range []string{k8sbind.AnnotationDownAfter, k8sbind.AnnotationFailoverTimeout} {
				if text, ok := s.Annotations[key]; ok {
					_, err := time.ParseDuration(text)
					assert.NoError(t, err, "%s of %s", key, s.Name)
				}
			}
			authCanBeRead(t, objects, s)
		}
		served := map[string]bool{}
		for _, o := range objects {
			for _, at := range []map[string]string{o.GetAnnotations(), o.GetLabels()} {
				for key := range at {
					if strings.HasPrefix(key, k8sbind.Prefix) {
						assert.Contains(t, settings(o), key, "%T %s", o, o.GetName())
					}
				}
			}
			if text, ok := o.GetAnnotations()[k8sbind.AnnotationServe]; ok {
				name, role, _ := strings.Cut(text, "/")
				assert.Equal(t, o.GetNamespace(), masters[name], "service %s serves %s", o.GetName(), text)
				assert.Contains(t, []string{k8sbind.RoleMaster, k8sbind.RoleReplica}, role)
				assert.False(t, served[text], "%s is served twice", text)
				served[text] = true
			}
		}
		for name := range masters {
			assert.True(t, served[name+"/"+k8sbind.RoleMaster], "no Service follows %s", name)
		}
	})
}

// authCanBeRead checks that a password's Secret is there, under the key that triwatch
// reads, and that the Role names it.
func authCanBeRead(t *testing.T, objects []object, s *appsv1.StatefulSet) {
	t.Helper()
	name, ok := s.Annotations[k8sbind.AnnotationAuthSecret]
	if !ok {
		return
	}
	secret := in[*corev1.Secret](objects, s.Namespace, name)
	require.NotNil(t, secret, "secret %s", name)
	assert.NotEmpty(t, secret.Data["password"])
	role := in[*rbacv1.Role](objects, s.Namespace, "triwatch-redis")
	require.NotNil(t, role, "role in %s", s.Namespace)
	assert.True(t, slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Resources, "secrets") && slices.Contains(r.ResourceNames, name)
	}), "the Role in %s does not name secret %s", s.Namespace, name)
}

func TestMasterServicesWaitForNoProbeAndMoveAlone(t *testing.T) {
	each(t, func(t *testing.T, objects []object) {
		for _, s := range all[*corev1.Service](objects) {
			role := ""
			if text, ok := s.Annotations[k8sbind.AnnotationServe]; ok {
				_, role, _ = strings.Cut(text, "/")
			}
			assert.NotContains(t, s.Spec.Selector, k8sbind.LabelInstance, "%s: triwatch adds it", s.Name)
			switch role {
			case k8sbind.RoleMaster:
				assert.Equal(t, k8sbind.RoleMaster, s.Spec.Selector[k8sbind.LabelRole], "%s", s.Name)
				assert.True(t, s.Spec.PublishNotReadyAddresses, "%s", s.Name)
				assert.NotEqual(t, corev1.ClusterIPNone, s.Spec.ClusterIP, "%s", s.Name)
			case k8sbind.RoleReplica:
				assert.Equal(t, k8sbind.ReadsYes, s.Spec.Selector[k8sbind.LabelReads], "%s", s.Name)
				assert.NotContains(t, s.Spec.Selector, k8sbind.LabelRole, "%s: its endpoints would change before the flip", s.Name)
			default:
				assert.NotContains(t, s.Spec.Selector, k8sbind.LabelRole, "%s is not told to triwatch", s.Name)
			}
		}
	})
}
