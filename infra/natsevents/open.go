// Package natsevents is the public event stream on NATS JetStream: what an
// account's members are told of the log, as CloudEvents. One node at a time
// publishes it from the log. Members listen to its subjects, and read what is
// kept through us: nobody else has any right on JetStream, which sends what it
// is asked for to whatever subject it is asked to, the log's among them.
//
// The stream BEHALF_EVENTS has the subjects
//
//	behalf.events.<account>.<type>.<agent>   a type is two tokens; "_" for no agent
//
// and in each message the header Behalf-Cursor, the place in the log that it was
// made of, so that what was published is known from the stream itself. Each was
// stored on condition that the one before it is the stream's newest: whoever
// publishes what another has published already, or leaves something out, is
// refused. The stream BEHALF_PUBLISHER has two messages of ours, the lease of the
// node that publishes and its checkpoint.
//
// On a server of its own, a node needs the rights to publish
//
//	behalf.events.>
//	behalf.publisher.*
//	$JS.API.STREAM.INFO.*
//	$JS.API.STREAM.CREATE.*, and UPDATE, MSG.GET of both streams
//	$JS.API.CONSUMER.CREATE.BEHALF_EVENTS.>, and INFO, LIST, DELETE, MSG.NEXT
package natsevents

import (
	"cmp"
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
	"github.com/behalf-platform/behalf/projections"
)

// StreamName is the name of the stream of public events, StateName that of what
// their publisher keeps.
const (
	StreamName = "BEHALF_EVENTS"
	StateName  = "BEHALF_PUBLISHER"
)

const (
	leaseSubject      = "behalf.publisher.lease"
	checkpointSubject = "behalf.publisher.checkpoint"
)

// Log is what is read of the event log. Its methods are as natslog has them.
type Log interface {
	Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error
	Status(ctx context.Context, partition uint16) (domain.LogStatus, error)
	Read(ctx context.Context, p domain.Position) (domain.Recorded, error)
	SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error)
	Settle(ctx context.Context) error
	Partitions() int
	Epoch(partition uint16) uint32
}

// Config says where the events are, and how long they are kept.
type Config struct {
	// Conn outlives the events, which don't close it. It is for what is large
	// and may wait.
	Conn *nats.Conn
	Log  Log
	// Node tells nodes apart.
	Node string
	// Alone says that no other node uses this server, so that a lease is that of
	// a process that has ended.
	Alone    bool
	Replicas int
	// MaxAge is how long an event is kept, and MaxBytes how many bytes of events;
	// 0 is no limit.
	MaxAge   time.Duration
	MaxBytes int64
	// Binary publishes CloudEvents in binary mode: the attributes in headers.
	Binary bool
	// Lease is how long a node that is gone is waited for, 9 seconds if 0.
	Lease  time.Duration
	Now    func() time.Time
	Logger *slog.Logger
	// Work is called before a batch is published, and what it returns after it,
	// which may wait to give way to those who decide. Nil gives way to nobody.
	Work func() (rest func(context.Context))
}

func (c Config) validate() error {
	var errs []error
	if c.Conn == nil || c.Log == nil {
		errs = append(errs, errors.New("no connection, or no log"))
	}
	if c.Node == "" {
		errs = append(errs, errors.New("no name of the node"))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("%d replicas: want 1, 3 or 5", c.Replicas))
	}
	if c.MaxAge < 0 || c.MaxBytes < 0 {
		errs = append(errs, errors.New("a limit below nothing"))
	}
	return errors.Join(errs...)
}

// Events is this process's client of the public events.
type Events struct {
	Config
	js jetstream.JetStream
	publisher
}

const (
	// requestTimeout is within what a healthy server answers.
	requestTimeout = 3 * time.Second
	// appendTimeout is after what a publish that wasn't acknowledged is given up.
	appendTimeout = 5 * time.Second
	// mostInFlight bounds what is published and not yet acknowledged.
	mostInFlight = 1024
	dedupeWindow = 2 * time.Minute
	usualLease   = 9 * time.Second
)

// Open opens the streams, and makes what isn't there or is kept for another time
// than the configuration says.
func Open(ctx context.Context, c Config) (*Events, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open the public events: %w", err)
	}
	js, err := jetstream.New(c.Conn, jetstream.WithPublishAsyncMaxPending(mostInFlight), jetstream.WithPublishAsyncTimeout(appendTimeout))
	if err != nil {
		return nil, fmt.Errorf("open the public events: %w", err)
	}
	c.Lease = cmp.Or(c.Lease, usualLease)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Events{Config: c, js: js}
	for _, want := range []jetstream.StreamConfig{e.wanted(), e.wantedState()} {
		for {
			err := e.open(ctx, want)
			// A stream that another node is making is there and not there for a moment.
			busy := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrStreamNotFound)
			if busy && ctx.Err() == nil {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("open the public events: stream %s: %w", want.Name, err)
			}
			break
		}
	}
	return e, nil
}

// open opens a stream, makes it, or changes for how long it keeps events.
func (e *Events) open(ctx context.Context, want jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := e.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = e.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = e.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return err
	}
	have := stream.CachedInfo().Config
	if err := differences(have, want); err != nil {
		return err
	}
	if have.MaxAge != want.MaxAge || have.MaxBytes != want.MaxBytes || have.Duplicates != want.Duplicates {
		have.MaxAge, have.MaxBytes, have.Duplicates = want.MaxAge, want.MaxBytes, want.Duplicates
		_, err = e.js.UpdateStream(ctx, have)
	}
	return err
}

func (e *Events) wanted() jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:              StreamName,
		Description:       "Behalf public events",
		Subjects:          []string{projections.PublicSubjects + ".>"},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		Replicas:          e.Replicas,
		MaxAge:            e.MaxAge,
		MaxBytes:          e.MaxBytes,
		MaxMsgs:           -1,
		MaxMsgsPerSubject: -1,
		Duplicates:        dedupeWindow,
		DenyDelete:        true,
		DenyPurge:         true,
		AllowDirect:       true,
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = -1
	}
	if c.MaxAge > 0 && c.MaxAge < c.Duplicates { // the server insists
		c.Duplicates = c.MaxAge
	}
	return c
}

func (e *Events) wantedState() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StateName,
		Description:       "Who publishes Behalf's public events, and how far",
		Subjects:          []string{leaseSubject, checkpointSubject},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.LimitsPolicy,
		Replicas:          e.Replicas,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: 1,
		Duplicates:        dedupeWindow,
	}
}

// differences says in what way a stream would not keep its promises.
func differences(have, want jetstream.StreamConfig) error {
	var found []string
	for _, fault := range []struct {
		is   bool
		what string
	}{
		{!slices.Equal(have.Subjects, want.Subjects), fmt.Sprintf("holds %s, not %s", have.Subjects, want.Subjects)},
		{have.Storage != want.Storage, "is not stored in files"},
		{have.Retention != want.Retention, "removes messages that were consumed"},
		{have.Discard != want.Discard, "refuses messages when it is full"},
		{have.Replicas < want.Replicas, fmt.Sprintf("has %d replicas, fewer than %d", have.Replicas, want.Replicas)},
		{have.MaxMsgs > 0 || max(have.MaxMsgsPerSubject, 0) != max(want.MaxMsgsPerSubject, 0), "removes messages by their number"},
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
	return fmt.Errorf("it %s; change that back with `nats stream edit`", strings.Join(found, ", "))
}
