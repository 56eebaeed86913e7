package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-platform/behalf"
)

// Changes counts what was done to permissions during a run.
type Changes struct {
	Revocations uint64 `json:"revocations"`
	Grants      uint64 `json:"grants"`
	// Retried are revocations whose first answer said nothing.
	Retried uint64 `json:"retried"`
	// Unsettled are grants whose answer said nothing. What they left behind is
	// not known, so their slots are asked about with both answers right.
	Unsettled uint64 `json:"unsettled"`
}

// changers is how many permissions are changed at once.
const changers = 4

// change revokes and grants until ctx is done.
func (o *Options) change(ctx context.Context, p *plan) Changes {
	transport := o.transport()
	defer transport.CloseIdleConnections()
	var revocations, grants, retried, unsettled atomic.Uint64
	var wg sync.WaitGroup
	for i := range len(p.hot) {
		// Each changer has slots of its own, so that it alone knows their state.
		c := &changer{
			o: o, transport: transport, hot: &p.hot[i], rng: rand.New(rand.NewPCG(o.Seed, uint64(1_000_000+i))),
			revocations: &revocations, grants: &grants, retried: &retried, unsettled: &unsettled,
		}
		for j, a := range p.agents {
			for k, s := range a.slots {
				if (j+k)%len(p.hot) == i {
					c.slots = append(c.slots, s)
				}
			}
		}
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	return Changes{revocations.Load(), grants.Load(), retried.Load(), unsettled.Load()}
}

// changer takes its slots round, one after another.
type changer struct {
	o         *Options
	transport http.RoundTripper
	rng       *rand.Rand
	slots     []*slot
	hot       *atomic.Pointer[slot]

	revocations, grants, retried, unsettled *atomic.Uint64
}

func (c *changer) run(ctx context.Context) {
	for ctx.Err() == nil && len(c.slots) > 0 {
		i := c.rng.IntN(len(c.slots))
		c.hot.Store(c.slots[i])
		pause(ctx, time.Millisecond+rand.N(5*time.Millisecond)) // asked about while it stands
		if !c.round(ctx, c.slots[i]) {
			c.slots = slices.Delete(c.slots, i, i+1)
		}
	}
}

// round revokes a slot's permission and grants another one. It returns false if
// what it left is not known. What is said to have happened is stored after the
// acknowledgement, what may happen before it is sent: in between, both are right.
func (c *changer) round(ctx context.Context, s *slot) bool {
	now := *s.phase.Load()
	now.step = revoking
	s.phase.Store(new(now))
	if !c.revoke(ctx, s, now.id) {
		return false
	}
	c.revocations.Add(1)
	now.step, now.dead = revoked, append(slices.Clip(now.dead), now.id)
	s.phase.Store(new(now))

	pause(ctx, time.Millisecond+rand.N(20*time.Millisecond)) // asked about while it is gone
	if ctx.Err() != nil {
		return true
	}
	now.step = granting
	s.phase.Store(new(now))
	made, err := c.node().Grant(ctx, s.agent.id, s.terms(time.Now().Add(24*time.Hour), false))
	if err != nil {
		if ctx.Err() == nil {
			c.unsettled.Add(1)
			pause(ctx, 100*time.Millisecond)
		}
		return false
	}
	c.grants.Add(1)
	now.step, now.id = granted, made.PermissionID
	s.phase.Store(new(now))
	return true
}

// revoke revokes until it is acknowledged: revoking again is safe.
func (c *changer) revoke(ctx context.Context, s *slot, id string) bool {
	for first := true; ; first = false {
		_, err := c.node().Revoke(ctx, s.agent.id, id, "load test")
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if first && errors.Is(err, behalf.ErrUnavailable) {
			c.retried.Add(1)
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (c *changer) node() *behalf.Client { return c.o.node(c.rng.IntN(len(c.o.URLs)), c.transport) }
