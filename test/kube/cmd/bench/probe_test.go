package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// stub answers every connection as a Redis behind a Service does: says is "IP ROLE" and may change.
type stub struct {
	addr  string
	says  atomic.Value
	asked atomic.Int64
}

func newStub(t *testing.T, says string) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{addr: l.Addr().String()}
	s.says.Store(says)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait() // probes abort their connections
	})
	return s
}

func (s *stub) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		ip, role, _ := strings.Cut(s.says.Load().(string), " ")
		switch lines.Text() {
		case "INFO":
			info := "id=3 addr=10.0.0.9:55000 laddr=" + ip + ":6379 fd=8"
			fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(info), info)
		case "ROLE":
			s.asked.Add(1)
			fmt.Fprintf(conn, "*2\r\n$%d\r\n%s\r\n:0\r\n", len(role), role)
		}
	}
}

// more waits until the stub was asked some more times.
func (s *stub) more(t *testing.T) {
	t.Helper()
	from := s.asked.Load()
	for end := time.Now().Add(10 * time.Second); s.asked.Load() < from+5; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("asked %d times, %d before", s.asked.Load(), from)
		}
	}
}

func TestTheProbeWaitsForAnotherPodThatIsMaster(t *testing.T) {
	s := newStub(t, "10.0.0.1 master")
	p := startProbe(t.Context(), s.addr, "", "10.0.0.1", true)
	defer p.stop()
	s.more(t)
	s.says.Store("10.0.0.2 slave")
	s.more(t)
	before := time.Now()
	s.says.Store("10.0.0.2 master")
	a, err := p.wait()
	if err != nil || a.ip != "10.0.0.2" || a.at.Before(before) || !a.last.Before(before) {
		t.Errorf("got %+v, %v; the master was there from %v", a, err, before)
	}
}

func TestTheProbeTakesAnyOtherPodIfThatIsAskedFor(t *testing.T) {
	s := newStub(t, "10.0.0.1 slave")
	p := startProbe(t.Context(), s.addr, "", "10.0.0.1", false)
	defer p.stop()
	s.more(t)
	s.says.Store("10.0.0.2 slave")
	if a, err := p.wait(); err != nil || a.ip != "10.0.0.2" {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestAProbeThatIsStoppedHasNoAnswer(t *testing.T) {
	s := newStub(t, "10.0.0.1 master")
	p := startProbe(t.Context(), s.addr, "", "10.0.0.1", true)
	s.more(t)
	p.stop()
	if a, err := p.wait(); err != errNoAnswer {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestOnlyTheFlipToTheInstanceCounts(t *testing.T) {
	w := watch.NewFake()
	f := &flips{watch: w, done: make(chan struct{}), seen: make(chan accepted, 64)}
	go f.run()
	service := func(instance string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"triwatch.io/instance": instance}}}
	}
	w.Add(service("old"))
	w.Modify(service("old"))
	before := time.Now()
	w.Modify(service("new"))
	at, err := f.to(t.Context(), "new")
	after := time.Now()
	w.Modify(service("new")) // an annotation, perhaps: the flip was before
	f.stop()
	if err != nil || at.Before(before) || at.After(after) {
		t.Errorf("got %v, %v; it was between %v and %v", at, err, before, after)
	}
}

func TestAFieldIsFoundWhole(t *testing.T) {
	const info = "addr=10.0.0.9:1 laddr=10.0.0.1:6379"
	if got := field(info, " ", "laddr", "="); got != "10.0.0.1:6379" {
		t.Errorf("got %q", got)
	}
	if got := field(info, " ", "ddr", "="); got != "" {
		t.Errorf("got %q", got)
	}
}
