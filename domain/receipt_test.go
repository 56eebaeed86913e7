package domain

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestReceiptKeys(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	none, long := Duration(0), Duration(100*24*time.Hour)
	account := Account{}
	for i, step := range []struct {
		name    string
		at      time.Time
		overlap *Duration
		code    Code
		good    []int
	}{
		{"the first rotation", day, nil, "", []int{2, 1}},
		{"too long", day, &long, Invalid, []int{2, 1}},
		{"another", day.Add(time.Minute), nil, "", []int{3, 2, 1}},
		{"a third", day.Add(2 * time.Minute), nil, "", []int{4, 3, 2, 1}},
		{"too many", day.Add(3 * time.Minute), nil, Conflict, []int{4, 3, 2, 1}},
		{"at once", day.Add(3 * time.Minute), &none, "", []int{5}},
		{"and again", day.Add(4 * time.Minute), nil, "", []int{6, 5}},
		{"when the one before is over", day.Add(2 * time.Hour), nil, "", []int{7, 6}},
	} {
		events, err := account.RotateReceiptKey(RotateReceiptKey{Overlap: step.overlap, Now: step.at})
		rule, _ := errors.AsType[*RuleError](err)
		if (rule == nil) != (step.code == "") || rule != nil && rule.Code != step.code {
			t.Fatalf("%s: got %v, want %s", step.name, err, step.code)
		}
		for _, e := range events {
			account = account.Evolve(Recorded{Record: Record{At: step.at, Event: e}, Position: Position{Seq: uint64(i + 1)}})
		}
		if got := account.Receipts.Good(step.at); !slices.Equal(got, step.good) {
			t.Errorf("%s: got %v, want %v", step.name, got, step.good)
		}
	}
	if got := (ReceiptKeys{}).Good(day); !slices.Equal(got, []int{1}) {
		t.Errorf("before any rotation: got %v, want the first", got)
	}
}

func TestConsume(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	agent := Agent{
		Account: "acct_1", ID: "agent_1", Status: AgentActive,
		Permissions: []*Permission{{ID: "perm_1", Version: 7}, {ID: "perm_2", Revoked: at}},
	}
	with := func(a *Agent, p *Permission) { a.Permissions = append(slices.Clone(a.Permissions), p) }
	blocks := Terms{BlockedActions: []Action{"buy"}}
	made := DecisionMade{
		RequestID: "req_1", Outcome: OutcomeAllowed, PermissionID: "perm_1", PassportVersion: 8,
		Request: Request{Action: "buy", Vendor: "x.com", Resource: "ticket", Amount: "10.00", Currency: "USD"},
	}
	full := ConsumeDecision{AgentID: "agent_1", Action: "buy", Audience: "x.com", Amount: "10.00", Currency: "USD"}
	for _, c := range []struct {
		name   string
		change func(a *Agent, d *DecisionMade, r *Recorded, cmd *ConsumeDecision)
		after  time.Duration
		code   Code
	}{
		{name: "as it was allowed"},
		{name: "whatever it was", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { *cmd = ConsumeDecision{} }},
		{name: "the same amount, written shorter", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Amount = "10" }},
		{name: "at its last moment", after: time.Minute - 1},
		{name: "expired", after: time.Minute, code: Conflict},
		{name: "of a future that no clock is off by", after: -2 * time.Minute, code: Conflict},
		{name: "denied", change: func(_ *Agent, d *DecisionMade, _ *Recorded, _ *ConsumeDecision) { d.Outcome = OutcomeDenied }, code: Conflict},
		{name: "an outcome nobody knows", change: func(_ *Agent, d *DecisionMade, _ *Recorded, _ *ConsumeDecision) { d.Outcome = "maybe" }, code: Conflict},
		{name: "what was allowed has failed", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			a.reserved = a.reserved.add(Reservation{RequestID: "req_1", Settled: &DecisionSettled{RequestID: "req_1", Outcome: ActionFailed}})
		}, code: Conflict},
		{name: "what was allowed has reserved", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			a.reserved = a.reserved.add(Reservation{RequestID: "req_1"})
		}},
		{name: "disabled", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) { a.Status = AgentIsDisabled }, code: Conflict},
		{name: "revoked", change: func(_ *Agent, d *DecisionMade, _ *Recorded, _ *ConsumeDecision) { d.PermissionID = "perm_2" }, code: Conflict},
		{name: "replaced since", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			a.Permissions = []*Permission{{ID: "perm_1", Version: 9}}
		}, code: Conflict},
		{name: "blocked since", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			with(a, &Permission{ID: "perm_3", Version: 9, Terms: blocks})
		}, code: Conflict},
		{name: "blocked since, and no more", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			with(a, &Permission{ID: "perm_3", Version: 10, Terms: blocks, Revoked: at})
		}},
		{name: "blocked elsewhere when it was allowed", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			with(a, &Permission{ID: "perm_3", Version: 8, Terms: blocks})
		}},
		{name: "allowed once more since", change: func(a *Agent, _ *DecisionMade, _ *Recorded, _ *ConsumeDecision) {
			with(a, &Permission{ID: "perm_3", Version: 9, Terms: Terms{Action: "buy"}})
		}},
		{name: "of another agent", change: func(_ *Agent, _ *DecisionMade, r *Recorded, _ *ConsumeDecision) { r.Agent = "agent_2" }, code: NotFound},
		{name: "another agent is meant", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.AgentID = "agent_2" }, code: Conflict},
		{name: "another action is meant", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Action = "sell" }, code: Conflict},
		{name: "another audience is meant", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Audience = "ticket" }, code: Conflict},
		{name: "another amount is meant", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Amount = "10.01" }, code: Conflict},
		{name: "an amount of no currency", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Currency = "" }, code: Invalid},
		{name: "an amount with an exponent", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Amount = "1e1" }, code: Conflict},
		{name: "another currency is meant", change: func(_ *Agent, _ *DecisionMade, _ *Recorded, cmd *ConsumeDecision) { cmd.Currency = "EUR" }, code: Conflict},
	} {
		a, d, cmd := agent, made, full
		r := Recorded{Record: Record{Account: "acct_1", Agent: "agent_1", At: at}}
		if c.change != nil {
			c.change(&a, &d, &r, &cmd)
		}
		r.Event = d
		events, err := a.Consume(cmd, r, time.Minute, at.Add(c.after))
		rule, _ := errors.AsType[*RuleError](err)
		switch {
		case c.code == "" && (err != nil || len(events) != 1 || events[0] != Event(DecisionConsumed{"req_1"})):
			t.Errorf("%s: got %v, %v, want it consumed", c.name, events, err)
		case c.code != "" && (rule == nil || rule.Code != c.code || events != nil):
			t.Errorf("%s: got %v, %v, want %s", c.name, events, err, c.code)
		}
	}
}
