package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		unit unit
		in   float64
		want string
	}{
		{millis, 24.04, "24.0"}, {millis, 2175.4, "2 175"}, {millis, 999.96, "1000.0"}, {percent, 0, "0.0"},
		{percent, 0.0004, "0.0004"}, // one write of 250 000 must not look like none
		{count, 0, "0"}, {count, 1, "1"}, {count, 1211783, "1 211 783"}, {count, 2.5, "2.5"}, {count, 1000.5, "1 000.5"},
	} {
		if got := c.unit.number(c.in); got != c.want {
			t.Errorf("%v is printed as %q, want %q", c.in, got, c.want)
		}
	}
}

func TestEveryFigureIsAskedOnceAndEveryTargetIsTold(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range figures() {
		key := f.Scenario + " " + f.Value
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if f.Target.set != (f.Wanted != "") {
			t.Errorf("%s: the target and its words %q do not belong together", key, f.Wanted)
		}
		if strings.Contains(f.Title, "worst run") && !f.Target.worst {
			t.Errorf("%s says that it judges the worst run, and does not", key)
		}
	}
}

func TestTableTellsFailedRuns(t *testing.T) {
	samples := []sample{
		{Scenario: kill, Side: sentinelSide, Run: 1, Values: map[string]float64{vGap: 2175}},
		{Scenario: kill, Side: triwatchSide, Run: 1, Values: map[string]float64{vGap: 21}},
		{Scenario: kill, Side: sentinelSide, Run: 2, Values: map[string]float64{vGap: 2181}},
		{Scenario: kill, Side: triwatchSide, Run: 2, Values: map[string]float64{vGap: 18_000}, Failed: "wait for another master: the master is still the old one"},
	}
	rep := report{Machine: machine{Cores: 2, OS: "linux/amd64", Go: "go1.26", Redis: "7.0.15", Load: 0.5}, Settings: settings{DownAfterMS: 1000},
		Warnings: []string{"interrupted"}, Samples: samples, Rows: rows(figures()[:1], samples, []string{kill})}
	var b bytes.Buffer
	if err := rep.markdown(&b); err != nil {
		t.Fatal(err)
	}
	want := `
Machine: 2 cores, linux/amd64, go1.26, Redis 7.0.15, load average at start 0.50. down-after 1000 ms. Median (lowest to highest).

**Warning: interrupted**

| figure | redis-sentinel | triwatch | target | |
|---|---|---|---|---|
| killed: longest time without an acknowledged write | 2 178 ms (2 175 to 2 181) | 9 010 ms (21.0 to 18 000), **1 of 2 runs failed** | <= 50 ms, aim for 25 | missed |

Failed runs:
- kill, run 2, triwatch: wait for another master: the master is still the old one
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestTableShowsOnlyWhatWasAskedFor(t *testing.T) {
	for _, r := range rows(figures(), nil, []string{stop}) {
		if r.Scenario != stop {
			t.Errorf("%s is in the table", r.Title)
		}
		if r.Verdict == verdictReached {
			t.Errorf("%s is reached without a run", r.Title)
		}
	}
}

func TestJSONHoldsVerdictsAsWords(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.json")
	samples := []sample{{Scenario: planned, Side: triwatchSide, Run: 1, Values: map[string]float64{vLost: 3}}}
	if err := (report{Samples: samples, Rows: rows(figures(), samples, []string{planned})}).writeJSON(name); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Figures []struct{ Value, Verdict string }
		Samples []sample
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Samples) != 1 || got.Figures[0].Value != vLost || got.Figures[0].Verdict != "missed" {
		t.Errorf("read back: %+v", got)
	}
}

func TestProcFiles(t *testing.T) {
	stat := "4711 (a (b) c d) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 20 0 4 0 100\n"
	if d, err := parseCPU([]byte(stat)); err != nil || d != 3*time.Second {
		t.Errorf("processor time %v, %v; want 3 s", d, err)
	}
	if f, err := statFields([]byte(stat)); err != nil || f[statNice] != "0" {
		t.Errorf("fields %v, %v", f, err)
	}
	if _, err := parseCPU([]byte("4711 (x) S 1 2")); err == nil {
		t.Error("a cut off line is taken for whole")
	}
	if mb, err := parseRSS("Name:\tx\nVmRSS:\t   58594 kB\nThreads:\t1\n"); err != nil || mb < 60 || mb > 60.001 {
		t.Errorf("memory %v, %v; want 60 MB", mb, err)
	}
	if _, err := parseRSS("Name:\tx\n"); err == nil {
		t.Error("memory is read where none is told")
	}
	if l, err := parseLoad("1.53 0.9 0.7 2/300 99\n"); err != nil || l != 1.53 {
		t.Errorf("load %v, %v", l, err)
	}
	if w := (machine{Load: 1.53}).warnings(); len(w) != 1 {
		t.Errorf("a load of 1.53 gives the warnings %q", w)
	}
	if w := (machine{Load: 1.5}).warnings(); len(w) != 0 {
		t.Errorf("a load of 1.5 gives the warnings %q", w)
	}
}

func TestCommandLine(t *testing.T) {
	for args, says := range map[string]string{
		"-only nothing":                "-only nothing",
		"-only kill,":                  "-only",
		"-side neither":                "-side neither",
		"-runs 0":                      "-runs",
		"-rate -1":                     "-rate",
		"-window 0s":                   "-window",
		"extra":                        "flags only",
		"-only kill -side sentinel -x": "-x",
	} {
		var b bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), io.Discard, &b); code != 2 || !strings.Contains(b.String(), says) {
			t.Errorf("%s: exit status %d, %q", args, code, b.String())
		}
	}
	o, err := parse(nil, io.Discard)
	if err != nil || o.runs != 7 || strings.Join(o.only, " ") != "kill stop planned leader empty told crowded answers hundred" {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	b := bench{opt: o}
	if n := len(b.contenders(kill)); n != 2 {
		t.Errorf("%d sides take part in kill", n)
	}
	if c := b.contenders(busy); len(c) != 1 || c[0].name != triwatchSide {
		t.Errorf("in busy take part: %v", c)
	}
}

func TestTriwatchIsMissing(t *testing.T) {
	var b bytes.Buffer
	if code := run(t.Context(), []string{"-triwatch", "./no-such-program"}, io.Discard, &b); code != 1 || !strings.Contains(b.String(), "no-such-program") {
		t.Errorf("exit status %d, %q", code, b.String())
	}
}
