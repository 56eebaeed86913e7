package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
)

// TestWhoRefusesEverything has an endpoint that answers 500 to all, for a while
// and while what delivers is restarted again and again.
func TestWhoRefusesEverything(t *testing.T) {
	for _, ordering := range []delivery.Ordering{delivery.Parallel, delivery.PerAgent, delivery.Strict} {
		t.Run(string(ordering), func(t *testing.T) {
			in(t, func(t *testing.T, b *bed) {
				b.rules = killRules()
				e := endpoint("whe_a")
				e.Ordering = ordering
				b.roll.set(e)
				ill := time.Now().Add(31 * time.Second)
				b.world.answer("whe_a", func(context.Context, delivery.Message, int) delivery.Result {
					if time.Now().Before(ill) {
						return answer(500)
					}
					return ok()
				})
				stop := start(t, b.engine(t, nil))
				const events = 3000
				for i := range events {
					b.book.write(account, domain.AgentID(fmt.Sprintf("agent_%d", i%20)), "decision.allowed")
					rest(10 * time.Millisecond)
					if i%200 == 199 {
						stop()
						stop = start(t, b.engine(t, nil))
					}
				}
				rest(2 * time.Minute)
				status, err := b.engine(t, nil).Status(t.Context(), account, "whe_a")
				t.Log(len(b.world.arrived("whe_a")), status.State, status.Cursor, len(status.Parked), status.Totals, status.PausedUntil, err)
				stop()
				if got := b.world.arrived("whe_a"); !same(got, ids(1, events)) {
					t.Errorf("got %s, want all", brief(got))
				}
			})
		})
	}
}
