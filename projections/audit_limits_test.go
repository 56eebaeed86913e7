package projections

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// forgery is a history of which the last record, and none before it, breaks a
// promise.
type forgery struct {
	name    string
	promise string
	write   func(w *writer)
}

func (f forgery) test(t *testing.T, w *writer) {
	t.Parallel()
	f.write(w)
	last := len(w.records)
	_, err := check(w.records)
	if f.promise == "" {
		if err != nil {
			t.Errorf("got %v, want none", err)
		}
		return
	}
	fault, ok := errors.AsType[*AuditFault](err)
	if !ok || fault.Promise != f.promise || fault.Seq != uint64(last) {
		t.Errorf("got %v, want sequence %d: %s", err, last, f.promise)
	}
}

func limits(budgets ...domain.Budget) domain.Limits { return domain.Limits{Budgets: budgets} }

func perDay(amount domain.Decimal) domain.Limits {
	return limits(domain.Budget{Amount: amount, Currency: "USD", Per: domain.PerDay, TimeZone: "UTC"})
}

// spender is a log of an account with the agents ollie and other. Whatever limits
// there are is up to the caller.
func spender() *writer {
	w := newWriter()
	w.add("", domain.BySystem("setup"), domain.AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner"})
	for _, id := range []domain.AgentID{ollie.Agent, "agent_other"} {
		w.add(id, "member:mem_owner", domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash"})
	}
	return w
}

func (w *writer) grant(l domain.Limits) {
	w.event(domain.PermissionGranted{PermissionID: "perm_buy", Terms: domain.Terms{Action: "purchase", Limits: l}})
}

func (w *writer) replace(l domain.Limits) {
	w.event(domain.PermissionReplaced{PermissionID: "perm_buy", Terms: domain.Terms{Action: "purchase", Limits: l}})
}

// share puts both agents under limits of the account.
func (w *writer) share(l domain.Limits) {
	w.add("", "member:mem_owner", domain.BudgetSet{Limits: l})
	w.add("agent_other", "member:mem_owner", domain.PermissionGranted{PermissionID: "perm_other", Terms: domain.Terms{Action: "purchase"}})
	for _, id := range []domain.AgentID{ollie.Agent, "agent_other"} {
		w.do(id, "member:mem_owner", w.agent(id).Share(w.budget), nil)
	}
}

// force records as allowed what isn't.
func (w *writer) force(amount domain.Decimal) {
	w.forge(w.evaluate(ollie.Agent, amount), func(d *domain.DecisionMade) {
		if d.Outcome == domain.OutcomeAllowed {
			panic("it is allowed")
		}
		d.Outcome, d.ReasonCode, d.PermissionID, d.Spends = domain.OutcomeAllowed, domain.Allowed, "perm_buy", true
	})
}

// denyOn records a denial on a version of the account's limits.
func (w *writer) denyOn(old domain.SharedBudget) {
	newest := w.budget
	w.budget = old
	d := w.evaluate("agent_other", "101")
	w.budget = newest
	w.add("agent_other", domain.ByAgent("agent_other"), d)
}

func (w *writer) settle(agent domain.AgentID, of domain.DecisionMade, amount domain.Decimal) {
	events, back, err := w.agent(agent).Settle(domain.SettleDecision{RequestID: of.RequestID, Outcome: domain.Executed, Amount: amount})
	if back != nil {
		events = append(events, *back)
	}
	w.do(agent, domain.ByAgent(agent), events, err)
}

func TestAuditOfLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []forgery{
		{"each limit is used up", "", func(w *writer) {
			w.event(domain.AgentLimitsSet{Limits: domain.Limits{Rates: []domain.Rate{{Count: 4, Per: domain.PerHour, TimeZone: "Europe/Berlin"}}}})
			w.grant(perDay("100"))
			w.share(limits(domain.Budget{Amount: "150", Currency: "USD", Per: domain.InTotal}))
			for range 3 {
				w.decide(ollie.Agent, "50")
			}
			w.decide("agent_other", "30")
			w.decide("agent_other", "30")
			d := w.decide("agent_other", "20")
			w.settle("agent_other", d, "5.5")
			w.decide("agent_other", "14.50")
			w.now = w.now.Add(24 * time.Hour)
			w.decide("agent_other", "1")
			w.decide(ollie.Agent, "0.50")
		}},
		{"a permission's budget is overspent", promiseWindow, func(w *writer) {
			w.grant(perDay("100"))
			w.decide(ollie.Agent, "100")
			w.now = w.now.Add(12*time.Hour - time.Nanosecond)
			w.force("0.01")
		}},
		{"an agent's budget is overspent", promiseWindow, func(w *writer) {
			w.grant(domain.Limits{})
			w.event(domain.AgentLimitsSet{Limits: perDay("100")})
			w.decide(ollie.Agent, "60")
			w.force("40.01")
		}},
		{"an account's budget is overspent", promiseWindow, func(w *writer) {
			w.grant(domain.Limits{})
			w.share(perDay("100"))
			w.decide("agent_other", "60")
			w.force("40.01")
		}},
		{"a rate is overspent", promiseWindow, func(w *writer) {
			w.grant(domain.Limits{Rates: []domain.Rate{{Count: 2, Per: domain.PerMinute, TimeZone: "UTC"}}})
			w.decide(ollie.Agent, "1")
			w.decide(ollie.Agent, "")
			w.force("1")
		}},
		{"a limit that was lowered is overspent", promiseWindow, func(w *writer) {
			w.grant(perDay("100"))
			w.decide(ollie.Agent, "60")
			w.replace(perDay("50"))
			w.force("1")
		}},
		{"terms of another kind begin anew", "", func(w *writer) {
			w.grant(perDay("100"))
			w.decide(ollie.Agent, "100")
			w.replace(limits(domain.Budget{Amount: "100", Currency: "USD", Per: domain.PerDay, TimeZone: "Europe/Berlin"}))
			w.decide(ollie.Agent, "100")
			w.replace(perDay("100"))
			w.decide(ollie.Agent, "100")
		}},
		{"terms of the same kind don't", promiseWindow, func(w *writer) {
			w.grant(perDay("100"))
			w.decide(ollie.Agent, "100")
			w.replace(limits(append(perDay("100").Budgets, domain.Budget{Amount: "5", Currency: "EUR", Per: domain.InTotal})...))
			w.force("1")
		}},
		{"an allow doesn't say that it counts", promiseCounted, func(w *writer) {
			w.grant(perDay("100"))
			w.forge(w.evaluate(ollie.Agent, "1"), func(d *domain.DecisionMade) { d.Spends = false })
		}},
		{"an allow under no limit says that it counts", promiseCounted, func(w *writer) {
			w.grant(domain.Limits{})
			w.forge(w.evaluate(ollie.Agent, "1"), func(d *domain.DecisionMade) { d.Spends = true })
		}},
		{"a denial says that it counts", promiseCounted, func(w *writer) {
			w.grant(perDay("100"))
			w.forge(w.evaluate(ollie.Agent, "101"), func(d *domain.DecisionMade) { d.Spends = true })
		}},
		{"an allow under a budget has no amount", promiseCounted, func(w *writer) {
			w.grant(perDay("100"))
			w.force("")
		}},
		{"an allow is in a currency that no budget counts", promiseCounted, func(w *writer) {
			w.grant(limits(domain.Budget{Amount: "100", Currency: "EUR", Per: domain.InTotal}))
			w.force("1")
		}},
		{"time runs back on a passport", promiseForward, func(w *writer) {
			w.grant(perDay("100"))
			w.decide(ollie.Agent, "1")
			w.now = w.now.Add(-time.Nanosecond)
			w.decide(ollie.Agent, "1")
		}},
		{"time runs back in the account's limits", promiseForward, func(w *writer) {
			w.grant(domain.Limits{})
			w.share(perDay("100"))
			w.decide("agent_other", "1")
			w.now = w.now.Add(time.Minute)
			w.decide("agent_other", "1")
			w.now = w.now.Add(-time.Second)
			w.add(ollie.Agent, domain.ByAgent(ollie.Agent), w.evaluate(ollie.Agent, "1"))
		}},
		{"time runs back where nothing is counted", "", func(w *writer) {
			w.grant(domain.Limits{})
			w.now = w.now.Add(-time.Second)
			w.decide(ollie.Agent, "1")
			w.event(domain.AgentDisabled{})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, spender()) })
	}
}

