package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/triwatch/triwatch/test/kube/lab"
	"github.com/triwatch/triwatch/test/writer"
)

// plain is the tutorial's StatefulSet without watchers, with a Service on its ordinal 0.
type plain struct {
	*bench
	set *lab.Set
}

const (
	ordinal0    = "redis-sfs-0"
	followLabel = "bench/follow"
	followName  = "redis-labels"
)

// plainService has no publishNotReadyAddresses: who follows names has no reason to.
const plainService = `apiVersion: v1
kind: Service
metadata: {name: redis-master}
spec:
  selector: {statefulset.kubernetes.io/pod-name: redis-sfs-0}
  ports: [{name: redis, port: 6379}]
`

// labelService is the usual way: whoever carries the label is the master.
const labelService = `apiVersion: v1
kind: Service
metadata: {name: redis-labels}
spec:
  publishNotReadyAddresses: true
  selector: {app: redis-sfs, bench/follow: "yes"}
  ports: [{name: redis, port: 6379}]
`

func (p *plain) name() string { return withoutSide }

func (p *plain) namespace() string {
	if p.set == nil {
		return ""
	}
	return p.set.Namespace
}

func (p *plain) scenarios() map[string]func(context.Context, values) error {
	return map[string]func(context.Context, values) error{flip: p.labels, deleted: p.deleted, killed: p.killed}
}

func (p *plain) stage(ctx context.Context, namespace string) error {
	p.set = &lab.Set{Lab: p.lab, Namespace: namespace, StatefulSet: "redis-sfs", Service: "redis-master", App: "redis-sfs"}
	namespaced := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n"
	file := filepath.Join(p.lab.Root(), "deploy", "overlays", "tutorial", "redis-sfs.yaml")
	if _, err := p.lab.KubectlInput(ctx, namespaced, "apply", "-f", "-"); err != nil {
		return err
	}
	if _, err := p.lab.KubectlInput(ctx, plainService, "apply", "-n", namespace, "-f", "-"); err != nil {
		return err
	}
	if _, err := p.lab.Kubectl(ctx, "apply", "-n", namespace, "-f", file); err != nil {
		return err
	}
	_, err := p.whole(ctx, "")
	return err
}

// whole waits until ordinal 0 is another Redis process than before, with both others in
// sync, and returns its run ID.
func (p *plain) whole(ctx context.Context, before string) (run string, err error) {
	err = lab.Wait(ctx, patience, "ordinal 0 with two replicas", func(ctx context.Context) (string, error) {
		r, err := p.at(ctx, ordinal0)
		if err != nil {
			return "", err
		}
		if run, err = r.info(ctx, "run_id"); err != nil {
			return "", err
		}
		online := 0
		for _, slave := range []string{"slave0", "slave1"} {
			said, err := r.info(ctx, slave)
			if err != nil {
				return "", err
			}
			if strings.Contains(said, "state=online") {
				online++
			}
		}
		if run == before || online < 2 {
			return fmt.Sprintf("the same process: %t, %d in sync", run == before, online), nil
		}
		return "", nil
	})
	return run, err
}

var errNoAddress = errors.New("it has no address")

// at is the Redis of a pod.
func (p *plain) at(ctx context.Context, pod string) (redis, error) {
	got, err := p.lab.Client().CoreV1().Pods(p.set.Namespace).Get(ctx, pod, metav1.GetOptions{})
	if err == nil && got.Status.PodIP == "" {
		err = errNoAddress
	}
	if err != nil {
		return redis{}, fmt.Errorf("find pod %s: %w", pod, err)
	}
	return redis{addr: got.Status.PodIP + ":6379"}, nil
}

// missing is how many of the keys no copy has.
func (p *plain) missing(ctx context.Context) (int, error) {
	least := keys
	for i := range 3 {
		r, err := p.at(ctx, fmt.Sprintf("redis-sfs-%d", i))
		if err != nil {
			return 0, err
		}
		n, err := r.missing(ctx)
		if err != nil {
			return 0, err
		}
		least = min(least, n)
	}
	return least, nil
}

