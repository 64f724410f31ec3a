package metrics

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel"
)

// Source is what a scrape reads. Its methods are called concurrently.
type Source interface {
	// OwnViews describes all masters as this watcher sees them, without asking others.
	OwnViews(ctx context.Context) ([]sentinel.View, error)
	Cluster() httpapi.ClusterInfo
	LastPass() time.Time
	Version() httpapi.Version
}

// viewTimeout bounds how long a scrape waits for the loop.
const viewTimeout = time.Second

// Metrics counts what it is told and reads the rest at each scrape. Make it with
// New. All methods may be called concurrently.
type Metrics struct {
	src Source

	failovers *prometheus.CounterVec
	unfenced  *prometheus.CounterVec
	held      *prometheus.CounterVec
	phases    *prometheus.HistogramVec
	lost      *prometheus.GaugeVec

	mu    sync.Mutex
	kinds map[string]planKind // of each master's latest plan
	known map[string]bool     // masters that have their counters
}

// planKind remembers what a plan was, because the record of an aborted one does not say.
type planKind struct {
	epoch sentinel.Epoch
	kind  sentinel.Kind
}

// New returns metrics that are registered with reg.
func New(reg prometheus.Registerer, src Source) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		src: src, kinds: map[string]planKind{}, known: map[string]bool{},
		failovers: counter("triwatch_failovers_total", "Plans that ended while this watcher led, by kind (failover, handover) and result (done, aborted).",
			"master", "kind", "result"),
		unfenced: counter("triwatch_unfenced_failovers_total", "Failovers whose old master was not proved unable to acknowledge writes before the new one was promoted.",
			"master"),
		held: counter("triwatch_held_total", "Times that a master looked lost and was not replaced, by reason (replica_advances, vetoed, no_good_replica, observe).",
			"master", "reason"),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "triwatch_failover_phase_seconds",
			Help:    "Time that each phase of a plan took (agree, fence, catch_up, promote, follow, undo), counted from the evidence; total is all of it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180},
		}, []string{"kind", "phase"}),
		lost: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "triwatch_lost_bytes_estimate",
			Help: "Bytes of the replication stream that the last failover is estimated to have lost at most; missing while there is nothing to estimate from.",
		}, []string{"master"}),
	}
	if err := reg.Register(&scrape{m}); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// Reasons of triwatch_held_total.
const (
	reasonAdvances = sentinel.CodeAdvances
	reasonVetoed   = sentinel.CodeVetoed
	reasonNoGood   = "no_good_replica"
	reasonObserve  = "observe"
)

// Event counts an event of the core. It does not block.
func (m *Metrics) Event(e sentinel.Event) {
	switch e.Name {
	case sentinel.EventHeld:
		m.held.WithLabelValues(e.Master, cmp.Or(e.Code, reasonAdvances)).Inc()
	case sentinel.EventNoGoodSlave:
		m.held.WithLabelValues(e.Master, reasonNoGood).Inc()
	case sentinel.EventWould:
		m.held.WithLabelValues(e.Master, reasonObserve).Inc()
	default: // the others say nothing that is counted
	}
}

// Begun takes up a plan that was committed, so that it is known what it was if it
// is aborted. Without it an aborted plan's kind is taken from what it did.
func (m *Metrics) Begun(master string, p sentinel.Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kinds[master] = planKind{p.Epoch, p.Kind}
}

// Record counts a record that was committed to a master's history.
func (m *Metrics) Record(master string, r sentinel.Record) {
	kind, result := m.kindOf(master, r), "done"
	switch r.Kind {
	case "aborted":
		result = "aborted"
	case sentinel.KindFailover.String():
		m.loss(master, r)
	case sentinel.KindHandover.String():
	default:
		return // held and adopted are no plans
	}
	m.failovers.WithLabelValues(master, kind.String(), result).Inc()
	m.observePhases(kind, r)
}

func (m *Metrics) loss(master string, r sentinel.Record) {
	if !r.Fenced {
		m.unfenced.WithLabelValues(master).Inc()
	}
	if r.Lost < 0 {
		m.lost.DeleteLabelValues(master)
		return
	}
	m.lost.WithLabelValues(master).Set(float64(r.Lost))
}

func (m *Metrics) kindOf(master string, r sentinel.Record) sentinel.Kind {
	switch r.Kind {
	case sentinel.KindFailover.String():
		return sentinel.KindFailover
	case sentinel.KindHandover.String():
		return sentinel.KindHandover
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.kinds[master]; k.epoch == r.Epoch && k.kind != sentinel.KindUnknown {
		return k.kind
	}
	for _, n := range r.Notes {
		if n.What == noteFenced || n.What == noteCaughtUp {
			return sentinel.KindHandover
		}
	}
	return sentinel.KindFailover
}

// The notes that end a phase, as the core writes them.
const (
	noteFenced   = "fenced"
	noteCaughtUp = "caught up"
)

// phaseOf names the phase that a note ends, "" if none.
func phaseOf(note string) string {
	switch note {
	case "chosen":
		return "agree"
	case noteFenced:
		return "fence"
	case noteCaughtUp:
		return "catch_up"
	case "promoted":
		return "promote"
	case "done":
		return "follow"
	case "aborted":
		return "undo"
	}
	return ""
}

func (m *Metrics) observePhases(kind sentinel.Kind, r sentinel.Record) {
	before := 0.0
	for _, n := range r.Notes {
		if phase := phaseOf(n.What); phase != "" {
			m.phases.WithLabelValues(kind.String(), phase).Observe(max(0, n.AfterMS-before) / 1000)
			before = n.AfterMS
		}
	}
	m.phases.WithLabelValues(kind.String(), "total").Observe(r.TookMS / 1000)
}

// ensure gives every master its counters at zero, so that the first failover is seen
// as an increase, and takes those of forgotten masters away.
func (m *Metrics) ensure(views []sentinel.View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := map[string]bool{}
	for _, v := range views {
		now[v.Name] = true
		if m.known[v.Name] {
			continue
		}
		for _, kind := range []sentinel.Kind{sentinel.KindFailover, sentinel.KindHandover} {
			for _, result := range []string{"done", "aborted"} {
				m.failovers.WithLabelValues(v.Name, kind.String(), result)
			}
		}
		for _, reason := range []string{reasonAdvances, reasonVetoed, reasonNoGood, reasonObserve} {
			m.held.WithLabelValues(v.Name, reason)
		}
		m.unfenced.WithLabelValues(v.Name)
	}
	for name := range m.known {
		if !now[name] {
			m.forget(name)
		}
	}
	m.known = now
}

func (m *Metrics) forget(name string) {
	delete(m.kinds, name)
	label := prometheus.Labels{"master": name}
	m.failovers.DeletePartialMatch(label)
	m.held.DeletePartialMatch(label)
	m.unfenced.DeletePartialMatch(label)
	m.lost.DeletePartialMatch(label)
}
