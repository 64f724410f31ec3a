package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// brought brings up a set whose instances do not all start alike: edit changes the
// options of number i, and conf adds lines to every sentinel.conf once the ports are
// known. Both may be nil.
func brought(t *T, s setup, edit func(r *rig, i int, o *redisproc.Options), conf func(r *rig) string) *rig {
	t.Helper()
	s = s.withDefaults()
	dir := t.TempDir() // first: it goes last
	r := &rig{t: t, downAfter: s.downAfter, host: s.host, access: s.redis}
	t.Cleanup(r.end)
	for i := range s.replicas + 1 {
		o := s.redis
		o.Port, o.Dir = given.redis(t), filepath.Join(dir, fmt.Sprintf("redis-%d", i))
		if err := os.MkdirAll(o.Dir, 0o750); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			o.ReplicaOf = r.redis[0].Addr()
		}
		if edit != nil {
			edit(r, i, &o)
		}
		srv, err := redisproc.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		r.redis = append(r.redis, srv)
	}
	lines := strings.Replace(r.monitor(s.quorum), "failover-timeout "+name+" 60000", "failover-timeout "+name+" "+strconv.Itoa(s.timeout()), 1) + s.conf
	if conf != nil {
		lines += conf(r)
	}
	o := trio.Options{Binary: program, Dir: dir, Size: s.watchers, Args: s.args, Conf: lines, TLS: s.redis.TLS}
	for range s.watchers {
		o.Ports = append(o.Ports, given.watcher(t))
	}
	var err error
	if r.trio, err = trio.Start(o); err != nil {
		t.Fatal(err)
	}
	return r
}

func (s setup) timeout() int {
	if s.failoverTimeout == 0 {
		return 60_000
	}
	return int(s.failoverTimeout.Milliseconds())
}

// killAll kills every redis-server, the replicas first, so that none of them outlives
// the master long enough to be chosen as one that followed it.
func (r *rig) killAll() {
	r.t.Helper()
	for i := len(r.redis) - 1; i >= 0; i-- {
		r.redis[i].Kill()
	}
}

// back starts a server again with what its files hold.
func (r *rig) back(s *redisproc.Server) { r.t.Helper(); r.again(s, redisproc.RestartOptions{}) }

// blank starts a server again without its files.
func (r *rig) blank(s *redisproc.Server) {
	r.t.Helper()
	r.again(s, redisproc.RestartOptions{Empty: true})
}

func (r *rig) again(s *redisproc.Server, o redisproc.RestartOptions) {
	r.t.Helper()
	if err := s.Restart(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
}

// says waits until triwatch status, asked of the leader, contains all the words.
func (r *rig) says(words ...string) {
	r.t.Helper()
	r.wait("status says "+strings.Join(words, ", "), func() error {
		l := r.trio.Leader(r.t.Context())
		if l == nil {
			return errors.New("nobody leads")
		}
		got := r.cli(l, "status", name)
		for _, w := range words {
			if !strings.Contains(got.out, w) {
				return fmt.Errorf("%q is not in\n%s%s", w, got.out, got.err)
			}
		}
		return nil
	})
}

// recorded waits until the history has a record of that kind whose reason contains the words.
func (r *rig) recorded(kind string, words ...string) httpapi.Record {
	r.t.Helper()
	var found httpapi.Record
	r.wait("history has "+kind+": "+strings.Join(words, ", "), func() error {
		l := r.trio.Leader(r.t.Context())
		if l == nil {
			return errors.New("nobody leads")
		}
		list, err := l.History(r.t.Context(), name)
		if err != nil {
			return err
		}
		for _, rec := range list {
			if rec.Kind == kind && containsAll(rec.Why, words) {
				found = rec
				return nil
			}
		}
		return fmt.Errorf("it has %+v", list)
	})
	return found
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// hasKeys waits until a server has that many.
func (r *rig) hasKeys(s *redisproc.Server, n int) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%s has %d keys", s.Addr(), n), func() error {
		reply, err := s.Do(r.t.Context(), "DBSIZE")
		if err == nil && reply.Str != strconv.Itoa(n) {
			err = fmt.Errorf("it has %s", reply.Str)
		}
		return err
	})
}

// oneMaster waits until one server alone says that it is master.
func (r *rig) oneMaster(want *redisproc.Server) {
	r.t.Helper()
	r.wait(want.Addr()+" is the only master", func() error {
		for _, s := range r.redis {
			role := "slave"
			if s == want {
				role = "master"
			}
			if err := r.has(s, "role", role); err != nil {
				return err
			}
		}
		return nil
	})
}
