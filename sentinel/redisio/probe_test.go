package redisio_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

func TestHealthyInstanceIsProbedAtItsPaceWithAKnownRunID(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping, tgt.Info = 20*time.Millisecond, 60*time.Millisecond
	r.ready(s, tgt)
	r.until("three sections of replication alone", 0, func(heard) bool {
		n := 0
		for _, h := range r.probes() {
			if h.Info != nil && !h.Info.Full {
				n++
			}
		}
		return n >= 3
	})
	var last heard
	for i, h := range r.probes() {
		if h.Reply != sentinel.ReplyOK || h.Lost || h.Master != "orders" || h.Instance != "redis-0" {
			t.Errorf("unexpected %v", h)
		}
		if i == 0 && (h.Info == nil || !h.Info.Full) {
			t.Errorf("the first probe has no full INFO: %v", h)
		}
		if h.Info != nil && h.Info.RunID == "" {
			t.Errorf("INFO without run id: %v", h)
		}
		if i > 1 && h.Info == nil && h.Asked < last.at+tgt.Ping/2 {
			t.Errorf("too soon: %v after %v", h, last)
		}
		last = h
	}
}

func TestKilledMasterIsLostAndRefusedWithinMilliseconds(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping = 5 * time.Second // the PING has no part in it
	r.ready(s, tgt)
	killed := r.now()
	s.Kill()
	h := r.until("lost", killed, func(h heard) bool { return h.Lost })
	if h.Reply != sentinel.ReplyRefused {
		t.Fatalf("reply is %v", h)
	}
	if took := h.at - killed; took > time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestRefusedInstanceIsRedialedAtItsPaceAndFoundAgain(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping = 30 * time.Millisecond
	r.ready(s, tgt)
	before := r.untilReply(sentinel.ReplyOK, 0)
	s.Kill()
	r.until("five refusals", 0, func(heard) bool {
		n := 0
		for _, h := range r.probes() {
			if h.Reply == sentinel.ReplyRefused {
				n++
			}
		}
		return n >= 5
	})
	refused, lost := []heard{}, 0
	for _, h := range r.probes() {
		if h.Reply == sentinel.ReplyRefused {
			refused = append(refused, h)
		}
		if h.Lost {
			lost++
		}
	}
	if lost != 1 {
		t.Errorf("lost %d times", lost)
	}
	for i := 2; i < len(refused); i++ {
		if gap := refused[i].Asked - refused[i-1].Asked; gap < 20*time.Millisecond {
			t.Errorf("redialed after %v", gap)
		}
	}
	back := r.now()
	if err := s.Restart(t.Context(), redisproc.RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	h := r.untilReply(sentinel.ReplyOK, back)
	if h.Info == nil || !h.Info.Full || h.Info.RunID == before.Info.RunID {
		t.Fatalf("the new process is not told from the old one: %v %+v", h, h.Info)
	}
	r.listening(s)
}

func TestRestartInPlaceIsLostWithANewRunID(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, target(s))
	before := r.untilReply(sentinel.ReplyOK, 0)
	from := r.now()
	if err := s.Restart(t.Context(), redisproc.RestartOptions{Graceful: true}); err != nil {
		t.Fatal(err)
	}
	r.until("lost", from, func(h heard) bool { return h.Lost })
	r.until("a new run id", from, func(h heard) bool { return h.Info != nil && h.Info.RunID != before.Info.RunID })
}

func TestFrozenInstanceTimesOutAndIsAliveAfterThaw(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping, tgt.Timeout = 20*time.Millisecond, 100*time.Millisecond
	r.ready(s, tgt)
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen := r.now()
	first := r.untilReply(sentinel.ReplyTimeout, frozen)
	if first.Lost {
		t.Errorf("a silence is no loss: %v", first)
	}
	r.untilReply(sentinel.ReplyTimeout, first.at+1)
	for _, h := range r.probes() {
		if h.at > first.at && h.Reply.Alive() {
			t.Errorf("frozen, but %v", h)
		}
	}
	thawed := r.now()
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	h := r.untilReply(sentinel.ReplyOK, thawed)
	if h.Lost {
		t.Errorf("it was not lost: %v", h)
	}
}

func TestFrozenInstanceThatIsKilledIsLostAtOnce(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	tgt := target(s)
	tgt.Timeout = 100 * time.Millisecond
	r.ready(s, tgt)
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	r.untilReply(sentinel.ReplyTimeout, r.now())
	killed := r.now()
	s.Kill()
	h := r.until("lost and refused", killed, func(h heard) bool { return h.Lost && h.Reply == sentinel.ReplyRefused })
	if took := h.at - killed; took > time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestKilledClientsOfAHealthyMasterAreNoHarm(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping = 50 * time.Millisecond
	r.ready(s, tgt)
	for _, kind := range []string{"pubsub", "normal"} {
		from := r.now()
		ask(t, s, "CLIENT", "KILL", "TYPE", kind)
		h := r.until("lost by "+kind, from, func(h heard) bool { return h.Lost })
		if h.Reply != sentinel.ReplyOK || h.Info == nil || !h.Info.Full {
			t.Errorf("CLIENT KILL TYPE %s: %v", kind, h)
		}
		r.listening(s)
		r.until("a later probe", h.at+1, func(h heard) bool { return h.Reply == sentinel.ReplyOK && !h.Lost })
	}
	for _, h := range r.probes() {
		if !h.Reply.Alive() {
			t.Errorf("unexpected %v", h)
		}
	}
}

func TestWrongPasswordIsAStateAndSetCredentialsHeals(t *testing.T) {
	for name, wrong := range map[string]redisio.Credentials{"none": {}, "wrong": {Password: "old"}} {
		t.Run(name, func(t *testing.T) {
			s := redis(t, redisproc.Options{Password: "s3cret"})
			r := newRig(t)
			tgt := target(s)
			tgt.Ping = 30 * time.Millisecond
			r.pool.SetCredentials("orders", wrong)
			r.watch(tgt)
			h := r.untilReply(sentinel.ReplyAuth, 0)
			if h.Detail == "" {
				t.Error("no words")
			}
			r.untilReply(sentinel.ReplyAuth, h.at+1)
			from := r.now()
			r.pool.SetCredentials("orders", redisio.Credentials{Password: "s3cret"})
			ok := r.untilReply(sentinel.ReplyOK, from)
			if ok.Info == nil || ok.Info.RunID == "" {
				t.Errorf("no INFO: %v", ok)
			}
			for _, h := range r.probes() {
				if h.Lost || !h.Reply.Alive() {
					t.Errorf("unexpected %v", h)
				}
			}
			r.listening(s)
		})
	}
}

// The first version asked without end once INFO was due: it filled memory and kept the
// watcher from everything else.
func TestRefusedPasswordKeepsThePace(t *testing.T) {
	s := redis(t, redisproc.Options{Password: "s3cret"})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping, tgt.Info = 20*time.Millisecond, 50*time.Millisecond
	r.pool.SetCredentials("orders", redisio.Credentials{Password: "old"})
	r.watch(tgt)
	const probes = 40
	r.until("the last of the probes", 0, func(heard) bool { return len(r.probes()) > probes })
	all := r.probes()
	if took, least := all[probes].at-all[0].at, probes*tgt.Ping/4; took < least {
		t.Fatalf("%d probes in %v, at a pace of %v: %v", probes, took, tgt.Ping, all[probes])
	}
}

func TestPasswordChangeWhileAllIsWellLosesNothing(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, target(s))
	ask(t, s, "ACL", "SETUSER", "triwatch", "on", ">second", "~*", "&*", "+@all")
	from := r.now()
	r.pool.SetCredentials("orders", redisio.Credentials{User: "triwatch", Password: "second"})
	r.untilReply(sentinel.ReplyOK, from)
	r.eventually("the connections to be the new user's", func() (string, bool) {
		list := ask(t, s, "CLIENT", "LIST")
		return list, count(list, "user=triwatch") == 2
	})
	for _, h := range r.probes() {
		if h.Lost || h.Reply != sentinel.ReplyOK {
			t.Errorf("unexpected %v", h)
		}
	}
}

func TestUserWithoutSubscribeStillSeesTheCrash(t *testing.T) {
	s := redis(t, redisproc.Options{})
	ask(t, s, "ACL", "SETUSER", "triwatch", "on", ">pw", "resetchannels", "+ping", "+info")
	r := newRig(t)
	tgt := target(s)
	tgt.Ping = 5 * time.Second
	r.pool.SetCredentials("orders", redisio.Credentials{User: "triwatch", Password: "pw"})
	r.watch(tgt)
	r.untilReply(sentinel.ReplyOK, 0)
	r.eventually("the listening connection to have been refused", func() (string, bool) {
		list := ask(t, s, "CLIENT", "LIST")
		return list, count(list, "cmd=subscribe") == 1 && count(list, "user=triwatch") == 2
	})
	killed := r.now()
	s.Kill()
	h := r.until("lost", killed, func(h heard) bool { return h.Lost })
	if took := h.at - killed; h.Reply != sentinel.ReplyRefused || took > time.Second {
		t.Fatalf("after %v: %v", took, h)
	}
}

func TestReachedMaxClientsIsAliveAndPaced(t *testing.T) {
	s := redis(t, redisproc.Options{Args: []string{"--maxclients", "4"}})
	var held []net.Conn
	for range 4 {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // the test is over
		fmt.Fprint(c, "PING\r\n")
		if _, err := c.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for name, creds := range map[string]redisio.Credentials{"without": {}, "with password": {Password: "x"}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pool.SetCredentials("orders", creds)
			tgt := target(s)
			tgt.Ping = 30 * time.Millisecond
			r.watch(tgt)
			first := r.untilReply(sentinel.ReplyMaxClients, 0)
			second := r.until("the next", first.at+1, func(heard) bool { return true })
			if second.Reply != sentinel.ReplyMaxClients || second.Lost {
				t.Errorf("unexpected %v", second)
			}
			if gap := second.Asked - first.Asked; gap < 20*time.Millisecond {
				t.Errorf("redialed after %v", gap)
			}
		})
	}
	r := newRig(t)
	tgt := target(s)
	tgt.Ping = 30 * time.Millisecond
	r.watch(tgt)
	r.untilReply(sentinel.ReplyMaxClients, 0)
	for _, c := range held {
		c.Close() //nolint:errcheck // makes room
	}
	r.untilReply(sentinel.ReplyOK, r.now())
}

