package handlers_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

func TestPagesOfAttemptsHoldEachOnce(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run)
		id := c.hook("agent.registered")
		names := []string{"agent_a", "agent_b", "agent_c", "agent_d", "agent_e"}
		var want []string
		for _, name := range names {
			c.register(name)
			want = append(want, string(c.eventID()))
			time.Sleep(time.Second)
		}
		slices.Reverse(want)
		for limit := 1; limit <= 6; limit++ {
			var got []string
			pages := 0
			for q := (handlers.AttemptQuery{PageQuery: handlers.PageQuery{Limit: limit}}); ; {
				page, err := c.Webhooks.Attempts(t.Context(), b.owner, id, q)
				if err != nil {
					t.Fatal(err)
				}
				pages++
				for _, a := range page.Attempts {
					got = append(got, string(a.EventID))
				}
				if q.Cursor = page.NextCursor; q.Cursor == "" {
					break
				}
			}
			if !slices.Equal(got, want) || pages != (len(want)+limit-1)/limit {
				t.Errorf("%d a page: got %v on %d pages, want %v", limit, got, pages, want)
			}
		}
		for outcome, n := range map[handlers.AttemptOutcome]int{handlers.AttemptDelivered: 5, handlers.AttemptFailed: 0, handlers.AttemptGivenUp: 0} {
			page, err := c.Webhooks.Attempts(t.Context(), b.owner, id, handlers.AttemptQuery{PageQuery: handlers.PageQuery{Limit: 9}, Outcome: outcome})
			if err != nil || len(page.Attempts) != n {
				t.Errorf("%s: got %+v, %v, want %d", outcome, page, err, n)
			}
		}
	})
}

func TestTheStatusOfAnEndpointThatIsDown(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.run(c.engine.Run)
		id := c.hook("agent.registered")
		status := func() handlers.DeliveryStatus {
			t.Helper()
			s, err := c.Webhooks.Status(t.Context(), b.owner, id)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if s := status(); s.State != handlers.DeliveryIdle || !s.LastAttemptAt.IsZero() || s.LagSeconds != 0 {
			t.Errorf("got %+v, want it idle", s)
		}
		c.answers(func(delivery.Endpoint, delivery.Message) delivery.Result {
			return delivery.Result{Category: delivery.Timeout}
		})
		c.register("agent_a", "agent_b")
		time.Sleep(time.Hour)
		if s := status(); s.State != handlers.DeliveryHolding || s.LagSeconds < 3500 || s.LastError != "timeout" || s.FailingSince.IsZero() || !s.LastDeliveryAt.IsZero() {
			t.Errorf("got %+v, want it holding", s)
		}
		c.answers(nil)
		time.Sleep(time.Hour)
		if s := status(); s.State != handlers.DeliveryIdle || s.LastError != "" || !s.FailingSince.IsZero() || s.LastDeliveryAt.IsZero() {
			t.Errorf("got %+v, want it idle again", s)
		}
		if _, err := c.Webhooks.Pause(t.Context(), b.owner, domain.PauseEndpoint{EndpointID: id}); err != nil {
			t.Fatal(err)
		}
		if s := status(); s.State != handlers.DeliveryStopped {
			t.Errorf("got %+v, want it stopped", s)
		}
	})
}

// TestAChallengeSaysWhyThereIsNoAnswer each in words of its own, which name no
// address.
func TestAChallengeSaysWhyThereIsNoAnswer(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		e := &domain.Endpoint{ID: "whe_a", EndpointSettings: domain.EndpointSettings{URL: "https://example.com/hook"}}
		said := map[string]delivery.Category{}
		for _, why := range []delivery.Category{
			delivery.DNS, delivery.Connect, delivery.TLS, delivery.Timeout, delivery.Broken, delivery.Blocked, delivery.Unready,
		} {
			c.answers(func(delivery.Endpoint, delivery.Message) delivery.Result { return delivery.Result{Category: why} })
			answer, err := c.known.Challenge(t.Context(), home, e, "nonce")
			if err != nil || answer.Fault == "" || said[answer.Fault] != "" {
				t.Errorf("%s: got %q and %v, want words of its own, not those of %s", why, answer.Fault, err, said[answer.Fault])
			}
			said[answer.Fault] = why
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		c.answers(func(delivery.Endpoint, delivery.Message) delivery.Result {
			<-ctx.Done()
			return delivery.Result{Category: delivery.Timeout}
		})
		answer, err := c.known.Challenge(ctx, home, e, "nonce")
		if err != nil || said[answer.Fault] != delivery.Timeout {
			t.Errorf("got %q and %v, want that it took too long", answer.Fault, err)
		}
	})
}
