package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	mutate      = flag.Bool("sim.mutate", false, "break each guard of package sentinel in turn; a suite must notice (many minutes)")
	mutateSeeds = flag.Uint64("sim.mutate.seeds", 20000, "schedules of each kind that are played against a broken guard")
)

// TestGuardsAreNeeded builds the suites against package sentinel with one guard
// broken, without touching the tree (go test -overlay), and expects a failure: of
// the schedules, or of the tests of package sentinel itself, which have pods, persons and
// settings that the schedules do not have. At its end it prints who noticed what.
func TestGuardsAreNeeded(t *testing.T) {
	if !*mutate {
		t.Skip("only with -sim.mutate: it builds and runs two suites once for each guard")
	}
	var mu sync.Mutex
	table := map[string]string{}
	t.Cleanup(func() {
		var lines []string
		for guard, by := range table {
			lines = append(lines, fmt.Sprintf("%s | %s", guard, by))
		}
		slices.Sort(lines)
		t.Logf("invariant | guard | noticed by\n%s", strings.Join(lines, "\n"))
	})
	// A schedule that fails with every guard in place would be taken for having noticed.
	whole := mutant{guard: "none", file: mutants[0].file}
	if by := whole.noticed(t, []suite{core, schedules(*mutateSeeds)}); by != "" {
		t.Fatalf("with all guards in place: %s", by)
	}
	run := func(m mutant, suites ...suite) {
		t.Run(strings.ReplaceAll(m.guard, " ", "_"), func(t *testing.T) {
			t.Parallel()
			by := m.noticed(t, suites)
			mu.Lock()
			table[fmt.Sprintf("%2d | %s", m.of, m.guard)] = by
			mu.Unlock()
			if by == "" {
				t.Errorf("nobody noticed %s: %q in the place of %q", m.file, m.with, m.old)
			}
		})
	}
	for _, m := range mutants {
		run(m, schedules(1000), core, schedules(*mutateSeeds))
	}
	for _, m := range podMutants {
		run(m, core)
	}
}

// TestEveryInvariantHasAMutation counts them, and finds guards that were rewritten.
func TestEveryInvariantHasAMutation(t *testing.T) {
	seen, names := [11]int{}, map[string]bool{}
	for _, m := range slices.Concat(mutants, podMutants) {
		seen[m.of]++
		if names[m.guard] {
			t.Errorf("two are called %q", m.guard)
		}
		names[m.guard] = true
		text, err := os.ReadFile(filepath.Join("../../sentinel", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %q stands %d times in %s, not once: the list needs another look", m.guard, m.old, n, m.file)
		}
	}
	for of, n := range seen {
		if n == 0 {
			t.Errorf("no mutation breaks invariant %d", of)
		}
	}
}

// suite is a command that fails if it notices.
type suite struct {
	name string
	args []string
	said *regexp.Regexp // what it noticed
}

// schedules plays n of each kind, and those that are kept.
func schedules(n uint64) suite {
	return suite{"schedules",
		[]string{".", "-run", "^(TestSchedules|TestChaosSchedules|TestOnceFailedSchedules|TestKeptChaosSchedules)$", "-failfast",
			fmt.Sprint("-sim.seeds=", n), "-sim.tail=0", "-sim.stop"},
		regexp.MustCompile(`_test\.go:\d+: (.*\d+.*: .*)`)}
}

var core = suite{"core", []string{"../../sentinel", "-failfast"}, regexp.MustCompile(`--- FAIL: (\S+)`)}

// noticed runs suites until one notices, and says which and how, "" if none did.
func (m mutant) noticed(t *testing.T, suites []suite) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../sentinel", m.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	write(t, broken, []byte(strings.Replace(string(text), m.old, m.with, 1)))
	js, err := json.Marshal(map[string]map[string]string{"Replace": {path: broken}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, overlay, js)
	for _, s := range suites {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-vet=off", "-overlay=" + overlay}, s.args...)...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		if strings.Contains(string(out), "[build failed]") {
			t.Fatalf("the mutant does not build:\n%s", out)
		}
		said := s.said.FindAllStringSubmatch(string(out), -1)
		if len(said) == 0 {
			t.Fatalf("%s failed without a reason: %v\n%s", s.name, err, out)
		}
		what := said[0][1] // the first one, or of subtests the innermost
		if s.name == core.name {
			what = said[len(said)-1][1]
		}
		t.Logf("noticed by %s: %s", s.name, what)
		return s.name + ": " + what
	}
	return ""
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
