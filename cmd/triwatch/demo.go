package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/cmd/triwatch/demo"
)

func newDemo() *cobra.Command {
	opt := demo.Options{DownAfter: time.Second}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start three redis-servers and three watchers here, kill the master, and print what happens",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 0 {
				return cli.UsageError(fmt.Errorf("%s wants no arguments, got %q", cmd.CommandPath(), args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the triwatch program: %w", err)
			}
			opt.Binary, opt.Out = exe, cmd.OutOrStdout()
			return demo.Run(cmd.Context(), opt)
		},
	}
	cmd.Flags().BoolVar(&opt.Handover, "handover", false, "move the master in order instead of killing it")
	cmd.Flags().BoolVar(&opt.Keep, "keep", false, "leave everything running until Ctrl-C, with the addresses printed")
	cmd.Flags().DurationVar(&opt.DownAfter, "down-after", opt.DownAfter, "the watchers' down-after")
	return cmd
}
