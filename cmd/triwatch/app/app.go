// Package app puts one watcher together: the pure core in its runner, go-redis
// towards the instances, Raft towards the other watchers, the Sentinel protocol
// and HTTP towards people and clients. New makes the parts, Start starts them in
// the order in which they need each other, Stop ends them in reverse. There are no
// signals in here and no exits; that is main's.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/metrics"
	"github.com/triwatch/triwatch/cmd/triwatch/notify"
	"github.com/triwatch/triwatch/cmd/triwatch/tlsfiles"
	"github.com/triwatch/triwatch/election"
	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/conf"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/sentinel/resp"
	"github.com/triwatch/triwatch/sentinel/runner"
	"go.uber.org/zap"
)

// App is one watcher. Make it with New; Start and Stop are called once each.
type App struct {
	opt      resolved
	log      *zap.Logger
	node     *election.Node
	machine  *machine
	run      *runner.Runner
	pool     *redisio.Pool
	tls      *tlsfiles.Source // nil without TLS
	resp     *resp.Server
	http     *httpapi.Server
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	files    *rewriter
	notify   *notify.Notifier
	kube     *binding // nil on hosts

	started time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	undo    []teardown

	ending   chan struct{}
	askToEnd sync.Once
	users    []resp.User // as the configuration has them
	naming   *naming

	mu    sync.Mutex
	creds map[string]redisio.Credentials
	// options are what clients have set of masters, by their names.
	options map[string]sentinel.Options
	globals map[string]string // what clients have set of this watcher
	changes changes
}

// teardown is one named step of Stop.
type teardown struct {
	name string
	f    func(context.Context) error
}

