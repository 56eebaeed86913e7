package sqlviews_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/infra/sqlviews"
	"github.com/behalf-platform/behalf/projections"
)

// matches is the filter, as it is said in words.
func matches(f *projections.DecisionFilter, d *projections.DecisionRow) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	micro := func(t time.Time) int64 { return t.UnixMicro() }
	return d.Account == f.Account && is(string(f.Agent), string(d.Agent)) && is(string(f.Outcome), string(d.Outcome)) &&
		is(string(f.ReasonCode), string(d.ReasonCode)) && is(string(f.Action), string(d.Action)) && is(f.Vendor, d.Vendor) &&
		is(f.Resource, d.Resource) && is(string(f.PermissionID), string(d.PermissionID)) &&
		is(string(f.ApprovalID), string(d.ApprovalID)) && is(string(f.Risk), string(d.Risk)) && is(string(f.Currency), string(d.Currency)) &&
		(f.PassportVersion == 0 || f.PassportVersion == d.PassportVersion) &&
		(f.AmountMin == nil || d.Amount != "" && d.Minor >= *f.AmountMin) &&
		(f.AmountMax == nil || d.Amount != "" && d.Minor <= *f.AmountMax) &&
		(f.Since.IsZero() || micro(d.DecidedAt) >= micro(f.Since)) && (f.Until.IsZero() || micro(d.DecidedAt) < micro(f.Until)) &&
		strings.Contains(lower(d.Reason), lower(f.Text))
}

// lower folds ASCII only, byte by byte.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// decisionsOf is the rows of a history, newest first.
func decisionsOf(t testing.TB, h *history) []projections.DecisionRow {
	t.Helper()
	rows := slices.Clone(mustBatch(t, projections.ProjectionDecisions, h.events).Decisions)
	for i := range rows {
		d := &rows[i]
		d.DecidedAt, d.LoggedAt = d.DecidedAt.Truncate(time.Microsecond), d.LoggedAt.Truncate(time.Microsecond)
	}
	slices.Reverse(rows)
	return rows
}

// limits are ways to set one field of a filter, as some row would match it.
func limits(h *history, d *projections.DecisionRow) []func(*projections.DecisionFilter) {
	low, high := int64(h.rand.IntN(50000)), int64(50000+h.rand.IntN(50000))
	return []func(*projections.DecisionFilter){
		func(f *projections.DecisionFilter) { f.Agent = d.Agent },
		func(f *projections.DecisionFilter) { f.Outcome = d.Outcome },
		func(f *projections.DecisionFilter) { f.ReasonCode = d.ReasonCode },
		func(f *projections.DecisionFilter) { f.Action = d.Action },
		func(f *projections.DecisionFilter) { f.Vendor = d.Vendor },
		func(f *projections.DecisionFilter) { f.Resource = d.Resource },
		func(f *projections.DecisionFilter) { f.PermissionID = d.PermissionID },
		func(f *projections.DecisionFilter) { f.ApprovalID = d.ApprovalID },
		func(f *projections.DecisionFilter) { f.Risk = d.Risk },
		func(f *projections.DecisionFilter) { f.PassportVersion = d.PassportVersion },
		func(f *projections.DecisionFilter) { f.Currency = d.Currency },
		func(f *projections.DecisionFilter) { f.AmountMin = &low },
		func(f *projections.DecisionFilter) { f.AmountMax = &high },
		func(f *projections.DecisionFilter) { f.Since = d.DecidedAt },
		func(f *projections.DecisionFilter) { f.Until = d.DecidedAt },
		func(f *projections.DecisionFilter) { f.Text = pick(h, hostile...) },
	}
}

// hostile are texts to look for that mean something to one database or another.
var hostile = append([]string{
	"%", "_", `\`, "'", `"`, "';--", "' OR 1=1 --", "\x00", "NUL \x00", "\xff", "LIMIT", "limit", "größe", "GRÖSSE", "日本",
	"?", "$1", ":name", "*", "a_b", strings.Repeat("x", 100_000),
}, reasons...)

func TestFiltersChooseWhatTheySay(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(21).grow(500)
		mustProject(t, s, view(projections.ProjectionDecisions, 1), h, 1000)
		rows := decisionsOf(t, h)
		for _, text := range hostile {
			checkFilter(t, s, rows, projections.DecisionFilter{Account: ours, Text: text})
		}
		for _, odd := range []string{"'", "%", "\x00", "\xff", "nobody"} {
			checkFilter(t, s, rows, projections.DecisionFilter{Account: domain.AccountID(odd)})
			checkFilter(t, s, rows, projections.DecisionFilter{Account: ours, Agent: domain.AgentID(odd)})
			checkFilter(t, s, rows, projections.DecisionFilter{Account: ours, Vendor: odd})
		}
		checkFilter(t, s, rows, projections.DecisionFilter{})
		alone := len(limits(h, &rows[0]))
		for i := range 3 * alone {
			set := limits(h, &rows[h.rand.IntN(len(rows))])
			f := projections.DecisionFilter{Account: ours}
			if i < alone {
				set[i%alone](&f)
			} else {
				for range 2 + h.rand.IntN(3) {
					set[h.rand.IntN(alone)](&f)
				}
			}
			checkFilter(t, s, rows, f)
		}
	})
}

