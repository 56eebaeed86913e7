// Package natsalarm makes alarms ring: at the time of each, one of the nodes
// that run is told. The server keeps them and the time, so they survive every
// node. They are wake-ups and no more: nothing is decided here, and whoever is
// rung looks at the log and at the clock.
//
// A stream BEHALF_ALARMS has these subjects. It is one of its own because a
// stream with schedules can't refuse to be purged.
//
//	behalf.alarm.set.<account>.<agent>.<approval>  a schedule of the server's
//	behalf.alarm.ring.<account>.<agent>.<approval> what it turns into at its time
//
// On a server of its own, a node needs the rights to publish
//
//	behalf.alarm.set.>
//	$JS.API.STREAM.INFO.BEHALF_ALARMS
//	$JS.API.STREAM.CREATE.BEHALF_ALARMS
//	$JS.API.CONSUMER.CREATE.BEHALF_ALARMS.>
//	$JS.API.CONSUMER.MSG.NEXT.BEHALF_ALARMS.bell
//	$JS.ACK.BEHALF_ALARMS.bell.>
//
// and to subscribe to its inbox.
package natsalarm

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
)

// StreamName is the name of the stream.
const StreamName = "BEHALF_ALARMS"

// Config says where the alarms are.
type Config struct {
	// Conn outlives the alarms, which don't close it.
	Conn *nats.Conn
	// Replicas is 1, 3 or 5. The stream may have more than this, not fewer.
	Replicas int
	// Logger is told of alarms that can't be read or rung, and when Run has to
	// begin again, or nobody if nil.
	Logger *slog.Logger
	// Now is this node's clock, the machine's if nil. No alarm rings here before
	// its time by this clock, however the server's goes.
	Now func() time.Time
}

func (c Config) validate() error {
	var errs []error
	if c.Conn == nil {
		errs = append(errs, errors.New("no connection"))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("%d replicas: want 1, 3 or 5", c.Replicas))
	}
	return errors.Join(errs...)
}

// Alarms is this process's client of the alarms. Its methods may be called from
// several goroutines.
type Alarms struct {
	js       jetstream.JetStream
	replicas int
	logger   *slog.Logger
	now      func() time.Time
}

// requestTimeout is within what a healthy server answers. A cluster that is busy
// with the same stream for another node, or with electing a leader, may never
// answer a request, and answers the next one.
const requestTimeout = 3 * time.Second

// Open opens the stream of the alarms, and makes it if it isn't there. Any
// number of nodes may open it at the same time.
func Open(ctx context.Context, c Config) (*Alarms, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("open the alarms: %w", err)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("open the alarms: %w", err)
	}
	a := &Alarms{js: js, replicas: c.Replicas, logger: c.Logger, now: c.Now}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	for {
		_, err := a.stream(ctx)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open the alarms: stream %s: %w", StreamName, err)
		}
		return a, nil
	}
}

// stream opens the stream, or makes it.
func (a *Alarms) stream(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	want := a.wanted()
	stream, err := a.js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = a.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = a.js.Stream(ctx, StreamName)
		}
	}
	if err != nil {
		return nil, err
	}
	return stream, differences(stream.CachedInfo().Config, want)
}

func (a *Alarms) wanted() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        StreamName,
		Description: "Behalf alarms",
		Subjects:    []string{setPrefix + "*.*.*", ringPrefix + "*.*.*"},
		Storage:     jetstream.FileStorage,
		// What was rung is removed. A schedule is removed by the server, with
		// what it turns into.
		Retention:         jetstream.WorkQueuePolicy,
		Replicas:          a.replicas,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: 1, // the newest takes the place of the one before it
		AllowMsgSchedules: true,
	}
}

// differences says in what way a stream would not ring, or not stop to grow.
func differences(have, want jetstream.StreamConfig) error {
	var found []string
	for _, fault := range []struct {
		is   bool
		what string
	}{
		{!slices.Equal(have.Subjects, want.Subjects), fmt.Sprintf("holds %s, not %s", have.Subjects, want.Subjects)},
		{!have.AllowMsgSchedules, "keeps no schedules, for which NATS has to be 2.12 or newer"},
		{have.Retention != want.Retention, "keeps what was rung"},
		{have.MaxMsgsPerSubject != want.MaxMsgsPerSubject, "keeps several alarms for one approval"},
		{have.MaxMsgs > 0 || have.MaxBytes > 0 || have.MaxAge > 0, "removes alarms by its limits"},
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
	return fmt.Errorf("it %s; change that with `nats stream edit`, or remove it: alarms are set again from the log", strings.Join(found, ", "))
}
