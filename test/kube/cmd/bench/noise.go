package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/test/kube/lab"
)

// noise changes the endpoints of a Service that nobody uses, again and again.
type noise struct {
	b       *bench
	cancel  context.CancelFunc
	done    chan struct{}
	changes int
	err     error
}

const (
	noiseEvery = 200 * time.Millisecond
	noiseName  = "noise"
)

var errNoise = errors.New("the other Service's endpoints did not change all the time")

// startNoise makes the Service and begins; stop must be called.
func (b *bench) startNoise(ctx context.Context) (*noise, error) {
	const text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: noise}\n---\n" +
		"apiVersion: v1\nkind: Service\nmetadata: {name: noise, namespace: noise}\nspec: {ports: [{name: any, port: 80}]}\n"
	if _, err := b.lab.KubectlInput(ctx, text, "apply", "-f", "-"); err != nil {
		return nil, fmt.Errorf("make the other service: %w", err)
	}
	port, name, yes := int32(80), "any", true
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: noiseName, Labels: map[string]string{discoveryv1.LabelServiceName: noiseName}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.250"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}}}
	api := b.lab.Client().DiscoveryV1().EndpointSlices(noiseName)
	if err := api.Delete(ctx, noiseName, metav1.DeleteOptions{}); err == nil {
		b.say("the other Service's endpoints are made anew")
	}
	s, err := api.Create(ctx, s, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("make the other service's endpoints: %w", err)
	}
	run, cancel := context.WithCancel(ctx)
	n := &noise{b: b, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(n.done)
		n.run(run, s)
	}()
	err = lab.Wait(ctx, patience, "kube-proxy to be busy", func(ctx context.Context) (string, error) {
		got, err := api.Get(ctx, noiseName, metav1.GetOptions{})
		if err == nil && got.Generation < 5 {
			return fmt.Sprintf("%d changes", got.Generation), nil
		}
		return "", err
	})
	if err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

func (n *noise) run(ctx context.Context, s *discoveryv1.EndpointSlice) {
	api := n.b.lab.Client().DiscoveryV1().EndpointSlices(noiseName)
	tick := time.NewTicker(noiseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s = s.DeepCopy()
		s.Endpoints[0].Addresses = []string{fmt.Sprintf("10.244.0.%d", 250+n.changes%2)}
		s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: noiseName, Name: fmt.Sprintf("pod-%d", n.changes%2)}
		changed, err := api.Update(ctx, s, metav1.UpdateOptions{})
		if err != nil {
			if ctx.Err() == nil {
				n.err = fmt.Errorf("%w: after %d changes: %w", errNoise, n.changes, err)
			}
			return
		}
		s = changed
		n.changes++
	}
}

// stop ends the changes; the error says that they had ended before.
func (n *noise) stop() error {
	n.cancel()
	<-n.done
	return n.err
}
