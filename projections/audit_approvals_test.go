package projections

import (
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// gated is a log with the agent ollie, driven by mem_dan, who has to be approved
// for whatever costs more than 10.
func gated(change func(*domain.ApprovalSettings), terms domain.ApprovalTerms) *writer {
	w := newWriter()
	w.add("", domain.BySystem("setup"), domain.AccountOpened{Name: "Home", Currency: "USD", Owner: "mem_owner"})
	for _, m := range []domain.Member{
		{ID: "mem_ann", Role: domain.RoleApprover},
		{ID: "mem_bob", Role: domain.RoleApprover},
		{ID: "mem_dan", Role: domain.RoleAdmin},
		{ID: "mem_vic", Role: domain.RoleViewer},
	} {
		w.add("", "member:mem_owner", domain.MemberAdded{MemberID: m.ID, Name: "x", Role: m.Role, Token: domain.TokenHash(m.ID)})
	}
	if change != nil {
		s := domain.DefaultApprovals()
		change(&s)
		w.add("", "member:mem_owner", domain.AccountSettingsChanged{Name: "Home", Currency: "USD", Approvals: &s})
	}
	w.event(domain.AgentRegistered{Name: "Ollie", Type: domain.Native, Key: "hash", Driver: "mem_dan"})
	w.event(domain.PermissionGranted{PermissionID: "perm_buy", Terms: askAbove("10", terms)})
	return w
}

func askAbove(amount domain.Decimal, terms domain.ApprovalTerms) domain.Terms {
	t := domain.Terms{Action: "purchase", Currency: "USD", RequiresApproval: domain.ApprovalRule{Above: amount}}
	if terms != (domain.ApprovalTerms{}) {
		t.Approval = &terms
	}
	return t
}

// ask opens an approval.
func (w *writer) ask(amount domain.Decimal) domain.ApprovalID {
	d := w.decide(ollie.Agent, amount)
	if !d.Opens() {
		panic("it opens no approval: " + d.Reason)
	}
	return d.ApprovalID
}

type verb = func(domain.Agent, domain.Review) ([]domain.Event, error)

func (w *writer) review(id domain.ApprovalID, by domain.MemberID, say verb) {
	events, err := say(*w.agent(ollie.Agent), domain.Review{ApprovalID: id, By: by, Account: w.account, Now: w.now})
	w.do(ollie.Agent, domain.ByMember(by), events, err)
}

func (w *writer) approve(id domain.ApprovalID, by ...domain.MemberID) domain.ApprovalID {
	for _, m := range by {
		w.review(id, m, domain.Agent.Approve)
	}
	return id
}

func (w *writer) deny(id domain.ApprovalID) domain.ApprovalID {
	w.review(id, "mem_ann", domain.Agent.Deny)
	return id
}

// say records a yes that no rule was asked about.
func (w *writer) say(id domain.ApprovalID, by domain.MemberID, self bool, voters ...domain.MemberID) {
	w.by(by, approved(w, id, by, self, voters...))
}

func approved(w *writer, id domain.ApprovalID, by domain.MemberID, self bool, voters ...domain.MemberID) domain.ApprovalApproved {
	if voters == nil {
		voters = []domain.MemberID{by}
	}
	e := domain.ApprovalApproved{ApprovalID: id, MemberID: by, Self: self, Voters: voters, ExpiresAt: w.now.Add(30 * time.Minute)}
	if self {
		e.SelfVoters = []domain.MemberID{by}
	}
	return e
}

// sayOf records a yes of mem_bob after mem_ann's, and who of them drives the agent.
func (w *writer) sayOf(id domain.ApprovalID, selves ...domain.MemberID) {
	e := approved(w, id, "mem_bob", false, "mem_ann", "mem_bob")
	e.SelfVoters = selves
	w.by("mem_bob", e)
}

func (w *writer) drive(by domain.MemberID) { w.event(domain.AgentDriverChanged{Driver: by}) }

func (w *writer) remind(id domain.ApprovalID, count int) {
	w.add(ollie.Agent, domain.BySystem("clock"), domain.ApprovalReminded{ApprovalID: id, Count: count})
}

// forceUse records as allowed, with an approval, what isn't.
func (w *writer) forceUse(amount domain.Decimal, id domain.ApprovalID) {
	w.forge(w.evaluate(ollie.Agent, amount), func(d *domain.DecisionMade) {
		d.Outcome, d.ReasonCode, d.PermissionID, d.ApprovalID, d.Gate = domain.OutcomeAllowed, domain.Allowed, "perm_buy", id, nil
	})
}

// forceAsk records as opened what can't be, with the gate of another decision.
func (w *writer) forceAsk(amount domain.Decimal, gate domain.Gate) {
	w.forge(w.evaluate(ollie.Agent, amount), func(d *domain.DecisionMade) {
		d.Outcome, d.ReasonCode, d.PermissionID, d.Gate = domain.OutcomeRequiresApproval, domain.ApprovalRequired, "perm_buy", &gate
		d.Name(string(d.RequestID[len(domain.RequestPrefix):]))
	})
}

func (w *writer) gateOf(id domain.ApprovalID) domain.Gate {
	p, _ := w.agent(ollie.Agent).Approval(id)
	return p.Gate
}

func self(s *domain.ApprovalSettings) { s.SelfApproval = true }

func few(s *domain.ApprovalSettings) { s.MostPending = 1 }

type gatedForgery struct {
	forgery
	settings func(*domain.ApprovalSettings)
	terms    domain.ApprovalTerms
}

func testGated(t *testing.T, list []gatedForgery) {
	t.Helper()
	for _, tt := range list {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, gated(tt.settings, tt.terms)) })
	}
}

