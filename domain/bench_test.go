package domain

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkEvaluateWithABudget(b *testing.B) {
	w := newWorld(b, granted(within(Limits{
		Budgets: []Budget{{Amount: "100000", Per: PerDay}, {Amount: "1000000", Per: PerMonth, TimeZone: "Europe/Berlin"}},
		Rates:   []Rate{{Count: 1000, Per: PerMinute}},
	})), limited(budgets(Budget{Amount: "500000", Per: PerMonth})), gets(Allowed, buy("1")))
	ask := buy("42")
	b.ReportAllocs()
	for b.Loop() {
		req, err := ask.Request("USD")
		if err != nil {
			b.Fatal(err)
		}
		if d := Evaluate(Situation{Agent: &w.agent, Now: noon}, req); d.Outcome != OutcomeAllowed {
			b.Fatalf("got %s", d.ReasonCode)
		}
	}
}

func BenchmarkEvaluateAnApproval(b *testing.B) {
	w := newWorld(b, granted(always))
	for i := range 20 {
		w.do(gets(ApprovalRequired, buy(Decimal(fmt.Sprint(i+1)))))
	}
	ask := buy("1")
	b.ReportAllocs()
	for b.Loop() {
		req, err := ask.Request("USD")
		if err != nil {
			b.Fatal(err)
		}
		s := Situation{Agent: &w.agent, Settings: w.account.Approvals, Now: noon}
		if d := Evaluate(s, req); d.ApprovalID != "apr_1" {
			b.Fatalf("got %s by %q", d.ReasonCode, d.ApprovalID)
		}
	}
}

// Folding an allow that spends must not get slower by what was spent before.
func BenchmarkEvolve(b *testing.B) {
	for _, bm := range []struct {
		name                      string
		permissions, reservations int
	}{
		{"1 permission", 1, 0},
		{"200 permissions", 200, 0},
		{"1 permission and 10000 reservations", 1, MostReservations},
		{"200 permissions and 10000 reservations", 200, MostReservations},
	} {
		b.Run(bm.name, func(b *testing.B) {
			a := givenAgent(registered)
			evolve := func(e Event) {
				a = a.Evolve(Recorded{Record: Record{At: noon, Account: "acct_home", Agent: "agent_ollie", Event: e}, Position: Position{Seq: a.Version + 1}, Last: a.Version})
			}
			spend := func(i int) {
				evolve(DecisionMade{
					RequestID: "req_1", Outcome: OutcomeAllowed, Spends: true, PermissionID: PermissionID(fmt.Sprint("perm_", i)),
					Request: Request{Action: "purchase", Amount: "0.01", Currency: "USD"},
				})
			}
			for i := range bm.permissions {
				evolve(PermissionGranted{PermissionID: PermissionID(fmt.Sprint("perm_", i)), Terms: within(Limits{
					Budgets: []Budget{{"1000000.00", "USD", PerDay, "UTC"}}, Rates: []Rate{{1 << 30, PerMinute, "UTC"}},
				})})
				spend(i)
			}
			for i := range bm.reservations {
				spend(i % bm.permissions)
			}
			if err := a.Fault(); err != nil {
				b.Fatal(err)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				spend(i % bm.permissions)
				i++
			}
		})
	}
}

func BenchmarkSettleTheOldest(b *testing.B) {
	var l reservations
	for i := range MostReservations {
		l = l.add(Reservation{RequestID: RequestID(fmt.Sprint("req_", i)), Amount: Money{100, "USD"}, At: noon})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := l.find("req_0"); !ok {
			b.Fatal("got none")
		}
		l.settle(DecisionSettled{RequestID: "req_0", Outcome: ActionFailed})
	}
}

func BenchmarkShortByManyWindows(b *testing.B) {
	w := newWorld(b, granted(free), limited(Limits{
		Budgets: []Budget{{Amount: "1", Per: PerHour}, {Amount: "2", Per: PerDay}, {Amount: "3", Per: PerWeek}, {Amount: "4", Per: PerMonth, TimeZone: "Europe/Berlin"}, {Amount: "5", Per: InTotal}},
		Rates:   []Rate{{Count: 9, Per: PerMinute}, {Count: 9, Per: PerHour}, {Count: 9, Per: PerDay}, {Count: 9, Per: InTotal}},
	}))
	req := Request{Action: "purchase", Amount: "1.00", Currency: "USD", money: Money{100, "USD"}}
	now := noon.Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() { // each window is found by its calendar: nothing was counted in it yet
		if d := Evaluate(Situation{Agent: &w.agent, Now: now}, req); d.Outcome != OutcomeAllowed {
			b.Fatalf("got %s", d.ReasonCode)
		}
	}
}
