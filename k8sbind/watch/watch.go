package watch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// Options are what a Watcher needs. Client, Namespaces and Quorum are required;
// each callback may be nil.
type Options struct {
	// Client talks to the API server. A client without a rate limit is best: it makes
	// three calls per namespace at the start and few afterwards.
	Client kubernetes.Interface
	// Namespaces are those that are watched. All of them ("") is not possible,
	// because a Role per namespace is all that triwatch has.
	Namespaces []string
	// Quorum becomes sentinel.Config.Quorum of every master; at least 1.
	Quorum int
	// Logger takes problems and failed calls; nil logs nothing.
	Logger *zap.Logger

	// Changed is called with the first snapshot and after every change of it, never
	// with one equal to that before. Changed, Touched and Problem are called from
	// one goroutine, in this order; what they block delays the next snapshot.
	Changed func(Snapshot)
	// Touched is called for every change of a pod ("Pod") or Service ("Service") that
	// belongs to a master, also one that leaves the snapshot as it is, such as an
	// edited label.
	Touched func(namespace, kind, name string)
	// Problem is called once when a problem appears, and again when it comes back.
	Problem func(Problem)
	// Errors is called for failed calls to the API server, at most once per 10 s for
	// each resource of a namespace. Calls come from several goroutines, one at a time.
	Errors func(verb, resource, namespace string, err error)
}

// settleTime is how long a problem between two objects must last to be one: those
// of one kubectl apply arrive some tens of milliseconds apart.
const settleTime = 2 * time.Second

// Watcher keeps a Snapshot of what Kubernetes knows. Its methods may be called
// from any goroutine.
type Watcher struct {
	opts    Options
	log     *zap.Logger
	report  *reporter
	deriver *deriver // owned by the loop
	spaces  []*namespace
	secrets *secretSet // owned by the loop, except for its caches

	wake chan struct{} // one entry: a pass is due
	wg   sync.WaitGroup

	mu       sync.Mutex
	cancel   context.CancelFunc
	started  bool
	pending  map[object]struct{} // changed objects that no pass has taken yet
	last     Snapshot
	reported bool
	shown    map[Problem]bool // owned by the loop
	related  map[object]bool  // owned by the loop: objects of masters at the last pass
}

// object names a pod or a Service.
type object struct{ namespace, kind, name string }

// New returns a Watcher that does nothing until Start.
func New(o Options) *Watcher {
	log := o.Logger
	if log == nil {
		log = zap.NewNop()
	}
	w := &Watcher{
		opts:    o,
		log:     log,
		wake:    make(chan struct{}, 1),
		pending: map[object]struct{}{},
		last:    Snapshot{Unsure: true},
		shown:   map[Problem]bool{},
		related: map[object]bool{},
	}
	w.report = &reporter{log: log, call: o.Errors, last: map[string]time.Time{}}
	w.deriver = newDeriver(o.Quorum, settleTime)
	w.secrets = &secretSet{w: w, open: map[object]*openSecret{}}
	return w
}

// Start begins to watch and returns at once, whether the API server answers or
// not. It fails only for options that cannot work, or when called twice.
// The end of ctx stops the watcher; Stop must be called all the same.
func (w *Watcher) Start(ctx context.Context) error {
	if err := w.opts.validate(); err != nil {
		return fmt.Errorf("start kubernetes watcher: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started {
		return errors.New("start kubernetes watcher: it was started before")
	}
	w.started = true
	ctx, w.cancel = context.WithCancel(ctx)
	// client-go writes to stderr in a format of its own; what it has to say arrives
	// through the reporter.
	ctx = klog.NewContext(ctx, klog.Logger{})

	names := slices.Clone(w.opts.Namespaces)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		ns := newNamespace(w, name)
		w.spaces = append(w.spaces, ns)
		for _, s := range ns.sources {
			s.run(ctx)
		}
	}
	w.wg.Go(func() { w.loop(ctx) })
	return nil
}

func (o Options) validate() error {
	switch {
	case o.Client == nil:
		return errors.New("no client is given")
	case len(o.Namespaces) == 0:
		return errors.New("no namespace is given, name at least one")
	case slices.Contains(o.Namespaces, ""):
		return errors.New("a namespace has an empty name: all namespaces cannot be watched, name each of them")
	case o.Quorum < 1:
		return fmt.Errorf("quorum is %d, must be at least 1", o.Quorum)
	}
	return nil
}

