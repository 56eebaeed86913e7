package domain

import (
	"reflect"
	"testing"
	"time"
)

func TestSharedBudget(t *testing.T) {
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
		{"set", nil, daily, []Event{BudgetSet{full}}, "", ""},
		{"set the same again", []step{sharing(daily)}, daily, nil, "", ""},
		{"set none where there are none", nil, Limits{}, nil, "", ""},
		{"end them", []step{sharing(daily)}, Limits{}, []Event{BudgetSet{}}, "", ""},
		{"set what can't be", nil, rates(Rate{Count: 1, Per: PerWeek}), nil, Invalid, "/rates/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.given...)
			got, err := w.budget.SetLimits(tt.limit, w.account)
			wantEvents(t, got, err, tt.then, tt.code, tt.field)
		})
	}
}

// An agent follows the account's limits by an event of its own, once for each
// time they are set.
func TestShare(t *testing.T) {
	t.Parallel()
	daily := budgets(Budget{Amount: "100", Per: PerDay})
	w := newWorld(t)
	if got := w.agent.Share(w.budget); len(got) > 0 {
		t.Errorf("no limits were ever set: got %v, want nothing", got)
	}
	w.record("member:mem_owner", BudgetSet{budgets(Budget{"100.00", "USD", PerDay, "UTC"})})
	want := []Event{AgentBudgetShared{Shared: true, Budget: w.budget.Set.Seq}}
	if got := w.agent.Share(w.budget); !reflect.DeepEqual(got, want) {
		t.Errorf("they are set: got %v, want %v", got, want)
	}
	if got := (Agent{}).Share(w.budget); len(got) > 0 {
		t.Errorf("an agent that isn't: got %v, want nothing", got)
	}
	w.recordAll("system:sharing", want, nil)
	w.do(charged("1", "USD"))
	if got := w.agent.Share(w.budget); len(got) > 0 || !w.agent.Shared {
		t.Errorf("it shares them already: got %v, want nothing", got)
	}
	w.do(sharing(Limits{}))
	if w.agent.Shared || w.agent.Budget != w.budget.Set.Seq || w.budget.Limited() {
		t.Errorf("they are ended: got shared %v at %d, want not so at %d", w.agent.Shared, w.agent.Budget, w.budget.Set.Seq)
	}
	w.do(sharing(daily))
	if !w.agent.Shared || w.agent.Budget != w.budget.Set.Seq {
		t.Errorf("they are set again: got shared %v at %d, want so at %d", w.agent.Shared, w.agent.Budget, w.budget.Set.Seq)
	}
	// A node that has seen the end of them only now does not go back to it.
	if got := w.agent.Share(SharedBudget{Set: Position{Seq: w.agent.Budget - 1}}); len(got) > 0 {
		t.Errorf("an older state: got %v, want nothing", got)
	}
}

