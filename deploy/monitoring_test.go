package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// metricLabels are the documented metrics and their labels; what the scrape adds
// comes on top.
var metricLabels = map[string][]string{
	"triwatch_master_info": {"master", "address", "epoch"}, "triwatch_master_state": {"master", "state"},
	"triwatch_failovers_total": {"master", "kind", "result"}, "triwatch_unfenced_failovers_total": {"master"},
	"triwatch_failover_phase_seconds_bucket": {"kind", "phase", "le"}, "triwatch_lost_bytes_estimate": {"master"},
	"triwatch_held_total": {"master", "reason"}, "triwatch_instance_up": {"master", "redis"}, "triwatch_instance_lacking": {"master", "redis"}, "triwatch_replica_lag_bytes": {"master", "redis"},
	"triwatch_raft_has_quorum": {}, "triwatch_raft_is_leader": {}, "triwatch_peers": {"reachable"},
	"triwatch_level_committed": {}, "triwatch_level_known": {}, "triwatch_watcher_stuck": {}, "triwatch_watchers_outdated": {},
	"triwatch_service_epoch": {"master", "service"}, "triwatch_k8s_write_errors_total": {"verb", "resource"},
	"triwatch_fence": {"master", "state"}, "triwatch_unfenced_masters": {"master"},
	"triwatch_foreign_sentinels": {"master"}, "triwatch_last_pass_timestamp_seconds": {}, "triwatch_build_info": {"version", "revision", "goversion"},
}

// scraped are labels that come with the target.
var scraped = []string{"namespace", "pod"}

type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

var (
	series   = regexp.MustCompile(`(triwatch_[a-z0-9_]+)(\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without) \(([^)]*)\)`)
)

// checkExpr holds an expression to the documented metrics: their names, the labels that
// are matched and grouped by, and its brackets.
func checkExpr(t *testing.T, where, expr string) {
	t.Helper()
	found := series.FindAllStringSubmatch(expr, -1)
	require.NotEmpty(t, found, "%s: %s", where, expr)
	labels := slices.Clone(scraped)
	for _, s := range found {
		own, ok := metricLabels[s[1]]
		assert.True(t, ok, "%s: no such metric: %s", where, s[1])
		labels = append(labels, own...)
		for _, m := range matcher.FindAllStringSubmatch(s[3], -1) {
			assert.Contains(t, append(slices.Clone(scraped), own...), m[1], "%s: %s", where, s[0])
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(g[1], ",") {
			assert.Contains(t, labels, strings.TrimSpace(name), "%s: %s", where, g[0])
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		assert.Equal(t, strings.Count(expr, pair[:1]), strings.Count(expr, pair[1:]), "%s: %s", where, expr)
	}
	assert.Zero(t, strings.Count(expr, `"`)%2, "%s: %s", where, expr)
}

func TestAlertsAskForMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("monitoring/alerts.yaml")
	require.NoError(t, err)
	var all rules
	require.NoError(t, yaml.UnmarshalStrict(text, &all))
	names := map[string]bool{}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			assert.False(t, names[r.Alert], "%s comes twice", r.Alert)
			names[r.Alert] = true
			checkExpr(t, r.Alert, r.Expr)
			if r.For != "" {
				_, err := time.ParseDuration(r.For)
				assert.NoError(t, err, "%s", r.Alert)
			}
			assert.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], "%s", r.Alert)
			assert.NotEmpty(t, r.Annotations["summary"], "%s", r.Alert)
			assert.NotEmpty(t, r.Annotations["description"], "%s", r.Alert)
			for _, m := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(r.Annotations["summary"]+r.Annotations["description"], -1) {
				kept := grouping.FindStringSubmatch(r.Expr)
				if kept != nil { // the others keep all labels
					assert.Contains(t, kept[1], m[1], "%s: the label is aggregated away", r.Alert)
				}
			}
		}
	}
	for _, needed := range []string{"TriwatchNoQuorum", "TriwatchNoMaster", "TriwatchCannotWriteToKubernetes", "TriwatchForeignSentinels"} {
		assert.True(t, names[needed], "%s", needed)
	}
}

func TestDashboardAsksForMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("monitoring/dashboard.json")
	require.NoError(t, err)
	var d struct {
		Title, UID string
		Templating struct {
			List []struct{ Name string }
		}
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "%s: its id comes twice", p.Title)
		ids[p.ID] = true
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			checkExpr(t, p.Title, target.Expr)
			for _, v := range regexp.MustCompile(`"\$([a-z]+)"`).FindAllStringSubmatch(target.Expr, -1) {
				assert.Contains(t, variables, v[1], p.Title)
			}
		}
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				assert.Empty(t, taken[[2]int{x, y}], "%s lies on another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// What the program registers and what is documented here must not drift apart.
func TestMetricsOfTheProgramAreDocumented(t *testing.T) {
	files, err := filepath.Glob("../cmd/triwatch/httpapi/metrics/testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			s := series.FindStringSubmatch(line)
			if strings.HasPrefix(line, "#") || s == nil || strings.HasSuffix(s[1], "_sum") || strings.HasSuffix(s[1], "_count") {
				continue
			}
			seen++
			own, ok := metricLabels[s[1]]
			assert.True(t, ok, "%s", s[1])
			for _, m := range matcher.FindAllStringSubmatch(s[3], -1) {
				assert.Contains(t, own, m[1], "%s", s[1])
			}
		}
	}
	assert.Greater(t, seen, 10)
}
