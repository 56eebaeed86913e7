package sqlviews

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

func (s *Store) apply(ctx context.Context, v projections.View, span projections.Span, b *projections.Batch) error {
	if b.Projection != v.Projection || span.Through < span.From {
		return fmt.Errorf("apply a batch of %s, %d to %d, to %s", b.Projection, span.From, span.Through, v)
	}
	err := s.engine.write(ctx, func(w writer) error {
		if err := s.move(ctx, w, v, span); err != nil {
			return err
		}
		switch v.Projection {
		case projections.ProjectionDecisions:
			return applyDecisions(ctx, w, v, b)
		case projections.ProjectionPassports:
			return applyPassports(ctx, w, v, b)
		case projections.ProjectionApprovals:
			return applyApprovals(ctx, w, v, b)
		case projections.ProjectionUsage:
			return applyUsage(ctx, w, v, b)
		}
		return projections.ErrNoView
	})
	refused, ok := errors.AsType[*rowError](err)
	if !ok {
		if err != nil {
			return fmt.Errorf("apply %d to %d to %s: %w", span.From, span.Through, v, err)
		}
		return nil
	}
	e := &projections.Inapplicable{Err: refused.err}
	if at, ok := errors.AsType[*seqError](err); ok {
		e.Seq = at.seq
	} else if p, ok := s.engine.(*postgres); ok && len(b.Decisions) > 0 {
		if i := p.firstRefused(ctx, v.Version, b.Decisions); i >= 0 {
			e.Seq = b.Decisions[i].Seq
		}
	}
	return e
}

// seqError is rows of an event that the database refused.
type seqError struct {
	seq uint64
	err error
}

func (e *seqError) Error() string { return e.err.Error() }

func (e *seqError) Unwrap() error { return e.err }

// move moves the checkpoint, or says why it can't. It comes before any row: a
// writer that is not alone waits here, and then writes nothing.
func (s *Store) move(ctx context.Context, w writer, v projections.View, span projections.Span) error {
	n, err := w.exec(ctx, `
		UPDATE checkpoints SET seq = $6, moved_at = $7, stopped_at = 0, reason = ''
		WHERE projection = $1 AND version = $2 AND partition = $3 AND epoch = $4 AND seq = $5`,
		string(v.Projection), v.Version, int(span.Partition), int64(span.Epoch), int64(span.From), int64(span.Through), s.now())
	if err != nil || n == 1 {
		return err
	}
	list, err := checkpointsOf(ctx, w, &v)
	if err != nil {
		return err
	}
	for _, c := range list {
		switch {
		case c.Partition != span.Partition:
		case c.Epoch != span.Epoch:
			return projections.ErrAnotherLog
		default:
			return projections.ErrStale
		}
	}
	return projections.ErrNoView
}

// each runs a statement for each of some rows, and says of which event the one
// was that is refused.
func each[R any](ctx context.Context, w writer, v projections.View, rows []R, seq func(*R) uint64, sql string, args func(*R) []any) error {
	err := w.each(ctx, len(rows), of(v, sql), func(i int) []any { return args(&rows[i]) })
	if refused, ok := errors.AsType[*rowError](err); ok && refused.i >= 0 {
		return &seqError{seq: seq(&rows[refused.i]), err: err}
	}
	return err
}

func applyDecisions(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	if err := w.decisions(ctx, v.Version, b.Decisions); err != nil {
		if refused, ok := errors.AsType[*rowError](err); ok && refused.i >= 0 {
			return &seqError{seq: b.Decisions[refused.i].Seq, err: err}
		}
		return err
	}
	if err := applyDays(ctx, w, v, b.Decisions); err != nil {
		return err
	}
	return each(ctx, w, v, b.Settlements, func(r *projections.Settlement) uint64 { return r.Seq },
		"UPDATE decisions_v0 SET settled = $4, settled_amount = $5, settled_at = $6 WHERE request_id = $1 AND account = $2 AND agent = $3",
		func(r *projections.Settlement) []any {
			return []any{string(r.RequestID), string(r.Account), string(r.Agent), string(r.Outcome), string(r.Amount), r.At}
		})
}

// days is where the decisions of an account and a day lie.
type days struct {
	account     domain.AccountID
	day         time.Time
	first, last uint64
}

func applyDays(ctx context.Context, w writer, v projections.View, rows []projections.DecisionRow) error {
	type key struct {
		account domain.AccountID
		day     int64
	}
	var list []days
	found := map[key]int{}
	for i := range rows {
		r := &rows[i]
		k := key{r.Account, dayOf(r.DecidedAt).Unix()}
		at, ok := found[k]
		if !ok {
			at = len(list)
			found[k] = at
			list = append(list, days{account: r.Account, day: time.Unix(k.day, 0).UTC(), first: r.Seq})
		}
		list[at].last = r.Seq
	}
	return each(ctx, w, v, list, func(*days) uint64 { return 0 }, `
		INSERT INTO days_v0 (account, day, first_seq, last_seq) VALUES ($1, $2, $3, $4)
		ON CONFLICT (account, day) DO UPDATE SET last_seq = excluded.last_seq`,
		func(d *days) []any { return []any{string(d.account), d.day, int64(d.first), int64(d.last)} })
}

// dayOf is the midnight, UTC, before a time.
func dayOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func applyUsage(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	return w.merge(ctx, len(b.Usage), of(v, `
		INSERT INTO usage_v0 (account, agent, day, outcome, currency, count, billions, rest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (account, day, agent, outcome, currency) DO UPDATE SET
			count = usage_v0.count + excluded.count, billions = usage_v0.billions + excluded.billions, rest = usage_v0.rest + excluded.rest`),
		func(i int) []any {
			r := &b.Usage[i]
			return []any{string(r.Account), string(r.Agent), r.Day, string(r.Outcome), string(r.Currency), r.Count, r.Billions, r.Rest}
		})
}
