package memlog

import (
	"context"
	"sync/atomic"

	"github.com/behalf-platform/behalf/domain"
)

// follower is one call of Follow.
type follower struct {
	partition uint16
	// handed is the sequence up to which apply has returned.
	handed atomic.Uint64
	stop   context.CancelCauseFunc
}

// Follow calls apply with the events of a partition after a sequence, and goes
// on with new ones.
func (l *Log) Follow(ctx context.Context, partition uint16, after uint64, apply func(domain.Recorded, error) error) error {
	p, err := l.partition(partition)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := &follower{partition: partition, stop: stop}
	f.handed.Store(after)
	l.join(f)
	defer l.leave(f)

	for seq := after; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		next, grown := p.next(seq)
		if next == 0 {
			select {
			case <-grown:
			case <-ctx.Done():
			}
			continue
		}
		if err := l.faults.follow(ctx); err != nil {
			return context.Cause(ctx)
		}
		if err := apply(p.read(next)); err != nil {
			return err
		}
		seq = next
		f.handed.Store(seq)
	}
}

func (l *Log) join(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers[f] = struct{}{}
}

func (l *Log) leave(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.followers, f)
}

// StopFollow makes this client's followers return err, as if each had been cut
// off for good.
func (l *Log) StopFollow(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.followers {
		f.stop(err)
	}
}

// Status reports where a partition stands.
func (l *Log) Status(ctx context.Context, partition uint16) (domain.LogStatus, error) {
	p, err := l.partition(partition)
	if err != nil {
		return domain.LogStatus{}, err
	}
	if err := ctx.Err(); err != nil {
		return domain.LogStatus{}, err
	}
	var s domain.LogStatus
	s.Asked = l.data.config.Now()
	// The log's end is read first: what the followers have seen only grows.
	head, moved := p.ends()
	s.Head, s.Followed = head, l.followed(partition, moved)
	s.Clock = l.data.now()
	s.Answered = l.data.config.Now()
	return s, nil
}

// followed reports whether there is a follower and none is behind.
func (l *Log) followed(partition uint16, moved uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	following := false
	for f := range l.followers {
		if f.partition != partition {
			continue
		}
		if f.handed.Load() < moved {
			return false
		}
		following = true
	}
	return following
}
