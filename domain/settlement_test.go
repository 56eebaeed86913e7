package domain

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestSettle(t *testing.T) {
	t.Parallel()
	settle := func(id RequestID, o ActionOutcome, amount Decimal) SettleDecision {
		return SettleDecision{RequestID: id, Outcome: o, Amount: amount}
	}
	event := func(o ActionOutcome, amount Decimal) []Event {
		return []Event{DecisionSettled{RequestID: "req_1", Outcome: o, Amount: amount, Currency: "USD"}}
	}
	daily := granted(within(budgets(Budget{Amount: "100", Per: PerDay})))
	spent := []step{daily, gets(Allowed, buy("60"))}
	counted := []step{granted(within(rates(Rate{Count: 5, Per: PerDay}))), gets(Allowed, buy(""))}
	given := func(before []step, more ...step) []step { return append(slices.Clip(before), more...) }
	for _, tt := range []struct {
		name  string
		given []step
		when  SettleDecision
		then  []Event
		code  Code
		field string
	}{
		{name: "all of it", given: spent, when: settle("req_1", Executed, "60"), then: event(Executed, "60.00")},
		{name: "less", given: spent, when: settle("req_1", Executed, "12.3"), then: event(Executed, "12.30")},
		{name: "nothing at all", given: spent, when: settle("req_1", Executed, "0"), then: event(Executed, "0.00")},
		{name: "no word of how much is all of it", given: spent, when: settle("req_1", Executed, ""), then: event(Executed, "60.00")},
		{name: "more", given: spent, when: settle("req_1", Executed, "60.01"), code: Invalid, field: "/amount"},
		{name: "less than nothing", given: spent, when: settle("req_1", Executed, "-1"), code: Invalid, field: "/amount"},
		{name: "what isn't an amount", given: spent, when: settle("req_1", Executed, "1e1"), code: Invalid, field: "/amount"},
		{name: "half a cent", given: spent, when: settle("req_1", Executed, "0.005"), code: Invalid, field: "/amount"},
		{name: "failed", given: spent, when: settle("req_1", ActionFailed, ""), then: event(ActionFailed, "0.00")},
		{name: "failed, and spent", given: spent, when: settle("req_1", ActionFailed, "1"), code: Invalid, field: "/amount"},
		{name: "no outcome", given: spent, when: settle("req_1", "", "1"), code: Invalid, field: "/outcome"},
		{name: "an outcome that isn't one", given: spent, when: settle("req_1", "EXECUTED", "1"), code: Invalid, field: "/outcome"},

		{name: "the same again", given: given(spent, settled("req_1", Executed, "12")), when: settle("req_1", Executed, "12.00")},
		{name: "all of it, again without a word", given: given(spent, settled("req_1", Executed, "60")), when: settle("req_1", Executed, "")},
		{name: "failed again", given: given(spent, settled("req_1", ActionFailed, "")), when: settle("req_1", ActionFailed, "")},
		{name: "another amount", given: given(spent, settled("req_1", Executed, "12")), when: settle("req_1", Executed, "13"), code: Conflict},
		{name: "executed after all", given: given(spent, settled("req_1", ActionFailed, "")), when: settle("req_1", Executed, "0"), code: Conflict},
		{name: "failed after all", given: given(spent, settled("req_1", Executed, "0")), when: settle("req_1", ActionFailed, ""), code: Conflict},

		{name: "what was never asked", given: spent, when: settle("req_9", Executed, "1"), code: NotFound},
		{name: "what was denied", given: given(spent, gets(BudgetExceeded, buy("60"))), when: settle("req_2", Executed, "1"), code: NotFound},
		{name: "an allow that spent nothing of any limit", given: []step{granted(free), gets(Allowed, buy("1"))}, when: settle("req_1", Executed, "1"), code: NotFound},
		{name: "an allow that used an approval", given: []step{granted(always), asks(buy("60")), approved("apr_1", "mem_al"), gets(Allowed, buy("60"))}, when: settle("req_2", Executed, "50"), then: []Event{DecisionSettled{RequestID: "req_2", Outcome: Executed, Amount: "50.00", Currency: "USD"}}},
		{name: "what only asked for an approval", given: []step{granted(always), asks(buy("60"))}, when: settle("req_1", Executed, "50"), code: NotFound},
		{name: "another agent's", given: []step{daily, sharing(budgets(Budget{Amount: "100", Per: PerDay})), charged("1", "USD")}, when: settle("req_other", ActionFailed, ""), code: NotFound},

		{name: "what had no amount", given: counted, when: settle("req_1", Executed, ""), then: []Event{DecisionSettled{RequestID: "req_1", Outcome: Executed}}},
		{name: "what had no amount, failed", given: counted, when: settle("req_1", ActionFailed, ""), then: []Event{DecisionSettled{RequestID: "req_1", Outcome: ActionFailed}}},
		{name: "an amount of what had none", given: counted, when: settle("req_1", Executed, "1"), code: Invalid, field: "/amount"},
		{name: "when the window is over", given: given(spent, at(hours(48))), when: settle("req_1", ActionFailed, ""), then: event(ActionFailed, "0.00")},
		{name: "when the permission is revoked", given: given(spent, revoked("perm_1")), when: settle("req_1", ActionFailed, ""), then: event(ActionFailed, "0.00")},
		{name: "when the agent is disabled", given: given(spent, disabled), when: settle("req_1", Executed, "1"), then: event(Executed, "1.00")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			got, back, err := w.agent.Settle(tt.when)
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
			if back != nil {
				t.Errorf("got %+v given back to the account's limits, want nothing: it does not share them", back)
			}
		})
	}
}

