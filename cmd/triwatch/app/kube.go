package app

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/notify"
	"github.com/triwatch/triwatch/election"
	"github.com/triwatch/triwatch/k8sbind"
	"github.com/triwatch/triwatch/k8sbind/publish"
	"github.com/triwatch/triwatch/k8sbind/watch"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

// Kube is what a watcher on Kubernetes needs besides Options. All fields but Domain are required.
type Kube struct {
	// Client has ordinary limits. Flips has none, for what must not wait; informers
	// use it too.
	Client, Flips kubernetes.Interface
	// Namespaces are those whose StatefulSets are watched.
	Namespaces []string
	// PodName is this watcher's own.
	PodName string
	// Domain is the cluster's DNS domain, such as cluster.local. It may be empty.
	Domain string
	// Watchers is how many there should be.
	Watchers int
	// Members keeps the cluster record and knows who belongs to the watchers.
	Members Members
}

// Members is the watchers' own membership: k8sbind/record.
type Members interface {
	Record() election.Record
	TLS() *tls.Config
	Discover(ctx context.Context) ([]string, error)
	Gone(ctx context.Context, id election.ID, addr string) (gone bool, why string, err error)
	Announce(ctx context.Context, id election.ID) error
	// Leaving reports whether this watcher's own pod is being deleted.
	Leaving(ctx context.Context) (bool, error)
	// PodName names the pod at an address, "" if it is not known.
	PodName(ip string) string
}

// binding joins the runner with Kubernetes: what is read becomes an inventory, and
// what is committed is written.
type binding struct {
	a       *App
	k       *Kube
	log     *zap.Logger
	watcher *watch.Watcher
	out     *publish.Publisher
	metrics *kubeMetrics

	mu    sync.Mutex
	snap  watch.Snapshot
	reads map[sentinel.InstanceID]fitness
	// past holds masters as they were last seen, for what is said after their end.
	past map[string]watch.Master
	// standing is what the core said last of each master. Nothing is written for one
	// that it has said nothing of.
	standing map[string]standing
	// given holds the released masters whose Services were given back.
	given map[string]bool
	// set holds the masters that the publisher has a wish for.
	set  map[string]bool
	news chan news
}

// fitness is whether a replica is fit for reading, and since when it has been otherwise.
type fitness struct {
	fit     bool
	differs time.Time
}

// standing is what is committed about writing to a master.
type standing struct{ observed, released bool }

// readsLost and readsGained are how long a replica must be unfit before it loses its readers, and
// fit before it gets them: every change is a change of endpoints on all nodes.
const (
	readsLost   = 2 * time.Second
	readsGained = time.Second
)

// releaseTimeout bounds one try to give Services back.
const releaseTimeout = 5 * time.Second

// outputEvery is how often the wishes are derived again.
const outputEvery = 500 * time.Millisecond

func newBinding(a *App, k *Kube) (*binding, error) {
	b := &binding{a: a, k: k, log: a.log.Named("kube"), reads: map[sentinel.InstanceID]fitness{}, standing: map[string]standing{}, given: map[string]bool{}, set: map[string]bool{}, past: map[string]watch.Master{},
		news: make(chan news, 256)}
	var err error
	if b.metrics, err = newKubeMetrics(a.registry, b); err != nil {
		return nil, err
	}
	b.watcher = watch.New(watch.Options{Client: k.Flips, Namespaces: k.Namespaces, Quorum: k.Watchers/2 + 1, Logger: b.log,
		Changed: b.changed, Touched: b.touched, Problem: b.problem, Errors: b.metrics.readFailed})
	b.out = publish.New(publish.Options{Client: k.Client, Flips: k.Flips, Cache: b.watcher, Verify: a.run.Verify, Logger: b.log,
		Flipped: b.flipped, Failed: b.metrics.writeFailed, Reporter: k.PodName})
	return b, nil
}

func (b *binding) start(ctx context.Context) error {
	b.out.Start()
	b.a.after("kubernetes writer", func(context.Context) error { b.out.Stop(); return nil })
	if err := b.watcher.Start(b.a.ctx); err != nil {
		return err
	}
	b.a.after("kubernetes watcher", func(context.Context) error { b.watcher.Stop(); return nil })
	b.a.spawn(b.derive)
	b.a.spawn(b.tellAll)
	return ctx.Err()
}

