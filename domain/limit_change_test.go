package domain

import (
	"slices"
	"testing"
	"time"
)

// Limits that change: what was used stays used as long as the same thing is
// counted, and is forgotten with the limit.
func TestLimitsThatChange(t *testing.T) {
	t.Parallel()
	day := func(amount Decimal) Limits { return budgets(Budget{Amount: amount, Per: PerDay}) }
	spent := func(amount Decimal) step { return gets(Allowed, buy(amount)) }
	read := Ask{Action: "read", Amount: "60"}
	none := Limits{}

	for _, tt := range []struct {
		name  string
		given []step
		ask   Ask
		want  ReasonCode
		by    PermissionID
	}{
		{"a replaced permission goes on counting", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(day("90")))}, buy("30"), Allowed, "perm_1"},
		{"a replaced permission goes on counting, to its new end", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(day("90")))}, buy("30.01"), BudgetExceeded, "perm_1"},
		{"a limit lowered below what was used", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(day("50")))}, buy("0.01"), BudgetExceeded, "perm_1"},
		{"a limit raised", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(day("200")))}, buy("140"), Allowed, "perm_1"},
		{"a limit that was left out and came back begins anew", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", free), replaced("perm_1", within(day("100")))}, buy("100"), Allowed, "perm_1"},
		{"a limit of another period begins by itself", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(budgets(Budget{Amount: "100", Per: PerHour})))}, buy("100"), Allowed, "perm_1"},
		{"a limit beside it goes on", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(budgets(Budget{Amount: "100", Per: PerHour}, Budget{Amount: "100", Per: PerDay})))}, buy("41"), BudgetExceeded, "perm_1"},
		{"a limit that was revoked counts no more", []step{granted(within(day("100"))), spent("100"), revoked("perm_1"), granted(within(day("100")))}, buy("100"), Allowed, "perm_2"},
		{"one permission's spending leaves another's budget", []step{granted(within(day("100"))), spent("100"), granted(within(day("100")))}, buy("100"), Allowed, "perm_2"},
		{"a spent permission gives way to one that is not", []step{granted(within(day("100")), within(day("100"))), spent("100")}, buy("100"), Allowed, "perm_1"},

		{"the agent's limits are of all permissions together", []step{granted(free, Terms{Action: "read"}), limited(day("100")), spent("60")}, read, BudgetExceeded, ""},
		{"the agent's limits are the agent's, whatever permission allows", []step{granted(within(day("100")), Terms{Action: "read"}), limited(day("150")), spent("60"), gets(Allowed, read)}, buy("31"), BudgetExceeded, ""},
		{"the permission's own limit below the agent's", []step{granted(within(day("100"))), limited(day("150")), spent("60")}, buy("41"), BudgetExceeded, "perm_1"},
		{"the agent's limits go on when they are changed", []step{granted(free), limited(day("100")), spent("60"), limited(day("70"))}, buy("11"), BudgetExceeded, ""},
		{"the agent's limits go on when a permission is replaced", []step{granted(free), limited(day("100")), spent("60"), replaced("perm_1", free)}, buy("41"), BudgetExceeded, ""},
		{"the agent's limits go on when a permission is revoked", []step{granted(free), limited(day("100")), spent("60"), revoked("perm_1"), granted(free)}, buy("41"), BudgetExceeded, ""},
		{"the agent's limits that were ended", []step{granted(free), limited(day("100")), spent("60"), limited(none)}, buy("1000"), Allowed, "perm_1"},
		{"the agent's limits that were ended and set again begin anew", []step{granted(free), limited(day("100")), spent("60"), limited(none), limited(day("100"))}, buy("100"), Allowed, "perm_1"},
		{"the agent's limits do not count what was before them", []step{granted(free), spent("60"), limited(day("100"))}, buy("100"), Allowed, "perm_1"},

		{"the account's limits below the agent's", []step{granted(free), limited(day("100")), sharing(day("90")), spent("60")}, buy("31"), BudgetExceeded, ""},
		{"the account's limits, of which another agent spent", []step{granted(free), sharing(day("100")), charged("99", "USD")}, buy("1.01"), BudgetExceeded, ""},
		{"the account's limits, of which another agent left some", []step{granted(free), sharing(day("100")), charged("99", "USD")}, buy("1"), Allowed, "perm_1"},
		{"the account's rate, of which another agent took one", []step{granted(free), sharing(rates(Rate{Count: 1, Per: PerDay})), charged("", "")}, buy("1"), RateExceeded, ""},
		{"the account's limits go on when they are changed", []step{granted(free), sharing(day("100")), spent("60"), sharing(day("70"))}, buy("11"), BudgetExceeded, ""},
		{"the account's limits that were ended", []step{granted(free), sharing(day("100")), spent("100"), sharing(none)}, buy("1000"), Allowed, "perm_1"},
		{"the account's limits that were ended and set again begin anew", []step{granted(free), sharing(day("100")), spent("100"), sharing(none), sharing(day("100"))}, buy("100"), Allowed, "perm_1"},
		{"the account's limits, when it is not the clock's turn", []step{granted(free), sharing(budgets(Budget{Amount: "100", Per: PerHour})), at(time.Hour), charged("60", "USD"), at(time.Hour - 1)}, buy("41"), BudgetExceeded, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newWorld(t, tt.given...).verify(tt.ask)
			if d.ReasonCode != tt.want || d.PermissionID != tt.by {
				t.Errorf("got %s by %q (%s), want %s by %q", d.ReasonCode, d.PermissionID, d.Reason, tt.want, tt.by)
			}
		})
	}
}

