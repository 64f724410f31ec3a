package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/triwatch/triwatch/cmd/triwatch/app"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/cmd/triwatch/notify"
	"github.com/triwatch/triwatch/sentinel/conf"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// stopTimeout bounds the orderly end after SIGTERM.
const stopTimeout = 5 * time.Second

// logFlags choose how a daemon logs.
type logFlags struct{ format, level string }

func (l *logFlags) logger() (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(l.level)
	if err != nil {
		return nil, cli.UsageError(fmt.Errorf("--log-level %q is none of debug, info, warn, error", l.level))
	}
	cfg := zap.NewProductionConfig()
	cfg.Level = zap.NewAtomicLevelAt(level)
	cfg.Sampling = nil // a failover is the moment at which no line may be missing
	cfg.DisableStacktrace, cfg.DisableCaller = true, true
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	cfg.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	switch l.format {
	case "json":
	case "text":
		cfg.Encoding = "console"
		cfg.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	default:
		return nil, cli.UsageError(fmt.Errorf("--log-format %q is neither text nor json", l.format))
	}
	return cfg.Build()
}

func newSentinel() *cobra.Command {
	var opt app.Options
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "sentinel FILE",
		Short: "Watch the masters of a sentinel.conf, in the place of redis-sentinel",
		Long: `Watch the masters of a sentinel.conf, in the place of redis-sentinel.

Every flag can be given as an environment variable as well: TRIWATCH_PEERS for --peers. SIGHUP
reads the file again for users and passwords. SIGTERM hands the leadership over and ends.`,
		Args:    exactFile,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) },
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := logs.logger()
			if err != nil {
				return err
			}
			defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
			spareProcessor()
			opt.Build = buildInfo()
			return runSentinel(cmd.Context(), args[0], opt, log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.RaftAddr, "raft-addr", "", "peers' address to listen on (default: the Sentinel port + 10000)")
	f.StringSliceVar(&opt.Peers, "peers", nil, "peers' addresses of the other watchers, host:port,... (default: from known-sentinel lines)")
	f.StringVar(&opt.HTTPAddr, "http-addr", "", "HTTP address (default: loopback, the Sentinel port + 20000)")
	f.StringVar(&opt.DataDir, "data-dir", "", "directory of the Raft store (default: triwatch-PORT in the file's dir)")
	f.StringVar(&opt.PeerSecretFile, "peer-secret-file", "", "file with a secret that all watchers share")
	f.StringVar(&opt.Token, "token", "", "token with which HTTP writes are allowed from elsewhere than loopback")
	f.BoolVar(&opt.Observe, "observe-only", false, "decide and say \"would ...\", but write nothing")
	sharedFlags(f, &opt)
	f.StringVar(&opt.Outside.Webhook, "webhook", "", "URL that the leader posts events to as JSON, for all masters")
	f.DurationVar(&opt.Outside.WebhookTimeout, "webhook-timeout", notify.DefaultWebhookTimeout, "how long one try may take")
	f.StringVar(&opt.Outside.Before, "before-failover", "", "program or URL that is asked before an automatic failover and may veto it")
	f.DurationVar(&opt.Outside.BeforeTimeout, "before-failover-timeout", notify.DefaultBeforeTimeout, "how long its answer is waited for, at most 5s")
	f.StringVar(&opt.Outside.BeforeFailure, "before-failover-failure", "allow", "what the lack of an answer means: allow or hold")
	f.StringVar(&logs.format, "log-format", "text", "text or json")
	f.StringVar(&logs.level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// sharedFlags are those that a watcher has wherever it runs.
func sharedFlags(f *pflag.FlagSet, opt *app.Options) {
	f.BoolVar(&opt.Greet, "publish-hello", false, "publish on __sentinel__:hello as Redis Sentinel does, for tools that find Sentinels there")
	f.IntVar(&opt.MaxLevel, "max-level", 0, "use no commands of a higher level, so that watchers can go back to an older build (default: all that this build knows)")
}

// spareProcessor leaves one processor to the others, above all to the Redis beside, unless
// GOMAXPROCS says how many there are to be. A watcher has many small things to do, one
// after the other: handing them from one processor to the next costs more than that brings.
func spareProcessor() {
	if n := runtime.GOMAXPROCS(0); n > 1 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(n - 1)
	}
}

func exactFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cli.UsageError(fmt.Errorf("%s wants one sentinel.conf, got %d arguments", cmd.CommandPath(), len(args)))
	}
	return nil
}

// runSentinel is one watcher from the file to SIGTERM.
func runSentinel(ctx context.Context, path string, opt app.Options, log *zap.Logger) (err error) {
	if opt.File, err = conf.ReadFile(path); err != nil {
		return err
	}
	for _, w := range opt.File.Warnings {
		log.Warn("configuration line without effect", zap.String("line", w.String()))
	}
	a, err := app.New(opt, log)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	for {
		select {
		case <-reload:
			f, err := conf.ReadFile(path)
			if err != nil {
				log.Error("configuration not read again, the old one goes on", zap.Error(err))
				continue
			}
			a.Reload(f)
		case <-a.Ending():
			log.Info("a client asked for the end (SHUTDOWN)")
			return stopWatcher(ctx, a, log)
		case <-ctx.Done():
			return stopWatcher(ctx, a, log)
		}
	}
}

// stopWatcher ends a watcher in good order.
func stopWatcher(ctx context.Context, a *app.App, log *zap.Logger) error {
	log.Info("stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := a.Stop(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.Info("stopped")
	return nil
}
