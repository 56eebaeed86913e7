package sqlviews

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/projections"
	"github.com/behalf-platform/behalf/schemas"
)

// engine is a database: what PostgreSQL and SQLite do in different ways. All
// other SQL is the same for both.
type engine interface {
	kind() string
	// snapshot runs do with one consistent state of the database.
	snapshot(ctx context.Context, do func(reader) error) error
	// write runs do in a transaction, which is committed if do returns nil.
	write(ctx context.Context, do func(writer) error) error
	own(ctx context.Context, p projections.Projection) (release func(), lost <-chan struct{}, err error)
	close() error
}

// scan takes the columns of a row, as a driver's rows do.
type scan func(into ...any) error

// reader runs statements that change nothing.
type reader interface {
	// read calls row for each row of a statement.
	read(ctx context.Context, row func(scan) error, sql string, args ...any) error
	// stream is read for a statement with an order that gives more rows than
	// memory holds.
	stream(ctx context.Context, row func(scan) error, sql string, args ...any) error
}

// writer runs statements in a transaction.
type writer interface {
	read(ctx context.Context, row func(scan) error, sql string, args ...any) error
	exec(ctx context.Context, sql string, args ...any) (rows int64, err error)
	// script runs statements without arguments.
	script(ctx context.Context, sql string) error
	// each runs one statement n times. Its error may be a [rowError].
	each(ctx context.Context, n int, sql string, args func(i int) []any) error
	// merge runs an INSERT for the VALUES of n rows, of which no two are the same
	// by what it calls a conflict. Its error may be a [rowError].
	merge(ctx context.Context, n int, sql string, args func(i int) []any) error
	// decisions adds rows to a view of them.
	decisions(ctx context.Context, version int, rows []projections.DecisionRow) error
	// drop removes tables, or returns [projections.ErrBusy].
	drop(ctx context.Context, tables []string) error
}

// errDropped says that a table isn't there: the view was dropped, or nothing
// was ever made.
var errDropped = errors.New("no such table")

// rowError is rows that the database refused as they are: the one at index i, or
// with i < 0 one of them.
type rowError struct {
	i   int
	err error
}

func (e *rowError) Error() string { return e.err.Error() }

func (e *rowError) Unwrap() error { return e.err }

// of is SQL for one version of a projection.
func of(v projections.View, sql string) string {
	return strings.ReplaceAll(sql, "_v0", "_v"+strconv.Itoa(v.Version))
}

// tablesOf are the tables of a projection.
func tablesOf(p projections.Projection) []string {
	switch p {
	case projections.ProjectionDecisions:
		return []string{"decisions_v0", "days_v0"}
	case projections.ProjectionPassports:
		return []string{"agents_v0", "permissions_v0", "members_v0", "changes_v0"}
	case projections.ProjectionApprovals:
		return []string{"approvals_v0", "votes_v0"}
	case projections.ProjectionUsage:
		return []string{"usage_v0"}
	}
	return nil
}

// definition is the SQL that makes a projection's tables, or those that all need.
func definition(name string) (string, error) {
	b, err := schemas.Files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		return "", fmt.Errorf("read definition of %s: %w", name, err)
	}
	return string(b), nil
}

// moment scans a time, which SQLite keeps as microseconds. None is the zero Time.
type moment struct{ into *time.Time }

// Scan takes a column.
func (m moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m.into = time.Time{}
	case time.Time:
		*m.into = v.UTC()
	case int64:
		*m.into = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("read a time from %T", src)
	}
	return nil
}
