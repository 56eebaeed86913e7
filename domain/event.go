package domain

import "time"

// Event is a fact that was recorded. The set is closed: only this package adds
// to it, and a switch over Event must name every member.
//
//sumtype:decl
type Event interface {
	Kind() Kind
	event()
}

// Kind is the stored name of an event: noun.verb_past.vN.
type Kind string

// Every kind ever written. Add; never edit or remove.
const (
	KindAccountOpened          Kind = "account.opened.v1"
	KindAccountSettingsChanged Kind = "account.settings_changed.v1"
	KindMemberAdded            Kind = "member.added.v1"
	KindMemberRoleChanged      Kind = "member.role_changed.v1"
	KindMemberTokenRotated     Kind = "member.token_rotated.v1"
	KindMemberRemoved          Kind = "member.removed.v1"
	KindAgentRegistered        Kind = "agent.registered.v1"
	KindAgentDisabled          Kind = "agent.disabled.v1"
	KindAgentEnabled           Kind = "agent.enabled.v1"
	KindAgentKeyRotated        Kind = "agent.key_rotated.v1"
	KindPermissionGranted      Kind = "permission.granted.v1"
	KindPermissionReplaced     Kind = "permission.replaced.v1"
	KindPermissionRevoked      Kind = "permission.revoked.v1"
	KindDecisionMade           Kind = "decision.made.v1"
	KindDecisionSettled        Kind = "decision.settled.v1"
	KindAgentDriverChanged     Kind = "agent.driver_changed.v1"
	KindAgentLimitsSet         Kind = "agent.limits_set.v1"
	KindAgentBudgetShared      Kind = "agent.budget_shared.v1"
	KindApprovalVoted          Kind = "approval.voted.v1"
	KindApprovalApproved       Kind = "approval.approved.v1"
	KindApprovalDenied         Kind = "approval.denied.v1"
	KindApprovalCancelled      Kind = "approval.cancelled.v1"
	KindApprovalReminded       Kind = "approval.reminded.v1"
	KindApprovalExpired        Kind = "approval.expired.v1"
	KindBudgetSet              Kind = "budget.set.v1"
	KindBudgetCharged          Kind = "budget.charged.v1"
	KindBudgetReleased         Kind = "budget.released.v1"
	KindWebhookCreated         Kind = "webhook.created.v1"
	KindWebhookChanged         Kind = "webhook.changed.v1"
	KindWebhookVerified        Kind = "webhook.verified.v1"
	KindWebhookPaused          Kind = "webhook.paused.v1"
	KindWebhookResumed         Kind = "webhook.resumed.v1"
	KindWebhookDisabled        Kind = "webhook.disabled.v1"
	KindWebhookEnabled         Kind = "webhook.enabled.v1"
	KindWebhookSecretRotated   Kind = "webhook.secret_rotated.v1"
	KindWebhookDeleted         Kind = "webhook.deleted.v1"
	KindWebhookTested          Kind = "webhook.tested.v1"
	KindWebhookReplayRequested Kind = "webhook.replay_requested.v1"
	KindWebhookReplayCancelled Kind = "webhook.replay_cancelled.v1"
	KindWebhookReplayFinished  Kind = "webhook.replay_finished.v1"
	KindWebhookFailing         Kind = "webhook.failing.v1"
	KindWebhookRecovered       Kind = "webhook.recovered.v1"
	KindWebhookSkipped         Kind = "webhook.skipped.v1"
	KindReceiptKeyRotated      Kind = "receipt_key.rotated.v1"
	KindDecisionConsumed       Kind = "decision.consumed.v1"
	KindPassportLinkCreated    Kind = "passport.link_created.v1"
	KindPassportLinkRevoked    Kind = "passport.link_revoked.v1"
)

