package redisproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/triwatch/triwatch/test/proc"
)

const (
	startTimeout = 10 * time.Second
	stopGrace    = 3 * time.Second
	portTries    = 20
)

var errLoading = errors.New("it is still loading")

var errPortTaken = errors.New("the port is taken by another process")

// Server is one redis-server or redis-sentinel. Its methods may be called from several goroutines.
type Server struct {
	opts    Options
	binary  string
	first   []string
	dir     string
	tempDir bool
	port    int

	wroteConf bool // this Server has written its sentinel.conf; from then on the file is the Sentinel's

	mu   sync.Mutex // held for every change of life: start, kill, restart, stop
	proc *proc.Process
}

// Start starts a server and waits until it answers. ctx bounds the start only. The error of a failed start holds the end of the log.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	binary, first, err := o.command()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, binary: binary, first: first, dir: o.Dir}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "triwatch-redis-"); err != nil {
			return nil, fmt.Errorf("make directory for redis: %w", err)
		}
		s.tempDir = true
	}
	for try := 1; ; try++ {
		if s.port = o.Port; o.Port == 0 {
			if s.port, err = freePort(); err != nil {
				break
			}
		}
		s.wroteConf = false
		// Between finding a free port and Redis listening on it, somebody else may have taken it.
		if err = s.launch(ctx); err == nil {
			return s, nil
		}
		if o.Port != 0 || try == portTries || !errors.Is(err, errPortTaken) {
			break
		}
	}
	s.Stop()
	return nil, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// launch starts one life of the server on s.port and waits for its first answer.
func (s *Server) launch(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	timeout := s.opts.StartTimeout
	if timeout <= 0 {
		timeout = startTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	args, err := s.arguments()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of redis: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	from, err := log.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("open log of redis: %w", err)
	}
	cmd := exec.Command(s.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if s.proc, err = proc.Spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	if err := s.waitReady(ctx); err != nil {
		s.proc.Kill()
		if s.logSince(from, "Address already in use") {
			err = errPortTaken
		}
		return fmt.Errorf("start %s on port %d: %w; last lines of its log:\n%s", filepath.Base(s.binary), s.port, err, s.Tail(15))
	}
	return nil
}

func (s *Server) arguments() ([]string, error) {
	if s.opts.SentinelConf == "" {
		return append(s.first[:len(s.first):len(s.first)], s.opts.serverArgs(s.dir, s.port)...), nil
	}
	path := s.ConfigFile()
	// A restart finds what the Sentinel itself has written into its file.
	if !s.wroteConf {
		text := s.opts.SentinelConf
		if !hasPort(text) {
			text = fmt.Sprintf("port %d\nbind 127.0.0.1\n", s.port) + text
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write sentinel.conf: %w", err)
		}
		s.wroteConf = true
	}
	args := append([]string{path}, s.first...)
	return append(args, s.opts.Args...), nil
}

func hasPort(conf string) bool {
	for text := range strings.Lines(conf) {
		if f := strings.Fields(text); len(f) > 0 && strings.EqualFold(f[0], "port") {
			return true
		}
	}
	return false
}

// waitReady polls until this very process answers: on a port that another Redis holds, the answers are the other's.
func (s *Server) waitReady(ctx context.Context) error {
	var last error
	for {
		if how, ended := s.proc.Exited(); ended {
			return fmt.Errorf("the process ended (%s)", how)
		}
		info, err := s.Info(ctx, "server")
		switch {
		case err != nil:
			last = err
		case info["process_id"] != strconv.Itoa(s.proc.PID()):
			last = errPortTaken
		default:
			return s.waitLoaded(ctx)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("%w while waiting for its first answer (%w)", err, last)
		}
	}
}

func (s *Server) waitLoaded(ctx context.Context) error {
	for {
		reply, err := s.Do(ctx, "PING")
		if err == nil && !strings.HasPrefix(reply.Str, "LOADING") {
			return nil
		}
		if perr := pause(ctx, 2*time.Millisecond); perr != nil {
			return fmt.Errorf("%w while it loads its data (%v): %w", perr, reply.Str, cmp.Or(err, errLoading))
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Kill ends the process with SIGKILL and returns when it is gone. Killing a dead one does nothing.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc.Kill()
}

// Freeze stops the process with SIGSTOP and returns when it has stopped.
func (s *Server) Freeze() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.proc.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze redis on port %d: %w", s.port, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	for !s.proc.Stopped() {
		if err := pause(ctx, 100*time.Microsecond); err != nil {
			return fmt.Errorf("freeze redis on port %d: it goes on running: %w", s.port, err)
		}
	}
	return nil
}

// Thaw lets a frozen process go on.
func (s *Server) Thaw() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.proc.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw redis on port %d: %w", s.port, err)
	}
	return nil
}

// RestartOptions say what changes with a restart.
type RestartOptions struct {
	// Empty takes the data files away first.
	Empty bool
	// Graceful ends the running process with SIGTERM; otherwise it is killed.
	Graceful bool
}

// Restart ends the process, if it runs, and starts it again on the same port with the same options; it waits as Start does.
func (s *Server) Restart(ctx context.Context, o RestartOptions) error {
	s.mu.Lock()
	if o.Graceful {
		s.proc.Stop(stopGrace)
	} else {
		s.proc.Kill()
	}
	s.mu.Unlock()
	if o.Empty {
		if err := s.removeData(); err != nil {
			return fmt.Errorf("empty redis on port %d: %w", s.port, err)
		}
	}
	return s.launch(ctx)
}

func (s *Server) removeData() error {
	names, err := filepath.Glob(filepath.Join(s.dir, "*.rdb"))
	if err != nil {
		return err
	}
	for _, name := range append(names, filepath.Join(s.dir, "appendonlydir")) {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the process (SIGTERM, after 3 seconds SIGKILL), waits for it and takes a temporary directory away. It may be called twice.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.Stop(stopGrace)
	}
	if s.tempDir {
		os.RemoveAll(s.dir) //nolint:errcheck // what is left is in the system's temporary directory
	}
}
