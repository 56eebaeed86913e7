package projections

import (
	"slices"

	"github.com/behalf-platform/behalf/domain"
)

// follow takes a record in the mode Consequences.
func (w *WhatIf) follow(r *domain.Recorded) {
	if w.passes(r) {
		return
	}
	a, acct := w.agent(r), w.account(r.Account)
	w.begin(a, acct, r)
	if w.begun(r) && (w.Agent == "" || r.Agent == w.Agent) && (a.changes != nil || acct.named && a.supposed.Shared) {
		w.inRange(a, acct, r)
	} else {
		_ = w.feed(a, acct, r) // what fails is kept in failed
	}
	if r.Moves() {
		next := a.real.Evolve(*r)
		a.real = &next
	}
}

// inRange takes a record of an agent for whom things may be otherwise.
func (w *WhatIf) inRange(a *supposedAgent, acct *supposedAccount, r *domain.Recorded) {
	switch e := r.Event.(type) {
	case domain.DecisionMade:
		w.decide(a, acct, r, e)
	case domain.ApprovalVoted:
		w.approve(a, acct, r, e.ApprovalID, e.MemberID, e.Comment)
	case domain.ApprovalApproved:
		w.approve(a, acct, r, e.ApprovalID, e.MemberID, e.Comment)
	case domain.ApprovalDenied:
		w.answer(a, r, e.ApprovalID, true, func(id domain.ApprovalID) ([]domain.Event, error) {
			return a.supposed.Deny(domain.Review{ApprovalID: id, By: e.MemberID, Comment: e.Comment, Account: acct.state, Now: r.At})
		})
	case domain.ApprovalCancelled:
		w.answer(a, r, e.ApprovalID, e.MemberID != "", func(id domain.ApprovalID) ([]domain.Event, error) {
			if e.MemberID == "" {
				return a.supposed.Cancel(id, r.At)
			}
			return a.supposed.Withdraw(domain.Review{ApprovalID: id, By: e.MemberID, Comment: e.Comment, Account: acct.state, Now: r.At})
		})
	case domain.ApprovalReminded, domain.ApprovalExpired:
		w.expire(a, r)
	case domain.PermissionReplaced:
		e.Cancels = a.resting(e.PermissionID)
		again := *r
		again.Event = e
		_ = w.feed(a, acct, &again)
	case domain.PermissionRevoked:
		e.Cancels = a.resting(e.PermissionID)
		again := *r
		again.Event = e
		_ = w.feed(a, acct, &again)
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.AgentBudgetShared, domain.AgentDisabled,
		domain.AgentDriverChanged, domain.AgentEnabled, domain.AgentKeyRotated, domain.AgentLimitsSet,
		domain.AgentRegistered, domain.BudgetCharged, domain.BudgetReleased, domain.BudgetSet, domain.DecisionSettled,
		domain.MemberAdded, domain.MemberRemoved, domain.MemberRoleChanged, domain.MemberTokenRotated,
		domain.PermissionGranted,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		_ = w.feed(a, acct, r)
	}
}

// noBudget is of an agent that doesn't share its account's. It is never written to.
var noBudget = &domain.SharedBudget{}

// decide decides on what was asked, and has it count.
func (w *WhatIf) decide(a *supposedAgent, acct *supposedAccount, r *domain.Recorded, recorded domain.DecisionMade) {
	if !w.has(r) { // after the range
		return
	}
	s := supposition{r: *r, agent: a.supposed, budget: noBudget, gate: acct.gate, follows: true}
	if a.supposed.Shared {
		budget := acct.supposed
		s.budget = &budget
	}
	w.tally.decided(&s)
	if w.see != nil {
		w.see(&s)
	}
	d := s.made
	if s.why != nil || !d.Moves() {
		return
	}
	if d.Opens() {
		w.expire(a, r)
		w.tally.asked(recorded.Opens())
	}
	if d.Outcome == domain.OutcomeAllowed && a.supposed.Shared {
		acct.charge(r, &d)
	}
	in := *r
	in.At = s.at
	a.evolve(&in, d)
}

// approve takes a person's yes. Whether it is the last one that is needed is for
// the supposed approval to say.
func (w *WhatIf) approve(a *supposedAgent, acct *supposedAccount, r *domain.Recorded, id domain.ApprovalID, by domain.MemberID, comment string) {
	w.answer(a, r, id, true, func(id domain.ApprovalID) ([]domain.Event, error) {
		return a.supposed.Approve(domain.Review{ApprovalID: id, By: by, Comment: comment, Account: acct.state, Now: r.At})
	})
}

// answer takes what somebody said to an approval, where it would have been
// asked for.
func (w *WhatIf) answer(a *supposedAgent, r *domain.Recorded, id domain.ApprovalID, person bool, decide func(domain.ApprovalID) ([]domain.Event, error)) {
	events := []domain.Event(nil)
	supposed, ok := a.asked(id)
	if ok {
		var err error
		events, err = decide(supposed)
		ok = err == nil
	}
	if !ok && person {
		w.tally.moot()
	}
	for _, e := range events {
		w.suppose(a, r, e)
	}
}

// asked is the supposed approval of what a real one asked for: the one that the
// same request opened, or another one of the same request.
func (a *supposedAgent) asked(id domain.ApprovalID) (domain.ApprovalID, bool) {
	if _, ok := a.supposed.Approval(id); ok {
		return id, true
	}
	real, ok := a.real.Approval(id)
	if !ok {
		return "", false
	}
	for _, p := range slices.Backward(a.supposed.Approvals()) {
		if p.Recorded().Open() && sameRequest(&p.Request, &real.Request) {
			return p.ID, true
		}
	}
	return "", false
}

// sameRequest compares what was asked.
func sameRequest(a, b *domain.Request) bool {
	return a.Action == b.Action && a.Vendor == b.Vendor && a.Resource == b.Resource && a.Amount == b.Amount && a.Currency == b.Currency &&
		a.DefaultCurrency == b.DefaultCurrency && a.Path == b.Path && a.Command == b.Command && a.Cwd == b.Cwd &&
		a.Context == b.Context && a.ArgumentsDigest == b.ArgumentsDigest
}

// expire ends what was asked for and nobody answered in time, so that it isn't
// kept for ever.
func (w *WhatIf) expire(a *supposedAgent, r *domain.Recorded) {
	for _, p := range a.supposed.Approvals() {
		for _, e := range a.supposed.Expire(p.ID, r.At) {
			w.suppose(a, r, e)
		}
	}
}

// resting are the supposed approvals that stand on a permission.
func (a *supposedAgent) resting(id domain.PermissionID) (ids []domain.ApprovalID) {
	for _, p := range a.supposed.Approvals() {
		if p.Recorded().Open() && (p.PermissionID == id || slices.Contains(p.Gate.With, id)) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}
