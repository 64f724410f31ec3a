package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/triwatch/triwatch/k8sbind"
	"go.uber.org/zap"
)

// kubeMetrics are the metrics that only a watcher on Kubernetes has.
type kubeMetrics struct {
	b        *binding
	writes   *prometheus.CounterVec
	reads    *prometheus.CounterVec
	epoch    *prometheus.Desc
	problems *prometheus.Desc
}

func newKubeMetrics(reg prometheus.Registerer, b *binding) (*kubeMetrics, error) {
	m := &kubeMetrics{b: b,
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "triwatch_k8s_write_errors_total",
			Help: "Writes to the Kubernetes API that failed, by verb and resource."}, []string{"verb", "resource"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "triwatch_k8s_read_errors_total",
			Help: "Reads from the Kubernetes API that failed, by verb, resource and namespace; a resource counts at most once in ten seconds."},
			[]string{"verb", "resource", "namespace"}),
		epoch: prometheus.NewDesc("triwatch_service_epoch", "The epoch that a Service shows; one that lags behind triwatch_master_info does not follow.",
			[]string{"master", "namespace", "service"}, nil),
		problems: prometheus.NewDesc("triwatch_k8s_problems", "What is wrong with annotations and objects now, constant 1 each.",
			[]string{"namespace", "kind", "name", "reason"}, nil),
	}
	for _, c := range []prometheus.Collector{m.writes, m.reads, m} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// writeFailed counts a failed write.
func (m *kubeMetrics) writeFailed(verb, resource string, _ error) {
	m.writes.WithLabelValues(verb, resource).Inc()
}

// readFailed counts a failed read and says it.
func (m *kubeMetrics) readFailed(verb, resource, namespace string, err error) {
	m.reads.WithLabelValues(verb, resource, namespace).Inc()
	m.b.log.Error("kubernetes cannot be read; what was read before counts until it can", zap.String("verb", verb), zap.String("resource", resource),
		zap.String("namespace", namespace), zap.Error(err))
}

// Describe implements prometheus.Collector.
func (m *kubeMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.epoch; ch <- m.problems }

// Collect implements prometheus.Collector.
func (m *kubeMetrics) Collect(ch chan<- prometheus.Metric) {
	m.b.mu.Lock()
	s := m.b.snap
	m.b.mu.Unlock()
	for _, x := range s.Masters {
		epoch, _, _ := m.b.out.State(x.Name)
		for _, svc := range x.Services {
			if svc.Role == k8sbind.RoleMaster {
				ch <- prometheus.MustNewConstMetric(m.epoch, prometheus.GaugeValue, float64(epoch), x.Name, svc.Namespace, svc.Name)
			}
		}
	}
	seen := map[[4]string]bool{}
	for _, p := range s.Problems {
		key := [4]string{p.Namespace, p.Kind, p.Name, p.Reason}
		if !seen[key] {
			seen[key] = true
			ch <- prometheus.MustNewConstMetric(m.problems, prometheus.GaugeValue, 1, key[:]...)
		}
	}
}
