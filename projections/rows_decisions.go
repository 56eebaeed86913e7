package projections

import (
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// DecisionRow is one decision, whatever its outcome.
type DecisionRow struct {
	Account   domain.AccountID
	Agent     domain.AgentID
	RequestID domain.RequestID
	Partition uint16
	Seq       uint64
	// DecidedAt and LoggedAt are kept to the microsecond; Record has the former
	// in full.
	DecidedAt, LoggedAt time.Time
	Outcome             domain.Outcome
	ReasonCode          domain.ReasonCode
	Reason              string
	Risk                domain.Risk
	Action              domain.Action
	Vendor, Resource    string
	// Amount is empty, and Minor 0, for a request without an amount. Currency can
	// be there all the same.
	Amount          domain.Decimal
	Minor           int64
	Currency        domain.Currency
	Path, Command   string
	PermissionID    domain.PermissionID
	ApprovalID      domain.ApprovalID
	PassportVersion uint64
	ArgumentsDigest string
	// Spends, Uses and Opens are what a decision does that changes what its agent
	// may do next.
	Spends, Uses, Opens bool
	// Settled is what was reported of an allow, empty while nothing was.
	// SettledAmount is what it spent in fact, if it reserved an amount.
	Settled       domain.ActionOutcome
	SettledAmount domain.Decimal
	SettledAt     time.Time
	// Record is the event as it lies in the log, to the byte.
	Record []byte
}

// Recorded is the event the row was made of. The epoch is the log's.
func (d *DecisionRow) Recorded(epoch uint32) (domain.Recorded, error) {
	r, err := domain.DecodeRecord(d.Record)
	if err != nil {
		return domain.Recorded{}, fmt.Errorf("decision %s at %d: %w", d.RequestID, d.Seq, err)
	}
	return domain.Recorded{
		Record: r, Position: domain.Position{Partition: d.Partition, Epoch: epoch, Seq: d.Seq},
		Last: d.PassportVersion, LoggedAt: d.LoggedAt,
	}, nil
}

// Settlement is what was reported of a decision that has a row already.
type Settlement struct {
	Seq       uint64
	Account   domain.AccountID
	Agent     domain.AgentID
	RequestID domain.RequestID
	Outcome   domain.ActionOutcome
	Amount    domain.Decimal
	At        time.Time
}

type decisionKey struct {
	account domain.AccountID
	request domain.RequestID
}

func (b *Batch) addDecision(r *domain.Recorded) error {
	switch e := r.Event.(type) {
	case domain.DecisionMade:
		return b.decided(r, &e)
	case domain.DecisionSettled:
		b.settled(r, &e)
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.MemberAdded, domain.MemberRoleChanged,
		domain.MemberTokenRotated, domain.MemberRemoved, domain.AgentRegistered, domain.AgentDisabled,
		domain.AgentEnabled, domain.AgentKeyRotated, domain.AgentDriverChanged, domain.AgentLimitsSet,
		domain.AgentBudgetShared, domain.PermissionGranted, domain.PermissionReplaced, domain.PermissionRevoked,
		domain.ApprovalVoted, domain.ApprovalApproved, domain.ApprovalDenied, domain.ApprovalCancelled,
		domain.ApprovalReminded, domain.ApprovalExpired, domain.BudgetSet, domain.BudgetCharged, domain.BudgetReleased,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
	}
	return nil
}

func (b *Batch) decided(r *domain.Recorded, d *domain.DecisionMade) error {
	record, err := b.stored(r)
	if err != nil {
		return err
	}
	q := &d.Request
	minor, err := minorOf(q.Amount, q.Currency)
	if err != nil {
		return err
	}
	if d.Moves() { // only such a decision can be settled
		b.decisions[decisionKey{r.Account, d.RequestID}] = len(b.Decisions)
	}
	b.Decisions = append(b.Decisions, DecisionRow{
		Account: text(r.Account), Agent: text(r.Agent), RequestID: text(d.RequestID),
		Partition: r.Position.Partition, Seq: r.Position.Seq, DecidedAt: r.At, LoggedAt: r.LoggedAt,
		Outcome: text(d.Outcome), ReasonCode: text(d.ReasonCode), Reason: text(d.Reason), Risk: text(d.Risk),
		Action: text(q.Action), Vendor: text(q.Vendor), Resource: text(q.Resource),
		Amount: q.Amount, Minor: minor, Currency: text(q.Currency), Path: text(q.Path), Command: text(q.Command),
		PermissionID: text(d.PermissionID), ApprovalID: text(d.ApprovalID), PassportVersion: d.PassportVersion,
		ArgumentsDigest: text(q.ArgumentsDigest), Spends: d.Spends, Uses: d.Uses(), Opens: d.Opens(), Record: record,
	})
	return nil
}

func (b *Batch) settled(r *domain.Recorded, e *domain.DecisionSettled) {
	if i, ok := b.decisions[decisionKey{r.Account, e.RequestID}]; ok {
		d := &b.Decisions[i]
		d.Settled, d.SettledAmount, d.SettledAt = text(e.Outcome), text(e.Amount), r.At
		return
	}
	b.Settlements = append(b.Settlements, Settlement{
		Seq: r.Position.Seq, Account: text(r.Account), Agent: text(r.Agent), RequestID: text(e.RequestID),
		Outcome: text(e.Outcome), Amount: text(e.Amount), At: r.At,
	})
}

// minorOf is an amount in minor units, 0 for none. One in a currency that isn't
// known can't be counted.
func minorOf(amount domain.Decimal, c domain.Currency) (int64, error) {
	if amount == "" {
		return 0, nil
	}
	money, err := domain.ParseMoney(string(amount), c)
	return money.Minor, err
}
