package metrics

import (
	"context"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel"
)

// states are all that a view's State can be.
func states() []string {
	return []string{"ok", "degraded", "suspect", "held", "down", "failover", "handover", "unadopted", "observed", "paused", "released", "unknown"}
}

// descs are the descriptions of what is read at each scrape.
type descs struct {
	info, state, foreign, fence, unfenced, up, lacking, lag, quorum, leader, peers, level, knows, stuck, outdated, lastPass, build *prometheus.Desc
}

func newDescs() descs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("triwatch_"+name, help, labels, nil)
	}
	return descs{
		info:     d("master_info", "The committed master's address and epoch, constant 1.", "master", "address", "epoch"),
		state:    d("master_state", "1 for the state that a master is in, 0 for the others.", "master", "state"),
		foreign:  d("foreign_sentinels", "Other Sentinels that watch the master: while there are any, nothing is decided automatically.", "master"),
		fence:    d("fence", "1 for the state that the opt-in fence is in (off, on, relaxed), 0 for the others.", "master", "state"),
		unfenced: d("unfenced_masters", "Former masters that could not be fenced and were not seen as replicas since: they may still take writes.", "master"),
		up:       d("instance_up", "Whether this watcher holds the instance up.", "master", "redis"),
		lacking:  d("instance_lacking", "Number of things that an instance does not let triwatch do, as far as could be found out: commands that may not be sent, replica-read-only off.", "master", "redis"),
		lag:      d("replica_lag_bytes", "Bytes that a replica is behind the master's last known offset; missing while it is down or in a full sync.", "master", "redis"),
		quorum:   d("raft_has_quorum", "Whether this watcher is in touch with a majority."),
		leader:   d("raft_is_leader", "Whether this watcher leads."),
		peers:    d("peers", "Watchers in the configuration, this one included, by whether they are reachable from here.", "reachable"),
		level:    d("level_committed", "Level up to which commands are used; all watchers have to know it."),
		knows:    d("level_known", "Level of commands that this watcher knows."),
		stuck:    d("watcher_stuck", "Whether this watcher does not understand the log and has stopped acting, as an older build does."),
		outdated: d("watchers_outdated", "Voters that are known to run an older build than the committed level needs, and do not act."),
		lastPass: d("last_pass_timestamp_seconds", "When the watcher's loop last completed a pass, in Unix time."),
		build:    d("build_info", "What is running, constant 1.", "version", "revision", "goversion"),
	}
}

func (d descs) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.info, d.state, d.foreign, d.fence, d.unfenced, d.up, d.lacking, d.lag, d.quorum, d.leader, d.peers, d.level, d.knows, d.stuck, d.outdated,
		d.lastPass, d.build}
}

// scrape is the one collector of everything: a registry collects several at the same
// time, and a new master's counters have to be there before they are read.
type scrape struct{ m *Metrics }

func (s *scrape) counted() []prometheus.Collector {
	return []prometheus.Collector{s.m.failovers, s.m.unfenced, s.m.held, s.m.phases, s.m.lost}
}

// Describe implements prometheus.Collector.
func (s *scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range newDescs().all() {
		ch <- d
	}
	for _, c := range s.counted() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector. A loop that does not answer costs the
// scrape the masters' metrics only: triwatch_last_pass_timestamp_seconds then
// shows why.
func (s *scrape) Collect(ch chan<- prometheus.Metric) {
	d := newDescs()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	s.cluster(d, gauge)
	s.masters(d, gauge)
	for _, c := range s.counted() {
		c.Collect(ch)
	}
}

func (s *scrape) masters(d descs, gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), viewTimeout)
	defer cancel()
	views, err := s.m.src.OwnViews(ctx)
	if err != nil {
		return
	}
	s.m.ensure(views)
	for _, v := range views {
		gauge(d.info, 1, v.Name, v.Master.Addr.String(), v.Epoch.String())
		for _, state := range states() {
			gauge(d.state, number(v.State == state), v.Name, state)
		}
		gauge(d.foreign, float64(len(v.Foreign)), v.Name)
		fence, _, _ := strings.Cut(v.Fence, " ")
		for _, state := range []string{"off", "on", "relaxed"} {
			gauge(d.fence, number(fence == state), v.Name, state)
		}
		gauge(d.unfenced, float64(len(v.Unfenced)), v.Name)
		for _, i := range unique(v.Instances) {
			gauge(d.up, number(i.Health == sentinel.HealthUp), v.Name, i.Name)
			gauge(d.lacking, float64(len(i.Lacking)), v.Name, i.Name)
			if !i.Master && i.Lag >= 0 && !i.Down && i.Link != "sync" {
				gauge(d.lag, float64(i.Lag), v.Name, i.Name)
			}
		}
	}
}

func (s *scrape) cluster(d descs, gauge func(*prometheus.Desc, float64, ...string)) {
	c, v := s.m.src.Cluster(), s.m.src.Version()
	gauge(d.quorum, number(c.HasQuorum))
	gauge(d.leader, number(c.LeaderID != "" && c.LeaderID == c.Me))
	for _, reachable := range []bool{true, false} {
		gauge(d.peers, float64(count(c, reachable)), strconv.FormatBool(reachable))
	}
	gauge(d.level, float64(max(c.Level, c.NeedsLevel)))
	gauge(d.knows, float64(c.Knows))
	gauge(d.stuck, number(c.Stuck != ""))
	gauge(d.outdated, float64(outdated(c)))
	if last := s.m.src.LastPass(); last.Unix() > 0 {
		gauge(d.lastPass, float64(last.UnixMilli())/1000)
	}
	gauge(d.build, 1, v.Version, v.Commit, v.Go)
}

func count(c httpapi.ClusterInfo, reachable bool) int {
	n := 0
	for _, p := range c.Peers {
		if p.Reachable == reachable {
			n++
		}
	}
	return n
}

func outdated(c httpapi.ClusterInfo) int {
	n := 0
	for _, p := range c.Peers {
		if c.IsOutdated(p) {
			n++
		}
	}
	return n
}

// unique leaves out instances whose name has come before: two series with the
// same labels would fail the whole scrape.
func unique(list []sentinel.InstanceView) []sentinel.InstanceView {
	seen := map[string]bool{}
	var out []sentinel.InstanceView
	for _, i := range list {
		if !seen[i.Name] {
			seen[i.Name] = true
			out = append(out, i)
		}
	}
	return out
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
