package delivery

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what is delivered, per endpoint. The nil Metrics counts nothing.
// An endpoint that nothing was ever sent to has no series.
type Metrics struct {
	attempts *prometheus.CounterVec
	latency  *prometheus.HistogramVec
}

// NewMetrics registers the metrics of an engine's deliveries.
func NewMetrics(reg prometheus.Registerer, e *Engine) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "behalf_webhook_attempts_total", Help: "Attempts to deliver, by endpoint and result.",
		}, []string{"endpoint", "result"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "behalf_webhook_attempt_seconds", Help: "From sending a message to the end of its answer, in seconds.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 4, 8),
		}, []string{"endpoint"}),
	}
	reg.MustRegister(m.attempts, m.latency, lag{e})
	return m
}

// meter counts for one endpoint. It is made with its first attempt.
type meter struct {
	metrics  *Metrics
	endpoint string
	once     sync.Once
	results  map[string]prometheus.Counter
	latency  prometheus.Observer
}

func (m *Metrics) of(e Endpoint) *meter { return &meter{metrics: m, endpoint: string(e.ID)} }

func (m *meter) sent(outcome string, latency time.Duration) {
	if m.metrics == nil {
		return
	}
	m.once.Do(func() {
		m.results = map[string]prometheus.Counter{}
		for _, outcome := range []string{OutcomeOK, OutcomeFailed, OutcomeDead} {
			m.results[outcome] = m.metrics.attempts.WithLabelValues(m.endpoint, outcome)
		}
		m.latency = m.metrics.latency.WithLabelValues(m.endpoint)
	})
	m.results[outcome].Inc()
	m.latency.Observe(latency.Seconds())
}

// forget drops the series of an endpoint that was removed.
func (m *Metrics) forget(endpoint EndpointID) {
	if m == nil {
		return
	}
	m.attempts.DeletePartialMatch(prometheus.Labels{"endpoint": string(endpoint)})
	m.latency.DeleteLabelValues(string(endpoint))
}

// lag collects how old the oldest message is that an endpoint waits for, and who
// is about to lose some.
type lag struct{ engine *Engine }

var lagDesc = prometheus.NewDesc("behalf_webhook_oldest_undelivered_seconds",
	"Age of the oldest event that is not delivered yet, of endpoints that wait for one.", []string{"endpoint"}, nil)

var expiringDesc = prometheus.NewDesc("behalf_webhook_expiring",
	"1 for each endpoint that is about to lose events that it has not got, or is losing them.", []string{"endpoint"}, nil)

// Describe is part of [prometheus.Collector].
func (lag) Describe(to chan<- *prometheus.Desc) { to <- lagDesc; to <- expiringDesc }

// Collect is part of [prometheus.Collector].
func (l lag) Collect(to chan<- prometheus.Metric) {
	now := l.engine.Now()
	for id := range l.engine.expiring() {
		to <- prometheus.MustNewConstMetric(expiringDesc, prometheus.GaugeValue, 1, string(id))
	}
	l.engine.each(func(r *runner) {
		at := r.oldest.Load()
		if at == 0 || r.replay != nil {
			return
		}
		age := now.Sub(time.Unix(0, at)).Seconds()
		to <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, max(age, 0), string(r.endpoint.ID))
	})
}
