package trio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/certs"
	"github.com/triwatch/triwatch/test/proc"
)

// Options say what to start. Binary and Dir are required.
type Options struct {
	// Binary is the triwatch program.
	Binary string
	// Dir is where each watcher's folder goes.
	Dir string
	// Size is the number of watchers; 0 is 3.
	Size int
	// Conf is what every sentinel.conf says after port, bind and dir.
	Conf string
	// Args are further arguments of every watcher.
	Args []string
	// Ports are the watchers' Sentinel ports; empty is any free ones.
	Ports []int
	// TLS makes them, and all connections, ports under TLS; nil does not.
	TLS *certs.Files
}

// Trio is a set of watchers that were started together.
type Trio struct {
	opt      Options
	Watchers []*Watcher
}

// Watcher is one triwatch process and what belongs to it.
type Watcher struct {
	Name string
	Port int // Sentinel protocol
	Dir  string
	// Binary and Args of the next Start, where they are others than the Trio's; Args come last.
	Binary string
	Args   []string
	peers  string
	trio   *Trio
	proc   *proc.Process
}

// The ports of a watcher lie this far from its Sentinel port.
const (
	peerOffset = 10000
	httpOffset = 20000
)

// stopGrace is how long a watcher may take to end.
const stopGrace = 5 * time.Second

// Start writes the files and starts all watchers; it does not wait for them.
func Start(opt Options) (*Trio, error) {
	if opt.Size == 0 {
		opt.Size = 3
	}
	t := &Trio{opt: opt}
	var peers []string
	for i := range opt.Size {
		port, err := opt.port(i)
		if err != nil {
			return nil, err
		}
		w := &Watcher{Name: "w" + strconv.Itoa(i+1), Port: port, Dir: filepath.Join(opt.Dir, "w"+strconv.Itoa(i+1)), trio: t}
		t.Watchers = append(t.Watchers, w)
		peers = append(peers, w.PeerAddr())
	}
	for _, w := range t.Watchers {
		w.peers = strings.Join(peers, ",")
		if err := w.write(); err != nil {
			return nil, err
		}
		if err := w.Start(); err != nil {
			t.Stop()
			return nil, err
		}
	}
	return t, nil
}

func (o Options) port(i int) (int, error) {
	if i < len(o.Ports) {
		return o.Ports[i], nil
	}
	return FreePort()
}

// The Sentinel ports that FreePort hands out. With their neighbours they lie below
// the ports that Linux gives to outgoing connections (32768 and up): one of those
// would keep a watcher that is started again from its port.
const (
	firstPort = 10000
	portCount = 2760
)

