package domain

import (
	"math"
	"slices"
	"testing"
	"time"
)

func budgets(list ...Budget) Limits { return Limits{Budgets: list} }

func rates(list ...Rate) Limits { return Limits{Rates: list} }

// within is terms to buy under these limits.
func within(l Limits) Terms { return Terms{Action: "purchase", Limits: l} }

// What is allowed under limits, whoever they are set on: a permission, the
// agent, or the account.
func TestLimits(t *testing.T) {
	t.Parallel()
	yen := func(a Decimal) Ask { return Ask{Action: "purchase", Amount: a, Currency: "JPY"} }
	hourly, daily, total := Budget{Amount: "100", Per: PerHour}, Budget{Amount: "100", Per: PerDay}, Budget{Amount: "100", Per: InTotal}
	berlin := func(p Period) Budget { return Budget{Amount: "100", Per: p, TimeZone: "Europe/Berlin"} }
	spent := func(amount Decimal) step { return gets(Allowed, buy(amount)) }
	const huge = "9999999999999999.99"

	for _, tt := range []struct {
		name   string
		limits Limits
		given  []step
		ask    Ask
		want   ReasonCode
		until  string // when the window ends that is told of, if one is
	}{
		{"all of a budget at once", budgets(daily), nil, buy("100"), Allowed, ""},
		{"a minor unit over it at once", budgets(daily), nil, buy("100.01"), BudgetExceeded, "2026-11-24T00:00:00Z"},
		{"the last of it", budgets(daily), []step{spent("99.99")}, buy("0.01"), Allowed, ""},
		{"a minor unit over the last of it", budgets(daily), []step{spent("99.99")}, buy("0.02"), BudgetExceeded, "2026-11-24T00:00:00Z"},
		{"nothing, when all is spent", budgets(daily), []step{spent("100")}, buy("0"), Allowed, ""},
		{"what was denied spends nothing", budgets(daily), []step{spent("50"), gets(BudgetExceeded, buy("51"))}, buy("50"), Allowed, ""},
		{"no amount", budgets(daily), nil, buy(""), AmountRequired, ""},
		{"a currency without a budget", budgets(daily), nil, yen("1"), CurrencyMismatch, ""},
		{"a currency without a budget, and nothing of it", budgets(daily), nil, yen("0"), CurrencyMismatch, ""},
		{"a currency with its own budget", budgets(daily, Budget{Amount: "500", Currency: "JPY", Per: PerDay}), []step{spent("100")}, yen("500"), Allowed, ""},
		{"a currency whose own budget is spent", budgets(daily, Budget{Amount: "500", Currency: "JPY", Per: PerDay}), []step{gets(Allowed, yen("500"))}, yen("1"), BudgetExceeded, "2026-11-24T00:00:00Z"},
		{"another currency's spending leaves a budget as it was", budgets(daily, Budget{Amount: "500", Currency: "JPY", Per: PerDay}), []step{spent("60"), gets(Allowed, yen("500"))}, buy("40.01"), BudgetExceeded, "2026-11-24T00:00:00Z"},

		{"the last moment of an hour", budgets(hourly), []step{spent("100"), at(time.Hour - 1)}, buy("0.01"), BudgetExceeded, "2026-11-23T13:00:00Z"},
		{"the first moment of the next", budgets(hourly), []step{spent("100"), at(time.Hour)}, buy("100"), Allowed, ""},
		{"a day is the zone's: an hour before its end", budgets(berlin(PerDay)), []step{spent("100"), on("2026-11-23T22:59:59Z")}, buy("1"), BudgetExceeded, "2026-11-23T23:00:00Z"},
		{"a day is the zone's: its end", budgets(berlin(PerDay)), []step{spent("100"), on("2026-11-23T23:00:00Z")}, buy("100"), Allowed, ""},
		{"a week ends with Sunday", budgets(berlin(PerWeek)), []step{spent("100"), on("2026-11-29T22:59:59Z")}, buy("1"), BudgetExceeded, "2026-11-29T23:00:00Z"},
		{"a week begins with Monday", budgets(berlin(PerWeek)), []step{spent("100"), on("2026-11-29T23:00:00Z")}, buy("100"), Allowed, ""},
		{"a month ends with its last day", budgets(berlin(PerMonth)), []step{spent("100"), on("2026-11-30T22:59:59Z")}, buy("1"), BudgetExceeded, "2026-11-30T23:00:00Z"},
		{"a month begins with the 1st", budgets(berlin(PerMonth)), []step{spent("100"), on("2026-11-30T23:00:00Z")}, buy("100"), Allowed, ""},
		{"a year of months", budgets(berlin(PerMonth)), []step{spent("100"), on("2027-11-23T12:00:00Z"), spent("100")}, buy("1"), BudgetExceeded, "2027-11-30T23:00:00Z"},
		{"a total never begins again", budgets(total), []step{spent("100"), on("2126-11-23T12:00:00Z")}, buy("0.01"), BudgetExceeded, ""},
		{"the day the clock is set back has 25 hours", budgets(berlin(PerDay)), []step{on("2027-10-30T22:00:00Z"), spent("100"), on("2027-10-31T22:59:59Z")}, buy("1"), BudgetExceeded, "2027-10-31T23:00:00Z"},
		{"the day after it is another", budgets(berlin(PerDay)), []step{on("2027-10-30T22:00:00Z"), spent("100"), on("2027-10-31T23:00:00Z")}, buy("100"), Allowed, ""},
		{"the day the clock is set forward has 23 hours", budgets(berlin(PerDay)), []step{on("2027-03-27T23:00:00Z"), spent("100"), on("2027-03-28T22:00:00Z")}, buy("100"), Allowed, ""},
		{"the hour that comes twice is two", budgets(berlin(PerHour)), []step{on("2027-10-31T00:30:00Z"), spent("100"), on("2027-10-31T01:30:00Z")}, buy("100"), Allowed, ""},
		{"an hour of which the next has not come", budgets(berlin(PerHour)), []step{on("2027-10-31T01:00:00Z"), spent("100"), on("2027-10-31T01:59:59Z")}, buy("1"), BudgetExceeded, "2027-10-31T02:00:00Z"},

		{"several windows: the shorter is spent", budgets(hourly, Budget{Amount: "150", Per: PerDay}), []step{spent("100")}, buy("1"), BudgetExceeded, "2026-11-23T13:00:00Z"},
		{"several windows: the longer is spent", budgets(hourly, Budget{Amount: "150", Per: PerDay}), []step{spent("100"), at(time.Hour), spent("50")}, buy("1"), BudgetExceeded, "2026-11-24T00:00:00Z"},
		{"several windows: the rest of the longer", budgets(hourly, Budget{Amount: "150", Per: PerDay}), []step{spent("100"), at(time.Hour)}, buy("50"), Allowed, ""},
		{"several windows: a total below them", budgets(hourly, Budget{Amount: "150", Per: InTotal}), []step{spent("100"), at(hours(48))}, buy("50.01"), BudgetExceeded, ""},

		{"the last of a rate", rates(Rate{Count: 2, Per: PerMinute}), []step{spent("1")}, buy("1"), Allowed, ""},
		{"one over a rate", rates(Rate{Count: 2, Per: PerMinute}), []step{spent("1"), spent("1")}, buy("1"), RateExceeded, "2026-11-23T12:01:00Z"},
		{"one over a rate, which costs nothing", rates(Rate{Count: 2, Per: PerMinute}), []step{spent("0"), spent("0")}, buy("0"), RateExceeded, "2026-11-23T12:01:00Z"},
		{"a rate needs no amount", rates(Rate{Count: 2, Per: PerMinute}), []step{gets(Allowed, buy(""))}, buy(""), Allowed, ""},
		{"a rate counts what has no amount", rates(Rate{Count: 1, Per: PerMinute}), []step{gets(Allowed, buy(""))}, buy(""), RateExceeded, "2026-11-23T12:01:00Z"},
		{"a rate counts every currency", rates(Rate{Count: 1, Per: PerHour}), []step{gets(Allowed, yen("1"))}, buy("1"), RateExceeded, "2026-11-23T13:00:00Z"},
		{"a rate, a minute later", rates(Rate{Count: 2, Per: PerMinute}), []step{spent("1"), spent("1"), at(time.Minute)}, buy("1"), Allowed, ""},
		{"a rate does not count what was denied by it", rates(Rate{Count: 1, Per: PerMinute}, Rate{Count: 2, Per: PerHour}), []step{spent("1"), gets(RateExceeded, buy("1")), at(time.Minute)}, buy("1"), Allowed, ""},
		{"a rate per hour above one per minute", rates(Rate{Count: 1, Per: PerMinute}, Rate{Count: 2, Per: PerHour}), []step{spent("1"), at(time.Minute), spent("1"), at(2 * time.Minute)}, buy("1"), RateExceeded, "2026-11-23T13:00:00Z"},
		{"a rate per day in a zone", rates(Rate{Count: 1, Per: PerDay, TimeZone: "Asia/Tokyo"}), []step{spent("1"), on("2026-11-23T15:00:00Z")}, buy("1"), Allowed, ""},
		{"a rate in total", rates(Rate{Count: 1, Per: InTotal}), []step{spent("1"), at(hours(1000))}, buy("1"), RateExceeded, ""},
		{"a rate is looked at before a budget", Limits{Rates: []Rate{{Count: 1, Per: PerMinute}}, Budgets: []Budget{daily}}, []step{spent("100")}, buy("1"), RateExceeded, "2026-11-23T12:01:00Z"},
		{"a budget behind a rate", Limits{Rates: []Rate{{Count: 2, Per: PerMinute}}, Budgets: []Budget{daily}}, []step{spent("100")}, buy("1"), BudgetExceeded, "2026-11-24T00:00:00Z"},
		{"no amount behind a rate", Limits{Rates: []Rate{{Count: 2, Per: PerMinute}}, Budgets: []Budget{daily}}, nil, buy(""), AmountRequired, ""},

		{"as much as there is of money", budgets(Budget{Amount: huge, Per: PerDay}), nil, buy(huge), Allowed, ""},
		{"a minor unit beyond as much as there is", budgets(Budget{Amount: huge, Per: PerDay}), []step{spent(huge)}, buy("0.01"), BudgetExceeded, "2026-11-24T00:00:00Z"},
		{"twice as much as there is", budgets(Budget{Amount: huge, Per: PerDay}), []step{spent(huge)}, buy(huge), BudgetExceeded, "2026-11-24T00:00:00Z"},

		{"a moment before the window that was last counted in counts in it", budgets(hourly), []step{at(time.Hour), spent("100"), at(time.Hour - 1)}, buy("1"), BudgetExceeded, "2026-11-23T14:00:00Z"},
		{"a clock an hour behind counts a rate in the newer minute", rates(Rate{Count: 2, Per: PerMinute}), []step{at(time.Minute), spent("1"), at(0), spent("1"), at(time.Minute)}, buy("1"), RateExceeded, "2026-11-23T12:02:00Z"},
	} {
		for _, whose := range []string{"permission", "agent", "account"} {
			t.Run(tt.name+", of the "+whose, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				by := PermissionID("")
				switch whose {
				case "permission":
					by = "perm_1"
					w.do(granted(within(tt.limits)))
				case "agent":
					w.do(granted(free), limited(tt.limits))
				case "account":
					w.do(granted(free), sharing(tt.limits))
				}
				w.do(tt.given...)
				d := w.verify(tt.ask)
				if tt.want == Allowed {
					by = "perm_1"
				}
				if d.ReasonCode != tt.want || d.PermissionID != by {
					t.Errorf("got %s by %q (%s), want %s by %q", d.ReasonCode, d.PermissionID, d.Reason, tt.want, by)
				}
				until := ""
				if !d.WindowEndsAt.IsZero() {
					until = d.WindowEndsAt.Format(time.RFC3339)
				}
				if until != tt.until {
					t.Errorf("got the window's end at %q, want %q", until, tt.until)
				}
				if d.Spends != (tt.want == Allowed) {
					t.Errorf("got spends: %v with %s", d.Spends, d.ReasonCode)
				}
			})
		}
	}
}

