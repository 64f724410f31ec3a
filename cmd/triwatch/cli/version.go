package cli

import (
	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// NewVersion returns triwatch version.
func NewVersion(opt Options) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show which triwatch this is",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if s.json() {
				return printJSON(s.Out, opt.Version)
			}
			s.printf("%s\n", versionLine(opt.Version))
			return nil
		},
	}
	s.bindOutput(cmd)
	return cmd
}

func versionLine(v httpapi.Version) string {
	text := "triwatch " + v.Version
	for _, more := range []struct{ word, value string }{{"commit", v.Commit}, {"built", v.Built}, {"with", v.Go}} {
		if more.value != "" {
			text += ", " + more.word + " " + more.value
		}
	}
	return text
}