// FreePort finds a port whose neighbours for peers and HTTP are free as well. They
// are not held: a caller that starts many watchers at once keeps account itself.
func FreePort() (int, error) {
	start := rand.IntN(portCount)
	for i := range portCount {
		port := firstPort + (start+i)%portCount
		if free(port) && free(port+peerOffset) && free(port+httpOffset) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: none from %d to %d whose neighbours are free", firstPort, firstPort+portCount-1)
}

// free reports whether nobody listens. It dials: a listener of our own, opened to
// see whether it can be, would live on for a moment in every child that is being
// forked just then.
func free(port int) bool {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
	if err == nil {
		c.Close() //nolint:errcheck // it was only asked whether it is there
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// Addr is where the watcher serves the Sentinel protocol.
func (w *Watcher) Addr() string { return "127.0.0.1:" + strconv.Itoa(w.Port) }

// PeerAddr is where the other watchers reach it.
func (w *Watcher) PeerAddr() string { return "127.0.0.1:" + strconv.Itoa(w.Port+peerOffset) }

// HTTP is the base of its HTTP endpoints.
func (w *Watcher) HTTP() string { return "http://" + w.HTTPAddr() }

// HTTPAddr is its HTTP address.
func (w *Watcher) HTTPAddr() string { return "127.0.0.1:" + strconv.Itoa(w.Port+httpOffset) }

// Conf is its sentinel.conf.
func (w *Watcher) Conf() string { return filepath.Join(w.Dir, "sentinel.conf") }

// Log is where its log goes.
func (w *Watcher) Log() string { return filepath.Join(w.Dir, "log") }

// DataDir is where its Raft store is.
func (w *Watcher) DataDir() string { return filepath.Join(w.Dir, "triwatch-"+strconv.Itoa(w.Port)) }

func (w *Watcher) write() error {
	if err := os.MkdirAll(w.Dir, 0o750); err != nil {
		return fmt.Errorf("prepare watcher %s: %w", w.Name, err)
	}
	ports := fmt.Sprintf("port %d\n", w.Port)
	if c := w.trio.opt.TLS; c != nil {
		ports = fmt.Sprintf("port 0\ntls-port %d\n", w.Port)
		for _, l := range c.Lines() {
			ports += l[0] + " " + l[1] + "\n"
		}
	}
	text := fmt.Sprintf("%sbind 127.0.0.1\ndir %s\n%s\n", ports, w.Dir, w.trio.opt.Conf)
	if err := os.WriteFile(w.Conf(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("prepare watcher %s: %w", w.Name, err)
	}
	return nil
}

// Start starts the process; it must not run.
func (w *Watcher) Start() error {
	out, err := os.OpenFile(w.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start watcher %s: %w", w.Name, err)
	}
	defer out.Close() //nolint:errcheck // the child has its own copy
	args := slices.Concat([]string{"sentinel", w.Conf(), "--peers", w.peers}, w.trio.opt.Args, w.Args)
	cmd := exec.Command(cmp.Or(w.Binary, w.trio.opt.Binary), args...)
	cmd.Stdout, cmd.Stderr = out, out
	if w.proc, err = proc.Spawn(cmd); err != nil {
		return fmt.Errorf("start watcher %s: %w", w.Name, err)
	}
	return nil
}

// Proc is the running process, or the last one.
func (w *Watcher) Proc() *proc.Process { return w.proc }

// Kill ends the process at once.
func (w *Watcher) Kill() { w.proc.Kill() }

// End ends the process in order.
func (w *Watcher) End() { w.proc.Stop(stopGrace) }

// LoseStore takes the Raft store away; the process must not run.
func (w *Watcher) LoseStore() error { return os.RemoveAll(w.DataDir()) }

// Tail returns the last lines of the log.
func (w *Watcher) Tail(lines int) string {
	b, err := os.ReadFile(w.Log())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Client returns a client for the watcher's Sentinel protocol that never retries.
func (w *Watcher) Client() *redis.SentinelClient {
	o := &redis.Options{Addr: w.Addr(), MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: 2 * time.Second, Protocol: 2, DisableIdentity: true}
	if c := w.trio.opt.TLS; c != nil {
		o.TLSConfig = c.Client
	}
	return redis.NewSentinelClient(o)
}

// MasterAddr asks the watcher for the master's address.
func (w *Watcher) MasterAddr(ctx context.Context, name string) (string, error) {
	c := w.Client()
	defer c.Close() //nolint:errcheck // only read from
	a, err := c.GetMasterAddrByName(ctx, name).Result()
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(a[0], a[1]), nil
}

// Addrs are the Sentinel addresses of all watchers.
func (t *Trio) Addrs() []string {
	var out []string
	for _, w := range t.Watchers {
		out = append(out, w.Addr())
	}
	return out
}

// Leader returns the watcher that leads and runs, nil if none says so.
func (t *Trio) Leader(ctx context.Context) *Watcher {
	for _, w := range t.Watchers {
		if _, ended := w.proc.Exited(); ended {
			continue
		}
		p, err := w.Peers(ctx)
		if err != nil {
			continue
		}
		for _, peer := range p.Peers {
			if peer.Self && peer.Leader {
				return w
			}
		}
	}
	return nil
}

// Stop ends all watchers, side by side.
func (t *Trio) Stop() {
	done := make(chan struct{})
	n := 0
	for _, w := range t.Watchers {
		if w.proc != nil {
			n++
			go func() { w.End(); done <- struct{}{} }()
		}
	}
	for range n {
		<-done
	}
}
