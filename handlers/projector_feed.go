package handlers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// feed fills one view from one partition. One goroutine makes batches of what
// is read, another writes them.
type feed struct {
	p         *Projector
	view      projections.View
	tapes     *tapes
	partition uint16
	// most is how many events a batch may have: usual, or fewer while it is looked for
	// which of some the database refuses, all up to cautious.
	usual, most int
	cautious    uint64
	// lingers is how often a batch waits for more while there is a rush of events.
	lingers int
	// refused is an event that the database is known to refuse.
	refused *projections.Inapplicable
	// ahead is how often the rows were found to be ahead of the log.
	ahead int
	// moved says that something was written since it was last asked.
	moved bool
}

// run fills the view until ctx ends, the view is gone, or it can't go on.
func (f *feed) run(ctx context.Context) {
	var retry backoff
	for retry.wait(ctx) == nil {
		err := f.once(ctx)
		if f.moved {
			retry.reset()
			f.moved = false
		}
		if ctx.Err() != nil || errors.Is(err, projections.ErrNoView) {
			return
		}
		refused, isRefused := errors.AsType[*projections.Inapplicable](err)
		switch {
		case isRefused && f.stop(ctx, refused):
			return
		case errors.Is(err, projections.ErrAnotherLog):
			f.tell(ctx, slog.LevelError, "the rows are of another log; rebuild the projection", err)
			return
		case errors.Is(err, errAgain):
			continue
		case errors.Is(err, projections.ErrStale): // an unknown outcome, or another who writes
			f.tell(ctx, slog.LevelInfo, "the checkpoint has moved", err)
		case !isRefused:
			f.tell(ctx, slog.LevelWarn, "can't project now", err)
		}
		retry.longer()
	}
}

func (f *feed) tell(ctx context.Context, level slog.Level, message string, err error) {
	f.p.Logs.LogAttrs(ctx, level, message, slog.String("view", f.view.String()), slog.Int("partition", int(f.partition)), slog.Any("error", err))
}

// stop records that the view can't go on, and reports whether that was done.
func (f *feed) stop(ctx context.Context, refused *projections.Inapplicable) bool {
	f.tell(ctx, slog.LevelError, "a projection stops: it met an event that can't be applied", refused)
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	err := f.p.Store.Stop(ctx, f.view, f.partition, refused.Seq, refused.Err.Error())
	if err != nil {
		f.tell(ctx, slog.LevelWarn, "record that a projection stopped", err)
	}
	return err == nil
}

// errAgain says that the same is to be begun again at once, in another way.
var errAgain = errors.New("again")

// filled is a batch to be written.
type filled struct {
	batch *projections.Batch
	span  projections.Span
}

