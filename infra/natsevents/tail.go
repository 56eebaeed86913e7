package natsevents

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/projections"
)

// extent is how far the public stream reaches.
type extent struct {
	// last is the sequence of its newest event, 0 for none ever.
	last uint64
	// places is how far each partition was published; one that is not there was not.
	places map[uint16]place
}

// extent finds out how far the public stream reaches: by the checkpoint, and by
// what was published after it.
func (e *Events) extent(ctx context.Context) (extent, uint64, error) {
	var c checkpoint
	at, err := e.readState(ctx, checkpointSubject, &c)
	if err != nil {
		return extent{}, 0, fmt.Errorf("read the checkpoint: %w", err)
	}
	info, err := e.state(ctx)
	if err != nil {
		return extent{}, 0, err
	}
	x := extent{last: info.LastSeq, places: map[uint16]place{}}
	for _, p := range c.Partitions {
		x.places[p.Partition] = p
	}
	if c.Stream > info.LastSeq {
		// The stream was made anew, or lost its end. What it still has says more
		// than the checkpoint, which is of another one.
		c.Stream, x.places = 0, map[uint16]place{}
	}
	if info.Msgs == 0 || c.Stream >= info.LastSeq {
		return x, at, nil
	}
	err = e.each(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(c.Stream+1, info.FirstSeq), HeadersOnly: true,
	}, info.LastSeq, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		cursor, err := projections.ParsePublicCursor(m.Headers().Get(headerCursor))
		if err != nil {
			return fmt.Errorf("an event on %s has no place in the log: %w", m.Subject(), err)
		}
		x.places[cursor.Position.Partition] = placeOf(cursor)
		return nil
	})
	return x, at, err
}

// state is where the public stream stands.
func (e *Events) state(ctx context.Context) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := e.js.Stream(ctx, StreamName)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("stream %s: %w", StreamName, err)
	}
	return stream.CachedInfo().State, nil
}

const (
	fetchMost = 1024
	fetchFor  = 2 * time.Second
	// abandonAfter is when the server removes a consumer that is not read.
	abandonAfter = 30 * time.Second
)

// each calls see with the events a consumer delivers, up to and including
// sequence through, or for ever if that is 0.
func (e *Events) each(ctx context.Context, c jetstream.ConsumerConfig, through uint64, see func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	c.AckPolicy, c.MemoryStorage, c.Replicas, c.InactiveThreshold = jetstream.AckNonePolicy, true, 1, abandonAfter
	create, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := e.js.CreateConsumer(create, StreamName, c)
	if err != nil {
		return fmt.Errorf("read %s: %w", StreamName, err)
	}
	defer e.discard(ctx, consumer.CachedInfo().Name)
	left := consumer.CachedInfo().NumPending
	delivered := uint64(0)
	for through == 0 || left > 0 {
		batch, err := fetch(ctx, consumer, through == 0)
		if err != nil {
			return fmt.Errorf("read %s: %w", StreamName, err)
		}
		some := false
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("read %s: %w", StreamName, err)
			}
			if delivered++; meta.Sequence.Consumer != delivered {
				return fmt.Errorf("read %s: delivery %d came after %d", StreamName, meta.Sequence.Consumer, delivered-1)
			}
			some, left = true, meta.NumPending
			if through > 0 && meta.Sequence.Stream > through {
				return nil
			}
			if err := see(m, meta); err != nil {
				return err
			}
		}
		if err := batch.Error(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("read %s: %w", StreamName, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !some && through > 0 {
			return nil // what was left was removed meanwhile
		}
	}
	return nil
}

// fetch asks for what there is, or, with wait, for what comes in a while.
func fetch(ctx context.Context, c jetstream.Consumer, wait bool) (jetstream.MessageBatch, error) {
	if !wait {
		return c.FetchNoWait(fetchMost)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchFor)
	context.AfterFunc(ctx, cancel)
	return c.Fetch(fetchMost, jetstream.FetchContext(ctx))
}

// discard removes a consumer. If it can't, the server does in a while.
func (e *Events) discard(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = e.js.DeleteConsumer(ctx, StreamName, name)
}
