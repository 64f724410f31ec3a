package redisio_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"github.com/triwatch/triwatch/sentinel/redisio"
	"github.com/triwatch/triwatch/test/redisproc"
)

func (r *rig) do(s *redisproc.Server, op sentinel.Op, with ...func(*sentinel.Do)) sentinel.Done {
	r.t.Helper()
	return r.doIn(r.t.Context(), s, op, with...)
}

func (r *rig) doIn(ctx context.Context, s *redisproc.Server, op sentinel.Op, with ...func(*sentinel.Do)) sentinel.Done {
	r.t.Helper()
	d := sentinel.Do{
		ID: 7, Op: op, Master: "orders", Instance: sentinel.InstanceID(s.Addr()), Addr: addrOf(s), Timeout: 2 * time.Second,
	}
	for _, f := range with {
		f(&d)
	}
	done := r.pool.Do(ctx, d)
	if done.ID != 7 || done.Master != "orders" {
		r.t.Errorf("%s: done of another: %+v", op, done)
	}
	return done
}

func to(s *redisproc.Server) func(*sentinel.Do) {
	return func(d *sentinel.Do) { d.To = addrOf(s) }
}

func within(timeout time.Duration) func(*sentinel.Do) {
	return func(d *sentinel.Do) { d.Timeout = timeout }
}

func until(replID string, offset int64) func(*sentinel.Do) {
	return func(d *sentinel.Do) { d.ReplID, d.Offset = replID, offset }
}

func value(v string) func(*sentinel.Do) {
	return func(d *sentinel.Do) { d.Value = v }
}

func run(id string) func(*sentinel.Do) {
	return func(d *sentinel.Do) { d.RunID = id }
}

func (r *rig) expect(d sentinel.Done, want sentinel.Outcome, detail string) *sentinel.Info {
	r.t.Helper()
	if d.Result != want || !strings.Contains(d.Detail, detail) {
		r.t.Fatalf("got %s %q, want %s %q; info %+v", d.Result, d.Detail, want, detail, d.Info)
	}
	return d.Info
}

// calls counts how often a command was executed.
func calls(t *testing.T, s *redisproc.Server, command string) int {
	t.Helper()
	info, err := s.Info(t.Context(), "commandstats")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, stats := range info {
		if name != "cmdstat_"+command && !strings.HasPrefix(name, "cmdstat_"+command+"|") {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(stats, "calls="), ",")
		c, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		n += c
	}
	return n
}

// pair is a master and its synced replica.
func pair(t *testing.T) (master, replica *redisproc.Server) {
	t.Helper()
	master = redis(t, redisproc.Options{})
	replica = redis(t, redisproc.Options{ReplicaOf: master.Addr()})
	if err := replica.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	ask(t, master, "WAIT", "1", "60000") // the master counts it only after its first ACK
	return master, replica
}

func TestHandoverStepByStepLosesNothingAndCanBeRepeated(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	for range 100 {
		ask(t, master, "INCR", "n")
	}
	fenced := r.expect(r.do(master, sentinel.OpFence), sentinel.OutcomeOK, "")
	if !fenced.Fenced() || fenced.Offset == 0 {
		t.Fatalf("not fenced: %+v", fenced)
	}
	again := r.expect(r.do(master, sentinel.OpFence), sentinel.OutcomeOK, "already")
	if again.Offset != fenced.Offset {
		t.Errorf("the fenced offset moved from %d to %d", fenced.Offset, again.Offset)
	}
	reply, err := master.Do(t.Context(), "INCR", "n")
	if err != nil || !strings.HasPrefix(reply.Str, "READONLY") {
		t.Errorf("write on the fenced master: %v %v", reply, err)
	}
	caught := r.expect(r.do(replica, sentinel.OpAwait, until(fenced.ReplID, fenced.Offset)), sentinel.OutcomeOK, "")
	if caught.Offset < fenced.Offset {
		t.Errorf("offset %d < %d", caught.Offset, fenced.Offset)
	}
	r.expect(r.do(replica, sentinel.OpPromote, run("of another process")), sentinel.OutcomeRefused, "runs anew")
	if calls(t, replica, "replicaof")+calls(t, replica, "slaveof") != 0 {
		t.Fatal("a run that was not meant was promoted")
	}
	r.expect(r.do(replica, sentinel.OpPromote, until("of another data set", 0)), sentinel.OutcomeRefused, "taken up another data set")
	if calls(t, replica, "replicaof")+calls(t, replica, "slaveof") != 0 {
		t.Fatal("a replica was promoted with a data set that was not meant")
	}
	promoted := r.expect(r.do(replica, sentinel.OpPromote, until(fenced.ReplID, 0)), sentinel.OutcomeOK, "")
	if promoted.Role != sentinel.RoleMaster || !promoted.Full || promoted.ReplID2 != fenced.ReplID {
		t.Errorf("not promoted: %+v", promoted)
	}
	r.expect(r.do(replica, sentinel.OpPromote), sentinel.OutcomeOK, "already")
	r.expect(r.do(master, sentinel.OpReplicate, to(replica)), sentinel.OutcomeOK, "")
	r.expect(r.do(master, sentinel.OpReplicate, to(replica)), sentinel.OutcomeOK, "already")
	if err := master.WaitInfo(t.Context(), "master_link_status", "up"); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, replica, "GET", "n"); got != "100" {
		t.Errorf("n is %s", got)
	}
	info, err := replica.Info(t.Context(), "stats")
	if err != nil || info["sync_full"] != "0" || info["sync_partial_ok"] != "1" {
		t.Errorf("not a partial resync: full %s, partial %s, %v", info["sync_full"], info["sync_partial_ok"], err)
	}
	if n := calls(t, master, "replicaof"); n != 2 {
		t.Errorf("the old master got %d REPLICAOF, want fence and replicate", n)
	}
	if n := calls(t, replica, "replicaof"); n != 1 {
		t.Errorf("the new master got %d REPLICAOF", n)
	}
	r.eventually("CONFIG REWRITE", func() (string, bool) {
		n := calls(t, replica, "config|rewrite")
		return strconv.Itoa(n), n == 1
	})
}

