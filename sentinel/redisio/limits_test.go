package redisio_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

func limits(write, lag int) func(*sentinel.Do) {
	return func(d *sentinel.Do) { d.Limits = &sentinel.MinReplicas{Write: write, Lag: lag} }
}

func givenBack(d *sentinel.Do) { d.GiveBack = true }

// limitsOf is what a server has now.
func limitsOf(t *testing.T, s *redisproc.Server) string {
	t.Helper()
	var out []string
	for _, name := range []string{"min-replicas-to-write", "min-replicas-max-lag"} {
		reply, err := s.Do(t.Context(), "CONFIG", "GET", name)
		if texts := reply.Strings(); err == nil && len(texts) == 2 {
			out = append(out, texts[1])
			continue
		}
		t.Fatalf("%s: %v %v", name, reply, err)
	}
	return strings.Join(out, "/")
}

func TestLimitsAreFoundSetAndProved(t *testing.T) {
	master, _ := pair(t)
	r := newRig(t)
	if d := r.do(master, sentinel.OpFindLimits); d.Result != sentinel.OutcomeOK || d.Detail != "0/10" {
		t.Fatalf("found %+v", d)
	}
	info := r.expect(r.do(master, sentinel.OpSetLimits, limits(1, 2)), sentinel.OutcomeOK, "")
	if !info.Limited || info.Good != 1 || limitsOf(t, master) != "1/2" {
		t.Fatalf("limited=%v, %d good, %s", info.Limited, info.Good, limitsOf(t, master))
	}
	sets := calls(t, master, "config|set")
	r.expect(r.do(master, sentinel.OpSetLimits, limits(1, 2)), sentinel.OutcomeOK, "")
	if n := calls(t, master, "config|set"); n != sets {
		t.Errorf("set again: %d CONFIG SET after %d", n, sets)
	}
	info = r.expect(r.do(master, sentinel.OpSetLimits, limits(0, 10), givenBack), sentinel.OutcomeOK, "")
	if info.Limited || limitsOf(t, master) != "0/10" {
		t.Errorf("not given back: %s", limitsOf(t, master))
	}
	r.expect(r.do(master, sentinel.OpSetLimits, limits(-1, 2)), sentinel.OutcomeRefused, "ERR")
}

func TestPromotionBeginsWithNoLimitInTheSameTransaction(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	ask(t, replica, "CONFIG", "SET", "min-replicas-to-write", "3")
	r.expect(r.do(master, sentinel.OpFence), sentinel.OutcomeOK, "")
	info := r.expect(r.do(replica, sentinel.OpPromote, limits(0, 0)), sentinel.OutcomeOK, "")
	if info.Role != sentinel.RoleMaster || info.Limited || limitsOf(t, replica) != "0/10" {
		t.Fatalf("%+v, %s", info, limitsOf(t, replica))
	}
	if calls(t, replica, "exec") != 1 || calls(t, replica, "multi") != 1 {
		t.Error("it was no transaction")
	}
	// It is one already, and somebody has limited it: that ends as well.
	ask(t, replica, "CONFIG", "SET", "min-replicas-to-write", "3")
	if info := r.expect(r.do(replica, sentinel.OpPromote, limits(0, 0)), sentinel.OutcomeOK, ""); info.Limited {
		t.Error("it is still limited")
	}
	ask(t, replica, "SET", "k", "v")
	// The old one gets what it had, together with its new role.
	ask(t, master, "CONFIG", "SET", "min-replicas-to-write", "1")
	r.expect(r.do(master, sentinel.OpReplicate, to(replica), limits(0, 20)), sentinel.OutcomeOK, "")
	if got := limitsOf(t, master); got != "0/20" {
		t.Errorf("it follows with %s", got)
	}
}

func TestUserWithoutMultiIsPromotedAllTheSame(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	r.pool.SetCredentials("orders", userWithout(t, replica, "-multi", "-exec"))
	r.expect(r.do(replica, sentinel.OpPromote, limits(0, 0)), sentinel.OutcomeOK, "")
	ask(t, replica, "REPLICAOF", "127.0.0.1", strings.TrimPrefix(master.Addr(), "127.0.0.1:"))
	r.pool.SetCredentials("orders", userWithout(t, replica, "-config"))
	r.expect(r.do(replica, sentinel.OpPromote, limits(0, 0)), sentinel.OutcomeOK, "")
	r.expect(r.do(replica, sentinel.OpSetLimits, limits(1, 2)), sentinel.OutcomeRefused, "NOPERM")
}

func userWithout(t *testing.T, s *redisproc.Server, rules ...string) redisio.Credentials {
	t.Helper()
	ask(t, s, append([]string{"ACL", "SETUSER", "little", "reset", "on", ">secret", "~*", "&*", "+@all"}, rules...)...)
	return redisio.Credentials{User: "little", Password: "secret"}
}

// TestLimitOfAMasterIsNeverWrittenDown is the race of the rewrite after a promotion with
// the fence that is put up at once.
func TestLimitOfAMasterIsNeverWrittenDown(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		file := filepath.Join(dir, "redis.conf")
		script := filepath.Join(dir, "redis") // the file has to be the first argument
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(script, []byte("#!/bin/sh\nexec redis-server "+file+" \"$@\"\n"), 0o700)); err != nil {
			t.Fatal(err)
		}
		s := redis(t, redisproc.Options{Binary: script, ReplicaOf: "127.0.0.1:1"})
		r := newRig(t)
		r.expect(r.do(s, sentinel.OpPromote, limits(0, 0)), sentinel.OutcomeOK, "")
		r.expect(r.do(s, sentinel.OpSetLimits, limits(1, 2)), sentinel.OutcomeOK, "")
		r.pool.Close()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if calls(t, s, "config|rewrite") != 1 || strings.Contains(string(text), "min-replicas-to-write 1") {
			t.Fatalf("the file has:\n%s", text)
		}
		s.Kill()
	}
}
