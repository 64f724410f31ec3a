package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

// program is the triwatch binary of this run; TestMain sets it.
var program string

// given hands out ports; no two tests of a run get the same.
var given ports

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		fmt.Println("skipped:", err)
		return 0
	}
	dir, err := os.MkdirTemp("", "triwatch-process-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is in the system's temporary directory
	program = filepath.Join(dir, "triwatch")
	build := exec.Command("go", "build", "-o", program, "github.com/triwatch/triwatch/cmd/triwatch")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build triwatch: %v\n%s", err, out)
		return 1
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { idle.watch(dir, stop) })
	defer func() { close(stop); wg.Wait() }()
	return m.Run()
}

// ports keeps account of what was handed out. All lie below the ports that Linux
// gives to outgoing connections, so that whoever starts again finds its own free.
type ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// The ports for Redis: beside those of watchers, which trio.FreePort explains.
const (
	firstRedisPort = 23000
	redisPortCount = 7000
)

func (p *ports) take(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[port] {
		return false
	}
	if p.used == nil {
		p.used = map[int]bool{}
	}
	p.used[port] = true
	return true
}

func (p *ports) watcher(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port, err := trio.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if p.take(port) {
			return port
		}
	}
	t.Fatal("no free port for a watcher")
	return 0
}

func (p *ports) redis(t testing.TB) int {
	t.Helper()
	start := os.Getpid() * 37 // runs side by side begin at different places
	for i := range redisPortCount {
		port := firstRedisPort + (start+i)%redisPortCount
		// As in trio.FreePort: who listens to see whether it can be done gives the
		// listener to every child that is being forked just then.
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err == nil {
			c.Close() //nolint:errcheck // it was only asked whether it is there
		}
		if errors.Is(err, syscall.ECONNREFUSED) && p.take(port) {
			return port
		}
	}
	t.Fatal("no free port for a redis-server")
	return 0
}
