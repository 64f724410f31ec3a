package writer

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// The kinds of errors beside the codes of error replies.
const (
	KindRefused     = "refused"     // nobody listens
	KindTimeout     = "time-out"    // on dial, read or write
	KindClosed      = "closed"      // the server ended the connection
	KindUnreachable = "unreachable" // no route to the host or network
	KindNoPort      = "no-port"     // this machine has no local port left: the load is too high
	KindMoved       = "moved"       // given up because the master moved
	KindNoAddress   = "no-address"  // the resolver could not say where the master is
	KindMaxClients  = "max-clients" // the server has too many connections
	KindProtocol    = "protocol"    // the reply is not RESP, or not one that was asked for
	KindOther       = "other"
)

// kindOf says under which name an error is counted.
func kindOf(err error) string {
	var reply wire.ReplyError
	var timeout net.Error
	var unknown noAddress
	switch {
	case errors.As(err, &unknown):
		return KindNoAddress
	case errors.As(err, &reply):
		if strings.Contains(string(reply), "max number of clients") {
			return KindMaxClients
		}
		return reply.Code()
	case errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed):
		return KindMoved
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.As(err, &timeout) && timeout.Timeout():
		return KindTimeout
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return KindClosed
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return KindUnreachable
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return KindNoPort
	case errors.Is(err, wire.ErrProtocol):
		return KindProtocol
	default:
		return KindOther
	}
}