func TestLoadingInstanceIsAliveButNotReady(t *testing.T) {
	s := redis(t, redisproc.Options{Args: []string{"--enable-debug-command", "yes"}})
	ask(t, s, "DEBUG", "POPULATE", "20000", "key", "64")
	ask(t, s, "SAVE")
	ask(t, s, "CONFIG", "SET", "key-load-delay", "200", "loading-process-events-interval-bytes", "1024")
	r := newRig(t)
	tgt := target(s)
	tgt.Ping, tgt.Info = 50*time.Millisecond, 100*time.Millisecond
	r.ready(s, tgt)
	from := r.now()
	// DEBUG RELOAD loads in the foreground and serves clients in between.
	done := make(chan error, 1)
	go func() { _, err := s.Do(context.Background(), "DEBUG", "RELOAD", "NOSAVE"); done <- err }()
	h := r.until("loading with INFO", from, func(h heard) bool { return h.Reply == sentinel.ReplyLoading && h.Info != nil })
	if !h.Info.Loading || h.Lost {
		t.Errorf("unexpected %v %+v", h, h.Info)
	}
	<-done // a second is all that it waits for
	ask(t, s, "CONFIG", "SET", "key-load-delay", "0")
	r.untilReply(sentinel.ReplyOK, h.at+1)
}

