package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// NewHistory returns triwatch history NAME [EPOCH].
func NewHistory(opt Options) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   "history NAME [EPOCH]",
		Short: "Show what happened to a master, or one epoch's timeline",
		Args:  usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			epoch := ""
			if len(args) == 2 {
				if _, err := httpapi.ParseEpoch(args[1]); err != nil {
					return UsageError(err)
				}
				epoch = args[1]
			}
			return s.history(cmd.Context(), args[0], epoch)
		},
	}
	s.bind(cmd, readTimeout)
	return cmd
}

func (s *session) history(ctx context.Context, name, epoch string) error {
	var got httpapi.History
	if err := s.get(ctx, &got, "masters", name, "history"); err != nil {
		return err
	}
	if epoch != "" {
		got.Records = only(got.Records, epoch)
	}
	if s.json() {
		return s.jsonStanding(got, got.Standing)
	}
	s.preface(got.Standing)
	switch {
	case epoch != "" && len(got.Records) == 0:
		return fail1("%s has no record of epoch %s; see triwatch history %s", name, epoch, name)
	case epoch != "":
		for _, r := range got.Records {
			s.timeline(r)
		}
	case len(got.Records) == 0:
		s.printf("nothing has happened to %s yet\n", clean(name))
	default:
		s.historyTable(got.Records)
	}
	return quorumError(got.Standing)
}

func only(list []httpapi.Record, epoch string) []httpapi.Record {
	want, err := httpapi.ParseEpoch(epoch)
	out := []httpapi.Record{}
	for _, r := range list {
		if err == nil && r.Epoch != "" && r.EpochNumber == uint64(want) {
			out = append(out, r)
		}
	}
	return out
}

func (s *session) historyTable(list []httpapi.Record) {
	rows := [][]string{{"WHEN", "EPOCH", "KIND", "FROM -> TO", "WHY", "TOOK", "CLIENTS WAITED", "LOST (EST)"}}
	for _, r := range list {
		why, lost := r.Why, lost(r)
		if r.Kind == "aborted" {
			why, lost = aborted(r)
		}
		rows = append(rows, []string{when(r.When), dash(r.Epoch), r.Kind, fromTo(r), why, spanOrDash(r.TookMS), spanOrDash(r.WaitedMS), lost})
	}
	table(s.Out, "", rows)
}

// fromTo names both ends of a move, and the one instance of anything else.
func fromTo(r httpapi.Record) string {
	switch {
	case r.From == nil && r.To == nil:
		return "-"
	case r.To == nil || (r.From != nil && r.From.ID == r.To.ID):
		return r.From.Name
	case r.From == nil:
		return r.To.Name
	}
	return r.From.Name + " -> " + r.To.Name
}

// lost tells what a plan has cost in data; of anything else, what came of it.
func lost(r httpapi.Record) string {
	switch r.Kind {
	case "handover":
		return "0"
	case "failover":
		text := "unknown"
		if r.LostBytes != nil {
			text = "at most " + size(*r.LostBytes)
		}
		return text + ", fenced=" + yesNo(r.Fenced)
	}
	return dash(r.Result)
}

// aborted tells why a plan was given up, and that nothing was lost if it was undone.
func aborted(r httpapi.Record) (why, lost string) {
	if why, ok := strings.CutSuffix(r.Result, "; undone"); ok {
		return why, "0, undone"
	}
	return r.Result, "0, nobody promoted"
}

// timeline prints all that is known of one epoch.
func (s *session) timeline(r httpapi.Record) {
	head := r.Epoch + " " + r.Kind + " " + fromTo(r)
	if r.Leader != "" {
		head += "  leader " + r.Leader
	}
	if r.Term != 0 {
		head += " term " + uitoa(r.Term)
	}
	s.printf("%s\n", clean(head))
	facts := []string{when(r.When)}
	if r.TookMS > 0 {
		facts = append(facts, "took "+span(r.TookMS))
	}
	if r.WaitedMS > 0 {
		facts = append(facts, "clients waited "+span(r.WaitedMS))
	}
	switch r.Kind {
	case "failover", "handover":
		facts = append(facts, "lost "+lost(r))
	case "aborted":
		_, lost := aborted(r)
		facts = append(facts, "lost "+lost)
	}
	s.printf("   %s\n", clean(strings.Join(facts, "  ")))
	var rows [][]string
	chosen, ended := false, r.Kind != "aborted"
	for _, n := range r.Notes {
		chosen, ended = chosen || n.What == "chosen", ended || n.What == "aborted"
		rows = append(rows, []string{"+" + span(n.MS), n.What, n.Text})
	}
	if len(rows) == 0 && r.Why != "" {
		rows = append(rows, []string{"", "why", r.Why})
	}
	if !chosen { // the note of the choice names them
		for _, l := range r.LeftOut {
			rows = append(rows, []string{"", "left out", l.Name + ": " + l.Why})
		}
	}
	if !ended {
		rows = append(rows, []string{"", "aborted", r.Result})
	}
	table(s.Out, "   ", rows, 0)
}
