package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what came of a run.
type Report struct {
	Target      string   `json:"target"`
	Preview     bool     `json:"preview,omitzero"`
	Budget      bool     `json:"budget,omitzero"`
	Nodes       []string `json:"nodes"`
	Agents      int      `json:"agents"`
	Permissions int      `json:"permissionsPerAgent"`
	Concurrency int      `json:"concurrency"`
	Seed        uint64   `json:"seed"`

	SetupSeconds   float64 `json:"setupSeconds,omitzero"`
	SetupPerSecond float64 `json:"setupPerSecond,omitzero"`
	Seconds        float64 `json:"seconds"`
	// Decisions are the answers that were one.
	Decisions uint64  `json:"decisions"`
	PerSecond float64 `json:"decisionsPerSecond"`
	// Latency is that of decisions.
	Latency Latency `json:"latencyMillis"`
	// ServerCPUMicros is the processor time of all nodes, in µs per decision; 0
	// when it is not known.
	ServerCPUMicros float64 `json:"serverCpuMicrosPerDecision,omitzero"`

	Errors      uint64 `json:"errors"`
	Unavailable uint64 `json:"unavailable"`
	Wrong       uint64 `json:"wrongAnswers"`
	// Violations are allows by a permission whose revocation was acknowledged
	// before they were asked for.
	Violations uint64   `json:"allowsAfterRevocation"`
	Changes    Changes  `json:"changes,omitzero"`
	Examples   []string `json:"examples,omitempty"`

	// Bare is the run against a bare server, and OfBare this one's share of its
	// speed.
	Bare   *Report `json:"bare,omitzero"`
	OfBare float64 `json:"shareOfBare,omitzero"`

	tolerate bool
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func (r *Report) fill(o *Options, workers []*worker, took time.Duration) {
	r.Target, r.Preview, r.Budget, r.Nodes, r.Agents, r.Permissions = o.Target, o.Preview, o.Budget, o.URLs, o.Agents, o.Permissions
	r.Concurrency, r.Seed, r.tolerate = o.Concurrency, o.Seed, o.TolerateUnavailable
	var all histogram
	for _, w := range workers {
		all.merge(&w.latency)
		r.Errors += w.errors
		r.Unavailable += w.unavailable
		r.Wrong += w.wrong
		r.Violations += w.violations
		r.Examples = append(r.Examples, w.examples...)
	}
	for _, w := range workers {
		if !r.tolerate {
			r.Examples = append(r.Examples, w.outages...)
		}
	}
	r.Examples = r.Examples[:min(len(r.Examples), mostExamples)]
	millis := func(q float64) float64 { return float64(all.quantile(q)) / 1e6 }
	r.Latency = Latency{P50: millis(.5), P90: millis(.9), P99: millis(.99), Max: float64(all.most) / 1e6}
	r.Seconds, r.Decisions = took.Seconds(), all.count
	r.PerSecond = float64(all.count) / took.Seconds()
}

// fillCPU works out the processor time since before.
func (r *Report) fillCPU(ctx context.Context, o *Options, before []process) error {
	after, err := o.processes(ctx)
	if err != nil || r.Decisions == 0 || before == nil {
		return err
	}
	used, err := cpuBetween(before, after)
	if err == nil {
		r.ServerCPUMicros = used * 1e6 / float64(r.Decisions)
	}
	return err
}

// Err is why the run is a failure, or nil. One in which nothing was decided
// proves nothing, and is one too.
func (r *Report) Err() error {
	var faults []error
	bad := func(n uint64, what string) {
		if n > 0 {
			faults = append(faults, fmt.Errorf("%d %s", n, what))
		}
	}
	bad(r.Violations, "allows after an acknowledged revocation")
	bad(r.Wrong, "wrong answers")
	bad(r.Errors, "errors")
	if !r.tolerate {
		bad(r.Unavailable, "unavailable answers")
	}
	if r.Decisions == 0 {
		faults = append(faults, errors.New("nothing was decided"))
	}
	if r.Bare != nil {
		if err := r.Bare.Err(); err != nil {
			faults = append(faults, fmt.Errorf("the bare server: %w", err))
		}
	}
	return errors.Join(faults...)
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s"+format+"\n", append([]any{name}, args...)...)
	}
	what := r.Target
	if r.Preview {
		what += ", preview"
	}
	if r.Budget {
		what += ", all spending"
	}
	line("target", "%s: %s", what, strings.Join(r.Nodes, " "))
	if r.SetupSeconds > 0 {
		line("setup", "%d agents with %d permissions each in %.1f s (%.0f/s)", r.Agents, r.Permissions, r.SetupSeconds, r.SetupPerSecond)
	}
	line("run", "%.1f s, %d at a time, seed %d", r.Seconds, r.Concurrency, r.Seed)
	line("decisions", "%d (%.0f/s)", r.Decisions, r.PerSecond)
	line("latency", "p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.1f ms", r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.Max)
	if r.ServerCPUMicros > 0 {
		line("server CPU", "%.1f µs per decision", r.ServerCPUMicros)
	}
	line("errors", "%d", r.Errors)
	line("unavailable", "%d", r.Unavailable)
	line("wrong answers", "%d", r.Wrong)
	if c := r.Changes; c != (Changes{}) {
		line("changes", "%d revocations, %d grants, %d sent again, %d unsettled", c.Revocations, c.Grants, c.Retried, c.Unsettled)
		line("", "%d allows after an acknowledged revocation", r.Violations)
	}
	for _, e := range r.Examples {
		line("for example", "%s", e)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	if r.Bare == nil {
		return nil
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	if err := r.Bare.Print(out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%-14s%.0f %% of the bare server's decisions/s\n", "share", 100*r.OfBare)
	return err
}
