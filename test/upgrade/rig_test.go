package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
)

// name is the master's name.
const name = "orders"

// limit bounds every wait. A quiet machine needs a tenth of it.
const limit = 60 * time.Second

// rig is what one test runs.
type rig struct {
	*testing.T
	redis  []*redisproc.Server
	trio   *trio.Trio
	master *redisproc.Server
	loads  []*load
	// outdated are the watchers that do not act, because they are too old.
	outdated map[*trio.Watcher]bool
	began    time.Time
}

// load is a writer that has ended, and how much of what was acknowledged the new
// master did not have when it was promoted.
type load struct {
	*writer.Writer
	during string
	acked  int64
	lost   map[writer.Key]bool
}

func newRig(t *testing.T, first build) *rig {
	t.Helper()
	r := &rig{T: t, outdated: map[*trio.Watcher]bool{}, began: time.Now()}
	dir := t.TempDir()
	t.Cleanup(r.end)
	for i := range 3 {
		o := redisproc.Options{Port: redisPort(t)}
		if i > 0 {
			o.ReplicaOf = r.redis[0].Addr()
		}
		s, err := redisproc.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		r.redis = append(r.redis, s)
	}
	r.master = r.redis[0]
	var err error
	r.trio, err = trio.Start(trio.Options{Binary: first.path, Dir: filepath.Join(dir, "w"), Conf: fmt.Sprintf(
		"sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 60000\n", name, r.master.Port(), name, name)})
	if err != nil {
		t.Fatal(err)
	}
	r.steady()
	return r
}

// redisPort finds a port below those that Linux gives to outgoing connections, so that
// a server that is started again finds it free.
func redisPort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 23000 + rand.IntN(7000)
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err == nil {
			c.Close() //nolint:errcheck // it was only asked whether it is there
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return port
		}
	}
	t.Fatal("no free port for a redis-server")
	return 0
}

func (r *rig) end() {
	if r.Failed() && r.trio != nil {
		for _, w := range r.trio.Watchers {
			r.Logf("%s, %s:\n%s", w.Name, w.Addr(), w.Tail(40))
		}
	}
	if r.trio != nil {
		r.trio.Stop()
	}
	for _, s := range r.redis {
		s.Stop()
	}
}

