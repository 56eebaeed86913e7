package sqlviews_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

// madeDecision is a decision as verify makes them.
func madeDecision(seq uint64) domain.Recorded {
	draw := rand.New(rand.NewPCG(seq, 9))
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seq) * 200 * time.Millisecond)
	id := ulid.MustNew(ulid.Timestamp(at), byteReader{draw}).String()
	agent := domain.AgentID(fmt.Sprintf("agent_01K8M5D1X3Y5Z7A9B1C3D5%04d", draw.IntN(500)))
	permission := domain.PermissionID(fmt.Sprintf("perm_01K8M52T8V0X2Y4Z6A8B0C%04d", draw.IntN(900)))
	d := domain.DecisionMade{
		RequestID: domain.RequestID(domain.RequestPrefix + id), PassportVersion: 18, PermissionID: permission, Risk: domain.RiskMedium,
		Request: domain.Request{
			Action: "purchase", Vendor: fmt.Sprintf("shop-%d.example.com", draw.IntN(2000)), Currency: "USD",
			Amount: domain.Decimal(domain.Money{Minor: int64(draw.IntN(90000)), Currency: "USD"}.String()),
		},
		Outcome: domain.OutcomeAllowed, ReasonCode: domain.Allowed, Reason: "allowed by permission " + string(permission),
	}
	if draw.IntN(5) == 0 {
		d.Outcome, d.ReasonCode = domain.OutcomeDenied, domain.AmountExceedsLimit
		d.Reason = "742.00 USD is more than the 500.00 USD that permission " + string(permission) + " allows"
	}
	for _, rule := range []domain.Rule{domain.RuleActive, domain.RuleAction, domain.RuleResource, domain.RuleVendor, domain.RuleAmount} {
		d.Checks = append(d.Checks, domain.Check{PermissionID: permission, Rule: rule, Passed: true})
	}
	return domain.Recorded{
		Record: domain.Record{
			ID: domain.EventID(domain.EventPrefix + id), At: at, Actor: domain.ByAgent(agent), Account: "acct_01K8M3Z5V0QX4T7R9WBYDAFC2E",
			Agent: agent, Event: d,
		},
		Position: domain.Position{Epoch: epoch, Seq: seq}, Last: 18, LoggedAt: at.Add(time.Millisecond),
	}
}

type byteReader struct{ *rand.Rand }

