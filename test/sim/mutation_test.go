package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutate = flag.Bool("sim.mutate", false, "break each guard of package sentinel in turn; the schedules must notice (minutes)")

// mutants are guards of package sentinel with what breaks them.
var mutants = []struct{ guard, file, old, with string }{
	{"an instance with data must not follow an empty one", "repair.go", "case master.Empty():", "case false:"},
	{"an empty replica is not promoted while another has data", "choose.go", "case i.Empty() && dataKnown:", "case false:"},
	{"a replica in full sync is not promoted", "choose.go", "case i.Syncing:", "case false:"},
	{"priority 0 is not promoted", "choose.go", "case i.Priority == 0:", "case false:"},
	{"a replica that advances holds a failover back", "judge.go", "if e.Advancing > 0 &&", "if false &&"},
	{"a majority has to agree", "judge.go", "return max(voters/2+1, quorum)", "return 1"},
	{"a master back with less is replaced", "decide.go", "return any && !sameData", "return any && false && !sameData"},
	{"a stream's second id counts up to its second offset", "decide.go", "min(i.Offset, i.SecondOffset-1) >= best", "i.Offset >= best"},
	{"the candidate has caught up before it is promoted", "drive.go", "if !await.ok() || await.info == nil {\n\t\treturn\n\t}", "if await.info == nil {\n\t\tawait.info = fence.info\n\t}"},
	{"nobody follows a promoted master that runs anew", "drive.go", "lost := s.lostAgain(d)", "lost := \"\""},
	{"a new run of the master is accepted before anybody follows it", "repair.go", "if o.info.RunID != \"\" && o.info.RunID != s.masterRun() {", "if false {"},
	{"fresh answers are kept apart", "peers.go", "return p.fresh, true", "return p.report, p.report.Fresh && p.report.Seq == only"},
	{"an old number of keys is not carried on", "observe.go", "o.info != nil && sameKeys(o.info, &info) {", "o.info != nil && o.info.RunID == info.RunID {"},
	{"a committed master that came back as a replica is fenced", "repair.go", "\t\ts.fenceReturned(o)\n", ""},
	{"a second master is fenced", "repair.go", "if o.info.Role == RoleMaster {\n\t\ts.emit(EventFenced", "if false {\n\t\ts.emit(EventFenced"},
	{"only the leader acts", "state.go", "if s.lead.on {\n\t\ts.askAll()", "if true {\n\t\ts.askAll()"},
	{"a veto holds a failover", "veto.go", "case q.veto:", "case false:"},
	{"epochs only grow", "state.go", "if ev.Assignment.Epoch > s.served.Epoch {", "if true {"},
}

// TestGuardsAreNeeded builds the schedules against package sentinel with one guard
// broken, without touching the tree (go test -overlay), and expects a violation.
func TestGuardsAreNeeded(t *testing.T) {
	if !*mutate {
		t.Skip("only with -sim.mutate: it builds and runs the schedules once for each guard")
	}
	root, err := filepath.Abs("../../sentinel")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.guard, " ", "_"), func(t *testing.T) {
			path := filepath.Join(root, m.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.old); n != 1 {
				t.Fatalf("%q stands %d times in %s, not once: the list needs another look", m.old, n, m.file)
			}
			dir := t.TempDir()
			broken, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
			write(t, broken, []byte(strings.Replace(string(text), m.old, m.with, 1)))
			js, err := json.Marshal(map[string]map[string]string{"Replace": {path: broken}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, overlay, js)
			cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay="+overlay, "-run", "TestSchedules$", ".", "-sim.seeds=20000", "-sim.tail=0", "-sim.stop")
			out, err := cmd.CombinedOutput()
			said := firstWith(string(out), ": seed ")
			if err == nil || said == "" {
				t.Fatalf("no schedule noticed (%v):\n%s", err, out)
			}
			t.Log(said)
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func firstWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
