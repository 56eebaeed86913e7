package domain

// ReasonCode says why a decision fell as it did. Codes are stable; the text
// beside them is for people and may change.
type ReasonCode string

// Every code a decision can carry. schemas/REASONS.md explains each.
const (
	Allowed               ReasonCode = "ALLOWED"
	AgentDisabledCode     ReasonCode = "AGENT_DISABLED"
	NoPermission          ReasonCode = "NO_PERMISSION"
	PermissionRevokedCode ReasonCode = "PERMISSION_REVOKED"
	PermissionExpired     ReasonCode = "PERMISSION_EXPIRED"
	PermissionNotYet      ReasonCode = "PERMISSION_NOT_YET_VALID"
	ActionBlocked         ReasonCode = "ACTION_BLOCKED"
	ActionNotAllowed      ReasonCode = "ACTION_NOT_ALLOWED"
	ResourceNotAllowed    ReasonCode = "RESOURCE_NOT_ALLOWED"
	VendorNotAllowed      ReasonCode = "VENDOR_NOT_ALLOWED"
	AmountRequired        ReasonCode = "AMOUNT_REQUIRED"
	CurrencyMismatch      ReasonCode = "CURRENCY_MISMATCH"
	AmountExceedsLimit    ReasonCode = "AMOUNT_EXCEEDS_LIMIT"
	ContextNotAllowed     ReasonCode = "CONTEXT_NOT_ALLOWED"
	PathNotAllowed        ReasonCode = "PATH_NOT_ALLOWED"
	CommandNotAllowed     ReasonCode = "COMMAND_NOT_ALLOWED"
	OutsideTimeWindow     ReasonCode = "OUTSIDE_TIME_WINDOW"
	RateExceeded          ReasonCode = "RATE_EXCEEDED"
	BudgetExceeded        ReasonCode = "BUDGET_EXCEEDED"
	ApprovalRequired      ReasonCode = "APPROVAL_REQUIRED"
	ApprovalDeniedCode    ReasonCode = "APPROVAL_DENIED"
	ApprovalUsed          ReasonCode = "APPROVAL_USED"
	TooManyPending        ReasonCode = "TOO_MANY_PENDING"
	// Unavailable is no decision: nothing was recorded and nothing is allowed.
	Unavailable ReasonCode = "UNAVAILABLE"
)

// ReasonCodes lists every code.
func ReasonCodes() []ReasonCode {
	return []ReasonCode{
		Allowed, AgentDisabledCode, NoPermission, PermissionRevokedCode, PermissionExpired,
		PermissionNotYet, ActionBlocked, ActionNotAllowed, ResourceNotAllowed, VendorNotAllowed,
		AmountRequired, CurrencyMismatch, AmountExceedsLimit, ContextNotAllowed, PathNotAllowed,
		CommandNotAllowed, OutsideTimeWindow, RateExceeded, BudgetExceeded,
		ApprovalRequired, ApprovalDeniedCode, ApprovalUsed, TooManyPending, Unavailable,
	}
}
