package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// checkTimeout is the default of --timeout for a check, which dials every instance.
const checkTimeout = 30 * time.Second

// NewCheck returns triwatch check [NAME].
func NewCheck(opt Options) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   "check [NAME]",
		Short: "Reach every instance, look at rights and settings, and choose without acting",
		Args:  usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return s.check(cmd.Context(), args)
			}
			var all httpapi.Masters
			if err := s.get(cmd.Context(), &all, "masters"); err != nil {
				return err
			}
			var names []string
			for _, m := range all.Masters {
				names = append(names, m.Name)
			}
			return s.check(cmd.Context(), names)
		},
	}
	s.bind(cmd, checkTimeout)
	return cmd
}

func (s *session) check(ctx context.Context, names []string) error {
	reports := []httpapi.CheckReport{}
	for _, name := range names {
		var r httpapi.CheckReport
		if err := s.get(ctx, &r, "masters", name, "check"); err != nil {
			return err
		}
		reports = append(reports, r)
	}
	if s.json() {
		if err := printJSON(s.Out, reports); err != nil {
			return err
		}
		return checkError(reports)
	}
	if len(reports) == 0 {
		return fail1("no master is watched; a line \"sentinel monitor NAME HOST PORT QUORUM\" in the watcher's file adds one")
	}
	for n, r := range reports {
		if n > 0 {
			s.printf("\n")
		} else if !r.HasQuorum {
			s.preface(r.Standing)
		}
		s.printCheck(r)
	}
	return checkError(reports)
}

// checkError makes the exit code of what was printed.
func checkError(reports []httpapi.CheckReport) error {
	code := ExitOK
	for _, r := range reports {
		switch {
		case !r.HasQuorum:
			code = ExitNoQuorum
		case !r.OK() && code == ExitOK:
			code = ExitFailure
		}
	}
	if code == ExitOK {
		return nil
	}
	return &ExitError{Code: code, Err: fmt.Errorf("the check found problems"), Said: true}
}

func (s *session) printCheck(r httpapi.CheckReport) {
	s.printf("%s\n", clean(fmt.Sprintf("%s  epoch %s  master %s  quorum %d, %d of %d watchers in touch",
		r.Name, r.Epoch, full(r.Current), r.Quorum, r.Reachable, r.Watchers)))
	rows := [][]string{{"INSTANCE", "ADDRESS", "REACHED", "ROLE", "VERSION", "KEYS"}}
	problems, warnings := [][]string{}, [][]string{}
	for _, i := range r.Instances {
		keys := "-"
		if i.Keys != nil {
			keys = strconv.FormatInt(*i.Keys, 10)
		}
		rows = append(rows, []string{i.Name, i.Address, yesNo(i.Reached), i.Role, dash(i.Version), keys})
		if !i.Reached {
			problems = append(problems, []string{"problem", i.Name + ": not reached: " + i.Error})
		}
		for _, text := range i.Problems {
			problems = append(problems, []string{"problem", i.Name + ": " + text})
		}
		for _, text := range i.Warnings {
			warnings = append(warnings, []string{"warning", i.Name + ": " + text})
		}
	}
	for _, text := range r.Problems {
		problems = append(problems, []string{"problem", text})
	}
	for _, text := range r.Warnings {
		warnings = append(warnings, []string{"warning", text})
	}
	table(s.Out, "  ", rows)
	s.dryRun(r)
	table(s.Out, "  ", append(problems, warnings...))
	s.printf("%s: %s, %s\n", clean(r.Name), plural(len(problems), "problem"), plural(len(warnings), "warning"))
}

func (s *session) dryRun(r httpapi.CheckReport) {
	if r.Chosen == nil {
		s.printf("  if the master died now: nobody could be promoted\n")
	} else {
		lost := "what would be lost is not known"
		if r.Chosen.LostBytes != nil {
			lost = "at most " + size(*r.Chosen.LostBytes) + " would be lost"
		}
		s.printf("  if the master died now: %s %s, %s\n", clean(full(r.Chosen.Ref)), clean(r.Chosen.Why), lost)
	}
	var rows [][]string
	for _, l := range r.LeftOut {
		rows = append(rows, []string{l.Name, dash(l.Why)})
	}
	table(s.Out, "    ", rows)
}

func plural(n int, word string) string {
	switch n {
	case 0:
		return "no " + word + "s"
	case 1:
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

func uitoa(n uint64) string { return strconv.FormatUint(n, 10) }
