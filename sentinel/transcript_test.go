package sentinel_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

var update = flag.Bool("update", false, "rewrite the expected parts of testdata")

// TestTranscripts runs every file of testdata/transcripts. A line that begins with two
// spaces is what came of the line above; "=== name" begins a scenario of its own.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs (go test -update rewrites it):\n%s", file, firstDifference(string(want), got))
			}
		})
	}
}

// TestTranscriptsRepeatThemselves runs some of them twice in the same process: the core
// must not depend on the order of a map.
func TestTranscriptsRepeatThemselves(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"crash", "reasons", "candidate_lost", "old_master_back", "quorum"} {
		file := "testdata/transcripts/" + name + ".txt"
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := replay(t, string(text)), replay(t, string(text)); a != b {
			t.Errorf("%s: two runs differ:\n%s", file, firstDifference(a, b))
		}
	}
}

func replay(t *testing.T, text string) string {
	var out bytes.Buffer
	s := newScript(t)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line + "\n")
		if strings.HasPrefix(line, "===") {
			s = newScript(t)
			continue
		}
		for _, o := range s.line(line) {
			out.WriteString("  " + o + "\n")
		}
	}
	return out.String()
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n-%s\n+%s", i+1, a, b)
		}
	}
	return ""
}

func (s *script) stamp() string { return fmt.Sprintf("+%-6v", s.w.now-s.mark) }

// action prints what the leader does, and everybody's answers.
func (s *script) action(wt *watcher, a sentinel.Action) {
	if s.mute || (s.w.leader != wt && !s.all) {
		if _, ok := a.(sentinel.Answer); !ok {
			return
		}
	}
	if text := s.render(a); text != "" {
		s.say("%s %s %s", s.stamp(), wt.id, text)
	}
}

func (s *script) render(a sentinel.Action) string {
	w := s.w
	switch a := a.(type) {
	case sentinel.Propose:
		return "propose " + s.command(a.Command)
	case sentinel.Do:
		text := "do " + a.Op.String() + " " + w.name(a.Addr)
		switch a.Op {
		case sentinel.OpReplicate:
			text += " of " + w.name(a.To)
		case sentinel.OpAwait:
			text += fmt.Sprintf(" offset %d", a.Offset)
		}
		if l := a.Limits; l != nil && a.Op != sentinel.OpSetLimits {
			text += fmt.Sprintf(" with min-replicas %d", l.Write)
		} else if l != nil {
			text += " " + l.String()
			if a.GiveBack {
				text += " (given back)"
			}
		}
		return text
	case sentinel.AskHook:
		return fmt.Sprintf("ask hook: epoch %s, %s to %s, lost at most %d, within %v: %s", a.Epoch, w.name(a.From.Addr), w.name(a.To.Addr), a.Lost, a.Timeout, s.names(a.Why))
	case sentinel.Push:
		return fmt.Sprintf("push epoch %s master %s", a.Assignment.Epoch, w.name(a.Assignment.Addr))
	case sentinel.Emit:
		who := ""
		if a.Event.Instance != "" {
			who = " " + s.names(string(a.Event.Instance))
		}
		return fmt.Sprintf("emit %s%s: %s", a.Event.Name, who, s.names(a.Event.Reason))
	case sentinel.Answer:
		return strings.TrimSpace(fmt.Sprintf("answer %s %s %s", a.Result, a.Code, s.names(a.Detail)))
	}
	if !s.all {
		return ""
	}
	return s.renderQuiet(a)
}

func (s *script) renderQuiet(a sentinel.Action) string {
	w := s.w
	switch a := a.(type) {
	case sentinel.Watch:
		text := "watch"
		for _, t := range a.Targets {
			text += fmt.Sprintf(" %s (ping %v, info %v)", w.name(t.Addr), t.Ping, t.Info)
		}
		return text
	case sentinel.ProbeNow:
		return "probe " + s.names(string(a.Instance))
	case sentinel.SendAsk:
		return fmt.Sprintf("ask %d fresh=%v suspect=%v", a.Ask.Seq, a.Ask.Fresh, a.Ask.Suspect)
	case sentinel.SendReport:
		text := fmt.Sprintf("report %d fresh=%v:", a.Report.Seq, a.Report.Fresh)
		for _, i := range a.Report.Instances {
			text += fmt.Sprintf(" %s %s", w.name(i.Addr), i.Health)
			if i.Witness != sentinel.WitnessUnknown {
				text += "/" + i.Witness.String()
			}
		}
		return text
	}
	return ""
}

