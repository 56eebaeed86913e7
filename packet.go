package behalf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Ask is what an agent asks to do. Only Action is required; a permission that
// limits something denies an ask that doesn't say it.
type Ask struct {
	// AgentID may be left out with an agent's key. A member's preview needs it.
	AgentID  string `json:"agentId,omitempty"`
	Action   string `json:"action"`
	Vendor   string `json:"vendor,omitempty"`
	Resource string `json:"resource,omitempty"`
	// Amount is a decimal number as text ("742.00"): a float can't hold money.
	Amount   string `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	Path     string `json:"path,omitempty"`
	Command  string `json:"command,omitempty"`
	Cwd      string `json:"cwd,omitempty"`
	Context  Facts  `json:"context,omitzero"`
	// Arguments are what the action will be called with, as anything that JSON
	// can hold. They are not judged; the server keeps a digest of them.
	Arguments any `json:"arguments,omitzero"`
	// IdempotencyKey makes repeating the ask safe: the repeat gets the packet of
	// the first.
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
	// AtLeast is the Position of a packet, which the server has to have seen.
	AtLeast string `json:"atLeast,omitempty"`
}

// Facts say where the agent works. They can only narrow what is allowed.
type Facts struct {
	Branch      string `json:"branch,omitempty"`
	Environment string `json:"environment,omitempty"`
	Repository  string `json:"repository,omitempty"`
}

// Outcome is what a decision says. Only [OutcomeAllowed] allows.
type Outcome string

// The outcomes there are. An answer with another one is an error.
const (
	OutcomeAllowed          Outcome = "allowed"
	OutcomeDenied           Outcome = "denied"
	OutcomeRequiresApproval Outcome = "requires_approval"
)

// Packet is a recorded decision.
type Packet struct {
	RequestID string  `json:"requestId"`
	AgentID   string  `json:"agentId"`
	Decision  Outcome `json:"decision"`
	Allowed   bool    `json:"allowed"`
	// ReasonCode is stable; Reason is for people and may change.
	ReasonCode   string `json:"reasonCode"`
	Reason       string `json:"reason"`
	RiskLevel    string `json:"riskLevel"`
	PermissionID string `json:"permissionId,omitempty"`
	// ApprovalID is what a person has to approve, or has denied or approved.
	ApprovalID string `json:"approvalId,omitempty"`
	Action     string `json:"action"`
	Vendor     string `json:"vendor,omitempty"`
	Resource   string `json:"resource,omitempty"`
	Amount     string `json:"amount,omitempty"`
	Currency   string `json:"currency,omitempty"`
	// PassportVersion is the passport the decision stands on; Position is its
	// place in the log.
	PassportVersion  uint64    `json:"passportVersion"`
	Position         string    `json:"position"`
	DecidedAt        time.Time `json:"decidedAt"`
	ApprovalRequired bool      `json:"approvalRequired"`
	// WindowEndsAt is when the limit that denied begins anew, or zero.
	WindowEndsAt time.Time `json:"windowEndsAt,omitzero"`
	// Reserved says that the allow spent, or used an approval: report what came
	// of it with [Client.Outcome].
	Reserved bool `json:"reserved,omitzero"`
	// Receipt is a signed allow to take to a service, where the server signs them;
	// see [VerifyReceipt].
	Receipt string `json:"receipt,omitempty"`
	// Checks are every rule that was applied. Only [Client.Decision] gives them.
	Checks []Check `json:"checks,omitempty"`
}

// Check is one rule that was applied, and how it came out.
type Check struct {
	PermissionID string `json:"permissionId,omitempty"`
	Rule         string `json:"rule"`
	Passed       bool   `json:"passed"`
	Detail       string `json:"detail,omitempty"`
}

// answers says why a packet is not a whole decision on what was asked, by what
// a packet shows of it. The rest of an ask, such as its path and its arguments,
// is in no packet, so only an answer to that very ask can be trusted for it.
func (p *Packet) answers(ask *Ask) error {
	switch p.Decision {
	case OutcomeAllowed, OutcomeDenied, OutcomeRequiresApproval:
	default:
		return fmt.Errorf("its decision, %q, is unknown", p.Decision)
	}
	switch {
	case p.Allowed != (p.Decision == OutcomeAllowed):
		return fmt.Errorf("it contradicts itself: decision is %q and allowed is %t", p.Decision, p.Allowed)
	case p.ApprovalRequired && p.Decision != OutcomeRequiresApproval:
		return fmt.Errorf("it contradicts itself: decision is %q and approvalRequired is true", p.Decision)
	case p.Reserved && !p.Allowed:
		return fmt.Errorf("it contradicts itself: decision is %q and reserved is true", p.Decision)
	case p.RequestID == "" || p.Position == "":
		return fmt.Errorf("it doesn't say where it is recorded")
	case p.AgentID == "" || ask.AgentID != "" && p.AgentID != ask.AgentID:
		return fmt.Errorf("it is about the agent %q, not %q", p.AgentID, ask.AgentID)
	case p.Action != ask.Action:
		return fmt.Errorf("it is about the action %q, not %q", p.Action, ask.Action)
	case p.Vendor != ask.Vendor:
		return fmt.Errorf("it is about the vendor %q, not %q", p.Vendor, ask.Vendor)
	case p.Resource != ask.Resource:
		return fmt.Errorf("it is about the resource %q, not %q", p.Resource, ask.Resource)
	case !sameAmount(p.Amount, ask.Amount):
		return fmt.Errorf("it is about the amount %q, not %q", p.Amount, ask.Amount)
	case p.Currency != ask.Currency && (ask.Currency != "" || ask.Amount == ""): // an amount may be in the account's
		return fmt.Errorf("it is about the currency %q, not %q", p.Currency, ask.Currency)
	}
	return nil
}

// sameAmount reports whether two amounts have the same value: a packet shows
// what was asked as "742" as "742.00". No amount is not an amount of zero.
func sameAmount(a, b string) bool {
	return (a == "") == (b == "") && withoutScale(a) == withoutScale(b)
}

func withoutScale(amount string) string {
	if !strings.Contains(amount, ".") {
		return amount
	}
	return strings.TrimSuffix(strings.TrimRight(amount, "0"), ".")
}

// Verify asks whether the agent whose key the client holds may do something
// now. The decision is recorded before it is answered. Act only when err is nil
// and the packet's Allowed is true, or leave that to [Client.Guard]: err is an
// [*Error] when the server refused the ask as it was, and otherwise Is
// [ErrUnavailable].
func (c *Client) Verify(ctx context.Context, ask Ask) (Packet, error) {
	var answer struct {
		Packet
		WouldBe Outcome `json:"wouldBe"`
		DryRun  bool    `json:"dryRun"`
	}
	if err := c.call(ctx, post(ask, "verify").over("verify", ask), &answer); err != nil {
		return Packet{}, err
	}
	p := answer.Packet
	err := p.answers(&ask)
	switch {
	case answer.WouldBe != "" || answer.DryRun:
		err = errors.New("it is what would be, and nothing was decided")
	case err == nil && c.AgentID != "" && p.AgentID != c.AgentID:
		err = fmt.Errorf("it is about the agent %q, and the client is %q", p.AgentID, c.AgentID)
	}
	if err != nil {
		return Packet{}, fmt.Errorf("%w: the answer is no decision on what was asked: %w", ErrUnavailable, &certain{err})
	}
	return p, nil
}

// Preview is what a Verify would have been answered. Nothing is recorded by it
// and nothing is allowed by it.
type Preview struct {
	AgentID         string    `json:"agentId"`
	WouldBe         Outcome   `json:"wouldBe"`
	ReasonCode      string    `json:"reasonCode"`
	Reason          string    `json:"reason"`
	RiskLevel       string    `json:"riskLevel"`
	PermissionID    string    `json:"permissionId,omitempty"`
	ApprovalID      string    `json:"approvalId,omitempty"` // of one that is open already
	Action          string    `json:"action"`
	Vendor          string    `json:"vendor,omitempty"`
	Resource        string    `json:"resource,omitempty"`
	Amount          string    `json:"amount,omitempty"`
	Currency        string    `json:"currency,omitempty"`
	PassportVersion uint64    `json:"passportVersion"`
	EvaluatedAt     time.Time `json:"evaluatedAt"`
	WindowEndsAt    time.Time `json:"windowEndsAt,omitzero"`
	// Left is what is left, before this ask, of the limits of the permission it
	// names, AgentLeft of the agent's own, and AccountLeft of the account's where
	// they apply too.
	Left        []Left  `json:"left,omitzero"`
	AgentLeft   []Left  `json:"agentLeft,omitzero"`
	AccountLeft []Left  `json:"accountLeft,omitzero"`
	Checks      []Check `json:"checks"`
}

// Preview asks what [Client.Verify] would answer now. A member names the agent
// in the ask.
func (c *Client) Preview(ctx context.Context, ask Ask) (Preview, error) {
	var p Preview
	err := c.call(ctx, post(ask, "preview").over("preview", ask), &p)
	return p, err
}
