package resp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	wait  = 10 * time.Second // for what has to happen
	ourID = "0123456789abcdef0123456789abcdef01234567"
)

// fake is a backend that answers what the test has put in.
type fake struct {
	mu        sync.Mutex
	masters   []Master
	replicas  map[string][]Instance
	sentinels map[string][]Peer
	quorum    func(name string) (string, error)
	failover  func(ctx context.Context, name string) error
	failures  []string // what SimulateFailure was asked for last
	scripts   []Script
	infos     map[string][]CachedInfo
	globals   []Setting
	change    func(what, name string) error // asked before every change of the registry
	set       []Setting                     // what Set was asked for
	shut      int
	allowed   bool // scripts are
}

func (f *fake) MyID() string { return ourID }

func (f *fake) Masters() []Master {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Master(nil), f.masters...)
}

func (f *fake) Master(name string) (Master, bool) {
	for _, m := range f.Masters() {
		if m.Name == name {
			return m, true
		}
	}
	return Master{}, false
}

func (f *fake) MasterAddr(name string) (string, int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.masters {
		if f.masters[i].Name == name {
			return f.masters[i].Host, f.masters[i].Port, true
		}
	}
	return "", 0, false
}

func (f *fake) Replicas(name string) ([]Instance, bool) {
	_, ok := f.Master(name)
	return f.replicas[name], ok
}

func (f *fake) Sentinels(name string) ([]Peer, bool) {
	_, ok := f.Master(name)
	return f.sentinels[name], ok
}

func (f *fake) CheckQuorum(name string) (string, error) {
	if _, ok := f.Master(name); !ok {
		return "", fmt.Errorf("check quorum of %q: %w", name, ErrNoSuchMaster)
	}
	if f.quorum == nil {
		return QuorumText(3), nil
	}
	return f.quorum(name)
}

func (f *fake) Failover(ctx context.Context, name string) error {
	if _, ok := f.Master(name); !ok {
		return fmt.Errorf("fail over %q: %w", name, ErrNoSuchMaster)
	}
	if f.failover == nil {
		return nil
	}
	return f.failover(ctx, name)
}

func (f *fake) SimulateFailure(names []string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = nil
	for i, n := range names {
		if known := []string{CrashAfterElection, CrashAfterPromotion, "before-fence"}; !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, n) }) {
			return i
		}
		f.failures = append(f.failures, n)
	}
	return len(names)
}

// move changes the address of the first master.
func (f *fake) move(port int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.masters[0].Port = port
}

// oneMaster is a backend with the master "orders" at that port.
func oneMaster(port int) *fake {
	return &fake{masters: []Master{{
		Name:              "orders",
		Link:              Link{Host: "127.0.0.1", Port: port, RunID: strings.Repeat("a", 40), DownAfter: 5 * time.Second},
		NumReplicas:       2,
		NumOtherSentinels: 2,
		Quorum:            2,
		FailoverTimeout:   3 * time.Minute,
		ParallelSyncs:     1,
	}}}
}

// startServer serves backend on a free port until the test ends, and checks
// then that no goroutine is left.
func startServer(t testing.TB, backend Backend, opts Options) (*Server, string) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s, err := NewServer(backend, opts)
	noError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		noError(t, s.Stop(ctx))
		noError(t, <-served)
		equal(t, int64(0), s.in.used.Load(), "input budget not given back")
		equal(t, int64(0), s.out.used.Load(), "output budget not given back")
		goleak.VerifyNone(t, before)
	})
	return s, ln.Addr().String()
}

// client is a raw connection.
type client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	noError(t, err)
	noError(t, nc.SetDeadline(time.Now().Add(wait)))
	c := &client{t: t, nc: nc, r: bufio.NewReader(nc)}
	t.Cleanup(func() { _ = nc.Close() })
	return c
}

func (c *client) send(raw string) {
	c.t.Helper()
	_, err := c.nc.Write([]byte(raw))
	noError(c.t, err)
}

// next returns the next reply, or the error in its place.
func (c *client) next() string {
	v, err := readReply(c.r)
	if err != nil {
		return "closed"
	}
	return v.String()
}

// do sends one line and returns the reply.
func (c *client) do(line string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.next()
}

// closed waits until the server has closed the connection.
func (c *client) closed() {
	c.t.Helper()
	for {
		_, err := c.r.ReadByte()
		if err == nil {
			continue
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			c.t.Fatal("the server did not close the connection")
		}
		return
	}
}

// eventually waits for a condition; state is shown if it does not come.
func eventually(t testing.TB, what string, state func() any, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen; last state: %+v", what, state())
		}
		time.Sleep(time.Millisecond)
	}
}

// multibulk encodes a command as clients do.
func multibulk(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}