func TestAuditOfCharges(t *testing.T) {
	t.Parallel()
	charge := func(w *writer, agent domain.AgentID, d domain.DecisionMade, change func(*domain.BudgetCharged)) {
		e := domain.BudgetCharged{RequestID: d.RequestID, Amount: d.Request.Amount, Currency: d.Request.Currency}
		if change != nil {
			change(&e)
		}
		w.add(agent, domain.ByAgent(agent), e)
	}
	// lone records an allow under the account's limits, and nothing of its charge.
	lone := func(w *writer) domain.DecisionMade {
		w.grant(domain.Limits{})
		w.share(perDay("100"))
		d := w.evaluate(ollie.Agent, "1")
		w.add(ollie.Agent, domain.ByAgent(ollie.Agent), d)
		return d
	}
	for _, tt := range []forgery{
		{"a charge is missing", promiseCharged, func(w *writer) { lone(w); w.event(domain.AgentDisabled{}) }},
		{"a charge comes late", promiseCharged, func(w *writer) { lone(w); w.add("", "member:mem_owner", domain.BudgetSet{}) }},
		{"a charge is of another amount", promiseCharged, func(w *writer) {
			charge(w, ollie.Agent, lone(w), func(e *domain.BudgetCharged) { e.Amount = "0.99" })
		}},
		{"a charge is of another request", promiseCharged, func(w *writer) {
			charge(w, ollie.Agent, lone(w), func(e *domain.BudgetCharged) { e.RequestID = "req_2" })
		}},
		{"a charge is of another time", promiseCharged, func(w *writer) {
			d := lone(w)
			w.now = w.now.Add(time.Nanosecond)
			charge(w, ollie.Agent, d, nil)
		}},
		{"a charge is recorded twice", promiseCharged, func(w *writer) {
			d := lone(w)
			charge(w, ollie.Agent, d, nil)
			charge(w, ollie.Agent, d, nil)
		}},
		{"a charge stands on other limits than the allow", promiseFence, func(w *writer) {
			charge(w, ollie.Agent, lone(w), nil)
			w.add("", "member:mem_owner", domain.BudgetSet{Limits: perDay("50")})
			d := w.evaluate(ollie.Agent, "1")
			d.BudgetVersion = w.records[len(w.records)-2].Position.Seq
			w.add(ollie.Agent, domain.ByAgent(ollie.Agent), d)
			charge(w, ollie.Agent, d, nil)
		}},
		{"a charge comes without an allow", promiseCharged, func(w *writer) {
			w.share(perDay("100"))
			charge(w, ollie.Agent, w.decide(ollie.Agent, "1"), nil)
		}},
		{"an agent that isn't under the limits is charged", promiseCharged, func(w *writer) {
			w.grant(perDay("5"))
			w.add("", "member:mem_owner", domain.BudgetSet{Limits: perDay("50")})
			charge(w, ollie.Agent, w.decide(ollie.Agent, "1"), nil)
		}},
		{"a decision stands on limits that there are not", promiseDerived, func(w *writer) {
			w.grant(domain.Limits{})
			w.share(perDay("100"))
			w.forge(w.evaluate(ollie.Agent, "101"), func(d *domain.DecisionMade) { d.BudgetVersion++ })
		}},
		{"a denial stands on limits of a moment ago", "", func(w *writer) {
			w.share(perDay("100"))
			old := w.budget
			w.now = w.now.Add(time.Hour)
			w.decide("agent_other", "1")
			w.decide("agent_other", "1")
			w.now = w.now.Add(30 * time.Second)
			w.decide("agent_other", "1")
			w.denyOn(old)
		}},
		{"a denial stands on the limits before the newest", "", func(w *writer) {
			w.share(perDay("100"))
			old := w.budget
			w.decide("agent_other", "1")
			w.now = w.now.Add(time.Hour)
			w.denyOn(old)
		}},
		{"a denial stands on limits of long ago", promiseDerived, func(w *writer) {
			w.share(perDay("100"))
			old := w.budget
			w.decide("agent_other", "1")
			w.now = w.now.Add(30*time.Second + time.Nanosecond)
			w.decide("agent_other", "1")
			w.denyOn(old)
		}},
		{"limits are set on others than the newest", promiseFence, func(w *writer) {
			w.share(perDay("100"))
			w.add("", "member:mem_owner", domain.BudgetSet{Limits: perDay("50")}).Last = 0
		}},
		{"an account changes on another version than its newest", promiseFence, func(w *writer) {
			w.add("", "member:mem_owner", domain.MemberRemoved{MemberID: "mem_ann"}).Last = 0
		}},
		{"an agent follows limits that were not set", promiseShared, func(w *writer) {
			w.event(domain.AgentBudgetShared{Shared: true, Budget: 2})
		}},
		{"an agent is under limits that were ended", promiseShared, func(w *writer) {
			w.share(perDay("100"))
			w.add("", "member:mem_owner", domain.BudgetSet{})
			w.event(domain.AgentBudgetShared{Shared: true, Budget: uint64(len(w.records))})
		}},
		{"an agent goes back to older limits", promiseShared, func(w *writer) {
			w.share(perDay("100"))
			w.event(domain.AgentBudgetShared{Shared: true, Budget: w.agent(ollie.Agent).Budget})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, spender()) })
	}
	t.Run("few versions of the limits are kept", func(t *testing.T) {
		t.Parallel()
		w := spender()
		w.share(limits(domain.Budget{Amount: "1000", Currency: "USD", Per: domain.InTotal}))
		for range 200 {
			w.now = w.now.Add(time.Second)
			w.decide("agent_other", "1")
		}
		a, err := check(w.records)
		// Those of 30 seconds, both ends, and the one that was the newest before.
		if n := len(a.accountOf(ollie.Account).recent); err != nil || n != 32 {
			t.Errorf("got %d, %v, want 32", n, err)
		}
	})
	t.Run("the log ends before a charge", func(t *testing.T) {
		t.Parallel()
		w := spender()
		lone(w)
		_, err := check(w.records)
		if fault, ok := errors.AsType[*AuditFault](err); !ok || fault.Promise != promiseCharged || fault.Seq != uint64(len(w.records)+1) {
			t.Errorf("got %v, want sequence %d: %s", err, len(w.records)+1, promiseCharged)
		}
	})
}

