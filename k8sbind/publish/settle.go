package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// standing says how an object stands after settle.
type standing int

const (
	// standingFailed means that it differs still, or may.
	standingFailed standing = iota
	// standingSettled means that nothing differs, or that the wish is read-only.
	standingSettled
	// standingNewer means that it carries a higher epoch.
	standingNewer
	// standingGone means that it doesn't exist, or that another one has its name.
	standingGone
)

// target is one object to be standingSettled.
type target[T metav1.Object] struct {
	resource, namespace, name string
	timeout                   time.Duration
	ref                       func(T) Object
	// differs returns the patch that settles it, empty if nothing differs.
	differs func(T) (patch, error)
	get     func(context.Context) (T, error)
	patch   func(context.Context, []byte) (T, error)
	// sending is called before a patch is sent.
	sending func()
	// epoch is set if differs looks at the epoch.
	epoch bool
}

func (s *pass) podTarget(q Pod, c kubernetes.Interface, timeout time.Duration,
	differs func(*corev1.Pod) (patch, error)) target[*corev1.Pod] {
	api := c.CoreV1().Pods(s.d.Namespace)
	return target[*corev1.Pod]{
		resource: pods, namespace: s.d.Namespace, name: q.Name, timeout: timeout, ref: podRef, differs: differs,
		get: func(ctx context.Context) (*corev1.Pod, error) { return api.Get(ctx, q.Name, metav1.GetOptions{}) },
		patch: func(ctx context.Context, b []byte) (*corev1.Pod, error) {
			return api.Patch(ctx, q.Name, types.JSONPatchType, b, metav1.PatchOptions{})
		},
		sending: func() {},
	}
}

func (s *pass) serviceTarget(v Service, c kubernetes.Interface,
	differs func(*corev1.Service) (patch, error)) target[*corev1.Service] {
	api := c.CoreV1().Services(v.Namespace)
	return target[*corev1.Service]{
		resource: services, namespace: v.Namespace, name: v.Name, timeout: flipTimeout, ref: serviceRef, differs: differs,
		epoch: true,
		get:   func(ctx context.Context) (*corev1.Service, error) { return api.Get(ctx, v.Name, metav1.GetOptions{}) },
		patch: func(ctx context.Context, b []byte) (*corev1.Service, error) {
			return api.Patch(ctx, v.Name, types.JSONPatchType, b, metav1.PatchOptions{})
		},
		sending: func() {},
	}
}

// tries is how often a refused test is answered by reading the object and trying again
// within one pass.
const tries = 4

// settle writes what differs on one object, and reads it again when a test is refused.
func settle[T metav1.Object](s *pass, o T, t target[T]) (T, standing) {
	for n := range tries {
		patch, err := t.differs(o)
		if err != nil {
			return o, hindered(s, o, t, err)
		}
		if len(patch) == 0 {
			passed(s, t)
			return o, standingSettled
		}
		if s.d.ReadOnly {
			s.would(t.resource, t.namespace, t.name, patch)
			return o, standingSettled
		}
		if s.ctx.Err() != nil || !s.verify(n > 0) {
			return o, standingFailed
		}
		t.sending()
		written, err := send(s, t, patch)
		if err == nil {
			passed(s, t)
			return written, standingSettled
		}
		if !refused(err) {
			return o, s.report("patch", t.resource, t.namespace, t.name, err)
		}
		fresh, err2 := read(s, t)
		if err2 != nil {
			return o, s.report("get", t.resource, t.namespace, t.name, err2)
		}
		if fresh.GetResourceVersion() == o.GetResourceVersion() {
			// It is not the test that was refused: nothing has changed since it was read.
			return o, s.report("patch", t.resource, t.namespace, t.name, err)
		}
		o = fresh
	}
	return o, s.report("patch", t.resource, t.namespace, t.name, errors.New("changes faster than it can be written"))
}

// passed ends the complaint about a higher epoch. It is not enough that the object in
// hand has a lower one: a cache may be old.
func passed[T metav1.Object](s *pass, t target[T]) {
	if t.epoch {
		s.p.said.over(raisedKey(t.resource, t.namespace, t.name))
	}
}

