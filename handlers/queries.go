package handlers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// DecisionViews answers what was decided.
type DecisionViews interface {
	// Decisions is a page of decisions, newest first, and the cursor of the next one.
	Decisions(ctx context.Context, f projections.DecisionFilter, limit int, after projections.Cursor) ([]projections.DecisionRow, projections.Cursor, error)
	// EachDecision calls yield with every decision that matches, newest first.
	EachDecision(ctx context.Context, f projections.DecisionFilter, yield func(projections.DecisionRow) error) error
	Totals(ctx context.Context, f projections.DecisionFilter) ([]projections.Total, error)
	Usage(ctx context.Context, f projections.UsageFilter, limit int, after projections.UsageCursor) ([]projections.Usage, projections.UsageCursor, error)
}

// HistoryViews answers what changed passports.
type HistoryViews interface {
	// Changes is a page of what changed an agent's passport, newest first.
	Changes(ctx context.Context, account domain.AccountID, agent domain.AgentID, limit int, after projections.Cursor) ([]projections.ChangeRow, projections.Cursor, error)
}

// Views is the read models that queries are answered from.
type Views interface {
	DecisionViews
	HistoryViews
	ProjectorStore
}

// Queries answers from the read models. Whatever is wrong with them is answered
// with 503 and is about queries only.
type Queries struct {
	Log     StatusLog
	Watcher *Watcher
	// Timeout bounds one query, 20 seconds if 0. An export has no bound.
	Timeout time.Duration

	views atomic.Pointer[opened]
}

// opened is read models that were opened.
type opened struct{ Views }

// Use has queries answered from these read models, from now on.
func (q *Queries) Use(v Views) { q.views.Store(&opened{v}) }

const (
	usualTimeout = 20 * time.Second
	// mostBehind is how long a query waits for a position.
	mostBehind = 5 * time.Second
)

// unaffected ends what is said of every fault of a query.
const unaffected = "; deciding is not affected"

var errNotOpen = errors.New("the database is not open")

