package sqlviews

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

// decisions copies rows straight into the tables of their months. No row can be
// there already, since the checkpoint is moved first.
func (t *pgTx) decisions(ctx context.Context, version int, rows []projections.DecisionRow) error {
	for len(rows) > 0 {
		table, from, to := monthOf(version, rows[0].DecidedAt)
		n := 1
		for n < len(rows) && !rows[n].DecidedAt.Before(from) && rows[n].DecidedAt.Before(to) {
			n++
		}
		if err := t.month(ctx, version, table, from, to); err != nil {
			return err
		}
		if err := t.copy(ctx, table, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// monthOf is the table of the month of a time, and its bounds.
func monthOf(version int, at time.Time) (table string, from, to time.Time) {
	at = at.UTC()
	from = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return fmt.Sprintf("decisions_v%d_%04d_%02d", version, at.Year(), at.Month()), from, from.AddDate(0, 1, 0)
}

// month makes the table of a month if there is none. It is made first and
// attached then, which waits for no reader.
func (t *pgTx) month(ctx context.Context, version int, table string, from, to time.Time) error {
	t.p.mu.Lock()
	known := t.p.months[table]
	t.p.mu.Unlock()
	if known {
		return nil
	}
	found := false
	err := t.read(ctx, func(scan scan) error { return scan(&found) }, "SELECT to_regclass($1) IS NOT NULL", table)
	if err != nil {
		return err
	}
	t.made = append(t.made, table)
	if found {
		return nil
	}
	const bound = "2006-01-02 15:04:05Z07:00"
	parent := fmt.Sprintf("decisions_v%d", version)
	return t.script(ctx, fmt.Sprintf(`
		CREATE TABLE %[1]s (LIKE %[2]s) WITH (toast_tuple_target = 8160);
		ALTER TABLE %[1]s ALTER record SET STORAGE EXTERNAL;
		ALTER TABLE %[2]s ATTACH PARTITION %[1]s FOR VALUES FROM ('%[3]s') TO ('%[4]s')`,
		table, parent, from.Format(bound), to.Format(bound)))
}

func (t *pgTx) copy(ctx context.Context, table string, rows []projections.DecisionRow) error {
	sql := "COPY " + table + " (" + strings.Join(decisionColumns, ", ") + ") FROM STDIN BINARY"
	_, err := t.tx.Conn().PgConn().CopyFrom(ctx, &decisionReader{rows: rows}, sql)
	return pgError(err)
}

// decisionReader is rows in the binary form of COPY, made as they are read: the
// server takes the first in while the next are written. It is a third of the
// work of giving the driver values to encode.
type decisionReader struct {
	rows   []projections.DecisionRow
	begun  bool
	ended  bool
	buf    []byte
	unread []byte
}

const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (d *decisionReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(d.unread) == 0 && !d.fill(len(p)) {
			break
		}
		moved := copy(p[n:], d.unread)
		d.unread = d.unread[moved:]
		n += moved
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// fill makes more to read, and reports whether there was any.
func (d *decisionReader) fill(about int) bool {
	d.buf = d.buf[:0]
	if !d.begun {
		d.begun = true
		d.buf = append(d.buf, copyHeader...)
	}
	for len(d.rows) > 0 && len(d.buf) < about {
		d.buf = appendDecision(d.buf, &d.rows[0])
		d.rows = d.rows[1:]
	}
	if len(d.rows) == 0 && !d.ended {
		d.ended = true
		d.buf = append(d.buf, 0xff, 0xff)
	}
	d.unread = d.buf
	return len(d.unread) > 0
}

// appendDecision appends a row, its columns in the order of decisionColumns.
func appendDecision(dst []byte, d *projections.DecisionRow) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(decisionColumns)))
	dst = binary.BigEndian.AppendUint32(dst, 4)
	dst = binary.BigEndian.AppendUint32(dst, uint32(d.Partition))
	dst = appendInt(dst, int64(d.Seq))
	dst = appendColumn(dst, d.Account)
	dst = appendColumn(dst, d.Agent)
	dst = appendColumn(dst, d.RequestID)
	dst = appendMoment(dst, d.DecidedAt)
	dst = appendMoment(dst, d.LoggedAt)
	dst = appendColumn(dst, d.Outcome)
	dst = appendColumn(dst, d.ReasonCode)
	dst = appendColumn(dst, d.Reason)
	dst = appendColumn(dst, d.Risk)
	dst = appendColumn(dst, d.Action)
	dst = appendColumn(dst, d.Vendor)
	dst = appendColumn(dst, d.Resource)
	dst = appendColumn(dst, d.Amount)
	if d.Amount == "" {
		dst = appendNull(dst)
	} else {
		dst = appendInt(dst, d.Minor)
	}
	dst = appendColumn(dst, d.Currency)
	dst = appendColumn(dst, d.Path)
	dst = appendColumn(dst, d.Command)
	dst = appendColumn(dst, d.PermissionID)
	dst = appendColumn(dst, d.ApprovalID)
	dst = appendInt(dst, int64(d.PassportVersion))
	dst = appendColumn(dst, d.ArgumentsDigest)
	dst = appendBool(dst, d.Spends)
	dst = appendBool(dst, d.Uses)
	dst = appendBool(dst, d.Opens)
	dst = appendColumn(dst, d.Settled)
	dst = appendColumn(dst, d.SettledAmount)
	dst = appendMoment(dst, d.SettledAt)
	return appendColumn(dst, d.Record)
}

func appendColumn[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

func appendNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

func appendInt(dst []byte, v int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint64(dst, uint64(v))
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0, 0, 0, 1, 1)
	}
	return append(dst, 0, 0, 0, 1, 0)
}

// appendMoment appends a timestamp, which PostgreSQL counts from the year 2000.
func appendMoment(dst []byte, t time.Time) []byte {
	const year2000 = 946684800 * 1_000_000
	if t.IsZero() {
		return appendNull(dst)
	}
	return appendInt(dst, t.UnixMicro()-year2000)
}

// errTried ends a transaction that was only a try.
var errTried = errors.New("it was only a try")

// firstRefused is the index of the first of the rows that the server refuses, or
// -1. COPY itself doesn't say; this halves until it is found.
func (p *postgres) firstRefused(ctx context.Context, version int, rows []projections.DecisionRow) int {
	refuses := func(n int) bool {
		err := p.write(ctx, func(w writer) error {
			if err := w.decisions(ctx, version, rows[:n]); err != nil {
				return err
			}
			return errTried
		})
		_, refused := errors.AsType[*rowError](err)
		return refused
	}
	if !refuses(len(rows)) {
		return -1
	}
	taken, refused := 0, len(rows)
	for taken+1 < refused {
		if n := (taken + refused) / 2; refuses(n) {
			refused = n
		} else {
			taken = n
		}
	}
	return refused - 1
}
