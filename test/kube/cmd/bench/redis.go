package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/writer/wire"
)

// keys is how many keys all copies have before a strike.
const keys = 1000

// words are a command for all of them.
func words(command string, value ...string) []string {
	all := []string{command}
	for i := range keys {
		all = append(append(all, fmt.Sprintf("kept-%d", i)), value...)
	}
	return all
}

// redis is one Redis, reached directly: a kubectl exec costs more processor time than is quiet.
type redis struct {
	addr, password string
}

func (r redis) dial(ctx context.Context) (*wire.Conn, error) {
	conn, err := wire.Dial(ctx, r.addr, wire.Options{Password: r.password, Timeout: 40 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("reach redis: %w", err)
	}
	return conn, nil
}

// do sends commands in one piece and returns the last reply.
func (r redis) do(ctx context.Context, commands ...[]string) (last wire.Reply, err error) {
	conn, err := r.dial(ctx)
	if err != nil {
		return last, err
	}
	defer conn.Close() //nolint:errcheck // only asked
	for _, c := range commands {
		conn.Append(c...)
	}
	if err := conn.Flush(); err != nil {
		return last, fmt.Errorf("ask redis %s: %w", r.addr, err)
	}
	for _, c := range commands {
		if last, err = conn.Receive(); err == nil {
			err = last.Err()
		}
		if err != nil {
			return last, fmt.Errorf("ask redis %s for %s: %w", r.addr, c[0], err)
		}
	}
	return last, nil
}

var errReplicas = errors.New("not every replica acknowledged the keys")

// fill takes away what earlier runs have written, so that every run copies the same little, and
// writes the keys that every copy has before the strike. It is one transaction: a
// master that looks empty for a moment is another scenario.
func (r redis) fill(ctx context.Context) error {
	reply, err := r.do(ctx, []string{"MULTI"}, []string{"FLUSHALL"}, words("MSET", "here"), []string{"EXEC"}, []string{"WAIT", "2", "30000"})
	if err != nil || reply.Str == "2" {
		return err
	}
	said, err := r.do(ctx, []string{"INFO", "replication"})
	return errors.Join(fmt.Errorf("%w: %s of 2; %s says: %s", errReplicas, reply.Str, r.addr, strings.Join(strings.Fields(said.Str), " ")), err)
}

// missing is how many of the keys are not there.
func (r redis) missing(ctx context.Context) (int, error) {
	reply, err := r.do(ctx, words("EXISTS"))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(reply.Str)
	return keys - n, err
}

// info is one value of INFO, "" if it is not there.
func (r redis) info(ctx context.Context, name string) (string, error) {
	reply, err := r.do(ctx, []string{"INFO"})
	return field(reply.Str, "\r\n", name, ":"), err
}

// field finds NAME, a separator and a value in a text of several.
func field(text, between, name, separator string) string {
	for part := range strings.SplitSeq(text, between) {
		if v, ok := strings.CutPrefix(part, name+separator); ok {
			return v
		}
	}
	return ""
}
