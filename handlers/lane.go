package handlers

import (
	"context"
	"hash/maphash"

	"github.com/behalf-platform/behalf/domain"
)

// Lanes let what changes a stream go one after another within this process. The
// fence of the log would let one of all who come at once through, and send the
// others back to decide again. Nothing relies on them but speed: another node's
// writes are met by the fence alone.
//
// Streams share a fixed number of lanes, so that none has to be made or
// forgotten; two that meet in one only wait for each other.
type Lanes struct {
	seed  maphash.Seed
	turns [1024]chan struct{} // each holds a token while somebody has the turn
}

// NewLanes makes lanes that are all free.
func NewLanes() *Lanes {
	l := &Lanes{seed: maphash.MakeSeed()}
	for i := range l.turns {
		l.turns[i] = make(chan struct{}, 1)
	}
	return l
}

// enter waits for the turn in a stream's lane. Whoever gets it must leave.
func (l *Lanes) enter(ctx context.Context, s domain.Stream) (leave func(), err error) {
	turn := l.turns[maphash.Comparable(l.seed, s)%uint64(len(l.turns))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