func TestAuditOfUsedApprovals(t *testing.T) {
	t.Parallel()
	testGated(t, []gatedForgery{
		{forgery: forgery{"a yes is used", "", func(w *writer) {
			w.decide(ollie.Agent, "10")
			id := w.ask("20")
			w.decide(ollie.Agent, "20")
			w.approve(id, "mem_ann")
			w.now = w.now.Add(30*time.Minute - time.Nanosecond)
			w.decide(ollie.Agent, "20") // allowed
			w.decide(ollie.Agent, "20") // used
			w.now = w.now.Add(time.Minute)
			w.deny(w.ask("20"))
			w.decide(ollie.Agent, "20") // denied
			w.now = w.now.Add(time.Hour)
			id = w.ask("20")
			w.now = w.now.Add(25 * time.Hour)
			w.do(ollie.Agent, domain.BySystem("clock"), w.agent(ollie.Agent).Expire(id, w.now), nil)
			id = w.ask("20")
			w.now = w.now.Add(4 * time.Hour)
			w.do(ollie.Agent, domain.BySystem("clock"), w.agent(ollie.Agent).Remind(id, w.now), nil)
			w.approve(id, "mem_bob")
			w.review(id, "mem_ann", domain.Agent.Withdraw)
			id = w.ask("20")
			events, err := w.agent(ollie.Agent).Cancel(id, w.now)
			w.do(ollie.Agent, domain.ByAgent(ollie.Agent), events, err)
			w.ask("20")
			w.ask("30")
			events, err = w.agent(ollie.Agent).Replace(domain.ReplacePermission{GrantPermission: domain.GrantPermission{
				PermissionID: "perm_buy", Terms: askAbove("15", domain.ApprovalTerms{}), Now: w.now, Currency: "USD", TimeZone: "UTC",
			}})
			w.do(ollie.Agent, "member:mem_owner", events, err)
			w.approve(w.ask("20"), "mem_ann")
			d := w.decide(ollie.Agent, "20")
			w.settle(ollie.Agent, d, "5")
			w.ask("30")
			events, err = w.agent(ollie.Agent).Revoke(domain.RevokePermission{PermissionID: "perm_buy"})
			w.do(ollie.Agent, "member:mem_owner", events, err)
			w.decide(ollie.Agent, "20")
		}}},
		{forgery: forgery{"an allow has no yes", promiseUsed, func(w *writer) { w.forceUse("20", "") }}},
		{forgery: forgery{"an allow names a yes and needs none", promiseUsed, func(w *writer) {
			w.forceUse("5", w.approve(w.ask("20"), "mem_ann"))
		}}},
		{forgery: forgery{"an allow names no amount", promiseUsed, func(w *writer) { w.forceUse("", "") }}},
		{forgery: forgery{"an allow uses an approval that is not there", promiseUsed, func(w *writer) { w.forceUse("20", "apr_x") }}},
		{forgery: forgery{"an allow uses an approval that is pending", promiseUsed, func(w *writer) { w.forceUse("20", w.ask("20")) }}},
		{forgery: forgery{"an allow uses an approval that was denied", promiseUsed, func(w *writer) { w.forceUse("20", w.deny(w.ask("20"))) }}},
		{forgery: forgery{"an allow uses an approval twice", promiseUsed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.decide(ollie.Agent, "20")
			w.forceUse("20", id)
		}}},
		{forgery: forgery{"an allow uses the approval of another request", promiseUsed, func(w *writer) {
			w.forceUse("20.01", w.approve(w.ask("20"), "mem_ann"))
		}}},
		{forgery: forgery{"an allow uses an approval after its end", promiseUsed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.now = w.now.Add(30 * time.Minute)
			w.forceUse("20", id)
		}}},
		{forgery: forgery{"an allow uses an approval that was given under other terms", promiseUsed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.event(domain.PermissionReplaced{PermissionID: "perm_buy", Terms: askAbove("10", domain.ApprovalTerms{}), Cancels: []domain.ApprovalID{id}})
			w.forceUse("20", id)
		}}},
		{forgery: forgery{"an allow uses another agent's approval", promiseUsed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.add("agent_other", "member:mem_owner", domain.AgentRegistered{Name: "Other", Type: domain.Native, Key: "other"})
			w.add("agent_other", "member:mem_owner", domain.PermissionGranted{PermissionID: "perm_buy", Terms: askAbove("10", domain.ApprovalTerms{})})
			d := w.evaluate("agent_other", "20")
			d.Outcome, d.ReasonCode, d.ApprovalID, d.Gate = domain.OutcomeAllowed, domain.Allowed, id, nil
			w.add("agent_other", domain.ByAgent("agent_other"), d)
		}}},
	})
}

