package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
	"github.com/triwatch/triwatch/test/writer"
)

// Options say what to show.
type Options struct {
	// Binary is the triwatch program to start the watchers from.
	Binary string
	// Handover moves the master in order instead of killing it.
	Handover bool
	// Keep leaves everything running until ctx ends.
	Keep bool
	// DownAfter is the watchers' setting.
	DownAfter time.Duration
	// Out is where the story goes.
	Out io.Writer
}

// master is the name of the demo's master.
const master = "demo"

// The times of the demo. The bounds are generous: machines are busy.
const (
	syncTimeout   = 60 * time.Second
	loadBefore    = 2 * time.Second
	loadAfter     = 2 * time.Second
	returnTimeout = 30 * time.Second
)

// demo is one run.
type demo struct {
	Options
	dir     string
	servers []*redisproc.Server
	trio    *trio.Trio
	load    *writer.Writer
	story   *story
}

// ErrNotOK is returned when the demo ran but its promise was not kept.
var ErrNotOK = errors.New("the demo's promise was not kept")

// Run shows the demo. An error means that it could not be shown, or ErrNotOK.
func Run(ctx context.Context, opt Options) (err error) {
	dir, err := os.MkdirTemp("", "triwatch-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	d := &demo{Options: opt, dir: dir}
	defer func() {
		d.stop()
		if err != nil && !errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w (logs are kept in %s)", err, dir)
			return
		}
		os.RemoveAll(dir) //nolint:errcheck // what is left is in the system's temporary directory
	}()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.inSync(ctx); err != nil {
		return err
	}
	return d.show(ctx)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

// start brings up three redis-servers and three watchers.
func (d *demo) start(ctx context.Context) error {
	d.say("starting three redis-servers and three watchers on loopback")
	for i := range 3 {
		o := redisproc.Options{Dir: filepath.Join(d.dir, name(i))}
		if err := os.MkdirAll(o.Dir, 0o750); err != nil {
			return fmt.Errorf("prepare %s: %w", name(i), err)
		}
		if i > 0 {
			o.ReplicaOf = d.servers[0].Addr()
		}
		s, err := redisproc.Start(ctx, o)
		if err != nil {
			return fmt.Errorf("start %s: %w", name(i), err)
		}
		d.servers = append(d.servers, s)
	}
	var err error
	d.trio, err = trio.Start(trio.Options{Binary: d.Binary, Dir: d.dir, Conf: fmt.Sprintf(
		"sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s %d\nsentinel failover-timeout %s 60000",
		master, d.servers[0].Port(), master, d.DownAfter.Milliseconds(), master)})
	if err != nil {
		return err
	}
	for i, s := range d.servers {
		d.say("  %s  %s  pid %d", name(i), s.Addr(), s.PID())
	}
	for _, w := range d.trio.Watchers {
		d.say("  %s       sentinel %s  peers %s  http %s", w.Name, w.Addr(), w.PeerAddr(), w.HTTPAddr())
	}
	return nil
}

// inSync waits until the watchers agree and every replica is in sync.
func (d *demo) inSync(ctx context.Context) error {
	began := time.Now()
	if err := d.trio.WaitSteady(ctx, master, 2, syncTimeout); err != nil {
		return err
	}
	leader := d.trio.Leader(ctx)
	who := "nobody"
	if leader != nil {
		who = leader.Name
	}
	d.say("in sync after %s: master %s, 2 replicas, 3 watchers, leader %s", seconds(time.Since(began)), name(0), who)
	return nil
}

// show is the part that people come for.
func (d *demo) show(ctx context.Context) error {
	res, err := writer.NewSentinel(writer.SentinelOptions{Addrs: d.trio.Addrs(), Master: master})
	if err != nil {
		return err
	}
	defer res.Close()
	if d.load, err = writer.New(writer.Options{Resolver: res}); err != nil {
		return err
	}
	loadCtx, endLoad := context.WithCancel(ctx)
	defer endLoad()
	type outcome struct {
		writer.Result
		error
	}
	loaded := make(chan outcome, 1)
	go func() {
		r, err := d.load.Run(loadCtx)
		loaded <- outcome{r, err}
	}()
	if err := pause(ctx, loadBefore); err != nil {
		return err
	}
	d.say("8 writers: %d writes acknowledged so far", d.load.Snapshot().Acked)
	d.story = newStory(d)
	if err := d.story.listen(ctx); err != nil {
		return err
	}
	defer d.story.close()
	if err := d.strike(ctx); err != nil {
		return err
	}
	next, err := d.moved(ctx)
	if err != nil {
		return err
	}
	if err := d.bringBack(ctx, next); err != nil {
		return err
	}
	if err := pause(ctx, loadAfter); err != nil {
		return err
	}
	endLoad()
	out := <-loaded
	if out.error != nil {
		return out.error
	}
	d.story.close()
	if d.Keep {
		d.keep(ctx)
	}
	return d.judge(ctx, next, out.Result)
}

// strike kills the master, or asks for a handover.
func (d *demo) strike(ctx context.Context) error {
	d.say("")
	old := d.servers[0]
	if !d.Handover {
		d.story.begin()
		d.story.tell("kill -9 %s (the master, pid %d)", name(0), old.PID())
		old.Kill()
		return nil
	}
	c := d.trio.Watchers[0].Client()
	defer c.Close() //nolint:errcheck // the answer counts
	d.story.begin()
	d.story.tell("SENTINEL FAILOVER %s: the master lives, so this is a handover", master)
	if err := c.Failover(ctx, master).Err(); err != nil {
		return fmt.Errorf("ask for a handover: %w", err)
	}
	return nil
}

// moved waits until all watchers name another master and writes go on.
func (d *demo) moved(ctx context.Context) (*redisproc.Server, error) {
	old := d.servers[0].Addr()
	var next string
	err := trio.Wait(ctx, returnTimeout, func() error {
		for _, w := range d.trio.Watchers {
			a, err := w.MasterAddr(ctx, master)
			if err != nil {
				return err
			}
			if a == old || (next != "" && a != next) {
				return fmt.Errorf("%s still names %s", w.Name, a)
			}
			next = a
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for another master: %w", err)
	}
	for _, s := range d.servers {
		if s.Addr() == next {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the watchers name %s, which is none of ours", next)
}

// bringBack starts the old master again, empty, and waits until it follows.
func (d *demo) bringBack(ctx context.Context, next *redisproc.Server) error {
	old := d.servers[0]
	if !d.Handover {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		d.story.tell("%s is started again, empty", name(0))
		if err := old.Restart(ctx, redisproc.RestartOptions{Empty: true}); err != nil {
			return fmt.Errorf("start %s again: %w", name(0), err)
		}
	}
	err := trio.Wait(ctx, returnTimeout, func() error {
		info, err := old.Info(ctx, "replication")
		if err != nil {
			return err
		}
		if info["role"] != "slave" || info["master_port"] != fmt.Sprint(next.Port()) || info["master_link_status"] != "up" {
			return fmt.Errorf("%s is %s of port %s, link %s", name(0), info["role"], info["master_port"], info["master_link_status"])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s to follow: %w", name(0), err)
	}
	d.story.tell("%s is a replica of %s and in sync", name(0), d.name(next.Addr()))
	return nil
}

// keep leaves everything running until the person has had enough.
func (d *demo) keep(ctx context.Context) {
	w := d.trio.Watchers[0]
	d.say("")
	d.say("everything is left running; end it with Ctrl-C. Try:")
	d.say("  %s status %s --http-addr %s", d.Binary, master, w.HTTPAddr())
	d.say("  redis-cli -p %d SENTINEL get-master-addr-by-name %s", w.Port, master)
	d.say("  redis-cli -p %d INFO replication", d.servers[0].Port())
	<-ctx.Done()
}

// judge says what it came to.
func (d *demo) judge(ctx context.Context, next *redisproc.Server, r writer.Result) error {
	v, err := d.load.Verify(context.WithoutCancel(ctx), next.Addr())
	if err != nil {
		return err
	}
	epoch, err := d.trio.Watchers[0].Epoch(context.WithoutCancel(ctx), master)
	if err != nil {
		return err
	}
	d.say("")
	why := broken(r, v, d.Handover)
	if why == "" {
		d.say("  %d writes acknowledged, longest time without one %s; all %d looked up on %s, %d lost", r.Acked, millis(r.LongestGap), v.Checked, d.name(next.Addr()), v.Lost)
		d.say("demo: ok outage_ms=%.1f acked=%d lost=%d epoch=%s", float64(r.LongestGap.Microseconds())/1000, r.Acked, v.Lost, epoch)
		return nil
	}
	d.say("demo: failed outage_ms=%.1f acked=%d lost=%d epoch=%s", float64(r.LongestGap.Microseconds())/1000, r.Acked, v.Lost, epoch)
	return fmt.Errorf("%w: %s", ErrNotOK, why)
}

// broken says which promise was not kept, "" if all were.
func broken(r writer.Result, v writer.Verification, handover bool) string {
	switch {
	case r.Acked == 0 || v.Checked < r.Acked:
		return fmt.Sprintf("%d writes were acknowledged, %d looked up", r.Acked, v.Checked)
	case r.SinceAck > loadAfter/2:
		return fmt.Sprintf("the last write was acknowledged %s before the end", r.SinceAck)
	}
	if handover && v.Lost > 0 {
		return fmt.Sprintf("a handover lost %d acknowledged writes", v.Lost)
	}
	if why := notATail(v); why != "" {
		return why
	}
	return ""
}

// notATail checks that what is lost is what the replica had not received: the
// stream is in order, so of each connection only the last writes before the
// crash can be missing, without a hole.
func notATail(v writer.Verification) string {
	if v.Lost > int64(len(v.Missing)) {
		return fmt.Sprintf("%d acknowledged writes are gone, more than a stream's tail", v.Lost)
	}
	last := map[int]int64{}
	for _, k := range v.Missing {
		if seq, ok := last[k.Conn]; ok && k.Seq > seq+64 {
			return fmt.Sprintf("connection %d lost writes %d and %d, which are not next to each other", k.Conn, seq, k.Seq)
		}
		last[k.Conn] = k.Seq
	}
	return ""
}

func (d *demo) stop() {
	if d.trio != nil {
		d.trio.Stop()
	}
	for _, s := range d.servers {
		s.Stop()
	}
}

// name is what the demo calls a server.
func name(i int) string { return fmt.Sprintf("redis-%d", i) }

// name is what the demo calls the server at an address.
func (d *demo) name(addr string) string {
	for i, s := range d.servers {
		if s.Addr() == addr {
			return name(i)
		}
	}
	return addr
}

// named puts names in the place of addresses.
func (d *demo) named(text string) string {
	for i, s := range d.servers {
		text = strings.ReplaceAll(text, s.Addr(), name(i))
	}
	return text
}

func pause(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
