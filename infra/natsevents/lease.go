package natsevents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
	"github.com/behalf-platform/behalf/projections"
)

// lease is the right to publish. It spares nodes from getting in each other's
// way; that the stream has no gap and no repeat is not by the lease but by the
// condition each publish carries.
type lease struct {
	Node string `json:"node"`
	// Epoch is one higher for each node that takes it.
	Epoch uint64 `json:"epoch"`
	// seq is where it lies, 0 for none. Whoever holds it writes it again now and
	// then: one that stays where it is, is of a node that is gone.
	seq uint64
}

// errTaken says that another node has the lease.
var errTaken = errors.New("another node publishes")

// readLease reads the lease there is.
func (e *Events) readLease(ctx context.Context) (lease, error) {
	var l lease
	seq, err := e.readState(ctx, leaseSubject, &l)
	l.seq = seq
	return l, err
}

// readState reads a message of ours, if there is one, and says where it lies.
func (e *Events) readState(ctx context.Context, subject string, into any) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := e.js.Stream(ctx, StateName)
	if err != nil {
		return 0, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(m.Data, into); err != nil {
		return 0, fmt.Errorf("read %s: %w", subject, err)
	}
	return m.Sequence, nil
}

// writeState writes a message of ours on condition that the one before it is at
// a sequence.
func (e *Events) writeState(ctx context.Context, subject string, last uint64, value any) (uint64, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ack, err := e.js.Publish(ctx, subject, b, jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithExpectStream(StateName))
	if moved(err) {
		return 0, errTaken
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// acquire waits until the lease is this node's.
func (e *Events) acquire(ctx context.Context) (*lease, error) {
	var seen uint64
	var since time.Time
	for {
		held, err := e.readLease(ctx)
		now := e.Now()
		switch {
		case err != nil:
			seen = 0 // what is not seen is not known to be gone
		case held.seq != seen || since.IsZero():
			seen, since = held.seq, now
		}
		free := held.Node == "" || held.Node == e.Node || e.Alone || now.Sub(since) >= e.Lease
		if err == nil && free {
			mine := lease{Node: e.Node, Epoch: held.Epoch + 1}
			if mine.seq, err = e.writeState(ctx, leaseSubject, held.seq, mine); err == nil {
				return &mine, nil
			}
		}
		if err != nil && !errors.Is(err, errTaken) {
			e.Logger.DebugContext(ctx, "can't take the lease of the public events", slog.Any("error", err))
		}
		if err := wait.For(ctx, e.Lease/9); err != nil {
			return nil, err
		}
	}
}

// hold keeps the lease until ctx ends, or it is lost: taken by another, or not
// renewed for so long that it may have been.
func (e *Events) hold(ctx context.Context, l *lease) error {
	renewed := e.Now()
	for {
		if err := wait.For(ctx, e.Lease/3); err != nil {
			return err
		}
		seq, err := e.writeState(ctx, leaseSubject, l.seq, *l)
		switch {
		case err == nil:
			l.seq, renewed = seq, e.Now()
		case errors.Is(err, errTaken):
			// It may be our own that was written and not acknowledged.
			held, err := e.readLease(ctx)
			if err == nil && (held.Node != l.Node || held.Epoch != l.Epoch) {
				return errTaken
			}
			if err == nil {
				l.seq = held.seq
			}
		case e.Now().Sub(renewed) > e.Lease:
			return fmt.Errorf("renew the lease: %w", err)
		}
	}
}

// release gives the lease back, so that another node need not wait. If that gets
// lost, it waits.
func (e *Events) release(ctx context.Context, l *lease) {
	_, _ = e.writeState(context.WithoutCancel(ctx), leaseSubject, l.seq, lease{Epoch: l.Epoch})
}

// checkpoint is how far the log was published when the stream's newest event was
// at Stream. It bounds what has to be read of the stream to know how far it
// reaches, and knows it when the stream has been emptied.
type checkpoint struct {
	Stream     uint64  `json:"stream"`
	Partitions []place `json:"partitions"`
}

// place is how far a partition of the log was published: all before Seq, and of
// that record all up to Index.
type place struct {
	Partition uint16 `json:"partition"`
	Epoch     uint32 `json:"epoch"`
	Seq       uint64 `json:"seq"`
	Index     int    `json:"index"`
}

// whole is the index of a record of which there is no more to publish.
const whole = 1 << 30

func (p place) cursor() projections.PublicCursor {
	return projections.PublicCursor{Position: domain.Position{Partition: p.Partition, Epoch: p.Epoch, Seq: p.Seq}, Index: p.Index}
}

func placeOf(c projections.PublicCursor) place {
	return place{c.Position.Partition, c.Position.Epoch, c.Position.Seq, c.Index}
}
