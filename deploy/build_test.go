package deploy_test

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// object is what every decoded manifest is.
type object interface {
	runtime.Object
	metav1.Object
}

// building makes one build at a time: kustomize keeps its schema in a global.
var building sync.Mutex

// buildAt builds a kustomization as `kubectl kustomize` does, and decodes it strictly.
func buildAt(files filesys.FileSystem, dir string) ([]object, error) {
	building.Lock()
	defer building.Unlock()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, dir)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	var out []object
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("print %s of %s: %w", r.CurId(), dir, err)
		}
		o, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("decode %s of %s: %w", r.CurId(), dir, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// decode refuses kinds that Kubernetes does not have, and unknown or repeated fields.
func decode(text []byte) (object, error) {
	codecs := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	o, _, err := codecs.UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		return nil, err
	}
	typed, ok := o.(object)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", o)
	}
	return typed, nil
}

func build(t *testing.T, dir string) []object {
	t.Helper()
	out, err := buildAt(filesys.MakeFsOnDisk(), dir)
	require.NoError(t, err)
	require.NotEmpty(t, out, dir)
	return out
}

// kustomizations are all folders that can be built.
func kustomizations(t *testing.T) []string {
	t.Helper()
	var dirs []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "kustomization.yaml" {
			dirs = append(dirs, filepath.Dir(path))
		}
		return err
	}))
	for _, needed := range []string{"base", "redis", "role", "overlays/all", "overlays/persistent", "overlays/tutorial", "overlays/namespaces"} {
		require.Contains(t, dirs, needed)
	}
	return dirs
}

// complete are the overlays that people apply as they are.
func complete() []string {
	return []string{"overlays/all", "overlays/persistent", "overlays/tutorial", "overlays/namespaces"}
}

// all returns the objects of one type, and one fails unless exactly one has the name.
func all[T object](objects []object) []T {
	var out []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

func one[T object](t *testing.T, objects []object, name string) T {
	t.Helper()
	found := slices.DeleteFunc(all[T](objects), func(o T) bool { return o.GetName() != name })
	require.Len(t, found, 1, "%T %s", *new(T), name)
	return found[0]
}

// workload is what Deployments and StatefulSets have in common.
type workload struct {
	object
	selector *metav1.LabelSelector
	replicas int32
	pod      corev1.PodTemplateSpec
}

func (w workload) String() string { return w.GetNamespace() + "/" + w.GetName() }

func workloads(objects []object) []workload {
	var out []workload
	for _, d := range all[*appsv1.Deployment](objects) {
		out = append(out, workload{d, d.Spec.Selector, *d.Spec.Replicas, d.Spec.Template})
	}
	for _, s := range all[*appsv1.StatefulSet](objects) {
		out = append(out, workload{s, s.Spec.Selector, *s.Spec.Replicas, s.Spec.Template})
	}
	return out
}

// selects tells whether every pair of a selector is among the labels.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// selected are the workloads of a namespace whose pods a selector finds. Labels of
// ours are put on pods later and do not count.
func selected(objects []object, namespace string, selector map[string]string) []workload {
	selector = maps.Clone(selector)
	maps.DeleteFunc(selector, func(k, _ string) bool { return strings.HasPrefix(k, "triwatch.io/") })
	return slices.DeleteFunc(workloads(objects), func(w workload) bool {
		return w.GetNamespace() != namespace || !selects(selector, w.pod.Labels)
	})
}

func TestEveryKustomizationBuildsAndDecodesStrictly(t *testing.T) {
	for _, dir := range kustomizations(t) {
		t.Run(dir, func(t *testing.T) {
			seen := map[string]bool{}
			for _, o := range build(t, dir) {
				id := fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
				require.False(t, seen[id], "%s comes twice", id)
				seen[id] = true
			}
		})
	}
}

func TestUnknownAndRepeatedFieldsAreRefused(t *testing.T) {
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {%s}\n"
	_, err := decode(fmt.Appendf(nil, service, "clusterIP: None"))
	require.NoError(t, err)
	_, err = decode(fmt.Appendf(nil, service, "publishNotReadyAddress: true"))
	require.ErrorContains(t, err, "publishNotReadyAddress")
	_, err = decode(fmt.Appendf(nil, service, "clusterIP: None, clusterIP: None"))
	require.ErrorContains(t, err, "clusterIP")
	_, err = decode([]byte("apiVersion: v1\nkind: Servise\nmetadata: {name: a}\n"))
	require.ErrorContains(t, err, "Servise")
}

func TestOwnKustomizationReplacesImagesAndPassword(t *testing.T) {
	files := filesys.MakeFsInMemory()
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".go" {
			return err
		}
		text, err := filesys.MakeFsOnDisk().ReadFile(path)
		if err != nil {
			return err
		}
		return files.WriteFile(filepath.Join("/deploy", path), text)
	}))
	require.NoError(t, files.WriteFile("/mine/kustomization.yaml", []byte(`
resources: [../deploy/overlays/persistent]
namespace: shop
images:
  - {name: triwatch, newName: images.test/triwatch, newTag: "1"}
  - {name: redis, newName: images.test/redis, newTag: "7.2"}
secretGenerator:
  - {name: redis-auth, behavior: replace, literals: [password=better]}
`)))
	objects, err := buildAt(files, "/mine")
	require.NoError(t, err)
	require.Equal(t, "images.test/triwatch:1", one[*appsv1.Deployment](t, objects, "triwatch").Spec.Template.Spec.Containers[0].Image)
	require.Equal(t, "images.test/redis:7.2", one[*appsv1.StatefulSet](t, objects, "redis").Spec.Template.Spec.Containers[0].Image)
	// The name stays, because the annotation and the Role name it.
	require.Equal(t, "better", string(one[*corev1.Secret](t, objects, "redis-auth").Data["password"]))
	for _, o := range objects {
		require.Equal(t, "shop", o.GetNamespace(), "%T %s", o, o.GetName())
	}
}
