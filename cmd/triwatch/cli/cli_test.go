package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"github.com/triwatch/triwatch/sentinel"
)

func TestWrongUsageExitsWith2(t *testing.T) {
	g := newRig(t)
	for _, c := range []struct{ args, want string }{
		{"nope", `unknown command "nope"; see triwatch help`},
		{"statsu", `unknown command "statsu", did you mean status?; see triwatch help`},
		{"--nope", "unknown flag: --nope; see triwatch --help"},
		{"status --nope", "unknown flag: --nope; see triwatch status --help"},
		{"status a b", "accepts at most 1 arg(s), received 2; usage: triwatch status [NAME] [flags]"},
		{"history", "accepts between 1 and 2 arg(s), received 0; usage: triwatch history NAME [EPOCH] [flags]"},
		{"history orders x", `"x" is no epoch: write its number as history shows it, such as 12 or 1.12`},
		{"status ..", `".." is no name; usage: triwatch status [NAME] [flags]`},
		{"status -o yaml", `--output is "yaml", must be table or json`},
		{"status --timeout -1s", "--timeout is -1s, must not be negative"},
		{"status --timeout soon", `invalid argument "soon" for "--timeout" flag: time: invalid duration "soon"; see triwatch status --help`},
		{"status --http-addr ftp://x:1", `--http-addr is "ftp://x:1", must be host:port or a URL such as https://host:port`},
		{"status --http-addr http://x:1/y", `--http-addr is "http://x:1/y", must be host:port or a URL such as https://host:port`},
		{"handover", "accepts 1 arg(s), received 0; usage: triwatch handover NAME [flags]"},
		{"failover orders", "failover asks before it acts, and there is no terminal to ask on: repeat it with --yes"},
		{"peers nope", `unknown command "nope" for "triwatch peers"; usage: triwatch peers [flags]`},
		{"peers remove x", "peers remove asks before it acts, and there is no terminal to ask on: repeat it with --yes"},
		{"version x", `unknown command "x" for "triwatch version"; usage: triwatch version [flags]`},
	} {
		r := g.run(t, strings.Fields(c.args)...)
		require.Equal(t, "triwatch: "+c.want+"\n", r.err, c.args)
		require.Equal(t, cli.ExitUsage, r.code, c.args)
		require.Empty(t, r.out, c.args)
	}
	require.Equal(t, cli.ExitUsage, g.run(t, "status", "").code)
	require.Empty(t, g.src.Asked())
}

func TestHelpIsFine(t *testing.T) {
	g := newRig(t)
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"status", "--help"}, {"peers", "remove", "-h"}} {
		r := g.run(t, args...)
		require.Equal(t, cli.ExitOK, r.code, args)
		require.Contains(t, r.out, "Usage:", args)
		require.Empty(t, r.err, args)
	}
}

func TestNobodyListensIsOneSentence(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().String()
	require.NoError(t, ln.Close())
	g := newRig(t)
	for _, args := range [][]string{{"status"}, {"handover", "orders"}} {
		r := g.run(t, append(args, "--http-addr", addr)...)
		require.Equal(t, "triwatch: no watcher answers at "+addr+": connection refused; start it, or name another with --http-addr\n", r.err)
		require.Equal(t, cli.ExitFailure, r.code)
	}
	r := g.run(t, "status", "--http-addr", "no-such-host.invalid:1")
	require.Contains(t, r.err, "no-such-host.invalid:1: the name cannot be resolved; --http-addr names another")
	require.Equal(t, cli.ExitFailure, r.code)
}

func TestASilentWatcherIsOneSentence(t *testing.T) {
	g := newRig(t)
	g.src.Hang = true
	r := g.run(t, "handover", "orders", "--timeout", "50ms")
	require.Equal(t, "triwatch: the watcher at "+g.addr+" did not answer within 50ms (--timeout); what was asked may still happen, see triwatch status\n", r.err)
	require.Equal(t, cli.ExitFailure, r.code)
}

