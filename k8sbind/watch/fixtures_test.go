package watch

import (
	"fmt"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// fixture is the objects of one or more files, with the running pods of each
// StatefulSet. As a view it is what a pass reads.
type fixture struct {
	sets    []*appsv1.StatefulSet
	svcs    []*corev1.Service
	secrets []*corev1.Secret
	pods    []*corev1.Pod
	// state takes the place of what is known of all Secrets, unless it is zero.
	state secretState
}

func load(t *testing.T, files ...string) *fixture {
	t.Helper()
	f := &fixture{}
	for _, file := range files {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range strings.Split(string(text), "\n---\n") {
			f.add(t, doc)
		}
	}
	for _, s := range f.sets {
		for i := range int(*s.Spec.Replicas) {
			f.pods = append(f.pods, podOf(s, i))
		}
	}
	return f
}

func (f *fixture) add(t *testing.T, doc string) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
		t.Fatal(err)
	}
	var err error
	switch kind.Kind {
	case "StatefulSet":
		o := &appsv1.StatefulSet{}
		err = yaml.UnmarshalStrict([]byte(doc), o)
		f.sets = append(f.sets, o)
	case "Service":
		o := &corev1.Service{}
		err = yaml.UnmarshalStrict([]byte(doc), o)
		f.svcs = append(f.svcs, o)
	case "Secret":
		o := &corev1.Secret{}
		err = yaml.UnmarshalStrict([]byte(doc), o)
		f.secrets = append(f.secrets, o)
	default:
		t.Fatalf("kind %q is not expected in a fixture", kind.Kind)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// podOf makes the pod that the StatefulSet controller makes, running and ready.
// Each pod of every fixture has a claim "data" when a container mounts it.
func podOf(s *appsv1.StatefulSet, ordinal int) *corev1.Pod {
	yes := true
	name := fmt.Sprintf("%s-%d", s.Name, ordinal)
	p := &corev1.Pod{
		ObjectMeta: *s.Spec.Template.ObjectMeta.DeepCopy(),
		Spec:       *s.Spec.Template.Spec.DeepCopy(),
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.244.%d.%d", len(s.Name), 10+ordinal),
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	p.Name, p.Namespace, p.UID = name, s.Namespace, types.UID("uid-"+name)
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: s.Name, UID: s.UID, Controller: &yes}}
	for _, c := range p.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if m.Name == "data" {
				p.Spec.Volumes = append(p.Spec.Volumes, claim("data", "data-"+name))
			}
		}
	}
	return p
}

func claim(volume, name string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
}

func (f *fixture) objects() []runtime.Object {
	var out []runtime.Object
	for _, o := range f.sets {
		out = append(out, o.DeepCopy())
	}
	for _, o := range f.svcs {
		out = append(out, o.DeepCopy())
	}
	for _, o := range f.secrets {
		out = append(out, o.DeepCopy())
	}
	for _, o := range f.pods {
		out = append(out, o.DeepCopy())
	}
	return out
}

func (f *fixture) statefulSets() []*appsv1.StatefulSet { return f.sets }
func (f *fixture) services() []*corev1.Service         { return f.svcs }

func (f *fixture) podsOf(namespace string, owner types.UID) []*corev1.Pod {
	var out []*corev1.Pod
	for _, p := range f.pods {
		if o := metav1.GetControllerOf(p); o != nil && o.UID == owner && p.Namespace == namespace {
			out = append(out, p)
		}
	}
	return out
}

func (f *fixture) secret(namespace, name string) (*corev1.Secret, secretState) {
	if f.state != secretUnknown {
		return nil, f.state
	}
	for _, s := range f.secrets {
		if s.Namespace == namespace && s.Name == name {
			return s, secretPresent
		}
	}
	return nil, secretAbsent
}

// annotate sets an annotation of an object.
func annotate(o metav1.Object, key, value string) {
	all := map[string]string{}
	for k, v := range o.GetAnnotations() {
		all[k] = v
	}
	all[key] = value
	o.SetAnnotations(all)
}