// What comes back comes back to the windows it was spent in, as far as they are
// not over, and to limits that counted it.
func TestWhatASettlementGivesBack(t *testing.T) {
	t.Parallel()
	day := func(amount Decimal) Limits { return budgets(Budget{Amount: amount, Per: PerDay}) }
	spent := func(amount Decimal) step { return gets(Allowed, buy(amount)) }
	for _, tt := range []struct {
		name  string
		given []step
		// used is what is used afterwards of the limits of perm_1, of the agent,
		// and of the account.
		permission, agent, account string
	}{
		{"less than all", []step{granted(within(day("100"))), spent("60"), settled("req_1", Executed, "12.34")}, "12.34", "", ""},
		{"nothing", []step{granted(within(day("100"))), spent("60"), settled("req_1", Executed, "60")}, "60.00", "", ""},
		{"nothing, twice", []step{granted(within(day("100"))), spent("60"), settled("req_1", Executed, "10"), settled("req_1", Executed, "10")}, "10.00", "", ""},
		{"all of it", []step{granted(within(day("100"))), spent("60"), settled("req_1", ActionFailed, "")}, "0.00", "", ""},
		{"one of two", []step{granted(within(day("100"))), spent("60"), spent("30"), settled("req_1", ActionFailed, "")}, "30.00", "", ""},
		{"what is never reported stays spent", []step{granted(within(day("100"))), spent("60"), at(hours(11))}, "60.00", "", ""},
		{"to all three", []step{granted(within(day("100"))), limited(day("100")), sharing(day("100")), spent("60"), settled("req_1", Executed, "10")}, "10.00", "10.00", "10.00"},
		{"to the account beside what others spent", []step{granted(free), sharing(day("100")), charged("30", "USD"), spent("60"), settled("req_1", ActionFailed, "")}, "", "", "30.00"},
		{"a rate's count does not come back", []step{granted(within(rates(Rate{Count: 5, Per: PerDay}))), spent("60"), settled("req_1", ActionFailed, "")}, "1", "", ""},

		{"to a day, and not to an hour that is over", []step{granted(within(budgets(Budget{Amount: "100", Per: PerHour}, Budget{Amount: "100", Per: PerDay}, Budget{Amount: "100", Per: InTotal}))), spent("60"), at(time.Hour), spent("5"), settled("req_1", Executed, "10")}, "5.00 15.00 15.00", "", ""},
		{"to an hour that nothing was spent in after it", []step{granted(within(budgets(Budget{Amount: "100", Per: PerHour}))), spent("60"), at(time.Hour), settled("req_1", ActionFailed, "")}, "0.00", "", ""},
		{"to no day that is over", []step{granted(within(day("100"))), limited(day("100")), sharing(day("100")), spent("60"), at(hours(24)), spent("5"), settled("req_1", ActionFailed, "")}, "5.00", "5.00", "5.00"},
		{"to its own currency", []step{granted(within(budgets(Budget{Amount: "100", Per: PerDay}, Budget{Amount: "100", Currency: "EUR", Per: PerDay}))), spent("60"), gets(Allowed, Ask{Action: "purchase", Amount: "70", Currency: "EUR"}), settled("req_1", ActionFailed, "")}, "0.00 70.00", "", ""},

		{"to a replaced permission that goes on counting", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", within(day("90"))), settled("req_1", Executed, "10")}, "10.00", "", ""},
		{"to no limit that came back after it", []step{granted(within(day("100"))), spent("60"), replaced("perm_1", free), replaced("perm_1", within(day("100"))), spent("50"), settled("req_1", ActionFailed, "")}, "50.00", "", ""},
		{"to no limit that was added after it", []step{granted(within(day("100"))), spent("60"), limited(day("100")), spent("30"), settled("req_1", ActionFailed, "")}, "30.00", "30.00", ""},
		{"to no limit of the agent that came back after it", []step{granted(free), limited(day("100")), spent("60"), limited(Limits{}), limited(day("100")), spent("30"), settled("req_1", ActionFailed, "")}, "", "30.00", ""},
		{"to no limit of the account that came back after it", []step{granted(free), sharing(day("100")), spent("60"), sharing(Limits{}), sharing(day("100")), spent("30"), settled("req_1", ActionFailed, "")}, "", "", "30.00"},
		{"to no limit of the account that was set after it", []step{granted(free), limited(day("100")), spent("60"), sharing(day("100")), spent("30"), settled("req_1", ActionFailed, "")}, "", "30.00", "30.00"},
		{"to the account's limits that were changed after it", []step{granted(free), sharing(day("100")), spent("60"), sharing(day("90")), settled("req_1", ActionFailed, "")}, "", "", "0.00"},
		{"to a limit that came into being with it", []step{granted(free), limited(day("100")), sharing(day("100")), spent("60"), settled("req_1", ActionFailed, "")}, "", "0.00", "0.00"},
		{"of an approval's use before there were limits", []step{granted(always), asks(buy("60")), approved("apr_1", "mem_al"), gets(Allowed, buy("60")), limited(day("100")), replaced("perm_1", free), spent("30"), settled("req_2", ActionFailed, "")}, "", "30.00", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			p, _ := w.agent.Permission("perm_1")
			if got := used(w.agent.LeftOf(p, w.now)); got != tt.permission {
				t.Errorf("the permission: got %q used, want %q", got, tt.permission)
			}
			if got := used(w.agent.Left(w.now)); got != tt.agent {
				t.Errorf("the agent: got %q used, want %q", got, tt.agent)
			}
			if got := used(w.budget.Left(w.now)); got != tt.account {
				t.Errorf("the account: got %q used, want %q", got, tt.account)
			}
		})
	}
}

func TestReleaseToTheAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(free), sharing(budgets(Budget{Amount: "100", Per: PerDay})), charged("1", "USD"))
	chargedOn := w.budget.Version
	w.do(at(time.Minute), gets(Allowed, buy("60")), charged("2", "USD"), at(time.Hour))
	_, back, err := w.agent.Settle(SettleDecision{"req_1", Executed, "10"})
	want := BudgetReleased{RequestID: "req_1", Amount: "50.00", Currency: "USD", ChargedAt: noon.Add(time.Minute), ChargedOn: chargedOn}
	if err != nil || back == nil || *back != want {
		t.Errorf("got %+v, %v, want %+v", back, err, want)
	}
	if _, back, err := w.agent.Settle(SettleDecision{"req_1", Executed, "60"}); back != nil || err != nil {
		t.Errorf("nothing left over: got %+v, %v, want nothing given back", back, err)
	}
	w.do(settled("req_1", Executed, "10"))
	if events, back, err := w.agent.Settle(SettleDecision{"req_1", Executed, "10"}); len(events) > 0 || back != nil || err != nil {
		t.Errorf("again: got %v, %+v, %v, want nothing", events, back, err)
	}
}

// An agent keeps so many of its allows and no more: older ones stay spent. What
// was handed out before keeps what it had.
func TestReservationsAreBounded(t *testing.T) {
	t.Parallel()
	name := func(i int) RequestID { return RequestID(fmt.Sprint("req_", i)) }
	const n, most = 3*MostReservations + 7, MostReservations + blockSize
	var l, kept reservations
	for i := range n {
		if l = l.add(Reservation{RequestID: name(i), Seq: uint64(i)}); i == MostReservations-1 { // before the first are let go
			kept = l
		}
		if i%4999 != 0 && i%blockSize > 1 {
			continue
		}
		held, next := 0, uint64(i)
		for r := range l.all {
			if r.Seq != next {
				t.Fatalf("after %d: got %d, want %d: the newest first, and none left out", i+1, r.Seq, next)
			}
			held, next = held+1, next-1
		}
		if held > most || held < min(i+1, MostReservations) {
			t.Fatalf("after %d: got %d of them held, want %d to %d", i+1, held, MostReservations, most)
		}
	}
	for back, want := range map[int]bool{0: true, blockSize: true, MostReservations - 1: true, most: false} {
		if r, ok := l.find(name(n - 1 - back)); ok != want || ok && r.Seq != uint64(n-1-back) {
			t.Errorf("the one %d back: got %v, want found: %v", back, r, want)
		}
	}
	if _, ok := kept.find(name(0)); !ok {
		t.Error("the oldest of what was handed out before: got none, want it there still")
	}
	for _, back := range []int{0, 1, blockSize, 5000, MostReservations - 1} {
		id := name(n - 1 - back)
		after := l.settle(DecisionSettled{RequestID: id, Outcome: Executed})
		if r, _ := after.find(id); r.Settled == nil {
			t.Errorf("%d back: got it not settled, want it settled", back)
		}
		settled := 0
		for r := range after.all {
			if r.Settled != nil {
				settled++
			}
		}
		if r, _ := l.find(id); r.Settled != nil || settled != 1 {
			t.Errorf("%d back: got it settled in the list before, or %d settled, want one, and that in the new list", back, settled)
		}
	}
}

