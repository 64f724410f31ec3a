package watch

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

const (
	// retryFirst and retryMost bound the pause after a failed call, so that a watch is
	// back soon after the API server is.
	retryFirst = 100 * time.Millisecond
	retryMost  = time.Second
	// retryDenied is the pause where asking again helps only after a person acted.
	retryDenied = 5 * time.Second
	// listPatience bounds one list call; a connection that was cut without a word
	// would otherwise hold it for minutes.
	listPatience = 30 * time.Second
	// errorEvery is how often one resource's failures are told.
	errorEvery = 10 * time.Second
)

// indexOwner finds pods by the UID of their controller.
const indexOwner = "owner"

// source is one informer: one resource of one namespace.
type source struct {
	w         *Watcher
	resource  string // as RBAC names it
	namespace string
	informer  cache.SharedIndexInformer
	failed    atomic.Bool // a call failed since the start

	mu     sync.Mutex
	closed bool           // no call begins any more
	calls  sync.WaitGroup // list and watch calls under way
}

// calls are the two calls of a typed client.
type calls[L runtime.Object] struct {
	list  func(context.Context, metav1.ListOptions) (L, error)
	watch func(context.Context, metav1.ListOptions) (apiwatch.Interface, error)
}

// newSource builds the informer of one resource. A selector, if there is one, is a
// field selector.
func newSource[L runtime.Object](w *Watcher, resource, namespace string, example runtime.Object, selector string, c calls[L]) *source {
	s := &source{w: w, resource: resource, namespace: namespace}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return retry(ctx, s, "list", func(ctx context.Context) (runtime.Object, error) {
				ctx, cancel := context.WithTimeout(ctx, listPatience)
				defer cancel()
				return c.list(ctx, o)
			})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.FieldSelector = selector
			return retry(ctx, s, "watch", func(ctx context.Context) (apiwatch.Interface, error) {
				return c.watch(ctx, o)
			})
		},
	}
	indexers := cache.Indexers{}
	if _, pods := example.(*corev1.Pod); pods {
		indexers[indexOwner] = podOwner
	}
	s.informer = cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, w.opts.Client), example, 0, indexers)
	// The setters and AddEventHandler fail only for an informer that runs already.
	_ = s.informer.SetTransform(slim)
	_ = s.informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			s.fail(ctx, "watch", err)
		}
	})
	_, _ = s.informer.AddEventHandler(s.handler(example))
	return s
}

// handler wakes the loop. Pods and Services are named, so that they can be
// checked again.
func (s *source) handler(example runtime.Object) cache.ResourceEventHandler {
	kind := ""
	switch example.(type) {
	case *corev1.Pod:
		kind = kindPod
	case *corev1.Service:
		kind = kindService
	}
	tell := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		m, err := meta.Accessor(obj)
		if err != nil || kind == "" {
			s.w.changed()
			return
		}
		s.w.changed(object{m.GetNamespace(), kind, m.GetName()})
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    tell,
		DeleteFunc: tell,
		UpdateFunc: func(was, is any) {
			// A list after a broken watch tells every object as updated.
			a, errA := meta.Accessor(was)
			b, errB := meta.Accessor(is)
			if errA == nil && errB == nil && a.GetResourceVersion() != "" && a.GetResourceVersion() == b.GetResourceVersion() {
				return
			}
			tell(is)
		},
	}
}

// run starts the informer; the watcher's wait group joins it after ctx has ended.
func (s *source) run(ctx context.Context) {
	s.w.wg.Go(func() {
		s.informer.RunWithContext(ctx)
		// The reflector does not wait for a list that it gave up.
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.calls.Wait()
	})
	s.w.wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.informer.HasSyncedChecker().Done():
			s.w.changed() // an empty namespace has no event that would tell
		}
	})
}

// enter counts a call, unless the source is closed.
func (s *source) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// fail tells of a failed call and lets the loop know that this source may stay
// empty for a while.
func (s *source) fail(ctx context.Context, verb string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.w.report.failed(verb, s.resource, s.namespace, err)
	if !s.failed.Swap(true) {
		s.w.changed()
	}
}