func TestAuditOfSettlements(t *testing.T) {
	t.Parallel()
	allow := func(w *writer) domain.DecisionMade {
		w.grant(perDay("100"))
		return w.decide(ollie.Agent, "60")
	}
	settled := func(w *writer, d domain.DecisionMade, outcome domain.ActionOutcome, amount domain.Decimal, c domain.Currency) {
		w.add(ollie.Agent, domain.ByAgent(ollie.Agent), domain.DecisionSettled{RequestID: d.RequestID, Outcome: outcome, Amount: amount, Currency: c})
	}
	for _, tt := range []forgery{
		{"what is given back is spent again", "", func(w *writer) {
			w.settle(ollie.Agent, allow(w), "10.00")
			w.decide(ollie.Agent, "90")
		}},
		{"more than what is given back is spent again", promiseWindow, func(w *writer) {
			w.settle(ollie.Agent, allow(w), "10.01")
			w.force("90")
		}},
		{"what is given back on another day is spent", promiseWindow, func(w *writer) {
			d := allow(w)
			w.now = w.now.Add(12 * time.Hour)
			w.decide(ollie.Agent, "100")
			w.settle(ollie.Agent, d, "10")
			w.force("1")
		}},
		{"what is given back was not counted by the limit", promiseWindow, func(w *writer) {
			d := allow(w)
			w.event(domain.AgentLimitsSet{Limits: perDay("40")})
			w.decide(ollie.Agent, "40")
			w.settle(ollie.Agent, d, "10")
			w.force("1")
		}},
		{"what is not known is settled", promiseSettled, func(w *writer) {
			d := allow(w)
			d.RequestID = "req_x"
			settled(w, d, domain.Executed, "1.00", "USD")
		}},
		{"what reserved nothing is settled", promiseSettled, func(w *writer) {
			w.grant(domain.Limits{})
			settled(w, w.decide(ollie.Agent, "1"), domain.Executed, "1.00", "USD")
		}},
		{"a denial is settled", promiseSettled, func(w *writer) {
			w.grant(perDay("1"))
			settled(w, w.decide(ollie.Agent, "2"), domain.Executed, "1.00", "USD")
		}},
		{"another agent's allow is settled", promiseSettled, func(w *writer) {
			d := allow(w)
			w.add("agent_other", domain.ByAgent("agent_other"), domain.DecisionSettled{RequestID: d.RequestID, Outcome: domain.ActionFailed, Amount: "0.00", Currency: "USD"})
		}},
		{"an allow is settled twice", promiseSettled, func(w *writer) {
			d := allow(w)
			w.settle(ollie.Agent, d, "10")
			settled(w, d, domain.Executed, "10.00", "USD")
		}},
		{"an allow is settled by a member", promiseSettled, func(w *writer) {
			w.event(domain.DecisionSettled{RequestID: allow(w).RequestID, Outcome: domain.Executed, Amount: "1.00", Currency: "USD"})
		}},
		{"an allow is settled for more", promiseSettled, func(w *writer) { settled(w, allow(w), domain.Executed, "60.01", "USD") }},
		{"an allow is settled in another currency", promiseSettled, func(w *writer) { settled(w, allow(w), domain.Executed, "1.00", "EUR") }},
		{"an allow is settled for no amount", promiseSettled, func(w *writer) { settled(w, allow(w), domain.Executed, "", "USD") }},
		{"an action failed and spent", promiseSettled, func(w *writer) { settled(w, allow(w), domain.ActionFailed, "1.00", "USD") }},
		{"an outcome is none", promiseSettled, func(w *writer) { settled(w, allow(w), "maybe", "1.00", "USD") }},
		{"the account gets nothing back", promiseCharged, func(w *writer) {
			w.share(perDay("100"))
			settled(w, allow(w), domain.Executed, "1.00", "USD")
			w.event(domain.AgentDisabled{})
		}},
		{"the account gets too much back", promiseCharged, func(w *writer) {
			w.share(perDay("100"))
			d := allow(w)
			settled(w, d, domain.Executed, "1.00", "USD")
			w.add(ollie.Agent, domain.ByAgent(ollie.Agent), domain.BudgetReleased{
				RequestID: d.RequestID, Amount: "60.00", Currency: "USD", ChargedAt: w.now, ChargedOn: d.BudgetVersion,
			})
		}},
		{"the account gets something back for nothing", promiseCharged, func(w *writer) {
			w.share(perDay("100"))
			d := allow(w)
			w.settle(ollie.Agent, d, "60")
			w.add(ollie.Agent, domain.ByAgent(ollie.Agent), domain.BudgetReleased{
				RequestID: d.RequestID, Amount: "1.00", Currency: "USD", ChargedAt: w.now, ChargedOn: d.BudgetVersion,
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, spender()) })
	}
}

// The audit's count and the rules' are made apart from each other. They have to
// come to the same figures, whatever is set, spent and given back, across days
// on which clocks are set.
func TestAuditCountsAsTheRulesDo(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo", "America/Nuuk"}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			zone := func() string { return zones[random.IntN(len(zones))] }
			some := func() (l domain.Limits) {
				for _, per := range []domain.Period{domain.PerHour, domain.PerDay, domain.PerWeek, domain.PerMonth} {
					if random.IntN(2) == 0 {
						l.Budgets = append(l.Budgets, domain.Budget{
							Amount: domain.Decimal(fmt.Sprint(1 + random.IntN(500))), Currency: "USD", Per: per, TimeZone: zone(),
						})
					}
				}
				for _, per := range []domain.Period{domain.PerMinute, domain.PerHour, domain.PerDay} {
					if random.IntN(3) == 0 {
						l.Rates = append(l.Rates, domain.Rate{Count: 1 + random.Int64N(9), Per: per, TimeZone: zone()})
					}
				}
				return l
			}
			w := spender()
			w.now = time.Date(2027, time.March, 25, 0, 0, 0, 0, time.UTC)
			if seed%2 == 0 {
				w.now = time.Date(2027, time.October, 28, 0, 0, 0, 0, time.UTC)
			}
			w.grant(some())
			w.share(some())
			var made []domain.DecisionMade
			for range 400 {
				w.now = w.now.Add(time.Duration(random.ExpFloat64() * float64(20*time.Minute)))
				switch random.IntN(40) {
				case 0:
					w.replace(some())
				case 1:
					w.event(domain.AgentLimitsSet{Limits: some()})
				case 2:
					w.add("", "member:mem_owner", domain.BudgetSet{Limits: some()})
				case 3, 4, 5:
					if n := len(made) - 1; n >= 0 {
						w.settle(ollie.Agent, made[n], domain.Decimal(fmt.Sprint(random.IntN(10))))
						made = made[:n]
					}
				default:
					d := w.decide(ollie.Agent, domain.Decimal(fmt.Sprint(10+random.IntN(30))))
					if d.Outcome == domain.OutcomeAllowed {
						made = append(made, d)
					}
				}
			}
			a, err := check(w.records)
			if err != nil {
				t.Fatalf("got %v, want none", err)
			}
			agent, l := w.agent(ollie.Agent), a.agentOf(ollie).ledger
			held, _ := agent.Permission("perm_buy")
			sameFigures(t, l.limits, agent.Left(w.now), w.now)
			sameFigures(t, l.held["perm_buy"].limits, agent.LeftOf(held, w.now), w.now)
			sameFigures(t, a.accountOf(ollie.Account).shared.limits, w.budget.Left(w.now), w.now)
		})
	}
}

