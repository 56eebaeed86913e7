// Package natslog is the event log on NATS JetStream. Each partition is one
// stream, and an append is a publish that the stream refuses if the subject it
// is guarded by has a newer message. It never publishes a second time by
// itself: what became of an append that was not acknowledged is for its caller
// to find out.
//
// A stream BEHALF (BEHALF_<p> when there are several partitions) has these
// subjects, and nothing but ids in them:
//
//	behalf.<p>.account.<account>          the events of an account
//	behalf.<p>.budget.<account>           what all its agents spend together
//	behalf.<p>.agent.<account>.<agent>    the events of an agent, the guard of its decisions,
//	                                      those decisions among them that change what it may do next
//	behalf.<p>.decision.<account>.<agent> its other decisions
package natslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/behalf-platform/behalf/domain"
)

// Config says which log to open.
type Config struct {
	// Conn is for appends and for reading single records, Bulk for reading many.
	// They may be the same. Both outlive the log, which doesn't close them.
	Conn, Bulk *nats.Conn
	// Partitions is fixed when the log is made. It is 1 to 1024.
	Partitions int
	// Replicas is 1, 3 or 5. A log may have more than this, not fewer.
	Replicas int
	// DedupeWindow is how long the name of an append is remembered, two minutes if 0.
	DedupeWindow time.Duration
	// Barrier returns when what was acknowledged before the call is as durable
	// as it must be. If nil, the acknowledgement is enough.
	Barrier func(context.Context) error
	// FirstAccount is fixed when the log is made. It must lie in partition 0.
	FirstAccount domain.AccountID
	// ReadOnly opens a log that is there, whatever its partitions, and changes
	// nothing. Only Conn, Bulk and Logger are looked at then.
	ReadOnly bool
	// Now is this node's clock, the machine's if nil.
	Now func() time.Time
	// Logger is told when a reader has to begin again, or nobody if nil.
	Logger *slog.Logger
}

const (
	defaultDedupeWindow = 2 * time.Minute
	maxPartitions       = 1024
)

func (c Config) validate() error {
	var errs []error
	if c.Conn == nil || c.Bulk == nil {
		errs = append(errs, errors.New("no connection"))
	}
	if c.ReadOnly {
		return errors.Join(errs...)
	}
	if c.Partitions < 1 || c.Partitions > maxPartitions {
		errs = append(errs, fmt.Errorf("%d partitions: want 1 to %d", c.Partitions, maxPartitions))
	} else if !domain.ValidID(string(c.FirstAccount)) || domain.PartitionOf(c.FirstAccount, c.Partitions) != 0 {
		errs = append(errs, fmt.Errorf("first account %q: want an id that lies in partition 0", c.FirstAccount))
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		errs = append(errs, fmt.Errorf("%d replicas: want 1, 3 or 5", c.Replicas))
	}
	if c.DedupeWindow < 0 {
		errs = append(errs, fmt.Errorf("dedupe window %s is negative", c.DedupeWindow))
	}
	return errors.Join(errs...)
}

// Log is this process's client of the log. It has no goroutines of its own and
// needs no closing.
type Log struct {
	conn, bulk   *nats.Conn
	readers      jetstream.JetStream // over bulk
	partitions   []*partition
	firstAccount domain.AccountID
	readOnly     bool
	barrier      func(context.Context) error // or nil
	queue        *queue                      // nil on a single server, where guarded appends don't collide
	now          func() time.Time
	logger       *slog.Logger
}

// Partitions is the number of partitions.
func (l *Log) Partitions() int { return len(l.partitions) }

// Epoch is the epoch of the positions of a partition.
func (l *Log) Epoch(partition uint16) uint32 { return l.partitions[partition].epoch }

// FirstAccount is the id that was fixed for the log's first account.
func (l *Log) FirstAccount() domain.AccountID { return l.firstAccount }

// partition finds a partition by number.
func (l *Log) partition(number uint16) (*partition, error) {
	if int(number) >= len(l.partitions) {
		return nil, fmt.Errorf("partition %d: the log has %d", number, len(l.partitions))
	}
	return l.partitions[number], nil
}

// partition is one stream and what this process knows of it.
type partition struct {
	subjects
	name      string
	epoch     uint32
	stream    jetstream.Stream // over conn
	acked     []byte           // how an acknowledgement begins
	batches   chan struct{}    // holds a token for each batch that is open
	followers followers
}

func (p *partition) position(seq uint64) domain.Position {
	return domain.Position{Partition: p.number, Epoch: p.epoch, Seq: seq}
}

// connected reports an error when a request could not be sent now. Without it
// the client would keep an append, and send it when its caller has long gone.
func connected(nc *nats.Conn) error {
	if !nc.IsConnected() {
		return fmt.Errorf("nats is %s: %w", nc.Status(), nats.ErrDisconnected)
	}
	return nil
}