// hindered says how an object stands that is not ours to write.
func hindered[T metav1.Object](s *pass, o T, t target[T], err error) standing {
	switch {
	case isNewer(err):
		s.raised(t.resource, t.namespace, t.name, t.ref(o), err)
		return standingNewer
	case errors.Is(err, errOther):
		return standingGone
	}
	what := fmt.Sprintf("%s %s %s", strings.TrimSuffix(t.resource, "s"), t.name, err)
	s.wait(what)
	if s.p.said.fresh(objectKey(t.resource, t.namespace, t.name), what) {
		s.p.log.Warn("object can't be written to: left alone", zap.String("master", s.d.Master),
			zap.String("resource", t.resource), zap.String("namespace", t.namespace), zap.String("name", t.name), zap.Error(err))
	}
	return standingFailed
}

func send[T metav1.Object](s *pass, t target[T], p patch) (T, error) {
	ctx, cancel := context.WithTimeout(s.ctx, t.timeout)
	defer cancel()
	o, err := t.patch(ctx, p.encode())
	if err != nil {
		return o, err
	}
	s.p.own.put(t.resource, o)
	s.p.works("patch", t.resource, t.namespace, t.name)
	s.p.log.Info("patched", zap.String("master", s.d.Master), zap.String("resource", t.resource),
		zap.String("namespace", t.namespace), zap.String("name", t.name), zap.Stringer("epoch", s.d.Epoch),
		zap.ByteString("patch", p.encode()))
	return o, nil
}

func read[T metav1.Object](s *pass, t target[T]) (T, error) {
	ctx, cancel := context.WithTimeout(s.ctx, t.timeout)
	defer cancel()
	o, err := t.get(ctx)
	if err != nil {
		return o, err
	}
	s.p.own.put(t.resource, o)
	s.p.works("get", t.resource, t.namespace, t.name)
	return o, nil
}

// refused tells a test that failed (422) or a write that met another one (409) from
// other errors. A patch that is really invalid looks the same.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code == http.StatusUnprocessableEntity || code == http.StatusConflict
}

// report says what a failed call means: how the object stands, and what happens next.
func (s *pass) report(verb, resource, namespace, name string, err error) standing {
	if s.ctx.Err() != nil {
		return standingFailed // ended by us
	}
	if limited(err) {
		s.failed = true
		return standingFailed
	}
	if apierrors.IsNotFound(err) {
		s.p.own.drop(resource, namespace, name)
		s.p.complain(s.d.Master, verb, resource, namespace, name, err, "gone: left alone until it is seen again")
		return standingGone
	}
	s.failed = true
	s.wait(fmt.Sprintf("%s %s: %s", strings.TrimSuffix(resource, "s"), name, short(err)))
	next := "trying again"
	switch {
	case apierrors.IsForbidden(err):
		next = "trying again; grant the verb to triwatch's service account"
	case refused(err):
		next = "trying again; the API server refuses the change itself"
	}
	s.p.complain(s.d.Master, verb, resource, namespace, name, err, next)
	return standingFailed
}

// complain counts a failed call, and logs it unless the same was said before.
func (p *Publisher) complain(master, verb, resource, namespace, name string, err error, next string) {
	p.o.Failed(verb, resource, err)
	if p.said.fresh(complaintKey(verb, resource, namespace, name, apierrors.IsForbidden(err)), short(err)) {
		p.log.Warn("kubernetes call failed", zap.String("master", master), zap.String("verb", verb),
			zap.String("resource", resource), zap.String("namespace", namespace), zap.String("name", name),
			zap.Error(err), zap.String("next", next))
	}
}

// works ends the complaints about a call.
func (p *Publisher) works(verb, resource, namespace, name string) {
	one := p.said.over(complaintKey(verb, resource, namespace, name, false))
	all := p.said.over(complaintKey(verb, resource, namespace, "", true))
	if one || all {
		p.log.Info("kubernetes call works again", zap.String("verb", verb), zap.String("resource", resource),
			zap.String("namespace", namespace), zap.String("name", name))
	}
}

// complaintKey names what a complaint is about: a missing permission concerns all
// objects of a namespace.
func complaintKey(verb, resource, namespace, name string, forbidden bool) string {
	if forbidden {
		name = "*"
	}
	if name == "" {
		name = "*"
	}
	return verb + " " + objectKey(resource, namespace, name)
}

// short returns the kind of an error where its text holds changing details.
func short(err error) string {
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		return string(reason)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// limited tells that a call was not made because our own rate limiter held it back.
func limited(err error) bool { return strings.Contains(err.Error(), "client rate limiter") }
