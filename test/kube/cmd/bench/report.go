package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// row is one figure with what was measured.
type row struct {
	Scenario    string  `json:"scenario"`
	Value       string  `json:"value"`
	Title       string  `json:"title"`
	Unit        string  `json:"unit,omitempty"`
	Without     summary `json:"without"`
	Triwatch    summary `json:"triwatch"`
	Target      string  `json:"target,omitempty"`
	Verdict     verdict `json:"verdict"`
	BusyWithout summary `json:"busy_without"`
	Busy        summary `json:"busy_triwatch"`

	unit  unit
	worst bool
}

// report is all that a bench says, and the form of the JSON file.
type report struct {
	Machine  machine  `json:"machine"`
	Runs     int      `json:"runs"`
	TookS    float64  `json:"took_s"`
	Warnings []string `json:"warnings,omitempty"`
	Rows     []row    `json:"figures"`
	Samples  []sample `json:"samples"`
}

// rows makes the table of what was asked for.
func rows(samples []sample, only []string) []row {
	var out []row
	for _, f := range figures() {
		if !slices.Contains(only, f.Scenario) {
			continue
		}
		of := func(side string, busy bool) summary {
			return summarize(samples, f.Scenario, f.Value, column{side, busy})
		}
		r := row{Scenario: f.Scenario, Value: f.Value, Title: f.Title, Unit: f.Unit.String(), Target: f.Wanted, unit: f.Unit, worst: f.Target.worst,
			Without: of(withoutSide, false), Triwatch: of(triwatchSide, false), BusyWithout: of(withoutSide, true), Busy: of(triwatchSide, true)}
		r.Verdict = f.Target.judge(r.Triwatch)
		out = append(out, r)
	}
	return out
}

// failed reports whether any run did not do what it should.
func (r report) failed() bool {
	return slices.ContainsFunc(r.Samples, func(s sample) bool { return s.Failed != "" })
}

// markdown prints the table, aligned, and before it what one has to know to read it.
func (r report) markdown(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "\n%d cores, Linux %s, Kubernetes %s (kube-proxy nftables, defaults), containerd %s, Redis %s, triwatch %s, %s.\n"+
		"Load average at start %.2f. down-after 1 s. Median (lowest to highest), at most %d runs each, %.0f min in all.\n"+
		"Busy: with another Service's endpoints changing every 200 ms. Without triwatch: the tutorial's StatefulSet with a Service\n"+
		"on its ordinal 0; for the flip, a Service on a label that is taken off one pod and put on another.\n\n",
		m.Cores, m.Kernel, m.Kubernetes, m.Containerd, m.Redis, m.Triwatch, m.Go, m.Load, r.Runs, r.TookS/60)
	for _, x := range r.Warnings {
		fmt.Fprintf(&b, "**Warning: %s**\n\n", x)
	}
	table := [][]string{{"figure", "without triwatch", "triwatch", "target", "", "busy: without", "busy: triwatch"}}
	for _, x := range r.Rows {
		table = append(table, []string{x.Title, x.cell(x.Without), x.cell(x.Triwatch), x.Target, x.Verdict.String(), x.cell(x.BusyWithout), x.cell(x.Busy)})
	}
	align(&b, table)
	for _, s := range r.Samples {
		if s.Failed != "" {
			fmt.Fprintf(&b, "\nFailed: %s: %s", s.name(), s.Failed)
		}
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// name is a sample's place among all.
func (s sample) name() string {
	busy := ""
	if s.Busy {
		busy = ", busy"
	}
	return fmt.Sprintf("%s %d, %s%s", s.Scenario, s.Run, s.Side, busy)
}

// align writes a table of Markdown that also reads well as plain text.
func align(b *strings.Builder, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range table {
		for i, cell := range line {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+1))
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for _, width := range widths {
			b.WriteString("|" + strings.Repeat("-", width+2))
		}
		b.WriteString("|\n")
	}
}

// cell is one column of one row. Failed runs are said here, too: nobody reads a footnote first.
func (x row) cell(s summary) string {
	if s.Runs == 0 || s.N == 0 && s.Failed == 0 {
		return "-"
	}
	text := "not measured"
	switch {
	case s.N > 1 && x.worst:
		text = fmt.Sprintf("%s (%s to %s)", x.print(s.Max), x.unit.number(s.Min), x.unit.number(s.Max))
	case s.N > 1:
		text = fmt.Sprintf("%s (%s to %s)", x.print(s.Median), x.unit.number(s.Min), x.unit.number(s.Max))
	case s.N == 1:
		text = x.print(s.Median)
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(", **%d of %d runs failed**", s.Failed, s.Runs)
	}
	return text
}

func (x row) print(v float64) string {
	return strings.TrimSpace(x.unit.number(v) + " " + x.unit.String())
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
