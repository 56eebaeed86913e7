// Package natsshadow is where shadows are recorded, on NATS JetStream: what would
// have been decided under other permissions. It is no part of the log. Nothing is
// authorized by it, so it may forget: what is older than its age is removed.
//
// A stream BEHALF_SHADOW has one subject for each agent, which is the guard of
// what is appended to it:
//
//	behalf.shadow.<account>.<agent>
//
// On a server of its own, a node needs the rights to publish
//
//	behalf.shadow.>
//	$JS.API.STREAM.INFO.BEHALF_SHADOW
//	$JS.API.STREAM.CREATE.BEHALF_SHADOW
//	$JS.API.STREAM.UPDATE.BEHALF_SHADOW
//	$JS.API.STREAM.MSG.GET.BEHALF_SHADOW
//	$JS.API.CONSUMER.CREATE.BEHALF_SHADOW.>
//	$JS.API.CONSUMER.MSG.NEXT.BEHALF_SHADOW.>
//	$JS.API.CONSUMER.DELETE.BEHALF_SHADOW.>
//
// and to subscribe to its inbox.
package natsshadow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// StreamName is the name of the stream.
const StreamName = "BEHALF_SHADOW"

const prefix = "behalf.shadow."

// LeastAge is the least age at which events may be removed: the start of a
// shadow must be there for as long as it runs.
const LeastAge = domain.MostShadow + 24*time.Hour

// Config says where shadows are recorded.
type Config struct {
	// Conn outlives the log of the shadows, which doesn't close it.
	Conn *nats.Conn
	// Replicas is 1, 3 or 5. The stream may have more than this, not fewer.
	Replicas int
	// Age is how old an event may get, LeastAge or more.
	Age time.Duration
	// Logger is told when Follow has to begin again, or nobody if nil.
	Logger *slog.Logger
}

func (c Config) validate() error {
	var errs []error
	if c.Conn == nil {
		errs = append(errs, errors.New("no connection"))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("%d replicas: want 1, 3 or 5", c.Replicas))
	}
	if c.Age < LeastAge {
		errs = append(errs, fmt.Errorf("events are removed after %s: want %s or more", c.Age, LeastAge))
	}
	return errors.Join(errs...)
}

// Log is this process's client of the stream. Its methods may be called from
// several goroutines, and it needs no closing.
type Log struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	logger *slog.Logger
}

// requestTimeout is within what a healthy server answers. A cluster that is
// changing leaders may never answer a request, and answers the next one.
const requestTimeout = 3 * time.Second

// Open opens the stream, and makes it if it isn't there. Any number of nodes may
// open it at the same time.
func Open(ctx context.Context, c Config) (*Log, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open the log of shadows: %w", err)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("open the log of shadows: %w", err)
	}
	l := &Log{conn: c.Conn, js: js, logger: c.Logger}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	for {
		l.stream, err = open(ctx, js, wanted(c))
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open the log of shadows: stream %s: %w", StreamName, err)
		}
		return l, nil
	}
}

func open(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = js.Stream(ctx, StreamName)
		}
	}
	if err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	if err := differences(have, want); err != nil {
		return nil, err
	}
	if have.MaxAge != want.MaxAge {
		have.MaxAge = want.MaxAge
		return js.UpdateStream(ctx, have)
	}
	return stream, nil
}

func wanted(c Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamName,
		Description:       "Behalf shadows",
		Subjects:          []string{prefix + "*.*"},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.LimitsPolicy,
		Replicas:          c.Replicas,
		MaxAge:            c.Age,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
		DenyDelete:        true,
		DenyPurge:         true,
		// No direct gets: those may be answered by a server that lags, and then
		// work would be done again that another node has done.
		AllowDirect: false,
	}
}

// differences says in what way a stream would lose events, or take what is not one.
func differences(have, want jetstream.StreamConfig) error {
	var found []string
	for _, fault := range []struct {
		is   bool
		what string
	}{
		{!slices.Equal(have.Subjects, want.Subjects), fmt.Sprintf("holds %s, not %s", have.Subjects, want.Subjects)},
		{have.Replicas < want.Replicas, fmt.Sprintf("has %d replicas, fewer than %d", have.Replicas, want.Replicas)},
		{have.Storage != want.Storage, "is not stored in files"},
		{have.Retention != want.Retention, "removes messages that were consumed"},
		{have.MaxMsgs > 0 || have.MaxBytes > 0 || have.MaxMsgsPerSubject > 0, "removes messages by their number or size"},
		{have.AllowMsgTTL, "lets messages expire one by one"},
		{!have.DenyDelete, "allows messages to be deleted"},
		{!have.DenyPurge, "allows messages to be purged"},
		{have.NoAck, "does not acknowledge"},
		{have.Sealed, "is sealed"},
		{have.Mirror != nil || len(have.Sources) > 0, "takes messages from other streams"},
		{have.SubjectTransform != nil, "changes subjects"},
	} {
		if fault.is {
			found = append(found, fault.what)
		}
	}
	if found == nil {
		return nil
	}
	return fmt.Errorf("it %s; change that back with `nats stream edit`, or ask for what is there", strings.Join(found, ", "))
}
