package sqlviews

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// decisionColumns are in the order in which rows are written and read.
var decisionColumns = []string{
	"partition", "seq", "account", "agent", "request_id", "decided_at", "logged_at",
	"outcome", "reason_code", "reason", "risk", "action", "vendor", "resource",
	"amount", "amount_minor", "currency", "path", "command", "permission_id", "approval_id",
	"passport_version", "arguments_digest", "spends", "uses", "opens",
	"settled", "settled_amount", "settled_at", "record",
}

// query answers from the view of a projection that serves. A view that is
// dropped between the two is not the one that serves any more: ask again.
func (s *Store) query(ctx context.Context, p projections.Projection, do func(reader, projections.View) error) error {
	const tries = 3
	for try := 1; ; try++ {
		found := false
		err := s.engine.snapshot(ctx, func(r reader) error {
			v, err := servingOf(ctx, r, p)
			if err != nil {
				return err
			}
			found = true
			return do(r, v)
		})
		if !found || !errors.Is(err, errDropped) || try == tries {
			return asNoView(p, err)
		}
	}
}

// where is the conditions of a statement, and their arguments.
type where struct {
	conditions []string
	args       []any
	// nothing says that a condition can't hold: text with NUL, which no row has.
	nothing bool
	// index is what stands after the table's name.
	index string
}

// add adds a condition. The question mark in it stands for the argument.
func (w *where) add(condition string, arg any) {
	if text, ok := arg.(string); ok && (strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text)) {
		w.nothing = true
	}
	w.args = append(w.args, arg)
	w.conditions = append(w.conditions, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(w.args))))
}

