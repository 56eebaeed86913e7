package natslog_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/embedded"
)

// BenchmarkAppend has callers append decisions at once, each for an agent of its own.
func BenchmarkAppend(b *testing.B) {
	for _, d := range []embedded.Durability{embedded.OS, embedded.Fsync} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", d, callers), func(b *testing.B) {
				l := mustRun(b, node{config: embedded.Config{Dir: b.TempDir(), Durability: d}, partitions: 1})
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				var made atomic.Int64
				for caller := range callers {
					wg.Go(func() {
						r := decided(domain.AgentID(fmt.Sprintf("agent_%d", caller)))
						for i := made.Add(1); i <= int64(b.N); i = made.Add(1) {
							if _, err := l.Append(b.Context(), 0, r, fmt.Sprintf("name_%d", i)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

// BenchmarkAppendAll has callers append decisions that spend, each for two
// agents of its own.
func BenchmarkAppendAll(b *testing.B) {
	for _, d := range []embedded.Durability{embedded.OS, embedded.Fsync} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", d, callers), func(b *testing.B) {
				l := mustRun(b, node{config: embedded.Config{Dir: b.TempDir(), Durability: d}, partitions: 1})
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				var made, waited atomic.Int64
				for caller := range callers {
					wg.Go(func() {
						pair := []domain.Guarded{
							{Record: decided(domain.AgentID(fmt.Sprintf("agent_%d", caller)))},
							{Record: decided(domain.AgentID(fmt.Sprintf("agent_%d_x", caller)))},
						}
						for i := range pair {
							decision := pair[i].Event.(domain.DecisionMade)
							decision.Spends = true
							pair[i].Event = decision
						}
						for i := made.Add(1); i <= int64(b.N); i = made.Add(1) {
							begun := time.Now()
							receipts, err := l.AppendAll(b.Context(), pair, fmt.Sprintf("name_%d", i))
							if err != nil {
								b.Error(err)
								return
							}
							waited.Add(int64(time.Since(begun)))
							pair[0].Last, pair[1].Last = receipts[0].Position.Seq, receipts[1].Position.Seq
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
				b.ReportMetric(float64(waited.Load())/float64(b.N)/1e6, "ms/batch")
			})
		}
	}
}

// decided is a decision as they usually are.
func decided(agent domain.AgentID) domain.Record {
	return domain.Record{
		ID: "evt_01HZY3V2Q2Q2Q2Q2Q2Q2Q2Q2Q2", At: time.Unix(1, 0).UTC(), Actor: domain.ByAgent(agent),
		Account: "acct_a", Agent: agent, Cause: "req_01HZY3V2Q2Q2Q2Q2Q2Q2Q2Q2Q2",
		Event: domain.DecisionMade{
			RequestID: "req_01HZY3V2Q2Q2Q2Q2Q2Q2Q2Q2Q2",
			Request:   domain.Request{Action: "purchase", Vendor: "coachella.com", Amount: "742.00", Currency: "USD"},
			Outcome:   domain.OutcomeDenied, ReasonCode: "AMOUNT_EXCEEDS_LIMIT", Reason: "the amount is more than 500.00 USD",
			Risk: domain.RiskMedium, PermissionID: "perm_01HZY3V2Q2Q2Q2Q2Q2Q2Q2Q2Q2",
			Checks: []domain.Check{{Rule: domain.RuleAgent, Passed: true}, {Rule: domain.RuleAmount, Detail: "742.00 USD is more than 500.00 USD"}},
		},
	}
}

// BenchmarkFollow is a node that starts: it follows from the first event to the last.
func BenchmarkFollow(b *testing.B) {
	const events = 300_000
	for _, c := range []struct{ agents, decisions int }{{30_000, 0}, {1000, 0}, {1000, 9}} {
		b.Run(fmt.Sprintf("agents=%d/decisions=%d", c.agents, c.decisions), func(b *testing.B) {
			l := mustRun(b, node{config: embedded.Config{Dir: b.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0"}, partitions: 1})
			fill(b, l, c.agents, events/(1+c.decisions), c.decisions)
			want := events / (1 + c.decisions)
			for b.Loop() {
				seen := 0
				err := l.Follow(b.Context(), 0, 0, func(_ domain.Recorded, err error) error {
					if seen++; seen == want {
						return errSeenAll
					}
					return err
				})
				if !errors.Is(err, errSeenAll) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(want*b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "stored/s")
		})
	}
}

var errSeenAll = errors.New("seen all")

// fill appends events in turn to so many agents, with decisions after each.
func fill(b *testing.B, l *running, agents, events, decisions int) {
	b.Helper()
	const writers = 64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			last := map[domain.AgentID]uint64{}
			for i := w; i < events; i += writers {
				agent := domain.AgentID(fmt.Sprintf("agent_%d", i%agents/writers*writers+w))
				r := domain.Record{
					ID: domain.EventID(fmt.Sprintf("evt_%d", i)), At: time.Unix(1, 0).UTC(), Actor: "member:mem_1",
					Account: "acct_a", Agent: agent, Event: domain.PermissionRevoked{PermissionID: "perm_1"},
				}
				receipt, err := l.Append(b.Context(), last[agent], r, "")
				for range decisions {
					if err == nil {
						_, err = l.Append(b.Context(), receipt.Position.Seq, decided(agent), "")
					}
				}
				if err != nil {
					b.Error(err)
					return
				}
				last[agent] = receipt.Position.Seq
			}
		})
	}
	wg.Wait()
}

// BenchmarkScan reads decisions back: all of an account, all of one agent, and
// the newest of each, as a page is made.
func BenchmarkScan(b *testing.B) {
	const stored = 200_000
	for _, c := range []struct{ agents, decisions int }{{1000, 9}} {
		l := mustRun(b, node{config: embedded.Config{Dir: b.TempDir(), Durability: embedded.OS, Listen: "127.0.0.1:0"}, partitions: 1})
		fill(b, l, c.agents, stored/(1+c.decisions), c.decisions)
		for name, q := range map[string]domain.Scan{
			"account":          {Account: "acct_a"},
			"agent":            {Account: "acct_a", Agent: "agent_64"},
			"page of account":  {Account: "acct_a", From: stored - 512, Through: stored},
			"page of agent":    {Account: "acct_a", Agent: "agent_64", From: stored - 32_768, Through: stored},
			"middle of agent":  {Account: "acct_a", Agent: "agent_64", From: stored / 2, Through: stored/2 + 1000},
			"nothing of agent": {Account: "acct_a", Agent: "agent_none", From: stored / 2, Through: stored/2 + 1000},
		} {
			b.Run(fmt.Sprintf("agents=%d/decisions=%d/%s", c.agents, c.decisions, name), func(b *testing.B) {
				seen := 0
				for b.Loop() {
					err := l.Scan(b.Context(), q, func(_ domain.Recorded, err error) error {
						seen++
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(seen)/float64(b.N), "decisions")
			})
		}
	}
}
