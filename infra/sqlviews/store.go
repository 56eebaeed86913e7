// Package sqlviews keeps the read models in SQL: on PostgreSQL, or in a file of
// SQLite. Rows come from the log and from nowhere else, and move together with
// the checkpoint that says how far they have come. It does not read the log,
// and nothing that decides reads it.
package sqlviews

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

// Config says where the read models are.
type Config struct {
	// URL is sqlite:PATH or postgres://…, with all that pgx takes.
	URL string
	// MostExports is how many exports run at once, 4 if it is 0. Others wait.
	MostExports int
	// Logger is told of what this package does by itself: partitions it makes,
	// locks it loses. Nothing is logged if it is nil.
	Logger *slog.Logger
	// Now is the clock that checkpoints are stamped by. It decides nothing.
	Now func() time.Time
}

// Store is the read models of one database. It is safe for concurrent use.
//
// An error that is none of those in package projections is the database's: it
// may be down, and the same call may succeed later. After such an error of a
// call that writes, the outcome is unknown; ask for the checkpoints.
type Store struct {
	engine  engine
	now     func() time.Time
	log     *slog.Logger
	exports chan struct{} // holds a token for each export that runs

	mu sync.Mutex
	// installed says that the tables every view needs are there. It is guarded
	// by mu.
	installed bool
}

// Open returns the store at a URL. PostgreSQL is not connected to before it is
// needed, so it may be down at the time; the file of SQLite is made if there is
// none.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Now == nil {
		return nil, errors.New("open read models: no clock")
	}
	s := &Store{now: cfg.Now, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), exports: make(chan struct{}, cmp.Or(cfg.MostExports, 4))}
	var err error
	switch scheme, rest, _ := strings.Cut(cfg.URL, ":"); scheme {
	case "sqlite":
		if s.engine, err = openSQLite(ctx, strings.TrimPrefix(rest, "//")); err == nil {
			err = s.install(ctx)
		}
	case "postgres", "postgresql":
		s.engine, err = openPostgres(ctx, cfg.URL, s.log)
	default:
		err = errors.New("the URL is of neither sqlite:PATH nor postgres://HOST")
	}
	if err != nil {
		return nil, fmt.Errorf("open read models: %w", err)
	}
	return s, nil
}

// Close ends all connections. Locks that were owned are lost.
func (s *Store) Close() error { return s.engine.close() }

// Kind is "postgres" or "sqlite".
func (s *Store) Kind() string { return s.engine.kind() }

// Begin makes a view ready to be filled from one partition, and returns where
// it has come to. A projection that has no view yet gets its first one, which
// serves at once. It returns [projections.ErrAnotherLog] when the rows are of a
// log with another epoch, and [projections.ErrNoView] for a version that there
// isn't.
func (s *Store) Begin(ctx context.Context, v projections.View, partition uint16, epoch uint32) (projections.Checkpoint, error) {
	return s.begin(ctx, v, partition, epoch)
}

// Serving is the view of a projection that answers queries, or
// [projections.ErrNoView] when there is none yet.
func (s *Store) Serving(ctx context.Context, p projections.Projection) (projections.View, error) {
	return s.serving(ctx, p)
}

// Checkpoints is how far a view has come, by partition.
func (s *Store) Checkpoints(ctx context.Context, v projections.View) ([]projections.Checkpoint, error) {
	return s.checkpoints(ctx, &v)
}

// Status is the checkpoints of every view there is, by projection, version and
// partition.
func (s *Store) Status(ctx context.Context) ([]projections.Checkpoint, error) {
	return s.checkpoints(ctx, nil)
}

// Apply writes a batch and moves the checkpoint from the beginning to the end
// of the span it was made of, both in one transaction. If the checkpoint is not
// at span.From it writes nothing and returns [projections.ErrStale], or
// [projections.ErrAnotherLog] when the epoch is another. Rows that the database
// refuses as they are give an [projections.Inapplicable], and nothing is
// written. A view that was stopped goes on when a batch is applied.
func (s *Store) Apply(ctx context.Context, v projections.View, span projections.Span, b *projections.Batch) error {
	return s.apply(ctx, v, span, b)
}

// Stop records that a view can't go on, from where and why. Its rows stay as
// they are; queries of it return [projections.Stopped]. It returns
// [projections.ErrStale] when the checkpoint is past seq.
func (s *Store) Stop(ctx context.Context, v projections.View, partition uint16, seq uint64, reason string) error {
	return s.stop(ctx, v, partition, seq, reason)
}

// Own waits until this process is the one that projects, or ctx ends, which is
// the only reason it fails for while the database is down. Lost is closed when
// the lock is not known to be held any more: stop, and own again. Whoever writes
// without it writes nothing wrong, since the checkpoints fence it, but gets in
// the way. Release can be called more than once.
//
// On PostgreSQL it is a session's advisory lock: free at once when the process
// dies, and within seconds when it hangs or the network does, since the server
// ends a session that is silent. On SQLite it is a lock on a file beside the
// database, which ends with the process.
func (s *Store) Own(ctx context.Context, p projections.Projection) (release func(), lost <-chan struct{}, err error) {
	return s.engine.own(ctx, p)
}

// StartRebuild makes an empty view beside the one that serves, or returns the
// one that is being made already.
func (s *Store) StartRebuild(ctx context.Context, p projections.Projection) (projections.View, error) {
	return s.startRebuild(ctx, p)
}

// Switch makes a view the one that serves. It returns [projections.ErrBehind],
// and changes nothing, while the one that serves is ahead of it in any
// partition, or while it is stopped. To switch to what serves changes nothing.
func (s *Store) Switch(ctx context.Context, v projections.View) error { return s.switchTo(ctx, v) }

// Drop removes a view that doesn't serve, and is no error when there is none.
// It returns [projections.ErrBusy] while somebody still reads it, and
// [projections.ErrServing] for the one that serves.
func (s *Store) Drop(ctx context.Context, v projections.View) error { return s.drop(ctx, v) }