func TestInstanceInAnEndlessScriptIsBusy(t *testing.T) {
	s := redis(t, redisproc.Options{Args: []string{"--busy-reply-threshold", "20"}})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping = 30 * time.Millisecond
	r.ready(s, tgt)
	from := r.now()
	done := make(chan error, 1)
	go func() { _, err := s.Do(context.Background(), "EVAL", "while true do end", "0"); done <- err }()
	h := r.untilReply(sentinel.ReplyBusy, from)
	// A connection made meanwhile finds the same.
	r.pool.ProbeNow(sentinel.ProbeNow{Master: "orders", Instance: "redis-0", Redial: true})
	r.untilReply(sentinel.ReplyBusy, h.at+1)
	ask(t, s, "SCRIPT", "KILL")
	<-done
	r.untilReply(sentinel.ReplyOK, r.now())
}

func TestMasterThatCannotPersistIsMisconf(t *testing.T) {
	s := redis(t, redisproc.Options{Args: []string{"--save", "3600 1", "--dbfilename", "dump.rdb"}})
	r := newRig(t)
	tgt := target(s)
	tgt.Ping, tgt.Info = 30*time.Millisecond, 30*time.Millisecond
	r.ready(s, tgt)
	ask(t, s, "SET", "k", "v")
	ask(t, s, "CONFIG", "SET", "rdb-key-save-delay", "100000000")
	ask(t, s, "BGSAVE")
	// A child that is killed counts as a failed save, except by SIGUSR1.
	r.eventually("a saving child", func() (string, bool) {
		info, err := s.Info(t.Context(), "persistence")
		return fmt.Sprint(info["rdb_bgsave_in_progress"], err), info["rdb_bgsave_in_progress"] == "1"
	})
	killChildren(t, s.PID())
	h := r.untilReply(sentinel.ReplyMisconf, 0)
	if h.Info == nil {
		t.Errorf("INFO is answered all the same: %v", h)
	}
}

