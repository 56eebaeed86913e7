package sqlviews

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/projections"
)

// dumped are the tables of each projection with an order that is always the
// same, and their columns.
func dumped(p projections.Projection) [][3]string {
	switch p {
	case projections.ProjectionDecisions:
		return [][3]string{
			{"decisions_v0", strings.Join(decisionColumns, ", "), "partition, seq"},
			{"days_v0", "account, day, first_seq, last_seq", "account, day"},
		}
	case projections.ProjectionPassports:
		return [][3]string{
			{"agents_v0", "account, agent, name, type, provider, label, external_id, status, driver, has_key, shared, limits, version, registered_at, updated_at", "account, agent"},
			{"permissions_v0", "account, agent, permission_id, version, since, terms, ended_by, ended_at, revoked", "account, agent, permission_id, version"},
			{"members_v0", "account, member_id, name, role, removed, added_at, version", "account, member_id"},
			{"changes_v0", "partition, seq, account, agent, event_id, kind, at, actor, cause, record", "account, seq"},
		}
	case projections.ProjectionApprovals:
		return [][3]string{
			{"approvals_v0", strings.TrimSuffix(strings.TrimPrefix(selectApprovals, "SELECT "), " FROM approvals_v0"), "account, approval_id"},
			{"votes_v0", "account, approval_id, member_id, seq, at, comment, self", "account, approval_id, member_id"},
		}
	case projections.ProjectionUsage:
		return [][3]string{{"usage_v0", "account, agent, day, outcome, currency, count, billions, rest", "account, day, agent, outcome, currency"}}
	}
	return nil
}

// Dump writes every row of a view, a line each, in an order that is always the
// same: views of the same events give the same bytes, whatever they were made by
// and on.
func (s *Store) Dump(ctx context.Context, v projections.View, w io.Writer) error {
	err := s.engine.snapshot(ctx, func(r reader) error {
		for _, table := range dumped(v.Projection) {
			columns := strings.Count(table[1], ",") + 1
			if _, err := fmt.Fprintf(w, "%s: %s\n", strings.TrimSuffix(table[0], "_v0"), strings.Join(strings.Fields(table[1]), " ")); err != nil {
				return err
			}
			err := r.read(ctx, func(scan scan) error {
				return dumpRow(w, scan, columns)
			}, of(v, "SELECT "+table[1]+" FROM "+table[0]+" ORDER BY "+table[2]))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("dump %s: %w", v, err)
	}
	return nil
}

func dumpRow(w io.Writer, scan scan, columns int) error {
	cells := make([]cell, columns)
	into := make([]any, columns)
	for i := range cells {
		into[i] = &cells[i]
	}
	if err := scan(into...); err != nil {
		return err
	}
	for i, c := range cells {
		if i > 0 {
			c = "\t" + c
		}
		if _, err := io.WriteString(w, string(c)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// cell is a column as text, the same for both databases.
type cell string

// Scan takes a column.
func (c *cell) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*c = "-"
	case []byte:
		*c = cell(hex.EncodeToString(v))
	case bool:
		if *c = "0"; v {
			*c = "1"
		}
	case time.Time:
		*c = cell(fmt.Sprint(v.UnixMicro()))
	case string:
		*c = cell(fmt.Sprintf("%q", v))
	default:
		*c = cell(fmt.Sprint(v))
	}
	return nil
}
