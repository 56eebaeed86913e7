package sqlviews

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/behalf-platform/behalf/infra/internal/filelock"
	"github.com/behalf-platform/behalf/projections"
)

type sqliteFile struct {
	path string
	// writer has one connection: SQLite takes one transaction at a time.
	writer, readers *sql.DB
}

func openSQLite(ctx context.Context, path string) (*sqliteFile, error) {
	if path == "" || strings.HasPrefix(path, ":") {
		return nil, errors.New("sqlite: needs the path of a file")
	}
	f := &sqliteFile{path: path}
	for _, db := range []struct {
		into    **sql.DB
		conns   int
		options url.Values
	}{
		// The journal makes it safe against a crash of the process. What a crash of
		// the machine may take is made again: rows and checkpoint go together.
		{&f.writer, 1, url.Values{"_txlock": {"immediate"}, "_pragma": {
			"journal_mode(wal)", "synchronous(normal)", "busy_timeout(10000)", "cache_size(-65536)", "wal_autocheckpoint(4000)",
		}}},
		{&f.readers, 8, url.Values{"_pragma": {"query_only(1)", "busy_timeout(10000)", "mmap_size(1073741824)"}}},
	} {
		opened, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+db.options.Encode())
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		*db.into = opened
		opened.SetMaxOpenConns(db.conns)
		opened.SetMaxIdleConns(db.conns)
		if err := opened.PingContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.close())
		}
	}
	return f, nil
}

func (f *sqliteFile) kind() string { return "sqlite" }

func (f *sqliteFile) close() error {
	var errs []error
	for _, db := range []*sql.DB{f.readers, f.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func (f *sqliteFile) snapshot(ctx context.Context, do func(reader) error) error {
	tx, err := f.readers.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it only read
	return do(&liteTx{tx: tx})
}

func (f *sqliteFile) write(ctx context.Context, do func(writer) error) error {
	tx, err := f.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(&liteTx{tx: tx}); err != nil {
		_ = tx.Rollback() // the error is what counts
		return err
	}
	return tx.Commit()
}

// own takes a lock on a file beside the database.
func (f *sqliteFile) own(ctx context.Context, p projections.Projection) (release func(), lost <-chan struct{}, err error) {
	for {
		unlock, err := filelock.Lock(f.path + "." + string(p) + ".lock")
		if err == nil {
			return func() { _ = unlock() }, make(chan struct{}), nil // to close a file twice is no harm
		}
		if !errors.Is(err, filelock.ErrHeld) {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(beat):
		}
	}
}

// liteTx is a transaction.
type liteTx struct{ tx *sql.Tx }

// liteArgs is arguments as SQLite keeps them: times are microseconds.
func liteArgs(args []any) []any {
	for i, a := range args {
		if t, ok := a.(time.Time); ok {
			if args[i] = any(nil); !t.IsZero() {
				args[i] = t.UnixMicro()
			}
		}
	}
	return args
}

// liteError turns what SQLite says into an error of ours, where there is one.
func liteError(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return &rowError{i: -1, err: err}
	}
	return err
}

func (t *liteTx) read(ctx context.Context, row func(scan) error, sql string, args ...any) error {
	rows, err := t.tx.QueryContext(ctx, sql, liteArgs(args)...)
	if err != nil {
		return liteError(err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what there is to say
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return liteError(rows.Err())
}

func (t *liteTx) stream(ctx context.Context, row func(scan) error, sql string, args ...any) error {
	return t.read(ctx, row, sql, args...)
}

func (t *liteTx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, sql, liteArgs(args)...)
	if err != nil {
		return 0, liteError(err)
	}
	return result.RowsAffected()
}

// elsewhere is the parts of a definition that SQLite has no use for.
var elsewhere = regexp.MustCompile(`COLLATE "C"|(?m)^.*-- postgres only$`)

func (t *liteTx) script(ctx context.Context, sql string) error {
	_, err := t.tx.ExecContext(ctx, elsewhere.ReplaceAllString(sql, ""))
	return liteError(err)
}

func (t *liteTx) each(ctx context.Context, n int, sql string, args func(i int) []any) error {
	if n == 0 {
		return nil
	}
	stmt, err := t.tx.PrepareContext(ctx, sql)
	if err != nil {
		return liteError(err)
	}
	defer func() { _ = stmt.Close() }() // it ends with the transaction
	for i := range n {
		runtime.Gosched() // else it keeps a processor for milliseconds, and who decides waits
		if _, err := stmt.ExecContext(ctx, liteArgs(args(i))...); err != nil {
			return rowOf(i, liteError(err))
		}
	}
	return nil
}

func (t *liteTx) merge(ctx context.Context, n int, sql string, args func(i int) []any) error {
	return t.each(ctx, n, sql, args)
}

// rowOf is an error with the row it is about.
func rowOf(i int, err error) error {
	if refused, ok := errors.AsType[*rowError](err); ok {
		return &rowError{i: i, err: refused.err}
	}
	return err
}

func (t *liteTx) drop(ctx context.Context, tables []string) error {
	for _, table := range tables {
		if err := t.script(ctx, "DROP TABLE IF EXISTS "+table); err != nil {
			return err
		}
	}
	return nil
}

// rowsAtOnce is how many decisions one statement of SQLite adds.
const rowsAtOnce = 16

func (t *liteTx) decisions(ctx context.Context, version int, rows []projections.DecisionRow) error {
	table := fmt.Sprintf("INSERT INTO decisions_v%d (%s) VALUES ", version, strings.Join(decisionColumns, ", "))
	one := "(?" + strings.Repeat(", ?", len(decisionColumns)-1) + ")"
	full := len(rows) / rowsAtOnce * rowsAtOnce
	args := make([]any, 0, rowsAtOnce*len(decisionColumns))
	insert := func(rows []projections.DecisionRow, n int, sql string) error {
		return t.each(ctx, len(rows)/n, sql, func(i int) []any {
			args = args[:0]
			for k := range n {
				args = appendLite(args, &rows[i*n+k])
			}
			return args
		})
	}
	err := insert(rows[:full], rowsAtOnce, table+one+strings.Repeat(", "+one, rowsAtOnce-1))
	if refused, ok := errors.AsType[*rowError](err); ok {
		return &rowError{i: -1, err: refused.err}
	}
	if err != nil {
		return err
	}
	err = insert(rows[full:], 1, table+one)
	if refused, ok := errors.AsType[*rowError](err); ok {
		return &rowError{i: full + refused.i, err: refused.err}
	}
	return err
}

// appendLite appends the columns of a row in the order of decisionColumns.
func appendLite(dst []any, d *projections.DecisionRow) []any {
	var minor any
	if d.Amount != "" {
		minor = d.Minor
	}
	return append(
		dst, int64(d.Partition), int64(d.Seq), string(d.Account), string(d.Agent), string(d.RequestID), d.DecidedAt, d.LoggedAt,
		string(d.Outcome), string(d.ReasonCode), d.Reason, string(d.Risk), string(d.Action), d.Vendor, d.Resource,
		string(d.Amount), minor, string(d.Currency), d.Path, d.Command, string(d.PermissionID), string(d.ApprovalID),
		int64(d.PassportVersion), d.ArgumentsDigest, d.Spends, d.Uses, d.Opens,
		string(d.Settled), string(d.SettledAmount), d.SettledAt, d.Record,
	)
}
