package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
	"github.com/triwatch/triwatch/test/writer/wire"
)

// rate is the load of most tests, in writes per second: enough that every moment
// has some, little enough to run several tests side by side.
const rate = 1500

// load is a writer at work.
type load struct {
	*writer.Writer
	r      *rig
	cancel context.CancelFunc
	done   chan struct{}
	result writer.Result
	err    error
}

// load starts writing to whatever the watchers call master.
func (r *rig) load(o writer.Options) *load {
	r.t.Helper()
	res, err := writer.NewSentinel(writer.SentinelOptions{Addrs: r.trio.Addrs(), Master: name})
	if err != nil {
		r.t.Fatal(err)
	}
	o.Resolver, o.Conns = res, 4
	if o.Rate == 0 {
		o.Rate = rate
	}
	w, err := writer.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{Writer: w, r: r, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.result, l.err = w.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-l.done })
	l.more(100)
	return l
}

// more waits for further acknowledged writes.
func (l *load) more(n int64) {
	l.r.t.Helper()
	from := l.Snapshot().Acked
	l.r.wait(fmt.Sprintf("%d more writes", n), func() error {
		if s := l.Snapshot(); s.Acked < from+n {
			return fmt.Errorf("%d more acknowledged, none for %s, errors %v", s.Acked-from, s.SinceAck, s.Errors)
		}
		return nil
	})
}

// stop ends the load.
func (l *load) stop() writer.Result {
	l.r.t.Helper()
	l.cancel()
	<-l.done
	if l.err != nil {
		l.r.t.Fatal(l.err)
	}
	return l.result
}

// verify ends the load and looks for every acknowledged write on a server.
func (l *load) verify(s *redisproc.Server) writer.Verification {
	l.r.t.Helper()
	res := l.stop()
	v, err := l.Verify(context.WithoutCancel(l.r.t.Context()), s.Addr())
	if err != nil {
		l.r.t.Fatal(err)
	}
	if v.Checked != res.Acked || v.Checked == 0 {
		l.r.t.Fatalf("%d writes acknowledged, %d looked up", res.Acked, v.Checked)
	}
	l.r.t.Logf("%d writes acknowledged, longest time without one %s, %d lost, errors %v", res.Acked, res.LongestGap, v.Lost, res.Errors)
	return v
}

// keptAll fails if one acknowledged write is missing.
func (l *load) keptAll(s *redisproc.Server) {
	l.r.t.Helper()
	if v := l.verify(s); v.Lost != 0 {
		l.r.t.Fatalf("%d of %d acknowledged writes are gone: %v", v.Lost, v.Checked, v.Missing)
	}
}

// keptReplicated fails if more is missing than the last moment before the master was
// lost. A replica has its master's stream without holes, so what it did not receive is
// of each connection one run of writes, and here one shorter than a second's.
func (l *load) keptReplicated(s *redisproc.Server) {
	l.r.t.Helper()
	v := l.verify(s)
	last := map[int]int64{}
	for _, k := range v.Missing {
		if seq, ok := last[k.Conn]; ok && k.Seq != seq+1 {
			l.r.t.Fatalf("connection %d lost writes %d and %d, and not what lies between", k.Conn, seq, k.Seq)
		}
		last[k.Conn] = k.Seq
	}
	if v.Lost > rate {
		l.r.t.Fatalf("%d of %d acknowledged writes are gone, more than the end of a stream", v.Lost, v.Checked)
	}
}

// session is a connection of a person to a server, which stays open.
func (r *rig) session(s *redisproc.Server, timeout time.Duration) *wire.Conn {
	r.t.Helper()
	c, err := wire.Dial(r.t.Context(), s.Addr(), wire.Options{User: r.access.User, Password: r.access.Password, Timeout: timeout})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing is pending
	return c
}

// ask sends one command over a session and fails on an error reply.
func (r *rig) ask(c *wire.Conn, args ...string) wire.Reply {
	r.t.Helper()
	reply, err := c.Do(args...)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		r.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return reply
}

// fill writes keys and waits until all replicas have them.
func (r *rig) fill(master *redisproc.Server, keys int) {
	r.t.Helper()
	c := r.session(master, 5*time.Second) // WAIT is about the connection's own writes
	r.ask(c, "EVAL", "for i=1,tonumber(ARGV[1]) do redis.call('SET','fixed:'..i,i) end", "0", strconv.Itoa(keys))
	replicas := strconv.Itoa(len(r.redis) - 1)
	if got := r.ask(c, "WAIT", replicas, "4000").Str; got != replicas {
		r.t.Fatalf("%s of %s replicas have the keys", got, replicas)
	}
}

// filled checks that the keys of fill are there.
func (r *rig) filled(s *redisproc.Server, keys int) {
	r.t.Helper()
	got := r.do(s, "EVAL", "local n=0 for i=1,tonumber(ARGV[1]) do n=n+redis.call('EXISTS','fixed:'..i) end return n", "0", strconv.Itoa(keys))
	if got != strconv.Itoa(keys) {
		r.t.Fatalf("%s has %s of the %d keys", s.Addr(), got, keys)
	}
}

