package domain

import (
	"fmt"
	"strconv"
	"time"
)

// Outcome is what a decision says. The zero Outcome is not one and allows nothing.
type Outcome string

const (
	OutcomeAllowed          Outcome = "allowed"
	OutcomeDenied           Outcome = "denied"
	OutcomeRequiresApproval Outcome = "requires_approval"
)

// Risk is how much can go wrong with the action itself, whatever the outcome.
type Risk string

const (
	RiskLow    Risk = "low"
	RiskMedium Risk = "medium"
	RiskHigh   Risk = "high"
)

// Check is one rule that was applied, and how it came out.
type Check struct {
	// PermissionID is empty for a rule about the agent as a whole.
	PermissionID PermissionID `json:"permissionId,omitempty"`
	Rule         Rule         `json:"rule"`
	Passed       bool         `json:"passed"`
	// Detail says in words why it did not pass.
	Detail string `json:"detail,omitempty"`
}

// Rule names what a check looked at.
type Rule string

// The rules, in the order in which they are applied to a permission and then to
// all together.
const (
	RuleAgent    Rule = "agent"
	RuleActive   Rule = "active"
	RuleBlocked  Rule = "blocked"
	RuleAction   Rule = "action"
	RuleResource Rule = "resource"
	RuleVendor   Rule = "vendor"
	RuleAmount   Rule = "amount"
	RuleContext  Rule = "context"
	RulePath     Rule = "path"
	RuleCommand  Rule = "command"
	RuleTime     Rule = "time"
	RuleRate     Rule = "rate"
	RuleBudget   Rule = "budget"
	// The account's limits, which all its agents share.
	RuleAccountRate   Rule = "accountRate"
	RuleAccountBudget Rule = "accountBudget"
	RuleApproval      Rule = "approval"
)

// DecisionMade is the record of a decision: all that was evaluated, and all
// that came of it. With the passport at its version, and the record's time, it
// can be derived again to the byte.
type DecisionMade struct {
	RequestID RequestID `json:"requestId"`
	// RequestDigest tells a repeat of an idempotency key from its misuse. It is
	// empty when the request had no key.
	RequestDigest   string       `json:"requestDigest,omitempty"`
	Request         Request      `json:"request"`
	PassportVersion uint64       `json:"passportVersion"`
	Outcome         Outcome      `json:"outcome"`
	ReasonCode      ReasonCode   `json:"reasonCode"`
	Reason          string       `json:"reason"`
	Risk            Risk         `json:"riskLevel"`
	PermissionID    PermissionID `json:"permissionId,omitempty"`
	// ApprovalID is the approval that is asked for, that stands in the way, or
	// that an allow used.
	ApprovalID ApprovalID `json:"approvalId,omitempty"`
	// Gate is there when a new approval was asked for, whether or not one could
	// be opened.
	Gate *Gate `json:"gate,omitzero"`
	// Spends says that the allow counts against limits.
	Spends bool `json:"spends,omitzero"`
	// BudgetVersion is the version of the account's limits the decision was made
	// on, absent for an agent that doesn't share them.
	BudgetVersion uint64 `json:"budgetVersion,omitzero"`
	// WindowEndsAt is when there is more again of the limit that is used up.
	WindowEndsAt time.Time `json:"windowEndsAt,omitzero"`
	Checks       []Check   `json:"checks"`
}

// Opens reports whether the decision opens an approval.
func (d *DecisionMade) Opens() bool { return d.Outcome == OutcomeRequiresApproval && d.Gate != nil }

// Uses reports whether the decision is an allow that uses an approval.
func (d *DecisionMade) Uses() bool { return d.Outcome == OutcomeAllowed && d.ApprovalID != "" }

// Moves reports whether the decision changes what its agent may do next. It is
// then an event of the agent's, and the fence lets one of its kind through at a
// time.
func (d *DecisionMade) Moves() bool { return d.Spends || d.Opens() || d.Uses() }

// Name gives the decision its ids, and the approval it opens one that goes with
// them.
func (d *DecisionMade) Name(ulid string) {
	d.RequestID = RequestID(RequestPrefix + ulid)
	if d.Opens() {
		d.ApprovalID = ApprovalID(ApprovalPrefix + ulid)
	}
}