func TestAnInterruptIsOneSentence(t *testing.T) {
	g := newRig(t)
	g.src.Hang = true
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan result, 1)
	go func() { got <- g.runIn(ctx, "handover", "orders") }()
	require.Eventually(t, func() bool { return len(g.src.Asked()) == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.Equal(t, "triwatch: interrupted; what was asked may still happen, see triwatch status\n", (<-got).err)
}

func TestSomethingElseListensThere(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a page":       func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>") },
		"another API":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"message": "x"}`, http.StatusNotFound) },
		"a bad answer": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(h)
			defer web.Close()
			g := newRig(t)
			g.env["TRIWATCH_HTTP_ADDR"] = web.Listener.Addr().String()
			r := g.run(t, "status")
			require.Contains(t, r.err, "but not as a triwatch watcher does; --http-addr names another address")
			require.Equal(t, cli.ExitFailure, r.code)
		})
	}
}

func TestAnAddressToListenOnEverywhereMeansThisHost(t *testing.T) {
	g := newRig(t)
	_, port, err := net.SplitHostPort(g.addr)
	require.NoError(t, err)
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port, "http://127.0.0.1:" + port, "http://localhost:" + port + "/"} {
		require.Equal(t, cli.ExitOK, g.run(t, "status", "--http-addr", addr).code, addr)
		g.env["TRIWATCH_HTTP_ADDR"] = addr
		require.Equal(t, cli.ExitOK, g.run(t, "status").code, addr)
	}
}

func TestTheTokenIsSentWithWritesOnly(t *testing.T) {
	var seen []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.Header.Get("Authorization"))
		_, _ = fmt.Fprint(w, "{}")
	}))
	defer web.Close()
	g := newRig(t)
	g.addr = web.Listener.Addr().String()
	require.Equal(t, cli.ExitOK, g.run(t, "handover", "orders", "--token", "flag").code)
	g.env["TRIWATCH_TOKEN"] = "env"
	require.Equal(t, cli.ExitOK, g.run(t, "handover", "orders").code)
	require.Equal(t, cli.ExitOK, g.run(t, "handover", "orders", "--token", "flag").code)
	_ = g.run(t, "status")
	require.Equal(t, []string{"POST Bearer flag", "POST Bearer env", "POST Bearer flag", "GET "}, seen)
	require.NotContains(t, g.run(t, "status", "--help").out, "env", "help must not show the token")
}

func TestAskedForIsWhatIsSent(t *testing.T) {
	g := newRig(t)
	g.terminal, g.input = true, "YES\n"
	require.Equal(t, cli.ExitOK, g.run(t, "failover", "orders", "--to", "redis-0").code)
	require.Equal(t, cli.ExitOK, g.run(t, "handover", "a/b c%").code)
	require.Equal(t, []sentinel.Request{{Master: "orders", Kind: sentinel.RequestFailover, To: "redis-0"}, {Master: "a/b c%", Kind: sentinel.RequestHandover}}, g.src.Asked())
}

func TestNothingIsSentWithoutAYes(t *testing.T) {
	for _, input := range []string{"", "\n", "y\n", "no\n", "yes please\n"} {
		g := newRig(t)
		g.terminal, g.input = true, input
		r := g.run(t, "failover", "orders")
		require.Equal(t, cli.ExitFailure, r.code)
		require.Contains(t, r.err, "nothing was done")
		require.Equal(t, cli.ExitFailure, g.run(t, "peers", "remove", apitest.Watcher3).code)
		require.Empty(t, g.src.Asked())
		require.Empty(t, g.src.Removed())
	}
}

func TestPeersAreFoundByTheBeginningOfTheirID(t *testing.T) {
	g := newRig(t)
	for _, id := range []string{"3d2e", "3d2e8a4b", apitest.Watcher3, "10.244.0.7:36379", "triwatch-7c9f-zq4"} {
		require.Equal(t, cli.ExitOK, g.run(t, "peers", "remove", id, "--yes").code, id)
	}
	for _, id := range g.src.Removed() {
		require.Equal(t, apitest.Watcher3, id)
	}
	require.Len(t, g.src.Removed(), 5)
	require.Equal(t, cli.ExitFailure, g.run(t, "peers", "remove", "3d2", "--yes").code, "too short to be meant")
	g.src.Info.Peers[1].ID = "3d2e" + apitest.Watcher2[4:]
	require.Equal(t, cli.ExitUsage, g.run(t, "peers", "remove", "3d2e", "--yes").code)
	require.Len(t, g.src.Removed(), 5)
}

func TestTextsOfRedisCannotPlayWithTheTerminal(t *testing.T) {
	g := newRig(t)
	g.src.List[1].Note = "\x1b[2Jgone\r\nreally"
	g.src.List[1].Instances[1].Choice = "\x1b]0;x\x07"
	for _, args := range [][]string{{"status"}, {"status", "orders"}} {
		require.NotContains(t, g.run(t, args...).out, "\x1b")
		require.NotContains(t, g.run(t, args...).out, "\r")
	}
}

func TestExitCodes(t *testing.T) {
	require.Equal(t, 0, cli.ExitCode(nil))
	require.Equal(t, 1, cli.ExitCode(errors.New("x")))
	require.Equal(t, 2, cli.ExitCode(cli.UsageError(errors.New("x"))))
	require.Equal(t, 4, cli.ExitCode(fmt.Errorf("more: %w", &cli.ExitError{Code: cli.ExitRefused, Err: errors.New("x")})))
}
