package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/triwatch/triwatch/test/redisproc"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}

// options are the flags.
type options struct {
	triwatch  string
	runs      int
	only      []string
	sides     []string
	json      string
	strict    bool
	keep      bool
	rate      int
	downAfter time.Duration
	before    time.Duration
	after     time.Duration
	limit     time.Duration

	hundredRuns int
	masters     int
	settle      time.Duration
	window      time.Duration

	busyFor   time.Duration
	busyProcs int
	busyRate  int
	spin      bool
}

// settings are the options that a reader of the JSON file needs.
type settings struct {
	Runs        int     `json:"runs"`
	DownAfterMS int64   `json:"down_after_ms"`
	Rate        int     `json:"rate"` // writes per second, 0: as many as go
	BeforeS     float64 `json:"before_s"`
	AfterS      float64 `json:"after_s"`
	Masters     int     `json:"masters"`
	WindowS     float64 `json:"window_s"`
	BusyForS    float64 `json:"busy_for_s"`
	BusyProcs   int     `json:"busy_procs"`
}

// usual are the scenarios that are run unless -only says otherwise; busy is on its own, it takes longer than all others.
func usual() []string {
	return []string{kill, stop, planned, leader, empty, told, crowded, answers, hundred}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.triwatch, "triwatch", "bin/triwatch", "the triwatch `program`")
	f.IntVar(&o.runs, "runs", 7, "runs of each scenario with each side")
	only := f.String("only", strings.Join(usual(), ","), "`scenarios`, also busy")
	sides := f.String("side", "", "sentinel or triwatch alone; empty is both, but triwatch alone for busy")
	f.StringVar(&o.json, "json", "", "write all samples and figures to this `file`")
	f.BoolVar(&o.strict, "strict", false, "exit with 1 if a target is missed")
	f.BoolVar(&o.keep, "keep", false, "keep the logs of all runs, not only of failed ones")
	f.IntVar(&o.rate, "rate", 0, "writes per second of all writers, 0: as many as go")
	f.DurationVar(&o.downAfter, "down-after", time.Second, "down-after-milliseconds of both sides")
	f.DurationVar(&o.before, "before", 3*time.Second, "load before the strike")
	f.DurationVar(&o.after, "after", 3*time.Second, "load after the strike")
	f.DurationVar(&o.limit, "limit", 15*time.Second, "how long to wait for another master after that")
	f.IntVar(&o.hundredRuns, "hundred-runs", 3, "runs of hundred with each side, at most -runs")
	f.IntVar(&o.masters, "masters", 100, "masters of hundred, of three instances each")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "time between all in sync and the measurement of hundred")
	f.DurationVar(&o.window, "window", 20*time.Second, "length of the measurement of hundred")
	f.DurationVar(&o.busyFor, "busy-for", 10*time.Minute, "how long nothing may happen in busy")
	f.IntVar(&o.busyProcs, "busy-procs", 8, "busy processes")
	f.IntVar(&o.busyRate, "busy-rate", 200, "writes per second of all writers in busy")
	f.BoolVar(&o.spin, "spin", false, "do nothing but use a processor: what busy starts")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only, o.sides = strings.Split(*only, ","), strings.Split(*sides, ",")
	if *sides == "" {
		o.sides = nil
	}
	return o, o.validate(f.Args())
}

func (o options) validate(rest []string) error {
	for _, s := range o.only {
		if s != busy && !slices.Contains(usual(), s) {
			return fmt.Errorf("-only %s: it must be one or more of %s,busy", s, strings.Join(usual(), ","))
		}
	}
	for _, s := range o.sides {
		if s != sentinelSide && s != triwatchSide {
			return fmt.Errorf("-side %s: it must be sentinel or triwatch", s)
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q: there are flags only", rest[0])
	case o.runs < 1 || o.hundredRuns < 1 || o.masters < 1 || o.busyProcs < 0:
		return errors.New("-runs, -hundred-runs and -masters must be at least 1")
	case o.rate < 0 || o.busyRate < 1:
		return errors.New("-rate must not be negative, -busy-rate at least 1")
	case o.downAfter < time.Millisecond || o.window <= 0 || o.before <= 0 || o.after <= 0 || o.limit <= 0:
		return errors.New("-down-after, -window, -before, -after and -limit must be times above 0")
	}
	return nil
}

// contender is a side that can be started.
type contender struct {
	name  string
	start launch
}

// bench is one call of the program.
type bench struct {
	opt     options
	dir     string
	stderr  io.Writer
	samples []sample
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.stderr, format+"\n", args...) }

// contenders are the sides that take part in a scenario, in the order in which they take turns.
func (b *bench) contenders(scenario string) []contender {
	all := []contender{{sentinelSide, launchSentinel(3)}, {triwatchSide, launchTriwatch(b.opt.triwatch)}}
	return slices.DeleteFunc(all, func(c contender) bool {
		if len(b.opt.sides) == 0 {
			return scenario == busy && c.name == sentinelSide
		}
		return !slices.Contains(b.opt.sides, c.name)
	})
}

