package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// readTimeout is the default of --timeout for commands that only ask.
const readTimeout = 10 * time.Second

// NewStatus returns triwatch status [NAME].
func NewStatus(opt Options) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show all masters, or one with its instances",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return s.statusAll(cmd.Context())
			}
			return s.statusOne(cmd.Context(), args[0])
		},
	}
	s.bind(cmd, readTimeout)
	return cmd
}

func (s *session) statusOne(ctx context.Context, name string) error {
	var got httpapi.OneMaster
	if err := s.get(ctx, &got, "masters", name); err != nil {
		return err
	}
	if s.json() {
		return s.jsonStanding(got, got.Standing)
	}
	s.preface(got.Standing)
	s.printMaster(got.Master, got.Standing)
	s.byHand(got.Standing, []httpapi.Master{got.Master})
	return quorumError(got.Standing)
}

func (s *session) statusAll(ctx context.Context) error {
	var got httpapi.Masters
	if err := s.get(ctx, &got, "masters"); err != nil {
		return err
	}
	if s.json() {
		return s.jsonStanding(got, got.Standing)
	}
	s.preface(got.Standing)
	if len(got.Masters) == 0 {
		s.printf("no master is watched; a line \"sentinel monitor NAME HOST PORT QUORUM\" in the watcher's file adds one, " +
			"or on Kubernetes the annotation triwatch.io/watch on a StatefulSet\n")
		return quorumError(got.Standing)
	}
	rows := [][]string{{"MASTER", "STATE", "EPOCH", "ADDRESS", "REPLICAS", "WATCHERS", "NOTE"}}
	for _, m := range got.Masters {
		up, all := 0, 0
		for _, i := range m.Instances {
			if i.Master {
				continue
			}
			all++
			if i.Health == "up" {
				up++
			}
		}
		rows = append(rows, []string{m.Name, m.State, m.Epoch, m.Current.Address, fraction(up, all), fraction(m.WatchersAgree, m.Watchers), m.Note})
	}
	table(s.Out, "", rows)
	s.byHand(got.Standing, got.Masters)
	return quorumError(got.Standing)
}

func fraction(n, of int) string { return strconv.Itoa(n) + "/" + strconv.Itoa(of) }

// jsonStanding prints an answer as JSON; having no quorum shows in the exit code
// and on the error output.
func (s *session) jsonStanding(v any, st httpapi.Standing) error {
	if err := printJSON(s.Out, v); err != nil {
		return err
	}
	if st.HasQuorum {
		return nil
	}
	return &ExitError{Code: ExitNoQuorum, Err: errors.New(noQuorum(st))}
}

// preface says first what the reader has to know before the table.
func (s *session) preface(st httpapi.Standing) {
	switch {
	case !st.HasQuorum:
		s.printf("%s. triwatch changes nothing now; what follows is what this watcher alone sees.\n\n", clean(noQuorum(st)))
	case st.Stale:
		s.printf("STALE: %s.\n\n", clean(st.StaleReason))
	}
	for _, text := range st.Outdated {
		s.printf("NOTE: %s.\n\n", clean(text))
	}
}

func noQuorum(st httpapi.Standing) string {
	return "NO QUORUM: " + strings.TrimPrefix(st.StaleReason, "no quorum: ")
}

// quorumError makes the exit code 3 of an answer whose first line has said so.
func quorumError(st httpapi.Standing) error {
	if st.HasQuorum {
		return nil
	}
	return &ExitError{Code: ExitNoQuorum, Err: errors.New(noQuorum(st)), Said: true}
}

func (s *session) printMaster(m httpapi.Master, st httpapi.Standing) {
	line := fmt.Sprintf("%s  %s  epoch %s  master %s", m.Name, m.State, m.Epoch, full(m.Current))
	if !m.Since.IsZero() {
		line += "  since " + when(m.Since)
		if m.How != "" {
			line += " (" + m.How + ")"
		}
	}
	s.printf("%s\n", clean(line))
	leader := st.Leader
	if leader == "" {
		leader = "not known"
	}
	s.printf("  watchers  %d of %d agree, leader %s, quorum %d        acting: %s\n", m.WatchersAgree, m.Watchers, clean(leader), m.Quorum, acting(m, st))
	for _, svc := range m.Services {
		s.printf("  service   %s\n", clean(serviceLine(svc)))
	}
	if m.Fence != "" {
		s.printf("  fence     %s\n", clean(m.Fence))
	}
	for _, u := range m.Unfenced {
		s.printf("  unfenced  %s, replaced in epoch %s, may still take writes: it is fenced before anything else when it is seen again\n", clean(full(u.Ref)), u.Epoch)
	}
	switch p := m.Plan; {
	case p == nil && m.Note != "":
		s.printf("  note      %s\n", clean(m.Note))
	case p != nil:
		s.printf("  plan      epoch %s: %s %s -> %s, %s\n", p.Epoch, p.Kind, clean(p.From.Name), clean(p.To.Name), p.Phase)
	}
	rows := [][]string{{"INSTANCE", "ROLE", "LINK", "LAG", "OFFSET", "PRIO", "SEEN BY", "IF THE MASTER DIED NOW"}}
	for _, i := range m.Instances {
		rows = append(rows, instanceRow(i, m.Watchers))
	}
	table(s.Out, "  ", rows)
}

func serviceLine(svc httpapi.Service) string {
	line := fmt.Sprintf("%s: epoch %s, follows %s", svc.Name, svc.Epoch, dash(svc.Follows))
	if svc.Pending != "" {
		line += " (" + svc.Pending + ")"
	}
	return line
}

func acting(m httpapi.Master, st httpapi.Standing) string {
	switch {
	case m.Acting:
		return "yes"
	case m.State == "released":
		return "no (released)"
	case m.Settings.Mode != "act":
		return "no (mode " + m.Settings.Mode + ")"
	case !st.HasQuorum:
		return "no (no quorum)"
	case st.NeedsLevel > 0:
		return "not known (this watcher needs level " + level(st.NeedsLevel) + ")"
	}
	return "not known (the leader did not answer)"
}

func instanceRow(i httpapi.Instance, watchers int) []string {
	link, lag, offset := i.Link, "-", "-"
	if i.Down {
		link = "down"
	}
	if i.LagBytes != nil && !i.Master && !i.Down {
		lag = size(*i.LagBytes)
	}
	if i.Offset != nil {
		offset = strconv.FormatInt(*i.Offset, 10)
	}
	return []string{i.Name, i.Role, dash(link), lag, offset, strconv.Itoa(i.Priority), fraction(i.SeenBy, watchers), dash(i.Choice)}
}