// is adds that a column has a value, if there is one.
func (w *where) is(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

// before adds that a row comes after a cursor of a list, newest first.
func (w *where) before(c projections.Cursor) {
	if c != (projections.Cursor{}) {
		w.add("seq < ?", int64(c.Seq))
	}
}

func (w *where) String() string { return " WHERE " + strings.Join(w.conditions, " AND ") }

// whereOf begins with the account, which every query is about.
func whereOf(account domain.AccountID) *where {
	w := &where{nothing: account == ""}
	w.add("account = ?", string(account))
	return w
}

func whereDecisions(f projections.DecisionFilter, kind string) *where {
	w := whereOf(f.Account)
	if f.Agent != "" && kind == "sqlite" { // which would take the account's for a range within all that it has
		w.index = " INDEXED BY decisions_v0_agent"
	}
	w.is("agent", string(f.Agent))
	w.is("outcome", string(f.Outcome))
	w.is("reason_code", string(f.ReasonCode))
	w.is("action", string(f.Action))
	w.is("vendor", f.Vendor)
	w.is("resource", f.Resource)
	w.is("permission_id", string(f.PermissionID))
	w.is("approval_id", string(f.ApprovalID))
	w.is("risk", string(f.Risk))
	w.is("currency", string(f.Currency))
	if f.PassportVersion != 0 {
		w.add("passport_version = ?", int64(f.PassportVersion))
	}
	if f.AmountMin != nil {
		w.add("amount_minor >= ?", *f.AmountMin)
	}
	if f.AmountMax != nil {
		w.add("amount_minor <= ?", *f.AmountMax)
	}
	if !f.Since.IsZero() {
		w.add("decided_at >= ?", f.Since)
	}
	if !f.Until.IsZero() {
		w.add("decided_at < ?", f.Until)
	}
	// Not LIKE: to look for text as it is leaves no wildcard to escape.
	switch {
	case f.Text == "":
	case kind == "postgres":
		w.add("strpos(lower(reason), lower(?)) > 0", f.Text)
	default:
		w.add("instr(lower(reason), lower(?)) > 0", f.Text)
	}
	return w
}

// within is w with the range of sequences that the filter's times are in, and
// that comes before a cursor.
func (w where) within(ctx context.Context, r reader, v projections.View, f projections.DecisionFilter, before projections.Cursor) (*where, error) {
	w.conditions, w.args = slices.Clip(w.conditions), slices.Clip(w.args)
	if f.Since.IsZero() && f.Until.IsZero() || w.nothing {
		w.before(before)
		return &w, nil
	}
	days := whereOf(f.Account)
	if !f.Since.IsZero() {
		days.add("day >= ?", dayOf(f.Since))
	}
	if !f.Until.IsZero() {
		days.add("day < ?", f.Until)
	}
	var first, last *int64
	err := r.read(ctx, func(scan scan) error { return scan(&first, &last) },
		of(v, "SELECT MIN(first_seq), MAX(last_seq) FROM days_v0")+days.String(), days.args...)
	if err != nil {
		return nil, err
	}
	if first == nil || last == nil {
		w.nothing = true
		return &w, nil
	}
	w.add("seq >= ?", *first)
	if before == (projections.Cursor{}) || uint64(*last) < before.Seq {
		before.Seq = uint64(*last) + 1
	}
	w.before(before)
	return &w, nil
}

func scanDecision(scan scan) (d projections.DecisionRow, err error) {
	var minor *int64
	err = scan(
		&d.Partition, &d.Seq, &d.Account, &d.Agent, &d.RequestID, moment{&d.DecidedAt}, moment{&d.LoggedAt},
		&d.Outcome, &d.ReasonCode, &d.Reason, &d.Risk, &d.Action, &d.Vendor, &d.Resource,
		&d.Amount, &minor, &d.Currency, &d.Path, &d.Command, &d.PermissionID, &d.ApprovalID,
		&d.PassportVersion, &d.ArgumentsDigest, &d.Spends, &d.Uses, &d.Opens,
		&d.Settled, &d.SettledAmount, moment{&d.SettledAt}, &d.Record,
	)
	if minor != nil {
		d.Minor = *minor
	}
	return d, err
}

func selectDecisions(v projections.View, w *where) string {
	return of(v, "SELECT "+strings.Join(decisionColumns, ", ")+" FROM decisions_v0"+w.index) + w.String()
}

func (s *Store) listDecisions(ctx context.Context, f projections.DecisionFilter, limit int, after projections.Cursor) (rows []projections.DecisionRow, next projections.Cursor, err error) {
	w := whereDecisions(f, s.engine.kind())
	err = s.query(ctx, projections.ProjectionDecisions, func(r reader, v projections.View) error {
		rows = nil
		w, err := w.within(ctx, r, v, f, after)
		if err != nil || w.nothing {
			return err
		}
		return r.read(ctx, func(scan scan) error {
			d, err := scanDecision(scan)
			rows = append(rows, d)
			return err
		}, selectDecisions(v, w)+" ORDER BY seq DESC LIMIT "+strconv.Itoa(limit+1), w.args...)
	})
	if err != nil {
		return nil, next, fmt.Errorf("read decisions: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = projections.Cursor{Partition: rows[limit-1].Partition, Seq: rows[limit-1].Seq}
	}
	return rows, next, nil
}

func (s *Store) eachDecision(ctx context.Context, f projections.DecisionFilter, yield func(projections.DecisionRow) error) error {
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w := whereDecisions(f, s.engine.kind())
	var given error
	err := s.query(ctx, projections.ProjectionDecisions, func(r reader, v projections.View) error {
		w, err := w.within(ctx, r, v, f, projections.Cursor{})
		if err != nil || w.nothing {
			return err
		}
		return r.stream(ctx, func(scan scan) error {
			d, err := scanDecision(scan)
			if err == nil {
				given = yield(d)
				err = given
			}
			return err
		}, selectDecisions(v, w)+" ORDER BY seq DESC", w.args...)
	})
	if given != nil || err == nil {
		return given
	}
	return fmt.Errorf("read decisions: %w", err)
}

func (s *Store) totals(ctx context.Context, f projections.DecisionFilter) (totals []projections.Total, err error) {
	w := whereDecisions(f, s.engine.kind())
	err = s.query(ctx, projections.ProjectionDecisions, func(r reader, v projections.View) error {
		totals = nil
		w, err := w.within(ctx, r, v, f, projections.Cursor{})
		if err != nil || w.nothing {
			return err
		}
		return r.read(ctx, func(scan scan) error {
			var t projections.Total
			var billions, rest int64
			err := scan(&t.Outcome, &t.Currency, &t.Count, &billions, &rest)
			t.Amount = amountOf(billions, rest, t.Currency)
			totals = append(totals, t)
			return err
		}, of(v, `SELECT outcome, CASE WHEN amount_minor IS NULL THEN '' ELSE currency END AS money, COUNT(*),
				CAST(COALESCE(SUM(amount_minor / 1000000000), 0) AS BIGINT), CAST(COALESCE(SUM(amount_minor % 1000000000), 0) AS BIGINT)
			FROM decisions_v0`+w.index)+w.String()+" GROUP BY 1, 2 ORDER BY 1, 2", w.args...)
	})
	if err != nil {
		return nil, fmt.Errorf("count decisions: %w", err)
	}
	return totals, nil
}

// amountOf is the text, in full scale, of so many times 10^9 minor units and a
// rest. It is empty where the currency is.
func amountOf(billions, rest int64, c domain.Currency) domain.Decimal {
	if c == "" {
		return ""
	}
	sum := new(big.Int).Mul(big.NewInt(billions), big.NewInt(1_000_000_000))
	digits := sum.Add(sum, big.NewInt(rest)).String()
	_, fraction, _ := strings.Cut(domain.Money{Currency: c}.String(), ".")
	scale := len(fraction)
	if scale == 0 {
		return domain.Decimal(digits)
	}
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	return domain.Decimal(digits[:len(digits)-scale] + "." + digits[len(digits)-scale:])
}

func (s *Store) decision(ctx context.Context, account domain.AccountID, agent domain.AgentID, id domain.RequestID) (projections.DecisionRow, error) {
	w := whereOf(account)
	w.is("agent", string(agent))
	w.add("request_id = ?", string(id))
	return one(ctx, s, projections.ProjectionDecisions, w, "decision", string(id), func(v projections.View) string { return selectDecisions(v, w) }, scanDecision)
}

// one is a query for one row, or a [domain.RuleError] when there is none.
func one[R any](ctx context.Context, s *Store, p projections.Projection, w *where, noun, id string, sql func(projections.View) string, row func(scan) (R, error)) (found R, err error) {
	none := true
	err = s.query(ctx, p, func(r reader, v projections.View) error {
		if none = true; w.nothing {
			return nil
		}
		return r.read(ctx, func(scan scan) error {
			none = false
			var err error
			found, err = row(scan)
			return err
		}, sql(v)+" LIMIT 1", w.args...)
	})
	if err != nil {
		return found, fmt.Errorf("read %s: %w", noun, err)
	}
	if none {
		return found, domain.Reject(domain.NotFound, "no %s %s", noun, id)
	}
	return found, nil
}

// afterUsage adds that a row comes after a cursor of a list of usage.
func (w *where) afterUsage(c projections.UsageCursor) {
	if c == (projections.UsageCursor{}) {
		return
	}
	n := len(w.args)
	w.args = append(w.args, c.Day, string(c.Agent), string(c.Outcome), string(c.Currency))
	w.conditions = append(w.conditions, fmt.Sprintf("(day < $%d OR day = $%[1]d AND (agent, outcome, currency) > ($%d, $%d, $%d))", n+1, n+2, n+3, n+4))
}

func (s *Store) usage(ctx context.Context, f projections.UsageFilter, limit int, after projections.UsageCursor) (list []projections.Usage, next projections.UsageCursor, err error) {
	w := whereOf(f.Account)
	w.is("agent", string(f.Agent))
	w.is("outcome", string(f.Outcome))
	w.is("currency", string(f.Currency))
	if !f.Since.IsZero() {
		w.add("day >= ?", f.Since)
	}
	if !f.Until.IsZero() {
		w.add("day < ?", f.Until)
	}
	w.afterUsage(after)
	err = s.query(ctx, projections.ProjectionUsage, func(r reader, v projections.View) error {
		if list = nil; w.nothing {
			return nil
		}
		return r.read(ctx, func(scan scan) error {
			var u projections.Usage
			var billions, rest int64
			err := scan(&u.Agent, moment{&u.Day}, &u.Outcome, &u.Currency, &u.Count, &billions, &rest)
			u.Amount = amountOf(billions, rest, u.Currency)
			list = append(list, u)
			return err
		}, of(v, "SELECT agent, day, outcome, currency, count, billions, rest FROM usage_v0")+w.String()+
			" ORDER BY day DESC, agent, outcome, currency LIMIT "+strconv.Itoa(limit+1), w.args...)
	})
	if err != nil {
		return nil, next, fmt.Errorf("read usage: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		last := list[limit-1]
		next = projections.UsageCursor{Day: last.Day, Agent: last.Agent, Outcome: last.Outcome, Currency: last.Currency}
	}
	return list, next, nil
}