// changed takes up what Kubernetes says now.
func (b *binding) changed(s watch.Snapshot) {
	creds := map[string]redisio.Credentials{}
	inv := sentinel.Inventories{Unsure: s.Unsure}
	for _, m := range s.Masters {
		b.a.naming.name(m, b.k.Domain)
		creds[m.Name] = redisio.Credentials{User: m.User, Password: m.Password}
		inv.All = append(inv.All, m.Inventory)
	}
	b.a.replaceCredentials(creds)
	b.mu.Lock()
	was := b.snap
	b.snap = s
	for _, m := range was.Masters {
		b.past[m.Name] = m
	}
	if !s.Unsure {
		for name := range b.set {
			if !slices.ContainsFunc(s.Masters, func(n watch.Master) bool { return n.Name == name }) {
				b.forget(name)
			}
		}
	}
	b.mu.Unlock()
	b.outside(s)
	b.a.run.Input(inv)
	b.write()
}

// outside says whom to tell and to ask about each master. Every watcher reads it from
// the annotations itself; nothing of it is in the log.
func (b *binding) outside(s watch.Snapshot) {
	targets, asks := map[string]notify.Target{}, map[string]sentinel.Before{}
	for _, m := range s.Masters {
		o := m.Outside
		t := notify.Target{Webhook: o.Webhook, WebhookTimeout: o.WebhookTimeout, Before: o.Before, BeforeTimeout: o.BeforeTimeout, HoldOnFailure: o.HoldOnFailure}
		targets[m.Name], asks[m.Name] = t, t.Asks()
	}
	b.a.notify.Configure(notify.Target{}, targets)
	b.a.run.Input(sentinel.Hooks{All: asks})
}

// forget takes a wish back. b.mu is held.
func (b *binding) forget(name string) {
	delete(b.set, name)
	delete(b.standing, name)
	b.out.Forget(name)
}

// touched looks again after somebody else's edit.
func (b *binding) touched(namespace, kind, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.snap.Masters {
		if m.Namespace == namespace {
			b.out.Check(m.Name)
		}
	}
}

// problem says what is wrong with what people wrote, once.
func (b *binding) problem(p watch.Problem) {
	b.log.Warn("problem with a Kubernetes object", zap.String("kind", p.Kind), zap.String("namespace", p.Namespace), zap.String("name", p.Name),
		zap.String("reason", p.Reason), zap.String("problem", p.Message))
	if b.a.node.State().Leading {
		b.out.Event(publish.Event{Object: publish.Object{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name, UID: b.uid(p)}, Type: corev1.EventTypeWarning,
			Reason: p.Reason, Message: p.Message})
	}
}

// led writes from here on, until the leadership ends. Problems are told again: the
// leader before may not have done it.
func (b *binding) led(ctx context.Context) {
	b.out.Lead(ctx)
	b.mu.Lock()
	problems := b.snap.Problems
	b.mu.Unlock()
	for _, p := range problems {
		b.problem(p)
	}
	b.write()
}

// derive makes all output anew, now and then and whenever something was committed.
func (b *binding) derive() {
	tick := time.NewTicker(outputEvery)
	defer tick.Stop()
	for {
		select {
		case <-b.a.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(b.a.ctx, viewTimeout)
		views, err := b.a.run.Views(ctx)
		cancel()
		if err != nil {
			continue
		}
		now := time.Now()
		b.mu.Lock()
		b.take(views, now)
		b.mu.Unlock()
		b.release()
		b.write()
	}
}

// take takes up what the core says of its masters. b.mu is held.
func (b *binding) take(views []sentinel.View, now time.Time) {
	seen := map[sentinel.InstanceID]fitness{}
	clear(b.standing)
	for _, v := range views {
		b.judgeReads(v, now)
		for _, i := range v.Instances {
			seen[i.ID] = b.reads[i.ID]
		}
		b.standing[v.Name] = standing{observed: v.Config.Observe, released: v.Released}
		if !v.Released {
			delete(b.given, v.Name)
		} else if b.set[v.Name] {
			delete(b.set, v.Name)
			b.out.Forget(v.Name)
		}
	}
	b.reads = seen
}

// judgeReads decides who is fit for reading. b.mu is held.
func (b *binding) judgeReads(v sentinel.View, now time.Time) {
	for _, i := range v.Instances {
		fit := !i.Master && !i.Deleting && !i.Gone && i.Health == sentinel.HealthUp && i.Link == "up" && i.Follows.Same(v.Master.Addr)
		f, known := b.reads[i.ID]
		switch {
		case !known:
			f = fitness{fit: fit}
		case fit == f.fit:
			f.differs = time.Time{}
		case f.differs.IsZero():
			f.differs = now
		}
		wait := readsLost
		if fit {
			wait = readsGained
		}
		if !f.differs.IsZero() && (v.Plan == nil && now.Sub(f.differs) >= wait || i.Master || i.Gone) {
			f = fitness{fit: fit}
		}
		b.reads[i.ID] = f
	}
}

// write hands the newest wishes on; the publisher writes what differs.
func (b *binding) write() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.snap.Masters {
		if st, known := b.standing[m.Name]; !known || st.released {
			continue
		}
		at, _ := b.a.run.Served(m.Name)
		b.set[m.Name] = true
		b.out.Set(b.desired(m, at))
	}
}

