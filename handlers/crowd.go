package handlers

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// Crowd counts the asks that are being decided on a node, so that what can wait
// gives way to them: they share the processors. In a nil Crowd nobody is counted.
type Crowd struct {
	few  int64
	asks atomic.Int64
	// more is how many asks have come when there were more than few already.
	more atomic.Uint64
}

// NewCrowd counts as a crowd what the processors can't decide at once.
func NewCrowd() *Crowd { return &Crowd{few: int64(4 * runtime.GOMAXPROCS(0))} }

func (c *Crowd) enter() {
	if c != nil && c.asks.Add(1) > c.few {
		c.more.Add(1)
	}
}

func (c *Crowd) leave() {
	if c != nil {
		c.asks.Add(-1)
	}
}

// Seen changes while there is a crowd.
func (c *Crowd) Seen() uint64 {
	if c == nil {
		return 0
	}
	return c.more.Load()
}

const (
	// rests is how much longer than it worked somebody rests, at most.
	rests    = 7
	mostRest = 2 * time.Second
	// glance is how often it is looked whether the crowd is still there.
	glance = 10 * time.Millisecond
)

// Rest waits after work that took so long, as long as there is a crowd; seen is
// what [Crowd.Seen] said before the work. Whoever works and rests by turns takes
// an eighth of a processor from those who decide, however long they come, and
// gets on all the same.
func (c *Crowd) Rest(ctx context.Context, seen uint64, worked time.Duration) {
	for rest := min(rests*worked, mostRest); rest > 0; rest -= glance {
		now := c.Seen()
		if now == seen || sleep(ctx, min(rest, glance)) != nil {
			return
		}
		seen = now
	}
}
