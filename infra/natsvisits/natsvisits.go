// Package natsvisits counts in NATS JetStream how often each link to a passport
// was opened. It is no part of the log: nothing is decided by it, and an event
// for each look at a page would make whoever holds a link grow the log.
//
// A stream BEHALF_VISITS has one counter for each link, of which only the newest
// message is kept. The server adds up, so that nodes need not agree, and its
// clock says when it was last.
//
//	behalf.visits.<account>.<link>
//
// On a server of its own, a node needs the rights to publish
//
//	behalf.visits.>
//	$JS.API.STREAM.{INFO,CREATE}.BEHALF_VISITS
//	$JS.API.STREAM.MSG.GET.BEHALF_VISITS
//
// and to subscribe to its inbox. With the embedded server it belongs to the
// streams that are not synced: a loss of power may lose some visits.
package natsvisits

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// StreamName is the name of the stream.
const StreamName = "BEHALF_VISITS"

const (
	prefix = "behalf.visits."
	// addsHeader is how much a message adds to its counter.
	addsHeader = "Nats-Incr"
	// requestTimeout is within what a healthy server answers.
	requestTimeout = 3 * time.Second
)

// Config says where visits are counted.
type Config struct {
	// Conn outlives the counters, which don't close it.
	Conn *nats.Conn
	// Replicas is 1, 3 or 5. The stream may have more than this, not fewer.
	Replicas int
}

// Counters is this process's client of the stream. Its methods may be called
// from several goroutines, and it needs no closing.
type Counters struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// Open opens the stream, and makes it if it isn't there. Any number of nodes may
// open it at the same time.
func Open(ctx context.Context, c Config) (*Counters, error) {
	if c.Conn == nil || c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		return nil, fmt.Errorf("open the counters of visits: a connection and 1, 3 or 5 replicas are needed, not %d", c.Replicas)
	}
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, fmt.Errorf("open the counters of visits: %w", err)
	}
	for {
		stream, err := open(ctx, js, c.Replicas)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open the counters of visits: stream %s: %w", StreamName, err)
		}
		return &Counters{js: js, stream: stream}, nil
	}
}

func open(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: StreamName, Description: "Behalf: how often links to passports were opened",
			Subjects: []string{prefix + "*.*"}, Storage: jetstream.FileStorage, Replicas: replicas,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: 1, AllowMsgCounter: true,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
			stream, err = js.Stream(ctx, StreamName)
		}
	}
	if err != nil {
		return nil, err
	}
	if have := stream.CachedInfo().Config; !have.AllowMsgCounter || have.Replicas < replicas {
		return nil, fmt.Errorf("it does not count, or has fewer than %d replicas; change that with `nats stream edit`", replicas)
	}
	return stream, nil
}

// Add counts visits to a link. After an error it is unknown whether they were.
func (c *Counters) Add(ctx context.Context, account domain.AccountID, link domain.LinkID, n uint64) error {
	if !domain.ValidID(string(account)) || !domain.ValidID(string(link)) {
		return fmt.Errorf("count a visit: %q of %q is no link", link, account)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m := nats.NewMsg(subject(account, link))
	m.Header.Set(addsHeader, "+"+strconv.FormatUint(n, 10))
	if _, err := c.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0)); err != nil {
		return fmt.Errorf("count a visit to %s: %w", link, err)
	}
	return nil
}

// Of is how often a link was opened, and when last. One that never was has none.
func (c *Counters) Of(ctx context.Context, account domain.AccountID, link domain.LinkID) (uint64, time.Time, error) {
	if !domain.ValidID(string(account)) || !domain.ValidID(string(link)) {
		return 0, time.Time{}, fmt.Errorf("read visits: %q of %q is no link", link, account)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := c.stream.GetLastMsgForSubject(ctx, subject(account, link))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read visits to %s: %w", link, err)
	}
	var counter struct {
		Value uint64 `json:"val,string"`
	}
	if err := json.Unmarshal(m.Data, &counter); err != nil {
		return 0, time.Time{}, fmt.Errorf("read visits to %s: %w", link, err)
	}
	return counter.Value, m.Time.UTC(), nil
}

func subject(account domain.AccountID, link domain.LinkID) string {
	return prefix + string(account) + "." + string(link)
}
