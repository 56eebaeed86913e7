package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/embedded"
	"github.com/behalf-platform/behalf/infra/logtest"
	"github.com/behalf-platform/behalf/infra/memlanes"
	"github.com/behalf-platform/behalf/infra/natslog"
)

// shortRoll is one endpoint of an account that keeps its decisions for a second or
// two, as no account can, and what is told of it.
type shortRoll struct {
	hookRoll
	keep time.Duration

	mu      sync.Mutex
	up      bool     // guarded by mu, as all below
	arrived []uint64 // sequences
	reports []delivery.Report
}

func (r *shortRoll) Whole(_ delivery.Endpoint, at time.Time) time.Time { return at.Add(-r.keep) }

func (r *shortRoll) Send(_ context.Context, _ delivery.Endpoint, m delivery.Message, _ string) delivery.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.up {
		return delivery.Result{Category: delivery.Connect}
	}
	r.arrived = append(r.arrived, m.Seq)
	return delivery.Result{Status: 200, Category: delivery.Answered}
}

func (r *shortRoll) Report(_ context.Context, rep delivery.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, rep)
	return nil
}

// told reports whether something of a kind was, and what.
func (r *shortRoll) told(kind delivery.ReportKind) (all []delivery.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rep := range r.reports {
		if rep.Kind == kind {
			all = append(all, rep)
		}
	}
	return all
}

// Decisions leave the log, while an endpoint is down, from between what stays.
func TestDecisionsThatTheLogLetsGoAreToldOf(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Durability: embedded.OS, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	conn, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	log, err := natslog.Open(ctx, natslog.Config{Conn: conn, Bulk: conn, Partitions: 1, Replicas: 1, FirstAccount: "acct_home"})
	if err != nil {
		t.Fatal(err)
	}
	roll := &shortRoll{keep: 2 * time.Second, hookRoll: *newHookRoll(1, 0, []string{"*"}, func(int) string { return "example.com" })}
	put := func(n int, fleeting bool) uint64 {
		r := domain.Record{
			ID: domain.EventID(fmt.Sprintf("evt_%d", n)), At: time.Now(), Actor: domain.ByAgent("agent_a"), Account: "acct_home", Agent: "agent_a",
			Event: domain.DecisionMade{RequestID: domain.RequestID(fmt.Sprintf("req_%d", n)), Outcome: domain.OutcomeDenied, Request: domain.Request{Action: "buy"}},
		}
		if fleeting {
			r.Keep = roll.keep
		}
		made, err := logtest.Put(ctx, log, r)
		if err != nil {
			t.Fatal(err)
		}
		return made.Position.Seq
	}
	store, rules := &memlanes.Store{}, delivery.Usual()
	rules.IdleEvery = 20 * time.Millisecond
	start := func() (stop func()) {
		engine := &delivery.Engine{
			Source: &handlers.WebhookSource{Log: log}, Registry: roll, Sender: roll, Reporter: roll, Store: &memlanes.Client{Store: store},
			Node: "test", Alone: true, Logs: slog.New(slog.DiscardHandler), Now: time.Now, Rules: &rules,
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var running sync.WaitGroup
		running.Go(func() {
			if err := engine.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		return func() { cancel(); running.Wait() }
	}
	stop := start()
	oldest := put(0, false) // as an account's own events are
	first := put(1, true)
	stays := put(2, false)
	last := put(3, true)
	if err := waitUntil(ctx, func() bool { return len(roll.told(delivery.Expiring)) > 0 }); err != nil {
		t.Errorf("no warning came: %v", err)
	}
	stop()
	held := func() (all []uint64) {
		err := log.Scan(ctx, domain.Scan{Partition: 0, From: 1, Through: last}, func(r domain.Recorded, err error) error {
			all = append(all, r.Position.Seq)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := waitUntil(ctx, func() bool { return slices.Equal(held(), []uint64{oldest, stays}) }); err != nil {
		t.Fatalf("the log holds %v: %v", held(), err)
	}
	newest := put(4, false)
	roll.mu.Lock()
	roll.up = true
	roll.mu.Unlock()
	stop = start()
	defer stop()
	err = waitUntil(ctx, func() bool {
		roll.mu.Lock()
		defer roll.mu.Unlock()
		return slices.Contains(roll.arrived, newest)
	})
	if err != nil {
		t.Errorf("the newest event did not come: %v", err)
	}
	if err := waitUntil(ctx, func() bool { return len(roll.told(delivery.Gap)) > 0 }); err != nil {
		t.Errorf("what was lost is not told: %v", err)
	}
	roll.mu.Lock()
	defer roll.mu.Unlock()
	slices.Sort(roll.arrived) // they come in any order
	if !slices.Equal(roll.arrived, []uint64{oldest, stays, newest}) {
		t.Errorf("got %d, want what stayed", roll.arrived)
	}
	for _, r := range roll.reports {
		if r.Kind == delivery.Gap && (r.From != first || r.Through != last) || r.Kind == delivery.Expiring && r.Since.IsZero() {
			t.Errorf("got %+v, want it from %d to %d, and since when", r, first, last)
		}
	}
}
