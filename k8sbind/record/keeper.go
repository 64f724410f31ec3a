package record

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/triwatch/triwatch/election"
)

// DefaultName is the Secret's name unless Options say otherwise.
const DefaultName = "triwatch-cluster"

const (
	// upkeepInterval is how often the CA is read again and our announcement checked.
	upkeepInterval = 10 * time.Second
	upkeepTimeout  = 5 * time.Second
)

// Options is everything a Keeper needs. All but Name, UID, Dir and Logger must be set.
type Options struct {
	Client kubernetes.Interface
	// Namespace is our own; Name is the Secret's, empty means DefaultName.
	Namespace, Name string
	// Pod, UID and IP are our own pod's.
	Pod string
	UID types.UID
	IP  string
	// PeerPort is the port on which all watchers take peer connections.
	PeerPort int
	// Dir is where the CA is kept from one start to the next; empty keeps it in the
	// Secret only, and a start then needs the API server.
	Dir string
	// Selector selects the watchers' pods, ours among them.
	Selector string
	// Logger gets everything; nil logs nothing.
	Logger *zap.Logger
}

// Keeper keeps the watchers' own affairs in Kubernetes. All methods may be called
// from any goroutine.
type Keeper struct {
	opt      Options
	log      *zap.Logger
	now      func() time.Time // for certificates and graces
	factory  informers.SharedInformerFactory
	informer cache.SharedIndexInformer
	ctx      context.Context // ends with Stop
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	listing sync.Mutex // one fresh list at a time; guards the next two
	listed  []corev1.Pod
	asOf    time.Time // when listed was asked for

	mu     sync.Mutex // guards the rest
	ca     *authority
	owed   []*x509.Certificate // trusted by the running watchers, not yet in the new Secret
	cert   *tls.Certificate
	certOf *x509.Certificate // which CA cert is of
	id     election.ID       // announced last
	dying  map[types.UID]time.Time
}

// New checks the options. Nothing is asked of the API server before Start.
func New(opt Options) (*Keeper, error) {
	if opt.Name == "" {
		opt.Name = DefaultName
	}
	if opt.Logger == nil {
		opt.Logger = zap.NewNop()
	}
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what+" is not set"))
		}
	}
	need(opt.Client != nil, "client")
	need(opt.Namespace != "", "namespace")
	need(opt.Pod != "", "own pod's name")
	need(opt.IP != "", "own pod's IP")
	need(opt.PeerPort > 0, "peer port")
	need(opt.Selector != "", "selector of the watchers' pods")
	if _, err := labels.Parse(opt.Selector); err != nil {
		errs = append(errs, fmt.Errorf("selector of the watchers' pods: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("check cluster record options: %w", err)
	}
	k := &Keeper{opt: opt, log: opt.Logger, now: time.Now, dying: make(map[types.UID]time.Time)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.factory = informers.NewSharedInformerFactoryWithOptions(opt.Client, 0, informers.WithNamespace(opt.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = opt.Selector }))
	k.informer = k.factory.Core().V1().Pods().Informer()
	return k, nil
}

// Start begins to follow the watchers' pods. It does not wait for the API server.
func (k *Keeper) Start() error {
	_, err := k.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.notePod(o) },
		UpdateFunc: func(_, o any) { k.notePod(o) },
		DeleteFunc: func(o any) { k.forgetPod(o) },
	})
	if err != nil {
		return fmt.Errorf("follow the watchers' pods: %w", err)
	}
	k.factory.Start(k.ctx.Done())
	k.wg.Go(k.upkeep)
	return nil
}

// Stop ends what Start began, and returns when it has ended.
func (k *Keeper) Stop() {
	k.cancel()
	k.factory.Shutdown()
	k.wg.Wait()
}

// upkeep follows the CA, and puts our announcement back if somebody took it away.
func (k *Keeper) upkeep() {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
			k.look()
		}
	}
}

func (k *Keeper) look() {
	ctx, cancel := context.WithTimeout(k.ctx, upkeepTimeout)
	defer cancel()
	if _, err := k.secret(ctx); err != nil {
		k.log.Debug("cluster secret not read", zap.Error(err))
	}
	k.mu.Lock()
	id := k.id
	k.mu.Unlock()
	own := k.ownPod()
	if id == "" || own == nil || own.Annotations[annotationID] == string(id) {
		return
	}
	if err := k.Announce(ctx, id); err != nil {
		k.log.Warn("own identity not announced", zap.Error(err))
	}
}
