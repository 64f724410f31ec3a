package writer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Mode is how one connection sends its writes.
type Mode int

// The modes. Unknown is the zero value and never valid.
const (
	Unknown   Mode = iota
	Single         // one SET, then its reply
	Pipelined      // a batch of SETs, then their replies
	Multi          // a batch of SETs in MULTI and EXEC
)

// String returns the name that ParseMode takes.
func (m Mode) String() string {
	switch m {
	case Single:
		return "single"
	case Pipelined:
		return "pipelined"
	case Multi:
		return "multi"
	case Unknown:
		return "unknown"
	default:
		return fmt.Sprintf("mode %d", int(m))
	}
}

// ParseMode is the inverse of String.
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Single, Pipelined, Multi} {
		if strings.EqualFold(s, m.String()) {
			return m, nil
		}
	}
	return Unknown, fmt.Errorf("parse mode %q: it must be single, pipelined or multi", s)
}

// Options say how to write. Only Resolver must be set.
type Options struct {
	Resolver Resolver
	// Conns is the number of connections; 0 is 8.
	Conns int
	// Modes are given to the connections in turn; empty is single, pipelined, multi.
	Modes []Mode
	// Batch is the number of writes in a pipeline or transaction; 0 is 16. A Rate makes it smaller.
	Batch int
	// Timeout bounds every dial, read and write; 0 is 200 ms.
	Timeout time.Duration
	// Pause is the wait after an error; 0 is 1 ms.
	Pause time.Duration
	// Rate caps the writes per second of all connections together; 0 is no cap. Time lost in an outage is not made up for.
	Rate int
	// Duration ends the run; 0 leaves that to the context.
	Duration time.Duration
	// User and Password are for the Redis instances.
	User, Password string
	// Prefix begins every key; empty is one of its own for every Writer, so that runs do not verify each other's keys.
	Prefix string
}

func (o Options) withDefaults() (Options, error) {
	if o.Resolver == nil {
		return o, errors.New("configure writer: a resolver is needed")
	}
	if o.Conns < 0 || o.Batch < 0 || o.Rate < 0 || o.Timeout < 0 || o.Pause < 0 || o.Duration < 0 {
		return o, errors.New("configure writer: numbers and times must not be negative")
	}
	if o.User != "" && o.Password == "" {
		return o, fmt.Errorf("configure writer: the user %q needs a password", o.User)
	}
	for _, m := range o.Modes {
		if _, err := ParseMode(m.String()); err != nil {
			return o, fmt.Errorf("configure writer: %w", err)
		}
	}
	o.Conns = or(o.Conns, 8)
	o.Batch = or(o.Batch, 16)
	o.Timeout = or(o.Timeout, 200*time.Millisecond)
	o.Pause = or(o.Pause, time.Millisecond)
	if len(o.Modes) == 0 {
		o.Modes = []Mode{Single, Pipelined, Multi}
	}
	if o.Prefix == "" {
		var id [4]byte
		rand.Read(id[:]) //nolint:errcheck // never fails, says its documentation
		o.Prefix = "w" + hex.EncodeToString(id[:])
	}
	return o, nil
}

func or[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// batch is how many writes one connection sends at once: one in single mode; with a Rate, no more than 10 ms of its share.
func (o Options) batch(m Mode) int {
	if m == Single {
		return 1
	}
	if o.Rate == 0 {
		return o.Batch
	}
	return max(1, min(o.Batch, o.Rate/o.Conns/100))
}
