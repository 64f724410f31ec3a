package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// name is the master's name in all tests.
const name = "orders"

// The bounds of waiting. A quiet machine needs a tenth of them.
const (
	steadyLimit = 60 * time.Second
	waitLimit   = 30 * time.Second
)

// setup says what a test needs. The zero value is a master with two replicas and
// three watchers, quorum 2, down-after 1 s.
type setup struct {
	watchers  int           // 0 is 3
	quorum    int           // 0 is a majority
	replicas  int           // 0 is 2
	downAfter time.Duration // 0 is 1 s
	conf      string        // further lines of every sentinel.conf
	host      string        // what the file calls the master's host; "" is 127.0.0.1
	// failoverTimeout is for brought; 0 is a minute.
	failoverTimeout time.Duration
	args            []string // further arguments of every watcher
	redis           redisproc.Options
}

// rig is what one test runs.
type rig struct {
	t         *T
	downAfter time.Duration
	host      string
	redis     []*redisproc.Server // the master first
	trio      *trio.Trio
	access    redisproc.Options // user and password
}

// start brings everything up and waits until it is steady.
func start(t *T, s setup) *rig {
	t.Helper()
	r := prepare(t, s)
	r.steady(len(r.redis) - 1)
	return r
}

// prepare starts everything and does not wait.
func prepare(t *T, s setup) *rig {
	t.Helper()
	return brought(t, s, nil, nil)
}

func (s setup) withDefaults() setup {
	if s.watchers == 0 {
		s.watchers = 3
	}
	if s.quorum == 0 {
		s.quorum = s.watchers/2 + 1
	}
	if s.replicas == 0 {
		s.replicas = 2
	}
	if s.host == "" {
		s.host = "127.0.0.1"
	}
	if s.downAfter == 0 {
		s.downAfter = time.Second
	}
	return s
}

func (r *rig) monitor(quorum int) string {
	return fmt.Sprintf("sentinel monitor %s %s %d %d\nsentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 60000\n",
		name, r.host, r.redis[0].Port(), quorum, name, r.downAfter.Milliseconds(), name)
}

// end tells all that is known if the test failed, and ends everything.
func (r *rig) end() {
	if r.t.Failed() {
		r.dump()
	}
	if r.trio != nil {
		r.trio.Stop()
	}
	for _, s := range r.redis {
		s.Stop()
	}
}

func (r *rig) dump() {
	for _, s := range r.redis {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		info, err := s.Info(ctx, "replication")
		cancel()
		r.t.Logf("redis %s running=%v: role=%s master=%s:%s link=%s offset=%s (%v)", s.Addr(), s.Running(), info["role"],
			info["master_host"], info["master_port"], info["master_link_status"], info["master_repl_offset"], err)
	}
	if r.trio == nil {
		return
	}
	for _, w := range r.trio.Watchers {
		for _, path := range []string{"", "/history"} {
			var said json.RawMessage
			_, err := w.Get(context.Background(), "/v1/masters/"+name+path, &said)
			r.t.Logf("%s says of %s%s: %s (%v)", w.Name, name, path, said, err)
		}
		r.t.Logf("%s, %s:\n%s", w.Name, w.Addr(), w.Tail(60))
	}
}

// wait waits until cond returns nil and fails with its last error.
func (r *rig) wait(what string, cond func() error) {
	r.t.Helper()
	if err := trio.Wait(r.t.Context(), waitLimit, cond); err != nil {
		r.t.Fatalf("waited for: %s: %v", what, err)
	}
}

