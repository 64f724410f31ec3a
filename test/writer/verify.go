package writer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// Verification is the answer to "is every acknowledged write still there".
type Verification struct {
	// Addr is the server that was asked.
	Addr string `json:"addr"`
	// Checked is the number of acknowledged writes that were looked for, Lost how many are not there or have another value.
	Checked int64 `json:"checked"`
	Lost    int64 `json:"lost"`
	// Missing are the first lost ones, at most 1000.
	Missing []Key `json:"missing,omitempty"`
}

const (
	keptMissing   = 1000
	verifyBatch   = 512
	verifyTimeout = 10 * time.Second // a server that has just loaded may be slow
)

// Verify looks for every acknowledged key, with its value, on the server at addr, which must be the final master. An error means that the check is incomplete; what was found until then is returned.
func (w *Writer) Verify(ctx context.Context, addr string) (Verification, error) {
	v := Verification{Addr: addr}
	conn, err := wire.Dial(ctx, addr, wire.Options{User: w.opts.User, Password: w.opts.Password, Timeout: verifyTimeout})
	if err != nil {
		return v, fmt.Errorf("verify writes at %s: %w", addr, err)
	}
	defer conn.Close()                                      //nolint:errcheck // only read from
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the read fails instead
	defer stop()
	for id, spans := range w.tracker.copySpans() {
		for _, s := range spans {
			for lo := s.lo; lo < s.hi; lo += verifyBatch {
				if err := w.check(conn, id, span{lo, min(lo+verifyBatch, s.hi)}, &v); err != nil {
					return v, fmt.Errorf("verify writes at %s after %d keys: %w", addr, v.Checked, errors.Join(err, ctx.Err()))
				}
			}
		}
	}
	return v, nil
}

func (w *Writer) check(conn *wire.Conn, id int, s span, v *Verification) error {
	args := make([]string, 1, 1+verifyBatch)
	args[0] = "MGET"
	for seq := s.lo; seq < s.hi; seq++ {
		args = append(args, Key{Conn: id, Seq: seq}.Name(w.opts.Prefix))
	}
	reply, err := conn.Do(args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return err
	}
	if int64(len(reply.Items)) != s.hi-s.lo {
		return wire.ErrProtocol
	}
	for i, item := range reply.Items {
		k := Key{Conn: id, Seq: s.lo + int64(i)}
		v.Checked++
		if item.Kind == wire.Bulk && item.Str == k.value() {
			continue
		}
		v.Lost++
		if len(v.Missing) < keptMissing {
			v.Missing = append(v.Missing, k)
		}
	}
	return nil
}