func TestFenceIsUndoneAndOnlyAFence(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	r.expect(r.do(master, sentinel.OpUnfence), sentinel.OutcomeOK, "already")
	r.expect(r.do(master, sentinel.OpFence), sentinel.OutcomeOK, "")
	r.expect(r.do(master, sentinel.OpUnfence), sentinel.OutcomeOK, "")
	ask(t, master, "SET", "k", "v")
	d := r.do(replica, sentinel.OpUnfence)
	if info := r.expect(d, sentinel.OutcomeRefused, "not fenced"); info.Role != sentinel.RoleReplica {
		t.Errorf("unexpected %+v", info)
	}
	if n := calls(t, replica, "replicaof"); n != 0 {
		t.Errorf("%d REPLICAOF", n)
	}
}

// TestMasterIsNotMadeToFollowBeforeItIsFenced is a command of a deposed leader that finds
// its target promoted: what only that one has would be lost.
func TestMasterIsNotMadeToFollowBeforeItIsFenced(t *testing.T) {
	old, next := redis(t, redisproc.Options{}), redis(t, redisproc.Options{})
	r := newRig(t)
	r.expect(r.do(old, sentinel.OpReplicate, to(next)), sentinel.OutcomeRefused, "fenced before it follows")
	if n := calls(t, old, "replicaof"); n != 0 {
		t.Fatalf("%d REPLICAOF", n)
	}
	r.expect(r.do(old, sentinel.OpFence), sentinel.OutcomeOK, "")
	r.expect(r.do(old, sentinel.OpReplicate, to(next)), sentinel.OutcomeOK, "")
}

func TestReplicaThatFollowsAnotherByNowIsNotPromoted(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	from := func(a sentinel.Addr) func(*sentinel.Do) { return func(d *sentinel.Do) { d.From = a } }
	r.expect(r.do(replica, sentinel.OpPromote, from(sentinel.Addr{Host: "10.0.0.1", Port: 6379})), sentinel.OutcomeRefused, "since it was chosen")
	if n := calls(t, replica, "replicaof"); n != 0 {
		t.Fatalf("%d REPLICAOF", n)
	}
	r.expect(r.do(replica, sentinel.OpPromote, from(addrOf(master))), sentinel.OutcomeOK, "")
}

func TestReplicateOfItselfOrOfNobodyIsNotSent(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.expect(r.do(s, sentinel.OpReplicate, to(s)), sentinel.OutcomeFailed, "cannot be a replica")
	r.expect(r.do(s, sentinel.OpReplicate), sentinel.OutcomeFailed, "cannot be a replica")
	fence := func(d *sentinel.Do) { d.To = sentinel.FenceAddr }
	r.expect(r.do(s, sentinel.OpReplicate, fence), sentinel.OutcomeFailed, "cannot be a replica")
	r.expect(r.do(s, sentinel.Op(99)), sentinel.OutcomeFailed, "not known")
	if n := calls(t, s, "replicaof"); n != 0 {
		t.Errorf("%d REPLICAOF", n)
	}
}

