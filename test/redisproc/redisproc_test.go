package redisproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer/wire"
)

func start(t *testing.T, o redisproc.Options) *redisproc.Server {
	t.Helper()
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
	s, err := redisproc.Start(t.Context(), o)
	noErr(t, err)
	t.Cleanup(s.Stop)
	return s
}

func ask(t *testing.T, s *redisproc.Server, args ...string) wire.Reply {
	t.Helper()
	r, err := s.Do(t.Context(), args...)
	noErr(t, err)
	return r
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestReplicaFollowsItsMaster(t *testing.T) {
	for name, o := range map[string]redisproc.Options{
		"open":     {},
		"password": {Password: "p w"},
		"user":     {User: "app", Password: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			master := start(t, o)
			o.ReplicaOf = master.Addr()
			replica := start(t, o)
			equal(t, false, master.Port() == replica.Port())
			noErr(t, replica.WaitInfo(bounded(t), "master_link_status", "up"))
			equal(t, "OK", ask(t, master, "SET", "k", "v").Str)
			noErr(t, replica.WaitInfo(bounded(t), "db0", "keys=1,expires=0,avg_ttl=0"))
			equal(t, "v", ask(t, replica, "GET", "k").Str)
			if o.Password != "" {
				stranger, err := wire.Dial(t.Context(), master.Addr(), wire.Options{Timeout: time.Second})
				noErr(t, err)
				defer stranger.Close()
				r, err := stranger.Do("GET", "k")
				noErr(t, err)
				equal(t, "NOAUTH", wire.ReplyError(r.Str).Code())
			}
		})
	}
}

func TestKilledServerRefusesAndComesBackEmpty(t *testing.T) {
	s := start(t, redisproc.Options{})
	ask(t, s, "SET", "k", "v")
	ask(t, s, "SAVE")
	first := s.PID()
	s.Kill()
	equal(t, false, s.Running())
	s.Kill() // a dead one can be killed again
	_, err := s.Do(t.Context(), "PING")
	errIs(t, err, syscall.ECONNREFUSED)
	errHas(t, s.Freeze(), "it has ended")

	noErr(t, s.Restart(t.Context(), redisproc.RestartOptions{}))
	equal(t, false, first == s.PID())
	equal(t, "v", ask(t, s, "GET", "k").Str, "the dump is still there")
	noErr(t, s.Restart(t.Context(), redisproc.RestartOptions{Empty: true}))
	equal(t, wire.Null, ask(t, s, "GET", "k").Kind, "the dump was to be taken away")
}

func TestFrozenServerIsSilentUntilThawed(t *testing.T) {
	s := start(t, redisproc.Options{})
	noErr(t, s.Freeze())
	c, err := wire.Dial(t.Context(), s.Addr(), wire.Options{Timeout: 100 * time.Millisecond})
	noErr(t, err, "the kernel still accepts")
	defer c.Close()
	_, err = c.Do("PING")
	var timeout net.Error
	equal(t, true, errors.As(err, &timeout) && timeout.Timeout(), err)
	equal(t, true, s.Running())
	noErr(t, s.Thaw())
	equal(t, "PONG", ask(t, s, "PING").Str)
}

func TestStopEndsAFrozenServerAndRemovesItsDirectory(t *testing.T) {
	s := start(t, redisproc.Options{})
	dir := s.Dir()
	noErr(t, s.Freeze())
	s.Stop()
	s.Stop()
	equal(t, false, s.Running())
	_, err := os.Stat(dir)
	errIs(t, err, os.ErrNotExist)
}

func TestTakenPortIsNamedAndNobodyElsesAnswerCounts(t *testing.T) {
	other := start(t, redisproc.Options{})
	_, err := redisproc.Start(t.Context(), redisproc.Options{Port: other.Port()})
	errHas(t, err, fmt.Sprintf("on port %d: the port is taken by another process", other.Port()))
	errHas(t, err, "Address already in use")
}

func TestWrongArgumentShowsTheLog(t *testing.T) {
	start(t, redisproc.Options{}) // skips without Redis
	_, err := redisproc.Start(t.Context(), redisproc.Options{Args: []string{"--maxmemory", "nonsense"}})
	errHas(t, err, "the process ended (exit status 1)")
	errHas(t, err, "nonsense")
}

