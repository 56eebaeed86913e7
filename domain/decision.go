package domain

import (
	"fmt"
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

// The rules in the order in which they are applied.
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
	Checks          []Check      `json:"checks"`
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
	dst = append(dst, `,"checks":`...)
	return append(appendChecks(dst, d.Checks), '}')
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
	ApprovalID      string       `json:"approvalId,omitempty"`
	Action          Action       `json:"action"`
	Vendor          string       `json:"vendor,omitempty"`
	Resource        string       `json:"resource,omitempty"`
	Amount          Decimal      `json:"amount,omitempty"`
	Currency        Currency     `json:"currency,omitempty"`
	PassportVersion uint64       `json:"passportVersion"`
	Position        string       `json:"position"`
	DecidedAt       time.Time    `json:"decidedAt"`
	// Checks are given where a decision is read again, not where it is made.
	Checks []Check `json:"checks,omitzero"`
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
		ReasonCode: d.ReasonCode, Reason: d.Reason, RiskLevel: d.Risk, PermissionID: d.PermissionID,
		Action: d.Request.Action, Vendor: d.Request.Vendor, Resource: d.Request.Resource,
		Amount: d.Request.Amount, Currency: d.Request.Currency,
		PassportVersion: d.PassportVersion, Position: r.Position.String(), DecidedAt: r.At.UTC(),
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
	dst = appendMember(dst, "approvalId", p.ApprovalID)
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
	if p.Checks != nil {
		dst = append(dst, `,"checks":`...)
		dst = appendChecks(dst, p.Checks)
	}
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