// names puts the script's names in the place of addresses.
func (s *script) names(text string) string {
	for _, r := range s.w.set.all {
		text = strings.ReplaceAll(text, r.addr.String(), r.name)
	}
	return text
}

func (s *script) command(c sentinel.Command) string {
	text := string(c.Type)
	switch c.Type {
	case sentinel.CmdBegin:
		p := c.Plan
		text += fmt.Sprintf(" epoch %s: %s %s to %s, lost at most %d; left out:", p.Epoch, p.Kind, s.w.name(p.Old.Addr), s.w.name(p.New.Addr), p.Lost)
		for _, l := range p.LeftOut {
			text += fmt.Sprintf(" %s (%s)", s.w.name(l.Addr), s.names(l.Why))
		}
	case sentinel.CmdAdvance:
		text += fmt.Sprintf(" epoch %s to %s", c.Epoch, c.Phase)
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
	case sentinel.CmdDone:
		text += fmt.Sprintf(" epoch %s", c.Epoch)
	case sentinel.CmdAbort:
		text += fmt.Sprintf(" epoch %s: %s", c.Epoch, s.names(c.Reason))
	case sentinel.CmdLineage:
		text += fmt.Sprintf(" %.8s run %.7s", c.Lineage.ReplID, c.Lineage.RunID)
	case sentinel.CmdNote:
		if c.Record != nil {
			text += " " + c.Record.Kind + ": " + s.names(c.Record.Why)
		}
	case sentinel.CmdFence:
		text += fmt.Sprintf(" on=%v need %d %s", c.Fence.On, c.Fence.Need, s.names(c.Fence.Why))
	case sentinel.CmdFound:
		text += " " + s.names(string(c.Instance))
		if c.Limits != nil {
			text += " " + c.Limits.String()
		} else {
			text += " given back"
		}
	case sentinel.CmdTuned:
		text += fmt.Sprintf(" %s %d to %d", s.names(string(c.Instance)), c.Was, c.Now)
	case sentinel.CmdAdopt, sentinel.CmdMembers:
		text += " " + s.w.name(c.At.Addr)
		for _, m := range c.Members {
			text += " " + s.w.name(m.Addr)
		}
	}
	return text
}

// status prints the committed truth and what every Redis is.
func (s *script) status() {
	c := s.w.committed()
	plan := "no plan"
	if c.Plan != nil {
		plan = fmt.Sprintf("plan %s: %s to %s, %s", c.Plan.Epoch, c.Plan.Kind, s.w.name(c.Plan.New.Addr), c.Plan.Phase)
	}
	s.say("epoch %s, master %s, %s", c.Master.Epoch, s.w.name(c.Master.Addr), plan)
	for _, r := range s.w.set.all {
		s.say("%s", r)
	}
	for _, wt := range s.w.ws {
		if st := wt.r.State(masterName); st != nil && st.Served().Addr != c.Master.Addr {
			s.say("%s serves %s", wt.id, s.w.name(st.Served().Addr))
		}
	}
}

func (s *script) view() {
	v := s.w.leader.r.State(masterName).View()
	s.say("%s, %d of %d watchers agree; %s", v.State, v.Agree, v.Voters, s.names(v.Note))
	for _, u := range v.Unfenced {
		s.say("%s was replaced in epoch %s without being fenced", s.w.name(u.Master.Addr), u.Epoch)
	}
	if v.Fence != "off" {
		s.say("fence: %s", s.names(v.Fence))
	}
	for _, i := range v.Instances {
		s.say("%s %s %s link %s: %s", s.w.name(i.Addr), i.Role, i.Health, i.Link, s.names(i.Choice))
	}
}

func (s *script) history() {
	for _, r := range s.w.committed().History {
		s.say("%s %s %s to %s: %s; %s; fenced=%v", r.Epoch, r.Kind, s.w.name(r.From.Addr), s.w.name(r.To.Addr), s.names(r.Why), s.names(r.Result), r.Fenced)
		for _, n := range r.Notes {
			if n.What == "old master" {
				s.say("  %s", s.names(n.Text))
			}
		}
	}
}