// checkFilter compares every way to ask with one filter with looking at each row.
func checkFilter(t *testing.T, s *sqlviews.Store, all []projections.DecisionRow, f projections.DecisionFilter) {
	t.Helper()
	var want []projections.DecisionRow
	for i := range all {
		if f.Account != "" && matches(&f, &all[i]) {
			want = append(want, all[i])
		}
	}
	var each []projections.DecisionRow
	err := s.EachDecision(t.Context(), f, func(d projections.DecisionRow) error { each = append(each, d); return nil })
	if err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	sameRows(t, fmt.Sprintf("each of %+v", f), each, want)

	var paged []projections.DecisionRow
	for next, first := (projections.Cursor{}), true; first || next != (projections.Cursor{}); first = false {
		limit := max(1, len(want)*2/3)
		page, after, err := s.Decisions(t.Context(), f, limit, next)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		if len(page) > limit || len(page) < limit && after != (projections.Cursor{}) {
			t.Fatalf("%+v: got a page of %d, want %d", f, len(page), limit)
		}
		paged, next = append(paged, page...), after
	}
	sameRows(t, fmt.Sprintf("pages of %+v", f), paged, want)

	totals, err := s.Totals(t.Context(), f)
	if err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	if counted := countTotals(want); !slices.Equal(totals, counted) {
		t.Fatalf("%+v: got totals %+v, want %+v", f, totals, counted)
	}
}

func sameRows(t *testing.T, what string, got, want []projections.DecisionRow) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%.300s: got %d rows, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("%.300s: got %+v, want %+v", what, got[i], want[i])
		}
	}
}

// countTotals counts in numbers of any size.
func countTotals(rows []projections.DecisionRow) (totals []projections.Total) {
	type key struct {
		outcome  domain.Outcome
		currency domain.Currency
	}
	counts, sums := map[key]int64{}, map[key]*big.Int{}
	for _, d := range rows {
		k := key{d.Outcome, d.Currency}
		if d.Amount == "" {
			k.currency = ""
		}
		if sums[k] == nil {
			sums[k] = new(big.Int)
		}
		counts[k]++
		sums[k].Add(sums[k], big.NewInt(d.Minor))
	}
	for k, n := range counts {
		total := projections.Total{Outcome: k.outcome, Currency: k.currency, Count: n}
		if k.currency != "" {
			scale := len(domain.Money{Currency: k.currency}.String()) - 2
			total.Amount = domain.Decimal(new(big.Rat).SetFrac(sums[k], new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, 0))), nil)).FloatString(max(scale, 0)))
		}
		totals = append(totals, total)
	}
	slices.SortFunc(totals, func(a, b projections.Total) int {
		return cmp.Or(cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Currency, b.Currency))
	})
	return totals
}

func TestPagesStayWhileRowsAreAdded(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(22).grow(500)
		v := view(projections.ProjectionDecisions, 1)
		mustProject(t, s, v, h, 1000)
		f := projections.DecisionFilter{Account: ours, Agent: "agent_1"}
		var want, got []projections.DecisionRow
		for _, d := range decisionsOf(t, h) {
			if matches(&f, &d) {
				want = append(want, d)
			}
		}
		for next, first := (projections.Cursor{}), true; first || next != (projections.Cursor{}); first = false {
			page, after, err := s.Decisions(t.Context(), f, 7, next)
			if err != nil {
				t.Fatal(err)
			}
			got, next = append(got, page...), after
			h.grow(30)
			mustProject(t, s, v, h, 1000)
		}
		for i := range got { // a settlement may have come meanwhile
			got[i].Settled, got[i].SettledAmount, got[i].SettledAt = "", "", time.Time{}
			want[i].Settled, want[i].SettledAmount, want[i].SettledAt = "", "", time.Time{}
		}
		sameRows(t, "pages", got, want)
	})
}

func TestADecisionIsFoundAndIsTheRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(23).grow(300)
		mustProject(t, s, view(projections.ProjectionDecisions, 1), h, 100)
		for _, want := range h.events {
			d, ok := want.Event.(domain.DecisionMade)
			if !ok || want.Account != ours {
				continue
			}
			row, err := s.Decision(t.Context(), ours, want.Agent, d.RequestID)
			if err != nil {
				t.Fatal(err)
			}
			got, err := row.Recorded(epoch)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := want.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(row.Record) != string(stored) || got.Position != want.Position || got.ID != want.ID {
				t.Fatalf("got %+v, want %+v", got, want)
			}
			for _, other := range []struct {
				account domain.AccountID
				agent   domain.AgentID
			}{{foreign, ""}, {foreign, want.Agent}, {ours, "agent_other"}, {"", ""}} {
				if _, err := s.Decision(t.Context(), other.account, other.agent, d.RequestID); !isNotFound(err) {
					t.Fatalf("%+v: got error %v, want that there is none", other, err)
				}
			}
		}
		if _, err := s.Decision(t.Context(), ours, "", "req_\x00"); !isNotFound(err) {
			t.Errorf("got error %v, want that there is none", err)
		}
	})
}

func TestAnExportEndsWhenItIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(24).grow(300)
		mustProject(t, s, view(projections.ProjectionDecisions, 1), h, 100)
		enough := errors.New("enough")
		for range 10 { // more than run at once: each has to give its place back
			n := 0
			err := s.EachDecision(t.Context(), projections.DecisionFilter{Account: ours}, func(projections.DecisionRow) error {
				if n++; n == 3 {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) || n != 3 {
				t.Fatalf("got %d rows and error %v, want 3 and %v", n, err, enough)
			}
		}
	})
}

func TestUsageAddsUp(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(testing.TB) *sqlviews.Store) {
		s, h := open(t), newHistory(25).grow(1200)
		mustProject(t, s, view(projections.ProjectionUsage, 1), h, 77)
		type key struct {
			agent domain.AgentID
			day   string
		}
		rows := map[key][]projections.DecisionRow{}
		for _, d := range decisionsOf(t, h) {
			if k := (key{d.Agent, d.DecidedAt.Format(time.DateOnly)}); d.Account == ours {
				rows[k] = append(rows[k], d)
			}
		}
		usage := mustUse(t, s, projections.UsageFilter{Account: ours})
		if len(usage) < 20 {
			t.Fatalf("got %d rows, want more", len(usage))
		}
		sorted := slices.IsSortedFunc(usage, func(a, b projections.Usage) int {
			return cmp.Or(b.Day.Compare(a.Day), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Currency, b.Currency))
		})
		if !sorted {
			t.Errorf("got %+v, want the newest day first", usage)
		}
		got := map[key][]projections.Total{}
		for _, u := range usage {
			k := key{u.Agent, u.Day.Format(time.DateOnly)}
			got[k] = append(got[k], u.Total)
		}
		if len(got) != len(rows) {
			t.Errorf("got %d agents and days, want %d", len(got), len(rows))
		}
		for k := range rows {
			if want := countTotals(rows[k]); !slices.Equal(got[k], want) {
				t.Errorf("%v: got %+v, want %+v", k, got[k], want)
			}
		}
		day := time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC)
		for _, u := range mustUse(t, s, projections.UsageFilter{
			Account: ours, Agent: "agent_2", Outcome: domain.OutcomeAllowed, Currency: "USD", Since: day, Until: day.AddDate(0, 0, 1),
		}) {
			if u.Agent != "agent_2" || u.Outcome != domain.OutcomeAllowed || u.Currency != "USD" || !u.Day.Equal(day) {
				t.Errorf("got %+v, want what was asked for", u)
			}
		}
		if got := mustUse(t, s, projections.UsageFilter{Account: "acct_other"}); len(got) > 0 {
			t.Errorf("got %+v, want none of another account", got)
		}
	})
}

func mustUse(t *testing.T, s *sqlviews.Store, f projections.UsageFilter) []projections.Usage {
	t.Helper()
	whole, end, err := s.Usage(t.Context(), f, 100_000, projections.UsageCursor{})
	if err != nil || end != (projections.UsageCursor{}) {
		t.Fatalf("got cursor %+v and error %v, want all at once", end, err)
	}
	for _, limit := range []int{1, 7} {
		var list []projections.Usage
		for after := (projections.UsageCursor{}); ; {
			page, next, err := s.Usage(t.Context(), f, limit, after)
			if err != nil || len(page) > limit || len(list) > len(whole) {
				t.Fatalf("got %d rows and error %v, want %d at most", len(page), err, limit)
			}
			if list, after = append(list, page...), next; next == (projections.UsageCursor{}) {
				break
			}
		}
		if !slices.Equal(list, whole) {
			t.Errorf("in pages of %d: got %+v, want %+v", limit, list, whole)
		}
	}
	return whole
}
