package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
)

// in runs a test by a clock of its own.
func in(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newBed()) })
}

// rest lets time pass, and everybody do what is due meanwhile.
func rest(d time.Duration) {
	time.Sleep(d) // of the test's own clock
	synctest.Wait()
}

func TestEverythingIsDelivered(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		for range 1500 { // before anybody looks: read from the log
			b.book.write(account, "agent_a", "decision.allowed")
		}
		b.roll.set(endpoint("whe_a"))
		other := endpoint("whe_b")
		other.From = 1500
		b.roll.set(other)
		stop := start(t, b.engine(t, nil))
		defer func() { stop() }()
		rest(time.Second)
		for range 6000 { // more than the ring holds
			b.book.write(account, "agent_a", "decision.allowed")
		}
		rest(time.Minute)
		if got := b.world.arrived("whe_a"); !same(got, ids(1, 7500)) {
			t.Errorf("got %s, want 1 to 7500, each once", brief(got))
		}
		if got := b.world.arrived("whe_b"); !same(got, ids(1501, 7500)) {
			t.Errorf("got %s, want 1501 to 7500, each once", brief(got))
		}
		stop()
		stop = start(t, b.engine(t, nil))
		b.book.write(account, "agent_a", "decision.allowed")
		rest(time.Minute)
		if got := b.world.arrived("whe_a"); !same(got, ids(1, 7501)) {
			t.Errorf("after a restart: got %s, want each once", brief(got))
		}
	})
}

func TestEndpointsGetWhatTheyWant(t *testing.T) {
	in(t, func(t *testing.T, b *bed) {
		allowed := endpoint("whe_allowed")
		allowed.Types = []string{"decision.allowed"}
		decisions := endpoint("whe_decisions")
		decisions.Types, decisions.Agents = []string{"decision.*"}, []domain.AgentID{"agent_b"}
		foreign := endpoint("whe_foreign")
		foreign.Account = "acct_b"
		unverified, disabled := endpoint("whe_unverified"), endpoint("whe_disabled")
		unverified.Verified, disabled.Enabled = false, false
		for _, e := range []delivery.Endpoint{allowed, decisions, foreign, unverified, disabled} {
			b.roll.set(e)
		}
		defer start(t, b.engine(t, nil))()
		rest(time.Second)
		b.book.write(account, "agent_a", "decision.allowed") // 1
		b.book.write(account, "agent_b", "decision.denied")  // 2
		b.book.write(account, "agent_b", "decisions.other")  // 3
		b.book.write(account, "agent_b", "")                 // 4
		b.book.write("acct_b", "agent_b", "agent.disabled")  // 5
		rest(time.Second)
		for id, want := range map[delivery.EndpointID][]string{
			"whe_allowed": {"evt_1"}, "whe_decisions": {"evt_2"}, "whe_foreign": {"evt_5"}, "whe_unverified": nil, "whe_disabled": nil,
		} {
			if got := b.world.arrived(id); !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", id, got, want)
			}
		}
		disabled.Enabled = true // nothing of what came meanwhile is lost
		b.roll.set(disabled)
		rest(time.Second)
		if got, want := b.world.arrived("whe_disabled"), []string{"evt_1", "evt_2", "evt_3"}; !same(got, want) {
			t.Errorf("enabled again: got %v, want %v", got, want)
		}
	})
}

// TestOutages has an endpoint that is down for long, and comes back by itself.
func TestOutages(t *testing.T) {
	for _, outage := range []time.Duration{6 * time.Hour, 3 * 24 * time.Hour} {
		t.Run(outage.String(), func(t *testing.T) {
			in(t, func(t *testing.T, b *bed) {
				for _, ordering := range []delivery.Ordering{delivery.Parallel, delivery.PerAgent, delivery.Strict} {
					e := endpoint("whe_" + delivery.EndpointID(ordering))
					e.Ordering = ordering
					b.roll.set(e)
					began := time.Now()
					b.world.answer(e.ID, func(_ context.Context, m delivery.Message, _ int) delivery.Result {
						if down := time.Since(began); down > time.Minute && down < outage {
							return failed(delivery.Connect)
						}
						return ok()
					})
				}
				b.roll.set(endpoint("whe_healthy"))
				stop := start(t, b.engine(t, nil))
				defer func() { stop() }()
				const events = 3000
				for i := range events {
					b.book.write(account, domain.AgentID(fmt.Sprintf("agent_%d", i%7)), "decision.allowed")
					rest(outage / events)
					if i == events/2 { // in the middle of it the node is another one
						stop()
						stop = start(t, b.engine(t, nil))
					}
				}
				if got := b.world.arrived("whe_healthy"); !same(got, ids(1, events)) {
					t.Errorf("the healthy one: got %s, want all", brief(got))
				}
				rest(10 * time.Minute)
				for _, ordering := range []delivery.Ordering{delivery.Parallel, delivery.PerAgent, delivery.Strict} {
					got := b.world.arrived("whe_" + delivery.EndpointID(ordering))
					if !same(got, ids(1, events)) {
						t.Errorf("%s: got %s, want all", ordering, brief(got))
					}
					if ordering == delivery.Strict && !slices.Equal(got, ids(1, events)) {
						t.Errorf("%s: not in order", ordering)
					}
				}
				if n := b.world.attempts("whe_parallel"); n > events+int(outage/(4*time.Minute))+30 {
					t.Errorf("got %d attempts, want no more than one in some minutes while it is down", n)
				}
			})
		})
	}
}
