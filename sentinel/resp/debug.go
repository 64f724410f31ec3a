package resp

import (
	"strings"
	"sync"
	"time"
)

// debugParams are the time parameters of SENTINEL DEBUG. Those for new masters and
// for scripts are looked at, see DebugValue; the others are what Sentinel's clock
// runs on, kept and shown only.
type debugParams struct {
	mu     sync.Mutex
	names  []string
	values map[string]int64 // milliseconds
}

func newDebugParams() *debugParams {
	p := &debugParams{values: map[string]int64{}}
	for _, d := range []struct {
		name string
		ms   int64
	}{
		{"INFO-PERIOD", 10000}, {"PING-PERIOD", 1000}, {"ASK-PERIOD", 1000}, {"PUBLISH-PERIOD", 2000}, {DebugDownAfter, 30000},
		{DebugFailoverTimeout, 180000}, {"TILT-TRIGGER", 2000}, {"TILT-PERIOD", 30000}, {"SLAVE-RECONF-TIMEOUT", 10000},
		{"MIN-LINK-RECONNECT-PERIOD", 15000}, {"ELECTION-TIMEOUT", 10000}, {DebugScriptMaxRuntime, 60000}, {DebugScriptRetryDelay, 30000},
	} {
		p.names = append(p.names, d.name)
		p.values[d.name] = d.ms
	}
	return p
}

// The parameters that have an effect.
const (
	DebugDownAfter        = "DEFAULT-DOWN-AFTER"
	DebugFailoverTimeout  = "DEFAULT-FAILOVER-TIMEOUT"
	DebugScriptMaxRuntime = "SCRIPT-MAX-RUNTIME"
	DebugScriptRetryDelay = "SCRIPT-RETRY-DELAY"
)

// DebugValue returns a parameter of SENTINEL DEBUG, 0 for a name that there is not.
func (s *Server) DebugValue(name string) time.Duration {
	s.debug.mu.Lock()
	defer s.debug.mu.Unlock()
	return time.Duration(s.debug.values[name]) * time.Millisecond
}

// sentinelDebug shows all parameters or sets some, one after the other: what came
// before a wrong one stays set, as in Sentinel.
func (c *conn) sentinelDebug(args [][]byte) {
	p := c.srv.debug
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(args) == 2 {
		c.w.Map(len(p.names))
		for _, n := range p.names {
			c.w.Bulk(n)
			c.w.BulkInt(p.values[n])
		}
		return
	}
	for words := args[2:]; len(words) > 0; words = words[2:] {
		name := strings.ToUpper(string(words[0]))
		if _, ok := p.values[name]; !ok || len(words) < 2 {
			c.w.Error("ERR Unknown option or number of arguments for SENTINEL DEBUG '" + clip(words[0], 128) + "'")
			return
		}
		// A year in milliseconds: far below an overflow of time.Duration.
		ms, ok := parseInt(words[1])
		if !ok || ms <= 0 || ms > 366*24*3600*1000 {
			c.w.Error("ERR Invalid argument '" + clip(words[1], 128) + "' for SENTINEL DEBUG '" + clip(words[0], 128) + "'")
			return
		}
		p.values[name] = ms
	}
	c.w.Simple("OK")
}