func TestMovedInstanceIsProbedAtItsNewAddressOnly(t *testing.T) {
	old, moved := redis(t, redisproc.Options{}), redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(old, target(old))
	from := r.now()
	r.watch(target(moved))
	h := r.until("the new address", from, func(h heard) bool { return h.Addr == addrOf(moved) })
	if h.Reply != sentinel.ReplyOK || h.Lost || h.Info == nil || !h.Info.Full {
		t.Errorf("unexpected %v", h)
	}
	r.listening(moved)
	r.eventually("nobody at the old address", func() (string, bool) {
		list := ask(t, old, "CLIENT", "LIST")
		return list, count(list, "name=triwatch") == 0
	})
	for _, h := range r.probes() {
		if h.Lost || h.Addr == addrOf(old) && h.Asked > from+time.Second {
			t.Errorf("unexpected %v", h)
		}
	}
}

func TestInstanceThatIsNoLongerWatchedIsLeftAlone(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, target(s))
	r.watch()
	r.eventually("no connection", func() (string, bool) {
		list := ask(t, s, "CLIENT", "LIST")
		return list, count(list, "name=triwatch") == 0
	})
	from := r.now()
	r.watch(target(s))
	r.untilReply(sentinel.ReplyOK, from)
	for _, h := range r.probes() {
		if h.Lost {
			t.Errorf("unexpected %v", h)
		}
	}
}

func TestUnchangedWatchKeepsTheConnections(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, target(s))
	before := connections(t, s)
	for range 100 {
		r.watch(target(s))
	}
	faster := target(s)
	faster.Ping = 10 * time.Millisecond
	from := r.now()
	r.watch(faster)
	r.until("three more probes", from, func(heard) bool {
		n := 0
		for _, h := range r.probes() {
			if h.at > from {
				n++
			}
		}
		return n >= 3
	})
	// The question itself is one connection.
	if got := connections(t, s) - before; got != 1 {
		t.Errorf("%d new connections", got-1)
	}
}

func connections(t *testing.T, s *redisproc.Server) int {
	t.Helper()
	info, err := s.Info(t.Context(), "stats")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(info["total_connections_received"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
