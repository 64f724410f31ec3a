package redisproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// askTimeout bounds one question: a frozen server must not hold a test.
const askTimeout = time.Second

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the TCP port; it stays the same over restarts.
func (s *Server) Port() int { return s.port }

// Dir is the directory of data, log and configuration.
func (s *Server) Dir() string { return s.dir }

// PID is the number of the process of the present, or last, life.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.PID()
}

// Running reports whether the process has not ended; a frozen one runs.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.proc.Exited()
	return !ended
}

// LogFile is where standard output and error of all lives go.
func (s *Server) LogFile() string { return filepath.Join(s.dir, fmt.Sprintf("redis-%d.log", s.port)) }

// ConfigFile is the sentinel.conf of a Sentinel, which the Sentinel itself rewrites.
func (s *Server) ConfigFile() string {
	return filepath.Join(s.dir, fmt.Sprintf("sentinel-%d.conf", s.port))
}

// Tail returns the last n lines of the log, for messages.
func (s *Server) Tail(n int) string {
	data, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// logSince reports whether the log holds text after the given offset.
func (s *Server) logSince(offset int64, text string) bool {
	f, err := os.Open(s.LogFile())
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<20))
	return err == nil && strings.Contains(string(data), text)
}

// Do sends one command on a connection of its own and returns the reply; an error reply is a Reply of kind Error, not an error. It takes at most a second.
// If the server closes the connection before it answers, as a master is made to that becomes a replica, it is asked once more: what is asked must not
// mind being done twice.
func (s *Server) Do(ctx context.Context, args ...string) (wire.Reply, error) {
	reply, err := s.ask(ctx, args)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return s.ask(ctx, args)
	}
	return reply, err
}

func (s *Server) ask(ctx context.Context, args []string) (wire.Reply, error) {
	o := wire.Options{User: s.opts.User, Password: s.opts.Password, Timeout: askTimeout}
	if s.opts.TLS != nil {
		o.TLS = s.opts.TLS.Client
	}
	c, err := wire.Dial(ctx, s.Addr(), o)
	if err != nil {
		return wire.Reply{}, fmt.Errorf("ask redis at %s: %w", s.Addr(), err)
	}
	defer c.Close()                                      //nolint:errcheck // one question, one connection
	stop := context.AfterFunc(ctx, func() { c.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	reply, err := c.Do(args...)
	if err != nil {
		return wire.Reply{}, fmt.Errorf("ask redis at %s: %s: %w", s.Addr(), args[0], err)
	}
	return reply, nil
}

// Info returns INFO's fields; sections are passed on. Error replies come back as errors.
func (s *Server) Info(ctx context.Context, sections ...string) (map[string]string, error) {
	reply, err := s.Do(ctx, append([]string{"INFO"}, sections...)...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for text := range strings.Lines(reply.Str) {
		if key, value, ok := strings.Cut(strings.TrimRight(text, "\r\n"), ":"); ok {
			fields[key] = value
		}
	}
	return fields, nil
}

// WaitInfo polls INFO until the field has the value, for example master_link_status and up. The error names the last value seen.
func (s *Server) WaitInfo(ctx context.Context, field, value string) error {
	var last string
	for {
		info, err := s.Info(ctx)
		switch {
		case err != nil:
			last = err.Error()
		case info[field] == value:
			return nil
		default:
			last = fmt.Sprintf("%q", info[field])
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %s %s at %s, last seen %s: %w", field, value, s.Addr(), last, err)
		}
	}
}
