package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// Follow calls apply with every event of a partition's streams after a
// sequence, those of one stream in order, and goes on with new ones. What can't
// be decoded comes as [*domain.Unreadable]. Apply is called for one at a time.
// It reconnects by itself and returns when ctx ends or apply returns an error,
// with that error.
func (l *Log) Follow(ctx context.Context, partition uint16, after uint64, apply func(domain.Recorded, error) error) error {
	p, err := l.partition(partition)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	all := p.followers.add(after, p.states())
	defer p.followers.remove(all)
	if head := l.dense(ctx, p, after); head > 0 {
		if err := l.catchUp(ctx, p, all, section{from: after + 1, keep: keepEvents}, head, apply); err != nil {
			return err
		}
	}
	var (
		one   sync.Mutex // apply at a time
		group sync.WaitGroup
	)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, f := range all {
		group.Go(func() {
			stop(l.read(ctx, p, section{from: f.handed.Load() + 1, filter: f.filter}, 0, func(it item) error {
				one.Lock()
				defer one.Unlock()
				if ctx.Err() != nil { // the other one ended while this one waited
					return context.Cause(ctx)
				}
				if err := apply(it.record, it.err); err != nil {
					stop(err)
					return err
				}
				f.handed.Store(it.seq)
				return nil
			}))
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// catchUp reads a section for all followers at once, up to the head. If what lies
// there has gone, it goes on until the next message, which is as good.
func (l *Log) catchUp(ctx context.Context, p *partition, all []*follower, s section, head uint64, apply func(domain.Recorded, error) error) error {
	err := l.read(ctx, p, s, 0, func(it item) error {
		if it.kept {
			if err := apply(it.record, it.err); err != nil {
				return err
			}
		}
		for _, f := range all {
			f.handed.Store(it.seq)
		}
		if it.seq < head {
			return nil
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
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
	info, err := p.info(ctx)
	if err != nil || info.State.LastSeq < after+longCatchUp {
		return 0
	}
	events := uint64(0)
	for _, filter := range p.states() {
		c, err := l.consumer(ctx, p, section{from: after + 1, filter: filter})
		if err != nil {
			return 0 // the reader meets it again and knows what to do
		}
		events += c.CachedInfo().NumPending
		l.discard(ctx, p, c)
	}
	head = info.State.LastSeq
	if events < (head-after)/denseCatchUp {
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

// follower is how far one filter's reader has come.
type follower struct {
	filter string
	handed atomic.Uint64 // the sequence of the newest message it has taken
	// clear is a sequence up to which there is no event after handed, as of a
	// time when it was looked up. It may be less than handed.
	clear atomic.Uint64
}

// add adds a follower for each filter.
func (f *followers) add(after uint64, filters []string) []*follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running = map[*follower]struct{}{}
	}
	all := make([]*follower, len(filters))
	for i, filter := range filters {
		all[i] = &follower{filter: filter}
		all[i].handed.Store(after)
		f.running[all[i]] = struct{}{}
	}
	return all
}

func (f *followers) remove(all []*follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range all {
		delete(f.running, one)
	}
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
	asked := l.now()
	info, err := p.info(ctx)
	answered := l.now()
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
		next, err := l.ask(ctx, p, question{Seq: seen + 1, Next: f.filter})
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
	now, err := p.info(ctx)
	if err != nil {
		return false, err
	}
	return now.Cluster != nil && now.Cluster.Leader == was.Cluster.Leader, nil
}