func TestAuditOfOpenedApprovals(t *testing.T) {
	t.Parallel()
	testGated(t, []gatedForgery{
		{forgery: forgery{"an approval is opened twice", promiseAsked, func(w *writer) {
			id := w.ask("20")
			w.forge(w.evaluate(ollie.Agent, "30"), func(d *domain.DecisionMade) { d.ApprovalID = id })
		}}},
		{forgery: forgery{"an approval is opened while one is pending", promiseAsked, func(w *writer) {
			w.forceAsk("20", w.gateOf(w.ask("20")))
		}}},
		{forgery: forgery{"an approval is opened while one can be used", promiseAsked, func(w *writer) {
			w.forceAsk("20", w.gateOf(w.approve(w.ask("20"), "mem_ann")))
		}}},
		{forgery: forgery{"an approval is opened again soon after a no", promiseAsked, func(w *writer) {
			id := w.deny(w.ask("20"))
			w.now = w.now.Add(time.Hour - time.Nanosecond)
			w.forceAsk("20", w.gateOf(id))
		}}},
		{forgery: forgery{"an approval is opened again soon after it was used", promiseAsked, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.decide(ollie.Agent, "20")
			w.now = w.now.Add(30*time.Minute - time.Nanosecond)
			w.forceAsk("20", w.gateOf(id))
		}}},
		{forgery: forgery{"an approval is opened again soon after it was used at its end", promiseAsked, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.now = w.now.Add(30*time.Minute - time.Nanosecond)
			w.decide(ollie.Agent, "20")
			w.now = w.now.Add(time.Minute - time.Nanosecond)
			w.forceAsk("20", w.gateOf(id))
		}}},
		{forgery: forgery{"an approval is opened again when what was used stops to answer", "", func(w *writer) {
			w.approve(w.ask("20"), "mem_ann")
			w.decide(ollie.Agent, "20")
			w.now = w.now.Add(30 * time.Minute)
			w.approve(w.ask("20"), "mem_ann")
			w.now = w.now.Add(30*time.Minute - time.Nanosecond)
			w.decide(ollie.Agent, "20")
			w.now = w.now.Add(time.Minute)
			w.ask("20")
		}}},
		{forgery: forgery{"too many approvals are open", promiseAsked, func(w *writer) {
			w.ask("20")
			w.forceAsk("30", *w.evaluate(ollie.Agent, "30").Gate)
		}}, settings: few},
		{forgery: forgery{"an agent opens and cancels without end", promiseAsked, func(w *writer) {
			w.add(ollie.Agent, domain.ByAgent(ollie.Agent), domain.ApprovalCancelled{ApprovalID: w.ask("20")})
			w.forceAsk("30", *w.evaluate(ollie.Agent, "30").Gate)
		}}, settings: few},
		{forgery: forgery{"as many as may are open", "", func(w *writer) {
			w.approve(w.ask("20"), "mem_ann")
			w.ask("30")
			w.now = w.now.Add(24 * time.Hour)
			w.ask("40")
		}}, settings: few},
		{forgery: forgery{"an approval is opened while the agent is disabled", promiseAsked, func(w *writer) {
			gate := *w.evaluate(ollie.Agent, "20").Gate
			w.event(domain.AgentDisabled{})
			w.forceAsk("20", gate)
		}}},
		{forgery: forgery{"two requests have one digest", promiseAsked, func(w *writer) {
			w.forceAsk("30", w.gateOf(w.ask("20")))
		}}},
		{forgery: forgery{"an approval is opened that nobody asks for", promiseAsked, func(w *writer) {
			w.forceAsk("10", *w.evaluate(ollie.Agent, "20").Gate)
		}}},
		{forgery: forgery{"an approval asks for fewer people", promiseAsked, func(w *writer) {
			w.forge(w.evaluate(ollie.Agent, "20"), func(d *domain.DecisionMade) { d.Gate.Quorum = 1 })
		}}, terms: domain.ApprovalTerms{Quorum: 2}},
		{forgery: forgery{"an approval asks for a lower role", promiseAsked, func(w *writer) {
			w.forge(w.evaluate(ollie.Agent, "20"), func(d *domain.DecisionMade) { d.Gate.MinRole = domain.RoleViewer })
		}}},
		{forgery: forgery{"an approval holds for longer", promiseAsked, func(w *writer) {
			w.forge(w.evaluate(ollie.Agent, "20"), func(d *domain.DecisionMade) { d.Gate.ValidFor++ })
		}}, terms: domain.ApprovalTerms{ValidFor: domain.Duration(time.Minute)}},
		{forgery: forgery{"a request waits for what is over", promiseAsked, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(24 * time.Hour)
			w.forge(w.evaluate(ollie.Agent, "20"), func(d *domain.DecisionMade) { d.Gate, d.ApprovalID = nil, id })
		}}},
		{forgery: forgery{"a request waits for another's answer", promiseAsked, func(w *writer) {
			id := w.ask("20")
			w.forge(w.evaluate(ollie.Agent, "30"), func(d *domain.DecisionMade) { d.Gate, d.ApprovalID = nil, id })
		}}},
	})
}

