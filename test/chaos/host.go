//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/triwatch/triwatch/test/faults"
	"github.com/triwatch/triwatch/test/proc"
)

// The ports; every member has an address of its own.
const (
	redisPort    = "6379"
	sentinelPort = "26379"
	peerPort     = "36379"
	httpPort     = "46379"
	masterName   = "orders"
	token        = "chaos"
	foreignKey   = "foreign:0"
)

// host is one member with the process that runs there. Its methods may be called from
// several goroutines; lives are changed by the engine only.
type host struct {
	Member
	w   *world
	dir string

	mu      sync.Mutex
	p       *proc.Process
	life    int
	frozen  bool
	foreign bool
	up      bool        // wanted up
	begun   []time.Time // of each life
}

func (h *host) addr() string {
	if h.isRedis() {
		return net.JoinHostPort(h.IP, redisPort)
	}
	return net.JoinHostPort(h.IP, sentinelPort)
}

func (h *host) isRedis() bool { return h.Name[0] == 'r' }

// spawn begins a new life.
func (h *host) spawn(foreign bool, args ...string) error {
	argv := h.w.lab.in(h.Name, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	out := h.w.timeline.from(h.Name)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second // a child that saves may hold the pipe
	p, err := proc.Spawn(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", h.Name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.p, h.frozen, h.foreign, h.up = p, false, foreign, true
	h.begun = append(h.begun, time.Now())
	h.life++
	return nil
}

// lifeAt is the number of the life at a time.
func (h *host) lifeAt(t time.Time) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, b := range h.begun {
		if b.Before(t) {
			n++
		}
	}
	return n
}

// status is the present life's number, and whether a stranger lives there.
func (h *host) status() (life int, foreign, up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life, h.foreign, h.up
}

func (h *host) process() *proc.Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.p
}

// end ends the present life.
func (h *host) end(inOrder bool) error {
	h.mu.Lock()
	if !h.up {
		h.mu.Unlock()
		return fmt.Errorf("%s does not run", h.Name)
	}
	h.up = false
	p := h.p
	h.mu.Unlock()
	if inOrder {
		p.Stop(5 * time.Second)
	} else {
		p.Kill()
	}
	return nil
}

func (h *host) freeze() (undo func() error, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up || h.frozen {
		return nil, fmt.Errorf("%s is frozen already or does not run", h.Name)
	}
	h.frozen = true
	life := h.life
	return func() error { return h.thaw(life) }, h.p.Signal(syscall.SIGSTOP)
}

func (h *host) thaw(life int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life != life || !h.up {
		return nil
	}
	h.frozen = false
	return h.p.Signal(syscall.SIGCONT)
}

// startRedis starts the member's own Redis, born a replica of nobody, as triwatch wants
// it, unless following says otherwise ("" for a master).
func (h *host) startRedis(following string) error {
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return err
	}
	args := []string{
		"redis-server", "--port", redisPort, "--bind", h.IP, "127.0.0.1", "--protected-mode", "no", "--dir", h.dir,
		"--logfile", "", "--daemonize", "no", "--repl-diskless-sync-delay", "0",
	}
	switch h.w.schedule.Persist {
	case faults.PersistRDB:
		args = append(args, "--save", "2 1", "--appendonly", "no")
	case faults.PersistAOF:
		args = append(args, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
	case faults.PersistNone:
		args = append(args, "--save", "", "--appendonly", "no")
	}
	if following != "" {
		args = append(args, append([]string{"--replicaof"}, strings.Fields(following)...)...)
	}
	return h.spawn(false, args...)
}

// born is what every Redis but the first ones is started as.
const born = "127.0.0.1 0"

// startForeign starts somebody else's Redis at the member's address: a master with data.
func (h *host) startForeign() error {
	return h.spawn(true, "redis-server", "--port", redisPort, "--bind", h.IP, "127.0.0.1", "--protected-mode", "no",
		"--dir", h.w.foreignDir(), "--logfile", "", "--daemonize", "no", "--save", "", "--repl-diskless-sync-delay", "0")
}

// startWatcher starts a watcher; shift moves its monotonic clock, which the kernel
// allows at the start only.
func (h *host) startWatcher(shift time.Duration) error {
	file := filepath.Join(h.dir, "sentinel.conf")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		text := fmt.Sprintf("port %s\nbind %s\ndir %s\nsentinel monitor %s %s %s 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 60000\n",
			sentinelPort, h.IP, h.dir, masterName, h.w.redis[0].IP, redisPort, masterName, masterName)
		if err := os.WriteFile(file, []byte(text+h.w.conf), 0o600); err != nil {
			return err
		}
	}
	var peers []string
	for _, w := range h.w.watchers {
		peers = append(peers, net.JoinHostPort(w.IP, peerPort))
	}
	var args []string
	if shift != 0 {
		n := fmt.Sprint(int64(shift / time.Second))
		args = []string{"unshare", "--time", "--monotonic", n, "--boottime", n}
	}
	args = append(args, filepath.Join(h.w.dir, program), "sentinel", file, "--peers", strings.Join(peers, ","),
		"--http-addr", net.JoinHostPort(h.IP, httpPort), "--token", token, "--log-level", "debug")
	return h.spawn(false, args...)
}

// start brings a member back as it was.
func (h *host) start() error {
	switch {
	case h.isRedis() && h.w.schedule.Masters:
		return h.startRedis("")
	case h.isRedis():
		return h.startRedis(born)
	default:
		return h.startWatcher(0)
	}
}

// wipe takes a member's files away; a watcher is somebody else afterwards. The
// directory stays: a small file system is mounted there.
func (h *host) wipe() error {
	files, err := os.ReadDir(h.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		err = errors.Join(err, os.RemoveAll(filepath.Join(h.dir, f.Name())))
	}
	return err
}
