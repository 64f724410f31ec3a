package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func of(scenario, side string, busy bool, failed string, name string, all ...float64) (out []sample) {
	for i, v := range all {
		out = append(out, sample{Scenario: scenario, Side: side, Busy: busy, Run: i + 1, Values: values{name: v}, Failed: failed})
	}
	return out
}

func rowOf(t *testing.T, samples []sample, value string) row {
	t.Helper()
	for _, r := range rows(samples, []string{deleted}) {
		if r.Value == value {
			return r
		}
	}
	t.Fatalf("no row for %s", value)
	return row{}
}

func TestTheMedianIsJudgedAndColumnsAreNotMixed(t *testing.T) {
	samples := of(deleted, triwatchSide, false, "", vGap, 100, 900, 200)
	samples = append(samples, of(deleted, triwatchSide, true, "", vGap, 5000)...)
	samples = append(samples, of(deleted, withoutSide, false, "", vGap, 2000, 4000)...)
	r := rowOf(t, samples, vGap)
	if r.Verdict != verdictReached || r.Triwatch.Median != 200 || r.Triwatch.Min != 100 || r.Triwatch.Max != 900 {
		t.Errorf("got %+v", r)
	}
	if r.Busy.Median != 5000 || r.Without.Median != 3000 || r.BusyWithout.Runs != 0 {
		t.Errorf("columns are mixed: %+v", r)
	}
	if got := r.cell(r.Triwatch); got != "200.0 ms (100.0 to 900.0)" {
		t.Errorf("the cell is %q", got)
	}
	samples[0].Values[vGap] = 301
	if r := rowOf(t, samples, vGap); r.Verdict != verdictMissed {
		t.Errorf("a median of %v is %v", r.Triwatch.Median, r.Verdict)
	}
}

func TestOneRunWithALossIsAMiss(t *testing.T) {
	r := rowOf(t, of(deleted, triwatchSide, false, "", vLost, 0, 0, 1), vLost)
	if r.Verdict != verdictMissed {
		t.Errorf("the verdict is %v", r.Verdict)
	}
	if got := r.cell(r.Triwatch); got != "1 (0 to 1)" {
		t.Errorf("the cell is %q", got)
	}
	if r := rowOf(t, of(deleted, triwatchSide, false, "", vLost, 0, 0), vLost); r.Verdict != verdictReached {
		t.Errorf("without a loss the verdict is %v", r.Verdict)
	}
}

func TestAFailedRunIsAMissAndIsSaid(t *testing.T) {
	samples := append(of(deleted, triwatchSide, false, "", vGap, 100), of(deleted, triwatchSide, false, "nobody came", vGap, 100)...)
	rep := report{Samples: samples, Rows: rows(samples, []string{deleted})}
	if r := rowOf(t, samples, vGap); r.Verdict != verdictMissed {
		t.Errorf("the verdict is %v", r.Verdict)
	}
	var text strings.Builder
	if err := rep.markdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"**1 of 2 runs failed**", "Failed: delete 1, triwatch: nobody came"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if !rep.failed() {
		t.Error("the report does not count as failed")
	}
}

func TestEveryLineOfTheTableIsAsWide(t *testing.T) {
	samples := of(deleted, triwatchSide, false, "", vGap, 100, 12345)
	var text strings.Builder
	if err := (report{Rows: rows(samples, scenarios())}).markdown(&text); err != nil {
		t.Fatal(err)
	}
	width, lines := 0, 0
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		lines++
		if width == 0 {
			width = len(line)
		}
		if len(line) != width {
			t.Errorf("%d wide, not %d: %s", len(line), width, line)
		}
	}
	if want := len(figures()) + 2; lines != want {
		t.Errorf("%d lines, not %d", lines, want)
	}
}

func TestEveryScenarioCanBeRunAndHasFigures(t *testing.T) {
	has := map[string]bool{}
	for _, f := range figures() {
		has[f.Scenario] = true
	}
	for _, name := range scenarios() {
		if !has[name] || (&watched{}).scenarios()[name] == nil {
			t.Errorf("%s: figures %t", name, has[name])
		}
	}
	if len(has) != len(scenarios()) {
		t.Errorf("figures of %v", has)
	}
}

func TestTheFlipIsReadFromTheRecordOfItsEpoch(t *testing.T) {
	const text = `{"records":[
		{"epochNumber":3,"notes":[{"ms":1,"what":"committed"},{"ms":5.5,"what":"promoted"},{"ms":40,"what":"service"},{"ms":99,"what":"service"}]},
		{"epochNumber":2,"notes":[{"ms":7,"what":"promoted"}]}]}`
	if took, ok, err := between([]byte(text), 3); took != 34500*time.Microsecond || !ok || err != nil {
		t.Errorf("got %v, %t, %v", took, ok, err)
	}
	for _, epoch := range []uint64{1, 2} {
		if took, ok, err := between([]byte(text), epoch); ok || err != nil {
			t.Errorf("epoch %d: got %v, %t, %v", epoch, took, ok, err)
		}
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-only", "flip,flop"}, {"-runs", "0"}, {"-triwatch", "/nonexistent/triwatch"}, {"-triwatch", "/bin/sh", "more"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	o, err := parse([]string{"-triwatch", "/bin/sh", "-only", "cut,kill", "-runs", "2"}, io.Discard)
	if err != nil || o.runs != 2 || len(o.only) != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
}
