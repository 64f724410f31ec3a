package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// instance is one redis-server and a connection to it that lasts as long as its process. One goroutine uses it.
type instance struct {
	*redisproc.Server
	conn *wire.Conn
}

// askTimeout bounds one question.
const askTimeout = 5 * time.Second

// ask sends one command, and connects first where there is no connection.
func (i *instance) ask(ctx context.Context, args ...string) (wire.Reply, error) {
	if i.conn == nil {
		c, err := wire.Dial(ctx, i.Addr(), wire.Options{Timeout: askTimeout})
		if err != nil {
			return wire.Reply{}, fmt.Errorf("ask %s: %w", i.Addr(), err)
		}
		i.conn = c
	}
	reply, err := i.conn.Do(args...)
	if err == nil {
		err = reply.Err()
	} else {
		i.hangUp()
	}
	if err != nil {
		return reply, fmt.Errorf("ask %s for %s: %w", i.Addr(), args[0], err)
	}
	return reply, nil
}

func (i *instance) hangUp() {
	if i.conn != nil {
		i.conn.Abort() //nolint:errcheck // nothing is under way
		i.conn = nil
	}
}

// told is what INFO says of one instance.
type told struct {
	role, runID, host, port, link string
	syncing, saving               bool
	offset                        int64
}

func (i *instance) info(ctx context.Context) (told, error) {
	reply, err := i.ask(ctx, "INFO")
	if err != nil {
		return told{}, err
	}
	f := map[string]string{}
	for line := range strings.Lines(reply.Str) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			f[key] = value
		}
	}
	t := told{role: f["role"], runID: f["run_id"], host: f["master_host"], port: f["master_port"], link: f["master_link_status"],
		syncing: f["master_sync_in_progress"] == "1", saving: f["rdb_bgsave_in_progress"] == "1"}
	if f["loading"] == "1" {
		return t, fmt.Errorf("%s is loading", i.Addr())
	}
	if t.offset, err = strconv.ParseInt(f["master_repl_offset"], 10, 64); err != nil {
		return t, fmt.Errorf("read the offset of %s: %w", i.Addr(), err)
	}
	return t, nil
}

// keyCount is how many keys every group has.
const keyCount = 1000

// value is what every key has after the writes before a strike.
func value(strike int) string { return "v" + strconv.Itoa(strike) }

// write gives all keys the strike's value.
func (i *instance) write(ctx context.Context, strike int) error {
	args := make([]string, 1, 1+2*keyCount)
	args[0] = "MSET"
	for k := range keyCount {
		args = append(args, "key:"+strconv.Itoa(k), value(strike))
	}
	_, err := i.ask(ctx, args...)
	return err
}

// kept counts the keys that have the strike's value.
func (i *instance) kept(ctx context.Context, strike int) (int, error) {
	args := make([]string, 1, 1+keyCount)
	args[0] = "MGET"
	for k := range keyCount {
		args = append(args, "key:"+strconv.Itoa(k))
	}
	reply, err := i.ask(ctx, args...)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, v := range reply.Strings() {
		if v == value(strike) {
			n++
		}
	}
	return n, nil
}