// once fills the view from its checkpoint on, until that fails.
func (f *feed) once(ctx context.Context) error {
	from, err := f.begin(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	spare, ready := make(chan *projections.Batch, 2), make(chan filled)
	spare <- projections.NewBatch(f.view.Projection)
	spare <- projections.NewBatch(f.view.Projection)
	b := &builder{
		feed: f, listener: f.tapes.listen(from), spare: spare, ready: ready,
		from: from, most: f.most, cautious: f.cautious, refused: f.refused,
	}
	var building sync.WaitGroup
	building.Go(func() {
		defer close(ready)
		defer b.listener.leave()
		b.err = b.run(ctx)
	})
	for next := range ready {
		if err = f.write(ctx, next); err != nil {
			break
		}
		spare <- next.batch // there are two of them, so there is room
	}
	cancel()
	building.Wait()
	return cmp.Or(err, b.err)
}

// mostAhead is how often rows must be found to be ahead of the log before that
// is believed: a new leader of a cluster may not know its own end yet.
const mostAhead = 6

// begin is where the view has come to.
func (f *feed) begin(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	at, err := f.p.Store.Begin(ctx, f.view, f.partition, f.p.Log.Epoch(f.partition))
	if err != nil {
		return 0, err
	}
	status, err := f.p.Log.Status(ctx, f.partition)
	if err != nil {
		return 0, fmt.Errorf("ask the log where it stands: %w", err)
	}
	if at.Seq <= status.Head {
		f.ahead = 0
		return at.Seq, nil
	}
	err = fmt.Errorf("the rows reach to event %d, but the log ends at %d: it has lost events, and the projection has to be rebuilt", at.Seq, status.Head)
	if f.ahead++; f.ahead >= mostAhead {
		err = &projections.Inapplicable{Seq: at.Seq + 1, Err: err}
	}
	return 0, err
}

// write writes a batch. Of one the database refuses it is found out which event
// that was: those before it are applied.
func (f *feed) write(ctx context.Context, next filled) error {
	ctx, cancel := context.WithTimeout(ctx, mostApply)
	defer cancel()
	if err := f.tapes.settle(ctx, next.span.Through); err != nil {
		return fmt.Errorf("wait for the log: %w", err)
	}
	events := next.batch.Events
	work := f.p.Crowd.Work()
	err := f.p.Store.Apply(ctx, f.view, next.span, next.batch)
	if err == nil {
		work.Rest(ctx)
		f.moved = true
		if next.span.Through >= f.cautious {
			f.most = f.usual
		}
		return nil
	}
	refused, ok := errors.AsType[*projections.Inapplicable](err)
	switch {
	case !ok:
		return err
	case events == 1:
		return &projections.Inapplicable{Seq: next.span.Through, Err: refused.Err}
	case refused.Seq > next.span.From && refused.Seq <= next.span.Through:
		f.refused = refused
	default:
		f.most, f.cautious = max(1, events/2), next.span.Through
	}
	return errAgain
}

// builder makes batches.
type builder struct {
	feed     *feed
	listener *listener
	spare    <-chan *projections.Batch
	ready    chan<- filled
	from     uint64 // where the next batch begins
	most     int
	cautious uint64
	refused  *projections.Inapplicable
	err      error // why it ended, once it has
}

func (b *builder) run(ctx context.Context) error {
	for {
		var batch *projections.Batch
		select {
		case batch = <-b.spare:
			batch.Reset()
		case <-ctx.Done():
			return ctx.Err()
		}
		through, err := b.fill(ctx, batch)
		if through > b.from {
			span := projections.Span{
				Partition: b.feed.partition, Epoch: b.feed.p.Log.Epoch(b.feed.partition), From: b.from, Through: through,
			}
			select {
			case b.ready <- filled{batch, span}:
				b.from = through
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}

// fill adds what comes to a batch until it is full or has waited for long
// enough, and returns the newest event in it, or the newest of those that come
// next and have all expired. An error is of the event after.
func (b *builder) fill(ctx context.Context, batch *projections.Batch) (through uint64, err error) {
	limit := b.feed.usual
	if b.from < b.cautious {
		limit = b.most
	}
	events, gone, err := b.next(ctx, limit)
	if err != nil || gone > 0 {
		return gone, asInapplicable(err)
	}
	linger := time.NewTicker(cmp.Or(b.feed.p.Linger, usualLinger))
	defer linger.Stop()
	lingered := 0
	enough := func() bool {
		lingered++
		return lingered >= b.feed.lingers || batch.Events < lingered*rush
	}
	for over, bytes := false, 0; ; {
		for i := range events {
			size, err := b.add(batch, &events[i])
			if err != nil {
				return through, err
			}
			bytes += size
			through = events[i].Position.Seq
		}
		if over || batch.Events >= limit || bytes >= mostBytes {
			return through, nil
		}
		if events = b.listener.more(limit - batch.Events); len(events) > 0 {
			select {
			case <-linger.C:
				over = enough()
			default:
			}
			continue
		}
		select {
		case <-linger.C:
			over = enough()
			events = b.listener.more(limit - batch.Events)
		case <-ctx.Done():
			return through, ctx.Err()
		}
	}
}

// How long it waits for events before it asks the log whether those that it says
// it has are still there, and how long at most.
const (
	firstIdle   = time.Second
	longestIdle = time.Minute
)

var errIdle = errors.New("nothing came")

// next waits for events. Where nothing comes because all that is left of the log
// has expired, it returns where the log ends.
func (b *builder) next(ctx context.Context, most int) (events []domain.Recorded, gone uint64, err error) {
	for idle := firstIdle; ; idle = min(2*idle, longestIdle) {
		wait, cancel := context.WithTimeoutCause(ctx, idle, errIdle)
		events, err = b.listener.next(wait, most)
		cancel()
		if !errors.Is(err, errIdle) || ctx.Err() != nil {
			return events, 0, err
		}
		if gone, err = b.expired(ctx); gone > 0 || err != nil {
			return nil, gone, err
		}
	}
}

// expired is where the log ends if there is nothing in it any more after what is
// in the batches, and 0 otherwise.
func (b *builder) expired(ctx context.Context) (uint64, error) {
	log, partition := b.feed.p.Log, b.feed.partition
	status, err := log.Status(ctx, partition)
	if err != nil || status.Head <= b.from {
		return 0, err
	}
	q := domain.Scan{Partition: partition, From: b.from + 1, Through: status.Head}
	err = log.Scan(ctx, q, func(domain.Recorded, error) error { return errFound })
	if errors.Is(err, errFound) {
		return 0, nil
	}
	return status.Head, err
}

// add adds an event to a batch, and returns how many bytes of it the batch keeps.
func (b *builder) add(batch *projections.Batch, r *domain.Recorded) (int, error) {
	if b.refused != nil && r.Position.Seq >= b.refused.Seq {
		return 0, b.refused
	}
	decisions, changes := len(batch.Decisions), len(batch.Changes)
	if err := batch.Add(*r); err != nil {
		return 0, err
	}
	switch {
	case len(batch.Decisions) > decisions:
		return len(batch.Decisions[decisions].Record), nil
	case len(batch.Changes) > changes:
		return len(batch.Changes[changes].Record), nil
	}
	return 0, nil
}

// asInapplicable is an event that can't be read as one that can't be applied.
func asInapplicable(err error) error {
	if unreadable, ok := errors.AsType[*domain.Unreadable](err); ok {
		return &projections.Inapplicable{Seq: unreadable.Position.Seq, Err: unreadable}
	}
	return err
}
