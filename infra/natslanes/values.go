package natslanes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// removed is the header of a value that was removed. It stays for a while, or until
// another one takes its place, so that who watches sees it go; it is not a value.
const removed = "Behalf-Removed"

// removedFor is for how long it stays. Who watches again after longer than that
// begins with what there is.
const removedFor = "24h"

// Value reads the newest value. [domain.ErrNotRecorded] is none.
func (s *Store) Value(ctx context.Context, key string) ([]byte, uint64, error) {
	m, err := s.newest(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if m.Header.Get(removed) != "" {
		return nil, 0, domain.ErrNotRecorded
	}
	return m.Data, m.Sequence, nil
}

// newest asks the stream's leader, which has seen every write it acknowledged.
func (s *Store) newest(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	m, err := s.state.GetLastMsgForSubject(ctx, statePrefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, domain.ErrNotRecorded
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return m, nil
}

// Put writes a value in place of a revision, 0 being none. [domain.ErrMoved]
// means that another one is there, and nothing was written; after any other
// error the outcome is unknown.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	written, err := s.put(ctx, key, nil, value, revision)
	if !errors.Is(err, domain.ErrMoved) || revision != 0 {
		return written, err
	}
	m, readErr := s.newest(ctx, key) // what was removed is in the way of what is new
	if readErr != nil || m.Header.Get(removed) == "" {
		return 0, err
	}
	return s.put(ctx, key, nil, value, m.Sequence)
}

func (s *Store) put(ctx context.Context, key string, header nats.Header, value []byte, revision uint64) (uint64, error) {
	msg := &nats.Msg{Subject: statePrefix + key, Header: header, Data: value}
	ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(StateStream),
		jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithRetryAttempts(0))
	switch {
	case moved(err):
		return 0, domain.ErrMoved
	case err != nil:
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	return ack.Sequence, nil
}

// moved reports whether the server refused a write because the subject has a
// newer message. Replicated streams answer with a code of their own.
func moved(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Remove removes a value, if there is one.
func (s *Store) Remove(ctx context.Context, key string) error {
	for {
		_, revision, err := s.Value(ctx, key)
		if errors.Is(err, domain.ErrNotRecorded) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = s.put(ctx, key, nats.Header{removed: []string{"1"}, jetstream.MsgTTLHeader: []string{removedFor}}, nil, revision)
		if !errors.Is(err, domain.ErrMoved) {
			return err
		}
	}
}

// Values calls yield with the values under a prefix, oldest write first, and
// with live also with those that are written later, until ctx ends.
func (s *Store) Values(ctx context.Context, prefix string, live bool, yield func(string, []byte, uint64) error) error {
	filter := []string{statePrefix + prefix, statePrefix + prefix + ".>"}
	consumer, err := s.state.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: filter, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, InactiveThreshold: abandonAfter,
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", prefix, err)
	}
	defer s.discard(ctx, StateStream, consumer)
	left := consumer.CachedInfo().NumPending
	if left == 0 && !live {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("read %s: %w", prefix, err)
	}
	defer messages.Stop()
	for old := true; live || old; {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", prefix, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", prefix, err)
		}
		value := m.Data()
		if m.Headers().Get(removed) != "" {
			value = nil
		}
		if left > 0 {
			left--
		}
		old = meta.NumPending > 0 && left > 0
		if value == nil && (old || !live) {
			continue
		}
		if err := yield(strings.TrimPrefix(m.Subject(), statePrefix), value, meta.Sequence.Stream); err != nil {
			return err
		}
	}
	return nil
}

// discardTimeout bounds what is spent on a consumer that isn't needed any more.
const discardTimeout = time.Second

// discard removes a consumer, which the library leaves behind: a stream has room
// for a thousand. If it can't, the server does after a while.
func (s *Store) discard(ctx context.Context, stream string, c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer cancel()
	if info := c.CachedInfo(); info != nil {
		_ = s.js.DeleteConsumer(ctx, stream, info.Name)
	}
}