func TestTheOldestAllowsOfAnAgentStaySpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(within(budgets(Budget{Amount: "100", Per: PerDay}))), gets(Allowed, buy("60")))
	first := w.agent
	last := w.agent
	for i := range MostReservations + blockSize - 1 {
		if i == MostReservations-1 {
			last = w.agent
		}
		w.agent.reserved = w.agent.reserved.add(Reservation{RequestID: RequestID(fmt.Sprint("req_later_", i))})
	}
	w.do(gets(Allowed, buy("1"))) // req_1 is one too many now
	report := SettleDecision{RequestID: "req_1", Outcome: ActionFailed}
	got, _, err := w.agent.Settle(report)
	wantEvents(t, got, err, nil, NotFound, "")
	if n := len(slices.Collect(w.agent.Unsettled())); n < MostReservations || n > MostReservations+blockSize {
		t.Errorf("got %d allows without an outcome, want about %d", n, MostReservations)
	}
	p, _ := w.agent.Permission("perm_1")
	w.record("agent:agent_ollie", DecisionSettled{RequestID: "req_1", Outcome: ActionFailed, Amount: "0.00", Currency: "USD"})
	if got := used(w.agent.LeftOf(p, w.now)); got != "61.00" {
		t.Errorf("got %s used, want 61.00", got)
	}
	for name, a := range map[string]Agent{"the agent it was the newest of": first, "the agent it was the oldest of": last} {
		if got, _, err := a.Settle(report); err != nil || len(got) != 1 {
			t.Errorf("%s: got %v, %v, want it settled", name, got, err)
		}
	}
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, granted(within(budgets(Budget{Amount: "100", Per: PerDay}))),
		gets(Allowed, buy("1")), gets(Allowed, buy("2")), gets(Allowed, buy("3")), gets(BudgetExceeded, buy("100")), settled("req_2", Executed, ""))
	var got []RequestID
	for r := range w.agent.Unsettled() {
		got = append(got, r.RequestID)
	}
	if want := []RequestID{"req_3", "req_1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	r, ok := w.agent.Reservation("req_2")
	if !ok || r.Settled == nil || r.Settled.Amount != "2.00" || r.Amount != (Money{200, "USD"}) || r.PermissionID != "perm_1" || !r.At.Equal(noon) {
		t.Errorf("got %+v, %v", r, ok)
	}
}