// New checks the options and makes the parts. Nothing listens yet, but the data
// directory is open: the caller owes a Stop.
func New(opt Options, log *zap.Logger) (*App, error) {
	r, err := opt.resolve()
	if err != nil {
		return nil, err
	}
	a := &App{opt: r, log: log, started: time.Now(), registry: prometheus.NewRegistry(), ending: make(chan struct{}),
		naming: newNaming(r.File.AnnounceHostnames), globals: map[string]string{}, changes: changes{monitored: map[string]bool{}, removed: map[string]bool{}}}
	for _, m := range r.File.Masters {
		a.changes.monitored[m.Name] = true
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.machine = newMachine(log.Named("log"))
	a.machine.applied = func(i uint64, c sentinel.Command) { a.applied(i, c) }
	a.machine.restored = func(reg *sentinel.Registry) { a.run.Restored(reg) }
	a.machine.recorded = a.count
	a.machine.halted = a.halted
	if err := os.MkdirAll(r.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	dir, err := filepath.Abs(r.DataDir)
	if err != nil {
		return nil, fmt.Errorf("find data directory %s: %w", r.DataDir, err)
	}
	if a.tls, err = r.secure(log.Named("tls")); err != nil {
		return nil, err
	}
	a.node, err = election.New(a.electionConfig(dir), a.machine)
	if err != nil {
		return nil, err
	}
	a.undo = append(a.undo, teardown{"election", a.node.Stop})
	clock := func() sentinel.Time { return time.Since(a.started) }
	a.pool = redisio.New(redisio.Options{Logger: log.Named("redis"), Clock: clock, Emit: func(ev sentinel.InputEvent) { a.run.Input(ev) }, ClientName: "triwatch",
		TLS: a.tls.Redis(), Dialer: a.naming.dial})
	a.setCredentials(r.File)
	if err := a.makeNotifier(); err != nil {
		return a, err
	}
	a.run = runner.New(runner.Options{Redis: a.pool, Cluster: cluster{a.node}, Logger: log.Named("watch"), Clock: clock, Events: a.event,
		Hello: runner.Hello{Sentinel: r.announce, Level: r.MaxLevel, Version: r.Build.Version}, Before: a.notify.Before})
	a.files = newRewriter(a)
	if r.Kube != nil {
		if a.kube, err = newBinding(a, r.Kube); err != nil {
			return a, err
		}
	}
	return a, a.makeServers()
}

func (a *App) electionConfig(dir string) election.Config {
	r := a.opt
	c := election.Config{Dir: dir, Bind: r.RaftAddr, Advertise: r.advertise, Peers: r.Peers, Secret: r.secret, Logger: a.log.Named("election"),
		OnMessage: func(from election.ID, b []byte) { a.run.Message(sentinel.WatcherID(from), b) }, TLS: a.tls.Peers()}
	if k := r.Kube; k != nil {
		m := k.Members
		c.Record, c.TLS, c.Discover, c.Expect, c.Gone, c.Announce = m.Record(), m.TLS(), m.Discover, k.Watchers, m.Gone, m.Announce
	}
	return c
}

// makeServers makes what people and clients talk to.
func (a *App) makeServers() error {
	warn := a.log.Named("resp").Sugar()
	var err error
	o := resp.Options{Password: a.opt.File.RequirePass, Users: userLines(a.opt.File.Users), Version: a.opt.Build.Version, Warn: warn.Warnw}
	if a.opt.File.ACLFile != "" {
		file := aclFileOf(a.opt.File)
		o.UserFile = file
		if o.Users, err = file.Load(); err != nil {
			return err
		}
	}
	if a.resp, err = resp.NewServer(&backend{a}, o); err != nil {
		return fmt.Errorf("%s: %w", a.opt.File.Name, err)
	}
	a.users = a.resp.Users()
	return a.makeHTTP()
}

// ID is this watcher's identity.
func (a *App) ID() sentinel.WatcherID { return sentinel.WatcherID(a.node.ID()) }

// setCredentials gives redisio the users and passwords of a file; what clients have set
// of a master counts instead.
func (a *App) setCredentials(f *conf.File) {
	creds := map[string]redisio.Credentials{}
	for _, m := range f.Masters {
		creds[m.Name] = redisio.Credentials{User: m.AuthUser, Password: m.AuthPass, Renamed: renames(f, m.Name, nil)}
	}
	a.mu.Lock()
	for name, o := range a.options {
		c := creds[name]
		if v, ok := o["auth-user"]; ok {
			c.User = v
		}
		if v, ok := o["auth-pass"]; ok {
			c.Password = v
		}
		c.Renamed = renames(f, name, o)
		creds[name] = c
	}
	a.mu.Unlock()
	a.replaceCredentials(creds)
}

// renames are the names of commands by a file and by what clients have set, which counts.
func renames(f *conf.File, name string, o sentinel.Options) redisio.Renames {
	names := map[string]string{}
	if m, ok := f.Master(name); ok {
		for old, to := range m.RenamedCommands {
			names[strings.ToLower(old)] = to
		}
	}
	for option, to := range o {
		if old, ok := strings.CutPrefix(option, "rename-command "); ok {
			names[old] = to
		}
	}
	return redisio.NewRenames(names)
}

// replaceCredentials gives redisio all users and passwords, by master.
func (a *App) replaceCredentials(creds map[string]redisio.Credentials) {
	a.mu.Lock()
	a.creds = creds
	a.mu.Unlock()
	for name, c := range creds {
		a.pool.SetCredentials(name, c)
	}
}

// Reload takes over what may change without a restart: users and passwords.
func (a *App) Reload(f *conf.File) {
	a.setCredentials(f)
	a.log.Info("configuration read again: users and passwords are taken over, other changes need a restart", zap.String("file", f.Name))
}

// Start opens the ports and starts the parts. On an error everything that was
// started is ended again.
func (a *App) Start(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return errors.Join(err, a.Stop(ctx))
	}
	return nil
}

func (a *App) start(ctx context.Context) error {
	// Every port first: one that is in use is said before anything else happens.
	var lc net.ListenConfig
	var listeners []net.Listener
	for _, addr := range slices.Concat(a.opt.bind, a.opt.bindTLS) {
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for Sentinel clients: %w", err)
		}
		if slices.Contains(a.opt.bindTLS, addr) {
			ln = tls.NewListener(ln, a.tls.Port())
		}
		listeners = append(listeners, ln)
		a.after("sentinel listener", func(context.Context) error { return ignoreClosed(ln.Close()) })
	}
	if err := a.startHTTP(ctx); err != nil {
		return err
	}
	// The runner before Raft, which applies its log to it; the instances are watched
	// from the first applied command on.
	a.startNotifier()
	a.run.Start()
	a.run.Input(sentinel.Hooks{Default: a.opt.target(conf.Master{}).Asks()})
	a.run.Input(sentinel.Wanted{Monitors: a.opt.wanted(), Fences: a.opt.fences()})
	// It ends after redisio, whose writes it waits for, see Stop.
	a.after("runner", func(context.Context) error { a.run.Stop(); return nil })
	a.after("redis", func(context.Context) error { a.pool.Close(); return nil })
	if err := a.node.Start(ctx); err != nil {
		return err
	}
	a.spawn(a.followLeadership)
	a.spawn(a.followMembership)
	if a.opt.Greet {
		a.spawn(a.greetAll)
	}
	if a.kube == nil {
		a.spawn(a.files.run)
		a.spawn(a.recall)
	} else if err := a.kube.start(ctx); err != nil {
		return err
	}
	for _, ln := range listeners {
		a.spawn(func() {
			if err := a.resp.Serve(ln); err != nil && !errors.Is(err, resp.ErrStopped) && !errors.Is(err, net.ErrClosed) {
				a.log.Error("Sentinel protocol ended", zap.String("address", ln.Addr().String()), zap.Error(err))
			}
		})
	}
	a.log.Info("watcher started", zap.String("id", string(a.ID())), zap.Strings("sentinel", slices.Concat(a.opt.bind, a.opt.bindTLS)), zap.String("peers", a.node.Addr()),
		zap.String("http", a.opt.HTTPAddr), zap.Strings("others", a.opt.Peers), zap.Int("masters", len(a.opt.File.Masters)))
	return nil
}

