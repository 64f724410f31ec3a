package redisio_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

// documented is the user of docs/configuration.md.
const documented = "resetchannels &__triwatch__:* &__sentinel__:hello +ping +info +subscribe +replicaof +config|get +config|set +config|rewrite " +
	"+client|kill +client|pause +client|unpause +client|setname +acl|dryrun +command|info"

func asUser(t *testing.T, s *redisproc.Server, r *rig, rules string) {
	t.Helper()
	ask(t, s, append([]string{"ACL", "SETUSER", "triwatch", "on", ">pw"}, strings.Fields(rules)...)...)
	r.pool.SetCredentials("orders", us)
}

func TestDocumentedUserLacksNothing(t *testing.T) {
	s, r := redis(t, redisproc.Options{}), newRig(t)
	asUser(t, s, r, documented)
	r.watch(target(s))
	if got := r.rights(0); len(got.Missing) != 0 || got.Unsure || got.ReadOnly != sentinel.SettingOn {
		t.Errorf("found %+v", got)
	}
	found, err := redisio.Check(t.Context(), addrOf(s), us, nil)
	if err != nil || len(found.Problems)+len(found.Warnings) != 0 {
		t.Errorf("check: %+v %v", found, err)
	}
	if n := calls(t, s, "replicaof") + calls(t, s, "slaveof") + calls(t, s, "config|set") + calls(t, s, "client|pause"); n != 0 {
		t.Errorf("%d of what was asked about was sent", n)
	}
}

func TestRightsThatChangeAreFoundWhenTheyAreAskedFor(t *testing.T) {
	s, r := redis(t, redisproc.Options{}), newRig(t)
	asUser(t, s, r, documented)
	r.watch(target(s))
	r.rights(0)
	ask(t, s, "ACL", "SETUSER", "triwatch", "-replicaof")
	ask(t, s, "CONFIG", "SET", "replica-read-only", "no")
	from := r.now()
	r.pool.ProbeNow(sentinel.ProbeNow{Master: "orders", Instance: "redis-0", Rights: true})
	got := r.until("rights", from, func(h heard) bool { return h.Rights != nil && h.Asked >= from })
	if !slices.Equal(lacks(got.Rights), []string{"REPLICAOF"}) || got.Rights.ReadOnly != sentinel.SettingOff || got.Info == nil {
		t.Errorf("found %+v", got.Rights)
	}
	if why := got.Rights.Lacks(sentinel.RightMove); why != "user triwatch may not send REPLICAOF" {
		t.Errorf("said %q", why)
	}
}

func TestRenamedCommandsOfARealServerAreFound(t *testing.T) {
	args := []string{"--rename-command", "REPLICAOF", "r", "--rename-command", "SLAVEOF", "s", "--rename-command", "CLIENT", "c"}
	s, r := redis(t, redisproc.Options{Args: args}), newRig(t)
	want := []string{"REPLICAOF gone", "CLIENT KILL gone", "CLIENT PAUSE gone", "CLIENT UNPAUSE gone"}
	r.watch(target(s))
	if got := r.rights(0); !slices.Equal(lacks(got), want) || got.Unsure {
		t.Errorf("found %+v", got)
	}
	// A user who may not ask ACL DRYRUN hears of them from COMMAND INFO.
	asUser(t, s, r, "allchannels +@all -acl")
	from := r.now()
	got := r.until("rights of the user", from, func(h heard) bool { return h.Rights != nil && h.Rights.User == "triwatch" }).Rights
	if !slices.Equal(lacks(got), want) || !got.Unsure {
		t.Errorf("found %+v", got)
	}
	log, err := s.Do(t.Context(), "ACL", "LOG")
	if err != nil || len(log.Items) > 1 {
		t.Errorf("ACL LOG has %d entries, %v", len(log.Items), err)
	}
}

func TestRestartedInstanceIsAskedAnew(t *testing.T) {
	s, r := redis(t, redisproc.Options{}), newRig(t)
	r.watch(target(s))
	r.rights(0)
	from := r.now()
	if err := s.Restart(t.Context(), redisproc.RestartOptions{Graceful: true}); err != nil {
		t.Fatal(err)
	}
	r.rights(from)
}

func TestRightsAreAskedOncePerConnectionInCalm(t *testing.T) {
	s, r := redis(t, redisproc.Options{}), newRig(t)
	tgt := target(s)
	tgt.Ping, tgt.Info = 20*time.Millisecond, 50*time.Millisecond
	r.watch(tgt)
	r.rights(0)
	r.until("a second of probes", r.now()+time.Second, func(h heard) bool { return h.Info != nil })
	n := 0
	for _, h := range r.probes() {
		if h.Rights != nil {
			n++
		}
	}
	if n != 1 || calls(t, s, "acl|dryrun") != 9 {
		t.Errorf("asked %d times with %d commands", n, calls(t, s, "acl|dryrun"))
	}
}
