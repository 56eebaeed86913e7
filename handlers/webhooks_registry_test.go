package handlers_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
	"github.com/behalf-platform/behalf/projections"
)

// only is the one endpoint there is.
func (c *courier) only() delivery.Endpoint {
	c.t.Helper()
	list, err := c.registry.Endpoints(c.t.Context(), 0)
	if err != nil || len(list) != 1 {
		c.t.Fatalf("got %v, %v, want one endpoint", list, err)
	}
	return list[0]
}

func TestTheRevisionOfAnEndpointChangesWithWhatIsSent(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		id := c.hook("*")
		h, by := c.Webhooks, b.owner
		settings := domain.EndpointSettings{URL: "https://example.com/hook", Types: []string{"*"}}
		seen := []uint64{c.only().Revision}
		for _, step := range []struct {
			name string
			do   func() error
			same bool
		}{
			{name: "filter", do: func() error {
				settings.Types = []string{"agent.registered"}
				_, err := h.Change(t.Context(), by, id, settings, 0)
				return err
			}},
			{name: "rate", do: func() error {
				settings.RatePerSecond = 7
				_, err := h.Change(t.Context(), by, id, settings, 0)
				return err
			}},
			{name: "address", do: func() error {
				settings.URL = "https://example.org/hook"
				_, err := h.Change(t.Context(), by, id, settings, 0)
				return err
			}},
			{name: "verified", do: func() error { _, err := h.Verify(t.Context(), by, id); return err }},
			{name: "pause", do: func() error { _, err := h.Pause(t.Context(), by, domain.PauseEndpoint{EndpointID: id}); return err }},
			{name: "resume", do: func() error { _, err := h.Resume(t.Context(), by, domain.ResumeEndpoint{EndpointID: id}); return err }},
			{name: "disable", do: func() error { _, err := h.Disable(t.Context(), by, id, ""); return err }},
			{name: "enable", do: func() error { _, err := h.Enable(t.Context(), by, domain.ResumeEndpoint{EndpointID: id}); return err }},
			{name: "rotate", do: func() error { _, err := h.Rotate(t.Context(), by, id, nil); return err }},
			{name: "failing", same: true, do: func() error {
				return h.FailingFor(t.Context(), home, domain.FailEndpoint{EndpointID: id, Since: time.Now()})
			}},
			{name: "replay", same: true, do: func() error { c.replay(id, domain.ReplaySelection{DeadLetters: true}); return nil }},
			{name: "the same settings", same: true, do: func() error { _, err := h.Change(t.Context(), by, id, settings, 0); return err }},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			got := c.only().Revision
			if step.same != (got == seen[len(seen)-1]) || !step.same && slices.Contains(seen, got) {
				t.Errorf("%s: got revision %d after %v, want it the same: %t", step.name, got, seen, step.same)
			}
			seen = append(seen, got)
		}
	})
}

func TestWhatNoFilterMeans(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		c.register("agent_ollie")
		c.hook()
		message := func(kind string, agent domain.AgentID) *delivery.Message {
			return &delivery.Message{Type: kind, Agent: agent}
		}
		all := c.only()
		if _, err := c.Webhooks.Change(t.Context(), b.owner, domain.EndpointID(all.ID), domain.EndpointSettings{
			URL: all.URL, Agents: []domain.AgentID{"agent_ollie"},
		}, 0); err != nil {
			t.Fatal(err)
		}
		narrow := c.only()
		for _, kind := range projections.PublicTypes() {
			want := kind != projections.VerificationAllowed
			if got := all.Wants(message(string(kind), "agent_mia")); got != want {
				t.Errorf("%s: got %t, want %t", kind, got, want)
			}
			if got := narrow.Wants(message(string(kind), "agent_ollie")); got != want {
				t.Errorf("%s of the agent: got %t, want %t", kind, got, want)
			}
			if narrow.Wants(message(string(kind), "agent_mia")) || narrow.Wants(message(string(kind), "")) {
				t.Errorf("%s of somebody else: got it wanted", kind)
			}
		}
	})
}

// TestWhatWasMendedIsSentAgain has an endpoint that ended itself: who enables it
// means it.
func TestWhatWasMendedIsSentAgain(t *testing.T) {
	for _, from := range []domain.ResumeFrom{domain.FromHeld, domain.FromNow} {
		t.Run(string(from), func(t *testing.T) {
			lie(t, func(t *testing.T, b *bed) {
				c := b.courier(&memlanes.Store{})
				c.run(c.engine.Run)
				id := c.hook("agent.registered")
				c.refuses(410)
				c.register("agent_a")
				time.Sleep(time.Minute)
				if got := c.only(); got.Enabled {
					t.Fatalf("got %+v, want it disabled", got)
				}
				c.answers(nil)
				if _, err := c.Webhooks.Enable(t.Context(), b.owner, domain.ResumeEndpoint{EndpointID: id, From: from}); err != nil {
					t.Fatal(err)
				}
				c.register("agent_b")
				time.Sleep(time.Minute)
				want := map[domain.ResumeFrom]string{
					domain.FromHeld: "agent.registered:agent_a, agent.registered:agent_b", domain.FromNow: "agent.registered:agent_b",
				}[from]
				if got := c.arrived(id); got != want || !c.only().Enabled {
					t.Errorf("got %q, enabled %t, want %q", got, c.only().Enabled, want)
				}
			})
		})
	}
}