// A passport must not grow by the counters of what is gone.
func TestCountersGoWithTheirLimits(t *testing.T) {
	t.Parallel()
	day := budgets(Budget{Amount: "100", Per: PerDay})
	for name, end := range map[string]step{
		"revoked":               revoked("perm_1"),
		"replaced without any":  replaced("perm_1", free),
		"replaced with another": replaced("perm_1", within(rates(Rate{Count: 1, Per: PerDay}))),
	} {
		w := newWorld(t, granted(within(day)), gets(Allowed, buy("60")))
		if n := len(w.agent.tallies); n != 1 {
			t.Fatalf("got %d tallies, want 1", n)
		}
		w.do(end)
		if n := len(w.agent.tallies); n != 0 {
			t.Errorf("%s: got %d tallies, want none", name, n)
		}
	}
}

// Which limits a decision looked at is in its record, those behind the first
// that was short too.
func TestLimitsAreChecked(t *testing.T) {
	t.Parallel()
	both := func(amount Decimal) Limits {
		return Limits{Budgets: []Budget{{Amount: amount, Per: PerDay}}, Rates: []Rate{{Count: 9, Per: PerDay}}}
	}
	w := newWorld(t, granted(within(both("100"))), limited(both("80")), sharing(both("60")))
	rules := func(d DecisionMade) (list []string) {
		for _, c := range d.Checks {
			text := string(c.Rule)
			if c.PermissionID == "" {
				text = "all " + text
			}
			if !c.Passed {
				text += " failed"
			}
			list = append(list, text)
		}
		return list
	}
	for amount, want := range map[Decimal][]string{
		"60":  {"action", "rate", "budget", "all rate", "all budget", "all accountRate", "all accountBudget"},
		"61":  {"action", "rate", "budget", "all rate", "all budget", "all accountRate", "all accountBudget failed"},
		"81":  {"action", "rate", "budget", "all rate", "all budget failed", "all accountRate", "all accountBudget failed"},
		"101": {"action", "rate", "budget failed"}, // no permission lets it pass to where the others are looked at
	} {
		d, _ := w.decide(buy(amount))
		if got := rules(d); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", amount, got, want)
		}
	}
	if d, _ := w.decide(buy("60")); d.BudgetVersion != w.budget.Version || d.BudgetVersion == 0 {
		t.Errorf("got the version %d of the account's limits, want %d", d.BudgetVersion, w.budget.Version)
	}
	w.do(sharing(Limits{}))
	if d, _ := w.decide(buy("60")); d.BudgetVersion != 0 || !d.Spends {
		t.Errorf("when it shares none: got the version %d and spends %v, want 0 and true", d.BudgetVersion, d.Spends)
	}
}

func TestSetLimits(t *testing.T) {
	t.Parallel()
	daily := budgets(Budget{Amount: "100", Per: PerDay})
	full := budgets(Budget{"100.00", "USD", PerDay, "UTC"})
	for _, tt := range []struct {
		name  string
		given []step
		limit Limits
		then  []Event
		code  Code
		field string
	}{
		{"set", nil, daily, []Event{AgentLimitsSet{full}}, "", ""},
		{"set the same again", []step{limited(daily)}, daily, nil, "", ""},
		{"set none where there are none", nil, Limits{}, nil, "", ""},
		{"end them", []step{limited(daily)}, Limits{}, []Event{AgentLimitsSet{}}, "", ""},
		{"set others", []step{limited(rates(Rate{Count: 1, Per: PerDay}))}, daily, []Event{AgentLimitsSet{full}}, "", ""},
		{"set an empty list", nil, Limits{Rates: []Rate{}}, nil, Invalid, "/rates"},
		{"set what can't be", nil, budgets(Budget{Amount: "1", Per: PerMinute}), nil, Invalid, "/budgets/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			got, err := w.agent.SetLimits(tt.limit, w.account)
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
		})
	}
	w := newWorld(t)
	got, err := (Agent{}).SetLimits(daily, w.account)
	wantEvents(t, got, err, nil, NotFound, "")
}

func TestDrive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, driven("mem_al"))
	for _, tt := range []struct {
		name string
		by   MemberID
		then []Event
	}{
		{"another", "mem_bo", []Event{AgentDriverChanged{Driver: "mem_bo"}}},
		{"the same", "mem_al", nil},
		{"nobody", "", []Event{AgentDriverChanged{}}},
	} {
		got, err := w.agent.Drive(tt.by)
		wantEvents(t, got, err, tt.then, "", "")
	}
	got, err := (Agent{}).Drive("mem_al")
	wantEvents(t, got, err, nil, NotFound, "")
	if w.agent.Driver != "mem_al" {
		t.Errorf("got the driver %q, want mem_al", w.agent.Driver)
	}
}
