package notify

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// Defaults and bounds of what is configured.
const (
	DefaultWebhookTimeout = 5 * time.Second
	MinWebhookTimeout     = 100 * time.Millisecond
	MaxWebhookTimeout     = 30 * time.Second
	DefaultBeforeTimeout  = 500 * time.Millisecond
	MinBeforeTimeout      = 10 * time.Millisecond
	MaxBeforeTimeout      = sentinel.MaxBefore
)

// Target says whom to tell about one master, and whom to ask. The zero value tells and
// asks nobody.
type Target struct {
	// NotificationScript and ClientReconfigScript are Sentinel's, "" for none.
	NotificationScript, ClientReconfigScript string
	// Webhook is the URL that events are posted to, "" for none.
	Webhook string
	// WebhookTimeout bounds one try; zero is DefaultWebhookTimeout.
	WebhookTimeout time.Duration
	// Before is who is asked before an automatic failover: a URL, or the path of a
	// program; "" for nobody.
	Before string
	// BeforeTimeout is how long an answer is waited for; zero is DefaultBeforeTimeout.
	BeforeTimeout time.Duration
	// HoldOnFailure takes the lack of an answer for a veto.
	HoldOnFailure bool
}

// Asks is what the core has to know of a target.
func (t Target) Asks() sentinel.Before {
	if t.Before == "" {
		return sentinel.Before{}
	}
	return sentinel.Before{Timeout: orDefault(t.BeforeTimeout, DefaultBeforeTimeout), HoldOnFailure: t.HoldOnFailure}
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Options are a Notifier's parts. Logger and Registry are required.
type Options struct {
	Logger   *zap.Logger
	Registry prometheus.Registerer
	// Watcher is who tells it.
	Watcher func() string
	// Dir is where scripts are run; "" is the watcher's own directory.
	Dir string
	// Publish gives -script-error and -script-timeout to Sentinel clients; nil does not.
	Publish func(name, payload string)
	// Transport carries HTTP; nil is one of its own.
	Transport http.RoundTripper
}

// Notifier is what the package is about. Make it with New.
type Notifier struct {
	opt     Options
	scripts *Scripts
	client  *http.Client
	counted *prometheus.CounterVec
	// since is when the watcher was started: what follows from older log entries is no news.
	since time.Time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	def     Target
	targets map[string]Target
	lanes   map[string]*lane
	// missed holds the last move of each master that another watcher had to tell.
	missed map[string]Message
	// moved holds the masters whose move was seen as it happened.
	moved map[string]bool
}

// New returns a notifier with nobody to tell.
func New(opt Options) (*Notifier, error) {
	n := &Notifier{opt: opt, since: time.Now(), targets: map[string]Target{}, lanes: map[string]*lane{}, missed: map[string]Message{}, moved: map[string]bool{},
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "triwatch_notifications_total",
			Help: "What was told or asked outside, by kind (notification-script, client-reconfig-script, webhook, before-failover) and result (ok, retried, failed, dropped, veto)."},
			[]string{"kind", "result"})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := opt.Registry.Register(n.counted); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	transport := opt.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 2, MaxWebhookTimeout
		transport = t
	}
	// A redirect is an answer like any other that is not 2xx: whoever may set the URL has
	// not said that it may lead elsewhere.
	n.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	n.scripts = newScripts(program{opt.Dir}.run, opt.Logger, opt.Publish, n.count)
	return n, nil
}

// Start begins to run what is queued.
func (n *Notifier) Start() { n.scripts.start() }

// stopGrace is how long what runs at the end may go on: whoever restarts a watcher in
// the middle of a failover wants to be told of it all the same.
const stopGrace = 2 * time.Second

// Stop ends everything, within stopGrace and before ctx ends: messages are sent and
// scripts that run may end; scripts that wait are dropped.
func (n *Notifier) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	n.mu.Lock()
	n.stopped = true
	for _, l := range n.lanes {
		close(l.messages)
	}
	clear(n.lanes)
	n.mu.Unlock()
	sent := make(chan struct{})
	go func() { n.wg.Wait(); close(sent) }()
	n.scripts.stop(ctx)
	select {
	case <-sent:
	case <-ctx.Done():
	}
	n.cancel()
	<-sent
	n.client.CloseIdleConnections()
	return nil
}

// Configure replaces all targets: those of the masters that are named, and that of all
// others.
func (n *Notifier) Configure(def Target, targets map[string]Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.def, n.targets = def, maps.Clone(targets)
	for name, l := range n.lanes {
		if n.target(name).Webhook == "" {
			l.end()
			delete(n.lanes, name)
		}
	}
}

// target is what is configured for a master. n.mu is held.
func (n *Notifier) target(master string) Target {
	if t, ok := n.targets[master]; ok {
		return t
	}
	return n.def
}

// Pending returns the scripts that run or wait, oldest first.
func (n *Notifier) Pending() []Pending { return n.scripts.pending() }

// Event tells of an event of the core. It never waits.
func (n *Notifier) Event(e sentinel.Event) {
	if !e.Entry.IsZero() && e.Entry.Before(n.since) {
		return // read again at the start
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.target(e.Master)
	if n.stopped || t == (Target{}) {
		return
	}
	if t.NotificationScript != "" && notifies(e.Name) {
		n.scripts.add(kindNotification, t.NotificationScript, string(e.Name), e.Payload)
	}
	if e.Name == sentinel.EventSwitchMaster {
		n.moved[e.Master] = true
		n.reconfigure(t, e)
	}
	if t.Webhook != "" && posts(e.Name) {
		n.post(t, n.message(e), e.Leading)
	}
}

// reconfigure runs the client reconfiguration script for a master that moved.
func (n *Notifier) reconfigure(t Target, e sentinel.Event) {
	if t.ClientReconfigScript == "" {
		return
	}
	role := "observer"
	if e.Leading {
		role = "leader"
	}
	// Sentinel's only state is "start".
	n.scripts.add(kindReconfig, t.ClientReconfigScript, e.Master, role, "start", e.From.Host, strconv.Itoa(e.From.Port), e.To.Host, strconv.Itoa(e.To.Port))
}

// Moved runs the client reconfiguration script for a move that happened while this
// watcher was down, unless it has seen another one since.
func (n *Notifier) Moved(master string, from, to sentinel.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.stopped && !n.moved[master] {
		n.reconfigure(n.target(master), sentinel.Event{Master: master, From: from, To: to})
	}
}

func (n *Notifier) count(kind, result string) { n.counted.WithLabelValues(kind, result).Inc() }

// The kinds of triwatch_notifications_total.
const (
	kindNotification = "notification-script"
	kindReconfig     = "client-reconfig-script"
	kindWebhook      = "webhook"
	kindBefore       = "before-failover"
)

// Its results.
const (
	resultOK      = "ok"
	resultRetried = "retried"
	resultFailed  = "failed"
	resultDropped = "dropped"
	resultVeto    = "veto"
)

func hostPort(a sentinel.Addr) string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }
