// Command writer writes to a Redis master without pause and says for how long it could not and what was lost.
//
//	writer -addr 10.0.0.21:6379 -duration 30s
//	writer -sentinels 10.0.0.11:26379,10.0.0.12:26379 -master orders -duration 30s
//
// Passwords come from the environment: WRITER_PASSWORD and WRITER_SENTINEL_PASSWORD. The record goes to standard output as JSON, one
// line for people to standard error. SIGINT and SIGTERM end the run early. Exit status: 0 all acknowledged writes are there, 1 some
// are lost or could not be checked, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/triwatch/triwatch/test/writer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type settings struct {
	options  writer.Options
	sentinel *writer.Sentinel
	verify   string
	within   time.Duration
}

func parse(args []string, env func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("writer", flag.ContinueOnError)
	fs.SetOutput(stderr)
	addr := fs.String("addr", "", "host:port to write to, for example a Service's")
	sentinels := fs.String("sentinels", "", "watchers to ask instead, host:port separated by commas")
	master := fs.String("master", "", "the master's name at the watchers")
	modes := fs.String("modes", "single,pipelined,multi", "how the connections write, in turn")
	sentinelUser := fs.String("sentinel-user", "", "user at the watchers")
	fs.IntVar(&s.options.Conns, "conns", 8, "connections")
	fs.IntVar(&s.options.Batch, "batch", 16, "writes in a pipeline or transaction")
	fs.IntVar(&s.options.Rate, "rate", 0, "most writes per second of all connections together, 0 is no cap")
	fs.DurationVar(&s.options.Duration, "duration", 10*time.Second, "length of the run, 0 until a signal comes")
	fs.DurationVar(&s.options.Timeout, "timeout", 200*time.Millisecond, "bound of every dial, read and write")
	fs.StringVar(&s.options.User, "user", "", "user at the Redis instances")
	fs.StringVar(&s.options.Prefix, "prefix", "", "beginning of every key, by default one of its own for every run")
	fs.StringVar(&s.verify, "verify", "", "host:port of the final master; by default where the last write would go; \"no\" leaves it out")
	fs.DurationVar(&s.within, "verify-within", time.Minute, "bound of the verification")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	for _, name := range strings.Split(*modes, ",") {
		m, err := writer.ParseMode(strings.TrimSpace(name))
		if err != nil {
			return s, err
		}
		s.options.Modes = append(s.options.Modes, m)
	}
	s.options.Password = env("WRITER_PASSWORD")
	switch {
	case *addr != "" && *sentinels == "":
		s.options.Resolver = writer.Fixed(*addr)
	case *addr == "" && *sentinels != "":
		var err error
		s.sentinel, err = writer.NewSentinel(writer.SentinelOptions{
			Addrs: strings.Split(*sentinels, ","), Master: *master, User: *sentinelUser,
			Password: env("WRITER_SENTINEL_PASSWORD"), Timeout: s.options.Timeout,
		})
		if err != nil {
			return s, err
		}
		s.options.Resolver = s.sentinel
	default:
		return s, errors.New("exactly one of -addr and -sentinels is needed")
	}
	return s, nil
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	s, err := parse(args, env, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var w *writer.Writer
	if err == nil {
		w, err = writer.New(s.options)
	}
	if err != nil {
		fmt.Fprintf(stderr, "writer: %v\n", err)
		return 2
	}
	result, err := w.Run(ctx)
	// A signal ends the writing, not the check of what was written.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.within)
	defer cancel()
	if err == nil && s.verify != "no" {
		err = verify(ctx, w, s, &result)
	}
	if s.sentinel != nil {
		s.sentinel.Close()
	}
	out := json.NewEncoder(stdout)
	out.SetIndent("", "  ")
	err = errors.Join(err, out.Encode(result))
	summary(stderr, result)
	if err != nil {
		fmt.Fprintf(stderr, "writer: %v\n", err)
		return 1
	}
	if result.Verified != nil && result.Verified.Lost > 0 {
		return 1
	}
	return 0
}

func verify(ctx context.Context, w *writer.Writer, s settings, r *writer.Result) error {
	addr := s.verify
	if addr == "" {
		var err error
		if addr, err = s.options.Resolver.Resolve(ctx); err != nil {
			return fmt.Errorf("find the final master: %w", err)
		}
	}
	v, err := w.Verify(ctx, addr)
	r.Verified = &v
	return err
}

func summary(w io.Writer, r writer.Result) {
	lost := "not checked"
	if r.Verified != nil {
		lost = fmt.Sprint(r.Verified.Lost)
	}
	fmt.Fprintf(w, "acked=%d lost=%s unknown=%d longest_gap_ms=%.1f errors=%v\n",
		r.Acked, lost, r.Unknown, float64(r.LongestGap)/float64(time.Millisecond), r.Errors)
}
