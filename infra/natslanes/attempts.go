package natslanes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/internal/wait"
)

// Attempt begins to store an attempt, and returns what waits until it is stored,
// which tries as often as that needs. It waits itself while too many are not
// acknowledged: whoever sends must not be faster than what is stored.
func (s *Store) Attempt(account domain.AccountID, endpoint, outcome, name string, value []byte) func(context.Context) error {
	msg := &nats.Msg{Subject: attemptSubject(account, endpoint, outcome), Data: value}
	publish := func() (jetstream.PubAckFuture, error) {
		return s.js.PublishMsgAsync(msg, jetstream.WithMsgID(name), jetstream.WithExpectStream(AttemptsStream),
			jetstream.WithRetryAttempts(0), jetstream.WithStallWait(ackTimeout))
	}
	future, err := publish()
	return func(ctx context.Context) error {
		for again := false; ; again = true {
			if err == nil {
				select {
				case <-future.Ok():
					return nil
				case <-future.Err():
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if again { // many may have failed together, each of which would wait
				if err := wait.For(ctx, ackRetry); err != nil {
					return err
				}
			}
			msg = &nats.Msg{Subject: msg.Subject, Data: value} // the one before may still be read
			future, err = publish()
		}
	}
}

func attemptSubject(account domain.AccountID, endpoint, outcome string) string {
	return attemptsPrefix + string(account) + "." + endpoint + "." + outcome
}

// firstLook is how far back the newest attempts are looked for at first. The
// stream holds those of all endpoints.
const firstLook = 1024

type stored struct {
	seq     uint64
	outcome string
	value   []byte
}

// Attempts yields the newest attempts of an endpoint that came out in one of the
// ways, newest first, of those before a sequence (0: all), at most so many. The
// stream can only be read forwards, so it looks further and further back.
func (s *Store) Attempts(ctx context.Context, account domain.AccountID, endpoint string, outcomes []string, before uint64, most int,
	yield func(uint64, string, []byte) error,
) error {
	info, err := s.attempts.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the attempts: %w", err)
	}
	var subjects []string
	for _, outcome := range outcomes {
		subjects = append(subjects, attemptSubject(account, endpoint, outcome))
	}
	end := info.State.LastSeq + 1
	if before > 0 {
		end = min(end, before)
	}
	for look := uint64(firstLook); most > 0 && end > info.State.FirstSeq; look *= 4 {
		start := max(end-min(look, end), info.State.FirstSeq)
		found, err := s.between(ctx, subjects, start, end)
		if err != nil {
			return fmt.Errorf("read the attempts: %w", err)
		}
		for _, a := range slices.Backward(found) {
			if most--; most < 0 {
				return nil
			}
			if err := yield(a.seq, a.outcome, a.value); err != nil {
				return err
			}
		}
		end = start
	}
	return nil
}

// between reads the messages of some subjects from start up to end, without it.
func (s *Store) between(ctx context.Context, subjects []string, start, end uint64) (found []stored, err error) {
	consumer, err := s.attempts.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(start, 1),
		InactiveThreshold: abandonAfter,
	})
	if err != nil {
		return nil, err
	}
	defer s.discard(ctx, AttemptsStream, consumer)
	if consumer.CachedInfo().NumPending == 0 {
		return nil, nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Stream >= end {
			return found, nil
		}
		outcome := m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]
		found = append(found, stored{meta.Sequence.Stream, outcome, m.Data()})
		if meta.NumPending == 0 {
			return found, nil
		}
	}
}
