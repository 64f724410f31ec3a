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

	"github.com/triwatch/triwatch/test/kube/cluster"
	"github.com/triwatch/triwatch/test/kube/lab"
)

// limit bounds the whole bench, whatever hangs.
const limit = 75 * time.Minute

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	inside, code, err := cluster.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if !inside {
		os.Exit(code)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, end := context.WithTimeout(ctx, limit)
	err = run(ctx, o, os.Stdout, os.Stderr)
	end()
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	triwatch string
	runs     int
	only     []string
	json     string
	logs     string
	busy     bool
	without  bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.triwatch, "triwatch", "../../bin/triwatch", "the static triwatch `program`")
	f.IntVar(&o.runs, "runs", 7, "runs of each scenario in each column")
	only := f.String("only", strings.Join(scenarios(), ","), "`scenarios`")
	f.StringVar(&o.json, "json", "", "write all samples and figures to this `file`")
	f.StringVar(&o.logs, "keep-logs", "", "write the cluster's logs to this `directory` at the end")
	f.BoolVar(&o.busy, "busy", true, "also measure with the endpoints of another Service changing")
	f.BoolVar(&o.without, "without", true, "also measure without triwatch")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.Split(*only, ",")
	for _, s := range o.only {
		if !slices.Contains(scenarios(), s) {
			return o, fmt.Errorf("-only %s: it must be one or more of %s", s, strings.Join(scenarios(), ","))
		}
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: there are flags only", f.Arg(0))
	case o.runs < 1:
		return o, errors.New("-runs must be at least 1")
	}
	_, err := exec.LookPath(o.triwatch)
	if err != nil {
		return o, fmt.Errorf("find triwatch: %w; build it with make build, or name it with -triwatch", err)
	}
	return o, nil
}

// errRuns is returned when a run did not do what it should; the table says which.
var errRuns = errors.New("not every run could be measured")

// run is the program, inside. It prints the table of what there is, also after an interruption.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	began := time.Now()
	root, err := findRoot()
	if err != nil {
		return err
	}
	rep := report{Machine: thisMachine(ctx, o.triwatch), Runs: o.runs}
	rep.Warnings = rep.Machine.warnings()
	b := &bench{opt: o, stderr: stderr, began: began}
	for _, w := range rep.Warnings {
		b.say("warning: %s", w)
	}
	c, err := cluster.Start(ctx, cluster.Options{DNS: true, FailedLogs: o.logs})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		if o.logs != "" {
			err = errors.Join(err, c.Logs(ctx, o.logs))
		}
		err = errors.Join(err, c.Stop(ctx))
	}()
	rep.Machine.of(c)
	if b.lab, err = lab.New(ctx, c, root, o.triwatch, filepath.Join(c.Dir(), "tmp")); err != nil {
		return err
	}
	b.say("the cluster is ready")
	why := b.runAll(ctx)
	if ctx.Err() != nil {
		why = ctx.Err() // whatever failed then failed because of that
	}
	if why != nil {
		rep.Warnings = append(rep.Warnings, "ended early: "+why.Error())
	}
	rep.Samples, rep.Rows, rep.TookS = b.samples, rows(b.samples, o.only), time.Since(began).Seconds()
	if err = errors.Join(why, rep.markdown(stdout)); o.json != "" {
		err = errors.Join(err, rep.writeJSON(o.json))
	}
	if err == nil && rep.failed() {
		err = errRuns
	}
	return err
}

// findRoot is the product's source directory: this one, or the first one above with the overlays.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source of triwatch: %w", err)
	}
	for up := dir; ; up = filepath.Dir(up) {
		if _, err := os.Stat(filepath.Join(up, "deploy", "overlays", "all")); err == nil {
			return up, nil
		}
		if up == filepath.Dir(up) {
			return "", fmt.Errorf("find the source of triwatch: no deploy/overlays/all in %s or above", dir)
		}
	}
}
