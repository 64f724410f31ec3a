// Command triwatch is a failover daemon for Redis in the manner of Redis
// Sentinel: watchers joined by one Raft log agree when a master is lost, promote a
// replica, and tell every client.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
)

func main() { os.Exit(run()) }

func run() int {
	// The first signal ends the context, a second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	cli.Report(os.Stderr, err)
	return cli.ExitCode(err)
}

func newRoot() *cobra.Command {
	opt := cli.Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stdin), Getenv: os.Getenv, Version: buildInfo()}
	root := cli.NewRoot(opt)
	root.AddCommand(newSentinel(), newKube(), newDemo())
	root.AddCommand(withFiles(cli.Commands(opt))...)
	return root
}

// isTerminal reports whether a person can be asked there. What a service manager
// gives instead of a terminal, /dev/null, is a character device as well.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}

// fromEnvironment sets every flag that was not given from TRIWATCH_NAME, with
// underscores for dashes.
func fromEnvironment(flags *pflag.FlagSet) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "TRIWATCH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v, ok := os.LookupEnv(name)
		if !ok || f.Changed || first != nil {
			return
		}
		if err := flags.Set(f.Name, v); err != nil {
			first = fmt.Errorf("environment variable %s: %w", name, err)
		}
	})
	return first
}
