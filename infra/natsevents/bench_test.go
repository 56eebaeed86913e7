package natsevents

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// BenchmarkPublish publishes a log of decisions, from the first on.
func BenchmarkPublish(b *testing.B) {
	const decisions = 100_000
	in := mustInstall(b, 1, nil)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < decisions; i += 64 {
				agent := domain.AgentID(fmt.Sprintf("agent_%d", i%1000))
				r := domain.Record{
					ID: domain.EventID(fmt.Sprintf("evt_%d", i)), At: time.Unix(1, 0), Actor: domain.ByAgent(agent), Account: "acct_1", Agent: agent,
					Event: decision(domain.OutcomeDenied, domain.AmountExceedsLimit),
				}
				if _, err := in.log.Append(b.Context(), 0, r, ""); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for b.Loop() {
		b.StopTimer()
		for _, name := range []string{StreamName, StateName} {
			if err := in.events.js.DeleteStream(b.Context(), name); err != nil {
				b.Fatal(err)
			}
		}
		e := in.mustOpen(b, "bench", func(c *Config) {
			c.Alone = true
			c.Now = func() time.Time { return time.Now().Add(time.Hour) } // nobody decides now
		})
		b.StartTimer()
		stop := run(b, e)
		in.mustReach(b, decisions)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(decisions*b.N)/b.Elapsed().Seconds(), "events/s")
}
