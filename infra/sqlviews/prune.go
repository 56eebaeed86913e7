package sqlviews

import (
	"context"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// pruneAtOnce is how many decisions one transaction removes: few enough that
// whoever applies events hardly waits.
const pruneAtOnce = 2000

// Prune removes from a view of decisions, or of usage, some of what an account
// decided before a time, the oldest first, and reports whether there may be more.
// Decisions go by when the log stored them. Of usage go the days that are not
// whole any more. Views of other projections stay as they are.
func (s *Store) Prune(ctx context.Context, v projections.View, account domain.AccountID, before time.Time) (more bool, err error) {
	prune := map[projections.Projection]func(context.Context, writer, projections.View, domain.AccountID, time.Time) (bool, error){
		projections.ProjectionDecisions: pruneDecisions,
		projections.ProjectionUsage:     pruneUsage,
	}[v.Projection]
	if prune == nil {
		return false, nil
	}
	err = s.engine.write(ctx, func(w writer) error {
		more, err = prune(ctx, w, v, account, before)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("prune %s: %w", v, asNoView(v.Projection, err))
	}
	return more, nil
}

func pruneDecisions(ctx context.Context, w writer, v projections.View, account domain.AccountID, before time.Time) (more bool, err error) {
	through, more, err := oldDecisions(ctx, w, v, account, before)
	if err != nil || through == 0 {
		return false, err
	}
	if _, err := w.exec(ctx, of(v, "DELETE FROM decisions_v0 WHERE account = $1 AND seq <= $2"), string(account), through); err != nil {
		return false, err
	}
	return more, pruneDays(ctx, w, v, account, through)
}

// oldDecisions is the newest of the oldest decisions of an account that are from
// before a time, 0 if there are none. The log's time runs with its sequence.
func oldDecisions(ctx context.Context, w writer, v projections.View, account domain.AccountID, before time.Time) (through int64, more bool, err error) {
	for _, limit := range []int{1, pruneAtOnce} { // nearly always there is none
		through, more = 0, true
		err := w.read(ctx, func(scan scan) error {
			var seq int64
			var at time.Time
			if err := scan(&seq, moment{&at}); err != nil {
				return err
			}
			if more = more && at.Before(before); more {
				through = seq
			}
			return nil
		}, of(v, "SELECT seq, logged_at FROM decisions_v0 WHERE account = $1 ORDER BY seq LIMIT $2"), string(account), limit)
		if err != nil || through == 0 {
			return 0, false, err
		}
	}
	return through, more, nil
}

// pruneDays has the days of an account say where what is left of them lies.
func pruneDays(ctx context.Context, w writer, v projections.View, account domain.AccountID, through int64) error {
	if _, err := w.exec(ctx, of(v, "DELETE FROM days_v0 WHERE account = $1 AND last_seq <= $2"), string(account), through); err != nil {
		return err
	}
	var cut []time.Time
	err := w.read(ctx, func(scan scan) error {
		var day time.Time
		err := scan(moment{&day})
		cut = append(cut, day)
		return err
	}, of(v, "SELECT day FROM days_v0 WHERE account = $1 AND first_seq <= $2"), string(account), through)
	if err != nil {
		return err
	}
	for _, day := range cut {
		_, err := w.exec(ctx, of(v, `
			UPDATE days_v0 SET first_seq = (
				SELECT seq FROM decisions_v0 WHERE account = $1 AND seq > $3 AND decided_at >= $2 AND decided_at < $4 ORDER BY seq LIMIT 1)
			WHERE account = $1 AND day = $2`),
			string(account), day, through, day.AddDate(0, 0, 1))
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneUsage removes the oldest day that began before a time.
func pruneUsage(ctx context.Context, w writer, v projections.View, account domain.AccountID, before time.Time) (more bool, err error) {
	var oldest time.Time
	err = w.read(ctx, func(scan scan) error { return scan(moment{&oldest}) },
		of(v, "SELECT MIN(day) FROM usage_v0 WHERE account = $1"), string(account))
	if err != nil || oldest.IsZero() || !oldest.Before(before) {
		return false, err
	}
	_, err = w.exec(ctx, of(v, "DELETE FROM usage_v0 WHERE account = $1 AND day = $2"), string(account), oldest)
	return true, err
}
