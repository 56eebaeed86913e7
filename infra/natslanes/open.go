// Package natslanes keeps the state of delivery lanes, and the attempts to
// deliver, in NATS JetStream. It knows neither lanes nor endpoints, and decides
// nothing: it writes what it is given on the condition that it is given.
//
// Streams BEHALF_WEBHOOKS and BEHALF_ATTEMPTS have these subjects. They are
// streams of their own because things are removed from them: of the first all
// but the newest of each subject, of the second what is old.
//
//	behalf.webhooks.<key>                          a value, the newest only
//	behalf.attempts.<account>.<endpoint>.<outcome> attempts, for a while
//
// On a server of its own, a node needs the rights to publish
//
//	behalf.webhooks.>
//	behalf.attempts.>
//	$JS.API.STREAM.{INFO,CREATE,UPDATE}.{BEHALF_WEBHOOKS,BEHALF_ATTEMPTS}
//	$JS.API.STREAM.MSG.GET.BEHALF_WEBHOOKS
//	$JS.API.CONSUMER.*.{BEHALF_WEBHOOKS,BEHALF_ATTEMPTS}.>
//	$JS.API.CONSUMER.MSG.NEXT.{BEHALF_WEBHOOKS,BEHALF_ATTEMPTS}.>
//
// and to subscribe to its inbox.
//
// Neither has to be on disk before it is acknowledged: what is lost with the
// power is delivered again. So with the embedded server both belong to the
// streams that are not synced.
package natslanes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams.
const (
	StateStream    = "BEHALF_WEBHOOKS"
	AttemptsStream = "BEHALF_ATTEMPTS"
)

const (
	statePrefix    = "behalf.webhooks."
	attemptsPrefix = "behalf.attempts."
)

// Config says where lanes are kept.
type Config struct {
	// Conn outlives the store, which doesn't close it.
	Conn *nats.Conn
	// Replicas is 1, 3 or 5. The streams may have more than this, not fewer.
	Replicas int
	// Keep is how long attempts are kept, 30 days if 0, and Most how many of an
	// endpoint for each outcome, 10,000 if 0.
	Keep time.Duration
	Most int64
}

func (c Config) validate() error {
	var errs []error
	if c.Conn == nil {
		errs = append(errs, errors.New("no connection"))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("%d replicas: want 1, 3 or 5", c.Replicas))
	}
	if c.Keep < 0 || c.Keep > 0 && c.Keep < time.Minute {
		errs = append(errs, fmt.Errorf("attempts kept for %s: want a minute or more", c.Keep))
	}
	if c.Most < 0 {
		errs = append(errs, fmt.Errorf("%d attempts kept: want more", c.Most))
	}
	return errors.Join(errs...)
}

// Store is this process's client. Its methods may be called from several
// goroutines.
type Store struct {
	js              jetstream.JetStream
	state, attempts jetstream.Stream
}

const (
	// requestTimeout is within what a healthy server answers.
	requestTimeout = 3 * time.Second
	// ackTimeout is after what a publish without an answer is tried again, and
	// ackRetry is how long it waits before that.
	ackTimeout = 5 * time.Second
	ackRetry   = 50 * time.Millisecond
	// mostPending bounds the attempts that are not acknowledged.
	mostPending = 4096
	// sameAttempt is within what two attempts of a name are one. The server keeps
	// each name in memory for so long.
	sameAttempt = 10 * time.Second
	// abandonAfter is after what the server removes a reader that has gone.
	abandonAfter = 30 * time.Second
)

// Open opens the streams, and makes them if they aren't there. Any number of
// nodes may open them at the same time.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open the lanes: %w", err)
	}
	js, err := jetstream.New(c.Conn, jetstream.WithPublishAsyncMaxPending(mostPending),
		jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		return nil, fmt.Errorf("open the lanes: %w", err)
	}
	s := &Store{js: js}
	if s.state, err = s.open(ctx, stateConfig(c)); err != nil {
		return nil, fmt.Errorf("open the lanes: %w", err)
	}
	if s.attempts, err = s.open(ctx, attemptsConfig(c)); err != nil {
		return nil, fmt.Errorf("open the lanes: %w", err)
	}
	return s, nil
}

func stateConfig(c Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StateStream,
		Description:       "Behalf webhooks: how far each endpoint is",
		Subjects:          []string{statePrefix + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          c.Replicas,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: 1,
		AllowMsgTTL:       true,
	}
}

func attemptsConfig(c Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              AttemptsStream,
		Description:       "Behalf webhooks: attempts to deliver",
		Subjects:          []string{attemptsPrefix + "*.*.*"},
		Storage:           jetstream.FileStorage,
		Replicas:          c.Replicas,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxAge:            cmp.Or(c.Keep, 30*24*time.Hour),
		MaxMsgsPerSubject: cmp.Or(c.Most, 10_000),
		Duplicates:        sameAttempt,
	}
}

// open opens a stream, or makes it. What the settings say about how much is
// kept is changed; what would break the store is refused.
func (s *Store) open(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	for {
		stream, err := s.openOnce(ctx, want)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", want.Name, err)
		}
		return stream, nil
	}
}

func (s *Store) openOnce(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = s.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	if err := differences(have, want); err != nil {
		return nil, err
	}
	fades := have.AllowMsgTTL || !want.AllowMsgTTL
	if have.MaxAge == want.MaxAge && have.MaxMsgsPerSubject == want.MaxMsgsPerSubject && fades {
		return stream, nil
	}
	have.MaxAge, have.MaxMsgsPerSubject = want.MaxAge, want.MaxMsgsPerSubject
	have.AllowMsgTTL = have.AllowMsgTTL || want.AllowMsgTTL
	return s.js.UpdateStream(ctx, have)
}

// differences says in what way a stream would lose what it must not.
func differences(have, want jetstream.StreamConfig) error {
	var found []string
	for _, fault := range []struct {
		is   bool
		what string
	}{
		{strings.Join(have.Subjects, " ") != strings.Join(want.Subjects, " "), fmt.Sprintf("holds %s, not %s", have.Subjects, want.Subjects)},
		{want.MaxAge == 0 && (have.MaxAge > 0 || have.MaxMsgs > 0 || have.MaxBytes > 0), "removes values by its limits"},
		{have.Retention != want.Retention, "keeps messages by another rule than its limits"},
		{have.Discard != want.Discard, "refuses what is new"},
		{have.Replicas < want.Replicas, fmt.Sprintf("has %d replicas, fewer than %d", have.Replicas, want.Replicas)},
		{have.Storage != want.Storage, "is not stored in files"},
	} {
		if fault.is {
			found = append(found, fault.what)
		}
	}
	if found == nil {
		return nil
	}
	return fmt.Errorf("it %s; change that with `nats stream edit`", strings.Join(found, ", "))
}