// Kinds lists every kind, oldest first.
func Kinds() []Kind {
	return []Kind{
		KindAccountOpened, KindAccountSettingsChanged,
		KindMemberAdded, KindMemberRoleChanged, KindMemberTokenRotated, KindMemberRemoved,
		KindAgentRegistered, KindAgentDisabled, KindAgentEnabled, KindAgentKeyRotated,
		KindPermissionGranted, KindPermissionReplaced, KindPermissionRevoked,
		KindDecisionMade,
		KindDecisionSettled, KindAgentDriverChanged, KindAgentLimitsSet, KindAgentBudgetShared,
		KindApprovalVoted, KindApprovalApproved, KindApprovalDenied, KindApprovalCancelled,
		KindApprovalReminded, KindApprovalExpired,
		KindBudgetSet, KindBudgetCharged, KindBudgetReleased,
		KindWebhookCreated, KindWebhookChanged, KindWebhookVerified, KindWebhookPaused, KindWebhookResumed,
		KindWebhookDisabled, KindWebhookEnabled, KindWebhookSecretRotated, KindWebhookDeleted, KindWebhookTested,
		KindWebhookReplayRequested, KindWebhookReplayCancelled, KindWebhookReplayFinished,
		KindWebhookFailing, KindWebhookRecovered, KindWebhookSkipped,
		KindReceiptKeyRotated, KindDecisionConsumed,
		KindPassportLinkCreated, KindPassportLinkRevoked,
	}
}

// The facts about an account and its members. They share the account's subject.
type (
	// AccountOpened begins an account, together with its owner: one event, so
	// that no account exists that nobody can manage.
	AccountOpened struct {
		Name     string    `json:"name"`
		Currency Currency  `json:"currency"` // default for requests that name none
		Owner    MemberID  `json:"owner"`
		Token    TokenHash `json:"tokenHash"`
	}
	// AccountSettingsChanged carries the settings as they stand afterwards. One
	// that is absent is the default.
	AccountSettingsChanged struct {
		Name      string            `json:"name"`
		Currency  Currency          `json:"currency"`
		TimeZone  string            `json:"timeZone,omitempty"`
		Approvals *ApprovalSettings `json:"approvals,omitzero"`
		// DecisionRetention is how long decisions are kept that nothing depends on,
		// 0 for ever.
		DecisionRetention Duration `json:"decisionRetention,omitzero"`
	}
	// MemberAdded lets a person or a tool of theirs act for the account.
	MemberAdded struct {
		MemberID MemberID  `json:"memberId"`
		Name     string    `json:"name"` // a handle for the audit trail; it is kept for ever
		Role     Role      `json:"role"`
		Token    TokenHash `json:"tokenHash"`
	}
	MemberRoleChanged struct {
		MemberID MemberID `json:"memberId"`
		Role     Role     `json:"role"`
	}
	// MemberTokenRotated makes the token before it worthless.
	MemberTokenRotated struct {
		MemberID MemberID  `json:"memberId"`
		Token    TokenHash `json:"tokenHash"`
	}
	MemberRemoved struct {
		MemberID MemberID `json:"memberId"`
	}
)

