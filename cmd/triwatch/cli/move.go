package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// moveTimeout is the default of --timeout for a handover or failover, above what
// the watcher itself waits.
const moveTimeout = 75 * time.Second

// NewHandover returns triwatch handover NAME.
func NewHandover(opt Options) *cobra.Command {
	s := &session{Options: opt}
	var to string
	cmd := &cobra.Command{
		Use:   "handover NAME",
		Short: "Move a living master; loses no acknowledged write, aborts instead",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.move(cmd.Context(), "handover", args[0], to)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the replica to move to, by name, address or ID (the best one)")
	s.bind(cmd, moveTimeout)
	return cmd
}

// NewFailover returns triwatch failover NAME.
func NewFailover(opt Options) *cobra.Command {
	s := &session{Options: opt}
	var w httpapi.Wish
	var yes bool
	cmd := &cobra.Command{
		Use:   "failover NAME",
		Short: "Replace a master whether it answers or not; asks first and prints what would be lost",
		Long: `Replace a master whether it answers or not. What would be lost is printed, and it asks first. A master
that lives is handed over.

With --force and --to, that instance is made master whatever the others have, and their data is replaced
by its own; what everybody has is printed first.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && !opt.Terminal {
				return usagef("failover asks before it acts, and there is no terminal to ask on: repeat it with --yes")
			}
			if w.Force && w.To == "" {
				return usagef("failover --force replaces data: say with --to whose data is meant to stay")
			}
			question := "Fail over " + args[0] + " now?"
			show := s.estimate
			if w.Force {
				show, question = s.sizes, "Replace the data of every other instance of "+args[0]+" by "+w.To+"'s?"
			}
			if err := show(cmd.Context(), args[0], w.To); err != nil {
				return err
			}
			if !yes {
				if err := s.ask(question); err != nil {
					return err
				}
			}
			return s.wish(cmd.Context(), "failover", args[0], w)
		},
	}
	cmd.Flags().StringVar(&w.To, "to", "", "the replica to promote, by name, address or ID (the best one)")
	cmd.Flags().BoolVar(&w.Force, "force", false, "the data of others may be replaced (with --to)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	s.bind(cmd, moveTimeout)
	return cmd
}

// NewAdopt returns triwatch adopt NAME.
func NewAdopt(opt Options) *cobra.Command {
	s := &session{Options: opt}
	var w httpapi.Wish
	var yes bool
	cmd := &cobra.Command{
		Use:   "adopt NAME",
		Short: "Say who is master, where triwatch leaves that to a person",
		Long: `Say who is master, where triwatch leaves that to a person: a master that somebody else moved, two data
sets, nobody left of the known lineage. Nothing is fenced or waited for first: where the present
master lives and a replica is good, use handover.

Without --force it is refused if an instance would have to be emptied that has more or another data
set; the refusal names what everybody has.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.Force && !yes {
				if !opt.Terminal {
					return usagef("adopt --force asks before it acts, and there is no terminal to ask on: repeat it with --yes")
				}
				if err := s.ask("Replace the data of every other instance of " + args[0] + "?"); err != nil {
					return err
				}
			}
			return s.wish(cmd.Context(), "adopt", args[0], w)
		},
	}
	cmd.Flags().StringVar(&w.To, "to", "", "the master, by name, address or ID (the only one that says it is)")
	cmd.Flags().BoolVar(&w.Force, "force", false, "the data of others may be replaced")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	s.bind(cmd, readTimeout)
	return cmd
}

// NewVacate returns triwatch vacate NAME INSTANCE.
func NewVacate(opt Options) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   "vacate NAME INSTANCE",
		Short: "Hand over if the instance (name, address or ID) is the master, before it is taken away",
		Args:  usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.move(cmd.Context(), "vacate", args[0], args[1])
		},
	}
	s.bind(cmd, moveTimeout)
	return cmd
}

// NewRelease returns triwatch release NAME.
func NewRelease(opt Options) *cobra.Command {
	return newPlain(opt, "release", "Give a master back: it is watched on, and nothing is written to it until resume")
}

// NewResume returns triwatch resume NAME.
func NewResume(opt Options) *cobra.Command {
	return newPlain(opt, "resume", "Look after a released or paused master again")
}

// NewPause returns triwatch pause NAME.
func NewPause(opt Options) *cobra.Command {
	s := &session{Options: opt}
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "pause NAME",
		Short: "Do nothing unasked with a master: no failover, no repair; what a person asks for is done",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if span < 0 {
				return usagef("--for is %v, must not be negative", span)
			}
			return s.wish(cmd.Context(), "pause", args[0], httpapi.Wish{ForMS: span.Milliseconds()})
		},
	}
	cmd.Flags().DurationVar(&span, "for", 0, "how long, such as 2h (until resume)")
	s.bind(cmd, readTimeout)
	return cmd
}

// newPlain returns a command that asks the watchers for one thing about one master.
func newPlain(opt Options, what, short string) *cobra.Command {
	s := &session{Options: opt}
	cmd := &cobra.Command{
		Use:   what + " NAME",
		Short: short,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.move(cmd.Context(), what, args[0], "")
		},
	}
	s.bind(cmd, readTimeout)
	return cmd
}

