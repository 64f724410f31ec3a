package cli

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// NewRecover returns triwatch recover.
func NewRecover(opt Options) *cobra.Command {
	s := &session{Options: opt}
	var drop []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover --drop ID[,ID]",
		Short: "Go on without a majority that is gone for good",
		Long: `Go on without a majority that is gone for good: machines that burnt, disks that are lost.

This watcher begins a new generation of the cluster with what it knows, and the other survivors join
it. Whatever only the dropped ones had committed is lost; should one of them come back, it stops acting
as soon as it meets the new generation. It is refused while a leader is known, and while a watcher that
is to be dropped answers. On Kubernetes this happens by itself when the pods are gone.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(drop) == 0 {
				return usagef("name the watchers that are gone for good with --drop; see triwatch peers")
			}
			if !yes && !opt.Terminal {
				return usagef("recover asks before it acts, and there is no terminal to ask on: repeat it with --yes")
			}
			return s.recover(cmd.Context(), drop, yes)
		},
	}
	cmd.Flags().StringSliceVar(&drop, "drop", nil, "watchers that are gone for good, by ID, a beginning of it, name or address")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	s.bind(cmd, moveTimeout)
	return cmd
}

func (s *session) recover(ctx context.Context, drop []string, yes bool) error {
	var all httpapi.Peers
	if err := s.get(ctx, &all, "peers"); err != nil {
		return err
	}
	var ids, names []string
	for _, want := range drop {
		p, err := findPeer(all.Peers, want)
		if err != nil {
			return err
		}
		ids, names = append(ids, p.ID), append(names, shortID(p.ID)+" at "+p.Address)
	}
	if !yes {
		if err := s.ask("Are " + strings.Join(names, ", ") + " gone for good, never to come back?"); err != nil {
			return err
		}
	}
	var got httpapi.Recovery
	if err := s.call(ctx, http.MethodPost, httpapi.Recovery{Drop: ids}, &got, []string{"recover"}); err != nil {
		return err
	}
	if s.json() {
		return printJSON(s.Out, got)
	}
	s.printf("a new generation goes on without %s\n", clean(strings.Join(names, ", ")))
	return nil
}