func (r byteReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

const (
	benchStep = 5000
	benchRows = 100_000
)

// madeBatches are benchRows decisions, mapped to rows.
func madeBatches(b *testing.B) (batches []*projections.Batch) {
	b.Helper()
	for at := uint64(0); at < benchRows; at += benchStep {
		batch := projections.NewBatch(projections.ProjectionDecisions)
		for seq := at + 1; seq <= at+benchStep; seq++ {
			if err := batch.Add(madeDecision(seq)); err != nil {
				b.Fatal(err)
			}
		}
		batches = append(batches, batch)
	}
	return batches
}

// BenchmarkApply writes 100,000 decisions into new tables, in steps. "copy" is
// the same rows by a bare COPY into a table without an index, in one go.
func BenchmarkApply(b *testing.B) {
	batches := madeBatches(b)
	for _, kind := range []string{"postgres", "sqlite"} {
		b.Run(kind, func(b *testing.B) {
			s := mustOpen(b, mustURL(b, kind))
			p := projections.ProjectionDecisions
			mustBegin(b, s, view(p, 1))
			for version := 2; b.Loop(); version++ {
				b.StopTimer()
				v, err := s.StartRebuild(b.Context(), p)
				if err != nil {
					b.Fatal(err)
				}
				mustBegin(b, s, v)
				b.StartTimer()
				for i, batch := range batches {
					from := uint64(i * benchStep)
					if err := s.Apply(b.Context(), v, span(from, from+benchStep), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				if err := s.Drop(b.Context(), v); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
		})
	}
	b.Run("copy", func(b *testing.B) {
		conn, err := pgx.Connect(b.Context(), mustURL(b, "postgres"))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conn.Close(b.Context()) }()
		var rows []projections.DecisionRow
		for _, batch := range batches {
			rows = append(rows, batch.Decisions...)
		}
		for b.Loop() {
			b.StopTimer()
			if _, err := conn.Exec(b.Context(), "DROP TABLE IF EXISTS bare; "+sqlviews.BareDecisions("bare"), pgx.QueryExecModeSimpleProtocol); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if err := sqlviews.CopyDecisions(b.Context(), conn, "bare", rows); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkAdd maps decisions to rows.
func BenchmarkAdd(b *testing.B) {
	r := madeDecision(1)
	batch := projections.NewBatch(projections.ProjectionDecisions)
	for b.Loop() {
		r.Position.Seq++
		if err := batch.Add(r); err != nil {
			b.Fatal(err)
		}
		if len(batch.Decisions) == benchStep {
			batch.Reset()
			r.Position.Seq = 1
		}
	}
}

// TestManyDecisions fills a store with BEHALF_TEST_DECISIONS decisions, 10 million
// say, and looks how long pages of them take. It is skipped without.
func TestManyDecisions(t *testing.T) {
	n, _ := strconv.ParseUint(os.Getenv("BEHALF_TEST_DECISIONS"), 10, 64)
	if n == 0 {
		t.Skip("it takes minutes: set BEHALF_TEST_DECISIONS to how many")
	}
	for _, kind := range []string{"postgres", "sqlite"} {
		t.Run(kind, func(t *testing.T) {
			s := mustOpen(t, mustURL(t, kind))
			v := view(projections.ProjectionDecisions, 1)
			mustBegin(t, s, v)
			batch := projections.NewBatch(v.Projection)
			var writing time.Duration
			for at := uint64(0); at < n; at += benchStep {
				batch.Reset()
				for seq := at + 1; seq <= at+benchStep; seq++ {
					if err := batch.Add(madeDecision(seq)); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now()
				if err := s.Apply(t.Context(), v, span(at, at+benchStep), batch); err != nil {
					t.Fatal(err)
				}
				writing += time.Since(begun)
			}
			t.Logf("%d rows, %.0f a second", n, float64(n)/writing.Seconds())
			timePages(t, s, n)
		})
	}
}

func timePages(t *testing.T, s *sqlviews.Store, n uint64) {
	t.Helper()
	took := map[string][]time.Duration{}
	for range 500 {
		d := madeDecision(rand.Uint64N(n) + 1)
		agent := projections.DecisionFilter{Account: d.Account, Agent: d.Agent}
		outcome := agent
		outcome.Outcome = domain.OutcomeDenied
		month := agent
		month.Since, month.Until = d.At.Add(-24*time.Hour), d.At
		for name, f := range map[string]projections.DecisionFilter{
			"account": {Account: d.Account}, "agent": agent, "agent and outcome": outcome, "agent and a day": month,
		} {
			for _, after := range []projections.Cursor{{}, {Seq: d.Position.Seq}} {
				begun := time.Now()
				if _, _, err := s.Decisions(t.Context(), f, 50, after); err != nil {
					t.Fatal(err)
				}
				took[name] = append(took[name], time.Since(begun))
			}
		}
		begun := time.Now()
		if _, err := s.Decision(t.Context(), d.Account, "", d.Event.(domain.DecisionMade).RequestID); err != nil {
			t.Fatal(err)
		}
		took["one by its id"] = append(took["one by its id"], time.Since(begun))
	}
	for name, list := range took {
		slices.Sort(list)
		t.Logf("%s: median %s, p99 %s", name, list[len(list)/2], list[len(list)*99/100])
	}
	begun, rows := time.Now(), 0
	err := s.EachDecision(t.Context(), projections.DecisionFilter{Account: madeDecision(1).Account}, func(projections.DecisionRow) error { rows++; return nil })
	if err != nil || uint64(rows) != n {
		t.Fatalf("got %d rows and error %v, want %d", rows, err, n)
	}
	t.Logf("export: %.0f rows a second", float64(n)/time.Since(begun).Seconds())
}