// append appends the stored form: what a reflecting encoder makes of the
// struct's tags, without the reflection.
func (d *DecisionMade) append(dst []byte) []byte {
	dst = append(dst, `{"requestId":`...)
	dst = appendText(dst, d.RequestID)
	dst = appendMember(dst, "requestDigest", d.RequestDigest)
	dst = append(dst, `,"request":`...)
	dst = d.Request.append(dst)
	dst = appendUint(dst, "passportVersion", d.PassportVersion)
	dst = append(dst, `,"outcome":`...)
	dst = appendText(dst, d.Outcome)
	dst = append(dst, `,"reasonCode":`...)
	dst = appendText(dst, d.ReasonCode)
	dst = append(dst, `,"reason":`...)
	dst = appendText(dst, d.Reason)
	dst = append(dst, `,"riskLevel":`...)
	dst = appendText(dst, d.Risk)
	dst = appendMember(dst, "permissionId", string(d.PermissionID))
	dst = appendMember(dst, "approvalId", string(d.ApprovalID))
	if d.Gate != nil {
		dst = append(dst, `,"gate":`...)
		dst = d.Gate.append(dst)
	}
	if d.Spends {
		dst = append(dst, `,"spends":true`...)
	}
	if d.BudgetVersion != 0 {
		dst = appendUint(dst, "budgetVersion", d.BudgetVersion)
	}
	if !d.WindowEndsAt.IsZero() {
		dst = append(dst, `,"windowEndsAt":"`...)
		dst = append(d.WindowEndsAt.AppendFormat(dst, time.RFC3339Nano), '"') // in its own zone: in UTC its year may be one that can't be read
	}
	dst = append(dst, `,"checks":`...)
	return append(appendChecks(dst, d.Checks), '}')
}

func (g *Gate) append(dst []byte) []byte {
	dst = append(dst, `{"digest":`...)
	dst = appendText(dst, g.Digest)
	dst = appendMember(dst, "pendingFor", g.PendingFor.String())
	dst = appendMember(dst, "validFor", g.ValidFor.String())
	dst = appendMember(dst, "denialFor", g.DenialFor.String())
	dst = appendMember(dst, "remindEvery", g.RemindEvery.String())
	dst = append(dst, `,"minRole":`...)
	dst = appendText(dst, g.MinRole)
	dst = append(dst, `,"quorum":`...)
	dst = strconv.AppendInt(dst, int64(g.Quorum), 10)
	dst = append(dst, `,"mostPending":`...)
	dst = strconv.AppendInt(dst, int64(g.MostPending), 10)
	if g.With == nil {
		return append(dst, '}')
	}
	dst = append(dst, `,"with":[`...)
	for i, id := range g.With {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, id)
	}
	return append(dst, `]}`...)
}

func (r *Request) append(dst []byte) []byte {
	dst = append(dst, `{"action":`...)
	dst = appendText(dst, r.Action)
	dst = appendMember(dst, "vendor", r.Vendor)
	dst = appendMember(dst, "resource", r.Resource)
	dst = appendMember(dst, "amount", string(r.Amount))
	dst = appendMember(dst, "currency", string(r.Currency))
	if r.DefaultCurrency {
		dst = append(dst, `,"defaultCurrency":true`...)
	}
	dst = appendMember(dst, "path", r.Path)
	dst = appendMember(dst, "command", r.Command)
	dst = appendMember(dst, "cwd", r.Cwd)
	if r.Context != (Facts{}) {
		dst = append(dst, `,"context":{`...)
		start := len(dst)
		dst = appendMember(dst, "branch", r.Context.Branch)
		dst = appendMember(dst, "environment", r.Context.Environment)
		dst = appendMember(dst, "repository", r.Context.Repository)
		dst = append(append(dst[:start], dst[start+1:]...), '}') // no comma before the first
	}
	dst = appendMember(dst, "argumentsDigest", r.ArgumentsDigest)
	return append(dst, '}')
}

