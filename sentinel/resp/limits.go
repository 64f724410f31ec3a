package resp

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
)

// Limits bounds what one client may send. All fields must be positive.
type Limits struct {
	MaxArgs    int // arguments of one command, its name included
	MaxBulk    int // bytes of one argument
	MaxInline  int // bytes of a command sent as a line
	MaxCommand int // bytes of a whole command, headers included

	// PreAuth words the errors as Redis does for unauthenticated clients.
	PreAuth bool
}

// DefaultLimits returns the limits of an authenticated client: far above what
// the Sentinel protocol needs, far below what would hurt.
func DefaultLimits() Limits {
	return Limits{MaxArgs: 2048, MaxBulk: 512 << 10, MaxInline: 64 << 10, MaxCommand: 1 << 20}
}

// DefaultPreAuthLimits returns the limits before AUTH. The first two are those
// of Redis: enough for HELLO 3 AUTH user password SETNAME name.
func DefaultPreAuthLimits() Limits {
	return Limits{MaxArgs: 10, MaxBulk: 16 << 10, MaxInline: 16 << 10, MaxCommand: 40 << 10, PreAuth: true}
}

func (l Limits) validate() error {
	for _, n := range []struct {
		name string
		v    int
	}{
		{"MaxArgs", l.MaxArgs}, {"MaxBulk", l.MaxBulk}, {"MaxInline", l.MaxInline}, {"MaxCommand", l.MaxCommand},
	} {
		if n.v <= 0 || n.v > math.MaxInt32 {
			return fmt.Errorf("%s is %d, it must be between 1 and %d", n.name, n.v, math.MaxInt32)
		}
	}
	if l.MaxBulk > l.MaxCommand || l.MaxInline > l.MaxCommand {
		return errors.New("MaxBulk and MaxInline must not be larger than MaxCommand")
	}
	return nil
}

// ErrBudget is returned by a Reader that would need more memory than all
// connections together may have.
var ErrBudget = errors.New("the memory for the input of all clients is used up")

// ProtocolError is what a client did wrong, in Redis' words. The server sends it
// as "-ERR Protocol error: <text>" and closes the connection.
type ProtocolError string

// Error returns the text with Redis' prefix.
func (e ProtocolError) Error() string { return "Protocol error: " + string(e) }

// budget is a number of bytes shared by all connections.
type budget struct {
	max  int64
	used atomic.Int64
}

func newBudget(limit int) *budget { return &budget{max: int64(limit)} }

// reserve takes n bytes, or none and returns false if they are not left. A nil
// budget has no limit.
func (b *budget) reserve(n int) bool {
	if b == nil || n == 0 {
		return true
	}
	if b.used.Add(int64(n)) > b.max {
		b.used.Add(int64(-n))
		return false
	}
	return true
}

// release gives n reserved bytes back.
func (b *budget) release(n int) {
	if b != nil && n != 0 {
		b.used.Add(int64(-n))
	}
}
