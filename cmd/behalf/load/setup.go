package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/behalf-platform/behalf"
)

// setUp registers the agents and grants the permissions.
func (o *Options) setUp(ctx context.Context) (*plan, error) {
	transport := o.transport()
	defer transport.CloseIdleConnections()
	p := newPlan(fmt.Sprintf("load-%08x", rand.Uint32()), o.Agents, o.Permissions)
	p.spending = o.Budget
	o.say("registering %d agents (%s-…)", o.Agents, p.agents[0].id[:len("load-00000000")])
	err := o.each(ctx, o.Agents, func(ctx context.Context, i int) error {
		a := p.agents[i]
		made, err := o.node(i, transport).RegisterAgent(ctx, behalf.NewAgent{AgentID: a.id, Name: "Load test"})
		a.key = made.APIKey
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("register agents: %w", err)
	}
	o.say("granting %d permissions", o.Agents*o.Permissions)
	expires := time.Now().Add(24 * time.Hour)
	err = o.each(ctx, o.Agents*o.Permissions, func(ctx context.Context, i int) error {
		// One agent's permissions one after another: its passport takes one
		// change at a time.
		s := p.agents[i%o.Agents].slots[i/o.Agents]
		made, err := o.node(i, transport).Grant(ctx, s.agent.id, s.terms(expires, o.Budget))
		s.phase.Store(&phase{step: granted, id: made.PermissionID})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("grant permissions: %w", err)
	}
	return p, o.everywhere(ctx, transport, p)
}

// newPlan makes the agents and slots of a run. Limits differ, so that one
// permission can't pass for another.
func newPlan(prefix string, agents, permissions int) *plan {
	p := &plan{agents: make([]*agent, agents)}
	for i := range p.agents {
		a := &agent{id: prefix + "-" + strconv.Itoa(i), slots: make([]*slot, permissions)}
		for j := range a.slots {
			a.slots[j] = &slot{
				agent: a, action: "load:buy-" + strconv.Itoa(j),
				resource: "shop/" + strconv.Itoa(i) + "/" + strconv.Itoa(j), limit: 100_00 * (j + 1),
			}
			a.slots[j].phase.Store(&phase{})
		}
		p.agents[i] = a
	}
	return p
}

func (s *slot) terms(expires time.Time, budgeted bool) behalf.Terms {
	terms := behalf.Terms{
		Action: s.action, Resource: behalf.Patterns{s.resource},
		MaxAmount: string(appendCents(nil, s.limit)), Currency: "USD", ExpiresAt: expires,
	}
	if budgeted {
		terms.Budgets = []behalf.Budget{{Amount: enough, Currency: "USD", Per: "month"}}
	}
	return terms
}

// enough is more than any run spends.
const enough = "1000000000000.00"

// each calls do for every i, as many at a time as the run has asks in flight.
// When the server says to wait, it waits.
func (o *Options) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Concurrency)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return patiently(ctx, func() error { return do(ctx, i) }) })
	}
	return group.Wait()
}

// patiently does something again for as long as the server's rate limit is in
// the way.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		refused, ok := errors.AsType[*behalf.Error](err)
		if !ok || refused.Status != http.StatusTooManyRequests || ctx.Err() != nil {
			return err
		}
		pause(ctx, max(refused.RetryAfter, 100*time.Millisecond))
	}
}

// everywhere waits until each node knows the last agent, and so those before.
func (o *Options) everywhere(ctx context.Context, transport http.RoundTripper, p *plan) error {
	last, err := o.node(0, transport).RegisterAgent(ctx, behalf.NewAgent{AgentID: p.agents[0].id + "-last", Name: "Load test"})
	if err != nil {
		return fmt.Errorf("register agents: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, max(o.Timeout, 10*time.Second))
	defer cancel()
	for i := range o.URLs {
		client := o.node(i, transport)
		client.Token = last.APIKey
		for {
			_, err := client.Me(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%s does not come to know the agents: %w", o.URLs[i], err)
			}
			pause(ctx, 20*time.Millisecond)
		}
	}
	return nil
}

// transport keeps as many connections as there are requests in flight.
func (o *Options) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.MaxIdleConns = o.Concurrency, 0
	return t
}