func TestSharedBudgetFold(t *testing.T) {
	t.Parallel()
	s := Stream{Account: "acct_home", Budget: true}
	daily := BudgetSet{budgets(Budget{"100.00", "USD", PerDay, "UTC"})}
	fold := func(records ...Recorded) (b SharedBudget) {
		for _, r := range records {
			b = b.Evolve(r)
		}
		return b
	}
	charge := BudgetCharged{RequestID: "req_1", Amount: "60.00", Currency: "USD"}
	at := noon.Add(-time.Hour)

	t.Run("charges add up, and releases take away", func(t *testing.T) {
		t.Parallel()
		b := fold(history(s, daily, charge, charge, BudgetReleased{RequestID: "req_1", Amount: "10.00", Currency: "USD", ChargedAt: at, ChargedOn: 1})...)
		if got := used(b.Left(noon)); got != "110.00" || b.Version != 4 || !b.Limited() || b.Set.Seq != 1 || !b.Updated.Equal(at) {
			t.Errorf("got %s used at version %d, set at %d, want 110.00, 4, 1", got, b.Version, b.Set.Seq)
		}
	})
	t.Run("a release of what was charged before the limit counts nothing", func(t *testing.T) {
		t.Parallel()
		again := BudgetSet{}
		b := fold(history(s, daily, charge, again, daily, charge, BudgetReleased{RequestID: "req_1", Amount: "60.00", Currency: "USD", ChargedAt: at, ChargedOn: 1})...)
		if got := used(b.Left(noon)); got != "60.00" {
			t.Errorf("got %s used, want 60.00", got)
		}
	})
	t.Run("a release of the charge that the limit began with", func(t *testing.T) {
		t.Parallel()
		b := fold(history(s, daily, charge, BudgetReleased{RequestID: "req_1", Amount: "60.00", Currency: "USD", ChargedAt: at, ChargedOn: 1})...)
		if got := used(b.Left(noon)); got != "0.00" {
			t.Errorf("got %s used, want 0.00", got)
		}
	})
	t.Run("a charge without an amount counts", func(t *testing.T) {
		t.Parallel()
		b := fold(history(s, BudgetSet{rates(Rate{9, PerDay, "UTC"})}, BudgetCharged{RequestID: "req_1"}, charge)...)
		if got := used(b.Left(noon)); got != "2" {
			t.Errorf("got %s used, want 2", got)
		}
	})
	t.Run("an event seen before changes nothing", func(t *testing.T) {
		t.Parallel()
		records := history(s, daily, charge)
		b := fold(append(records, records...)...)
		if got := used(b.Left(noon)); got != "60.00" || b.Fault() != nil {
			t.Errorf("got %s used and the fault %v, want 60.00 and none", got, b.Fault())
		}
	})
	t.Run("an event that is missing stops the budget for good", func(t *testing.T) {
		t.Parallel()
		records := history(s, daily, charge, charge, charge)
		if b := fold(records[0], records[2], records[1]); b.Fault() == nil {
			t.Error("got no fault, want one")
		}
	})
	for name, e := range map[string]Event{
		"limits that can't be":         BudgetSet{budgets(Budget{"1", "USD", "year", "UTC"})},
		"a charge that can't be read":  BudgetCharged{RequestID: "req_1", Amount: "much", Currency: "USD"},
		"a release that can't be read": BudgetReleased{RequestID: "req_1", Amount: "", Currency: "USD"},
	} {
		t.Run(name+" stops the budget", func(t *testing.T) {
			t.Parallel()
			b := fold(history(s, daily, e)...)
			if b.Fault() == nil {
				t.Error("got no fault, want one")
			}
			agent := givenAgent(registered, AgentBudgetShared{Shared: true, Budget: 1})
			if (&Situation{Agent: &agent, Budget: &b}).Fault() == nil {
				t.Error("got no fault for an agent that shares it, want one")
			}
			alone := givenAgent(registered)
			if err := (&Situation{Agent: &alone, Budget: &b}).Fault(); err != nil {
				t.Errorf("got %v for an agent that does not share it, want none", err)
			}
		})
	}
	t.Run("what was handed out never changes", func(t *testing.T) {
		t.Parallel()
		records := history(s, daily, charge, charge, BudgetReleased{RequestID: "req_1", Amount: "60.00", Currency: "USD", ChargedAt: at, ChargedOn: 1}, BudgetSet{})
		before := fold(records[:2]...)
		_ = before.Evolve(records[2]).Evolve(records[3]).Evolve(records[4])
		if got := used(before.Left(noon)); got != "60.00" || !before.Limited() {
			t.Errorf("got %s used, want 60.00", got)
		}
	})
}

// Time runs only forwards: on a passport, and on the account's limits for the
// agents that share them.
func TestMoment(t *testing.T) {
	t.Parallel()
	agent, budget := Agent{Updated: noon}, SharedBudget{Updated: noon.Add(time.Hour)}
	sharing := agent
	sharing.Shared = true
	for _, tt := range []struct {
		name              string
		agent             Agent
		clock, wantOnward time.Duration
	}{
		{"a clock that is ahead", agent, time.Minute, time.Minute},
		{"a clock that is behind", agent, -time.Minute, 0},
		{"a clock that is behind the account's limits", sharing, time.Minute, time.Hour},
		{"a clock that is ahead of the account's limits", sharing, hours(2), hours(2)},
	} {
		s := Situation{Agent: &tt.agent, Budget: &budget}
		if got, want := s.Moment(noon.Add(tt.clock)), noon.Add(tt.wantOnward); !got.Equal(want) {
			t.Errorf("%s: got %s, want %s", tt.name, got, want)
		}
	}
}
