package projections

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// sharedLedger is what all agents of an account spend together, by the audit's
// own count.
type sharedLedger struct {
	limits counts
	// limited says of each event that set the limits, by its sequence, whether
	// it set any.
	limited map[uint64]bool
	newest  time.Time
}

// read takes an event of the account's limits. That it has a decision or a
// settlement to stand on was seen to before.
func (l *sharedLedger) read(r *domain.Recorded) error {
	switch e := r.Event.(type) {
	case domain.BudgetSet:
		if l.limited == nil {
			l.limited = map[uint64]bool{}
		}
		l.limited[r.Position.Seq] = len(e.Budgets)+len(e.Rates) > 0
		if err := l.forward(r); err != nil {
			return err
		}
		return l.limits.set(r, &e.Limits)
	case domain.BudgetCharged:
		// It was counted with its allow, of the same time and amount.
	case domain.BudgetReleased:
		back, err := parseUnits(e.Amount)
		if err != nil {
			return broken(r, promiseCharged, "%v", err)
		}
		l.limits.giveBack(back, e.Currency, e.ChargedAt, e.ChargedOn+1)
		if r.At.After(l.newest) { // it is the time on the agent's stream, and may be behind
			l.newest = r.At
		}
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.MemberAdded, domain.MemberRoleChanged,
		domain.MemberTokenRotated, domain.MemberRemoved, domain.AgentRegistered, domain.AgentDisabled, domain.AgentEnabled,
		domain.AgentKeyRotated, domain.AgentDriverChanged, domain.AgentLimitsSet, domain.AgentBudgetShared,
		domain.PermissionGranted, domain.PermissionReplaced, domain.PermissionRevoked, domain.DecisionMade,
		domain.DecisionSettled, domain.ApprovalVoted, domain.ApprovalApproved, domain.ApprovalDenied,
		domain.ApprovalCancelled, domain.ApprovalReminded, domain.ApprovalExpired,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// Not the budget's.
	}
	return nil
}

// spend counts an allow, which its charge follows directly.
func (l *sharedLedger) spend(r *domain.Recorded, p price) error {
	if err := l.forward(r); err != nil {
		return err
	}
	return l.limits.spend(r, p)
}

func (l *sharedLedger) forward(r *domain.Recorded) error {
	if r.At.Before(l.newest) {
		return broken(r, promiseForward, "the limits of account %s had an event at %s before, and this one is of %s", r.Account, l.newest, r.At)
	}
	l.newest = r.At
	return nil
}

// versions are an account's limits as they were in the last moments, the newest
// last.
type versions []version

type version struct {
	budget *domain.SharedBudget
	at     time.Time // by the log's clock
}

// mostBehind is how far a node may be behind with an account's limits and still
// deny by them.
const mostBehind = 30 * time.Second

// add keeps, beside a new version and the one before it, those that were the
// newest at some time of the last moments.
func (v versions) add(b *domain.SharedBudget, at time.Time) versions {
	v = append(v, version{b, at})
	for len(v) > 2 && v[1].at.Before(at.Add(-mostBehind)) {
		v[0] = version{} // what is cut off would keep it
		v = v[1:]
	}
	return v
}

// find is the version of a sequence, or nil.
func (v versions) find(seq uint64) *domain.SharedBudget {
	i, ok := slices.BinarySearchFunc(v, seq, func(v version, seq uint64) int { return cmp.Compare(v.budget.Version, seq) })
	if !ok {
		return nil
	}
	return v[i].budget
}

// share puts an agent under the account's limits, or takes it out.
func (a *Audit) share(r *domain.Recorded, e domain.AgentBudgetShared, l *ledger) error {
	limited, set := a.accountOf(r.Account).shared.limited[e.Budget]
	switch {
	case !set:
		return broken(r, promiseShared, "no event at sequence %d sets the account's limits", e.Budget)
	case limited != e.Shared:
		return broken(r, promiseShared, "there are limits: %t; agent %s is under them: %t", limited, r.Agent, e.Shared)
	case e.Budget <= l.follows:
		return broken(r, promiseShared, "agent %s follows the event at sequence %d already", r.Agent, l.follows)
	}
	l.shared, l.follows = e.Shared, e.Budget
	return nil
}

// due is the record that has to come directly after an allow or a settlement,
// and can come only there: what it takes of the account's limits, or gives back.
type due struct {
	after    uint64 // the sequence it comes after
	account  domain.AccountID
	actor    domain.Actor
	at       time.Time
	request  domain.RequestID
	amount   domain.Decimal // as the allow has it
	price    price
	currency domain.Currency
	budget   uint64 // the version of the limits that the allow stands on
	// settled is the time of the allow when something is given back, else zero.
	settled time.Time
}

func (d *due) String() string {
	if d.settled.IsZero() {
		return fmt.Sprintf("the charge of %s, of %q %s", d.request, d.amount, d.currency)
	}
	return fmt.Sprintf("the release of %s, of %s %s", d.request, showUnits(d.price.units, d.currency), d.currency)
}

// from is d, due to a record.
func (d due) from(r *domain.Recorded) *due {
	d.after, d.account, d.actor, d.at = r.Position.Seq, r.Account, r.Actor, r.At
	return &d
}

// comes is the promise that the record that is due comes, and no such record
// that isn't.
func (a *Audit) comes(r *domain.Recorded) error {
	d := a.due
	a.due = nil
	if e, ok := r.Event.(domain.BudgetCharged); ok {
		if d == nil || !d.isCharge(r, e) {
			return broken(r, promiseCharged, "the charge of %s, of %q %s, is not that of an allow directly before it", e.RequestID, e.Amount, e.Currency)
		}
		if r.Last != d.budget {
			return broken(r, promiseFence, "allowed on version %d of the account's limits, and charged on %d", d.budget, r.Last)
		}
		return nil
	}
	if e, ok := r.Event.(domain.BudgetReleased); ok {
		if d == nil || !d.isRelease(r, e) {
			return broken(r, promiseCharged, "the release of %s, of %s %s, is not that of a settlement directly before it", e.RequestID, e.Amount, e.Currency)
		}
		return nil
	}
	if d != nil {
		return broken(r, promiseCharged, "%s has to follow directly on %d, and %s is there", d, d.after, r.Event.Kind())
	}
	return nil
}

func (d *due) isCharge(r *domain.Recorded, e domain.BudgetCharged) bool {
	return d.settled.IsZero() && d.same(r) && e.RequestID == d.request && e.Amount == d.amount && e.Currency == d.currency
}

func (d *due) isRelease(r *domain.Recorded, e domain.BudgetReleased) bool {
	back, err := parseUnits(e.Amount)
	return err == nil && !d.settled.IsZero() && d.same(r) && e.RequestID == d.request && e.Currency == d.currency &&
		back.Cmp(d.price.units) == 0 && e.ChargedAt.Equal(d.settled) && e.ChargedOn == d.budget
}

// same reports whether a record is of the same moment and hand as what it is due to.
func (d *due) same(r *domain.Recorded) bool {
	return r.Account == d.account && r.Actor == d.actor && r.At.Equal(d.at)
}