// stays checks that cond goes on returning nil for a while.
func (r *rig) stays(what string, span time.Duration, cond func() error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), span)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := cond(); err != nil {
			r.t.Fatalf("it was to stay so: %s: %v", what, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pass lets time go by, for a test whose subject is time.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	r.stays("test not ended", d, r.t.Context().Err)
}

// steady waits until all watchers are content.
func (r *rig) steady(replicas int) {
	r.t.Helper()
	if err := r.trio.WaitSteady(r.t.Context(), name, replicas, steadyLimit); err != nil {
		r.t.Fatal(err)
	}
}

// running are the watchers that have not ended.
func (r *rig) running() []*trio.Watcher {
	var out []*trio.Watcher
	for _, w := range r.trio.Watchers {
		if _, ended := w.Proc().Exited(); !ended {
			out = append(out, w)
		}
	}
	return out
}

// leader waits for a leader among the running watchers.
func (r *rig) leader() *trio.Watcher {
	r.t.Helper()
	var l *trio.Watcher
	r.wait("a leader", func() error {
		if l = r.trio.Leader(r.t.Context()); l == nil {
			return errors.New("nobody leads")
		}
		return nil
	})
	return l
}

// follower is a running watcher that does not lead.
func (r *rig) follower() *trio.Watcher {
	r.t.Helper()
	l := r.leader()
	for _, w := range r.running() {
		if w != l {
			return w
		}
	}
	r.t.Fatal("no watcher but the leader runs")
	return nil
}

// moved waits until all running watchers name the same master, another than old,
// and returns it.
func (r *rig) moved(old *redisproc.Server) *redisproc.Server {
	r.t.Helper()
	var next *redisproc.Server
	r.wait("another master than "+old.Addr(), func() error {
		next = nil
		for _, w := range r.running() {
			a, err := w.MasterAddr(r.t.Context(), name)
			if err != nil {
				return err
			}
			s := r.at(a)
			if s == nil || s == old || (next != nil && next != s) {
				return fmt.Errorf("%s names %s", w.Name, a)
			}
			next = s
		}
		return r.has(next, "role", "master")
	})
	return next
}

// at is the server at an address, nil if there is none.
func (r *rig) at(addr string) *redisproc.Server {
	for _, s := range r.redis {
		if s.Addr() == addr {
			return s
		}
	}
	return nil
}

// others are all servers but one.
func (r *rig) others(but *redisproc.Server) []*redisproc.Server {
	var out []*redisproc.Server
	for _, s := range r.redis {
		if s != but {
			out = append(out, s)
		}
	}
	return out
}

// has returns an error unless the server's INFO replication has the value.
func (r *rig) has(s *redisproc.Server, field, value string) error {
	info, err := s.Info(r.t.Context(), "replication")
	if err == nil && info[field] != value {
		err = fmt.Errorf("%s has %s %q, not %q", s.Addr(), field, info[field], value)
	}
	return err
}

// follows waits until one server is a replica of another, in sync.
func (r *rig) follows(s, master *redisproc.Server) {
	r.t.Helper()
	r.wait(s.Addr()+" follows "+master.Addr(), func() error {
		return errors.Join(r.has(s, "role", "slave"), r.has(s, "master_port", strconv.Itoa(master.Port())), r.has(s, "master_link_status", "up"))
	})
}

// settled waits until every running watcher shows that epoch without an open plan.
func (r *rig) settled(epoch string) {
	r.t.Helper()
	r.wait("epoch "+epoch+" and no open plan", func() error {
		for _, w := range r.running() {
			m, _, err := w.Master(r.t.Context(), name)
			if err != nil {
				return err
			}
			if m.Epoch != epoch || m.Plan != nil {
				return fmt.Errorf("%s: epoch %s, plan %+v", w.Name, m.Epoch, m.Plan)
			}
		}
		return nil
	})
}

// untouched returns an error if a plan was ever begun or is.
func (r *rig) untouched() error {
	for _, w := range r.running() {
		m, _, err := w.Master(r.t.Context(), name)
		if err != nil {
			return err
		}
		if m.Epoch != "0" || m.Plan != nil {
			return fmt.Errorf("%s: epoch %s, plan %+v", w.Name, m.Epoch, m.Plan)
		}
	}
	return nil
}

// calm checks that nothing at all was begun: epoch 0, no plan, and none in history.
// To have held one back is right on a machine that let a watcher sleep.
func (r *rig) calm() {
	r.t.Helper()
	if err := r.untouched(); err != nil {
		r.t.Fatal(err)
	}
	for _, rec := range r.records() {
		if rec.Kind != "adopted" && rec.Kind != "held" {
			r.t.Fatalf("history has %s: %s %s", rec.Kind, rec.Why, rec.Result)
		}
	}
	for _, s := range r.redis[1:] {
		if err := r.has(s, "role", "slave"); err != nil {
			r.t.Fatal(err)
		}
	}
}

// records is the history, newest first, of a watcher that is up to date.
func (r *rig) records() []httpapi.Record {
	r.t.Helper()
	h, err := r.leader().History(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// plans are the failovers, handovers and aborted ones of the history, newest first.
func (r *rig) plans() []httpapi.Record {
	r.t.Helper()
	var out []httpapi.Record
	for _, rec := range r.records() {
		if rec.Epoch != "" && rec.Kind != "adopted" && rec.Kind != "held" {
			out = append(out, rec)
		}
	}
	return out
}

// onlyPlan checks that there was exactly one plan and returns it.
func (r *rig) onlyPlan(kind, epoch string) httpapi.Record {
	r.t.Helper()
	p := r.plans()
	if len(p) != 1 || p[0].Kind != kind || p[0].Epoch != epoch {
		r.t.Fatalf("history has %+v, want one %s of epoch %s", p, kind, epoch)
	}
	return p[0]
}

// do sends one command and returns its reply as text; it fails on an error reply.
func (r *rig) do(s *redisproc.Server, args ...string) string {
	r.t.Helper()
	reply, err := s.Do(r.t.Context(), args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		r.t.Fatalf("%s: %s: %v", s.Addr(), strings.Join(args, " "), err)
	}
	if reply.Kind == wire.Array {
		return strings.Join(reply.Strings(), " ")
	}
	return reply.Str
}

// state is what one watcher says of the master.
func (r *rig) state(w *trio.Watcher) httpapi.Master {
	r.t.Helper()
	m, _, err := w.Master(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}