// The counter itself, where an evaluation can't bring it: time that runs back,
// and sums beyond an int64.
func TestTally(t *testing.T) {
	t.Parallel()
	l := limit{limitKey: limitKey{currency: "USD", per: PerHour, timeZone: "UTC"}, most: math.MaxInt64, zone: time.UTC}
	all := Money{math.MaxInt64, "USD"}
	full := tally(nil).charge([]limit{l}, all, noon, 1).charge([]limit{l}, all, noon, 2)
	if got := full[0].used; got != math.MaxInt64 {
		t.Errorf("charged over an int64: got %d, want it to stay at the most", got)
	}
	req := Request{Amount: "0.01", Currency: "USD", money: Money{1, "USD"}}
	if s, _ := full.short(RuleBudget, []limit{l}, "x", &req, noon); s.code != BudgetExceeded {
		t.Errorf("one more: got %q, want %s", s.code, BudgetExceeded)
	}
	lower := l
	lower.most = 5 // below what is used
	if s, _ := full.short(RuleBudget, []limit{lower}, "x", &req, noon); s.code != BudgetExceeded {
		t.Errorf("one more of a lowered limit: got %q, want %s", s.code, BudgetExceeded)
	}
	if got := full.left([]limit{lower}, noon)[0]; got.Left != "0.00" {
		t.Errorf("a lowered limit: got %s left, want nothing", got.Left)
	}

	later := tally(nil).charge([]limit{l}, Money{1, "USD"}, noon, 1)
	back := later.charge([]limit{l}, Money{2, "USD"}, noon.Add(-time.Hour), 2)
	if got := back[0]; got.used != 3 || !got.from.Equal(noon) {
		t.Errorf("an hour back: got %d from %s, want 3 in the window that was there", got.used, got.from)
	}
	if got := later[0].used; got != 1 {
		t.Errorf("got %d in the tally that was handed out before, want 1", got)
	}
	if got := back.release(Money{2, "USD"}, noon.Add(-time.Hour), 2)[0].used; got != 3 {
		t.Errorf("given back from a time before the window: got %d used, want it to stay spent", got)
	}
	if got := back.release(Money{2, "USD"}, noon.Add(time.Hour), 2)[0].used; got != 3 {
		t.Errorf("given back from a time after the window: got %d used, want it to stay spent", got)
	}
	if got := back.release(Money{9, "USD"}, noon, 2)[0].used; got != 0 {
		t.Errorf("more given back than was used: got %d, want 0", got)
	}
	if got := back.release(Money{1, "EUR"}, noon, 2)[0].used; got != 3 {
		t.Errorf("another currency given back: got %d used, want 3", got)
	}
	if back[0].used != 3 {
		t.Errorf("got %d in the tally after giving back, want that one as it was", back[0].used)
	}
}

func TestLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(within(Limits{
		Budgets: []Budget{{Amount: "100", Per: PerHour}, {Amount: "500", Per: PerMonth, TimeZone: "Europe/Berlin"}, {Amount: "900", Currency: "JPY", Per: InTotal}},
		Rates:   []Rate{{Count: 3, Per: PerMinute}, {Count: 10, Per: InTotal}},
	})), gets(Allowed, buy("30.50")), gets(Allowed, buy("1")))
	p, _ := w.agent.Permission("perm_1")
	end := func(text string) time.Time { return mustTime(t, text) }
	want := []Left{
		{PerMinute, "", "3", "2", "1", end("2026-11-23T12:01:00Z")},
		{InTotal, "", "10", "2", "8", time.Time{}},
		{PerHour, "USD", "100.00", "31.50", "68.50", end("2026-11-23T13:00:00Z")},
		{PerMonth, "USD", "500.00", "31.50", "468.50", end("2026-11-30T23:00:00Z")},
		{InTotal, "JPY", "900", "0", "900", time.Time{}},
	}
	if got := w.agent.LeftOf(p, noon); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want[0].Used, want[0].Left, want[0].WindowEndsAt = "0", "3", end("2026-11-23T14:01:00Z")
	want[2].Used, want[2].Left, want[2].WindowEndsAt = "0.00", "100.00", end("2026-11-23T15:00:00Z")
	if got := w.agent.LeftOf(p, noon.Add(hours(2))); !slices.Equal(got, want) {
		t.Errorf("two hours later: got %+v, want %+v", got, want)
	}
	if got := w.agent.Left(noon); len(got) != 0 {
		t.Errorf("got %v left of the agent's own limits, want none of them", got)
	}
}
