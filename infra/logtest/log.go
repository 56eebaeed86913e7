// Package logtest is the promise every event log keeps, as a suite of tests.
package logtest

import (
	"context"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Log is what an event log does. Who uses one declares the part it uses; this
// is the whole, for the suite.
type Log interface {
	// Append stores r on condition that the newest event of r.Stream() is the
	// one at sequence last (0: none). The guard is always that one literal
	// subject. A record that doesn't move its stream is stored beside it; every
	// other one becomes the stream's newest event.
	//
	// dedupe, when not empty, names the append: while the log remembers it, a
	// second append of the same name stores nothing and is answered with the
	// first one's receipt, marked Duplicate.
	//
	// It returns [domain.ErrMoved] when the stream has moved, or another append
	// to it is in flight, and has written nothing. After any other error the
	// outcome is unknown. On success the record is as durable as the log's
	// setting says.
	Append(ctx context.Context, last uint64, r domain.Record, dedupe string) (domain.Receipt, error)

	// AppendAll stores all records or none, in order and with nothing in
	// between, each on condition that the newest event of its own stream is at
	// its Last. They are of one account and of different streams. On success
	// there is a receipt for each, or, for a repeat, one: dedupe, when not
	// empty, names the first, and while the log remembers it, a second append
	// of the name stores nothing and is answered with the receipt of the first,
	// marked Duplicate.
	//
	// Errors are as for Append.
	AppendAll(ctx context.Context, records []domain.Guarded, dedupe string) ([]domain.Receipt, error)

	// Load reads the events of a stream after a sequence, in order and without
	// a gap. It may miss the newest: what must be current is decided by Append.
	// An event that can't be decoded ends it with [*domain.Unreadable].
	Load(ctx context.Context, s domain.Stream, after uint64) ([]domain.Recorded, error)

	// Settle returns when all that can be read is as durable as what Append
	// acknowledges.
	Settle(ctx context.Context) error

	// Read reads the event at a position, or returns [domain.ErrNotRecorded].
	Read(ctx context.Context, p domain.Position) (domain.Recorded, error)

	// Follow calls apply with every event of every stream (not what lies beside
	// them) of a partition after a sequence, at least once, those of one stream
	// in order, one at a time, and goes on with new ones. An event that can't be
	// decoded comes as [*domain.Unreadable]. It reconnects by itself and returns
	// when ctx ends or apply returns an error, with that error.
	Follow(ctx context.Context, partition uint16, after uint64, apply func(domain.Recorded, error) error) error

	// Status reports where a partition stands.
	Status(ctx context.Context, partition uint16) (Status, error)

	// Scan calls yield with the stored records that match, oldest first, and
	// returns when it has seen the last one there was when it began, or, with
	// Live, when ctx ends. With an account, what matches are its decisions,
	// whether or not they moved their agents. A record that can't be decoded,
	// and may be one that matches, comes as [*domain.Unreadable]. An error of
	// yield ends it and is returned.
	Scan(ctx context.Context, q domain.Scan, yield func(domain.Recorded, error) error) error

	// SeqAt is the sequence of the oldest record that the log stored at or
	// after t, or the one after the newest.
	SeqAt(ctx context.Context, partition uint16, t time.Time) (uint64, error)

	// Partitions is the number of partitions, fixed when the log was made.
	Partitions() int
	// Epoch is the epoch of the positions of a partition.
	Epoch(partition uint16) uint32
	// FirstAccount is the id fixed when the log was made for its first account.
	// It is the same for everyone, so that two nodes that start on an empty log
	// open one account. It always lies in partition 0.
	FirstAccount() domain.AccountID
}

// Status is where a partition stands.
type Status = domain.LogStatus
