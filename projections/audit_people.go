package projections

import (
	"cmp"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// people are an account's members and whether they may approve their own agents,
// as they are and as they were a moment ago.
type people struct {
	members map[domain.MemberID]*history[domain.Role]
	self    history[bool]
}

// mostJudging is how long an act may take that was judged on a right: the right
// is read, not fenced, so that it may be taken away in the meantime.
const mostJudging = 15 * time.Second

// history is a value and those it had in the last moments.
type history[T any] struct {
	now    T
	before []past[T]
}

type past[T any] struct {
	value T
	until time.Time // by the log's clock
}

func (h *history[T]) set(v T, at time.Time) {
	var recent []past[T]
	for _, p := range h.before {
		if !at.Add(-mostJudging).After(p.until) {
			recent = append(recent, p)
		}
	}
	h.before, h.now = append(recent, past[T]{h.now, at}), v
}

// could reports whether something held at a moment, or shortly before.
func (h *history[T]) could(at time.Time, holds func(T) bool) bool {
	for _, p := range h.before {
		if !at.Add(-mostJudging).After(p.until) && holds(p.value) {
			return true
		}
	}
	return holds(h.now)
}

// read takes an event of the account.
func (p *people) read(r *domain.Recorded) {
	switch e := r.Event.(type) {
	case domain.AccountOpened:
		p.role(e.Owner, domain.RoleOwner, r)
	case domain.AccountSettingsChanged:
		p.self.set(e.Approvals != nil && e.Approvals.SelfApproval, r.LoggedAt)
	case domain.MemberAdded:
		p.role(e.MemberID, e.Role, r)
	case domain.MemberRoleChanged:
		p.role(e.MemberID, e.Role, r)
	case domain.MemberRemoved:
		p.role(e.MemberID, "", r)
	case domain.MemberTokenRotated, domain.AgentRegistered, domain.AgentDisabled, domain.AgentEnabled,
		domain.AgentKeyRotated, domain.AgentDriverChanged, domain.AgentLimitsSet, domain.AgentBudgetShared,
		domain.PermissionGranted, domain.PermissionReplaced, domain.PermissionRevoked, domain.DecisionMade,
		domain.DecisionSettled, domain.ApprovalVoted, domain.ApprovalApproved, domain.ApprovalDenied,
		domain.ApprovalCancelled, domain.ApprovalReminded, domain.ApprovalExpired,
		domain.BudgetSet, domain.BudgetCharged, domain.BudgetReleased,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// Nothing of who may do what.
	}
}

func (p *people) role(id domain.MemberID, role domain.Role, r *domain.Recorded) {
	if p.members == nil {
		p.members = map[domain.MemberID]*history[domain.Role]{}
	}
	m := p.members[id]
	if m == nil {
		m = &history[domain.Role]{}
		p.members[id] = m
	}
	m.set(role, r.LoggedAt)
}

// couldReview reports whether a member had a role, or a higher one, at a moment
// or shortly before.
func (p *people) couldReview(id domain.MemberID, least domain.Role, at time.Time) bool {
	m := p.members[id]
	return m != nil && m.could(at, func(role domain.Role) bool { return rank(role) >= cmp.Or(rank(least), rank(domain.RoleOwner)) })
}

// couldApproveOwn reports whether people could approve their own agents.
func (p *people) couldApproveOwn(at time.Time) bool {
	return p.self.could(at, func(on bool) bool { return on })
}

func rank(r domain.Role) int {
	switch r {
	case domain.RoleOwner:
		return 4
	case domain.RoleAdmin:
		return 3
	case domain.RoleApprover:
		return 2
	case domain.RoleViewer:
		return 1
	}
	return 0
}