func TestMissingProgramSaysHowToInstallIt(t *testing.T) {
	_, err := redisproc.Start(t.Context(), redisproc.Options{Binary: "redis-server-that-is-not-there"})
	errIs(t, err, redisproc.ErrNoBinary)
	errHas(t, err, "apt-get install redis-server")
	_, err = redisproc.LookupBinary("no-such-redis-sentinel")
	errHas(t, err, "apt-get install redis-sentinel")
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	start(t, redisproc.Options{}) // skips without Redis
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err := redisproc.Start(ctx, redisproc.Options{Dir: dir})
	errIs(t, err, context.Canceled)
}

func TestSentinelFindsItsMasterAndKeepsItsFileOverRestarts(t *testing.T) {
	master := start(t, redisproc.Options{})
	conf := fmt.Sprintf("sentinel monitor orders 127.0.0.1 %d 1\n", master.Port())
	s := start(t, redisproc.Options{SentinelConf: conf})
	equal(t, []string{"127.0.0.1", fmt.Sprint(master.Port())}, ask(t, s, "SENTINEL", "get-master-addr-by-name", "orders").Strings())
	id := ask(t, s, "SENTINEL", "MYID").Str
	noErr(t, s.Restart(t.Context(), redisproc.RestartOptions{}))
	equal(t, id, ask(t, s, "SENTINEL", "MYID").Str)
}

// TestChildDiesWithItsParent runs this test binary again as the parent, and kills that.
func TestChildDiesWithItsParent(t *testing.T) {
	if os.Getenv("REDISPROC_PARENT") != "" {
		s, err := redisproc.Start(context.Background(), redisproc.Options{Dir: os.Getenv("REDISPROC_PARENT")})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		// Threads come and go; the child must not notice.
		for range 20 {
			done := make(chan struct{})
			go func() { runtime.LockOSThread(); close(done) }() // ends its thread
			<-done
		}
		fmt.Println("running", s.Addr())
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // until killed
		os.Exit(0)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the kernel does not offer it here")
	}
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildDiesWithItsParent$")
	cmd.Env = append(os.Environ(), "REDISPROC_PARENT="+t.TempDir())
	stdin, err := cmd.StdinPipe()
	noErr(t, err)
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	noErr(t, err)
	noErr(t, cmd.Start())
	var addr string
	_, err = fmt.Fscanf(out, "running %s\n", &addr)
	noErr(t, err)
	c, err := wire.Dial(t.Context(), addr, wire.Options{Timeout: 5 * time.Second})
	noErr(t, err)
	defer c.Close()
	r, err := c.Do("PING")
	noErr(t, err, "it must outlive threads of its parent")
	equal(t, "PONG", r.Str)

	noErr(t, cmd.Process.Kill())
	errHas(t, cmd.Wait(), "killed")
	_, err = c.Receive() // its death closes the connection
	equal(t, true, err != nil)
	var timeout net.Error
	equal(t, false, errors.As(err, &timeout) && timeout.Timeout(), "still alive after 5 s: %v", err)
	equal(t, false, strings.Contains(err.Error(), "protocol"), err)
}

func TestAConnectionThatIsClosedBeforeTheAnswerIsMadeAnew(t *testing.T) {
	s := start(t, redisproc.Options{})
	admin, err := wire.Dial(t.Context(), s.Addr(), wire.Options{Timeout: 5 * time.Second})
	noErr(t, err)
	defer admin.Close()
	tell := func(args ...string) string {
		t.Helper()
		r, err := admin.Do(args...)
		noErr(t, errors.Join(err, r.Err()))
		return r.Str
	}
	// Again, if the machine stood still for as long as a question may take.
	for range 10 {
		equal(t, "OK", tell("CLIENT", "PAUSE", "10000", "WRITE"))
		got := make(chan error, 1)
		go func() {
			r, err := s.Do(t.Context(), "SET", "k", "v")
			got <- errors.Join(err, r.Err())
		}()
		for len(got) == 0 && !strings.Contains(tell("INFO", "clients"), "blocked_clients:1") {
			time.Sleep(time.Millisecond)
		}
		tell("CLIENT", "KILL", "TYPE", "normal")
		equal(t, "OK", tell("CLIENT", "UNPAUSE"))
		if err = <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	noErr(t, err)
}