// Stop ends the watcher and waits for its goroutines; no callback is made after
// it returns. It may be called more than once, and before Start.
func (w *Watcher) Stop() {
	w.mu.Lock()
	w.started = true // a Start after Stop must not leave goroutines behind
	cancel := w.cancel
	w.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	w.wg.Wait()
}

// Snapshot returns the latest snapshot, which is empty and Unsure before the
// first pass. It is shared: read only.
func (w *Watcher) Snapshot() Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// Pod returns the pod as the API server last told it, nil if there is none. It
// is shared: read only.
func (w *Watcher) Pod(namespace, name string) *corev1.Pod {
	if ns := w.space(namespace); ns != nil {
		return get[*corev1.Pod](ns.pods, namespace, name)
	}
	return nil
}

// Service returns the Service as the API server last told it, nil if there is
// none. It is shared: read only.
func (w *Watcher) Service(namespace, name string) *corev1.Service {
	if ns := w.space(namespace); ns != nil {
		return get[*corev1.Service](ns.services, namespace, name)
	}
	return nil
}

func (w *Watcher) space(name string) *namespace {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ns := range w.spaces {
		if ns.name == name {
			return ns
		}
	}
	return nil
}

// changed asks for a pass; with an object it also says what changed.
func (w *Watcher) changed(objects ...object) {
	w.mu.Lock()
	for _, o := range objects {
		w.pending[o] = struct{}{}
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // a pass is due already and takes this change with it
	}
}

// loop makes a pass whenever something changed or a deadline has passed.
func (w *Watcher) loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
		next := w.pass(ctx)
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// pass derives the snapshot, hands on what is new, and returns when the next pass
// is due although nothing changes; zero if never.
func (w *Watcher) pass(ctx context.Context) time.Time {
	w.mu.Lock()
	touched := w.pending
	w.pending = map[object]struct{}{}
	w.mu.Unlock()

	ready, unsure := w.ready()
	if !ready {
		// Masters of one namespace alone could take a name that belongs to an older
		// StatefulSet of another. The objects' turn comes with the first full pass.
		w.mu.Lock()
		for o := range touched {
			w.pending[o] = struct{}{}
		}
		w.mu.Unlock()
		return time.Time{}
	}
	w.secrets.begin(ctx)
	out := w.deriver.derive(w, time.Now(), unsure)
	w.secrets.end()
	w.hand(ctx, out, touched)
	return out.next
}

// ready reports whether every namespace was read once or at least answered with
// an error, and whether one of them was never read.
func (w *Watcher) ready() (ready, unsure bool) {
	ready = true
	for _, ns := range w.spaces {
		synced, failed := ns.state()
		unsure = unsure || !synced
		ready = ready && (synced || failed)
	}
	return ready, unsure
}

// hand makes the callbacks for one pass. A context that has ended silences them,
// because the caller may be waiting in Stop.
func (w *Watcher) hand(ctx context.Context, out derived, touched map[object]struct{}) {
	w.mu.Lock()
	same := w.reported && reflect.DeepEqual(w.last, out.snapshot)
	if !same {
		w.last, w.reported = out.snapshot, true
	}
	w.mu.Unlock()
	if !same && w.opts.Changed != nil && ctx.Err() == nil {
		w.opts.Changed(out.snapshot)
	}
	for _, o := range sortedObjects(touched) {
		if (out.related[o] || w.related[o]) && w.opts.Touched != nil && ctx.Err() == nil {
			w.opts.Touched(o.namespace, o.kind, o.name)
		}
	}
	w.related = out.related
	w.handProblems(ctx, out.snapshot.Problems)
}

func (w *Watcher) handProblems(ctx context.Context, problems []Problem) {
	now := make(map[Problem]bool, len(problems))
	for _, p := range problems {
		now[p] = true
		if w.shown[p] || ctx.Err() != nil {
			continue
		}
		w.log.Warn("problem found", zap.String("namespace", p.Namespace), zap.String("kind", p.Kind), zap.String("name", p.Name),
			zap.String("reason", p.Reason), zap.String("message", p.Message))
		if w.opts.Problem != nil {
			w.opts.Problem(p)
		}
	}
	for p := range w.shown {
		if !now[p] {
			w.log.Info("problem gone", zap.String("namespace", p.Namespace), zap.String("kind", p.Kind), zap.String("name", p.Name),
				zap.String("reason", p.Reason), zap.String("message", p.Message))
		}
	}
	w.shown = now
}
