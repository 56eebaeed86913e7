package handlers_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/infra/memlanes"
)

// courier is a node that sends webhooks, and the world it sends them to.
type courier struct {
	*node
	t        *testing.T
	source   *handlers.WebhookSource
	registry *handlers.WebhookRegistry
	engine   *delivery.Engine
	steward  *handlers.WebhookSteward
	known    *handlers.EngineDeliveries

	mu sync.Mutex
	// answer says what is answered, 200 if it is nil. All below is guarded by mu.
	answer func(delivery.Endpoint, delivery.Message) delivery.Result
	sent   []sentHook
}

// sentHook is a message that arrived.
type sentHook struct {
	to     delivery.EndpointID
	m      delivery.Message
	replay string
}

// courier makes a node that sends webhooks once it is told to run. What lanes
// keep is in store.
func (b *bed) courier(store *memlanes.Store) *courier {
	b.t.Helper()
	n, s := b.hooks()
	c := &courier{node: n, t: b.t}
	c.source = &handlers.WebhookSource{Log: n.log}
	c.registry = &handlers.WebhookRegistry{Passports: n.passports, Partitions: n.log.Partitions(), Current: n.gate.Current}
	quiet := slog.New(slog.DiscardHandler)
	c.engine = &delivery.Engine{
		Source: c.source, Registry: c.registry, Sender: c, Reporter: &handlers.WebhookReporter{Webhooks: n.Webhooks},
		Store: &memlanes.Client{Store: store}, Node: "test", Logs: quiet, Now: time.Now,
	}
	c.steward = &handlers.WebhookSteward{
		Passports: n.passports, Engine: c.engine, Webhooks: n.Webhooks, Source: c.source, Current: n.gate.Current, Logs: quiet,
	}
	c.known = &handlers.EngineDeliveries{Engine: c.engine, Now: time.Now}
	n.Webhooks.Deliveries, n.Webhooks.Challenger = c.known, &s.challenger
	n.Webhooks.Rules.Types = []string{"agent.registered", "member.added", "webhook.created", "webhook.paused", domain.VerificationAllowed}
	return c
}

// run has parts run until what it returns is called, at the end of the test at
// the latest.
func (c *courier) run(parts ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, part := range parts {
		running.Go(func() {
			if err := part(ctx); err != nil {
				c.t.Error(err)
			}
		})
	}
	stop = func() { cancel(); running.Wait() }
	c.t.Cleanup(stop)
	time.Sleep(time.Second) // of the bubble: the lease is taken, and lanes run
	return stop
}

// Send is what the world does with a message.
func (c *courier) Send(_ context.Context, e delivery.Endpoint, m delivery.Message, replay string) delivery.Result {
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	r := delivery.Result{Status: 200, Category: delivery.Answered}
	if answer != nil {
		r = answer(e, m)
	}
	if r.Status == 200 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, sentHook{e.ID, m, replay})
	}
	return r
}

func (c *courier) answers(answer func(delivery.Endpoint, delivery.Message) delivery.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// refuses has each message be answered with a status.
func (c *courier) refuses(status int) {
	c.answers(func(delivery.Endpoint, delivery.Message) delivery.Result {
		return delivery.Result{Status: status, Category: delivery.Answered}
	})
}

// arrived are the types of what arrived since it was asked last, and the agent or
// replay of each, in no order.
func (c *courier) arrived(to domain.EndpointID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	c.sent = slices.DeleteFunc(c.sent, func(s sentHook) bool {
		if s.to != delivery.EndpointID(to) {
			return false
		}
		text := s.m.Type
		if s.m.Agent != "" {
			text += ":" + string(s.m.Agent)
		}
		if s.replay != "" {
			text += " again"
		}
		all = append(all, text)
		return true
	})
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// hook creates an endpoint that is verified.
func (c *courier) hook(types ...string) domain.EndpointID {
	c.t.Helper()
	view, err := c.Webhooks.Create(c.t.Context(), c.bed.owner, domain.EndpointSettings{URL: "https://example.com/hook", Types: types})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.Webhooks.Verify(c.t.Context(), c.bed.owner, view.WebhookID); err != nil {
		c.t.Fatal(err)
	}
	return view.WebhookID
}

// register registers agents, each of which is an event.
func (c *courier) register(names ...string) {
	c.t.Helper()
	for _, name := range names {
		_, _, err := c.RegisterAgent(c.t.Context(), c.bed.owner, domain.RegisterAgent{AgentID: domain.AgentID(name), Name: name, Type: domain.Native}, true)
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *courier) replay(id domain.EndpointID, s domain.ReplaySelection) domain.ReplayID {
	c.t.Helper()
	view, err := c.Webhooks.RequestReplay(c.t.Context(), c.bed.owner, domain.RequestReplay{EndpointID: id, ReplaySelection: s, RatePerSecond: 100})
	if err != nil {
		c.t.Fatal(err)
	}
	return view.ReplayID
}

// replays are how the replays of an endpoint stand, the oldest first.
func (c *courier) replays(id domain.EndpointID) (all []domain.Replay) {
	c.t.Helper()
	account, err := c.passports.Account(home)
	if err != nil {
		c.t.Fatal(err)
	}
	e, _ := account.Endpoint(id)
	return e.Replays
}