// release gives the Services of released masters back, once.
func (b *binding) release() {
	if !b.a.node.State().Leading {
		return
	}
	b.mu.Lock()
	var todo []publish.Desired
	for _, m := range b.snap.Masters {
		if b.standing[m.Name].released && !b.given[m.Name] {
			if !b.marked(m) { // by an earlier leader, or by hand
				b.given[m.Name] = true
				continue
			}
			at, _ := b.a.run.Served(m.Name)
			d := b.desired(m, at)
			d.ReadOnly = false // what was written before has to be taken back all the same
			todo = append(todo, d)
		}
	}
	b.mu.Unlock()
	for _, d := range todo {
		ctx, cancel := context.WithTimeout(b.a.ctx, releaseTimeout)
		err := b.out.Release(ctx, d)
		cancel()
		if err != nil {
			b.log.Warn("Services not given back yet; tried again", zap.String("master", d.Master), zap.Error(err))
			continue
		}
		b.log.Info("Services given back", zap.String("master", d.Master))
		b.mu.Lock()
		b.given[d.Master] = true
		b.mu.Unlock()
	}
}

// marked reports whether a Service of a master still shows that it is ours.
func (b *binding) marked(m watch.Master) bool {
	for _, s := range m.Services {
		svc := b.watcher.Service(s.Namespace, s.Name)
		if s.Role == k8sbind.RoleMaster && (svc == nil || svc.Annotations[k8sbind.AnnotationEpoch] != "" || svc.Spec.Selector[k8sbind.LabelInstance] != "") {
			return true
		}
	}
	return false
}

// desired is what Kubernetes should show of a master. b.mu is held.
func (b *binding) desired(m watch.Master, at sentinel.Assignment) publish.Desired {
	d := publish.Desired{Master: m.Name, Namespace: m.Namespace, StatefulSet: m.StatefulSet, UID: m.UID, Epoch: at.Epoch, Instance: at.Instance,
		ReadOnly: b.standing[m.Name].observed}
	for id, name := range m.Pods {
		d.Pods = append(d.Pods, publish.Pod{Name: name, ID: id, Reads: b.reads[id].fit && id != at.Instance})
	}
	slices.SortFunc(d.Pods, func(x, y publish.Pod) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	for _, s := range m.Services {
		d.Services = append(d.Services, publish.Service{Namespace: s.Namespace, Name: s.Name, Role: s.Role})
	}
	return d
}

// flipped tells the core and people that a Service follows.
func (b *binding) flipped(master string, epoch sentinel.Epoch, service string, instance sentinel.InstanceID, took time.Duration) {
	b.a.run.Input(sentinel.Flipped{Master: master, Epoch: epoch, Service: service})
	b.log.Info("service follows", zap.String("master", master), zap.Stringer("epoch", epoch), zap.String("service", service),
		zap.String("instance", string(instance)), zap.Duration("took", took))
	if took > 0 {
		b.tellFlip(master, epoch, service, instance, took)
	}
}

// find returns a master of the last snapshot.
func (b *binding) find(master string) (watch.Master, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.snap.Masters {
		if m.Name == master {
			return m, true
		}
	}
	return watch.Master{}, false
}

// former returns a master that is not watched any more, as it was.
func (b *binding) former(master string) (watch.Master, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.past[master]
	return m, ok
}

// leave is what a watcher does on SIGTERM: it gives the leadership away, and its
// membership too if its pod is being deleted.
func (b *binding) leave(ctx context.Context) {
	b.a.node.SetLeaving(true)
	gone, err := b.k.Members.Leaving(ctx)
	if err != nil {
		b.log.Warn("cannot tell whether this pod is being deleted; its membership is kept", zap.Error(err))
		return
	}
	if !gone {
		return
	}
	if err := b.a.node.Leave(ctx); err != nil {
		b.log.Warn("membership not given back; the leader removes it when the pod is gone", zap.Error(err))
	}
}

// services are a master's Services as Kubernetes shows them, for status.
func (b *binding) services(master string) []httpapi.Service {
	m, ok := b.find(master)
	if !ok {
		return nil
	}
	epoch, follows, pending := b.out.State(master)
	var out []httpapi.Service
	for _, s := range m.Services {
		if s.Role == k8sbind.RoleMaster {
			out = append(out, httpapi.Service{Namespace: s.Namespace, Name: s.Name, Epoch: epoch.String(), EpochNumber: uint64(epoch),
				Follows: m.Pods[follows], Pending: pending})
		}
	}
	return out
}
