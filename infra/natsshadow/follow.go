package natsshadow

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
	heartbeat    = 2 * time.Second // two are missed before following begins again
	abandonAfter = 30 * time.Second
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// Follow calls see with the kind of the newest record of each agent, and then of
// each record that is stored, until ctx ends. It begins again by itself where
// something breaks, and then with the newest again: see meets a kind more than
// once, and of several that were stored meanwhile the last.
func (l *Log) Follow(ctx context.Context, see func(domain.Stream, domain.Kind)) error {
	pause := firstPause
	for failures := 1; ; failures++ {
		err := l.followOnce(ctx, func(s domain.Stream, k domain.Kind) {
			failures, pause = 0, firstPause
			see(s, k)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failures > 1 { // once is normal: a consumer was lost, or is not known everywhere yet
			l.logger.LogAttrs(ctx, slog.LevelWarn, "following of shadows begins again", slog.Any("error", err))
		}
		if err := wait.For(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// followOnce follows until something is wrong with the connection or the
// consumer. Only headers are sent: what was decided is of no interest here.
func (l *Log) followOnce(ctx context.Context, see func(domain.Stream, domain.Kind)) error {
	if err := l.connected(); err != nil {
		return err
	}
	// What is on its way when the connection breaks is lost, and no gap shows if
	// nothing comes after it. So nothing here outlives the connection.
	live, broken := context.WithCancelCause(ctx)
	status := l.conn.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-status:
			broken(nats.ErrDisconnected)
		case <-live.Done():
		}
	})
	defer watch.Wait()
	defer l.conn.RemoveStatusListener(status) // closes it
	defer broken(nil)

	consumer, err := l.consumer(live)
	if err != nil {
		return err
	}
	defer l.discard(consumer)
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat), jetstream.PullMaxMessages(512))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for delivered := uint64(1); ; delivered++ {
		m, err := messages.Next(jetstream.NextContext(live))
		if err != nil {
			return errors.Join(err, context.Cause(live))
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != delivered {
			return fmt.Errorf("delivery %d came after %d", meta.Sequence.Consumer, delivered-1)
		}
		if s, ok := parse(m.Subject()); ok {
			see(s, domain.Kind(m.Headers().Get(headerKind)))
		}
	}
}

func (l *Log) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return l.js.CreateConsumer(ctx, StreamName, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     prefix + ">",
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		Replicas:          1,
		MemoryStorage:     true,
		InactiveThreshold: abandonAfter,
	})
}

// discard removes a consumer. If it can't, the server does in a while.
func (l *Log) discard(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if l.connected() == nil {
		_ = l.js.DeleteConsumer(ctx, StreamName, c.CachedInfo().Name)
	}
}