func TestAwaitSaysHowFarBehind(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	info := r.expect(r.do(master, sentinel.OpAwait, until("", 0)), sentinel.OutcomeOK, "")
	far := r.do(replica, sentinel.OpAwait, until(info.ReplID, info.Offset+1_000_000), within(60*time.Millisecond))
	if i := r.expect(far, sentinel.OutcomeFailed, "bytes behind"); i == nil {
		t.Error("no INFO")
	}
	foreign := r.do(replica, sentinel.OpAwait, until(strings.Repeat("f", 40), 1), within(30*time.Millisecond))
	r.expect(foreign, sentinel.OutcomeFailed, "lineage")
}

func TestAwaitEndsWhenTheReplicaCatchesUp(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	info := r.expect(r.do(master, sentinel.OpAwait, until("", 0)), sentinel.OutcomeOK, "")
	if err := replica.Freeze(); err != nil {
		t.Fatal(err)
	}
	ask(t, master, "SET", "k", strings.Repeat("v", 1000))
	done := make(chan sentinel.Done, 1)
	go func() {
		done <- r.pool.Do(context.Background(), sentinel.Do{
			Op: sentinel.OpAwait, Master: "orders", Addr: addrOf(replica), ReplID: info.ReplID, Offset: info.Offset + 1000, Timeout: patience,
		})
	}()
	if err := replica.Thaw(); err != nil {
		t.Fatal(err)
	}
	r.expect(<-done, sentinel.OutcomeOK, "")
}

func TestPausedWritesWaitUntilUnpaused(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.expect(r.do(s, sentinel.OpPauseWrites, within(time.Minute)), sentinel.OutcomeOK, "")
	done := make(chan error, 1)
	start := time.Now()
	go func() { _, err := s.Do(context.Background(), "SET", "k", "v"); done <- err }()
	r.eventually("the writer to wait", func() (string, bool) {
		info, err := s.Info(t.Context(), "clients")
		if err != nil {
			return err.Error(), false
		}
		return info["blocked_clients"], info["blocked_clients"] == "1"
	})
	r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeOK, "")
	if err := <-done; err != nil {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeOK, "")
}

func TestKillClientsClosesOthersAndIsNoLossOfTheInstance(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.ready(s, target(s))
	from := r.now()
	r.expect(r.do(s, sentinel.OpKillClients), sentinel.OutcomeOK, "connections closed")
	h := r.until("lost", from, func(h heard) bool { return h.Lost })
	if h.Reply != sentinel.ReplyOK {
		t.Errorf("unexpected %v", h)
	}
	r.expect(r.do(s, sentinel.OpKillClients), sentinel.OutcomeOK, "connections closed")
}

func TestSetPingSaysWhatWasThere(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	if d := r.do(s, sentinel.OpSetPing, value("1")); d.Result != sentinel.OutcomeOK || d.Detail != "10" {
		t.Fatalf("unexpected %+v", d)
	}
	if d := r.do(s, sentinel.OpSetPing, value("1")); d.Result != sentinel.OutcomeOK || d.Detail != "1" {
		t.Fatalf("unexpected %+v", d)
	}
	if n := calls(t, s, "config|set"); n != 1 {
		t.Errorf("%d CONFIG SET", n)
	}
	r.expect(r.do(s, sentinel.OpSetPing, value("never")), sentinel.OutcomeRefused, "ERR")
}

func TestNothingIsSentAfterTheContextHasEnded(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	// A connection that is open already must not make a difference.
	r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeOK, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, op := range []sentinel.Op{sentinel.OpPromote, sentinel.OpFence, sentinel.OpPauseWrites, sentinel.OpKillClients} {
		r.expect(r.doIn(ctx, s, op), sentinel.OutcomeFailed, "canceled")
	}
	if n := calls(t, s, "replicaof") + calls(t, s, "client|pause") + calls(t, s, "client|kill"); n != 0 {
		t.Errorf("%d commands arrived", n)
	}
}

func TestCancelBeforeTheWriteKeepsItBack(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	d := r.doIn(ctx, s, sentinel.OpFence)
	r.expect(d, sentinel.OutcomeFailed, "")
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if n := calls(t, s, "replicaof"); n != 0 {
		t.Errorf("%d REPLICAOF", n)
	}
}

