package handlers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// StatusLog is where the log stands.
type StatusLog interface {
	Status(ctx context.Context, partition uint16) (domain.LogStatus, error)
	Partitions() int
	Epoch(partition uint16) uint32
}

// Gate says whether this node may decide: it has read the log to its end once,
// its clock agrees with the log's, and it is not stopping. It says also, as a
// stricter matter, whether the node is ready to be sent callers: what it knows
// is recent.
type Gate struct {
	Log StatusLog
	Now func() time.Time
	// Every is how often the log is asked where it stands.
	Every time.Duration
	// MostLag is how old what this node knows may be before it is not ready.
	MostLag time.Duration
	// MostSkew is how far the clocks may differ before it stops deciding.
	MostSkew time.Duration
	// Healthy, when not nil, is another thing to be asked: the server inside.
	Healthy func() error
	Logs    *slog.Logger

	partitions []partitionState // made by Run, before anything reads them
	started    atomic.Bool
	draining   atomic.Bool
	stopping   atomic.Bool
	unhealthy  atomic.Pointer[string]
}

// partitionState is written by the partition's watcher and read by everyone.
type partitionState struct {
	// current is when, by this node's clock, all the log held was known here;
	// in nanoseconds, 0 for never.
	current atomic.Int64
	// skew is how much this node's clock is ahead of the log's, in nanoseconds,
	// and compared when that was found, on a clock that can't be set.
	skew     atomic.Int64
	compared atomic.Pointer[time.Time]
	// seen is the head that was known to be folded.
	seen atomic.Uint64
}

// Run watches the log until ctx ends.
func (g *Gate) Run(ctx context.Context) error {
	g.partitions = make([]partitionState, g.Log.Partitions())
	g.started.Store(true)
	ticker := time.NewTicker(g.Every)
	defer ticker.Stop()
	for first := true; ; first = false {
		current := true
		for p := range g.partitions {
			_, known := g.look(ctx, uint16(p))
			current = current && known
		}
		g.health(ctx)
		wait := ticker.C
		if first || !current {
			// Not caught up yet: look again soon, not a whole interval later.
			wait = time.After(min(g.Every, 10*time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wait:
		}
	}
}

// look asks the log where one partition stands, and reports whether everything
// it holds is known here.
func (g *Gate) look(ctx context.Context, partition uint16) (domain.LogStatus, bool) {
	ctx, cancel := context.WithTimeout(ctx, max(g.Every, time.Second))
	defer cancel()
	s, err := g.Log.Status(ctx, partition)
	if err != nil {
		g.Logs.DebugContext(ctx, "log status", slog.Int("partition", int(partition)), slog.Any("error", err))
		return domain.LogStatus{}, false
	}
	state := &g.partitions[partition]
	state.skew.Store(int64(skew(s)))
	state.compared.Store(&s.Answered)
	if s.Followed {
		state.seen.Store(max(state.seen.Load(), s.Head))
		state.current.Store(s.Asked.UnixNano())
	}
	return s, s.Followed
}

// skew is how far this node's clock is ahead of the log's. The log read its own
// between two readings of ours, so what lies between them is no skew.
func skew(s domain.LogStatus) time.Duration {
	switch {
	case s.Clock.Before(s.Asked):
		return s.Asked.Sub(s.Clock)
	case s.Clock.After(s.Answered):
		return s.Answered.Sub(s.Clock)
	}
	return 0
}

func (g *Gate) health(ctx context.Context) {
	if g.Healthy == nil {
		return
	}
	err := g.Healthy()
	if err == nil {
		g.unhealthy.Store(nil)
		return
	}
	g.Logs.ErrorContext(ctx, "the log's server is not healthy", slog.Any("error", err))
	text := "the log's server is not healthy"
	g.unhealthy.Store(&text)
}

// Drain makes the node not ready for callers, while those it has are answered.
func (g *Gate) Drain() { g.draining.Store(true) }

// Stop makes the node decide nothing more.
func (g *Gate) Stop() { g.stopping.Store(true) }

// MayDecide says why this node must not decide now, or nil. Lag is no reason:
// the fence covers it.
func (g *Gate) MayDecide() error {
	if g.stopping.Load() {
		return errStopping
	}
	if !g.started.Load() {
		return errReading
	}
	if text := g.unhealthy.Load(); text != nil {
		return errors.New(*text)
	}
	for p := range g.partitions {
		if g.partitions[p].current.Load() == 0 {
			return errReading
		}
		if skew := time.Duration(g.partitions[p].skew.Load()); skew.Abs() > g.MostSkew {
			return fmt.Errorf("its clock is off by %s from the log's; set it right", skew.Round(time.Millisecond))
		}
		if at := g.partitions[p].compared.Load(); at == nil || g.Now().Sub(*at) > mostBlind {
			return errBlind
		}
	}
	return nil
}

var (
	errStopping = errors.New("it is shutting down")
	errReading  = errors.New("it is still reading the log")
	errBlind    = errors.New("it can't compare its clock with the log's")
)

// mostBlind is how long a clock is trusted without being compared with the
// log's. The fence does not cover time: a clock that was set back would allow
// by what has expired.
const mostBlind = 5 * time.Second

// IsReady says why callers should not be sent here now, or nil.
func (g *Gate) IsReady() error {
	if err := g.MayDecide(); err != nil {
		return err
	}
	if g.draining.Load() {
		return errStopping
	}
	if lag := g.Lag(); lag > g.MostLag {
		return fmt.Errorf("what it knows of the log is %s old", lag.Round(time.Millisecond))
	}
	return nil
}

// Lag is how old what this node knows of the log is, at the worst partition.
func (g *Gate) Lag() time.Duration {
	if !g.started.Load() {
		return time.Duration(1<<63 - 1)
	}
	now, lag := g.Now(), time.Duration(0)
	for p := range g.partitions {
		lag = max(lag, now.Sub(time.Unix(0, g.partitions[p].current.Load())))
	}
	return lag
}

// Skew is how far this node's clock is ahead of the log's, at the worst partition.
func (g *Gate) Skew() time.Duration {
	if !g.started.Load() {
		return 0
	}
	var worst time.Duration
	for p := range g.partitions {
		if s := time.Duration(g.partitions[p].skew.Load()); s.Abs() > worst.Abs() {
			worst = s
		}
	}
	return worst
}

// Current returns once everything a partition holds now is known here, or fails
// after a second.
func (g *Gate) Current(ctx context.Context, partition uint16) error {
	if !g.started.Load() || int(partition) >= len(g.partitions) {
		return errReading
	}
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	for pause := time.Millisecond; ; pause *= 2 {
		if _, known := g.look(ctx, partition); known {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("not up to date within %s", mostWait)
		}
	}
}

// mostWait bounds how long a position is waited for.
const mostWait = time.Second

// CatchUp returns once everything up to a position is known here. It fails at
// once for a position of another log, and after a second for one that doesn't come.
func (g *Gate) CatchUp(ctx context.Context, p domain.Position) error {
	if !g.started.Load() || int(p.Partition) >= len(g.partitions) || p.Epoch != g.Log.Epoch(p.Partition) {
		return errors.New("the position is not one of this log")
	}
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	for pause := time.Millisecond; g.partitions[p.Partition].seen.Load() < p.Seq; pause *= 2 {
		s, known := g.look(ctx, p.Partition)
		if known && s.Head >= p.Seq {
			return nil
		}
		if known { // a position comes from a packet, so what it names was there before
			return errors.New("the log does not reach that far")
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("not seen within %s", mostWait)
		}
	}
	return nil
}
