package domain

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// SharedBudget is the fold of what all agents of an account spend together. It
// is a value, as [Agent] is. The zero SharedBudget limits nothing.
type SharedBudget struct {
	Limits
	// Version is the sequence of the newest event folded. Set is where the event
	// is that set the limits, or ended them.
	Version uint64
	Set     Position
	// Updated is the time of the newest event.
	Updated time.Time

	limits []limit
	used   tally
	fault  error
}

// Fault is why nothing can be decided on this budget, or nil.
func (b SharedBudget) Fault() error { return b.fault }

// Stop marks the budget as unreadable from here on.
func (b SharedBudget) Stop(err error) SharedBudget {
	b.fault = cmp.Or(b.fault, err)
	return b
}

// Limited reports whether there are limits.
func (b SharedBudget) Limited() bool { return len(b.limits) > 0 }

// Left is what is left of each limit at a moment.
func (b SharedBudget) Left(now time.Time) []Left { return b.used.left(b.limits, now) }

// Evolve folds one recorded event of the budget in, as [Agent.Evolve] does.
func (b SharedBudget) Evolve(r Recorded) SharedBudget {
	if r.Position.Seq <= b.Version {
		return b
	}
	if r.Last != b.Version {
		return b.Stop(fmt.Errorf("event %d follows %d, but %d is the last one known", r.Position.Seq, r.Last, b.Version))
	}
	b.Version, b.Updated = r.Position.Seq, Later(b.Updated, r.At)
	switch e := r.Event.(type) {
	case BudgetSet:
		limits, err := e.compile()
		if err != nil {
			return b.Stop(fmt.Errorf("limits of the account: %w", err))
		}
		b.Limits, b.limits, b.used, b.Set = e.Limits, limits, b.used.carry(limits), r.Position
	case BudgetCharged:
		amount, err := parseAmount(e.Amount, e.Currency)
		if err != nil {
			return b.Stop(fmt.Errorf("charge of %s: %w", e.RequestID, err))
		}
		b.used = b.used.charge(b.limits, amount, r.At, r.Last)
	case BudgetReleased:
		amount, err := ParseMoney(string(e.Amount), e.Currency)
		if err != nil {
			return b.Stop(fmt.Errorf("release of %s: %w", e.RequestID, err))
		}
		b.used = b.used.release(amount, e.ChargedAt, e.ChargedOn)
	case AccountOpened, AccountSettingsChanged, MemberAdded, MemberRoleChanged, MemberTokenRotated, MemberRemoved,
		AgentRegistered, AgentDisabled, AgentEnabled, AgentKeyRotated, AgentDriverChanged, AgentLimitsSet, AgentBudgetShared,
		PermissionGranted, PermissionReplaced, PermissionRevoked, DecisionMade, DecisionSettled,
		ApprovalVoted, ApprovalApproved, ApprovalDenied, ApprovalCancelled, ApprovalReminded, ApprovalExpired,
		WebhookCreated, WebhookChanged, WebhookVerified, WebhookPaused, WebhookResumed, WebhookDisabled, WebhookEnabled,
		WebhookSecretRotated, WebhookDeleted, WebhookTested, WebhookReplayRequested, WebhookReplayCancelled,
		WebhookReplayFinished, WebhookFailing, WebhookRecovered, WebhookSkipped, ReceiptKeyRotated, DecisionConsumed,
		PassportLinkCreated, PassportLinkRevoked:
		// Not the budget's.
	}
	return b
}

// parseAmount is an amount that may be absent.
func parseAmount(d Decimal, c Currency) (Money, error) {
	if d == "" {
		return Money{}, nil
	}
	return ParseMoney(string(d), c)
}

// Later is the later of two moments.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// SetLimits decides on the account's limits. None at all end them.
func (b SharedBudget) SetLimits(l Limits, account Account) ([]Event, error) {
	l, err := l.Accept(account.Currency, account.Zone())
	if err != nil {
		return nil, err
	}
	if sameLimits(l, b.Limits) {
		return nil, nil
	}
	return []Event{BudgetSet{l}}, nil
}

func sameLimits(a, b Limits) bool {
	return slices.Equal(a.Budgets, b.Budgets) && slices.Equal(a.Rates, b.Rates)
}
