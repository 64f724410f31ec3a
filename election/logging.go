package election

import (
	"fmt"
	"io"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// repeatPause is how long a warning of Raft's is kept at debug level after it
// was logged. Raft repeats "failed to heartbeat to" four times a second for as
// long as a peer is away.
const repeatPause = 10 * time.Second

// raftLogger gives Raft's log lines to zap. What Raft calls info is debug here:
// every election and pipeline is told once more by our own lines.
type raftLogger struct {
	zap     *zap.Logger
	name    string
	implied []any
	seen    *seenLines
}

type seenLines struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newRaftLogger(z *zap.Logger) hclog.Logger {
	return &raftLogger{zap: z.Named("raft"), name: "raft", seen: newSeenLines()}
}

// again is true if the line was let through less than repeatPause ago.
func (s *seenLines) again(line string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.last[line]; ok && now.Sub(t) < repeatPause {
		return true
	}
	if len(s.last) > 256 {
		clear(s.last)
	}
	s.last[line] = now
	return false
}

// Log implements hclog.Logger.
func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	lvl := zapcore.DebugLevel
	if level >= hclog.Warn {
		lvl = zapcore.WarnLevel
		if level >= hclog.Error {
			lvl = zapcore.ErrorLevel
		}
		line := msg
		for i := 0; i+1 < len(args); i += 2 {
			if args[i] == "peer" {
				line += fmt.Sprint(args[i+1])
			}
		}
		if l.seen.again(line, time.Now()) {
			lvl = zapcore.DebugLevel
		}
	}
	ce := l.zap.Check(lvl, msg)
	if ce == nil {
		return
	}
	ce.Write(append(fields(l.implied), fields(args)...)...)
}

func fields(args []any) []zap.Field {
	fs := make([]zap.Field, 0, (len(args)+1)/2)
	for i := 0; i < len(args); i += 2 {
		if i+1 == len(args) {
			fs = append(fs, zap.Any("extra", args[i]))
			break
		}
		value := args[i+1]
		if f, ok := value.(hclog.Format); ok && len(f) > 0 {
			value = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		fs = append(fs, zap.Any(fmt.Sprint(args[i]), value))
	}
	return fs
}

// The methods below implement hclog.Logger.

func (l *raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) IsTrace() bool { return l.IsDebug() }
func (l *raftLogger) IsDebug() bool { return l.zap.Core().Enabled(zapcore.DebugLevel) }
func (l *raftLogger) IsInfo() bool  { return l.IsDebug() }
func (l *raftLogger) IsWarn() bool  { return l.zap.Core().Enabled(zapcore.WarnLevel) }
func (l *raftLogger) IsError() bool { return l.zap.Core().Enabled(zapcore.ErrorLevel) }

func (l *raftLogger) ImpliedArgs() []any { return l.implied }

func (l *raftLogger) With(args ...any) hclog.Logger {
	c := *l
	c.implied = append(append([]any(nil), l.implied...), args...)
	return &c
}

func (l *raftLogger) Name() string { return l.name }

func (l *raftLogger) Named(name string) hclog.Logger { return l.ResetNamed(l.name + "." + name) }

func (l *raftLogger) ResetNamed(name string) hclog.Logger {
	c := *l
	c.name = name
	return &c
}

func (l *raftLogger) SetLevel(hclog.Level) {} // zap's core decides

func (l *raftLogger) GetLevel() hclog.Level { return hclog.Debug }

func (l *raftLogger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}

func (l *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return zapWriter{l.zap}
}

type zapWriter struct{ z *zap.Logger }

func (w zapWriter) Write(p []byte) (int, error) {
	w.z.Debug("raft standard log", zap.ByteString("line", p))
	return len(p), nil
}

func newSeenLines() *seenLines { return &seenLines{last: make(map[string]time.Time)} }