// ask wants a yes from the person at the terminal. No answer is a no.
func (s *session) ask(question string) error {
	_, _ = fmt.Fprintf(s.Err, "%s Type yes to go on: ", clean(question))
	line, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil {
		_, _ = fmt.Fprintln(s.Err)
	}
	if strings.ToLower(strings.TrimSpace(line)) != "yes" {
		return fail1("nothing was done")
	}
	return nil
}

// estimate prints who would become master and what that would cost. It goes to the
// error output, beside the question.
func (s *session) estimate(ctx context.Context, name, to string) error {
	var got httpapi.OneMaster
	if err := s.get(ctx, &got, "masters", name); err != nil {
		return err
	}
	if !got.HasQuorum {
		return s.moveWithoutQuorum(got)
	}
	m := got.Master
	say := func(format string, args ...any) { _, _ = fmt.Fprintln(s.Err, clean(fmt.Sprintf(format, args...))) }
	if got.Stale {
		say("STALE: %s.", got.StaleReason)
	}
	alive := false
	if len(m.Instances) > 0 && m.Instances[0].Master {
		old := m.Instances[0]
		if alive = old.Health == "up"; alive {
			say("%s: the master %s answers, so this will be a handover: it is fenced first, and no acknowledged write is lost.", name, full(old.Ref))
		} else {
			say("%s: the master %s is %s (%s, silent for %s).", name, full(old.Ref), old.Health, old.Reply, span(float64(old.SilentMS)))
		}
	}
	c := candidate(m, to)
	switch {
	case c != nil && alive:
		say("%s: candidate %s: %s.", name, full(c.Ref), c.Choice)
	case c == nil && to != "":
		say("%s: no replica %s is known.", name, to)
	case c == nil:
		say("%s: no replica could be promoted.", name)
	case c.LagBytes == nil:
		say("%s: candidate %s: %s. What would be lost cannot be estimated.", name, full(c.Ref), c.Choice)
	default:
		say("%s: candidate %s: %s. Estimated loss: %s up to the master's last known offset, and what it wrote after that.",
			name, full(c.Ref), c.Choice, size(*c.LagBytes))
	}
	return nil
}

// sizes prints what everybody has and whose data is to stay.
func (s *session) sizes(ctx context.Context, name, to string) error {
	var got httpapi.OneMaster
	if err := s.get(ctx, &got, "masters", name); err != nil {
		return err
	}
	if !got.HasQuorum {
		return s.moveWithoutQuorum(got)
	}
	for _, i := range got.Master.Instances {
		what := "has not said what it has"
		if i.Keys != nil && i.Offset != nil {
			what = fmt.Sprintf("has %d keys at offset %d", *i.Keys, *i.Offset)
		}
		if to == i.ID || to == i.Name || to == i.Address {
			what += ", which stays"
		}
		_, _ = fmt.Fprintln(s.Err, clean(fmt.Sprintf("%s: %s %s.", name, full(i.Ref), what)))
	}
	return nil
}

func candidate(m httpapi.Master, to string) *httpapi.Instance {
	for n := range m.Instances {
		i := &m.Instances[n]
		if !i.Master && ((to == "" && i.WouldBeChosen) || (to != "" && (to == i.ID || to == i.Name || to == i.Address))) {
			return i
		}
	}
	return nil
}

// move asks for a handover or failover and waits for it.
func (s *session) move(ctx context.Context, what, name, to string) error {
	return s.wish(ctx, what, name, httpapi.Wish{To: to})
}

// wish asks for one thing about one master and waits for it.
func (s *session) wish(ctx context.Context, what, name string, w httpapi.Wish) error {
	var got httpapi.Granted
	err := s.call(ctx, http.MethodPost, w, &got, []string{"masters", name, what})
	if err != nil {
		return s.moveFailed(ctx, what, name, err)
	}
	if s.json() {
		return printJSON(s.Out, got)
	}
	s.printf("%s  epoch %s  %s\n", clean(name), got.Epoch, clean(dash(got.Detail)))
	return nil
}

func (s *session) moveFailed(ctx context.Context, what, name string, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if s.json() {
		if err := printJSON(s.Out, f.Failure); err != nil {
			return err
		}
	} else if f.Code == httpapi.CodeNoQuorum {
		var got httpapi.OneMaster
		if s.get(ctx, &got, "masters", name) == nil && !got.HasQuorum {
			return s.moveWithoutQuorum(got)
		}
	}
	text := what + " of " + name + " failed: "
	if f.status == http.StatusConflict {
		text = what + " of " + name + " refused"
		if f.Code != httpapi.CodeRefused {
			text += " (" + f.Code + ")"
		}
		text += ": "
	}
	return &ExitError{Code: codeOf(f), Err: fmt.Errorf("%s%w", text, err)}
}

// moveWithoutQuorum prints what a status prints: whoever wants to move a master now
// has to know how it stands and what can be done by hand.
func (s *session) moveWithoutQuorum(got httpapi.OneMaster) error {
	if s.json() {
		return &ExitError{Code: ExitNoQuorum, Err: errors.New(noQuorum(got.Standing))}
	}
	s.preface(got.Standing)
	s.printMaster(got.Master, got.Standing)
	s.byHand(got.Standing, []httpapi.Master{got.Master})
	return quorumError(got.Standing)
}