// The facts about one agent: all that decides what it may do next. They share
// the agent's subject, which is the fence of its decisions.
type (
	// AgentRegistered begins an agent with an empty passport.
	AgentRegistered struct {
		Name       string    `json:"name"`
		Type       AgentType `json:"type"`
		Provider   string    `json:"provider,omitempty"`
		Label      string    `json:"label,omitempty"`
		ExternalID string    `json:"externalId,omitempty"`
		// Driver is the member whose work the agent does, or empty.
		Driver MemberID `json:"driver,omitempty"`
		// Key is empty for a connected agent that has no key.
		Key TokenHash `json:"keyHash,omitempty"`
	}
	// AgentDisabled denies whatever the agent asks, until it is enabled.
	AgentDisabled struct {
		Reason string `json:"reason,omitempty"`
	}
	AgentEnabled struct{}
	// AgentKeyRotated makes the key before it worthless.
	AgentKeyRotated struct {
		Key TokenHash `json:"keyHash"`
	}
	PermissionGranted struct {
		PermissionID PermissionID `json:"permissionId"`
		Terms        Terms        `json:"terms"`
	}
	// PermissionReplaced is one event, so that no moment exists in which both
	// or neither of the terms hold, nor one in which an approval given under the
	// old terms is good under the new ones: it names those it cancels.
	PermissionReplaced struct {
		PermissionID PermissionID `json:"permissionId"`
		Terms        Terms        `json:"terms"`
		Cancels      []ApprovalID `json:"cancels,omitzero"`
	}
	PermissionRevoked struct {
		PermissionID PermissionID `json:"permissionId"`
		Reason       string       `json:"reason,omitempty"`
		Cancels      []ApprovalID `json:"cancels,omitzero"`
	}
	// AgentDriverChanged says whose work the agent does from now on, or nobody's.
	AgentDriverChanged struct {
		Driver MemberID `json:"driver,omitempty"`
	}
	// AgentLimitsSet limits all permissions of the agent together. It carries
	// the limits as they stand afterwards.
	AgentLimitsSet struct {
		Limits
	}
	// AgentBudgetShared says whether the agent spends from the account's limits
	// too. It is on the agent's stream because a decision depends on it.
	AgentBudgetShared struct {
		Shared bool `json:"shared"`
		// Budget is the sequence of the event that set the limits, or ended them.
		Budget uint64 `json:"budget"`
	}
	// DecisionSettled reports what came of an allow that spent. What it spent
	// less than was reserved is given back.
	DecisionSettled struct {
		RequestID RequestID     `json:"requestId"`
		Outcome   ActionOutcome `json:"outcome"`
		// Amount is what was spent in fact, when the allow reserved an amount.
		Amount   Decimal  `json:"amount,omitempty"`
		Currency Currency `json:"currency,omitempty"`
	}
)

// The facts about an approval after the decision that opened it. They are the
// agent's, since they decide what it may do next.
type (
	// ApprovalVoted is a yes that others have to join.
	ApprovalVoted struct {
		ApprovalID ApprovalID `json:"approvalId"`
		MemberID   MemberID   `json:"memberId"`
		Comment    string     `json:"comment,omitempty"`
		// Self says that the agent's own driver voted, as the account allows.
		Self bool `json:"self,omitzero"`
	}
	// ApprovalApproved is the yes that completes an approval. It can be used
	// once, before it expires.
	ApprovalApproved struct {
		ApprovalID ApprovalID `json:"approvalId"`
		MemberID   MemberID   `json:"memberId"`
		Comment    string     `json:"comment,omitempty"`
		Self       bool       `json:"self,omitzero"`
		// Voters are all whose yes counted, MemberID last.
		Voters []MemberID `json:"voters"`
		// SelfVoters are those among them who drive the agent.
		SelfVoters []MemberID `json:"selfVoters,omitzero"`
		ExpiresAt  time.Time  `json:"expiresAt"`
	}
	// ApprovalDenied is a no. It answers the same request until StickyUntil.
	ApprovalDenied struct {
		ApprovalID ApprovalID `json:"approvalId"`
		MemberID   MemberID   `json:"memberId"`
		Comment    string     `json:"comment,omitempty"`
		// Shared says that the agent may read the comment.
		Shared      bool      `json:"shared,omitzero"`
		StickyUntil time.Time `json:"stickyUntil"`
	}
	// ApprovalCancelled takes an approval, open or given, back: by a member, or,
	// without a MemberID, by the agent itself.
	ApprovalCancelled struct {
		ApprovalID ApprovalID `json:"approvalId"`
		MemberID   MemberID   `json:"memberId,omitempty"`
		Comment    string     `json:"comment,omitempty"`
	}
	// ApprovalReminded says that reviewers were told again of an open approval.
	ApprovalReminded struct {
		ApprovalID ApprovalID `json:"approvalId"`
		// Count is the number of the reminder, from 1 on. One that was missed is not
		// made up for.
		Count int `json:"count"`
	}
	// ApprovalExpired follows when the time of an approval, open or given, is
	// over. It is over whether or not this was recorded.
	ApprovalExpired struct {
		ApprovalID ApprovalID `json:"approvalId"`
	}
)

