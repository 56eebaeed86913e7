package handlers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/behalf-platform/behalf/domain"
)

// Metrics counts what the write path does. The nil Metrics counts nothing.
type Metrics struct {
	decisions *prometheus.CounterVec
	failures  *prometheus.CounterVec
	latency   prometheus.Histogram
	conflicts prometheus.Counter
}

// NewMetrics registers the metrics of the write path.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "behalf_decisions_total", Help: "Decisions answered, by outcome and reason code.",
		}, []string{"outcome", "reason_code"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "behalf_verify_failures_total", Help: "Verifies that ended without a decision, by error code.",
		}, []string{"code"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "behalf_append_seconds", Help: "From the decision to the log's acknowledgement, in seconds.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "behalf_fence_conflicts_total", Help: "Decisions made anew because the passport had moved.",
		}),
	}
	reg.MustRegister(m.decisions, m.failures, m.latency, m.conflicts)
	return m
}

// Answered counts the answer to a verify.
func (m *Metrics) Answered(r domain.Recorded, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.failures.WithLabelValues(FaultOf(err).Code).Inc()
		return
	}
	if d, ok := r.Event.(domain.DecisionMade); ok {
		m.decisions.WithLabelValues(string(d.Outcome), string(d.ReasonCode)).Inc()
	}
}

func (m *Metrics) appended(d time.Duration, err error) {
	if m != nil && err == nil {
		m.latency.Observe(d.Seconds())
	}
}

func (m *Metrics) conflict() {
	if m != nil {
		m.conflicts.Inc()
	}
}
