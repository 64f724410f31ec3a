package metrics_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/metrics"
	"github.com/triwatch/triwatch/sentinel"
)

func newMetrics(t *testing.T, src *apitest.Source) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m, err := metrics.New(reg, src)
	require.NoError(t, err)
	return m, reg
}

// compare checks the named metrics against a file in testdata.
func compare(t *testing.T, reg *prometheus.Registry, file string, names ...string) {
	t.Helper()
	want, err := os.Open(filepath.Join("testdata", file))
	require.NoError(t, err)
	defer want.Close()
	require.NoError(t, testutil.GatherAndCompare(reg, want, names...))
}

func feed(m *metrics.Metrics) {
	for _, r := range apitest.OrdersHistory() {
		m.Record("orders", r)
	}
}

func TestMetricsPassTheLint(t *testing.T) {
	m, reg := newMetrics(t, apitest.New())
	feed(m)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestScrapeShowsWhatIsTrueNow(t *testing.T) {
	src := apitest.New()
	src.List = []sentinel.View{apitest.Orders(), apitest.Carts()}
	redis3 := slices.IndexFunc(src.List[0].Instances, func(i sentinel.InstanceView) bool { return i.Name == "redis-3" })
	src.List[0].Instances[redis3].Lacking = []string{"user triwatch may not send REPLICAOF", "replica-read-only is off"}
	_, reg := newMetrics(t, src)
	compare(t, reg, "scrape.txt", "triwatch_master_info", "triwatch_instance_up", "triwatch_instance_lacking", "triwatch_replica_lag_bytes", "triwatch_raft_has_quorum",
		"triwatch_raft_is_leader", "triwatch_peers", "triwatch_last_pass_timestamp_seconds", "triwatch_build_info", "triwatch_failovers_total",
		"triwatch_held_total", "triwatch_unfenced_failovers_total")
}

func TestOneStateIsSetAtATime(t *testing.T) {
	src := apitest.New()
	_, reg := newMetrics(t, src)
	for _, state := range []string{"ok", "degraded", "suspect", "held", "down", "failover", "handover", "unadopted", "observed", "paused", "released", "unknown"} {
		src.List = []sentinel.View{apitest.Orders()}
		src.List[0].State = state
		families, err := reg.Gather()
		require.NoError(t, err)
		set := []string{}
		for _, f := range families {
			if f.GetName() != "triwatch_master_state" {
				continue
			}
			require.Len(t, f.GetMetric(), 12)
			for _, s := range f.GetMetric() {
				if s.GetGauge().GetValue() == 1 {
					set = append(set, s.GetLabel()[1].GetValue())
				}
			}
		}
		require.Equal(t, []string{state}, set)
	}
}

func TestPlansAreCountedByKindAndResult(t *testing.T) {
	m, reg := newMetrics(t, apitest.New())
	feed(m)
	m.Begun("carts", sentinel.Plan{Epoch: 5, Kind: sentinel.KindHandover})
	m.Record("carts", sentinel.Record{Epoch: 5, Kind: "aborted"})
	m.Record("carts", sentinel.Record{Epoch: 6, Kind: "aborted"})
	m.Record("carts", sentinel.Record{Epoch: 7, Kind: "failover", Lost: 84, Fenced: true})
	compare(t, reg, "plans.txt", "triwatch_failovers_total", "triwatch_unfenced_failovers_total", "triwatch_lost_bytes_estimate")
}

func TestAnAbortedHandoverIsKnownByItsNotes(t *testing.T) {
	m, reg := newMetrics(t, apitest.New())
	m.Record("x", sentinel.Record{Epoch: 5, Kind: "aborted", Notes: []sentinel.Note{{What: "fenced"}}})
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP triwatch_failovers_total Plans that ended while this watcher led, by kind (failover, handover) and result (done, aborted).
# TYPE triwatch_failovers_total counter
triwatch_failovers_total{kind="failover",master="carts",result="aborted"} 0
triwatch_failovers_total{kind="failover",master="carts",result="done"} 0
triwatch_failovers_total{kind="failover",master="orders",result="aborted"} 0
triwatch_failovers_total{kind="failover",master="orders",result="done"} 0
triwatch_failovers_total{kind="handover",master="carts",result="aborted"} 0
triwatch_failovers_total{kind="handover",master="carts",result="done"} 0
triwatch_failovers_total{kind="handover",master="orders",result="aborted"} 0
triwatch_failovers_total{kind="handover",master="orders",result="done"} 0
triwatch_failovers_total{kind="handover",master="x",result="aborted"} 1
`), "triwatch_failovers_total"))
}

func TestPhasesAreMeasuredBetweenNotes(t *testing.T) {
	m, reg := newMetrics(t, apitest.New())
	feed(m)
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "triwatch_failover_phase_seconds" {
			continue
		}
		for _, s := range f.GetMetric() {
			got[s.GetLabel()[0].GetValue()+" "+s.GetLabel()[1].GetValue()] = s.GetHistogram().GetSampleSum()
		}
	}
	want := map[string]float64{"failover agree": .0028, "failover promote": .00422, "failover follow": .01238, "failover total": .0194,
		"handover agree": .001, "handover fence": .002, "handover catch_up": .002, "handover promote": .004, "handover follow": 1.201,
		"handover total": 1.21}
	// The aborted one of the history has no notes, so that it counts as a failover.
	want["failover total"] += .503
	require.Len(t, got, len(want))
	for name, v := range want {
		require.InDelta(t, v, got[name], 1e-9, name)
	}
}

func TestWhatWasHeldBackIsCountedByReason(t *testing.T) {
	m, reg := newMetrics(t, apitest.New())
	for _, name := range []sentinel.EventName{sentinel.EventHeld, sentinel.EventHeld, sentinel.EventNoGoodSlave, sentinel.EventWould, sentinel.EventSwitchMaster, sentinel.EventHeldEnd} {
		m.Event(sentinel.Event{Name: name, Master: "orders", Reason: "any sentence"})
	}
	m.Event(sentinel.Event{Name: sentinel.EventHeld, Master: "orders", Code: sentinel.CodeVetoed})
	compare(t, reg, "held.txt", "triwatch_held_total")
}

func TestAnUnknownLossTakesTheEstimateAway(t *testing.T) {
	m, reg := newMetrics(t, apitest.New())
	m.Record("orders", sentinel.Record{Epoch: 7, Kind: "failover", Lost: 84})
	require.Equal(t, 1, count(t, reg, "triwatch_lost_bytes_estimate"))
	m.Record("orders", sentinel.Record{Epoch: 8, Kind: "failover", Lost: -1})
	require.Equal(t, 0, count(t, reg, "triwatch_lost_bytes_estimate"))
}

func TestAForgottenMasterLeavesNoSeries(t *testing.T) {
	src := apitest.New()
	m, reg := newMetrics(t, src)
	feed(m)
	require.NotZero(t, count(t, reg, "triwatch_failovers_total"))
	src.List = nil
	_, err := reg.Gather()
	require.NoError(t, err)
	for _, name := range []string{"triwatch_failovers_total", "triwatch_held_total", "triwatch_unfenced_failovers_total", "triwatch_lost_bytes_estimate",
		"triwatch_master_info", "triwatch_master_state", "triwatch_instance_up"} {
		require.Zero(t, count(t, reg, name), name)
	}
}

func TestALoopThatDoesNotAnswerLeavesTheRest(t *testing.T) {
	src := apitest.New()
	src.ViewsErr = errors.New("no answer")
	_, reg := newMetrics(t, src)
	require.Zero(t, count(t, reg, "triwatch_master_info"))
	require.Equal(t, 1, count(t, reg, "triwatch_last_pass_timestamp_seconds"))
	require.Equal(t, 2, count(t, reg, "triwatch_peers"))
}

func TestTwoInstancesOfOneNameDoNotFailTheScrape(t *testing.T) {
	src := apitest.New()
	src.List[0].Instances[2].Name = src.List[0].Instances[1].Name
	_, reg := newMetrics(t, src)
	require.Equal(t, 6, count(t, reg, "triwatch_instance_up"))
}

func TestALonelyFollowerHasNoQuorum(t *testing.T) {
	src := apitest.New()
	src.Info = apitest.Alone()
	_, reg := newMetrics(t, src)
	compare(t, reg, "alone.txt", "triwatch_raft_has_quorum", "triwatch_raft_is_leader", "triwatch_peers")
	src.Info.LeaderID = src.Info.Me
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "triwatch_raft_is_leader" {
			require.Equal(t, 1.0, f.GetMetric()[0].GetGauge().GetValue())
		}
	}
}

func TestMetricsAreNotRegisteredTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	_, err := metrics.New(reg, apitest.New())
	require.NoError(t, err)
	_, err = metrics.New(reg, apitest.New())
	require.ErrorContains(t, err, "register metrics")
}

var _ metrics.Source = (*apitest.Source)(nil)
var _ httpapi.Source = (*apitest.Source)(nil)

func count(t *testing.T, reg *prometheus.Registry, name string) int {
	t.Helper()
	n, err := testutil.GatherAndCount(reg, name)
	require.NoError(t, err)
	return n
}

func TestOutdatedWatchersAreCounted(t *testing.T) {
	src := apitest.New()
	_, reg := newMetrics(t, src)
	names := []string{"triwatch_level_committed", "triwatch_level_known", "triwatch_watcher_stuck", "triwatch_watchers_outdated"}
	src.Info = apitest.Outdated()
	compare(t, reg, "outdated.txt", names...)
	src.Info = apitest.Stuck()
	compare(t, reg, "stuck.txt", names...)
}