// The facts about what all agents of an account spend together. They have a
// stream of their own, so that spending never stands in the way of managing.
type (
	// BudgetSet carries the account's limits as they stand afterwards.
	BudgetSet struct {
		Limits
	}
	// BudgetCharged is one allow. It is recorded together with its decision.
	BudgetCharged struct {
		RequestID RequestID `json:"requestId"`
		Amount    Decimal   `json:"amount,omitempty"`
		Currency  Currency  `json:"currency,omitempty"`
	}
	// BudgetReleased gives back what an allow reserved and didn't spend. It is
	// recorded together with the settlement.
	BudgetReleased struct {
		RequestID RequestID `json:"requestId"`
		Amount    Decimal   `json:"amount"`
		Currency  Currency  `json:"currency"`
		// ChargedAt and ChargedOn are the time of the allow, and the version of
		// the budget it was charged on: they say which windows it counts in.
		ChargedAt time.Time `json:"chargedAt"`
		ChargedOn uint64    `json:"chargedOn"`
	}
)

func (AccountOpened) Kind() Kind          { return KindAccountOpened }
func (AccountSettingsChanged) Kind() Kind { return KindAccountSettingsChanged }
func (MemberAdded) Kind() Kind            { return KindMemberAdded }
func (MemberRoleChanged) Kind() Kind      { return KindMemberRoleChanged }
func (MemberTokenRotated) Kind() Kind     { return KindMemberTokenRotated }
func (MemberRemoved) Kind() Kind          { return KindMemberRemoved }
func (AgentRegistered) Kind() Kind        { return KindAgentRegistered }
func (AgentDisabled) Kind() Kind          { return KindAgentDisabled }
func (AgentEnabled) Kind() Kind           { return KindAgentEnabled }
func (AgentKeyRotated) Kind() Kind        { return KindAgentKeyRotated }
func (PermissionGranted) Kind() Kind      { return KindPermissionGranted }
func (PermissionReplaced) Kind() Kind     { return KindPermissionReplaced }
func (PermissionRevoked) Kind() Kind      { return KindPermissionRevoked }
func (DecisionMade) Kind() Kind           { return KindDecisionMade }
func (DecisionSettled) Kind() Kind        { return KindDecisionSettled }
func (AgentDriverChanged) Kind() Kind     { return KindAgentDriverChanged }
func (AgentLimitsSet) Kind() Kind         { return KindAgentLimitsSet }
func (AgentBudgetShared) Kind() Kind      { return KindAgentBudgetShared }
func (ApprovalVoted) Kind() Kind          { return KindApprovalVoted }
func (ApprovalApproved) Kind() Kind       { return KindApprovalApproved }
func (ApprovalDenied) Kind() Kind         { return KindApprovalDenied }
func (ApprovalCancelled) Kind() Kind      { return KindApprovalCancelled }
func (ApprovalReminded) Kind() Kind       { return KindApprovalReminded }
func (ApprovalExpired) Kind() Kind        { return KindApprovalExpired }
func (BudgetSet) Kind() Kind              { return KindBudgetSet }
func (BudgetCharged) Kind() Kind          { return KindBudgetCharged }
func (BudgetReleased) Kind() Kind         { return KindBudgetReleased }

