package projections

import (
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// ledger is what the events of one agent say, read without the rules' folds and
// counted with plain sums, so that a mistake there doesn't hide here. Only what
// a later event can depend on is kept.
type ledger struct {
	active bool
	driver domain.MemberID
	held   map[domain.PermissionID]*held
	plain  []*held // those of them that passesBy looks at
	limits counts
	// shared says that the account's limits apply, as the event of them has it
	// that follows names.
	shared  bool
	follows uint64
	// newest is the latest time of the agent's events. Once counts is true,
	// something is counted or awaited, and time doesn't run back any more.
	newest    time.Time
	counts    bool
	allows    allows
	approvals []*awaited
}

// held is a permission as its newest event has it.
type held struct {
	id      domain.PermissionID
	terms   domain.Terms
	version uint64
	revoked bool
	limits  counts
}

// read takes an event of the agent that is no decision.
func (a *Audit) read(r *domain.Recorded, l *ledger) error {
	if err := l.forward(r, r.Moves()); err != nil {
		return err
	}
	switch e := r.Event.(type) {
	case domain.AgentRegistered:
		l.active, l.driver = true, e.Driver
	case domain.AgentDisabled:
		l.active = false
	case domain.AgentEnabled:
		l.active = true
	case domain.AgentDriverChanged:
		l.driven(e.Driver)
	case domain.AgentLimitsSet:
		l.counts = true
		return l.limits.set(r, &e.Limits)
	case domain.AgentBudgetShared:
		l.counts = true
		return a.share(r, e, l)
	case domain.PermissionGranted:
		return l.hold(r, e.PermissionID, e.Terms)
	case domain.PermissionReplaced:
		if err := l.cancels(r, e.PermissionID, e.Cancels); err != nil {
			return err
		}
		return l.hold(r, e.PermissionID, e.Terms)
	case domain.PermissionRevoked:
		if p := l.held[e.PermissionID]; p != nil {
			p.revoked, p.version, p.limits = true, r.Position.Seq, nil
		}
		return l.cancels(r, e.PermissionID, e.Cancels)
	case domain.DecisionSettled:
		return a.settled(r, e, l)
	case domain.DecisionConsumed:
		return a.consume(r, e)
	case domain.ApprovalVoted:
		return l.voted(r, e, &a.accountOf(r.Account).people)
	case domain.ApprovalApproved:
		return l.approved(r, e, &a.accountOf(r.Account).people)
	case domain.ApprovalDenied:
		return l.denied(r, e, &a.accountOf(r.Account).people)
	case domain.ApprovalCancelled:
		return l.withdrawn(r, e, &a.accountOf(r.Account).people)
	case domain.ApprovalReminded:
		return l.reminded(r, e)
	case domain.ApprovalExpired:
		return l.expired(r, e)
	case domain.AgentKeyRotated:
		// Whoever has no key gets no decision, and leaves nothing in the log.
	case domain.DecisionMade, domain.AccountOpened, domain.AccountSettingsChanged, domain.MemberAdded,
		domain.MemberRoleChanged, domain.MemberTokenRotated, domain.MemberRemoved,
		domain.BudgetSet, domain.BudgetCharged, domain.BudgetReleased,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
		// Not the agent's, or read elsewhere.
	}
	return nil
}

// forward is the promise that time does not run back. A log of before there were
// limits and approvals never made it, so it holds from the first of them on.
func (l *ledger) forward(r *domain.Recorded, moves bool) error {
	if r.At.Before(l.newest) {
		if l.counts {
			return broken(r, promiseForward, "agent %s had an event at %s before, and this one is of %s", r.Agent, l.newest, r.At)
		}
		return nil
	}
	if moves {
		l.newest = r.At
	}
	return nil
}

func (l *ledger) hold(r *domain.Recorded, id domain.PermissionID, terms domain.Terms) error {
	p := &held{id: id, terms: terms, version: r.Position.Seq}
	if before := l.held[id]; before != nil {
		p.limits = before.limits
	}
	if l.held == nil {
		l.held = map[domain.PermissionID]*held{}
	}
	l.held[id] = p
	l.plain = slices.DeleteFunc(l.plain, func(old *held) bool { return old.id == id || old.revoked })
	if p.isPlain() {
		l.plain = append(l.plain, p)
	}
	l.counts = l.counts || len(terms.Budgets)+len(terms.Rates) > 0 || terms.RequiresApproval != domain.ApprovalRule{}
	return p.limits.set(r, &terms.Limits)
}

// readDecision takes a decision, whether or not it moves the agent.
func (a *Audit) readDecision(r *domain.Recorded, d *domain.DecisionMade, l *ledger) error {
	moves := d.Moves()
	l.counts = l.counts || moves
	if err := l.forward(r, moves); err != nil {
		return err
	}
	if d.Spends && d.Outcome != domain.OutcomeAllowed {
		return broken(r, promiseCounted, "it is %s, and says that it counts", d.Outcome)
	}
	switch d.Outcome {
	case domain.OutcomeAllowed:
		return a.allow(r, d, l)
	case domain.OutcomeRequiresApproval:
		return a.asks(r, d, l)
	case domain.OutcomeDenied:
	}
	return nil
}

func (a *Audit) allow(r *domain.Recorded, d *domain.DecisionMade, l *ledger) error {
	p, why := l.standing(d.PermissionID, r.At)
	if why != "" {
		return broken(r, promiseRevoked, "%s", why)
	}
	if err := l.use(r, d, p); err != nil {
		return err
	}
	under := len(p.limits) > 0 || len(l.limits) > 0 || l.shared
	if under != d.Spends {
		return broken(r, promiseCounted, "it is under limits: %t; it says that it counts: %t", under, d.Spends)
	}
	if !d.Moves() {
		return nil
	}
	amount, err := parsePrice(d.Request.Amount, d.Request.Currency)
	if err != nil {
		return broken(r, promiseCounted, "%v", err)
	}
	if err := p.limits.spend(r, amount); err != nil {
		return err
	}
	if err := l.limits.spend(r, amount); err != nil {
		return err
	}
	l.allows.add(d.RequestID, &allowed{
		permission: d.PermissionID, price: amount, at: r.At, seq: r.Position.Seq,
		shared: l.shared, budget: d.BudgetVersion,
	})
	if l.shared {
		if err := a.accountOf(r.Account).shared.spend(r, amount); err != nil {
			return err
		}
		a.due = due{request: d.RequestID, amount: d.Request.Amount, currency: d.Request.Currency, budget: d.BudgetVersion}.from(r)
	}
	return nil
}

// standing is a permission that something may be allowed by, or why nothing may.
func (l *ledger) standing(id domain.PermissionID, at time.Time) (*held, string) {
	p := l.held[id]
	switch {
	case !l.active:
		return nil, "the agent is not active"
	case p == nil:
		return nil, "the passport has no permission " + string(id)
	case p.revoked:
		return nil, "permission " + string(id) + " is revoked"
	case !p.terms.ExpiresAt.IsZero() && !at.Before(p.terms.ExpiresAt):
		return nil, "permission " + string(id) + " has expired"
	case at.Before(p.terms.NotBefore):
		return nil, "permission " + string(id) + " is not valid yet"
	}
	return p, ""
}
