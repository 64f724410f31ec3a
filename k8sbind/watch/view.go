package watch

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A pass reads the informers' caches. A namespace that was not read as a whole yet
// takes no part: half of it would look like missing Services and pods.
var _ view = (*Watcher)(nil)

func (w *Watcher) statefulSets() []*appsv1.StatefulSet {
	return all[*appsv1.StatefulSet](w, func(ns *namespace) *source { return ns.statefulSets })
}

func (w *Watcher) services() []*corev1.Service {
	return all[*corev1.Service](w, func(ns *namespace) *source { return ns.services })
}

func (w *Watcher) podsOf(namespace string, owner types.UID) []*corev1.Pod {
	ns := w.space(namespace)
	if ns == nil {
		return nil
	}
	found, err := ns.pods.informer.GetIndexer().ByIndex(indexOwner, string(owner))
	if err != nil {
		return nil // only for an index that does not exist
	}
	return typed[*corev1.Pod](found)
}

func (w *Watcher) secret(namespace, name string) (*corev1.Secret, secretState) {
	return w.secrets.get(namespace, name)
}

func all[T any](w *Watcher, of func(*namespace) *source) []T {
	var out []T
	for _, ns := range w.spaces {
		if synced, _ := ns.state(); synced {
			out = append(out, typed[T](of(ns).informer.GetStore().List())...)
		}
	}
	return out
}

func typed[T any](objects []any) []T {
	out := make([]T, 0, len(objects))
	for _, o := range objects {
		if v, ok := o.(T); ok {
			out = append(out, v)
		}
	}
	return out
}
