// Package handlers is the one write path: messages in, decisions out. It
// decides nothing by itself; it brings a command, the state it is about and the
// time together, lets domain decide, and appends what comes of it on condition
// that the state has not moved. It answers after the log has.
package handlers

import (
	"context"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Log is what the write path needs of the event log.
type Log interface {
	// Append stores r on condition that the newest event of r.Stream() is at
	// sequence last (0: none). A non-empty dedupe names it: a second append of
	// that name stores nothing and is answered with the first one's receipt.
	// [domain.ErrMoved] means that nothing was written. After any other error
	// the outcome is unknown.
	Append(ctx context.Context, last uint64, r domain.Record, dedupe string) (domain.Receipt, error)
	// AppendAll stores all records or none, in order and with nothing in between,
	// each on condition that the newest event of its own stream is at its Last.
	// They are of one account and of different streams. A non-empty dedupe names
	// the first: a second append of that name stores nothing and is answered with
	// one receipt, that of the first. Errors are as for Append.
	AppendAll(ctx context.Context, records []domain.Guarded, dedupe string) ([]domain.Receipt, error)
	// Load reads the events of a stream after a sequence, in order. It may miss
	// the newest. One that can't be decoded ends it with [*domain.Unreadable].
	Load(ctx context.Context, s domain.Stream, after uint64) ([]domain.Recorded, error)
	// Read reads the event at a position, or returns [domain.ErrNotRecorded].
	Read(ctx context.Context, p domain.Position) (domain.Recorded, error)
	// Settle returns when all that can be read is as durable as what Append
	// acknowledges. What another append wrote, or one of ours whose fate is not
	// known, can be read before it is.
	Settle(ctx context.Context) error
	// Partitions is how many partitions the accounts are spread over.
	Partitions() int
}

// Unavailable is the permission layer not being able to decide. Nothing is
// allowed by it. Public is safe to show; Err is ours.
type Unavailable struct {
	Public string
	// Retry is how long the caller should wait, or 0.
	Retry time.Duration
	Err   error
}

func (e *Unavailable) Error() string {
	if e.Err == nil {
		return e.Public
	}
	return fmt.Sprintf("%s: %v", e.Public, e.Err)
}

func (e *Unavailable) Unwrap() error { return e.Err }

func unavailable(err error, format string, args ...any) error {
	return &Unavailable{Public: fmt.Sprintf(format, args...), Err: err}
}

// Unreadable is a fold that met what it can't read, and stopped there.
func Unreadable(err error) error {
	return unavailable(err, "the log holds something about this that this version of Behalf can't read; upgrade it")
}
