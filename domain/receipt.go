package domain

import (
	"slices"
	"time"
)

// The facts about receipts: signed decisions that are taken to a third party.
type (
	// ReceiptKeyRotated signs receipts with a new key, which is not recorded.
	ReceiptKeyRotated struct {
		Version int `json:"keyVersion"`
		// OverlapUntil is until when those before it are published too; zero ends
		// them at once.
		OverlapUntil time.Time `json:"overlapUntil,omitzero"`
	}
	// DecisionConsumed takes a receipt, once. It changes nothing of what the agent
	// may do next, and lies beside its decisions.
	DecisionConsumed struct {
		RequestID RequestID `json:"requestId"`
	}
)

func (ReceiptKeyRotated) Kind() Kind { return KindReceiptKeyRotated }
func (DecisionConsumed) Kind() Kind  { return KindDecisionConsumed }

func (ReceiptKeyRotated) event() {}
func (DecisionConsumed) event()  {}

// ReceiptKeys are the versions of the keys that an account's receipts are signed
// with. The zero one signs with the first.
type ReceiptKeys struct {
	version int
	older   []olderKey
}

type olderKey struct {
	version int
	until   time.Time
}

// Version is the one that signs.
func (k ReceiptKeys) Version() int { return max(k.version, 1) }

// Good are the versions whose signatures are good at a moment, the newest first.
func (k ReceiptKeys) Good(now time.Time) []int {
	list := []int{k.Version()}
	for _, o := range slices.Backward(k.older) {
		if now.Before(o.until) {
			list = append(list, o.version)
		}
	}
	return list
}

func (k ReceiptKeys) rotated(r Recorded, e ReceiptKeyRotated) ReceiptKeys {
	next := ReceiptKeys{version: e.Version}
	if e.OverlapUntil.IsZero() {
		return next
	}
	for _, o := range k.older {
		if r.At.Before(o.until) {
			next.older = append(next.older, o)
		}
	}
	next.older = append(next.older, olderKey{k.Version(), e.OverlapUntil})
	return next
}

// usualKeyOverlap is longer than any receipt is good, and than keys are cached.
const usualKeyOverlap = Duration(time.Hour)

// mostKeys bounds how many keys are good at once.
const mostKeys = 4

// RotateReceiptKey signs an account's receipts with a new key.
type RotateReceiptKey struct {
	// Overlap is how long those before it are good too: nil for the default, 0 to
	// end all of them at once.
	Overlap *Duration
	Now     time.Time
}

// RotateReceiptKey decides on a RotateReceiptKey.
func (a Account) RotateReceiptKey(cmd RotateReceiptKey) ([]Event, error) {
	overlap := usualKeyOverlap
	set(&overlap, cmd.Overlap)
	rotated := ReceiptKeyRotated{Version: a.Receipts.Version() + 1}
	switch {
	case overlap < 0 || overlap > mostOverlap:
		return nil, RejectField(Invalid, "/overlap", "is %s; send 0s to %s", overlap, mostOverlap)
	case overlap == 0:
		return []Event{rotated}, nil
	case len(a.Receipts.Good(cmd.Now)) >= mostKeys:
		return nil, RejectField(Conflict, "/overlap", "%d keys are good already; wait until one is not, or end all but the new one with 0s", mostKeys)
	}
	rotated.OverlapUntil = cmd.Now.Add(time.Duration(overlap))
	return []Event{rotated}, nil
}

// ConsumeDecision takes the receipt of a decision. What is said of the decision
// must be so; what is empty is not looked at. An amount needs its currency.
type ConsumeDecision struct {
	AgentID  AgentID  `json:"agentId,omitempty"`
	Action   Action   `json:"action,omitempty"`
	Audience string   `json:"audience,omitempty"`
	Amount   Decimal  `json:"amount,omitempty"`
	Currency Currency `json:"currency,omitempty"`
}

// Audience is whom a receipt of the request is for: its vendor, or else its
// resource; empty for a request that names neither.
func (r *Request) Audience() string {
	if r.Vendor != "" {
		return r.Vendor
	}
	return r.Resource
}

// costs reports whether an amount, in the request's currency, is the request's.
func (r *Request) costs(amount Decimal) bool {
	if r.Amount == "" {
		return false
	}
	money, err := ParseMoney(string(amount), r.Currency)
	return err == nil && Decimal(money.String()) == r.Amount
}

// reported reports whether what came of an allow is known: what was given back to
// a budget must not be spent after all.
func (a Agent) reported(id RequestID) bool {
	r, ok := a.Reservation(id)
	return ok && r.Settled != nil
}

// narrowed reports whether an allow may rest on terms that are there no more: its
// permission was replaced, or the action blocked, after it. Whether the new terms
// would allow it too is for another verify to say.
func (a Agent) narrowed(d *DecisionMade, now time.Time) bool {
	return slices.ContainsFunc(a.Permissions, func(p *Permission) bool {
		return p.Version > d.PassportVersion &&
			(p.ID == d.PermissionID || p.StatusAt(now) == PermissionActive && listed(p.Terms.BlockedActions, d.Request.Action))
	})
}

// Consume decides on a ConsumeDecision. The agent must still be active, and the
// permission stand as it was: a receipt is no way around a revocation, nor around
// terms that were made narrower.
func (a Agent) Consume(cmd ConsumeDecision, r Recorded, lifetime time.Duration, now time.Time) ([]Event, error) {
	d, ok := r.Event.(DecisionMade)
	if !ok || r.Agent != a.ID || r.Account != a.Account {
		return nil, Reject(NotFound, "no such decision")
	}
	q := &d.Request
	switch p, found := a.Permission(d.PermissionID); {
	case d.Outcome != OutcomeAllowed:
		return nil, Reject(Conflict, "request %s was not allowed", d.RequestID)
	case now.Sub(r.At) >= lifetime || now.Before(r.At.Add(-lifetime)):
		return nil, Reject(Conflict, "the receipt of %s has expired; the agent has to ask again", d.RequestID)
	case a.reported(d.RequestID):
		return nil, Reject(Conflict, "what came of %s was reported already", d.RequestID)
	case a.Status != AgentActive:
		return nil, Reject(Conflict, "agent %s is disabled", a.ID)
	case !found || p.StatusAt(now) != PermissionActive:
		return nil, Reject(Conflict, "the permission that allowed %s does not stand any more", d.RequestID)
	case a.narrowed(&d, now):
		return nil, Reject(Conflict, "what allowed %s was changed since; the agent has to ask again", d.RequestID)
	case cmd.Amount != "" && cmd.Currency == "":
		return nil, RejectField(Invalid, "/currency", "is missing; an amount says nothing without it")
	case cmd.AgentID != "" && cmd.AgentID != a.ID:
		return nil, RejectField(Conflict, "/agentId", "is not the agent that was allowed")
	case cmd.Action != "" && cmd.Action != q.Action:
		return nil, RejectField(Conflict, "/action", "is not what was allowed")
	case cmd.Audience != "" && cmd.Audience != q.Audience():
		return nil, RejectField(Conflict, "/audience", "is not whom it was allowed for")
	case cmd.Amount != "" && !q.costs(cmd.Amount):
		return nil, RejectField(Conflict, "/amount", "is not what was allowed")
	case cmd.Currency != "" && cmd.Currency != q.Currency:
		return nil, RejectField(Conflict, "/currency", "is not what was allowed")
	}
	return []Event{DecisionConsumed{d.RequestID}}, nil
}
