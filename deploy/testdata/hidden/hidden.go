// Package hidden calls the Kubernetes API in ways of which nobody can tell what they
// need. It is never run.
package hidden

import (
	"context"

	"k8s.io/client-go/kubernetes"
)

// Raw asks for any path.
func Raw(ctx context.Context, c kubernetes.Interface) error {
	return c.CoreV1().RESTClient().Get().AbsPath("/version").Do(ctx).Error()
}

// Empty hands a client to where it can't be followed.
func Empty(c kubernetes.Interface) any {
	var v any = c.CoreV1().Pods("a")
	return v
}
