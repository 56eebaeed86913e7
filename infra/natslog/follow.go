package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// Follow calls apply with every event of a partition's streams after a
// sequence, in order, and goes on with new ones. What can't be decoded comes as
// [*domain.Unreadable]. It reconnects by itself and returns when ctx ends or
// apply returns an error, with that error.
func (l *Log) Follow(ctx context.Context, partition uint16, after uint64, apply func(domain.Recorded, error) error) error {
	p, err := l.partition(partition)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	f := p.followers.add(after)
	defer p.followers.remove(f)
	take := func(it item) error {
		if it.kept {
			if err := apply(it.record, it.err); err != nil {
				return err
			}
		}
		f.handed.Store(it.seq)
		return nil
	}
	if head := l.dense(ctx, p, after); head > 0 {
		everything := section{from: after + 1, keep: p.states}
		err := l.read(ctx, p, everything, 0, func(it item) error {
			if err := take(it); err != nil || it.seq < head {
				return err
			}
			return errEnough
		})
		if !errors.Is(err, errEnough) {
			return err
		}
	}
	events := section{from: f.handed.Load() + 1, filter: p.everyState()}
	return l.read(ctx, p, events, 0, take)
}

// A catch-up is long from here on, and dense if one in so many messages is an event.
const (
	longCatchUp  = 4096
	denseCatchUp = 10
)

// dense reports up to where it is quicker to read everything and leave out the
// decisions here, 0 if nowhere. To pick out messages by a wildcard, the server
// goes through the subjects of a block for each; where most are wanted, reading
// all takes a fifth of the time.
func (l *Log) dense(ctx context.Context, p *partition, after uint64) (head uint64) {
	info, err := p.stream.Info(ctx)
	if err != nil || info.State.LastSeq < after+longCatchUp {
		return 0
	}
	c, err := l.consumer(ctx, p, section{from: after + 1, filter: p.everyState()})
	if err != nil {
		return 0 // the reader meets it again and knows what to do
	}
	defer l.discard(ctx, p, c)
	head = info.State.LastSeq
	if events := c.CachedInfo().NumPending; events < (head-after)/denseCatchUp {
		return 0
	}
	return head
}

// followers are those of one partition in this process.
type followers struct {
	mu sync.Mutex
	// running is guarded by mu.
	running map[*follower]struct{}
}

// follower is how far a follower has come.
type follower struct {
	handed atomic.Uint64 // the sequence of the newest message it has taken
	// clear is a sequence up to which there is no event after handed, as of a
	// time when it was looked up. It may be less than handed.
	clear atomic.Uint64
}

func (f *followers) add(after uint64) *follower {
	one := &follower{}
	one.handed.Store(after)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running = map[*follower]struct{}{}
	}
	f.running[one] = struct{}{}
	return one
}

func (f *followers) remove(one *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, one)
}

func (f *followers) list() []*follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*follower, 0, len(f.running))
	for one := range f.running {
		list = append(list, one)
	}
	return list
}

// Status reports where a partition stands. It is followed if there is a
// follower in this process, and every one there is has taken all events up to
// the head.
func (l *Log) Status(ctx context.Context, partition uint16) (domain.LogStatus, error) {
	p, err := l.partition(partition)
	if err == nil {
		err = connected(l.conn)
	}
	if err != nil {
		return domain.LogStatus{}, fmt.Errorf("status: %w", err)
	}
	asked := time.Now()
	info, err := p.stream.Info(ctx)
	answered := time.Now()
	if err != nil {
		return domain.LogStatus{}, fmt.Errorf("status of partition %d: %w", partition, err)
	}
	s := domain.LogStatus{Head: info.State.LastSeq, Clock: info.TimeStamp, Asked: asked, Answered: answered}
	if s.Followed, err = l.followed(ctx, p, info); err != nil {
		return domain.LogStatus{}, fmt.Errorf("status of partition %d: %w", partition, err)
	}
	return s, nil
}

// followed reports whether all followers have taken every event up to the head.
// Those that took less than the head are right if there is no event in between.
// That is looked up at the leader, and after the head was: a consumer's own
// count may be that of a server that has less than the head.
func (l *Log) followed(ctx context.Context, p *partition, info *jetstream.StreamInfo) (bool, error) {
	head := info.State.LastSeq
	running := p.followers.list()
	for _, f := range running {
		seen := max(f.handed.Load(), f.clear.Load())
		if seen >= head {
			continue
		}
		next, err := l.ask(ctx, p, question{Seq: seen + 1, Next: p.everyState()})
		if err != nil && !errors.Is(err, domain.ErrNotRecorded) {
			return false, err
		}
		if err == nil && next.Sequence <= head {
			return false, nil
		}
		if same, err := l.sameLeader(ctx, p, info); !same || err != nil {
			return false, err
		}
		f.clear.Store(head)
	}
	return len(running) > 0, nil
}

// sameLeader reports whether the stream is still led by the server that gave
// the info. A new one may answer before it has applied all that is stored.
func (l *Log) sameLeader(ctx context.Context, p *partition, was *jetstream.StreamInfo) (bool, error) {
	if was.Cluster == nil || was.Config.Replicas == 1 {
		return true, nil
	}
	now, err := p.stream.Info(ctx)
	if err != nil {
		return false, err
	}
	return now.Cluster != nil && now.Cluster.Leader == was.Cluster.Leader, nil
}
