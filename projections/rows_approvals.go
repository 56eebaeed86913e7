package projections

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// ApprovalRow is an approval as its events leave it. Where it stands by the
// clock is for whoever reads it, see StateAt.
type ApprovalRow struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	ApprovalID   domain.ApprovalID
	Partition    uint16
	Seq          uint64 // of the decision that opened it
	RequestID    domain.RequestID
	UsedBy       domain.RequestID
	PermissionID domain.PermissionID
	State        domain.ApprovalState // as recorded
	Risk         domain.Risk
	Action       domain.Action
	Digest       string
	MinRole      domain.Role
	Quorum       int
	OpenedAt     time.Time
	// ExpiresAt is when it stops waiting, or, once it is approved, when the yes
	// ends.
	ExpiresAt time.Time
	// ResolvedAt and ResolvedBy are of the last change of its state, empty while
	// it is pending. Comment is theirs, and Shared says that the agent may read it.
	ResolvedAt time.Time
	ResolvedBy domain.Actor
	Comment    string
	Shared     bool
	Reminders  int
	// Version is the sequence of the event that last changed the row.
	Version uint64
	// Record is the decision that opened it, as it lies in the log: the request
	// and the gate in full.
	Record []byte
	// Votes are filled in where rows are read, oldest first.
	Votes []VoteRow
}

// StateAt is the state at a moment: what was recorded, or that its time is over.
func (a *ApprovalRow) StateAt(now time.Time) domain.ApprovalState {
	if a.State.Open() && !now.Before(a.ExpiresAt) {
		return domain.ApprovalHasExpired
	}
	return a.State
}

// VoteRow is one person's yes.
type VoteRow struct {
	Account    domain.AccountID
	ApprovalID domain.ApprovalID
	MemberID   domain.MemberID
	Seq        uint64
	At         time.Time
	Comment    string
	Self       bool
}

// ApprovalChange is what events change of an approval. Nil is no change.
type ApprovalChange struct {
	Seq        uint64 // of the newest of them
	Account    domain.AccountID
	ApprovalID domain.ApprovalID
	State      *domain.ApprovalState
	ResolvedAt *time.Time
	ResolvedBy *domain.Actor
	ExpiresAt  *time.Time
	UsedBy     *domain.RequestID
	Comment    *string
	Shared     *bool
	Reminders  *int
}

type approvalKey struct {
	account  domain.AccountID
	approval domain.ApprovalID
}

func (b *Batch) addApproval(r *domain.Recorded) error {
	switch e := r.Event.(type) {
	case domain.DecisionMade:
		if e.Opens() {
			return b.open(r, &e)
		}
		if e.Uses() {
			c := to(r, domain.ApprovalIsUsed)
			id := text(e.RequestID)
			c.UsedBy = &id
			b.changeApproval(e.ApprovalID, c)
		}
	case domain.ApprovalVoted:
		b.changeApproval(e.ApprovalID, ApprovalChange{Seq: r.Position.Seq, Account: r.Account})
		b.vote(r, e.ApprovalID, e.MemberID, e.Comment, e.Self)
	case domain.ApprovalApproved:
		c := to(r, domain.ApprovalIsApproved)
		c.comment(e.Comment)
		c.ExpiresAt = &e.ExpiresAt
		b.changeApproval(e.ApprovalID, c)
		b.vote(r, e.ApprovalID, e.MemberID, e.Comment, e.Self)
	case domain.ApprovalDenied:
		c := to(r, domain.ApprovalIsDenied)
		c.comment(e.Comment)
		c.Shared = &e.Shared
		b.changeApproval(e.ApprovalID, c)
	case domain.ApprovalCancelled:
		c := to(r, domain.ApprovalIsCancelled)
		c.comment(e.Comment)
		b.changeApproval(e.ApprovalID, c)
	case domain.ApprovalReminded:
		b.changeApproval(e.ApprovalID, ApprovalChange{Seq: r.Position.Seq, Account: r.Account, Reminders: &e.Count})
	case domain.ApprovalExpired:
		b.changeApproval(e.ApprovalID, to(r, domain.ApprovalHasExpired))
	case domain.PermissionReplaced:
		b.cancel(r, e.Cancels, "the permission it stands on was replaced")
	case domain.PermissionRevoked:
		b.cancel(r, e.Cancels, "the permission it stands on was revoked")
	case domain.AccountOpened, domain.AccountSettingsChanged, domain.MemberAdded, domain.MemberRoleChanged,
		domain.MemberTokenRotated, domain.MemberRemoved, domain.AgentRegistered, domain.AgentDisabled,
		domain.AgentEnabled, domain.AgentKeyRotated, domain.AgentDriverChanged, domain.AgentLimitsSet,
		domain.AgentBudgetShared, domain.PermissionGranted, domain.DecisionSettled, domain.BudgetSet,
		domain.BudgetCharged, domain.BudgetReleased,
		domain.WebhookCreated, domain.WebhookChanged, domain.WebhookVerified, domain.WebhookPaused, domain.WebhookResumed,
		domain.WebhookDisabled, domain.WebhookEnabled, domain.WebhookSecretRotated, domain.WebhookDeleted,
		domain.WebhookTested, domain.WebhookReplayRequested, domain.WebhookReplayCancelled, domain.WebhookReplayFinished,
		domain.WebhookFailing, domain.WebhookRecovered, domain.WebhookSkipped, domain.ReceiptKeyRotated, domain.DecisionConsumed,
		domain.PassportLinkCreated, domain.PassportLinkRevoked:
	}
	return nil
}

