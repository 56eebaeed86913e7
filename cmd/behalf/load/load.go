// Package load drives a Behalf server as hard as it can and checks each answer.
// It makes agents and permissions of its own, asks what has a known answer, and
// compares all that an answer says with what it must say. It trusts nothing the
// server claims about itself, except how much processor time it used.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-platform/behalf"
)

// Options say what to do. The field comments are the manual.
type Options struct {
	// Target is how the server is asked: TargetHTTP, TargetNATS or TargetBare.
	Target string
	// URLs are the nodes. Work is spread over all of them.
	URLs []string
	// NATSURLs are the NATS servers asked with TargetNATS. What credentials a URL
	// holds are used, or the file NATSCreds. Else Token is the password, as the
	// server that Behalf runs has it.
	NATSURLs  []string
	NATSCreds string
	// Token is a member's, who may manage agents.
	Token string

	Agents, Permissions int
	// Concurrency is how many asks are in flight.
	Concurrency int
	Duration    time.Duration
	// Seed makes the asks repeatable.
	Seed uint64
	// Preview asks for previews, which are not recorded.
	Preview bool
	// Budget gives every permission a budget that is never spent, and asks only
	// for what spends from it.
	Budget bool
	// Revoke revokes permissions and grants them again meanwhile.
	Revoke bool
	// TolerateUnavailable makes unavailable answers no failure of the run.
	TolerateUnavailable bool
	// Compare runs the bare server too, with the same client.
	Compare bool
	// Timeout bounds one exchange.
	Timeout time.Duration
	// StartBare starts a bare server in a process of its own.
	StartBare func(ctx context.Context, agents int) (url string, stop func() error, err error)
	// Packets, when not nil, is written every packet received, one a line, to be
	// compared with the log.
	Packets io.Writer
	// Progress is told what is being done.
	Progress io.Writer
}

// Targets.
const (
	TargetHTTP = "http"
	TargetNATS = "nats"
	// TargetBare is a server that does nothing, to compare with.
	TargetBare = "bare"
)

// Run sets up, runs and reports. An error means that there is no report; a
// report can still be of a failure, see [Report.Err].
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.Validate(); err != nil {
		return Report{}, err
	}
	if o.Target == TargetBare {
		return o.runBare(ctx)
	}
	report, err := o.run(ctx)
	if err != nil || !o.Compare {
		return report, err
	}
	o.say("the same against a bare server")
	bare, err := o.runBare(ctx)
	if err != nil {
		return Report{}, err
	}
	report.Bare = &bare
	if bare.PerSecond > 0 {
		report.OfBare = report.PerSecond / bare.PerSecond
	}
	return report, nil
}

// Validate reports every fault at once.
func (o *Options) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !slices.Contains([]string{TargetHTTP, TargetNATS, TargetBare}, o.Target) {
		bad("--target %q is unknown; use http, nats or bare", o.Target)
	}
	for _, n := range []struct {
		flag        string
		value, most int
	}{{"agents", o.Agents, 1_000_000}, {"permissions", o.Permissions, 256}, {"concurrency", o.Concurrency, 10_000}} {
		if n.value < 1 || n.value > n.most {
			bad("--%s %d: use 1 to %d", n.flag, n.value, n.most)
		}
	}
	if o.Duration <= 0 || o.Timeout <= 0 {
		bad("--duration and --timeout must be more than 0")
	}
	if o.Revoke && (o.Preview || o.Target == TargetBare) {
		bad("--revoke is about recorded decisions; leave out --preview and --target bare")
	}
	if o.Budget && (o.Revoke || o.Preview || o.Target == TargetBare) {
		bad("--budget measures what spends; leave out --revoke, --preview and --target bare")
	}
	if o.Compare && (o.Preview && o.Target == TargetNATS || o.Target == TargetBare) {
		bad("--compare is for --target http, or nats without --preview")
	}
	return errors.Join(faults...)
}

// run drives the real server.
func (o *Options) run(ctx context.Context) (Report, error) {
	began := time.Now()
	p, err := o.setUp(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("set up: %w", err)
	}
	setup := time.Since(began)
	open, closeAll, err := o.callers(ctx, p)
	if err != nil {
		return Report{}, err
	}
	defer closeAll()
	if o.Revoke {
		p.hot = make([]atomic.Pointer[slot], changers)
	}
	report, err := o.drive(ctx, p, open)
	report.SetupSeconds = setup.Seconds()
	report.SetupPerSecond = float64(o.Agents*(1+o.Permissions)) / setup.Seconds()
	return report, err
}

// opener makes the caller of one worker.
type opener func(ctx context.Context, worker int) (caller, error)

func (o *Options) callers(ctx context.Context, p *plan) (open opener, closeAll func(), err error) {
	if o.Target == TargetNATS {
		return o.natsCallers(ctx, p)
	}
	path := "/v1/verify"
	if o.Preview {
		path = "/v1/preview"
	}
	return func(_ context.Context, worker int) (caller, error) {
		return newHTTPCaller(o.URLs, worker, path, o.Timeout)
	}, func() {}, nil
}

// drive asks with all workers until the time is over.
func (o *Options) drive(ctx context.Context, p *plan, open opener) (report Report, err error) {
	workers, err := o.workers(ctx, p, open)
	if err != nil {
		return report, err
	}
	defer func() {
		for _, w := range workers {
			w.caller.close()
		}
	}()
	o.say("asking, %d at a time, for %s", o.Concurrency, o.Duration)
	before, cpuErr := o.processes(ctx)
	began := time.Now()
	timed, cancel := context.WithDeadline(ctx, began.Add(o.Duration))
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() { w.run(timed) })
	}
	if o.Revoke {
		wg.Go(func() { report.Changes = o.change(timed, p) })
	}
	wg.Wait()
	took := time.Since(began)
	if ctx.Err() != nil {
		return report, context.Cause(ctx)
	}
	if err := workers[0].packets.failed(); err != nil {
		return report, err
	}
	report.fill(o, workers, took)
	if err := cmp.Or(cpuErr, report.fillCPU(ctx, o, before)); err != nil {
		o.say("the server's processor time is not known: %v", err)
	}
	return report, nil
}

func (o *Options) workers(ctx context.Context, p *plan, open opener) ([]*worker, error) {
	workers := make([]*worker, 0, o.Concurrency)
	var kept *packets
	if o.Packets != nil {
		kept = &packets{out: o.Packets}
	}
	for i := range o.Concurrency {
		c, err := open(ctx, i)
		if err != nil {
			for _, w := range workers {
				w.caller.close()
			}
			return nil, err
		}
		workers = append(workers, &worker{plan: p, mix: newMix(p, o.Seed, i), caller: c, preview: o.Preview, packets: kept})
	}
	return workers, nil
}

func (o *Options) say(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Progress, format+"\n", args...) // progress is not worth failing for
}

// node is a management client of the i-th node, or of the one it comes round to.
func (o *Options) node(i int, transport http.RoundTripper) *behalf.Client {
	return &behalf.Client{
		BaseURL: o.URLs[i%len(o.URLs)], Token: o.Token,
		HTTPClient: &http.Client{Transport: transport, Timeout: o.Timeout},
	}
}
