package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/behalf-platform/behalf/domain"
)

// rechecks are the names of NATS clients whose credentials may not be good any
// more. The fold adds to them and never waits; a goroutine ends connections.
type rechecks struct {
	mu sync.Mutex
	// names is guarded by mu.
	names map[string]bool
	some  chan struct{} // has a token while there are names
}

func newRechecks() *rechecks { return &rechecks{some: make(chan struct{}, 1)} }

// note takes in an event that was folded.
func (c *rechecks) note(r *domain.Recorded) {
	switch r.Event.Kind() {
	case domain.KindAgentKeyRotated, domain.KindAgentDisabled:
		c.add(string(r.Agent))
	case domain.KindMemberTokenRotated:
		if e, ok := r.Event.(domain.MemberTokenRotated); ok {
			c.add(string(e.MemberID))
		}
	case domain.KindMemberRemoved:
		if e, ok := r.Event.(domain.MemberRemoved); ok {
			c.add(string(e.MemberID))
		}
	}
}

func (c *rechecks) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = map[string]bool{}
	}
	c.names[name] = true
	select {
	case c.some <- struct{}{}:
	default: // it is known already
	}
}

func (c *rechecks) take() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := c.names
	c.names = nil
	return names
}

// endConnections ends what NATS clients have open with a credential that is not
// good any more, until ctx ends.
func (n *node) endConnections(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.rechecks.some:
		}
		names := n.rechecks.take()
		if n.broker.server == nil {
			continue // an external server's clients are its operator's
		}
		if err := n.broker.server.Recheck(names); err != nil && ctx.Err() == nil {
			n.logs.WarnContext(ctx, "end NATS connections", slog.Any("error", err))
		}
	}
}