func TestAuditOfReviews(t *testing.T) {
	t.Parallel()
	two := domain.ApprovalTerms{Quorum: 2}
	testGated(t, []gatedForgery{
		{forgery: forgery{"two people say yes", "", func(w *writer) {
			w.approve(w.ask("20"), "mem_ann", "mem_bob")
			w.decide(ollie.Agent, "20")
		}}, terms: two},
		{forgery: forgery{"who drives the agent may say yes", "", func(w *writer) {
			w.approve(w.ask("20"), "mem_dan")
			w.decide(ollie.Agent, "20")
		}}, settings: self},
		{forgery: forgery{"a viewer says yes", promiseReviewed, func(w *writer) { w.say(w.ask("20"), "mem_vic", false) }}},
		{forgery: forgery{"a stranger says yes", promiseReviewed, func(w *writer) { w.say(w.ask("20"), "mem_x", false) }}},
		{forgery: forgery{"the agent says yes", promiseReviewed, func(w *writer) {
			w.add(ollie.Agent, domain.ByAgent(ollie.Agent), approved(w, w.ask("20"), "mem_ann", false))
		}}},
		{forgery: forgery{"the system says yes", promiseReviewed, func(w *writer) {
			w.add(ollie.Agent, domain.BySystem("clock"), approved(w, w.ask("20"), "mem_ann", false))
		}}},
		{forgery: forgery{"who drives the agent says yes", promiseReviewed, func(w *writer) { w.say(w.ask("20"), "mem_dan", true) }}},
		{forgery: forgery{"who drives the agent says yes and doesn't say so", promiseReviewed, func(w *writer) {
			w.say(w.ask("20"), "mem_dan", false)
		}}, settings: self},
		{forgery: forgery{"who drove the agent when it asked says yes", promiseReviewed, func(w *writer) {
			id := w.ask("20")
			w.drive("mem_bob")
			w.say(id, "mem_dan", true)
		}}},
		{forgery: forgery{"who drives the agent since says yes", promiseReviewed, func(w *writer) {
			id := w.ask("20")
			w.drive("mem_bob")
			w.say(id, "mem_bob", true)
		}}},
		{forgery: forgery{"who drove the agent for a while says yes", promiseReviewed, func(w *writer) {
			id := w.ask("20")
			w.drive("mem_bob")
			w.drive("mem_ann")
			w.say(id, "mem_bob", true)
		}}},
		{forgery: forgery{"who drove the agent for a while says yes and doesn't say so", promiseReviewed, func(w *writer) {
			id := w.ask("20")
			w.drive("mem_bob")
			w.drive("mem_ann")
			w.say(id, "mem_bob", false)
		}}, settings: self},
		{forgery: forgery{"who drove the agent before it asked says yes", "", func(w *writer) {
			w.drive("mem_bob")
			w.approve(w.ask("20"), "mem_dan")
			w.drive("mem_ann")
			w.decide(ollie.Agent, "20")
		}}},
		{forgery: forgery{"a voter who drives the agent by now is counted and named", "", func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.drive("mem_ann")
			w.approve(id, "mem_bob")
			w.decide(ollie.Agent, "20")
		}}, terms: two, settings: self},
		{forgery: forgery{"a voter who drives the agent by now is not named", promiseReviewed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.drive("mem_ann")
			w.sayOf(id)
		}}, terms: two, settings: self},
		{forgery: forgery{"a voter who drives the agent by now is named and may not be counted", promiseReviewed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.drive("mem_ann")
			w.sayOf(id, "mem_ann")
		}}, terms: two},
		{forgery: forgery{"a voter is named who doesn't drive the agent", promiseReviewed, func(w *writer) {
			w.sayOf(w.approve(w.ask("20"), "mem_ann"), "mem_ann")
		}}, terms: two, settings: self},
		{forgery: forgery{"a driver is named who didn't vote", promiseReviewed, func(w *writer) {
			w.sayOf(w.approve(w.ask("20"), "mem_ann"), "mem_dan")
		}}, terms: two, settings: self},
		{forgery: forgery{"who drives the agent votes", promiseReviewed, func(w *writer) {
			w.by("mem_dan", domain.ApprovalVoted{ApprovalID: w.ask("20"), MemberID: "mem_dan", Self: true})
		}}, terms: two},
		{forgery: forgery{"a voter who drives the agent by now is counted", promiseReviewed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.drive("mem_ann")
			w.say(id, "mem_bob", false, "mem_ann", "mem_bob")
		}}, terms: two},
		{forgery: forgery{"one of two people said yes", promiseReviewed, func(w *writer) { w.say(w.ask("20"), "mem_ann", false) }}, terms: two},
		{forgery: forgery{"one person is counted twice", promiseReviewed, func(w *writer) {
			w.say(w.ask("20"), "mem_ann", false, "mem_ann", "mem_ann")
		}}, terms: two},
		{forgery: forgery{"a person is counted who didn't vote", promiseReviewed, func(w *writer) {
			w.say(w.ask("20"), "mem_ann", false, "mem_bob", "mem_ann")
		}}, terms: two},
		{forgery: forgery{"a person votes twice", promiseReviewed, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.by("mem_ann", domain.ApprovalVoted{ApprovalID: id, MemberID: "mem_ann"})
		}}, terms: two},
		{forgery: forgery{"a right is taken away while its act is recorded", "", func(w *writer) {
			id := w.ask("20")
			w.add("", "member:mem_owner", domain.MemberRemoved{MemberID: "mem_ann"})
			w.add("", "member:mem_owner", domain.MemberRoleChanged{MemberID: "mem_bob", Role: domain.RoleViewer})
			w.now = w.now.Add(15 * time.Second)
			w.say(id, "mem_ann", false)
			w.by("mem_bob", domain.ApprovalCancelled{ApprovalID: id, MemberID: "mem_bob"})
		}}},
		{forgery: forgery{"a person says yes after they were removed", promiseReviewed, func(w *writer) {
			id := w.ask("20")
			w.add("", "member:mem_owner", domain.MemberRemoved{MemberID: "mem_ann"})
			w.now = w.now.Add(15*time.Second + time.Nanosecond)
			w.say(id, "mem_ann", false)
		}}},
		{forgery: forgery{"the account lets nobody approve their own agent any more", promiseReviewed, func(w *writer) {
			id := w.ask("20")
			w.add("", "member:mem_owner", domain.AccountSettingsChanged{Name: "Home", Currency: "USD"})
			w.now = w.now.Add(16 * time.Second)
			w.say(id, "mem_dan", true)
		}}, settings: self},
		{forgery: forgery{"a viewer says no", promiseReviewed, func(w *writer) {
			w.by("mem_vic", domain.ApprovalDenied{ApprovalID: w.ask("20"), MemberID: "mem_vic", StickyUntil: w.now.Add(time.Hour)})
		}}},
		{forgery: forgery{"a viewer withdraws an approval", promiseReviewed, func(w *writer) {
			w.by("mem_vic", domain.ApprovalCancelled{ApprovalID: w.ask("20"), MemberID: "mem_vic"})
		}}},
		{forgery: forgery{"another cancels as the agent", promiseReviewed, func(w *writer) {
			w.add(ollie.Agent, domain.BySystem("clock"), domain.ApprovalCancelled{ApprovalID: w.ask("20")})
		}}},
	})
}