// after remembers how to end what was just started.
func (a *App) after(name string, f func(context.Context) error) {
	a.undo = append(a.undo, teardown{name, f})
}

func (a *App) spawn(f func()) {
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		f()
	}()
}

// Stop ends everything, in an order in which nothing waits for something that is
// gone already:
//
//  1. the leadership is handed over while everything still works, and Raft
//     ends: from here on no write to Redis can begin, and those under way are cancelled;
//  2. the Sentinel and HTTP ports: a client that is cut off asks the next watcher;
//  3. our own loops, which fed the runner;
//  4. redisio, whose pending writes end, then the runner, which waits for them;
//  5. what is told outside: the runner's last events are still among it.
func (a *App) Stop(ctx context.Context) error {
	var errs []error
	step := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", name, err))
		}
	}
	if a.kube != nil {
		a.kube.leave(ctx)
	}
	step("election", a.node.Stop(ctx))
	step("sentinel protocol", a.resp.Stop(ctx))
	a.cancel()
	a.wg.Wait()
	slices.Reverse(a.undo)
	for _, t := range a.undo {
		step(t.name, t.f(ctx))
	}
	a.undo = nil
	return errors.Join(errs...)
}

// halted stops acting because the log is not understood, and goes on with nil. The
// log calls it, also while the node is being made.
func (a *App) halted(why error) {
	if a.node != nil {
		a.node.SetUnfit(why != nil)
	}
	if why != nil {
		a.run.Input(sentinel.Led{})
	}
}

// followLeadership tells the runner when this watcher leads.
func (a *App) followLeadership() {
	for {
		select {
		case <-a.ctx.Done():
			return
		case l, ok := <-a.node.Leaderships():
			if !ok {
				return
			}
			if err := a.machine.Stuck(); err != nil {
				// election hands the leadership on, see halted.
				a.log.Error("elected, but not acting; another watcher is asked to", zap.Error(err))
				continue
			}
			a.membership()
			a.run.Lead(l.Ctx, l.Term)
			a.notify.Led()
			if a.kube != nil {
				a.kube.led(l.Ctx)
			}
		}
	}
}

// followMembership tells the runner who votes, whenever that changes.
func (a *App) followMembership() {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		a.membership()
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *App) membership() {
	m := sentinel.Membership{Me: a.ID(), Generation: a.node.Generation()}
	for _, p := range a.node.Peers() {
		if p.Voter {
			m.Voters = append(m.Voters, sentinel.WatcherID(p.ID))
		}
	}
	slices.Sort(m.Voters)
	a.run.Member(m)
}

// applied passes a committed command on, and keeps what is told of it elsewhere.
func (a *App) applied(index uint64, c sentinel.Command) {
	a.run.Applied(index, c)
	a.files.changed()
}

// count counts a plan that this watcher carried out. The log is read again at every
// start; what ended before this one is not counted again.
func (a *App) count(c sentinel.Command, p *sentinel.Plan, r *sentinel.Record) {
	if c.Wall.Before(a.started) {
		return
	}
	if p != nil && p.Leader == a.ID() {
		a.metrics.Begun(c.Master, *p)
	}
	if r != nil && r.Leader == a.ID() {
		a.metrics.Record(c.Master, *r)
	}
}

// event publishes to Sentinel clients and counts.
func (a *App) event(e sentinel.Event) {
	said := a.naming.event(e)
	a.resp.Publish(string(said.Name), said.Payload)
	a.metrics.Event(e)
	a.tell(said)
	if a.kube != nil {
		a.kube.event(e)
	}
	if e.Name == sentinel.EventSwitchMaster {
		a.files.switched()
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