func (AccountOpened) event()          {}
func (AccountSettingsChanged) event() {}
func (MemberAdded) event()            {}
func (MemberRoleChanged) event()      {}
func (MemberTokenRotated) event()     {}
func (MemberRemoved) event()          {}
func (AgentRegistered) event()        {}
func (AgentDisabled) event()          {}
func (AgentEnabled) event()           {}
func (AgentKeyRotated) event()        {}
func (PermissionGranted) event()      {}
func (PermissionReplaced) event()     {}
func (PermissionRevoked) event()      {}
func (DecisionMade) event()           {}
func (DecisionSettled) event()        {}
func (AgentDriverChanged) event()     {}
func (AgentLimitsSet) event()         {}
func (AgentBudgetShared) event()      {}
func (ApprovalVoted) event()          {}
func (ApprovalApproved) event()       {}
func (ApprovalDenied) event()         {}
func (ApprovalCancelled) event()      {}
func (ApprovalReminded) event()       {}
func (ApprovalExpired) event()        {}
func (BudgetSet) event()              {}
func (BudgetCharged) event()          {}
func (BudgetReleased) event()         {}

// Actor is who did something: "member:" and a member id, "agent:" and an agent
// id, or "system:" and the name of a part of Behalf.
type Actor string

// ByMember is the actor for a member.
func ByMember(id MemberID) Actor { return Actor("member:" + id) }

// ByAgent is the actor for an agent.
func ByAgent(id AgentID) Actor { return Actor("agent:" + id) }

// BySystem is the actor for a part of Behalf itself.
func BySystem(part string) Actor { return Actor("system:" + part) }

// Record is an event with what everyone wants to know of it, on its way into
// the log.
type Record struct {
	ID EventID
	// At is decided once, by the writer, in UTC.
	At      time.Time
	Actor   Actor
	Account AccountID
	Agent   AgentID // empty for events of the account itself
	// Cause is the id of the request or event that led to this one, or empty.
	Cause string
	Event Event
	// Keep is how long the log has to keep the record, 0 for ever. Only a decision
	// that moves nothing may be let go. It is the log's to remember, beside the
	// stored form.
	Keep time.Duration
}

// Stream is where the record's state lives, and so the subject that guards it.
func (r Record) Stream() Stream {
	if isBudgets(r.Event) {
		return Stream{Account: r.Account, Budget: true}
	}
	return Stream{Account: r.Account, Agent: r.Agent}
}

// isBudgets reports whether an event is one of what all agents of an account
// spend together.
func isBudgets(e Event) bool {
	_, set := e.(BudgetSet)
	_, charged := e.(BudgetCharged)
	_, released := e.(BudgetReleased)
	return set || charged || released
}

// Moves reports whether the record is one of its stream's events. A decision
// that changes nothing isn't, nor is the consumption of one: they are guarded by
// the stream and lie beside it.
func (r Record) Moves() bool {
	if d, ok := r.Event.(DecisionMade); ok {
		return d.Moves()
	}
	_, beside := r.Event.(DecisionConsumed)
	return !beside
}

// Recorded is a record in the log.
type Recorded struct {
	Record
	Position Position
	// Last is the version of its stream the record was appended on: the
	// sequence of the stream's newest event then, 0 for none.
	Last uint64
	// LoggedAt is the log's own clock, the check on At.
	LoggedAt time.Time
}

// Guarded is a record and the version of its stream that it stands on.
type Guarded struct {
	Record
	// Last is the sequence of the stream's newest event, 0 for none.
	Last uint64
}

// Stream names the events that are folded into one state: an account's own
// (Agent is empty), those of what all its agents spend together (Budget), or an
// agent's. A decision belongs to its agent's stream if it changes what the agent
// may do next; otherwise it is only guarded by it.
type Stream struct {
	Account AccountID
	Agent   AgentID
	Budget  bool
}

func (s Stream) String() string {
	if s.Budget {
		return string(s.Account) + "/budget"
	}
	if s.Agent == "" {
		return string(s.Account)
	}
	return string(s.Account) + "/" + string(s.Agent)
}
