package resp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestMasterAddressIsAnswered(t *testing.T) {
	b := oneMaster(6379)
	_, addr := startServer(t, b, Options{})
	c := dial(t, addr)
	equal(t, `*[$"127.0.0.1" $"6379"]`, c.do("SENTINEL get-master-addr-by-name orders"))
	equal(t, `*-1`, c.do("SENTINEL get-master-addr-by-name nosuch"))
	b.move(6380)
	equal(t, `*[$"127.0.0.1" $"6380"]`, c.do("sentinel GET-MASTER-ADDR-BY-NAME orders"))
	equal(t, `$"`+ourID+`"`, c.do("sentinel myid"))
}

func TestPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	_, addr := startServer(t, oneMaster(1), Options{})
	c := dial(t, addr)
	go func() { // may block until the replies are read
		for i := range 5000 {
			_, _ = c.nc.Write([]byte(multibulk("PING", fmt.Sprint(i))))
		}
	}()
	for i := range 5000 {
		equal(t, fmt.Sprintf("$%q", fmt.Sprint(i)), c.next())
	}
}

func TestPasswordIsAskedFor(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{Password: "sesame"})
	c := dial(t, addr)
	for _, x := range [][2]string{
		{"PING", "-NOAUTH Authentication required."},
		{"SENTINEL masters", "-NOAUTH Authentication required."},
		{"SUBSCRIBE a", "-NOAUTH Authentication required."},
		{"GET a", "-ERR unknown command 'GET', with args beginning with: 'a' "},
		{"AUTH wrong", "-" + errWrongPass},
		{"AUTH default wrong", "-" + errWrongPass},
		{"AUTH other sesame", "-" + errWrongPass},
		{"AUTH default ''", "-" + errWrongPass},
		{"HELLO 3", "-" + errHelloAuth},
		{"HELLO 3 AUTH default wrong", "-" + errWrongPass},
		{"PING", "-NOAUTH Authentication required."},
		{"AUTH sesame", "+OK"},
		{"PING", "+PONG"},
		{"AUTH wrong", "-" + errWrongPass},
		{"PING", "+PONG"},
	} {
		equal(t, x[1], c.do(x[0]), "%s", x[0])
	}
	equal(t, uint64(6), s.Stats().AuthFailed)

	c = dial(t, addr)
	contains(t, c.do("HELLO 3 AUTH default sesame SETNAME me"), `$"proto" :3`)
	equal(t, `$"me"`, c.do("CLIENT GETNAME"))

	c = dial(t, addr)
	equal(t, "+OK", c.do("QUIT"))
	c.closed()
}

