package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/test/redisproc"
	"github.com/triwatch/triwatch/test/trio"
)

var runs = flag.Int("restarts.runs", 2, "restarts per variant and delay")

// triwatch is the program of this run, "" without redis-server; TestMain sets it.
var triwatch string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	flag.Parse()
	if _, err := redisproc.LookupBinary("redis-server"); err != nil || testing.Short() {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "triwatch-restarts-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is in the system's temporary directory
	triwatch = filepath.Join(dir, "triwatch")
	if out, err := exec.Command("go", "build", "-o", triwatch, "github.com/triwatch/triwatch/cmd/triwatch").CombinedOutput(); err != nil {
		fmt.Printf("build triwatch: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func needProcesses(t *testing.T) {
	t.Helper()
	if triwatch == "" {
		t.Skip("needs redis-server, and not -short")
	}
}

// TestMastersThatComeBackEmptyWipeNobody makes a few restarts of the variants without persistence. Of groups whose instances are
// born replicas nothing may be lost; of the others the number is told, because an empty master that is back within the tick in
// which its replicas reconnect wins, whoever watches.
func TestMastersThatComeBackEmptyWipeNobody(t *testing.T) {
	needProcesses(t)
	o := options{triwatch: triwatch, runs: *runs, groups: 1, atOnce: 6}
	for _, born := range []bool{true, false} {
		for _, byName := range []bool{false, true} {
			o.kinds = append(o.kinds, Variant{Born: born, ByName: byName, Persist: PersistNothing})
		}
	}
	began := time.Now()
	results, err := o.run(t.Context(), t.TempDir(), t.Output())
	var table bytes.Buffer
	if err := markdown(&table, results); err != nil {
		t.Error(err)
	}
	t.Logf("%d restarts in %s:\n%s", len(results), time.Since(began).Round(time.Millisecond), table.String())
	if err != nil {
		t.Fatal(err)
	}
	if want := *runs * len(delays()) * len(o.kinds); len(results) != want {
		t.Errorf("%d restarts were made, not %d", len(results), want)
	}
	if err := verdict(results); err != nil {
		t.Error(err)
	}
}

func TestCheckSaysHowAMasterWasSeenToBoot(t *testing.T) {
	needProcesses(t)
	l, err := newLab(t.Context(), t.TempDir(), triwatch, []Variant{{Born: true, Persist: PersistNothing}, {Persist: PersistNothing}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.stop()
	for _, g := range l.groups {
		want := ": it has no persistence (save is empty, appendonly is no) and was seen to boot as a master"
		if g.kind.Born {
			want = ": nothing"
		}
		// Only the leader that saw it knows: where the leadership moves meanwhile, it takes another start.
		err := trio.Wait(t.Context(), 3*settleLimit, func() error {
			before, err := g.settled(t.Context())
			if err != nil {
				return err
			}
			if r := g.restart(t.Context(), 200*time.Millisecond); r.Failed != "" {
				return errors.New(r.Failed)
			}
			said, err := g.warning(t.Context(), before.Addr())
			if err == nil && !strings.HasPrefix(said, before.Addr()+want) {
				err = fmt.Errorf("check says %q, not %q", said, want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", g.kind, err)
		}
	}
}

// warning is what triwatch check says of one instance.
func (g *group) warning(ctx context.Context, addr string) (string, error) {
	var r httpapi.CheckReport
	if status, err := g.lab.trio.Watchers[1].Get(ctx, "/v1/masters/"+g.name+"/check", &r); err != nil || status != 200 {
		return "", fmt.Errorf("ask for a check: %d %w", status, err)
	}
	for _, i := range r.Instances {
		if i.Address == addr && len(i.Warnings) > 0 {
			return addr + ": " + strings.Join(i.Warnings, "; "), nil
		}
	}
	return addr + ": nothing", nil
}

func TestOneLostKeyOfABornReplicaIsAFailure(t *testing.T) {
	born := Variant{Born: true, Persist: PersistNothing}
	boots := Variant{Persist: PersistNothing}
	for _, c := range []struct {
		name string
		r    Result
		bad  bool
	}{
		{"all kept", Result{Variant: born, Kept: keyCount}, false},
		{"one lost", Result{Variant: born, Kept: keyCount - 1}, true},
		{"one lost by a master that boots as one", Result{Variant: boots, Kept: keyCount - 1}, false},
		{"not settled", Result{Variant: boots, Kept: -1, Failed: "not settled"}, true},
	} {
		if err := verdict([]Result{{Variant: born, Kept: keyCount}, c.r}); (err != nil) != c.bad {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestVariantsAreNamedByTheirBeginnings(t *testing.T) {
	for names, want := range map[string]int{"all": 16, "born": 8, "master/name": 4, "born/ip/none": 1, "born,master/ip/none": 9} {
		if got, err := parseVariants(names); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", names, got, err)
		}
	}
	for _, names := range []string{"", "bor", "born,born", "born/ip/none/x"} {
		if got, err := parseVariants(names); err == nil {
			t.Errorf("%q names %v", names, got)
		}
	}
}

func TestTheTableCountsWhatWasLostAndSaysWhy(t *testing.T) {
	v := Variant{Persist: PersistNothing}
	results := []Result{
		{Variant: v, DelayMS: 10, Kept: keyCount, How: HowFailover, Why: "crash", SettledMS: 5},
		{Variant: v, DelayMS: 0, Kept: 0, How: HowAgain, Why: "accepted", SettledMS: 7},
		{Variant: v, DelayMS: 0, Kept: keyCount, How: HowBackWithLess, Why: "back with less: it has less", SettledMS: 8},
		{Variant: v, DelayMS: 0, Kept: keyCount, How: HowBackWithLess, Why: "back with less: it has less", SettledMS: 9},
		{Variant: v, DelayMS: 0, Kept: -1, Failed: "not settled"},
	}
	var b bytes.Buffer
	if err := markdown(&b, results); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| master/ip/none | 0 ms | 3 and 1 failed | 1 | 0 | 0 | 2 | 1 | 8 ms | back with less: it has less (2 of 3) |\n| master/ip/none | 10 ms | 1 | 0 | 1000 |",
		"- master/ip/none, 0 ms: 1 of 3 lost keys after: master again: accepted",
		"- master/ip/none, 0 ms: FAILED: not settled",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestRunsAreSharedAmongGroups(t *testing.T) {
	for _, groups := range []int{1, 3, 4, 7} {
		sum := 0
		for n := range groups {
			sum += share(200, groups, n)
		}
		if sum != 200 {
			t.Errorf("%d groups make %d restarts", groups, sum)
		}
	}
}
