package natsevents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
	"github.com/behalf-platform/behalf/projections"
)

// slack is by how much the clocks of those who write the log, keep it, and keep
// the public stream may differ.
const slack = time.Minute

// refusedBy is an error of whoever takes the events. It ends a reading.
type refusedBy struct{ error }

// Read calls see with the events that are wanted, as structured CloudEvents,
// those of an account in order, and returns when it has seen the last there was
// when it began. With Follow it goes on until ctx ends; it begins again where it
// was, as often as it takes. An error of see ends it and is returned.
func (e *Events) Read(ctx context.Context, q projections.EventQuery, see func(event []byte) error) error {
	state, err := e.state(ctx)
	if err != nil {
		return err
	}
	c, err := e.start(ctx, &q, state)
	if err != nil {
		return err
	}
	through := state.LastSeq
	if q.Follow {
		through = 0
	} else if state.Msgs == 0 || q.New {
		return nil
	}
	for pause := firstPause; ; {
		err := e.each(ctx, c, through, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			if err := e.show(&q, m, see); err != nil {
				return refusedBy{err}
			}
			c.DeliverPolicy, c.OptStartSeq, c.OptStartTime = jetstream.DeliverByStartSequencePolicy, meta.Sequence.Stream+1, nil
			pause = firstPause
			return nil
		})
		var refused refusedBy
		switch {
		case errors.As(err, &refused):
			return refused.error
		case ctx.Err() != nil:
			return ctx.Err()
		case !q.Follow:
			return err
		}
		e.Logger.DebugContext(ctx, "reading of public events begins again", slog.Any("error", err))
		if err := wait.For(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, time.Second)
	}
}

// start is the consumer that begins where a query does.
func (e *Events) start(ctx context.Context, q *projections.EventQuery, state jetstream.StreamState) (jetstream.ConsumerConfig, error) {
	c := jetstream.ConsumerConfig{FilterSubjects: q.Subjects(), DeliverPolicy: jetstream.DeliverAllPolicy}
	from := q.Since
	if q.After != (projections.PublicCursor{}) {
		at := q.After.Position
		partition := domain.PartitionOf(q.Account, e.Log.Partitions())
		if at.Partition != partition || at.Epoch != e.Log.Epoch(partition) {
			return c, domain.RejectField(domain.Invalid, "/after", "is not a cursor of this account's events; send one that an event or a packet carried")
		}
		r, err := e.Log.Read(ctx, at)
		if errors.Is(err, domain.ErrNotRecorded) {
			return c, domain.RejectField(domain.Invalid, "/after", "is not a cursor of this account's events; send one that an event or a packet carried")
		}
		if err != nil {
			return c, fmt.Errorf("read the log at %s: %w", at, err)
		}
		from = r.LoggedAt
		if state.FirstSeq > 1 && (state.Msgs == 0 || from.Before(state.FirstTime)) {
			return c, domain.RejectField(domain.Conflict, "/after", "is so old that events after it are not kept any more; begin with since, or without either, and read what is missing from the decisions")
		}
	}
	switch {
	case q.New:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, state.LastSeq+1
	case !from.IsZero():
		// An event is published after it was recorded, however late.
		begin := from.Add(-slack)
		if begin.Unix() <= 0 { // which the server takes for no time
			return c, nil
		}
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &begin
	}
	return c, nil
}

// show hands an event on if it is one that is wanted.
func (e *Events) show(q *projections.EventQuery, m jetstream.Msg, see func([]byte) error) error {
	if q.After != (projections.PublicCursor{}) {
		at, err := projections.ParsePublicCursor(m.Headers().Get(headerCursor))
		if err != nil || !at.After(q.After) {
			return err
		}
	}
	event, err := structured(m.Headers(), m.Data())
	if err != nil {
		return fmt.Errorf("the event on %s: %w", m.Subject(), err)
	}
	if !q.Since.IsZero() {
		at, err := timeOf(event)
		if err != nil {
			return fmt.Errorf("the event on %s: %w", m.Subject(), err)
		}
		if at.Before(q.Since) {
			return nil
		}
	}
	return see(event)
}

// timeOf is the time of a CloudEvent in the form it is published in: no member
// before it has a quote in it.
func timeOf(event []byte) (time.Time, error) {
	_, rest, found := bytes.Cut(event, []byte(`,"time":"`))
	text, _, closed := bytes.Cut(rest, []byte{'"'})
	if !found || !closed {
		return time.Time{}, errors.New("it has no time")
	}
	return time.Parse(time.RFC3339Nano, string(text))
}
