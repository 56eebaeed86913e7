package natsalarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
)

const (
	consumerName = "bell"
	// atOnce bounds the alarms that ring in this process at a time. None is
	// fetched before it can ring, so that it isn't kept from another node.
	atOnce = 4
	// waiting bounds those that wait for another try. It is far more than there
	// should ever be, because when it is reached no other alarm rings.
	waiting = 10_000
	// ackWait is after what the server takes a node for dead, and another one
	// gets the alarm. Until ringTimeout no other node has it.
	ackWait     = 30 * time.Second
	ringTimeout = ackWait - 5*time.Second

	firstRetry   = time.Second
	longestRetry = time.Minute

	fetchFor     = 500 * time.Millisecond
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// Run calls ring for each alarm that rings, a few at a time, until ctx ends; it
// returns that error. One node at a time has an alarm. It comes again, after a
// pause that grows, if ring returns an error, and to another node if ring has
// not returned when ctx ends. One that can't be read is logged and dropped.
// Run waits for the rings it has begun, whose ctx ends with its own, or when
// they take too long.
//
// A Set in the very moment in which an earlier alarm of the same approval goes
// off is removed with it, before ring is called. So ring ends with setting the
// alarm that is next by the log, if there is one.
func (a *Alarms) Run(ctx context.Context, ring func(context.Context, domain.Alarm) error) error {
	var ringing sync.WaitGroup
	defer ringing.Wait()
	free := make(chan struct{}, atOnce)
	pause := firstPause
	for failures := 1; ; failures++ {
		err := a.fetch(ctx, free, func(m jetstream.Msg) {
			failures, pause = 0, firstPause
			ringing.Go(func() {
				defer func() { <-free }()
				a.settle(ctx, m, a.ring(ctx, m, ring))
			})
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failures > 1 { // once is normal: a consumer was lost, or has a new leader
			a.logger.LogAttrs(ctx, slog.LevelWarn, "ringing of alarms begins again", slog.Any("error", err))
		}
		if err := wait.For(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// fetch hands out the messages that ring until something is wrong with the
// connection or the consumer. It takes a place in free for each, which whoever
// has it gives back.
func (a *Alarms) fetch(ctx context.Context, free chan struct{}, hand func(jetstream.Msg)) error {
	consumer, err := a.consumer(ctx)
	if err != nil {
		return err
	}
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		// It doesn't listen to ctx, but it is short: what is on its way when ctx
		// ends has to be given back, or the server waits for this node. The
		// library's iterator now and then forgets to ask for the next message.
		m, err := consumer.Next(jetstream.FetchMaxWait(fetchFor))
		switch {
		case err == nil:
			hand(m)
			continue
		case ctx.Err() != nil:
			err = ctx.Err()
		case errors.Is(err, nats.ErrTimeout): // there is none
			err = nil
		}
		<-free
		if err != nil {
			return err
		}
	}
}

// consumer opens the one consumer that all nodes share, or makes it.
func (a *Alarms) consumer(ctx context.Context) (jetstream.Consumer, error) {
	stream, err := a.stream(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       consumerName,
		FilterSubject: ringPrefix + ">",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: waiting,
		MaxDeliver:    -1,
	})
}

// What becomes of a message that was not rung.
type (
	unreadable struct{ error }
	early      struct{ by time.Duration }
)

func (e early) Error() string { return fmt.Sprintf("it came %s before its time", e.by) }

func (a *Alarms) ring(ctx context.Context, m jetstream.Msg, ring func(context.Context, domain.Alarm) error) error {
	alarm, err := parse(m.Subject(), m.Data())
	if err != nil {
		return unreadable{err}
	}
	if by := alarm.At.Sub(a.now()); by > 0 {
		return early{by}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, ringTimeout)
	defer cancel()
	return ring(ctx, alarm)
}

// settle tells the server what became of a message. If that gets lost the
// message comes again.
func (a *Alarms) settle(ctx context.Context, m jetstream.Msg, err error) {
	level := slog.LevelWarn
	var (
		tooSoon early
		broken  unreadable
		sent    error
	)
	switch {
	case err == nil:
		sent = m.Ack()
	case errors.As(err, &broken):
		level, sent = slog.LevelError, m.Term()
	case errors.As(err, &tooSoon):
		level, sent = slog.LevelDebug, m.NakWithDelay(min(tooSoon.by, longestRetry))
	case ctx.Err() != nil: // another node shall have it at once
		level, sent = slog.LevelDebug, m.Nak()
	default:
		sent = m.NakWithDelay(retry(m))
	}
	if err := errors.Join(err, sent); err != nil {
		a.logger.LogAttrs(ctx, level, "an alarm was not rung", slog.String("subject", m.Subject()), slog.Any("error", err))
	}
}

// retry is how long a message waits after it was not rung.
func retry(m jetstream.Msg) time.Duration {
	meta, err := m.Metadata()
	if err != nil {
		return longestRetry
	}
	pause := firstRetry
	for n := uint64(1); n < meta.NumDelivered && pause < longestRetry; n++ {
		pause *= 2
	}
	return min(pause, longestRetry)
}
