package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a command line that talks to a watcher over real HTTP.
type rig struct {
	src      *apitest.Source
	addr     string
	env      map[string]string
	input    string
	terminal bool
}

func newRig(t *testing.T) *rig {
	t.Helper()
	src := apitest.New()
	s, err := httpapi.New(httpapi.Options{Source: src, Metrics: prometheus.NewRegistry(), Logger: zap.NewNop()})
	require.NoError(t, err)
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	return &rig{src: src, addr: web.Listener.Addr().String(), env: map[string]string{}}
}

// result is what a person sees of a command.
type result struct {
	out, err string
	code     int
}

// transcript writes the result down for a golden file.
func (r result) transcript(args []string) string {
	text := "$ triwatch " + strings.Join(args, " ") + "\n" + r.out
	if r.err != "" {
		text += "--- standard error\n" + r.err
	}
	return text + fmt.Sprintf("--- exit %d\n", r.code)
}

func (g *rig) run(t *testing.T, args ...string) result {
	t.Helper()
	return g.runIn(t.Context(), args...)
}

func (g *rig) runIn(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	opt := cli.Options{In: strings.NewReader(g.input), Out: &out, Err: &errs, Terminal: g.terminal, Getenv: func(k string) string {
		if v, ok := g.env[k]; ok {
			return v
		}
		return map[string]string{"TRIWATCH_HTTP_ADDR": g.addr}[k]
	}, Version: httpapi.Version{Version: "0.1.0", Commit: "0123abc", Go: "go1.26.8"}}
	root := cli.NewRoot(opt)
	root.AddCommand(cli.Commands(opt)...)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	cli.Report(&errs, err)
	return result{out.String(), errs.String(), cli.ExitCode(err)}
}

// golden compares with a file in testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
	out, _, _ := strings.Cut(got, "--- standard error")
	for line := range strings.SplitSeq(out, "\n") {
		require.Equal(t, strings.TrimRight(line, " "), line, "spaces at the end of a line")
	}
}
