package publish

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/sentinel"
)

// Cache is what the informers have seen. Objects are shared and never changed by this
// package; nil means absent. It may lag behind our own writes.
type Cache interface {
	Pod(namespace, name string) *corev1.Pod
	Service(namespace, name string) *corev1.Service
}

// Desired is the wish for one master: what Kubernetes should show of the committed
// state.
type Desired struct {
	Master string
	// Namespace is that of the pods; StatefulSet and UID name the object that Events
	// about the master as a whole are attached to.
	Namespace   string
	StatefulSet string
	UID         types.UID
	// Epoch and Instance are the committed assignment. An empty Instance means that no
	// master is adopted: only the instance labels are written then.
	Epoch    sentinel.Epoch
	Instance sentinel.InstanceID
	// Pods are all pods of the inventory.
	Pods []Pod
	// Services are those that follow the master or its replicas.
	Services []Service
	// ReadOnly is observe or paused: nothing is written; what would be is logged once.
	ReadOnly bool
}

// Pod is one pod of a wish.
type Pod struct {
	Name string
	// ID is the pod's UID. A pod of that name with another UID is not touched.
	ID sentinel.InstanceID
	// Reads is set for a replica that is fit for reading. It means nothing on the master.
	Reads bool
}

// Service is one Service of a wish. Only those with k8sbind.RoleMaster are written to;
// the others follow labels alone.
type Service struct{ Namespace, Name, Role string }

// equal tells whether nothing differs between two wishes.
func (d Desired) equal(e Desired) bool {
	return d.Master == e.Master && d.Namespace == e.Namespace && d.StatefulSet == e.StatefulSet &&
		d.UID == e.UID && d.Epoch == e.Epoch && d.Instance == e.Instance && d.ReadOnly == e.ReadOnly &&
		slices.Equal(d.Pods, e.Pods) && slices.Equal(d.Services, e.Services)
}

// urgent tells whether e makes what is under way for d pointless or wrong.
func (d Desired) urgent(e Desired) bool {
	return d.Epoch != e.Epoch || d.Instance != e.Instance || d.Namespace != e.Namespace || d.ReadOnly != e.ReadOnly
}

// Options is what a Publisher works with. All fields except Flipped and Failed are
// needed.
type Options struct {
	// Client writes labels and Events. Its limits are the caller's choice.
	Client kubernetes.Interface
	// Flips writes Services and the one label that comes before; it has no limiter.
	Flips kubernetes.Interface
	Cache Cache
	// Verify returns nil if this watcher leads at this moment. It is called before
	// every batch of writes: lazily once per pass, again before a retry, and again when
	// a pass has taken longer than 200 ms.
	Verify func(context.Context) error
	Logger *zap.Logger
	// Flipped is called for each master Service and assignment once per leadership: when
	// the flip is accepted, or with 0 when it is found made. Took runs from the moment at
	// which the assignment was set.
	Flipped func(master string, epoch sentinel.Epoch, service string, instance sentinel.InstanceID, took time.Duration)
	// Failed is called for every call that failed. Not counted are calls that ended
	// with the leadership, and tests refused because the cache was old.
	Failed func(verb, resource string, err error)
	// Reporter names this watcher in Events; "triwatch" if empty.
	Reporter string
}

// ErrNotLeading is returned by Release when this watcher does not lead.
var ErrNotLeading = errors.New("not leading")

// Times that govern writing.
const (
	flipTimeout  = time.Second            // one call on the way to a flip
	labelTimeout = 3 * time.Second        // any other call
	labelWait    = 5 * time.Second        // how long labels wait for a flip that is refused
	checkDelay   = 20 * time.Millisecond  // Checks within it are one
	steady       = time.Second            // between passes while nothing happens
	retryFirst   = 50 * time.Millisecond  // after a failure, doubling
	retryLast    = time.Second            // at most
	verifyLasts  = 200 * time.Millisecond // how long a verified leadership is good for writes
)