// folder is where a run keeps its files.
func (b *bench) folder(parts ...any) string {
	var names []string
	for _, p := range parts {
		names = append(names, fmt.Sprint(p))
	}
	return filepath.Join(b.dir, strings.Join(names, "-"))
}

// add takes a sample, tells it, and takes the run's files away if nobody will want them.
func (b *bench) add(ctx context.Context, s sample) {
	if ctx.Err() != nil && s.Failed != "" {
		return // it was interrupted, it did not fail
	}
	b.samples = append(b.samples, s)
	var parts []string
	for _, f := range figures() {
		if v, ok := s.Values[f.Value]; ok && f.Scenario == s.Scenario {
			parts = append(parts, f.Value+" "+f.Unit.number(v))
		}
	}
	what := strings.Join(parts, ", ")
	if s.Failed != "" {
		what = strings.TrimPrefix(what+"; FAILED: "+s.Failed, "; ")
	} else if !b.opt.keep {
		os.RemoveAll(b.folder(s.Scenario, s.Side, s.Run)) //nolint:errcheck // the whole folder goes in the end
	}
	b.say("%s %d, %s: %s", s.Scenario, s.Run, s.Side, what)
}

// run is the program. Its result is the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	case o.spin:
		spin(ctx)
		return 0
	}
	missed, err := measureAll(ctx, o, stdout, stderr)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	case missed && o.strict:
		return 1
	}
	return 0
}

// measureAll runs what was asked for and prints the table, after an interruption the table of what there is.
func measureAll(ctx context.Context, o options, stdout, stderr io.Writer) (missed bool, err error) {
	for _, name := range []string{"redis-server", "redis-sentinel"} {
		if _, err := redisproc.LookupBinary(name); err != nil {
			return false, err
		}
	}
	if _, err := exec.LookPath(o.triwatch); err != nil {
		return false, fmt.Errorf("find triwatch: %w; build it with make build, or name it with -triwatch", err)
	}
	rep := report{Machine: thisMachine(ctx), Settings: settings{Runs: o.runs, DownAfterMS: o.downAfter.Milliseconds(), Rate: o.rate,
		BeforeS: o.before.Seconds(), AfterS: o.after.Seconds(), Masters: o.masters, WindowS: o.window.Seconds(), BusyForS: o.busyFor.Seconds(),
		BusyProcs: o.busyProcs}}
	rep.Warnings = rep.Machine.warnings()
	b := &bench{opt: o, stderr: stderr}
	for _, w := range rep.Warnings {
		b.say("warning: %s", w)
	}
	if b.dir, err = os.MkdirTemp("", "triwatch-bench-"); err != nil {
		return false, fmt.Errorf("make a folder for the runs: %w", err)
	}
	redis.SetLogger(silence{})
	b.runAll(ctx)
	b.cleanUp()
	interrupted := ctx.Err()
	if interrupted != nil {
		rep.Warnings = append(rep.Warnings, "interrupted: these are the runs until then")
	}
	rep.Samples, rep.Rows = b.samples, rows(figures(), b.samples, o.only)
	err = rep.markdown(stdout)
	if o.json != "" {
		err = errors.Join(err, rep.writeJSON(o.json))
	}
	return rep.missed(), errors.Join(err, interrupted)
}

func (b *bench) runAll(ctx context.Context) {
	for _, sc := range scenarios() {
		b.inTurn(ctx, sc.name, func(c contender, run int) sample { return b.once(ctx, sc, c, run) })
	}
	b.inTurn(ctx, empty, func(c contender, run int) sample { return b.empty(ctx, c, run) })
	b.inTurn(ctx, told, func(c contender, run int) sample { return b.told(ctx, c, run) })
	b.inTurn(ctx, crowded, func(c contender, run int) sample { return b.crowded(ctx, c, run) })
	b.inTurn(ctx, answers, func(c contender, run int) sample { return b.answers(ctx, c, run) })
	if slices.Contains(b.opt.only, hundred) && ctx.Err() == nil {
		b.hundred(ctx)
	}
	if slices.Contains(b.opt.only, busy) && ctx.Err() == nil {
		for _, c := range b.contenders(busy) {
			b.add(ctx, b.busy(ctx, c))
		}
	}
}

// inTurn runs a scenario with one side after the other, so that the machine's moods hit both.
func (b *bench) inTurn(ctx context.Context, name string, once func(contender, int) sample) {
	if !slices.Contains(b.opt.only, name) {
		return
	}
	for i := range b.opt.runs {
		for _, c := range b.contenders(name) {
			if ctx.Err() != nil {
				return
			}
			b.add(ctx, once(c, i+1))
		}
	}
}

// cleanUp takes the logs away unless somebody will want to read them.
func (b *bench) cleanUp() {
	failed := slices.ContainsFunc(b.samples, func(s sample) bool { return s.Failed != "" })
	if failed || b.opt.keep {
		b.say("logs are in %s", b.dir)
		return
	}
	os.RemoveAll(b.dir) //nolint:errcheck // what is left is in the system's temporary directory
}

// silence takes go-redis' log: its lines about a lost master are what the bench does on purpose.
type silence struct{}

// Printf does nothing.
func (silence) Printf(context.Context, string, ...any) {}
