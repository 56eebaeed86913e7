package handlers

import (
	"context"
	"math"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers/delivery"
	"github.com/behalf-platform/behalf/projections"
)

// ToldLog is what telling others of events needs of the log.
type ToldLog interface {
	Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error
	Settle(ctx context.Context) error
	// SeqAt is the sequence of the oldest record that was stored at or after t, or
	// the one after the newest.
	SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error)
	StatusLog
}

// WebhookSource is the log as messages to endpoints.
type WebhookSource struct {
	Log ToldLog
	// Crowd is those who are decided on, whom reading gives way to. It may be nil.
	Crowd *Crowd
}

var _ delivery.Source = (*WebhookSource)(nil)

const (
	// mostStepped is how many records are read before they are settled together.
	mostStepped = 512
	// stepping is how many may have been read ahead.
	stepping = 2 * mostStepped
)

// Scan reads records and makes messages of them.
func (s *WebhookSource) Scan(ctx context.Context, stretch delivery.Stretch, yield func(delivery.Step) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	read := make(chan domain.Recorded, stepping)
	done := make(chan error, 1)
	go func() {
		defer close(read)
		q := domain.Scan{Partition: stretch.Partition, From: stretch.From, Through: stretch.Through, Live: stretch.Live}
		done <- s.Log.Scan(ctx, q, func(r domain.Recorded, err error) error {
			if err != nil {
				return err
			}
			select {
			case read <- r:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	err := s.pass(ctx, read, yield)
	cancel(err)
	for range read { // until the reader has ended
	}
	if scanned := <-done; err == nil {
		err = scanned
	}
	return err
}

// pass settles what was read, as much at once as is there, and yields it.
func (s *WebhookSource) pass(ctx context.Context, read <-chan domain.Recorded, yield func(delivery.Step) error) error {
	var batch []domain.Recorded
	for r := range read {
		work := s.Crowd.Work()
		batch = append(batch[:0], r)
		for more := true; more && len(batch) < mostStepped; {
			select {
			case r, more = <-read:
				if more {
					batch = append(batch, r)
				}
			default:
				more = false
			}
		}
		if err := s.Log.Settle(ctx); err != nil {
			return err
		}
		for i := range batch {
			step, err := stepOf(&batch[i])
			if err != nil {
				return err
			}
			if err := yield(step); err != nil {
				return err
			}
		}
		work.Rest(ctx)
	}
	return nil
}

// stepOf is a record as messages.
func stepOf(r *domain.Recorded) (delivery.Step, error) {
	var room [4]projections.PublicEvent
	events, err := projections.Public(room[:0], r)
	if err != nil {
		return delivery.Step{}, &domain.Unreadable{Stream: r.Stream(), Position: r.Position, Err: err}
	}
	step := delivery.Step{Account: r.Account, Seq: r.Position.Seq}
	if e, ok := r.Event.(domain.WebhookTested); ok {
		test, err := testOf(r, e.EndpointID)
		step.Messages = append(step.Messages, test)
		return step, err
	}
	for i := range events {
		m := messageOf(&events[i])
		m.Fleeting = r.Keep > 0
		step.Messages = append(step.Messages, m)
	}
	return step, nil
}

func messageOf(e *projections.PublicEvent) *delivery.Message {
	return &delivery.Message{
		ID: e.ID(), Type: string(e.Type), Agent: e.Agent, At: e.At, Seq: e.Position.Seq,
		Index: uint16(min(e.Index, math.MaxUint16)), Data: e.Data, About: delivery.EndpointID(e.Webhook),
	}
}

// testOf is a message that says nothing but that it is a test.
func testOf(r *domain.Recorded, id domain.EndpointID) (*delivery.Message, error) {
	data, err := json.Marshal(struct {
		WebhookID domain.EndpointID `json:"webhookId"`
		Test      bool              `json:"test"`
	}{id, true})
	return &delivery.Message{
		ID: string(r.ID), Type: typeTest, To: delivery.EndpointID(id), At: r.At, Seq: r.Position.Seq, Data: data,
	}, err
}

// Bounds are the oldest record that the log holds, and the newest.
func (s *WebhookSource) Bounds(ctx context.Context, partition uint16) (first, newest uint64, err error) {
	if first, err = s.SeqAt(ctx, partition, time.Unix(0, 0)); err != nil {
		return 0, 0, err
	}
	status, err := s.Log.Status(ctx, partition)
	return first, status.Head, err
}

// SeqAt is the oldest record at or after a time, or one after the newest.
func (s *WebhookSource) SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error) {
	return s.Log.SeqAt(ctx, partition, t)
}

// Partitions is how many partitions the accounts are spread over.
func (s *WebhookSource) Partitions() int { return s.Log.Partitions() }