// Publisher writes what is committed. It is made by New, works between Start and Stop,
// and its methods can be called at any time from any goroutine.
type Publisher struct {
	o       Options
	log     *zap.Logger
	own     memory
	said    complaints
	reports *reporter

	// stop ends everything; wg counts the goroutines.
	stop   context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	started bool
	lead    context.Context // nil before the first Lead
	masters map[string]*worker
}

// New returns a Publisher that does nothing before Start.
func New(o Options) *Publisher {
	if o.Flipped == nil {
		o.Flipped = func(string, sentinel.Epoch, string, sentinel.InstanceID, time.Duration) {}
	}
	if o.Failed == nil {
		o.Failed = func(string, string, error) {}
	}
	if o.Reporter == "" {
		o.Reporter = "triwatch"
	}
	stop, cancel := context.WithCancel(context.Background())
	p := &Publisher{o: o, log: o.Logger, stop: stop, cancel: cancel, masters: map[string]*worker{}}
	p.reports = newReporter(p)
	return p
}

// Start begins to work on wishes. It returns at once.
func (p *Publisher) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.stop.Err() != nil {
		return
	}
	p.started = true
	for _, w := range p.masters {
		p.wg.Go(w.run)
	}
	p.wg.Go(p.reports.run)
}

// Stop cancels the calls under way and returns when all goroutines have ended. A stopped
// Publisher can't be started again.
func (p *Publisher) Stop() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.wg.Wait()
}

// Lead tells that this watcher leads until ctx ends. It returns at once. Nothing is
// written outside a leadership, and calls under way are cancelled with it.
func (p *Publisher) Lead(ctx context.Context) {
	p.mu.Lock()
	p.lead = ctx
	for _, w := range p.masters {
		w.led()
	}
	p.mu.Unlock()
	p.reports.poke()
}

// leading returns the context of the present leadership, or nil.
func (p *Publisher) leading() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lead == nil || p.lead.Err() != nil {
		return nil
	}
	return p.lead
}

// Set replaces the wish for d.Master. It returns at once. A changed Epoch or Instance
// cancels what is under way for the older one; a wish that is the same as before only
// makes the publisher look again.
func (p *Publisher) Set(d Desired) {
	d.Pods, d.Services = slices.Clone(d.Pods), slices.Clone(d.Services)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop.Err() != nil {
		return
	}
	w := p.masters[d.Master]
	if w == nil {
		w = newWorker(p)
		p.masters[d.Master] = w
		if p.started {
			p.wg.Go(w.run)
		}
	}
	w.set(d)
}

// Forget drops the wish for a master and cancels what is under way. It writes nothing.
func (p *Publisher) Forget(master string) { p.forget(master) }

func (p *Publisher) forget(master string) *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.masters[master]
	if w == nil {
		return nil
	}
	delete(p.masters, master)
	w.cancel()
	if !p.started {
		close(w.done) // it never ran
	}
	return w
}

// Check looks at a master again within 100 ms. Checks that come together are one.
func (p *Publisher) Check(master string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.masters[master]; w != nil {
		w.check()
	}
}

// State tells what the master's Service shows: the epoch written on it, the instance
// that its selector names, and in words what is not yet as it should be ("" when all
// is). Of several Services it is the one furthest behind. Works on a watcher that does
// not lead, too; pending is then empty.
func (p *Publisher) State(master string) (epoch sentinel.Epoch, follows sentinel.InstanceID, pending string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.masters[master]
	if w == nil {
		return 0, "", ""
	}
	first := true
	for _, s := range w.wish.Services {
		if s.Role != k8sbind.RoleMaster {
			continue
		}
		var e sentinel.Epoch
		var f sentinel.InstanceID
		if svc := p.service(s.Namespace, s.Name); svc != nil {
			e = epochOf(svc)
			f = sentinel.InstanceID(svc.Spec.Selector[k8sbind.LabelInstance])
		}
		if first || e < epoch || (e == epoch && f != w.wish.Instance) {
			epoch, follows, first = e, f, false
		}
	}
	if p.lead != nil && p.lead.Err() == nil {
		pending = w.pending
	}
	return epoch, follows, pending
}
