package projections

import (
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// always asks two people, whatever the amount.
func always() domain.Terms {
	return domain.Terms{Action: "purchase", RequiresApproval: domain.ApprovalRule{Always: true}, Approval: &domain.ApprovalTerms{Quorum: 2}}
}

// also grants a second permission.
func (w *writer) also(terms domain.Terms) {
	w.event(domain.PermissionGranted{PermissionID: "perm_also", Terms: terms})
}

// forceFree records as allowed by the second permission what isn't.
func (w *writer) forceFree(amount domain.Decimal) {
	w.forge(w.evaluate(ollie.Agent, amount), func(d *domain.DecisionMade) {
		d.Outcome, d.ReasonCode, d.PermissionID, d.Gate, d.ApprovalID = domain.OutcomeAllowed, domain.Allowed, "perm_also", nil, ""
	})
}

// forceGate records an approval as opened by a gate that was changed.
func (w *writer) forceGate(amount domain.Decimal, change func(*domain.DecisionMade)) {
	w.forge(w.evaluate(ollie.Agent, amount), func(d *domain.DecisionMade) {
		gate := *d.Gate
		d.Gate = &gate
		change(d)
	})
}

func TestAuditOfPermissionsThatAskTogether(t *testing.T) {
	t.Parallel()
	buy := []domain.PermissionID{"perm_buy"}
	free := domain.Terms{Action: "purchase"}
	testGated(t, []gatedForgery{
		{forgery: forgery{"two permissions ask, and those that either asks say yes", "", func(w *writer) {
			w.also(always())
			w.approve(w.ask("20"), "mem_ann", "mem_bob")
			w.decide(ollie.Agent, "20") // allowed
			id := w.ask("5")            // by one of them
			w.decide(ollie.Agent, "5")  // waits
			w.approve(id, "mem_ann")
			w.ask("30")
			events, err := w.agent(ollie.Agent).Replace(domain.ReplacePermission{GrantPermission: domain.GrantPermission{
				PermissionID: "perm_buy", Terms: askAbove("15", domain.ApprovalTerms{}), Now: w.now, Currency: "USD", TimeZone: "UTC",
			}})
			w.do(ollie.Agent, "member:mem_owner", events, err)
			w.approve(w.ask("30"), "mem_ann", "mem_bob")
			events, err = w.agent(ollie.Agent).Revoke(domain.RevokePermission{PermissionID: "perm_buy"})
			w.do(ollie.Agent, "member:mem_owner", events, err)
			w.approve(id, "mem_bob")
			w.decide(ollie.Agent, "5") // allowed
		}}},
		{forgery: forgery{"a no stands on fewer permissions than a later yes", "", func(w *writer) {
			w.deny(w.ask("20"))
			w.also(always())
			w.approve(w.ask("20"), "mem_ann", "mem_bob")
			if d := w.decide(ollie.Agent, "20"); !d.Uses() {
				panic(d.Reason)
			}
		}}},
		{forgery: forgery{"an approval asks for less than one of them does", promiseAsked, func(w *writer) {
			w.also(always())
			w.forceGate("20", func(d *domain.DecisionMade) {
				d.PermissionID, d.Gate.With, d.Gate.Quorum = "perm_buy", []domain.PermissionID{"perm_also"}, 1
			})
		}}},
		{forgery: forgery{"an approval holds for longer than one of them does", promiseAsked, func(w *writer) {
			w.also(always())
			w.forceGate("20", func(d *domain.DecisionMade) { d.Gate.ValidFor++ })
		}}, terms: domain.ApprovalTerms{ValidFor: domain.Duration(time.Minute)}},
		{forgery: forgery{"an approval leaves out a permission that asks", promiseAsked, func(w *writer) {
			w.also(always())
			w.forceGate("20", func(d *domain.DecisionMade) { d.Gate.With = nil })
		}}},
		{forgery: forgery{"an approval names a permission twice", promiseAsked, func(w *writer) {
			w.also(always())
			w.forceGate("20", func(d *domain.DecisionMade) { d.Gate.With = append(d.Gate.With, "perm_also") })
		}}},
		{forgery: forgery{"an approval names a permission that doesn't ask", promiseAsked, func(w *writer) {
			w.also(always())
			w.forceGate("5", func(d *domain.DecisionMade) { d.Gate.With = buy })
		}}},
		{forgery: forgery{"an approval names a permission for another action", promiseAsked, func(w *writer) {
			w.also(domain.Terms{Action: "sell", RequiresApproval: domain.ApprovalRule{Always: true}})
			w.forceGate("20", func(d *domain.DecisionMade) { d.Gate.With = []domain.PermissionID{"perm_also"} })
		}}},
		{forgery: forgery{"an approval names a permission for some actions, and not this one", promiseAsked, func(w *writer) {
			terms := askAbove("10", domain.ApprovalTerms{})
			terms.AllowedActions = []domain.Action{"sell"}
			w.also(terms)
			w.forceGate("20", func(d *domain.DecisionMade) { d.Gate.With = []domain.PermissionID{"perm_also"} })
		}}},
		{forgery: forgery{"an approval names a permission that is revoked", promiseAsked, func(w *writer) {
			w.also(always())
			w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
			w.forceGate("20", func(d *domain.DecisionMade) { d.Gate.With = buy })
		}}},
		{forgery: forgery{"a request waits for what one of them doesn't ask any more", promiseAsked, func(w *writer) {
			terms := askAbove("15", domain.ApprovalTerms{})
			terms.ExpiresAt = w.now.Add(time.Minute)
			w.also(terms)
			id := w.ask("20")
			w.now = w.now.Add(time.Minute)
			w.forge(w.evaluate(ollie.Agent, "20"), func(d *domain.DecisionMade) { d.Gate, d.ApprovalID = nil, id })
		}}, terms: domain.ApprovalTerms{Quorum: 2}},
		{forgery: forgery{"an allow uses a yes that one of them doesn't ask for any more", promiseUsed, func(w *writer) {
			terms := askAbove("15", domain.ApprovalTerms{})
			terms.ExpiresAt = w.now.Add(time.Minute)
			w.also(terms)
			id := w.approve(w.ask("20"), "mem_ann", "mem_bob")
			w.now = w.now.Add(time.Minute)
			w.forceUse("20", id)
		}}, terms: domain.ApprovalTerms{Quorum: 2}},
		{forgery: forgery{"an allow is by another of them than the one that was asked by", promiseUsed, func(w *writer) {
			w.also(always())
			w.forceUse("20", w.approve(w.ask("20"), "mem_ann", "mem_bob"))
		}}},
		{forgery: forgery{"an allow uses a yes that a new permission doesn't go by", promiseUsed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.also(askAbove("15", domain.ApprovalTerms{}))
			w.forceUse("20", id)
		}}},
		{forgery: forgery{"a request waits for what a new permission doesn't go by", promiseAsked, func(w *writer) {
			id := w.ask("20")
			w.also(askAbove("15", domain.ApprovalTerms{}))
			w.forge(w.evaluate(ollie.Agent, "20"), func(d *domain.DecisionMade) {
				d.Gate, d.ApprovalID, d.PermissionID = nil, id, "perm_buy"
			})
		}}},
		{forgery: forgery{"a permission is revoked and leaves an approval that it asked for too", promiseCancelled, func(w *writer) {
			w.also(always())
			w.ask("20")
			w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
		}}},
		{forgery: forgery{"a permission is replaced and leaves a yes that it asked for too", promiseCancelled, func(w *writer) {
			w.also(always())
			w.approve(w.ask("20"), "mem_ann", "mem_bob")
			w.event(domain.PermissionReplaced{PermissionID: "perm_buy", Terms: askAbove("10", domain.ApprovalTerms{})})
		}}},
		{forgery: forgery{"an allow passes by a permission that asks", promiseUsed, func(w *writer) {
			w.also(free)
			w.decide(ollie.Agent, "10") // allowed
			w.forceFree("20")
		}}},
		{forgery: forgery{"an allow passes by a permission that can't tell whether to ask", promiseUsed, func(w *writer) {
			w.also(free)
			w.forceFree("")
		}}},
		{forgery: forgery{"an approval passes by a permission that can't tell whether to ask", promiseAsked, func(w *writer) {
			w.also(always())
			gate := *w.evaluate(ollie.Agent, "20").Gate
			w.forge(w.evaluate(ollie.Agent, ""), func(d *domain.DecisionMade) {
				gate.With = nil
				d.Outcome, d.ReasonCode, d.PermissionID, d.Gate = domain.OutcomeRequiresApproval, domain.ApprovalRequired, "perm_also", &gate
				d.Name("x")
			})
		}}},
		{forgery: forgery{"a permission that asks is not one for the request", "", func(w *writer) {
			w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
			w.also(free)
			for i, change := range []func(*domain.Terms){
				func(t *domain.Terms) { t.MaxAmount = "15" },
				func(t *domain.Terms) { t.Resource = domain.Patterns{"books"} },
				func(t *domain.Terms) { t.Action = "sell" },
				func(t *domain.Terms) { t.AllowedActions = []domain.Action{"sell"} },
				func(t *domain.Terms) { t.ExpiresAt = w.now },
			} {
				terms := askAbove("10", domain.ApprovalTerms{})
				change(&terms)
				w.event(domain.PermissionGranted{PermissionID: domain.PermissionID("perm_" + string(rune('a'+i))), Terms: terms})
			}
			for _, amount := range []domain.Decimal{"20", ""} {
				if d := w.decide(ollie.Agent, amount); d.Outcome != domain.OutcomeAllowed {
					panic(d.Reason)
				}
			}
		}}},
	})
}
