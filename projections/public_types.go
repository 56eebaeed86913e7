package projections

// PublicType names what a public event says: a noun and what happened to it,
// with one dot between. It is two tokens of the event's subject.
type PublicType string

// Every type there is. Add; never edit or remove. An event that concerns no
// agent has the agent's token "_".
const (
	VerificationAllowed          PublicType = "verification.allowed"
	VerificationDenied           PublicType = "verification.denied"
	VerificationRequiresApproval PublicType = "verification.requires_approval"
	VerificationSettled          PublicType = "verification.settled"

	ApprovalRequested PublicType = "approval.requested"
	ApprovalVoted     PublicType = "approval.voted"
	ApprovalApproved  PublicType = "approval.approved"
	ApprovalDenied    PublicType = "approval.denied"
	ApprovalCancelled PublicType = "approval.cancelled"
	ApprovalReminded  PublicType = "approval.reminded"
	ApprovalExpired   PublicType = "approval.expired"
	ApprovalUsed      PublicType = "approval.used"

	PermissionGranted  PublicType = "permission.granted"
	PermissionReplaced PublicType = "permission.replaced"
	PermissionRevoked  PublicType = "permission.revoked"

	AgentRegistered    PublicType = "agent.registered"
	AgentDisabled      PublicType = "agent.disabled"
	AgentEnabled       PublicType = "agent.enabled"
	AgentKeyRotated    PublicType = "agent.key_rotated"
	AgentDriverChanged PublicType = "agent.driver_changed"
	AgentLimitsSet     PublicType = "agent.limits_set"
	AgentBudgetShared  PublicType = "agent.budget_shared"

	BudgetSet       PublicType = "budget.set"
	BudgetExhausted PublicType = "budget.exhausted"

	AccountOpened          PublicType = "account.opened"
	AccountSettingsChanged PublicType = "account.settings_changed"

	MemberAdded        PublicType = "member.added"
	MemberRoleChanged  PublicType = "member.role_changed"
	MemberTokenRotated PublicType = "member.token_rotated"
	MemberRemoved      PublicType = "member.removed"

	WebhookCreated         PublicType = "webhook.created"
	WebhookChanged         PublicType = "webhook.changed"
	WebhookVerified        PublicType = "webhook.verified"
	WebhookPaused          PublicType = "webhook.paused"
	WebhookResumed         PublicType = "webhook.resumed"
	WebhookDisabled        PublicType = "webhook.disabled"
	WebhookEnabled         PublicType = "webhook.enabled"
	WebhookSecretRotated   PublicType = "webhook.secret_rotated"
	WebhookDeleted         PublicType = "webhook.deleted"
	WebhookReplayRequested PublicType = "webhook.replay_requested"
	WebhookReplayCancelled PublicType = "webhook.replay_cancelled"
	WebhookReplayFinished  PublicType = "webhook.replay_finished"
	WebhookFailing         PublicType = "webhook.failing"
	WebhookRecovered       PublicType = "webhook.recovered"
	WebhookSkipped         PublicType = "webhook.skipped"

	PassportLinkCreated PublicType = "passport.link_created"
	PassportLinkRevoked PublicType = "passport.link_revoked"

	DecisionConsumed  PublicType = "decision.consumed"
	ReceiptKeyRotated PublicType = "receipt_key.rotated"
)

// PublicTypes lists every type, those of one noun together.
func PublicTypes() []PublicType {
	return []PublicType{
		VerificationAllowed, VerificationDenied, VerificationRequiresApproval, VerificationSettled,
		ApprovalRequested, ApprovalVoted, ApprovalApproved, ApprovalDenied, ApprovalCancelled,
		ApprovalReminded, ApprovalExpired, ApprovalUsed,
		PermissionGranted, PermissionReplaced, PermissionRevoked,
		AgentRegistered, AgentDisabled, AgentEnabled, AgentKeyRotated, AgentDriverChanged,
		AgentLimitsSet, AgentBudgetShared,
		BudgetSet, BudgetExhausted,
		AccountOpened, AccountSettingsChanged,
		MemberAdded, MemberRoleChanged, MemberTokenRotated, MemberRemoved,
		WebhookCreated, WebhookChanged, WebhookVerified, WebhookPaused, WebhookResumed, WebhookDisabled, WebhookEnabled,
		WebhookSecretRotated, WebhookDeleted, WebhookReplayRequested, WebhookReplayCancelled, WebhookReplayFinished,
		WebhookFailing, WebhookRecovered, WebhookSkipped,
		PassportLinkCreated, PassportLinkRevoked,
		DecisionConsumed, ReceiptKeyRotated,
	}
}
