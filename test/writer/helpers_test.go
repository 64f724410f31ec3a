package writer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/triwatch/triwatch/test/redisproc"
)

func redis(t *testing.T, o redisproc.Options) *redisproc.Server {
	t.Helper()
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		t.Skip(err)
	}
	s, err := redisproc.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// running is a Writer at work; done gives its result.
type running struct {
	*Writer
	cancel context.CancelFunc
	result chan Result
}

func start(t *testing.T, o Options) *running {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Writer: w, cancel: cancel, result: make(chan Result, 1)}
	var all sync.WaitGroup
	all.Go(func() {
		res, err := w.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		r.result <- res
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
		goleak.VerifyNone(t, leaks, goleak.IgnoreAnyFunction("github.com/triwatch/triwatch/test/proc.Spawn.func1"))
	})
	return r
}

// stop ends the run and returns its result.
func (r *running) stop(t *testing.T) Result {
	t.Helper()
	r.cancel()
	select {
	case res := <-r.result:
		return res
	case <-time.After(10 * time.Second):
		t.Fatalf("the writer does not end; %+v", r.Snapshot())
		return Result{}
	}
}

// until polls the record and fails with its last state.
func (r *running) until(t *testing.T, what string, ok func(Result) bool) Result {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		res := r.Snapshot()
		if ok(res) {
			return res
		}
		if time.Now().After(end) {
			t.Fatalf("waited for: %s; last seen: %+v", what, res)
		}
		sleep(t.Context(), 2*time.Millisecond)
	}
}

func (r *running) moreAcks(t *testing.T, n int64) Result {
	t.Helper()
	from := r.Snapshot().Acked
	return r.until(t, fmt.Sprintf("%d more acknowledged writes", n), func(x Result) bool { return x.Acked >= from+n })
}

func (r *running) verify(t *testing.T, s *redisproc.Server) Verification {
	t.Helper()
	v, err := r.Verify(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ask(t *testing.T, s *redisproc.Server, args ...string) string {
	t.Helper()
	reply, err := s.Do(t.Context(), args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	return reply.Str
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stub is a server whose every answer the test decides: answer gets a command and returns the raw reply; ok=false hangs up.
type stub struct {
	l     net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool // true: subscribed
	all   sync.WaitGroup
}

func newStub(t *testing.T, answer func(args []string) (raw string, ok bool)) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{l: l, conns: map[net.Conn]bool{}}
	s.all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = false
			s.mu.Unlock()
			s.all.Go(func() { s.serve(conn, answer) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for conn := range s.conns {
			conn.Close()
		}
		s.mu.Unlock()
		s.all.Wait()
	})
	return s
}

func (s *stub) addr() string { return s.l.Addr().String() }

func (s *stub) serve(conn net.Conn, answer func([]string) (string, bool)) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		raw, ok := answer(args)
		if !ok {
			return
		}
		s.mu.Lock()
		s.conns[conn] = s.conns[conn] || args[0] == "SUBSCRIBE"
		s.mu.Unlock()
		if _, err := io.WriteString(conn, raw); err != nil {
			return
		}
	}
}

// publish sends an event to all subscribers and returns how many there are.
func (s *stub) publish(channel, text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for conn, subscribed := range s.conns {
		if subscribed {
			fmt.Fprintf(conn, "*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(text), text)
			n++
		}
	}
	return n
}

func readCommand(r *bufio.Reader) ([]string, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(head[1:]))
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		k, err := strconv.Atoi(strings.TrimSpace(size[1:]))
		if err != nil {
			return nil, err
		}
		data := make([]byte, k+2)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, err
		}
		args[i] = string(data[:k])
	}
	return args, nil
}

// watcher is a stub that says where the master is and can say that it moved.
type watcher struct {
	*stub
	mu   sync.Mutex
	at   string
	asks int
}

func newWatcher(t *testing.T, at string) *watcher {
	w := &watcher{at: at}
	w.stub = newStub(t, func(args []string) (string, bool) {
		if args[0] == "SUBSCRIBE" {
			return "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n", true
		}
		if len(args) != 3 || args[1] != "get-master-addr-by-name" || args[2] != "orders" {
			return "*-1\r\n", true
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asks++
		host, port, _ := net.SplitHostPort(w.at)
		return fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(host), host, len(port), port), true
	})
	return w
}

func (w *watcher) set(at string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = at
}

func (w *watcher) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asks
}