func TestWriteWithoutAnswerIsUnknown(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRigWith(t, func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &freezer{Conn: c, server: s}, err
	})
	d := r.do(s, sentinel.OpFence, within(200*time.Millisecond))
	r.expect(d, sentinel.OutcomeUnknown, "no answer")
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitInfo(t.Context(), "role", "slave"); err != nil {
		t.Fatal("the late command did not arrive:", err)
	}
	// The late one was the plan's own: the repetition finds it done.
	r.expect(r.do(s, sentinel.OpFence), sentinel.OutcomeOK, "already")
}

// freezer stops the server right before it is told to replicate.
type freezer struct {
	net.Conn
	server *redisproc.Server
}

func (f *freezer) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "REPLICAOF") || strings.Contains(string(b), "replicaof") {
		if err := f.server.Freeze(); err != nil {
			return 0, err
		}
	}
	return f.Conn.Write(b)
}

func TestDeadInstanceIsFailedNotUnknown(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeOK, "")
	s.Kill()
	for _, op := range []sentinel.Op{sentinel.OpPromote, sentinel.OpUnpause, sentinel.OpAwait, sentinel.OpSetPing} {
		r.expect(r.do(s, op), sentinel.OutcomeFailed, "refused")
	}
}

func TestRestartBetweenActionsIsNoticedBeforeTheWrite(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	for _, op := range []sentinel.Op{sentinel.OpUnpause, sentinel.OpFence, sentinel.OpKillClients, sentinel.OpSetPing} {
		r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeOK, "")
		if err := s.Restart(t.Context(), redisproc.RestartOptions{}); err != nil {
			t.Fatal(err)
		}
		r.expect(r.do(s, op), sentinel.OutcomeOK, "")
	}
}

func TestFrozenProbeDoesNotHoldAnAction(t *testing.T) {
	master, replica := pair(t)
	r := newRig(t)
	tm, tr := target(master), target(replica)
	tr.Instance = "redis-1"
	r.watch(tm, tr)
	r.listening(master)
	if err := master.Freeze(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r.expect(r.do(replica, sentinel.OpPromote), sentinel.OutcomeOK, "")
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestACLMadeForSentinelIsEnough(t *testing.T) {
	s := redis(t, redisproc.Options{})
	ask(t, s, "ACL", "SETUSER", "watch", "on", ">pw", "+ping", "+info", "+slaveof")
	r := newRig(t)
	r.pool.SetCredentials("orders", redisio.Credentials{User: "watch", Password: "pw"})
	r.expect(r.do(s, sentinel.OpFence), sentinel.OutcomeOK, "")
	r.expect(r.do(s, sentinel.OpPromote), sentinel.OutcomeOK, "")
	r.expect(r.do(s, sentinel.OpKillClients), sentinel.OutcomeRefused, "NOPERM")
	ask(t, s, "ACL", "SETUSER", "watch", "-slaveof")
	r.expect(r.do(s, sentinel.OpFence), sentinel.OutcomeRefused, "NOPERM")
	r.pool.SetCredentials("orders", redisio.Credentials{User: "watch", Password: "no"})
	r.expect(r.do(s, sentinel.OpFence), sentinel.OutcomeRefused, "WRONGPASS")
	r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeRefused, "WRONGPASS")
}

func TestActionsAfterCloseFail(t *testing.T) {
	s := redis(t, redisproc.Options{})
	r := newRig(t)
	r.expect(r.do(s, sentinel.OpUnpause), sentinel.OutcomeOK, "")
	r.pool.Close()
	r.expect(r.do(s, sentinel.OpFence), sentinel.OutcomeFailed, redisio.ErrClosed.Error())
	if n := calls(t, s, "replicaof"); n != 0 {
		t.Errorf("%d REPLICAOF", n)
	}
}

func TestCancelBetweenReadAndWriteKeepsTheWriteBack(t *testing.T) {
	s := redis(t, redisproc.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := newRigWith(t, func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &canceler{Conn: c, cancel: cancel}, err
	})
	d := r.doIn(ctx, s, sentinel.OpFence)
	r.expect(d, sentinel.OutcomeFailed, "canceled")
	if calls(t, s, "info") == 0 || calls(t, s, "replicaof") != 0 {
		t.Errorf("%d INFO, %d REPLICAOF", calls(t, s, "info"), calls(t, s, "replicaof"))
	}
}

// canceler ends the leadership at the moment at which INFO is answered.
type canceler struct {
	net.Conn
	cancel context.CancelFunc
}

func (c *canceler) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if strings.Contains(string(b[:n]), "redis_version") {
		c.cancel()
	}
	return n, err
}