// TestADisableIsForTheAddressThatFailed has a report come late, after somebody
// gave the endpoint another address.
func TestADisableIsForTheAddressThatFailed(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		id := c.hook("*")
		reporter := &handlers.WebhookReporter{Webhooks: c.Webhooks}
		late := delivery.Report{
			Kind: delivery.Disable, Account: home, Endpoint: delivery.EndpointID(id), URL: c.only().URL, Why: delivery.Answered, Status: 410,
		}
		if _, err := c.Webhooks.Change(t.Context(), b.owner, id, domain.EndpointSettings{URL: "https://example.org/mended"}, 0); err != nil {
			t.Fatal(err)
		}
		if err := reporter.Report(t.Context(), late); err != nil || !c.only().Enabled {
			t.Errorf("got %v, enabled %t, want it left alone", err, c.only().Enabled)
		}
		late.URL = c.only().URL
		for range 2 {
			if err := reporter.Report(t.Context(), late); err != nil || c.only().Enabled {
				t.Errorf("got %v, enabled %t, want it disabled, once", err, c.only().Enabled)
			}
		}
		late.Endpoint = "whe_gone"
		for _, kind := range []delivery.ReportKind{
			delivery.Disable, delivery.Failing, delivery.Expiring, delivery.Recovered, delivery.Gap, delivery.Exhausted,
		} {
			late.Kind, late.From, late.Through = kind, 1, 2
			before := b.decided()
			if err := reporter.Report(t.Context(), late); err != nil || b.decided() != before {
				t.Errorf("%s of a webhook that was deleted: got %v, want nothing", kind, err)
			}
		}
	})
}

// TestAnAccountThatCannotBeReadHoldsUpNobodyElse has an event in one account that
// this program doesn't know.
func TestAnAccountThatCannotBeReadHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	var passports projections.Passports
	var failed error
	registry := &handlers.WebhookRegistry{
		Passports: &passports, Partitions: 1, Current: func(context.Context, uint16) error { return failed },
	}
	for i, id := range []domain.AccountID{"acct_a", "acct_b"} {
		_ = passports.Apply(domain.Recorded{
			Record: domain.Record{Account: id, Event: domain.WebhookCreated{EndpointID: domain.EndpointID("whe_" + string(id))}}, Position: domain.Position{Seq: uint64(i + 1)},
		}, nil)
		_ = passports.Apply(domain.Recorded{
			Record: domain.Record{Account: id, Event: domain.WebhookVerified{EndpointID: domain.EndpointID("whe_" + string(id))}}, Position: domain.Position{Seq: uint64(i + 3)},
		}, nil)
	}
	_ = passports.Apply(domain.Recorded{}, &domain.Unreadable{Stream: domain.Stream{Account: "acct_a"}, Err: domain.ErrUnknownKind})
	list, err := registry.Endpoints(t.Context(), 0)
	if err != nil || len(list) != 2 {
		t.Fatalf("got %v, %v, want both endpoints: one that is not named is forgotten", list, err)
	}
	for _, e := range list {
		if e.Runs() != (e.Account == "acct_b") {
			t.Errorf("%s: got %t, want only the account sent to that can be read", e.Account, e.Runs())
		}
	}
	failed = errors.New("behind")
	if list, err := registry.Endpoints(t.Context(), 0); !errors.Is(err, failed) {
		t.Errorf("got %v, %v, want no endpoints but %v", list, err, failed)
	}
}

func TestEndpointsAreThoseOfThePartition(t *testing.T) {
	t.Parallel()
	var passports projections.Passports
	want := map[uint16]int{}
	for _, id := range []domain.AccountID{"acct_a", "acct_b", "acct_c", "acct_d", "acct_e"} {
		want[domain.PartitionOf(id, 4)]++
		_ = passports.Apply(domain.Recorded{Record: domain.Record{Account: id, Event: domain.WebhookCreated{EndpointID: "whe_1"}}, Position: domain.Position{Seq: 1}}, nil)
	}
	registry := &handlers.WebhookRegistry{
		Passports: &passports, Partitions: 4, Current: func(context.Context, uint16) error { return nil },
	}
	for p := range uint16(4) {
		list, err := registry.Endpoints(t.Context(), p)
		if err != nil || len(list) != want[p] {
			t.Errorf("partition %d: got %v, %v, want %d", p, list, err, want[p])
		}
	}
}

// Only who wants decisions misses any when the account lets them go.
func TestWhatAnEndpointMayMissOfDecisions(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		c := b.courier(&memlanes.Store{})
		id := c.hook("*")
		whole := func(types []string, agents []domain.AgentID) time.Time {
			settings := domain.EndpointSettings{URL: "https://example.com/hook", Types: types, Agents: agents}
			if _, err := c.Webhooks.Change(t.Context(), b.owner, id, settings, 0); err != nil {
				t.Fatal(err)
			}
			return c.registry.Whole(c.only(), time.Now().Add(100*time.Hour))
		}
		if got := whole([]string{"*"}, nil); !got.IsZero() {
			t.Errorf("an account that keeps all: got %s, want none", got)
		}
		w := b.node().web(t)
		w.register(b.token, "agent_ollie")
		w.must(200, "PATCH", "/v1/account", b.token, `{"decisionRetention":"24h"}`)
		synctest.Wait()
		for _, test := range []struct {
			types  []string
			agents []domain.AgentID
			may    bool
		}{
			{[]string{"*"}, nil, true},
			{[]string{"verification.*"}, nil, true},
			{[]string{"agent.*", "verification.allowed"}, nil, true},
			{[]string{"*"}, []domain.AgentID{"agent_ollie"}, true},
			{[]string{"agent.*", "member.*"}, nil, false},
			{[]string{"agent.registered"}, []domain.AgentID{"agent_ollie"}, false},
		} {
			got := whole(test.types, test.agents)
			if test.may && time.Since(got.Add(-76*time.Hour)).Abs() > time.Hour || !test.may && !got.IsZero() {
				t.Errorf("%v of %v: got %s, want the log whole for a day: %t", test.types, test.agents, got, test.may)
			}
		}
	})
}
