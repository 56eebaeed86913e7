package sqlviews

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/behalf-platform/behalf/projections"
)

type postgres struct {
	pool *pgxpool.Pool
	log  *slog.Logger

	mu sync.Mutex
	// months are the tables of months that are known to be there. It is guarded
	// by mu.
	months map[string]bool
}

func openPostgres(ctx context.Context, url string, log *slog.Logger) (*postgres, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = 16
	}
	params := cfg.ConnConfig.RuntimeParams
	params["application_name"] = "behalf"
	params["timezone"] = "UTC"
	// Each filter is another statement, and its plan should know the values.
	// Compiling one costs more than running it.
	params["plan_cache_mode"] = "force_custom_plan"
	params["jit"] = "off"
	// Else a range of an account is read in its order, for the few rows of an agent
	// in it. Disks that turn are not what this runs on.
	params["random_page_cost"] = "1.1"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &postgres{pool: pool, log: log, months: map[string]bool{}}, nil
}

func (p *postgres) kind() string { return "postgres" }

func (p *postgres) close() error {
	p.pool.Close()
	return nil
}

func (p *postgres) snapshot(ctx context.Context, do func(reader) error) error {
	return p.within(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return do(&pgTx{p: p, tx: tx})
	})
}

func (p *postgres) write(ctx context.Context, do func(writer) error) error {
	var made []string
	err := p.within(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		// What a crash takes can be made again: rows and checkpoint go together.
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		w := &pgTx{p: p, tx: tx}
		err := do(w)
		made = w.made
		return err
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, month := range made {
		p.months[month] = true
		p.log.InfoContext(ctx, "made a table for a month of decisions", slog.String("table", month))
	}
	return nil
}

func (p *postgres) within(ctx context.Context, o pgx.TxOptions, do func(pgx.Tx) error) error {
	err := pgx.BeginTxFunc(ctx, p.pool, o, do)
	return pgError(err)
}

// pgError turns what the server says into an error of ours, where there is one.
func pgError(err error) error {
	var e *pgconn.PgError
	if err == nil || !errors.As(err, &e) {
		return err
	}
	if _, known := errors.AsType[*rowError](err); known {
		return err
	}
	switch {
	case e.Code == "42P01": // undefined table
		return fmt.Errorf("%w: %w", errDropped, err)
	case e.Code == "55P03": // lock not available
		return fmt.Errorf("%w: %w", projections.ErrBusy, err)
	case strings.HasPrefix(e.Code, "22"), strings.HasPrefix(e.Code, "23"), strings.HasPrefix(e.Code, "54"):
		// Bad values, broken constraints, and what is too long for an index.
		return &rowError{i: -1, err: err}
	}
	return err
}

// pgTx is a transaction.
type pgTx struct {
	p    *postgres
	tx   pgx.Tx
	made []string // tables of months
}

func pgArgs(args []any) []any {
	for i, a := range args {
		if t, ok := a.(time.Time); ok && t.IsZero() {
			args[i] = nil
		}
	}
	return args
}

func (t *pgTx) read(ctx context.Context, row func(scan) error, sql string, args ...any) error {
	rows, err := t.tx.Query(ctx, sql, pgArgs(args)...)
	if err != nil {
		return pgError(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return pgError(rows.Err())
}

func (t *pgTx) stream(ctx context.Context, row func(scan) error, sql string, args ...any) error {
	// An index gives the order as it goes; to sort is to read all before the first.
	if _, err := t.tx.Exec(ctx, "SET LOCAL enable_sort = off"); err != nil {
		return err
	}
	return t.read(ctx, row, sql, args...)
}

func (t *pgTx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, sql, pgArgs(args)...)
	return tag.RowsAffected(), pgError(err)
}

func (t *pgTx) script(ctx context.Context, sql string) error {
	_, err := t.tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return pgError(err)
}

func (t *pgTx) each(ctx context.Context, n int, sql string, args func(i int) []any) (err error) {
	const most = 1000 // answers the server may have to keep for us
	for from := 0; from < n; from += most {
		var batch pgx.Batch
		through := min(n, from+most)
		for i := from; i < through; i++ {
			batch.Queue(sql, pgArgs(args(i))...)
		}
		if err := t.send(ctx, &batch, from); err != nil {
			return err
		}
	}
	return nil
}

// valuesOf is where an INSERT says what to add.
var valuesOf = regexp.MustCompile(`VALUES \([^)]*\)`)

// merge sends columns, as arrays: of many rows the server plans one statement, and
// that is most of what small ones cost.
func (t *pgTx) merge(ctx context.Context, n int, sql string, args func(i int) []any) error {
	if n == 0 {
		return nil
	}
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = args(i)
	}
	columns, arrays := make([]any, len(rows[0])), make([]string, len(rows[0]))
	for i, first := range rows[0] {
		kind := ""
		switch first.(type) {
		case string:
			columns[i], kind = column[string](rows, i), "text"
		case int64:
			columns[i], kind = column[int64](rows, i), "bigint"
		case time.Time:
			columns[i], kind = column[time.Time](rows, i), "timestamptz"
		default:
			return fmt.Errorf("merge: no array of %T", first)
		}
		arrays[i] = "$" + strconv.Itoa(i+1) + "::" + kind + "[]"
	}
	_, err := t.exec(ctx, valuesOf.ReplaceAllLiteralString(sql, "SELECT * FROM unnest("+strings.Join(arrays, ", ")+")"), columns...)
	return err
}

// column is one column of rows.
func column[T any](rows [][]any, at int) []T {
	list := make([]T, len(rows))
	for i, row := range rows {
		list[i] = row[at].(T)
	}
	return list
}

func (t *pgTx) send(ctx context.Context, batch *pgx.Batch, first int) error {
	results := t.tx.SendBatch(ctx, batch)
	for i := range batch.Len() {
		_, err := results.Exec()
		if err == nil {
			continue
		}
		_ = results.Close() // the transaction is over anyway
		err = pgError(err)
		if refused, ok := errors.AsType[*rowError](err); ok {
			return &rowError{i: first + i, err: refused.err}
		}
		return err
	}
	return results.Close()
}

func (t *pgTx) drop(ctx context.Context, tables []string) error {
	if err := t.script(ctx, "SET LOCAL lock_timeout = '2s'"); err != nil {
		return err
	}
	t.p.mu.Lock()
	clear(t.p.months)
	t.p.mu.Unlock()
	return t.script(ctx, "DROP TABLE IF EXISTS "+strings.Join(tables, ", "))
}
