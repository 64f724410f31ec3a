package election

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// list is a Machine that remembers every command.
type list struct {
	mu   sync.Mutex
	cmds []string
	// last is the index of the latest one, behind what Behind was told before the first.
	last, behind uint64
	told         int
}

func (l *list) Behind(last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = last
	l.told++
}

func (l *list) Apply(index uint64, cmd []byte) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = index
	l.cmds = append(l.cmds, string(cmd))
	return len(l.cmds)
}

func (l *list) Snapshot() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return json.Marshal(l.cmds)
}

func (l *list) Restore(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cmds = nil
	return json.Unmarshal(b, &l.cmds)
}

func (l *list) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.cmds)
}

// watcher is one Node under test, with its directory and port, which survive it.
type watcher struct {
	t    testing.TB
	name string
	cfg  Config
	*Node
	list *list
	logs *observer.ObservedLogs

	mu          sync.Mutex
	leaderships []Leadership
	messages    []string
	reader      sync.WaitGroup
}

// cluster is a set of watchers that name each other as peers.
type cluster struct {
	t  testing.TB
	ws []*watcher
}

// freeAddrs returns loopback addresses that were free a moment ago. All are held
// at once so that they differ.
func freeAddrs(t testing.TB, count int) []string {
	t.Helper()
	var addrs []string
	for range count {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs
}

func newCluster(t testing.TB, count int, change ...func(*Config)) *cluster {
	t.Helper()
	c := &cluster{t: t}
	addrs := freeAddrs(t, count)
	for i := range addrs {
		c.ws = append(c.ws, newWatcher(t, fmt.Sprintf("w%d", i), addrs[i], addrs, change...))
	}
	return c
}

func newWatcher(t testing.TB, name, addr string, peers []string, change ...func(*Config)) *watcher {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	if testing.Verbose() {
		logger = zaptest.NewLogger(t, zaptest.WrapOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
			return zapcore.NewTee(c, core)
		}))).Named(name)
	}
	w := &watcher{t: t, name: name, logs: logs, cfg: Config{
		Dir: filepath.Join(t.TempDir(), "data"), Bind: addr, Peers: peers, Logger: logger,
		// A lease this long bears a machine that stands still now and then.
		Heartbeat: 400 * time.Millisecond, Election: 400 * time.Millisecond, Lease: 400 * time.Millisecond,
	}}
	for _, f := range change {
		f(&w.cfg)
	}
	w.cfg.OnMessage = func(from ID, payload []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.messages = append(w.messages, from.Short()+":"+string(payload))
	}
	t.Cleanup(w.stop)
	return w
}

// start makes the Node anew from the directory and starts it.
func (w *watcher) start() {
	w.t.Helper()
	w.list = &list{}
	n, err := New(w.cfg, w.list)
	if err != nil {
		w.t.Fatalf("%s: %v", w.name, err)
	}
	w.Node = n
	if err := n.Start(context.Background()); err != nil {
		w.t.Fatalf("%s: %v", w.name, err)
	}
	w.reader.Go(func() {
		for l := range n.Leaderships() {
			w.mu.Lock()
			w.leaderships = append(w.leaderships, l)
			w.mu.Unlock()
		}
	})
}

func (w *watcher) stop() {
	if w.Node == nil {
		return
	}
	if err := w.Stop(context.Background()); err != nil {
		w.t.Errorf("%s: %v", w.name, err)
	}
	w.reader.Wait()
	w.Node = nil
}

// crash stops without handing over, as far as the others can tell.
func (w *watcher) crash() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.life().halt() // no hand-over by the leadership loop either
	w.life().conns.closeAll()
	if err := w.Stop(ctx); err != nil {
		w.t.Logf("%s crashed: %v", w.name, err)
	}
	w.reader.Wait()
	w.Node = nil
}

// office returns the newest Leadership that was delivered.
func (w *watcher) office() (Leadership, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.leaderships) == 0 {
		return Leadership{}, false
	}
	return w.leaderships[len(w.leaderships)-1], true
}

func (c *cluster) startAll() {
	c.t.Helper()
	for _, w := range c.ws {
		w.start()
	}
}

// eventually waits for a condition, and prints the last state otherwise.
func eventually(t testing.TB, what string, within time.Duration, cond func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		ok, state := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; last state: %s", within, what, state)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

const patience = 20 * time.Second

func (c *cluster) running() []*watcher {
	return slices.DeleteFunc(slices.Clone(c.ws), func(w *watcher) bool { return w.Node == nil })
}

func (c *cluster) String() string {
	s := ""
	for _, w := range c.running() {
		st := w.State()
		s += fmt.Sprintf("\n  %s %s %s: %+v peers", w.name, w.ID().Short(), w.Addr(), st)
		for _, p := range w.Peers() {
			s += fmt.Sprintf(" [%s %s voter=%v reachable=%v]", p.ID.Short(), p.Addr, p.Voter, p.Reachable)
		}
	}
	return s
}

// awaitLeader waits until all running watchers agree on one, who is in office.
func (c *cluster) awaitLeader() *watcher {
	c.t.Helper()
	var leader *watcher
	eventually(c.t, "all agree on a leader in office", patience, func() (bool, string) {
		leader = nil
		for _, w := range c.running() {
			if l, ok := w.office(); ok && l.Ctx.Err() == nil && w.State().Leading {
				leader = w
			}
		}
		if leader == nil {
			return false, c.String()
		}
		for _, w := range c.running() {
			if id, _ := w.Leader(); id != leader.ID() {
				return false, c.String()
			}
		}
		return true, ""
	})
	return leader
}

// awaitVoters waits until every running watcher sees exactly these voters and no
// other member.
func (c *cluster) awaitVoters(want ...*watcher) {
	c.t.Helper()
	eventually(c.t, "the voters are as they should be", patience, func() (bool, string) {
		var ids []ID // they can change
		for _, w := range want {
			ids = append(ids, w.ID())
		}
		slices.Sort(ids)
		for _, w := range c.running() {
			var got []ID
			for _, p := range w.Peers() {
				if !p.Voter {
					return false, c.String()
				}
				got = append(got, p.ID)
			}
			slices.Sort(got)
			if !slices.Equal(got, ids) {
				return false, c.String()
			}
		}
		return true, ""
	})
}

func (c *cluster) others(not *watcher) []*watcher {
	return slices.DeleteFunc(c.running(), func(w *watcher) bool { return w == not })
}

func mustCommit(t testing.TB, w *watcher, cmd string) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o := w.Propose(ctx, []byte(cmd))
	if o.Status != Committed {
		t.Fatalf("%s: propose %q: %v, %v; %+v", w.name, cmd, o.Status, o.Err, w.State())
	}
	return o
}

func awaitApplied(t testing.TB, w *watcher, want ...string) {
	t.Helper()
	eventually(t, w.name+" has applied everything", patience, func() (bool, string) {
		got := w.list.all()
		return slices.Equal(got, want), fmt.Sprint(got)
	})
}
