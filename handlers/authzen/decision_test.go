package authzen

import (
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// A yes is only ever said by the record of just what was asked.
func TestDecisionIsOfWhatWasAsked(t *testing.T) {
	t.Parallel()
	s := domain.Stream{Account: "acct_1", Agent: "agent_1"}
	made := domain.DecisionMade{RequestID: "req_1", Outcome: domain.OutcomeAllowed, Request: domain.Request{Action: "buy"}}
	for name, c := range map[string]struct {
		change func(r *domain.Recorded, d *domain.DecisionMade)
		yes    bool
		fails  bool
	}{
		"what was asked":       {change: func(*domain.Recorded, *domain.DecisionMade) {}, yes: true},
		"denied":               {change: func(_ *domain.Recorded, d *domain.DecisionMade) { d.Outcome = domain.OutcomeDenied }},
		"unknown":              {change: func(_ *domain.Recorded, d *domain.DecisionMade) { d.Outcome = "ALLOWED" }},
		"another action":       {change: func(_ *domain.Recorded, d *domain.DecisionMade) { d.Request.Action = "sell" }, fails: true},
		"another agent":        {change: func(r *domain.Recorded, _ *domain.DecisionMade) { r.Agent = "agent_2" }, fails: true},
		"another account":      {change: func(r *domain.Recorded, _ *domain.DecisionMade) { r.Account = "acct_2" }, fails: true},
		"not recorded":         {change: func(r *domain.Recorded, _ *domain.DecisionMade) { r.Position.Seq = 0 }, fails: true},
		"no decision":          {change: func(r *domain.Recorded, _ *domain.DecisionMade) { r.Event = domain.AgentDisabled{} }, fails: true},
		"nothing was answered": {change: func(r *domain.Recorded, _ *domain.DecisionMade) { *r = domain.Recorded{} }, fails: true},
	} {
		d := made
		r := domain.Recorded{Record: domain.Record{At: time.Unix(0, 0), Account: s.Account, Agent: s.Agent}, Position: domain.Position{Seq: 1}}
		r.Event = domain.Event(nil)
		c.change(&r, &d)
		if r.Event == nil && name != "nothing was answered" {
			r.Event = d
		}
		if r.Event == nil {
			r.Event = domain.AgentEnabled{}
		}
		got, err := PDP{Desk: &handlers.Desk{}}.decision(r, s, asked{ask: domain.Ask{Action: "buy"}})
		if got.Decision != c.yes || (err != nil) != c.fails {
			t.Errorf("%s: got %v, %v, want %t", name, got.Decision, err, c.yes)
		}
	}
}