func TestAuditOfTheOrderOfApprovals(t *testing.T) {
	t.Parallel()
	testGated(t, []gatedForgery{
		{forgery: forgery{"an approval is approved twice", promiseInOrder, func(w *writer) {
			w.say(w.approve(w.ask("20"), "mem_ann"), "mem_bob", false)
		}}},
		{forgery: forgery{"an approval is approved after a no", promiseInOrder, func(w *writer) { w.say(w.deny(w.ask("20")), "mem_bob", false) }}},
		{forgery: forgery{"an approval is approved after its time", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(24 * time.Hour)
			w.say(id, "mem_ann", false)
		}}},
		{forgery: forgery{"an approval is approved that is not there", promiseInOrder, func(w *writer) { w.say("apr_x", "mem_ann", false) }}},
		{forgery: forgery{"an approval is approved while the agent is disabled", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.event(domain.AgentDisabled{})
			w.say(id, "mem_ann", false)
		}}},
		{forgery: forgery{"a yes is good for longer", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(time.Minute)
			e := approved(w, id, "mem_ann", false)
			e.ExpiresAt = e.ExpiresAt.Add(time.Second)
			w.by("mem_ann", e)
		}}},
		{forgery: forgery{"a no lasts for longer", promiseInOrder, func(w *writer) {
			w.by("mem_ann", domain.ApprovalDenied{ApprovalID: w.ask("20"), MemberID: "mem_ann", StickyUntil: w.now.Add(2 * time.Hour)})
		}}},
		{forgery: forgery{"a yes is denied", promiseInOrder, func(w *writer) {
			w.by("mem_bob", domain.ApprovalDenied{ApprovalID: w.approve(w.ask("20"), "mem_ann"), MemberID: "mem_bob", StickyUntil: w.now.Add(time.Hour)})
		}}},
		{forgery: forgery{"what was used is withdrawn", promiseInOrder, func(w *writer) {
			id := w.approve(w.ask("20"), "mem_ann")
			w.decide(ollie.Agent, "20")
			w.by("mem_ann", domain.ApprovalCancelled{ApprovalID: id, MemberID: "mem_ann"})
		}}},
		{forgery: forgery{"a vote comes after a no", promiseInOrder, func(w *writer) {
			w.by("mem_bob", domain.ApprovalVoted{ApprovalID: w.deny(w.ask("20")), MemberID: "mem_bob"})
		}}},
		{forgery: forgery{"an approval expires before its time", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(24*time.Hour - time.Nanosecond)
			w.add(ollie.Agent, domain.BySystem("clock"), domain.ApprovalExpired{ApprovalID: id})
		}}},
		{forgery: forgery{"an approval expires twice", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(24 * time.Hour)
			w.add(ollie.Agent, domain.BySystem("clock"), domain.ApprovalExpired{ApprovalID: id})
			w.add(ollie.Agent, domain.BySystem("clock"), domain.ApprovalExpired{ApprovalID: id})
		}}},
		{forgery: forgery{"a reminder comes early", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(4*time.Hour - time.Nanosecond)
			w.remind(id, 1)
		}}},
		{forgery: forgery{"reminders are left out", "", func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(9 * time.Hour)
			w.do(ollie.Agent, domain.BySystem("clock"), w.agent(ollie.Agent).Remind(id, w.now), nil)
			w.now = w.now.Add(3 * time.Hour)
			w.do(ollie.Agent, domain.BySystem("clock"), w.agent(ollie.Agent).Remind(id, w.now), nil)
		}}},
		{forgery: forgery{"a reminder comes before those that were left out", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(9 * time.Hour)
			w.remind(id, 3)
		}}},
		{forgery: forgery{"a reminder repeats its count", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(9 * time.Hour)
			w.remind(id, 2)
			w.remind(id, 2)
		}}},
		{forgery: forgery{"a reminder comes after the end", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(24 * time.Hour)
			w.remind(id, 6)
		}}},
		{forgery: forgery{"a reminder comes where there are none", promiseInOrder, func(w *writer) {
			id := w.ask("20")
			w.now = w.now.Add(9 * time.Hour)
			w.remind(id, 1)
		}}, settings: func(s *domain.ApprovalSettings) { s.RemindEvery = 0 }},
		{forgery: forgery{"a permission is replaced and leaves an approval", promiseCancelled, func(w *writer) {
			id := w.ask("20")
			w.ask("30")
			w.event(domain.PermissionReplaced{PermissionID: "perm_buy", Terms: askAbove("10", domain.ApprovalTerms{}), Cancels: []domain.ApprovalID{id}})
		}}},
		{forgery: forgery{"a permission is revoked and leaves a yes", promiseCancelled, func(w *writer) {
			w.approve(w.ask("20"), "mem_ann")
			w.event(domain.PermissionRevoked{PermissionID: "perm_buy"})
		}}},
		{forgery: forgery{"a permission takes what is not open with it", promiseCancelled, func(w *writer) {
			id := w.deny(w.ask("20"))
			w.event(domain.PermissionRevoked{PermissionID: "perm_buy", Cancels: []domain.ApprovalID{id}})
		}}},
		{forgery: forgery{"a permission takes another's approval with it", promiseCancelled, func(w *writer) {
			w.event(domain.PermissionGranted{PermissionID: "perm_sell", Terms: domain.Terms{Action: "sell"}})
			id := w.ask("20")
			w.event(domain.PermissionRevoked{PermissionID: "perm_sell", Cancels: []domain.ApprovalID{id}})
		}}},
	})
}