func appendChecks(dst []byte, checks []Check) []byte {
	dst = append(dst, '[')
	for i, c := range checks {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		if c.PermissionID != "" {
			dst = append(dst, `"permissionId":`...)
			dst = append(appendText(dst, c.PermissionID), ',')
		}
		dst = append(dst, `"rule":`...)
		dst = appendText(dst, c.Rule)
		if c.Passed {
			dst = append(dst, `,"passed":true`...)
		} else {
			dst = append(dst, `,"passed":false`...)
		}
		dst = appendMember(dst, "detail", c.Detail)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// Packet is the answer to a verify, made from the recorded decision and from
// nothing else: whoever reads the same record answers the same bytes.
type Packet struct {
	RequestID       RequestID    `json:"requestId"`
	AgentID         AgentID      `json:"agentId"`
	Decision        Outcome      `json:"decision"`
	Allowed         bool         `json:"allowed"`
	ReasonCode      ReasonCode   `json:"reasonCode"`
	Reason          string       `json:"reason"`
	RiskLevel       Risk         `json:"riskLevel"`
	PermissionID    PermissionID `json:"permissionId,omitempty"`
	ApprovalID      ApprovalID   `json:"approvalId,omitempty"`
	Action          Action       `json:"action"`
	Vendor          string       `json:"vendor,omitempty"`
	Resource        string       `json:"resource,omitempty"`
	Amount          Decimal      `json:"amount,omitempty"`
	Currency        Currency     `json:"currency,omitempty"`
	PassportVersion uint64       `json:"passportVersion"`
	Position        string       `json:"position"`
	DecidedAt       time.Time    `json:"decidedAt"`
	// WindowEndsAt is when there is more again of the limit that is used up.
	WindowEndsAt time.Time `json:"windowEndsAt,omitzero"`
	// Reserved says that the allow spent from limits or used an approval, and
	// that its outcome can be reported.
	Reserved bool `json:"reserved,omitzero"`
	// Checks are given where a decision is read again, not where it is made.
	Checks []Check `json:"checks,omitzero"`
	// Receipt is a signed allow, given where the decision is made.
	Receipt string `json:"receipt,omitempty"`
	// These two repeat Decision and RiskLevel for clients of the reference API.
	ApprovalRequired bool `json:"approvalRequired"`
	Risk             Risk `json:"risk"`
}

// PacketOf is the packet of a recorded decision.
func PacketOf(r Recorded) (Packet, error) {
	d, ok := r.Event.(DecisionMade)
	if !ok {
		return Packet{}, fmt.Errorf("event %d is %s, not a decision", r.Position.Seq, r.Event.Kind())
	}
	return Packet{
		RequestID: d.RequestID, AgentID: r.Agent, Decision: d.Outcome,
		// Not merely what the record claims: an outcome this program doesn't
		// know is never an allow.
		Allowed:    d.Outcome == OutcomeAllowed,
		ReasonCode: d.ReasonCode, Reason: d.Reason, RiskLevel: d.Risk,
		PermissionID: d.PermissionID, ApprovalID: d.ApprovalID,
		Action: d.Request.Action, Vendor: d.Request.Vendor, Resource: d.Request.Resource,
		Amount: d.Request.Amount, Currency: d.Request.Currency,
		PassportVersion: d.PassportVersion, Position: r.Position.String(), DecidedAt: r.At.UTC(),
		WindowEndsAt: d.WindowEndsAt, Reserved: d.Outcome == OutcomeAllowed && d.Moves(),
		ApprovalRequired: d.Outcome == OutcomeRequiresApproval, Risk: d.Risk,
	}, nil
}

// Append appends the packet as JSON, as the struct's tags have it.
func (p *Packet) Append(dst []byte) []byte {
	dst = append(dst, `{"requestId":`...)
	dst = appendText(dst, p.RequestID)
	dst = append(dst, `,"agentId":`...)
	dst = appendText(dst, p.AgentID)
	dst = append(dst, `,"decision":`...)
	dst = appendText(dst, p.Decision)
	dst = appendBool(dst, "allowed", p.Allowed)
	dst = append(dst, `,"reasonCode":`...)
	dst = appendText(dst, p.ReasonCode)
	dst = append(dst, `,"reason":`...)
	dst = appendText(dst, p.Reason)
	dst = append(dst, `,"riskLevel":`...)
	dst = appendText(dst, p.RiskLevel)
	dst = appendMember(dst, "permissionId", string(p.PermissionID))
	dst = appendMember(dst, "approvalId", string(p.ApprovalID))
	dst = append(dst, `,"action":`...)
	dst = appendText(dst, p.Action)
	dst = appendMember(dst, "vendor", p.Vendor)
	dst = appendMember(dst, "resource", p.Resource)
	dst = appendMember(dst, "amount", string(p.Amount))
	dst = appendMember(dst, "currency", string(p.Currency))
	dst = appendUint(dst, "passportVersion", p.PassportVersion)
	dst = append(dst, `,"position":`...)
	dst = appendText(dst, p.Position)
	dst = append(dst, `,"decidedAt":`...)
	dst = appendTime(dst, p.DecidedAt)
	if !p.WindowEndsAt.IsZero() {
		dst = append(dst, `,"windowEndsAt":`...)
		dst = appendTime(dst, p.WindowEndsAt)
	}
	if p.Reserved {
		dst = append(dst, `,"reserved":true`...)
	}
	if p.Checks != nil {
		dst = append(dst, `,"checks":`...)
		dst = appendChecks(dst, p.Checks)
	}
	dst = appendMember(dst, "receipt", p.Receipt)
	dst = appendBool(dst, "approvalRequired", p.ApprovalRequired)
	dst = append(dst, `,"risk":`...)
	return append(appendText(dst, p.Risk), '}')
}

func appendBool(dst []byte, name string, v bool) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	if v {
		return append(dst, `":true`...)
	}
	return append(dst, `":false`...)
}