// say logs a step with its time.
func (r *rig) say(format string, args ...any) {
	r.Helper()
	r.Logf("%5.1f s  %s", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *rig) wait(what string, cond func() error) {
	r.Helper()
	if err := trio.Wait(r.Context(), limit, cond); err != nil {
		r.Fatalf("waited for: %s: %v", what, err)
	}
}

// acting are the watchers that should act.
func (r *rig) acting() []*trio.Watcher {
	var out []*trio.Watcher
	for _, w := range r.trio.Watchers {
		if !r.outdated[w] {
			out = append(out, w)
		}
	}
	return out
}

// steady waits until the watchers that act are content and both replicas are in sync.
func (r *rig) steady() {
	r.Helper()
	r.wait("a steady state", func() error {
		for _, w := range r.acting() {
			m, st, err := w.Master(r.Context(), name)
			if err != nil {
				return err
			}
			if !st.HasQuorum || st.Reachable != len(r.trio.Watchers) || m.State != "ok" || m.Plan != nil || m.WatchersAgree < len(r.acting()) || m.Current.Address != r.master.Addr() {
				return fmt.Errorf("%s: master %s is %q (%s), %d of %d watchers, %d agree", w.Name, m.Current.Address, m.State, m.Note, st.Reachable, st.Watchers, m.WatchersAgree)
			}
			for _, i := range m.Instances {
				if !i.Master && (i.Link != "up" || i.Health != "up") {
					return fmt.Errorf("%s: %s is %s, its link %s", w.Name, i.Name, i.Health, i.Link)
				}
			}
		}
		return r.inSync()
	})
}

// inSync returns an error unless both replicas have everything that the master has now.
func (r *rig) inSync() error {
	info, err := r.master.Info(r.Context(), "replication")
	if err != nil {
		return err
	}
	want, err := strconv.ParseInt(info["master_repl_offset"], 10, 64)
	if err != nil {
		return err
	}
	for _, s := range r.redis {
		if s == r.master {
			continue
		}
		got, err := s.Info(r.Context(), "replication")
		if err != nil {
			return err
		}
		at, err := strconv.ParseInt(got["slave_repl_offset"], 10, 64)
		if err != nil || at < want || got["master_link_status"] != "up" || got["master_port"] != strconv.Itoa(r.master.Port()) {
			return fmt.Errorf("%s is at %s of %d, link to port %s %s", s.Addr(), got["slave_repl_offset"], want, got["master_port"], got["master_link_status"])
		}
	}
	return nil
}

// failover kills the master under a writer and waits until writes go on elsewhere.
func (r *rig) failover(during string) {
	r.Helper()
	r.steady() // what earlier writers have written is everywhere
	res, err := writer.NewSentinel(writer.SentinelOptions{Addrs: r.trio.Addrs(), Master: name})
	if err != nil {
		r.Fatal(err)
	}
	w, err := writer.New(writer.Options{Resolver: res, Conns: 4, Rate: 2000})
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { _, err := w.Run(ctx); done <- err }()
	defer func() { cancel() }()
	more := func(n int64) {
		from := w.Snapshot().Acked
		r.wait(fmt.Sprintf("%d more writes, %s", n, during), func() error {
			if s := w.Snapshot(); s.Acked < from+n {
				return fmt.Errorf("%d acknowledged, none for %v, errors %v", s.Acked-from, s.SinceAck, s.Errors)
			}
			return nil
		})
	}
	more(500)
	old := r.master
	old.Kill()
	r.moved(old)
	more(500)
	cancel()
	if err := <-done; err != nil {
		r.Fatal(err)
	}
	l := &load{Writer: w, during: during, acked: w.Snapshot().Acked, lost: r.missing(w)}
	gap := w.Snapshot().LongestGap
	r.loads = append(r.loads, l)
	if err := old.Restart(r.Context(), redisproc.RestartOptions{}); err != nil {
		r.Fatal(err)
	}
	r.say("%s: failed over to %s, %v without a write, %d of %d acknowledged writes were on the dead master alone", during, r.master.Addr(), gap.Round(time.Millisecond), len(l.lost), l.acked)
	r.steady()
}

// moved waits until all watchers that act name the same new master, and it is one.
func (r *rig) moved(old *redisproc.Server) {
	r.Helper()
	r.wait("another master than "+old.Addr(), func() error {
		addr := ""
		for _, w := range r.acting() {
			a, err := w.MasterAddr(r.Context(), name)
			if err != nil {
				return err
			}
			if a == old.Addr() || (addr != "" && a != addr) {
				return fmt.Errorf("%s names %s", w.Name, a)
			}
			addr = a
		}
		for _, s := range r.redis {
			if s.Addr() == addr {
				r.master = s
			}
		}
		info, err := r.master.Info(r.Context(), "replication")
		if err == nil && info["role"] != "master" {
			err = fmt.Errorf("%s is %s", addr, info["role"])
		}
		return err
	})
}

// missing are the acknowledged writes that the master does not have.
func (r *rig) missing(w *writer.Writer) map[writer.Key]bool {
	r.Helper()
	v, err := w.Verify(r.Context(), r.master.Addr())
	if err != nil {
		r.Fatal(err)
	}
	out := map[writer.Key]bool{}
	for _, k := range v.Missing {
		out[k] = true
	}
	if int64(len(out)) != v.Lost {
		r.Fatalf("%d writes are missing, more than a crash can cost here", v.Lost)
	}
	return out
}

// kept checks that nothing is missing that any promoted replica had.
func (r *rig) kept() {
	r.Helper()
	all := int64(0)
	for _, l := range r.loads {
		all += l.acked
		for k := range r.missing(l.Writer) {
			if !l.lost[k] {
				r.Errorf("write %s of the load %s is gone, and was on the replica that was promoted then", k.Name(l.Prefix()), l.during)
			}
		}
	}
	r.say("%d acknowledged writes in %d failovers: nothing is gone that a promoted replica had", all, len(r.loads))
}

// roll ends one watcher and starts it with another build.
func (r *rig) roll(w *trio.Watcher, b build, args ...string) {
	r.Helper()
	w.End()
	w.Binary, w.Args = b.path, args
	if err := w.Start(); err != nil {
		r.Fatal(err)
	}
	r.say("%s runs %s (level %d) %s", w.Name, b.version, b.level, strings.Join(args, " "))
}

// level is the committed level as a watcher of this build or a later one knows it.
func (r *rig) level(w *trio.Watcher) (int, error) {
	p, err := w.Peers(r.Context())
	if err == nil && p.Level == 0 {
		err = fmt.Errorf("%s does not say its level", w.Name)
	}
	return p.Level, err
}

// ready is what /readyz says.
func (r *rig) ready(w *trio.Watcher) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.HTTP()+"/readyz", nil)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}