func TestWhoDoesNotAuthenticateInTimeIsClosed(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{Password: "sesame", AuthTimeout: 300 * time.Millisecond})
	silent, busy, good := dial(t, addr), dial(t, addr), dial(t, addr)
	equal(t, "+OK", good.do("AUTH sesame"))
	go func() { // commands do not prolong the time
		for {
			if _, err := busy.nc.Write([]byte("PING\r\n")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	silent.closed()
	busy.closed()
	equal(t, "+PONG", good.do("PING"))
	eventually(t, "counting the time-outs", func() any { return s.Stats() }, func() bool { return s.Stats().AuthTimeouts == 2 })
	less(t, 300*time.Millisecond, time.Since(s.started))
	equal(t, "+PONG", good.do("PING"), "an authenticated client may be idle")
}

func TestClientsBeyondTheLimitAreToldSo(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{MaxClients: 2})
	a, b := dial(t, addr), dial(t, addr)
	equal(t, "+PONG", a.do("PING"))
	equal(t, "+PONG", b.do("PING"))
	c := dial(t, addr)
	equal(t, "-ERR max number of clients reached", c.next())
	c.closed()
	equal(t, "+OK", a.do("QUIT"))
	a.closed()
	eventually(t, "room for another client", func() any { return s.Stats() }, func() bool {
		return dial(t, addr).do("PING") == "+PONG"
	})
	less(t, 0, s.Stats().Rejected)
}

func TestSubscribersGetWhatTheyAskedFor(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	two, three, both := dial(t, addr), dial(t, addr), dial(t, addr)
	equal(t, `*[$"subscribe" $"+switch-master" :1]`, two.do("SUBSCRIBE +switch-master"))
	contains(t, three.do("HELLO 3"), `$"proto" :3`)
	equal(t, `>[$"psubscribe" $"+s*" :1]`, three.do("PSUBSCRIBE +s*"))
	equal(t, `*[$"subscribe" $"+sdown" :1]`, both.do("SUBSCRIBE +sdown"))
	equal(t, `*[$"psubscribe" $"*" :2]`, both.do("PSUBSCRIBE *"))
	equal(t, 3, s.Subscribers())

	equal(t, 3, s.Publish("+switch-master", "orders 127.0.0.1 1 127.0.0.1 2"))
	equal(t, 3, s.Publish("+sdown", "x"))
	equal(t, 1, s.Publish("-odown", "y"))
	equal(t, `*[$"message" $"+switch-master" $"orders 127.0.0.1 1 127.0.0.1 2"]`, two.next())
	equal(t, `>[$"pmessage" $"+s*" $"+switch-master" $"orders 127.0.0.1 1 127.0.0.1 2"]`, three.next())
	equal(t, `>[$"pmessage" $"+s*" $"+sdown" $"x"]`, three.next())
	equal(t, `*[$"pmessage" $"*" $"+switch-master" $"orders 127.0.0.1 1 127.0.0.1 2"]`, both.next())
	equal(t, `*[$"message" $"+sdown" $"x"]`, both.next())
	equal(t, `*[$"pmessage" $"*" $"+sdown" $"x"]`, both.next())
	equal(t, `*[$"pmessage" $"*" $"-odown" $"y"]`, both.next())

	// RESP3 clients go on with everything else, RESP2 ones can't.
	equal(t, `*[$"127.0.0.1" $"1"]`, three.do("SENTINEL get-master-addr-by-name orders"))
	contains(t, two.do("SENTINEL get-master-addr-by-name orders"), "-ERR Can't execute 'sentinel|get-master-addr-by-name'")
	equal(t, `*[$"pong" $""]`, two.do("PING"))
	equal(t, `*[$"unsubscribe" $"+switch-master" :0]`, two.do("UNSUBSCRIBE"))
	equal(t, "+PONG", two.do("PING"))
	equal(t, 2, s.Subscribers())
	equal(t, 2, s.Publish("+switch-master", "again"))
	equal(t, `*[$"pmessage" $"*" $"+switch-master" $"again"]`, both.next())
	equal(t, "+OK", both.do("QUIT"))
	both.closed()
}

func TestSubscribersOfOneServerSeeOneOrder(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	var clients []*client
	for range 3 {
		c := dial(t, addr)
		c.do("SUBSCRIBE a")
		clients = append(clients, c)
	}
	const each = 200
	done := make(chan struct{})
	for p := range 4 {
		go func() {
			for i := range each {
				s.Publish("a", fmt.Sprintf("%d %d", p, i))
			}
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
	for range 4 * each {
		first := clients[0].next()
		contains(t, first, "message")
		for _, c := range clients[1:] {
			equal(t, first, c.next())
		}
	}
}

func TestHelloMessagesReachTheOwner(t *testing.T) {
	got := make(chan string, 1)
	_, addr := startServer(t, oneMaster(1), Options{OnHello: func(p string) { got <- p }})
	c := dial(t, addr)
	equal(t, ":1", c.do("PUBLISH __sentinel__:hello 127.0.0.1,26379"))
	equal(t, "127.0.0.1,26379", <-got)
	equal(t, "-ERR Only HELLO messages are accepted by Sentinel instances.", c.do("PUBLISH +switch-master x"))
}

func TestFailoverErrorsAreSentinels(t *testing.T) {
	b := oneMaster(1)
	_, addr := startServer(t, b, Options{})
	c := dial(t, addr)
	for _, x := range []struct {
		err  error
		want string
	}{
		{nil, "+OK"},
		{fmt.Errorf("fail over: %w", ErrInProgress), "-INPROG Failover already in progress"},
		{fmt.Errorf("fail over: %w", ErrNoGoodReplica), "-NOGOODSLAVE No suitable replica to promote"},
		{errors.New("no quorum:\n1 of 3 watchers"), "-ERR no quorum: 1 of 3 watchers"},
	} {
		b.failover = func(ctx context.Context, name string) error {
			_, limited := ctx.Deadline()
			truth(t, limited, "a deadline")
			return x.err
		}
		equal(t, x.want, c.do("SENTINEL FAILOVER orders"))
	}
	equal(t, "-ERR No such master with that name", c.do("SENTINEL FAILOVER nosuch"))
	b.quorum = func(string) (string, error) { return "", &QuorumError{Usable: 1, NoMajority: true} }
	equal(t, "-NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the majority and authorize a failover",
		c.do("SENTINEL CKQUORUM orders"))
	b.quorum = func(string) (string, error) { return "", errors.New("the leader is unknown") }
	equal(t, "-NOQUORUM the leader is unknown", c.do("SENTINEL CKQUORUM orders"))
}

func TestStopLetsSubscribersHaveWhatWasPublished(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	c := dial(t, addr)
	c.do("SUBSCRIBE +switch-master")
	for i := range 100 {
		s.Publish("+switch-master", fmt.Sprint(i))
	}
	noError(t, s.Stop(context.Background()))
	for i := range 100 {
		equal(t, fmt.Sprintf(`*[$"message" $"+switch-master" $"%d"]`, i), c.next())
	}
	equal(t, "closed", c.next())
}

func TestStopEndsAFailoverThatWaits(t *testing.T) {
	b := oneMaster(1)
	started := make(chan struct{})
	b.failover = func(ctx context.Context, _ string) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}
	s, addr := startServer(t, b, Options{})
	c := dial(t, addr)
	c.send("SENTINEL FAILOVER orders\r\n")
	<-started
	noError(t, s.Stop(context.Background()))
	equal(t, "-ERR context canceled", c.next())
}

func TestStopCutsOffWhoDoesNotRead(t *testing.T) {
	s, addr := startServer(t, oneMaster(1), Options{})
	c := dial(t, addr)
	c.do("SUBSCRIBE a")
	eventually(t, "a full socket", func() any { return s.Stats() }, func() bool {
		s.Publish("a", strings.Repeat("x", 10_000))
		for _, o := range s.connections() {
			return o.out.pending() > 500_000
		}
		return false
	})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	errorIs(t, s.Stop(ctx), context.DeadlineExceeded)
	noError(t, s.Stop(context.Background()), "a second time")
}

func TestServeAfterStopIsRefused(t *testing.T) {
	s, err := NewServer(oneMaster(1), Options{})
	noError(t, err)
	noError(t, s.Stop(context.Background()))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	errorIs(t, s.Serve(ln), ErrStopped)
	_, err = net.Dial("tcp", ln.Addr().String())
	truth(t, err != nil, "the listener is closed")
	equal(t, 0, s.Publish("a", "b"))
}

// brokenListener fails a few times and then hands out what the real one has.
type brokenListener struct {
	net.Listener
	failures int
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptThatFailsIsTriedAgain(t *testing.T) {
	warned := make(chan string, 10)
	s, err := NewServer(oneMaster(1), Options{Warn: func(m string, _ ...any) { warned <- m }})
	noError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	served := make(chan error)
	go func() { served <- s.Serve(&brokenListener{ln, 3}) }()
	equal(t, "+PONG", dial(t, ln.Addr().String()).do("PING"))
	equal(t, 3, len(warned))
	noError(t, ln.Close())
	errorIs(t, <-served, net.ErrClosed, "a listener that somebody else closed")
	noError(t, s.Stop(context.Background()))
}

func TestClientListShowsWhoIsThere(t *testing.T) {
	_, addr := startServer(t, oneMaster(1), Options{})
	a, b := dial(t, addr), dial(t, addr)
	equal(t, "+OK", a.do("CLIENT SETNAME first"))
	equal(t, "+OK", a.do("CLIENT SETINFO LIB-NAME go-redis"))
	equal(t, "+OK", a.do("CLIENT SETINFO lib-ver 9"))
	equal(t, "-ERR Unrecognized option 'lib'", a.do("CLIENT SETINFO lib 9"))
	equal(t, "-ERR lib-ver cannot contain spaces, newlines or special characters.", a.do("CLIENT SETINFO lib-ver 'a b'"))
	b.do("SUBSCRIBE a")
	list := a.do("CLIENT LIST")
	contains(t, list, "id=1 addr=127.0.0.1:")
	contains(t, list, "name=first age=0 idle=0 flags=N db=0 sub=0")
	contains(t, list, "cmd=client|list user=default redir=-1 resp=2 lib-name=go-redis lib-ver=9")
	contains(t, list, "name= age=0 idle=0 flags=P db=0 sub=1 psub=0")
	truth(t, !strings.Contains(a.do("CLIENT LIST TYPE pubsub"), "name=first"))
	contains(t, a.do("CLIENT INFO"), "name=first")
	equal(t, ":1", a.do("CLIENT ID"))
}

func TestInfoHasTheMasterLinesOfSentinel(t *testing.T) {
	b := oneMaster(6379)
	_, addr := startServer(t, b, Options{Version: "1.2.3"})
	c := dial(t, addr)
	got := c.do("INFO")
	for _, part := range []string{`redis_version:7.0.15\r\n`, `redis_mode:sentinel\r\n`, `triwatch_version:1.2.3\r\n`,
		`run_id:` + ourID, `\r\n\r\n# Clients\r\nconnected_clients:1\r\n`, `# CPU\r\nused_cpu_sys:`,
		`master0:name=orders,status=ok,address=127.0.0.1:6379,slaves=2,sentinels=3\r\n"`} {
		contains(t, got, part)
	}
	contains(t, got, "tcp_port:"+addr[strings.LastIndex(addr, ":")+1:])
	for flags, status := range map[Flags]string{FlagSDown: "sdown", FlagSDown | FlagODown: "odown"} {
		b.mu.Lock()
		b.masters[0].Flags = flags
		b.mu.Unlock()
		contains(t, c.do("INFO sentinel"), "status="+status+",")
	}
	truth(t, !strings.Contains(c.do("INFO sentinel"), "# Server"))
	equal(t, `$""`, c.do("INFO nosuch"))
}
