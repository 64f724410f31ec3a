package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// quiet waits until every pod of a namespace is ready and none of its EndpointSlices has
// changed for longer than kube-proxy's minimum time between two syncs.
func (b *bench) quiet(ctx context.Context, namespace string) error {
	last, since := "", time.Now()
	return lab.Wait(ctx, patience, "endpoints of "+namespace+" to settle", func(ctx context.Context) (string, error) {
		pods, err := b.lab.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		for _, p := range pods.Items {
			if p.DeletionTimestamp != nil || !ready(p) {
				last = ""
				return "pod " + p.Name + " is not ready", nil
			}
		}
		slices, err := b.lab.Client().DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		var now strings.Builder
		for _, s := range slices.Items {
			fmt.Fprintf(&now, "%s %s\n", s.Name, s.ResourceVersion)
		}
		if now.String() != last {
			last, since = now.String(), time.Now()
		}
		if quiet := time.Since(since); quiet < settled {
			return fmt.Sprintf("they changed %v ago", quiet), nil
		}
		return "", nil
	})
}

func ready(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// remove deletes a pod as kubectl delete pod --wait=false does, without the processor time of a
// kubectl. grace is in seconds; below zero it is the pod's own.
func (b *bench) remove(ctx context.Context, namespace, pod string, grace int64) error {
	o := metav1.DeleteOptions{}
	if grace >= 0 {
		o.GracePeriodSeconds = &grace
	}
	if err := b.lab.Client().CoreV1().Pods(namespace).Delete(ctx, pod, o); err != nil {
		return fmt.Errorf("delete pod %s: %w", pod, err)
	}
	return nil
}

// renew replaces a pod, so that kubelet forgets how often its container has ended and does not
// make the next run wait with CrashLoopBackOff.
func (b *bench) renew(ctx context.Context, s *lab.Set, pod, uid string) error {
	if err := b.remove(ctx, s.Namespace, pod, 1); err != nil {
		return err
	}
	return s.Gone(ctx, s.Namespace, pod, uid, patience)
}

// flips notes when the API accepts a Service's change of instance.
type flips struct {
	watch watch.Interface
	done  chan struct{}
	seen  chan accepted
}

type accepted struct {
	instance string
	at       time.Time
}

var errNoFlip = errors.New("the Service was not flipped")

// watchFlips begins to watch a Service; stop must be called. It says from which version: "from now"
// means the newest of all objects, which the API server's cache of Services cannot
// always be asked for.
func (b *bench) watchFlips(ctx context.Context, namespace, service string) (*flips, error) {
	api := b.lab.Client().CoreV1().Services(namespace)
	now, err := api.Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get service %s: %w", service, err)
	}
	w, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: now.ResourceVersion, FieldSelector: fields.OneTermEqualSelector("metadata.name", service).String()})
	if err != nil {
		return nil, fmt.Errorf("watch service %s: %w", service, err)
	}
	f := &flips{watch: w, done: make(chan struct{}), seen: make(chan accepted, 64)}
	go f.run()
	return f, nil
}

func (f *flips) run() {
	defer close(f.done)
	last := ""
	for e := range f.watch.ResultChan() {
		at := time.Now()
		svc, ok := e.Object.(*corev1.Service)
		if !ok || svc.Spec.Selector["triwatch.io/instance"] == last {
			continue
		}
		last = svc.Spec.Selector["triwatch.io/instance"]
		select {
		case f.seen <- accepted{last, at}:
		default: // nobody flips so often
		}
	}
}

func (f *flips) stop() {
	f.watch.Stop()
	<-f.done
}

// to waits for the flip to an instance.
func (f *flips) to(ctx context.Context, instance string) (time.Time, error) {
	limit := time.After(patience)
	for {
		select {
		case a := <-f.seen:
			if a.instance == instance {
				return a.at, nil
			}
		case <-limit:
			return time.Time{}, errNoFlip
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}
