package resp

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// section is a part of INFO.
type section struct {
	name  string
	write func(s *Server, b *strings.Builder)
}

// sections returns the parts that a Sentinel's INFO has, in its order.
func sections() []section {
	return []section{
		{"Server", (*Server).infoServer},
		{"Clients", (*Server).infoClients},
		{"Stats", (*Server).infoStats},
		{"CPU", (*Server).infoCPU},
		{"Sentinel", (*Server).infoSentinel},
	}
}

// info answers INFO [section ...]; unknown sections are left out without a word.
func (c *conn) info(args [][]byte) {
	wanted := args[1:]
	all := len(wanted) == 0 || slices.ContainsFunc(wanted, func(a []byte) bool {
		return is(a, "all") || is(a, "everything") || is(a, "default")
	})
	var b strings.Builder
	for _, s := range sections() {
		if !all && !slices.ContainsFunc(wanted, func(a []byte) bool { return is(a, s.name) }) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + s.name + "\r\n")
		s.write(c.srv, &b)
	}
	c.w.Bulk(b.String())
}

// field writes one line of INFO.
func field(b *strings.Builder, name string, value any) {
	fmt.Fprintf(b, "%s:%v\r\n", name, value)
}

func (s *Server) infoServer(b *strings.Builder) {
	up := int64(time.Since(s.started).Seconds())
	field(b, "redis_version", CompatVersion)
	field(b, "redis_mode", "sentinel")
	if s.opts.Version != "" {
		field(b, "triwatch_version", s.opts.Version)
	}
	field(b, "os", runtime.GOOS+" "+runtime.GOARCH)
	field(b, "arch_bits", 32<<(^uint(0)>>63))
	field(b, "process_id", os.Getpid())
	field(b, "run_id", s.backend.MyID())
	field(b, "tcp_port", s.port.Load())
	field(b, "server_time_usec", time.Now().UnixMicro())
	field(b, "uptime_in_seconds", up)
	field(b, "uptime_in_days", up/(24*60*60))
}

func (s *Server) infoClients(b *strings.Builder) {
	st := s.Stats()
	field(b, "connected_clients", st.Connected)
	field(b, "maxclients", s.opts.MaxClients)
	field(b, "blocked_clients", 0)
	field(b, "pubsub_clients", st.Subscribers)
}

func (s *Server) infoStats(b *strings.Builder) {
	st := s.Stats()
	field(b, "total_connections_received", st.Accepted)
	field(b, "total_commands_processed", st.Commands)
	field(b, "rejected_connections", st.Rejected)
	field(b, "pubsub_channels", st.Channels)
	field(b, "pubsub_patterns", st.Patterns)
	field(b, "client_output_buffer_limit_disconnections", st.SlowClosed)
}

func (s *Server) infoCPU(b *strings.Builder) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return // an unknown figure is better left out than shown as 0
	}
	seconds := func(t syscall.Timeval) string { return fmt.Sprintf("%.6f", time.Duration(t.Nano()).Seconds()) }
	field(b, "used_cpu_sys", seconds(u.Stime))
	field(b, "used_cpu_user", seconds(u.Utime))
}

// infoSentinel has the master lines that exporters read.
func (s *Server) infoSentinel(b *strings.Builder) {
	masters := s.backend.Masters()
	field(b, "sentinel_masters", len(masters))
	field(b, "sentinel_tilt", 0)
	field(b, "sentinel_tilt_since_seconds", -1)
	scripts, running := s.backend.PendingScripts(), 0
	for _, sc := range scripts {
		if sc.Running {
			running++
		}
	}
	field(b, "sentinel_running_scripts", running)
	field(b, "sentinel_scripts_queue_length", len(scripts))
	field(b, "sentinel_simulate_failure_flags", s.simulated.Load())
	for i, m := range masters {
		status := "ok"
		switch {
		case m.Flags&FlagODown != 0:
			status = "odown"
		case m.Flags&FlagSDown != 0:
			status = "sdown"
		}
		fmt.Fprintf(b, "master%d:name=%s,status=%s,address=%s:%d,slaves=%d,sentinels=%d\r\n",
			i, m.Name, status, m.Host, m.Port, m.NumReplicas, m.NumOtherSentinels+1)
	}
}

// role answers ROLE: the word "sentinel" and the names of the masters.
func (c *conn) role([][]byte) {
	masters := c.srv.backend.Masters()
	c.w.Array(2)
	c.w.Bulk("sentinel")
	c.w.Array(len(masters))
	for _, m := range masters {
		c.w.Bulk(m.Name)
	}
}
