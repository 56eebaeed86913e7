package handlers_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// A shadow, which reads only what is its agent's and its account's, decides what
// a what-if decides that reads the whole log and follows the consequences.
func TestAShadowDecidesWhatAWhatIfDecides(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := history(rt)
		id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.agents))).Draw(rt, "agent")
		var records []domain.Recorded
		if err := w.read(func(r domain.Recorded, err error) error { records = append(records, r); return err }); err != nil {
			rt.Fatal(err)
		}
		after := rapid.Uint64Range(0, uint64(len(records))).Draw(rt, "after")
		began := domain.ShadowStarted{ShadowID: "shd_1", After: after, Candidate: drawCandidate(rt, w, id), Until: w.now.Add(time.Hour)}
		if rapid.Bool().Draw(rt, "ends before") {
			began.Until = records[rapid.IntRange(0, len(records)-1).Draw(rt, "until")].At
		}

		whatIf := projections.WhatIf{
			Range: projections.Range{Account: records[0].Account, Agent: id, From: after + 1, Until: began.Until}, Mode: projections.Consequences,
			Candidate: projections.Candidate{Agents: map[domain.AgentID]projections.AgentCandidate{id: projections.AgentCandidate(began.Candidate)}},
		}
		report, err := whatIf.Run(w.read)
		if err != nil {
			rt.Fatal(err)
		}
		of := domain.Stream{Account: records[0].Account, Agent: id}
		state := domain.Shadow{}.Evolve(domain.ShadowRecorded{ShadowRecord: domain.ShadowRecord{Event: began}, Seq: 1})
		fold := projections.NewShadow(of, began)
		for i := range records {
			r := &records[i]
			if s := r.Stream(); s != of && (s.Account != of.Account || s.Agent != "") {
				continue
			}
			v, decided, err := fold.Take(r)
			if err != nil {
				rt.Fatal(err)
			}
			if !decided {
				continue
			}
			events := state.Record(v)
			if len(events) != 1 {
				rt.Fatalf("%d is not recorded: %+v", r.Position.Seq, v)
			}
			state = state.Evolve(domain.ShadowRecorded{ShadowRecord: domain.ShadowRecord{Event: events[0]}, Seq: state.Version + 1})
		}

		var changes []domain.ShadowChange
		for _, c := range report.Changes {
			changes = append(changes, domain.ShadowChange{From: c.From, To: c.To, Count: c.Count})
		}
		slices.SortFunc(changes, func(a, b domain.ShadowChange) int {
			return cmp.Or(cmp.Compare(a.From.Outcome, b.From.Outcome), cmp.Compare(a.From.ReasonCode, b.From.ReasonCode),
				cmp.Compare(a.To.Outcome, b.To.Outcome), cmp.Compare(a.To.ReasonCode, b.To.ReasonCode))
		})
		got := state.Totals
		if got.Decided != report.Decisions || got.Undecided != report.Unreadable || !slices.Equal(got.Changes, changes) {
			rt.Errorf("candidate %+v after %d:\ngot  %+v\nwant %d, %+v", began.Candidate, after, got, report.Decisions, changes)
		}
		money := []projections.MoneyChange{}
		for _, m := range got.Money {
			money = append(money, projections.MoneyChange(m))
		}
		if !slices.Equal(money, report.Money) {
			rt.Errorf("money: got %+v, want %+v", money, report.Money)
		}
	})
}

// drawCandidate changes something of what an agent of a history has.
func drawCandidate(rt *rapid.T, w *world, id domain.AgentID) domain.ShadowCandidate {
	account := domain.Account{Currency: "USD"}
	accept := func(terms domain.Terms) domain.Terms {
		terms, err := terms.Accept(time.Time{}, account.Currency, account.Zone())
		if err != nil {
			rt.Fatal(err)
		}
		return terms
	}
	c := domain.ShadowCandidate{Only: rapid.Bool().Draw(rt, "only")}
	if c.Only || rapid.Bool().Draw(rt, "add") {
		c.Add = []domain.Terms{accept(w.drawTerms().terms(w.now))}
	}
	if limits := w.drawLimits().limits(); rapid.Bool().Draw(rt, "limit") {
		limits, err := limits.Accept(account.Currency, account.Zone())
		if err != nil {
			rt.Fatal(err)
		}
		c.Limits = &limits
	}
	for _, p := range w.agents[id].permissions {
		switch rapid.IntRange(0, 3).Draw(rt, "permission") {
		case 0:
			c.Remove = append(c.Remove, p.id)
		case 1:
			if c.Replace == nil {
				c.Replace = map[domain.PermissionID]domain.Terms{}
			}
			c.Replace[p.id] = accept(w.drawTerms().terms(w.now))
		}
	}
	if len(c.Add)+len(c.Replace)+len(c.Remove) == 0 && c.Limits == nil {
		c.Add = []domain.Terms{{Action: "never:asked"}}
	}
	return c
}
