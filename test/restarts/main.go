package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/triwatch/triwatch/test/redisproc"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := program(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

// options are the flags.
type options struct {
	triwatch string
	runs     int
	kinds    []Variant
	groups   int
	atOnce   int
	out      string
	from     string
	keep     bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("restarts", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.triwatch, "triwatch", "bin/triwatch", "the triwatch `program`")
	f.IntVar(&o.runs, "runs", 200, "restarts per variant and delay")
	names := f.String("variants", "all", "`names` of variants, or their beginnings: born/ip/none, master, born/name")
	f.IntVar(&o.groups, "groups", 1, "groups of three instances per variant, which share its restarts")
	f.IntVar(&o.atOnce, "at-once", 5, "restarts under way at the same time")
	f.StringVar(&o.out, "out", "", "append every restart to this `file`, one JSON object per line")
	f.StringVar(&o.from, "from", "", "make no restarts, print the table of these `files` of -out")
	f.BoolVar(&o.keep, "keep", false, "keep logs and data")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch o.kinds, err = parseVariants(*names); {
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: there are flags only", f.Arg(0))
	case o.runs < 1 || o.groups < 1 || o.atOnce < 1:
		return o, errors.New("-runs, -groups and -at-once must be at least 1")
	}
	return o, nil
}

// program is main without the process. Its result is the exit status: 1 if a born replica's group lost a key, or anything failed.
func program(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "restarts:", err)
		return 2
	}
	results, err := o.results(ctx, stderr)
	if perr := markdown(stdout, results); err == nil {
		err = perr
	}
	if err == nil {
		err = verdict(results)
	}
	if err != nil {
		fmt.Fprintln(stderr, "restarts:", err)
		return 1
	}
	return 0
}

// verdict is an error if anything happened that must not.
func verdict(results []Result) error {
	for _, r := range results {
		switch {
		case r.Failed != "":
			return fmt.Errorf("%s, %d ms: %s", r.Variant, r.DelayMS, r.Failed)
		case r.Variant.Born && r.Kept < keyCount:
			return fmt.Errorf("%s, %d ms: %d of %d keys are left (%s)", r.Variant, r.DelayMS, r.Kept, keyCount, r.Why)
		}
	}
	return nil
}

func (o options) results(ctx context.Context, stderr io.Writer) ([]Result, error) {
	if o.from != "" {
		return read(strings.Split(o.from, ","))
	}
	if _, err := redisproc.LookupBinary("redis-server"); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(o.triwatch); err != nil {
		return nil, fmt.Errorf("find triwatch: %w; build it with make build, or name it with -triwatch", err)
	}
	dir, err := os.MkdirTemp("", "triwatch-restarts-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the groups: %w", err)
	}
	results, err := o.run(ctx, dir, stderr)
	if o.keep || err != nil || verdict(results) != nil {
		fmt.Fprintln(stderr, "logs are in", dir)
		return results, err
	}
	return results, os.RemoveAll(dir)
}

// run makes the restarts. What was made until an error or the end of ctx is returned as well.
func (o options) run(ctx context.Context, dir string, stderr io.Writer) ([]Result, error) {
	b := &book{total: o.runs * len(o.kinds) * len(delays()), stderr: stderr}
	if o.out != "" {
		f, err := os.OpenFile(o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the file for results: %w", err)
		}
		defer f.Close() //nolint:errcheck // every line was written and checked on its own
		b.out = f
	}
	var kinds []Variant
	for range o.groups {
		kinds = append(kinds, o.kinds...)
	}
	l, err := newLab(ctx, dir, o.triwatch, kinds)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	slots := make(chan struct{}, o.atOnce)
	var all sync.WaitGroup
	for n, g := range l.groups {
		all.Go(func() { g.strikes(ctx, share(o.runs, o.groups, n/len(o.kinds)), slots, b) })
	}
	all.Wait()
	return b.all, errors.Join(b.err, ctx.Err())
}

// share is how many of all runs the n-th of several groups makes.
func share(runs, groups, n int) int { return runs*(n+1)/groups - runs*n/groups }

// strikes makes the group's restarts, the delays in turn, until one fails.
func (g *group) strikes(ctx context.Context, runs int, slots chan struct{}, b *book) {
	for range runs {
		for _, d := range delays() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			r := g.restart(ctx, d)
			<-slots
			if ctx.Err() != nil {
				return // it was interrupted, it did not fail
			}
			b.add(r)
			if r.Failed != "" {
				return
			}
		}
	}
}

// book takes the results. Its methods may be called from several goroutines.
type book struct {
	total  int
	stderr io.Writer
	out    io.Writer

	mu   sync.Mutex
	all  []Result
	lost int
	told time.Time
	err  error
}

// tellEvery is the pause between two words about how far it is.
const tellEvery = 30 * time.Second

func (b *book) add(r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, r)
	if r.Kept < keyCount {
		b.lost++
	}
	if r.Failed != "" {
		fmt.Fprintf(b.stderr, "%s, %d ms: FAILED: %s\n", r.Variant, r.DelayMS, r.Failed)
	} else if r.Kept < keyCount && r.Variant.Born {
		fmt.Fprintf(b.stderr, "%s, %d ms: LOST: %d keys left, %s: %s\n", r.Variant, r.DelayMS, r.Kept, r.How, r.Why)
	}
	if now := time.Now(); now.Sub(b.told) >= tellEvery {
		b.told = now
		fmt.Fprintf(b.stderr, "%d of %d restarts, %d of them lost keys\n", len(b.all), b.total, b.lost)
	}
	if b.out != nil && b.err == nil {
		b.err = json.NewEncoder(b.out).Encode(r)
	}
}

// read reads what -out has written.
func read(files []string) ([]Result, error) {
	var out []Result
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return out, fmt.Errorf("read results: %w", err)
		}
		for d := json.NewDecoder(bufio.NewReader(f)); ; {
			var r Result
			if err = d.Decode(&r); err != nil {
				break
			}
			out = append(out, r)
		}
		f.Close() //nolint:errcheck // only read from
		if !errors.Is(err, io.EOF) {
			return out, fmt.Errorf("read results from %s: %w", name, err)
		}
	}
	return out, nil
}
