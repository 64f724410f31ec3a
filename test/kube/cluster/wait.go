package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patience is how long a component may take to become ready. It is long because a build machine may be very busy.
const patience = 2 * time.Minute

// poll asks again and again until done. The error tells the last answer.
func (c *Cluster) poll(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, last := done()
		if ok {
			return nil
		}
		if err := c.dead(); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last answer: %w", what, ctx.Err(), last)
		}
	}
}

// dead is an error when a component has ended without being asked to.
func (c *Cluster) dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range components {
		p := c.processes[name]
		if p == nil || p.running() || c.stopped[name] {
			continue
		}
		return fmt.Errorf("%s has ended: %w", name, errors.Join(p.err, errors.New(c.tail(name))))
	}
	return nil
}

// tail is the end of a component's log.
func (c *Cluster) tail(name Component) string {
	text, err := os.ReadFile(c.path("log", string(name)+".log"))
	if err != nil {
		return err.Error()
	}
	const most = 2000
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strings.TrimSpace(string(text))
}

func (c *Cluster) waitAPI(ctx context.Context) error {
	return c.poll(ctx, "the API server to be ready", func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, err
	})
}

// waitNode waits until a pod made now would run: the node is ready and the
// service account that pods get is there.
func (c *Cluster) waitNode(ctx context.Context) error {
	if err := c.poll(ctx, "the node to be ready", func() (bool, error) {
		node, err := c.client.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				tainted := len(node.Spec.Taints) > 0
				return condition.Status == corev1.ConditionTrue && !tainted, fmt.Errorf("%s, taints %v", condition.Message, node.Spec.Taints)
			}
		}
		return false, errors.New("the node has no condition Ready")
	}); err != nil {
		return err
	}
	return c.poll(ctx, "the default service account", func() (bool, error) {
		_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
}

// allowDNS lets CoreDNS read what it answers from.
func (c *Cluster) allowDNS(ctx context.Context) error {
	_, err := c.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: dnsUser},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: dnsUser}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("allow DNS to read: %w", err)
	}
	return nil
}
