package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// routes puts what operators ask beside the API.
func (n *node) routes(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.ready(); err != nil {
			plain(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
			return
		}
		plain(w, http.StatusOK, "ready\n")
	})
	mux.HandleFunc("GET /readyz/queries", n.queriesReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}))
	mux.Handle("/", api)
	if !tracing() {
		return mux
	}
	return traced(mux)
}

// ready says why callers should not be sent here now, or nil.
func (n *node) ready() error {
	if err := n.gate.IsReady(); err != nil {
		return err
	}
	if !n.opened.Load() {
		return errNotOpened
	}
	return nil
}

// errNotOpened is the moment in which the log is known and the first start not over.
var errNotOpened = errors.New("its first account is not open yet")

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the prober has gone; there is nobody to tell
}

// registerGauges adds what is read when it is asked for.
func (n *node) registerGauges() {
	gauge := func(name, help string, value func() float64) {
		n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("behalf_fold_lag_seconds", "How old what this node knows of the log is.", func() float64 { return n.gate.Lag().Seconds() })
	gauge("behalf_clock_skew_seconds", "How far this node's clock is ahead of the log's.", func() float64 { return n.gate.Skew().Seconds() })
	gauge("behalf_ready", "1 when this node is ready for callers.", func() float64 {
		if n.ready() != nil {
			return 0
		}
		return 1
	})
	gauge("behalf_agents", "Agents whose passports this node holds.", func() float64 {
		agents, _ := n.passports.Size()
		return float64(agents)
	})
}

// tracing reports whether OpenTelemetry's own environment variables ask for it.
func tracing() bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// startTraces exports spans over OTLP when it is configured, and returns what
// sends the last ones.
func startTraces(ctx context.Context) (shutdown func() error, err error) {
	if !tracing() {
		return func() error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("start OpenTelemetry: %w; check the OTEL_EXPORTER_OTLP variables", err)
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", "behalf"), attribute.String("service.version", version())))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("start OpenTelemetry: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return provider.Shutdown(ctx)
	}, nil
}

// traced makes a span of each request. It holds the route and the status, never
// a header or a body.
func traced(next http.Handler) http.Handler {
	tracer := otel.Tracer("github.com/behalf-platform/behalf")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		out := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		r = r.WithContext(ctx)
		next.ServeHTTP(out, r)
		span.SetName(r.Method + " " + r.Pattern)
		span.SetAttributes(attribute.String("http.route", r.Pattern), attribute.Int("http.response.status_code", out.status))
	})
}

// statusWriter remembers the status for the span.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets a stream reach what flushes.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// version is the module's version, or the commit's it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// semver is the version in the form service discovery insists on.
func semver(v string) string {
	if len(v) > 1 && v[0] == 'v' {
		return v[1:]
	}
	return "0.0.0"
}
