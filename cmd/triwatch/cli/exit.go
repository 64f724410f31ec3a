package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	ExitOK       = 0
	ExitFailure  = 1
	ExitUsage    = 2
	ExitNoQuorum = 3
	ExitRefused  = 4
)

// ExitError is an error that knows its exit code.
type ExitError struct {
	Code int
	Err  error
	// Said is set when the command's output has told it already.
	Said bool
}

// Error returns the wrapped error's text.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *ExitError) Unwrap() error { return e.Err }

// UsageError marks an error of whoever typed the command: exit code 2.
func UsageError(err error) error { return &ExitError{Code: ExitUsage, Err: err} }

func usagef(format string, args ...any) error { return UsageError(fmt.Errorf(format, args...)) }

// ExitCode returns what the process exits with: 0 for nil, 1 for an error that does
// not say.
func ExitCode(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.Code
	}
	return ExitFailure
}

// Report prints an error as people are to see it, unless the command's output
// has said it already.
func Report(w io.Writer, err error) {
	var e *ExitError
	if err == nil || (errors.As(err, &e) && e.Said) {
		return
	}
	_, _ = fmt.Fprintln(w, "triwatch: "+clean(err.Error()))
}

// usageArgs turns a complaint about arguments into a usage error. Arguments become
// parts of a path, so that those which would change the path are none.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w; usage: %s", err, cmd.UseLine())
		}
		for _, a := range args {
			if a == "" || a == "." || a == ".." {
				return usagef("%q is no name; usage: %s", a, cmd.UseLine())
			}
		}
		return nil
	}
}
