package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// row is one figure with what was measured.
type row struct {
	Scenario string  `json:"scenario"`
	Value    string  `json:"value"`
	Title    string  `json:"title"`
	Unit     string  `json:"unit,omitempty"`
	Sentinel summary `json:"sentinel"`
	Triwatch summary `json:"triwatch"`
	Target   string  `json:"target,omitempty"`
	Verdict  verdict `json:"verdict"`

	unit unit
}

// report is all that a bench says, and the form of the JSON file.
type report struct {
	Machine  machine  `json:"machine"`
	Settings settings `json:"settings"`
	Warnings []string `json:"warnings,omitempty"`
	Rows     []row    `json:"figures"`
	Samples  []sample `json:"samples"`
}

// rows makes the table of what was asked for.
func rows(all []figure, samples []sample, scenarios []string) []row {
	var out []row
	for _, f := range all {
		if !contains(scenarios, f.Scenario) {
			continue
		}
		r := row{Scenario: f.Scenario, Value: f.Value, Title: f.Title, Unit: f.Unit.String(), Target: f.Wanted, unit: f.Unit,
			Sentinel: summarize(samples, f.Scenario, sentinelSide, f.Value), Triwatch: summarize(samples, f.Scenario, triwatchSide, f.Value)}
		r.Verdict = f.Target.judge(r.Sentinel, r.Triwatch)
		out = append(out, r)
	}
	return out
}

// missed reports whether any target was not reached, or could not be judged.
func (r report) missed() bool {
	for _, x := range r.Rows {
		if x.Verdict == verdictMissed || x.Verdict == verdictUnknown {
			return true
		}
	}
	return false
}

// markdown prints the table and, before it, what one has to know to read it.
func (r report) markdown(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "\nMachine: %d cores, %s, %s, Redis %s, load average at start %.2f. down-after %d ms. Median (lowest to highest).\n\n",
		m.Cores, m.OS, m.Go, m.Redis, m.Load, r.Settings.DownAfterMS)
	for _, x := range r.Warnings {
		fmt.Fprintf(&b, "**Warning: %s**\n\n", x)
	}
	b.WriteString("| figure | redis-sentinel | triwatch | target | |\n|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", x.Title, x.cell(x.Sentinel), x.cell(x.Triwatch), x.Target, x.Verdict)
	}
	first := true
	for _, s := range r.Samples {
		if s.Failed == "" {
			continue
		}
		if first {
			b.WriteString("\nFailed runs:\n")
			first = false
		}
		fmt.Fprintf(&b, "- %s, run %d, %s: %s\n", s.Scenario, s.Run, s.Side, s.Failed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell is one side of one row. Failed runs are said here, too: nobody reads a footnote first.
func (x row) cell(s summary) string {
	if s.Runs == 0 {
		return "-"
	}
	text := "not measured"
	if s.N > 0 {
		text = x.unit.print(s.Median)
		if s.N > 1 {
			text += fmt.Sprintf(" (%s to %s)", x.unit.number(s.Min), x.unit.number(s.Max))
		}
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(", **%d of %d runs failed**", s.Failed, s.Runs)
	}
	return text
}

func (u unit) print(v float64) string {
	if u.String() == "" {
		return u.number(v)
	}
	return u.number(v) + " " + u.String()
}

// number never rounds something to nothing: 0 lost must mean that none was.
func (u unit) number(v float64) string {
	switch {
	case u == count:
		return group(strconv.FormatFloat(v, 'f', -1, 64))
	case v != 0 && v < 0.1:
		return strconv.FormatFloat(v, 'g', 1, 64)
	case v < 1000:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return group(strconv.FormatFloat(v, 'f', 0, 64))
}

// group puts a space between thousands.
func group(digits string) string {
	whole, part, _ := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + " " + whole[i:]
	}
	if part != "" {
		return whole + "." + part
	}
	return whole
}

// writeJSON writes all samples and figures.
func (r report) writeJSON(name string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the figures to %s: %w", name, err)
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
