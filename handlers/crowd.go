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
	now  func() time.Time
	few  int64
	asks atomic.Int64
	// more is how many asks have come when there were more than few already.
	more atomic.Uint64
}

// NewCrowd counts as a crowd what the processors can't decide at once.
func NewCrowd(now func() time.Time) *Crowd {
	return &Crowd{now: now, few: int64(4 * runtime.GOMAXPROCS(0))}
}

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

// Stint is some work of those who give way.
type Stint struct {
	crowd *Crowd
	seen  uint64 // of more, when it began
	began time.Time
}

// Work begins a Stint.
func (c *Crowd) Work() Stint {
	if c == nil {
		return Stint{}
	}
	return Stint{c, c.more.Load(), c.now()}
}

const (
	// rests is how much longer than it worked somebody rests, at most.
	rests    = 15
	mostRest = 2 * time.Second
	// glance is how often it is looked whether the crowd is still there.
	glance = 10 * time.Millisecond
)

// Rest ends the work, and waits as long as there is a crowd. Whoever works and
// rests by turns takes a sixteenth of a processor from those who decide, however
// long they come, and gets on all the same.
func (s Stint) Rest(ctx context.Context) {
	if s.crowd == nil {
		return
	}
	for rest := min(rests*s.crowd.now().Sub(s.began), mostRest); rest > 0; rest -= glance {
		more := s.crowd.more.Load()
		if more == s.seen || sleep(ctx, min(rest, glance)) != nil {
			return
		}
		s.seen = more
	}
}