// heard collects what watchers publish.
type heard struct {
	mu  sync.Mutex
	all map[string][]string // watcher -> "channel payload"
}

// listen subscribes to everything on all running watchers.
func (r *rig) listen() *heard {
	r.t.Helper()
	h := &heard{all: map[string][]string{}}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(func() { cancel(); wg.Wait() })
	for _, w := range r.running() {
		c := w.Client()
		sub := c.PSubscribe(ctx, "*")
		if _, err := sub.Receive(r.t.Context()); err != nil {
			r.t.Fatalf("subscribe at %s: %v", w.Name, err)
		}
		context.AfterFunc(ctx, func() { c.Close(); sub.Close() }) //nolint:errcheck // only read from
		wg.Go(func() { h.collect(ctx, w.Name, sub) })
	}
	return h
}

func (h *heard) collect(ctx context.Context, watcher string, sub *redis.PubSub) {
	for ctx.Err() == nil {
		msg, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return // it is tested that the message came; a lost subscription shows as a missing one
		}
		h.mu.Lock()
		h.all[watcher] = append(h.all[watcher], msg.Channel+" "+msg.Payload)
		h.mu.Unlock()
	}
}

// of are the messages of one watcher on one channel.
func (h *heard) of(watcher, channel string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, m := range h.all[watcher] {
		if payload, ok := strings.CutPrefix(m, channel+" "); ok {
			out = append(out, payload)
		}
	}
	return out
}

// switched waits until every listed watcher has told its clients of exactly one move.
func (r *rig) switched(h *heard, watchers []*trio.Watcher, from, to *redisproc.Server) {
	r.t.Helper()
	want := []string{fmt.Sprintf("%s 127.0.0.1 %d 127.0.0.1 %d", name, from.Port(), to.Port())}
	r.wait("+switch-master", func() error {
		for _, w := range watchers {
			if got := h.of(w.Name, "+switch-master"); !slices.Equal(got, want) {
				return fmt.Errorf("%s told %q, want %q", w.Name, got, want)
			}
		}
		return nil
	})
}

// output is what a command came to.
type output struct {
	code     int
	out, err string
}

// cli runs triwatch against a watcher.
func (r *rig) cli(w *trio.Watcher, args ...string) output {
	r.t.Helper()
	got, err := command(r.t.Context(), program, append(args, "--http-addr", w.HTTPAddr())...)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// cliOK runs triwatch, wants exit status 0, and returns its output.
func (r *rig) cliOK(w *trio.Watcher, args ...string) string {
	r.t.Helper()
	got := r.cli(w, args...)
	if got.code != 0 || got.err != "" {
		r.t.Fatalf("triwatch %s: exit status %d\n%s%s", strings.Join(args, " "), got.code, got.out, got.err)
	}
	return got.out
}

// cliJSON runs triwatch -o json and reads what it prints, whatever the exit status.
func (r *rig) cliJSON(w *trio.Watcher, into any, args ...string) output {
	r.t.Helper()
	got := r.cli(w, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(got.out), into); err != nil {
		r.t.Fatalf("triwatch %s -o json: %v\n%s%s", strings.Join(args, " "), err, got.out, got.err)
	}
	return got
}

// command runs a program to its end; a status other than 0 is no error.
func command(ctx context.Context, path string, args ...string) (output, error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return output{}, fmt.Errorf("run %s %s: %w\n%s%s", path, strings.Join(args, " "), ctx.Err(), &out, &errs)
	case err != nil && !errors.As(err, &ended):
		return output{}, fmt.Errorf("run %s: %w", path, err)
	}
	return output{cmd.ProcessState.ExitCode(), out.String(), errs.String()}, nil
}

// redisCLI asks a watcher as people do.
func (r *rig) redisCLI(w *trio.Watcher, args ...string) string {
	r.t.Helper()
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		r.t.Skip("redis-cli is not installed (Debian: redis-tools)")
	}
	got, err := command(r.t.Context(), path, append([]string{"-p", strconv.Itoa(w.Port)}, args...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(got.out)
}

// handover asks a watcher for one as people do, until it is granted: somebody has to
// lead, and as long as that one has an older INFO of the master it may not know yet who
// is attached.
func (r *rig) handover(w *trio.Watcher) {
	r.t.Helper()
	r.wait("SENTINEL FAILOVER is granted", func() error {
		got := r.redisCLI(w, "SENTINEL", "FAILOVER", name)
		if got != "OK" && !strings.HasPrefix(got, "NOGOODSLAVE") && !strings.Contains(got, "no leader") && !strings.Contains(got, "does not lead") {
			r.t.Fatalf("SENTINEL FAILOVER: %q", got)
		}
		if got != "OK" {
			return errors.New(got)
		}
		return nil
	})
}