// ask readies a query of a projection: the read models, once they have come to
// a position, and the time it may take.
func (q *Queries) ask(ctx context.Context, name projections.Projection, atLeast string) (Views, context.Context, context.CancelFunc, error) {
	views := q.views.Load()
	if views == nil {
		return nil, nil, nil, unavailable(errNotOpen, "queries are not answered, because the database can't be opened%s", unaffected)
	}
	if q.Watcher != nil && q.Watcher.foreign(name) {
		return nil, nil, nil, unavailable(projections.ErrAnotherLog, "queries of %s are not answered, because the database holds the rows of another log; rebuild it with \"behalf projections rebuild %s\"%s", name, name, unaffected)
	}
	if err := q.await(ctx, views, name, atLeast); err != nil {
		return nil, nil, nil, err
	}
	timeout := q.Timeout
	if timeout == 0 {
		timeout = usualTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return views, ctx, cancel, nil
}

// await waits until a projection has come to a position.
func (q *Queries) await(ctx context.Context, store ViewStore, name projections.Projection, atLeast string) error {
	if atLeast == "" {
		return nil
	}
	p, err := domain.ParsePosition(atLeast)
	if err != nil || int(p.Partition) >= q.Log.Partitions() || p.Epoch != q.Log.Epoch(p.Partition) {
		return domain.RejectField(domain.Invalid, "/atLeast", "is not a position of this log; send one that a packet carried")
	}
	ctx, cancel := context.WithTimeout(ctx, mostBehind)
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		list, err := store.Status(ctx)
		if err != nil && ctx.Err() == nil {
			return failedQuery(name, err)
		}
		for _, c := range list {
			if c.Projection == name && c.Serving && c.Partition == p.Partition && c.Epoch == p.Epoch && c.Seq >= p.Seq {
				return nil
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return unavailable(err, "queries of %s have not come to the position in atLeast within %s; try again, or leave it out%s", name, mostBehind, unaffected)
		}
	}
}

// failedQuery is what is said of an error of the read models.
func failedQuery(name projections.Projection, err error) error {
	if _, isRule := errors.AsType[*domain.RuleError](err); isRule {
		return err
	}
	_, stopped := errors.AsType[*projections.Stopped](err)
	switch {
	case stopped:
		return unavailable(err, "queries of %s are not answered, because it met an event that it can't apply; see \"behalf projections status\"%s", name, unaffected)
	case errors.Is(err, projections.ErrNoView):
		return unavailable(err, "queries of %s are not answered yet, because it is being made; try again%s", name, unaffected)
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable(err, "the query took too long, and was given up; narrow it, by agentId or since%s", unaffected)
	}
	return unavailable(err, "queries are not answered, because the database does not answer; try again%s", unaffected)
}

// cursorOf reads the cursor of a list of an account.
func (q *Queries) cursorOf(account domain.AccountID, cursor string) (projections.Cursor, error) {
	if cursor == "" {
		return projections.Cursor{}, nil
	}
	p, err := domain.ParsePosition(cursor)
	if err != nil || p.Partition != domain.PartitionOf(account, q.Log.Partitions()) || p.Epoch != q.Log.Epoch(p.Partition) || p.Seq == 0 {
		return projections.Cursor{}, domain.RejectField(domain.Invalid, "/cursor", "is not a cursor of this list; send the nextCursor of the page before")
	}
	return projections.Cursor{Partition: p.Partition, Seq: p.Seq}, nil
}

// token is a cursor as clients see it, empty when there is no next page.
func (q *Queries) token(c projections.Cursor) string {
	if c == (projections.Cursor{}) {
		return ""
	}
	return domain.Position{Partition: c.Partition, Epoch: q.Log.Epoch(c.Partition), Seq: c.Seq}.String()
}

// DecisionPage is a page of decisions as they were recorded.
type DecisionPage struct {
	Decisions  []domain.Recorded
	NextCursor string
}

// Decisions is a page of the decisions that match, newest first, of read models
// that have come to the position atLeast, if one is given.
func (q *Queries) Decisions(ctx context.Context, f projections.DecisionFilter, limit int, cursor, atLeast string) (page DecisionPage, err error) {
	after, err := q.cursorOf(f.Account, cursor)
	if err != nil {
		return page, err
	}
	views, ctx, done, err := q.ask(ctx, projections.ProjectionDecisions, atLeast)
	if err != nil {
		return page, err
	}
	defer done()
	rows, next, err := views.Decisions(ctx, f, limit, after)
	if err != nil {
		return page, failedQuery(projections.ProjectionDecisions, err)
	}
	for i := range rows {
		r, err := rows[i].Recorded(q.Log.Epoch(rows[i].Partition))
		if err != nil {
			return page, Unreadable(err)
		}
		page.Decisions = append(page.Decisions, r)
	}
	page.NextCursor = q.token(next)
	return page, nil
}

// Export calls yield with every decision that matches, newest first, and the
// row it was found in. It needs the memory of one, however many there are.
func (q *Queries) Export(ctx context.Context, f projections.DecisionFilter, atLeast string, yield func(domain.Recorded, *projections.DecisionRow) error) error {
	views, _, done, err := q.ask(ctx, projections.ProjectionDecisions, atLeast)
	if err != nil {
		return err
	}
	done() // it may take its time
	var given error
	err = views.EachDecision(ctx, f, func(row projections.DecisionRow) error {
		r, err := row.Recorded(q.Log.Epoch(row.Partition))
		if err == nil {
			err = yield(r, &row)
		}
		given = err
		return err
	})
	if given != nil || err == nil {
		return given
	}
	return failedQuery(projections.ProjectionDecisions, err)
}

// Totals counts the decisions that match, by outcome and currency.
func (q *Queries) Totals(ctx context.Context, f projections.DecisionFilter, atLeast string) ([]projections.Total, error) {
	views, ctx, done, err := q.ask(ctx, projections.ProjectionDecisions, atLeast)
	if err != nil {
		return nil, err
	}
	defer done()
	totals, err := views.Totals(ctx, f)
	if err != nil {
		return nil, failedQuery(projections.ProjectionDecisions, err)
	}
	return totals, nil
}

// Usage is a page of what was decided per day, agent, outcome and currency, the
// newest day first, and the cursor of the next one.
func (q *Queries) Usage(ctx context.Context, f projections.UsageFilter, limit int, cursor, atLeast string) (page []projections.Usage, next string, err error) {
	after, err := usageCursorOf(cursor)
	if err != nil {
		return nil, "", err
	}
	views, ctx, done, err := q.ask(ctx, projections.ProjectionUsage, atLeast)
	if err != nil {
		return nil, "", err
	}
	defer done()
	page, more, err := views.Usage(ctx, f, limit, after)
	if err != nil {
		return nil, "", failedQuery(projections.ProjectionUsage, err)
	}
	return page, usageToken(more), nil
}

// usageCursorOf reads the cursor of a list of usage.
func usageCursorOf(cursor string) (after projections.UsageCursor, err error) {
	if cursor == "" {
		return after, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if parts := strings.Split(string(text), " "); err == nil && len(parts) == 4 && utf8.Valid(text) {
		after.Agent, after.Outcome, after.Currency = domain.AgentID(parts[1]), domain.Outcome(parts[2]), domain.Currency(parts[3])
		if after.Day, err = time.Parse(time.DateOnly, parts[0]); err == nil && domain.ValidID(parts[1]) {
			return after, nil
		}
	}
	return after, domain.RejectField(domain.Invalid, "/cursor", "is not a cursor of this list; send the nextCursor of the page before")
}

// usageToken is a cursor as clients see it, empty when there is no next page.
func usageToken(c projections.UsageCursor) string {
	if c == (projections.UsageCursor{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s %s %s %s", c.Day.UTC().Format(time.DateOnly), c.Agent, c.Outcome, c.Currency))
}

// Changes is a page of what changed an agent's passport, newest first, and the
// cursor of the next one.
func (q *Queries) Changes(ctx context.Context, s domain.Stream, limit int, cursor, atLeast string) (page []projections.ChangeRow, next string, err error) {
	after, err := q.cursorOf(s.Account, cursor)
	if err != nil {
		return nil, "", err
	}
	views, ctx, done, err := q.ask(ctx, projections.ProjectionPassports, atLeast)
	if err != nil {
		return nil, "", err
	}
	defer done()
	page, at, err := views.Changes(ctx, s.Account, s.Agent, limit, after)
	if err != nil {
		return nil, "", failedQuery(projections.ProjectionPassports, err)
	}
	return page, q.token(at), nil
}

// Matches reports whether a record is a decision that a filter wants: what the
// read models say of the row it makes.
func Matches(f *projections.DecisionFilter, r *domain.Recorded) bool {
	d, ok := r.Event.(domain.DecisionMade)
	if !ok || f.Account != r.Account {
		return false
	}
	q := &d.Request
	at := r.At.Truncate(time.Microsecond) // as rows have it
	return is(f.Agent, r.Agent) && is(f.Outcome, d.Outcome) && is(f.ReasonCode, d.ReasonCode) && is(f.Action, q.Action) &&
		is(f.Vendor, q.Vendor) && is(f.Resource, q.Resource) && is(f.PermissionID, d.PermissionID) &&
		is(f.ApprovalID, d.ApprovalID) && is(f.Risk, d.Risk) && is(f.PassportVersion, d.PassportVersion) &&
		is(f.Currency, q.Currency) && amountIs(f, q) &&
		(f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || at.Before(f.Until)) &&
		strings.Contains(lowerASCII(d.Reason), lowerASCII(f.Text))
}

// is reports whether a value is the one wanted, if one is.
func is[V comparable](wanted, v V) bool {
	var none V
	return wanted == none || wanted == v
}

func amountIs(f *projections.DecisionFilter, q *domain.Request) bool {
	if f.AmountMin == nil && f.AmountMax == nil {
		return true
	}
	money, err := domain.ParseMoney(string(q.Amount), q.Currency)
	return err == nil && (f.AmountMin == nil || money.Minor >= *f.AmountMin) && (f.AmountMax == nil || money.Minor <= *f.AmountMax)
}

// lowerASCII is what read models compare text by.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