// under runs a strike under load and measures until ordinal 0 is back with its replicas.
func (p *plain) under(ctx context.Context, v values, strike func() error) error {
	run, err := p.whole(ctx, "")
	if err != nil {
		return err
	}
	master, err := p.at(ctx, ordinal0)
	if err == nil {
		err = master.fill(ctx)
	}
	if err == nil {
		err = p.quiet(ctx, p.set.Namespace)
	}
	if err != nil {
		return err
	}
	l, err := p.begin(ctx)
	if err != nil {
		return err
	}
	if err = pause(ctx, lead); err == nil {
		err = strike()
	}
	if err == nil {
		_, err = p.whole(ctx, run)
	}
	if err == nil {
		err = l.flowing(ctx)
	}
	res, ended := l.stop()
	if err = errors.Join(err, ended); err != nil {
		return err
	}
	v.time(vGap, res.LongestGap)
	if master, err = p.at(ctx, ordinal0); err != nil { // it may have another address now
		return err
	}
	got, err := l.w.Verify(ctx, master.addr)
	if err != nil {
		return err
	}
	v[vLost] = float64(got.Lost)
	missing, err := p.missing(ctx)
	v[vKeysLost] = float64(missing)
	return err
}

func (p *plain) deleted(ctx context.Context, v values) error {
	return p.under(ctx, v, func() error { return p.remove(ctx, p.set.Namespace, ordinal0, -1) })
}

func (p *plain) killed(ctx context.Context, v values) error {
	err := p.under(ctx, v, func() error {
		return p.lab.KillInContainer(ctx, p.set.Namespace, ordinal0, "redis", syscall.SIGKILL)
	})
	if err != nil {
		return err
	}
	pod, err := p.lab.Client().CoreV1().Pods(p.set.Namespace).Get(ctx, ordinal0, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("find pod %s: %w", ordinal0, err)
	}
	return p.renew(ctx, p.set, ordinal0, string(pod.UID))
}

// load is one writer at work, through the Service.
type load struct {
	w      *writer.Writer
	cancel context.CancelFunc
	done   chan struct{}
	res    writer.Result
	err    error
}

// begin starts as many writes as each writer of package lab does; stop must be called.
func (p *plain) begin(ctx context.Context) (*load, error) {
	addr, err := p.set.ServiceAddr(ctx)
	if err != nil {
		return nil, err
	}
	w, err := writer.New(writer.Options{Resolver: writer.Fixed(addr), Conns: 4, Modes: []writer.Mode{writer.Single}, Rate: 400})
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	l := &load{w: w, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.res, l.err = w.Run(run)
	}()
	if err := l.flowing(ctx); err != nil {
		_, ended := l.stop()
		return nil, errors.Join(err, ended)
	}
	return l, nil
}

func (l *load) stop() (writer.Result, error) {
	l.cancel()
	<-l.done
	return l.res, l.err
}

// flowing waits for more acknowledged writes.
func (l *load) flowing(ctx context.Context) error {
	from := l.w.Snapshot().Acked
	return lab.Wait(ctx, patience, "writes to be acknowledged", func(context.Context) (string, error) {
		if l.w.Snapshot().Acked > from+100 {
			return "", nil
		}
		return fmt.Sprintf("%v", l.w.Snapshot().Errors), nil
	})
}

// labels moves a label from one pod to another and asks the Service all the time who is
// there: what a flip takes that is a change of two pods.
func (p *plain) labels(ctx context.Context, v values) (err error) {
	if _, err := p.whole(ctx, ""); err != nil {
		return err
	}
	if _, err := p.lab.KubectlInput(ctx, labelService, "apply", "-n", p.set.Namespace, "-f", "-"); err != nil {
		return err
	}
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, p.lab.Client().CoreV1().Services(p.set.Namespace).Delete(ctx, followName, metav1.DeleteOptions{}),
			p.label(ctx, p.set.Namespace, ordinal0, followLabel, "null"), p.label(ctx, p.set.Namespace, "redis-sfs-1", followLabel, "null"))
	}()
	if err := p.label(ctx, p.set.Namespace, ordinal0, followLabel, `"yes"`); err != nil {
		return err
	}
	of := *p.set
	of.Service = followName
	addr, err := of.ServiceAddr(ctx)
	if err != nil {
		return err
	}
	first := startProbe(ctx, addr, "", "", false)
	defer first.stop()
	was, err := first.wait()
	if err != nil {
		return err
	}
	if err := p.quiet(ctx, p.set.Namespace); err != nil {
		return err
	}
	next := startProbe(ctx, addr, "", was.ip, false)
	defer next.stop()
	if err := pause(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	if err := p.label(ctx, p.set.Namespace, ordinal0, followLabel, "null"); err != nil {
		return err
	}
	if err := p.label(ctx, p.set.Namespace, "redis-sfs-1", followLabel, `"yes"`); err != nil {
		return err
	}
	at := time.Now()
	a, err := next.wait()
	if err != nil {
		return err
	}
	v.time(vAnswer, a.at.Sub(at))
	return nil
}
