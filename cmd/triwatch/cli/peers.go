package cli

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// NewPeers returns triwatch peers, with remove below it.
func NewPeers(opt Options) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Show the watchers, or remove one for good",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.peers(cmd.Context()) },
	}
	s.bind(cmd, readTimeout)
	cmd.AddCommand(newPeersRemove(opt))
	return cmd
}

func (s *session) peers(ctx context.Context) error {
	var got httpapi.Peers
	if err := s.get(ctx, &got, "peers"); err != nil {
		return err
	}
	if s.json() {
		return s.jsonStanding(got, got.Standing)
	}
	s.preface(got.Standing)
	if got.Waiting != "" && got.HasQuorum { // without, the first line has said it
		s.printf("waiting: %s\n", clean(got.Waiting))
	}
	rows := [][]string{{"ID", "ADDRESS", "NAME", "ROLE", "REACHABLE", "LAST HEARD", "LEVEL", "VERSION"}}
	for _, p := range got.Peers {
		rows = append(rows, []string{shortID(p.ID), dash(p.Address), dash(p.Name), peerRole(p), yesNo(p.Reachable), heard(p), level(p.Level), dash(p.Version)})
	}
	table(s.Out, "", rows)
	s.printf("%d of %d voters in touch, %d needed, term %d, level %s\n", got.Reachable, got.Watchers, got.Watchers/2+1, got.Term, level(got.Level))
	return quorumError(got.Standing)
}

// level is a level of commands; one that was not said is not known.
func level(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func peerRole(p httpapi.Peer) string {
	switch {
	case p.Leader:
		return "leader"
	case p.Voter:
		return "voter"
	}
	return "joining"
}

func heard(p httpapi.Peer) string {
	switch {
	case p.Self:
		return "this watcher"
	case p.LastContactMS == nil:
		return "never"
	}
	return span(float64(*p.LastContactMS)) + " ago"
}

func shortID(id string) string { return id[:min(len(id), 8)] }

func newPeersRemove(opt Options) *cobra.Command {
	s := &session{Options: opt}
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a watcher for good: its ID cannot come back (ask the leader)",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && !opt.Terminal {
				return usagef("peers remove asks before it acts, and there is no terminal to ask on: repeat it with --yes")
			}
			return s.removePeer(cmd.Context(), args[0], yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	s.bind(cmd, checkTimeout)
	return cmd
}

func (s *session) removePeer(ctx context.Context, want string, yes bool) error {
	var all httpapi.Peers
	if err := s.get(ctx, &all, "peers"); err != nil {
		return err
	}
	p, err := findPeer(all.Peers, want)
	if err != nil {
		return err
	}
	if !yes {
		question := "Remove " + shortID(p.ID) + " at " + p.Address + " for good?"
		if p.Reachable {
			question = shortID(p.ID) + " at " + p.Address + " is reachable and would go on running without a vote. Remove it for good?"
		}
		if err := s.ask(question); err != nil {
			return err
		}
	}
	var got httpapi.Removed
	if err := s.call(ctx, http.MethodDelete, nil, &got, []string{"peers", p.ID}); err != nil {
		var f *failure
		if errors.As(err, &f) && f.Code == httpapi.CodeNotLeader && all.Leader != "" {
			return &ExitError{Code: ExitRefused, Err: errors.New("only the leader removes watchers, and that is " + all.Leader +
				": run triwatch peers remove " + shortID(p.ID) + " there")}
		}
		return err
	}
	if s.json() {
		return printJSON(s.Out, got)
	}
	s.printf("removed %s (%s)\n", clean(got.Removed), clean(p.Address))
	return nil
}

// findPeer finds a watcher by its ID, a beginning of it of four characters at
// least, its name or its address.
func findPeer(list []httpapi.Peer, want string) (httpapi.Peer, error) {
	var found []httpapi.Peer
	for _, p := range list {
		if p.ID == want || p.Address == want || (p.Name != "" && p.Name == want) || (len(want) >= 4 && strings.HasPrefix(p.ID, want)) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return httpapi.Peer{}, fail1("no watcher %s is known; see triwatch peers", want)
	case 1:
		return found[0], nil
	}
	return httpapi.Peer{}, usagef("%s names %d watchers; write more of the ID", want, len(found))
}