func sameFigures(t *testing.T, got counts, want []domain.Left, now time.Time) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d counts, want %d", len(got), len(want))
	}
	for i, n := range got {
		used := n.used
		if windowAt(now, n.per, n.where) != n.window {
			used = new(big.Int)
		}
		text := showUnits(used, n.currency)
		if n.currency != "" {
			text = strings.TrimSuffix(text, "00") // a cent has two digits
		}
		if n.per != want[i].Per || text != string(want[i].Used) {
			t.Errorf("got %s used per %s in %s, want %s per %s", text, n.per, n.zone, want[i].Used, want[i].Per)
		}
	}
}

// The windows are those that a clock on the wall shows.
func TestAuditWindows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, zone string
		per        domain.Period
		a, b       string
		same       bool
	}{
		{"one hour", "UTC", domain.PerHour, "2027-01-01T10:00:00Z", "2027-01-01T10:59:59Z", true},
		{"two hours", "UTC", domain.PerHour, "2027-01-01T10:59:59Z", "2027-01-01T11:00:00Z", false},
		{"an hour that comes twice", "Europe/Berlin", domain.PerHour, "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z", false},
		{"a quarter before another hour of the clock", "Asia/Kathmandu", domain.PerHour, "2027-01-01T10:14:00Z", "2027-01-01T10:16:00Z", false},
		{"a day of 25 hours", "Europe/Berlin", domain.PerDay, "2027-10-30T22:00:00Z", "2027-10-31T22:59:59Z", true},
		{"the day after one of 25 hours", "Europe/Berlin", domain.PerDay, "2027-10-31T22:59:59Z", "2027-10-31T23:00:00Z", false},
		{"Sunday and Monday", "UTC", domain.PerWeek, "2027-01-03T23:59:59Z", "2027-01-04T00:00:00Z", false},
		{"Monday and Sunday", "UTC", domain.PerWeek, "2026-12-28T00:00:00Z", "2027-01-03T23:59:59Z", true},
		{"two months", "America/New_York", domain.PerMonth, "2027-02-01T04:59:59Z", "2027-02-01T05:00:00Z", false},
		{"one month", "America/New_York", domain.PerMonth, "2027-02-01T05:00:00Z", "2027-03-01T04:59:59Z", true},
		{"a date that was shown before the clock was set back over midnight", "America/St_Johns", domain.PerDay, "2010-11-07T02:30:30Z", "2010-11-07T03:00:00Z", true},
		{"the date before it", "America/St_Johns", domain.PerDay, "2010-11-07T02:29:59Z", "2010-11-07T03:00:00Z", false},
		{"all time", "UTC", domain.InTotal, "2027-01-01T10:00:00Z", "2037-01-01T10:00:00Z", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			at := func(text string) window {
				moment, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatal(err)
				}
				return windowAt(moment, tt.per, zone)
			}
			if a, b := at(tt.a), at(tt.b); (a == b) != tt.same {
				t.Errorf("got windows %v and %v, want the same one: %t", a, b, tt.same)
			}
		})
	}
}