// retry makes a call until it succeeds, ctx ends, or the error is one that the
// reflector has to know, because another call is needed then.
func retry[T any](ctx context.Context, s *source, verb string, call func(context.Context) (T, error)) (T, error) {
	var none T
	if !s.enter() {
		return none, context.Canceled
	}
	defer s.calls.Done()
	pause := retryFirst
	for {
		v, err := call(ctx)
		if err == nil || ctx.Err() != nil || passOn(err) {
			return v, err
		}
		s.fail(ctx, verb, err)
		wait := pause
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			wait = retryDenied
		}
		// Spread, so that three watchers do not come back in step.
		timer := time.NewTimer(wait*3/4 + rand.N(wait/4))
		select {
		case <-ctx.Done():
			timer.Stop()
			return none, ctx.Err()
		case <-timer.C:
		}
		pause = min(pause*2, retryMost)
	}
}

// passOn reports errors that the same call would meet for ever: the version that
// it starts from is too old, or from the future because etcd was restored, or the
// server does not know this way of asking.
func passOn(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsNotAcceptable(err)
}

// slim drops what nobody reads, which is half of the memory, and of a Secret
// everything but the user and the password.
func slim(obj any) (any, error) {
	if m, err := meta.Accessor(obj); err == nil {
		m.SetManagedFields(nil)
	}
	if s, ok := obj.(*corev1.Secret); ok {
		kept := map[string][]byte{}
		for _, key := range []string{secretUser, secretPassword} {
			if v, ok := s.Data[key]; ok {
				kept[key] = v
			}
		}
		s.Data, s.StringData, s.Annotations = kept, nil, nil
	}
	return obj, nil
}

func podOwner(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil, nil
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return []string{string(owner.UID)}, nil
	}
	return nil, nil
}

// namespace is the informers of one namespace.
type namespace struct {
	name                         string
	statefulSets, pods, services *source
	sources                      []*source
}

func newNamespace(w *Watcher, name string) *namespace {
	apps, core := w.opts.Client.AppsV1(), w.opts.Client.CoreV1()
	ns := &namespace{name: name}
	ns.statefulSets = newSource(w, "statefulsets", name, &appsv1.StatefulSet{}, "",
		calls[*appsv1.StatefulSetList]{apps.StatefulSets(name).List, apps.StatefulSets(name).Watch})
	ns.pods = newSource(w, "pods", name, &corev1.Pod{}, "",
		calls[*corev1.PodList]{core.Pods(name).List, core.Pods(name).Watch})
	ns.services = newSource(w, "services", name, &corev1.Service{}, "",
		calls[*corev1.ServiceList]{core.Services(name).List, core.Services(name).Watch})
	ns.sources = []*source{ns.statefulSets, ns.pods, ns.services}
	return ns
}

// state reports whether all of it was read once, and whether a call failed.
func (ns *namespace) state() (synced, failed bool) {
	synced = true
	for _, s := range ns.sources {
		synced = synced && s.informer.HasSynced()
		failed = failed || s.failed.Load()
	}
	return synced, failed
}

func get[T any](s *source, namespace, name string) T {
	var none T
	obj, ok, err := s.informer.GetStore().GetByKey(namespace + "/" + name)
	if v, is := obj.(T); ok && err == nil && is {
		return v
	}
	return none
}

// reporter tells failed calls, few of them.
type reporter struct {
	log  *zap.Logger
	call func(verb, resource, namespace string, err error)
	mu   sync.Mutex
	last map[string]time.Time
}

func (r *reporter) failed(verb, resource, namespace string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := resource + "/" + namespace
	if at, ok := r.last[key]; ok && time.Since(at) < errorEvery {
		return
	}
	r.last[key] = time.Now()
	r.log.Warn("kubernetes call failed", zap.String("verb", verb), zap.String("resource", resource), zap.String("namespace", namespace), zap.Error(err))
	if r.call != nil {
		r.call(verb, resource, namespace, err)
	}
}
