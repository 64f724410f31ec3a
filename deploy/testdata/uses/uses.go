// Package uses calls the Kubernetes API in every way that the test of the Roles has to
// see. It is never run.
package uses

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

type patcher interface {
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*corev1.Service, error)
}

type getter[T any] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
}

type holder struct{ watch patcher }

// Call is seen as a call, also through a variable.
func Call(ctx context.Context, c kubernetes.Interface) error {
	pods := c.CoreV1().Pods("a")
	return pods.Delete(ctx, "b", metav1.DeleteOptions{})
}

// Value is seen although nothing is called here.
func Value(c kubernetes.Interface) any { return c.AppsV1().StatefulSets("a").List }

// Status is seen as a right to the subresource.
func Status(ctx context.Context, c kubernetes.Interface) error {
	if _, err := c.CoreV1().Pods("a").Patch(ctx, "b", types.JSONPatchType, nil, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	_, err := c.CoreV1().Nodes().UpdateStatus(ctx, nil, metav1.UpdateOptions{})
	return err
}

// Informers are seen as list and watch.
func Informers(f informers.SharedInformerFactory) any {
	return f.Discovery().V1().EndpointSlices().Informer()
}

// Narrowed are clients that become an interface of one's own.
func Narrowed(c kubernetes.Interface) []any {
	get(c.CoreV1().ConfigMaps("a"))
	return []any{holder{watch: c.CoreV1().Services("a")}}
}

func get[T any](getter[T]) {}

// Events are seen through the sink.
func Events(c kubernetes.Interface) record.EventSink {
	return &typedv1.EventSinkImpl{Interface: c.CoreV1().Events("")}
}