func (b *Batch) open(r *domain.Recorded, d *domain.DecisionMade) error {
	record, err := b.stored(r)
	if err != nil {
		return err
	}
	b.approvals[approvalKey{text(r.Account), text(d.ApprovalID)}] = len(b.Approvals)
	b.Approvals = append(b.Approvals, ApprovalRow{
		Account: text(r.Account), Agent: text(r.Agent), ApprovalID: text(d.ApprovalID),
		Partition: r.Position.Partition, Seq: r.Position.Seq, RequestID: text(d.RequestID), PermissionID: text(d.PermissionID),
		State: domain.ApprovalPending, Risk: text(d.Risk), Action: text(d.Request.Action), Digest: text(d.Gate.Digest),
		MinRole: text(d.Gate.MinRole), Quorum: d.Gate.Quorum, OpenedAt: r.At,
		ExpiresAt: r.At.Add(time.Duration(d.Gate.PendingFor)), Version: r.Position.Seq, Record: record,
	})
	return nil
}

// to is the change of an approval to a state.
func to(r *domain.Recorded, state domain.ApprovalState) ApprovalChange {
	by := text(r.Actor)
	return ApprovalChange{Seq: r.Position.Seq, Account: r.Account, State: &state, ResolvedAt: &r.At, ResolvedBy: &by}
}

func (c *ApprovalChange) comment(s string) {
	s = text(s)
	c.Comment = &s
}

func (b *Batch) cancel(r *domain.Recorded, ids []domain.ApprovalID, why string) {
	for _, id := range ids {
		c := to(r, domain.ApprovalIsCancelled)
		c.Comment = &why
		b.changeApproval(id, c)
	}
}

// changeApproval changes an approval, be it a row of the batch or one from before.
func (b *Batch) changeApproval(id domain.ApprovalID, c ApprovalChange) {
	c.Account, c.ApprovalID = text(c.Account), text(id)
	key := approvalKey{c.Account, c.ApprovalID}
	if i, ok := b.approvals[key]; ok {
		p := &b.Approvals[i]
		p.Version = c.Seq
		set(&p.State, c.State)
		set(&p.ResolvedAt, c.ResolvedAt)
		set(&p.ResolvedBy, c.ResolvedBy)
		set(&p.ExpiresAt, c.ExpiresAt)
		set(&p.UsedBy, c.UsedBy)
		set(&p.Comment, c.Comment)
		set(&p.Shared, c.Shared)
		set(&p.Reminders, c.Reminders)
		return
	}
	i, ok := b.approvalChanges[key]
	if !ok {
		b.approvalChanges[key] = len(b.ApprovalChanges)
		b.ApprovalChanges = append(b.ApprovalChanges, c)
		return
	}
	old := &b.ApprovalChanges[i]
	old.Seq = c.Seq
	later(&old.State, c.State)
	later(&old.ResolvedAt, c.ResolvedAt)
	later(&old.ResolvedBy, c.ResolvedBy)
	later(&old.ExpiresAt, c.ExpiresAt)
	later(&old.UsedBy, c.UsedBy)
	later(&old.Comment, c.Comment)
	later(&old.Shared, c.Shared)
	later(&old.Reminders, c.Reminders)
}

func later[T any](into **T, from *T) {
	if from != nil {
		*into = from
	}
}

// vote adds a yes. Where a person said it before, that one stays.
func (b *Batch) vote(r *domain.Recorded, id domain.ApprovalID, by domain.MemberID, comment string, self bool) {
	b.Votes = append(b.Votes, VoteRow{
		Account: text(r.Account), ApprovalID: text(id), MemberID: text(by), Seq: r.Position.Seq, At: r.At,
		Comment: text(comment), Self: self,
	})
}
