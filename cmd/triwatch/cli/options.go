package cli

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// DefaultHTTPAddr is where the watcher of this host answers: Sentinel's port plus
// 20000.
const DefaultHTTPAddr = "127.0.0.1:46379"

// podHTTPAddr is where the watcher of the same pod answers.
const podHTTPAddr = "127.0.0.1:8080"

// httpAddr is where the nearest watcher answers: in a pod of the Deployment it is the
// pod's own.
func httpAddr(getenv func(string) string) string {
	if a := getenv("TRIWATCH_HTTP_ADDR"); a != "" {
		return a
	}
	if getenv("KUBERNETES_SERVICE_HOST") != "" && getenv("POD_IP") != "" {
		return podHTTPAddr
	}
	return DefaultHTTPAddr
}

// Options are what the commands work with. In, Out, Err and Getenv are required.
type Options struct {
	In       io.Reader
	Out, Err io.Writer
	// Terminal is set when In is a person's terminal, so that questions can be asked.
	Terminal bool
	// Getenv is os.Getenv outside of tests.
	Getenv  func(string) string
	Version httpapi.Version
}

// NewRoot returns the command that all others are added to. It prints help, and
// takes an unknown command as a usage error.
func NewRoot(opt Options) *cobra.Command {
	root := &cobra.Command{
		Use:   "triwatch",
		Short: "Moves a Redis master in milliseconds and never throws a data set away",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			text := fmt.Sprintf("unknown command %q", args[0])
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				text += ", did you mean " + strings.Join(like, " or ") + "?"
			}
			return usagef("%s; see triwatch help", text)
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.SetIn(opt.In)
	root.SetOut(opt.Out)
	root.SetErr(opt.Err)
	return root
}

// Commands returns all commands of this package.
func Commands(opt Options) []*cobra.Command {
	return []*cobra.Command{NewStatus(opt), NewHistory(opt), NewCheck(opt), NewHandover(opt), NewFailover(opt), NewAdopt(opt), NewVacate(opt), NewRelease(opt), NewPause(opt), NewResume(opt), NewPeers(opt), NewRecover(opt), NewVersion(opt)}
}

// session is one command's dealings with a watcher, made from its flags.
type session struct {
	Options
	addr, token, output string
	timeout             time.Duration
}

// bind declares the flags that all commands share.
func (s *session) bind(cmd *cobra.Command, timeout time.Duration) {
	f := cmd.Flags()
	f.StringVar(&s.addr, "http-addr", httpAddr(s.Getenv), "where a watcher answers over HTTP (TRIWATCH_HTTP_ADDR)")
	f.StringVar(&s.token, "token", "", "what the watcher wants to see before it changes something from another host (TRIWATCH_TOKEN)")
	f.DurationVar(&s.timeout, "timeout", timeout, "how long to wait for the watcher's answer")
	s.bindOutput(cmd)
}

func (s *session) bindOutput(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.output, "output", "o", "table", "table or json")
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	cmd.PreRunE = func(*cobra.Command, []string) error { return s.validate() }
}

func (s *session) validate() error {
	switch {
	case s.output != "table" && s.output != "json":
		return usagef("--output is %q, must be table or json", s.output)
	case s.timeout < 0:
		return usagef("--timeout is %v, must not be negative", s.timeout)
	}
	// Not the flag's default: help would show it.
	s.token = cmp.Or(s.token, s.Getenv("TRIWATCH_TOKEN"))
	return nil
}

func (s *session) json() bool { return s.output == "json" }

// printf writes to Out. A closed pipe is not worth an error.
func (s *session) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.Out, format, args...) }

// base returns the watcher's URL. An address to listen on everywhere, which the
// watcher may share with us through the environment, means this host.
func (s *session) base() (*url.URL, error) {
	text := s.addr
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, usagef("--http-addr is %q, must be host:port or a URL such as https://host:port", s.addr)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "" || (err == nil && ip.IsUnspecified()) {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	u.Path = ""
	return u, nil
}
