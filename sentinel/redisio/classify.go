package redisio

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/triwatch/triwatch/sentinel"
)

// errorReply returns the text of an error that Redis itself sent.
func errorReply(err error) (string, bool) {
	var re redis.Error
	if errors.As(err, &re) && !errors.Is(err, redis.Nil) {
		return re.Error(), true
	}
	return "", false
}

// classify says what a failed exchange means. w is the connection that it went
// over, nil if the dial failed.
func classify(err error, w *wire) sentinel.Reply {
	if text, ok := errorReply(err); ok {
		return sentinel.ClassifyError(text)
	}
	if w != nil && w.lost.Load() {
		if text := w.turnedAway(); text != "" {
			return sentinel.ClassifyError(text)
		}
		return sentinel.ReplyAccepted
	}
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &dns):
		return sentinel.ReplyUnresolved
	case errors.Is(err, syscall.ECONNREFUSED):
		return sentinel.ReplyRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ENETDOWN):
		return sentinel.ReplyUnreachable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return sentinel.ReplyTimeout
	case endedByPeer(err):
		return sentinel.ReplyAccepted
	}
	return sentinel.ReplyUnknown
}

// detail is the error in the words of whoever gave it.
func detail(err error, w *wire) string {
	if text, ok := errorReply(err); ok {
		return text
	}
	if w != nil && w.lost.Load() {
		if text := w.turnedAway(); text != "" {
			return text
		}
	}
	return err.Error()
}
