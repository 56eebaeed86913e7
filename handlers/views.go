package handlers

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
)

// The shapes clients see. They are made from the state and hold no secret but
// the one that is shown once.
type (
	// AgentView is an agent as members see it.
	AgentView struct {
		AgentID    domain.AgentID     `json:"agentId"`
		APIKey     string             `json:"apiKey,omitempty"` // only when it was just made
		Name       string             `json:"name"`
		Type       domain.AgentType   `json:"type"`
		Provider   string             `json:"provider,omitempty"`
		Label      string             `json:"label,omitempty"`
		ExternalID string             `json:"externalId,omitempty"`
		Status     domain.AgentStatus `json:"status"`
		HasKey     bool               `json:"hasKey"`
		// Driver is the member whose work it does, who can't approve what it asks.
		Driver              domain.MemberID `json:"driver,omitempty"`
		SharesAccountLimits bool            `json:"sharesAccountLimits,omitzero"`
		PassportVersion     uint64          `json:"passportVersion"`
		RegisteredAt        time.Time       `json:"registeredAt"`
	}
	// PermissionView is a permission as stored.
	PermissionView struct {
		PermissionID    domain.PermissionID     `json:"permissionId"`
		Status          domain.PermissionStatus `json:"status"`
		PassportVersion uint64                  `json:"passportVersion"`
		Version         uint64                  `json:"version"` // for If-Match
		domain.Terms    `json:",inline"`
		// Left is what is left of budgets and rates.
		Left []domain.Left `json:"left,omitempty"`
		// Summary says the terms in a sentence.
		Summary   string    `json:"summary"`
		GrantedAt time.Time `json:"grantedAt"`
		RevokedAt time.Time `json:"revokedAt,omitzero"`
	}
	// PassportView is a passport as its agent reads it.
	PassportView struct {
		AgentID         domain.AgentID     `json:"agentId"`
		Name            string             `json:"name"`
		Type            domain.AgentType   `json:"type"`
		Status          domain.AgentStatus `json:"status"`
		PassportVersion uint64             `json:"passportVersion"`
		Permissions     []PermissionView   `json:"permissions"`
		// Limits are the agent's own, of all permissions together.
		domain.Limits `json:",inline"`
		Left          []domain.Left `json:"left,omitempty"`
		// AccountLeft is there when the account's limits apply too.
		AccountLeft []domain.Left `json:"accountLeft,omitempty"`
	}
	// MemberView is a member as other members see them.
	MemberView struct {
		MemberID domain.MemberID `json:"memberId"`
		Name     string          `json:"name"`
		Role     domain.Role     `json:"role"`
		Token    string          `json:"token,omitempty"` // only when it was just made
	}
	// AccountView is an account's settings.
	AccountView struct {
		AccountID       domain.AccountID `json:"accountId"`
		Name            string           `json:"name"`
		DefaultCurrency domain.Currency  `json:"defaultCurrency"`
		// TimeZone is the one whose calendar limits count in that name none.
		TimeZone  string                  `json:"timeZone"`
		Approvals domain.ApprovalSettings `json:"approvals"`
		// DecisionRetention is how long decisions are kept. Left out, it is for ever.
		DecisionRetention domain.Duration `json:"decisionRetention,omitzero"`
		Version           uint64          `json:"version"`
	}
	// AgentLimitsView is what limits all permissions of an agent together.
	AgentLimitsView struct {
		AgentID         domain.AgentID `json:"agentId"`
		PassportVersion uint64         `json:"passportVersion"`
		domain.Limits   `json:",inline"`
		Left            []domain.Left `json:"left"`
	}
	// AccountLimitsView is what limits all agents of an account together.
	AccountLimitsView struct {
		domain.Limits `json:",inline"`
		Left          []domain.Left `json:"left"`
	}
	// PreviewView is what a verify would have been answered. It has no member
	// "allowed", so that it can't be taken for one.
	PreviewView struct {
		AgentID      domain.AgentID      `json:"agentId"`
		WouldBe      domain.Outcome      `json:"wouldBe"`
		ReasonCode   domain.ReasonCode   `json:"reasonCode"`
		Reason       string              `json:"reason"`
		RiskLevel    domain.Risk         `json:"riskLevel"`
		PermissionID domain.PermissionID `json:"permissionId,omitempty"`
		// ApprovalID is of one that is there already.
		ApprovalID      domain.ApprovalID `json:"approvalId,omitempty"`
		Action          domain.Action     `json:"action"`
		Vendor          string            `json:"vendor,omitempty"`
		Resource        string            `json:"resource,omitempty"`
		Amount          domain.Decimal    `json:"amount,omitempty"`
		Currency        domain.Currency   `json:"currency,omitempty"`
		PassportVersion uint64            `json:"passportVersion"`
		EvaluatedAt     time.Time         `json:"evaluatedAt"`
		WindowEndsAt    time.Time         `json:"windowEndsAt,omitzero"`
		// Left is what is left, before this request, of the budgets and rates of the
		// permission it names, AgentLeft of the agent's own, and AccountLeft of the
		// account's where they apply too.
		Left        []domain.Left  `json:"left,omitempty"`
		AgentLeft   []domain.Left  `json:"agentLeft,omitempty"`
		AccountLeft []domain.Left  `json:"accountLeft,omitempty"`
		Checks      []domain.Check `json:"checks"`
	}
	// ReservationView is an allow that spent, or used an approval, and whose
	// outcome was not reported.
	ReservationView struct {
		RequestID    domain.RequestID    `json:"requestId"`
		AgentID      domain.AgentID      `json:"agentId"`
		PermissionID domain.PermissionID `json:"permissionId"`
		Amount       domain.Decimal      `json:"amount,omitempty"`
		Currency     domain.Currency     `json:"currency,omitempty"`
		DecidedAt    time.Time           `json:"decidedAt"`
	}
	// SettlementView is what was reported of an allow.
	SettlementView struct {
		RequestID domain.RequestID     `json:"requestId"`
		Outcome   domain.ActionOutcome `json:"outcome"`
		Amount    domain.Decimal       `json:"amount,omitempty"`
		Currency  domain.Currency      `json:"currency,omitempty"`
		// Released is what was reserved and not spent.
		Released domain.Decimal `json:"released,omitempty"`
	}
)

// ViewAgent shows an agent, with its key if it was just made.
func ViewAgent(a *domain.Agent, key string) AgentView {
	return AgentView{
		AgentID: a.ID, APIKey: key, Name: a.Name, Type: a.Type, Provider: a.Provider, Label: a.Label,
		ExternalID: a.ExternalID, Status: a.Status, HasKey: a.Key != "",
		Driver: a.Driver, SharesAccountLimits: a.Shared,
		PassportVersion: a.Version, RegisteredAt: a.Registered,
	}
}

// ViewPermission shows a permission to members.
func ViewPermission(a *domain.Agent, p *domain.Permission, now time.Time) PermissionView {
	view := PermissionView{
		PermissionID: p.ID, Status: p.StatusAt(now), PassportVersion: a.Version, Version: p.Version,
		Terms: p.Terms, Summary: p.Terms.Summary(), GrantedAt: p.Granted, RevokedAt: p.Revoked,
	}
	if p.Revoked.IsZero() {
		view.Left = a.LeftOf(p, now)
	}
	return view
}

// ViewPermissions shows all of an agent's permissions to members, oldest first.
func ViewPermissions(a *domain.Agent, now time.Time) []PermissionView {
	views := make([]PermissionView, 0, len(a.Permissions))
	for _, p := range a.Permissions {
		views = append(views, ViewPermission(a, p, now))
	}
	return views
}

// ViewPassport shows a passport to its agent: without the notes, and without
// what was revoked. The budget is the account's.
func ViewPassport(a *domain.Agent, budget *domain.SharedBudget, now time.Time) PassportView {
	views := []PermissionView{}
	for _, p := range a.Permissions {
		if !p.Revoked.IsZero() {
			continue
		}
		view := ViewPermission(a, p, now)
		view.Notes = ""
		views = append(views, view)
	}
	view := PassportView{
		AgentID: a.ID, Name: a.Name, Type: a.Type, Status: a.Status,
		PassportVersion: a.Version, Permissions: views, Limits: a.Limits, Left: a.Left(now),
	}
	if a.Shared {
		view.AccountLeft = budget.Left(now)
	}
	return view
}

// ViewMember shows a member, with the token if it was just made.
func ViewMember(m domain.Member, token string) MemberView {
	return MemberView{MemberID: m.ID, Name: m.Name, Role: m.Role, Token: token}
}

// ViewAccount shows an account.
func ViewAccount(a *domain.Account) AccountView {
	return AccountView{
		AccountID: a.ID, Name: a.Name, DefaultCurrency: a.Currency, TimeZone: a.Zone(), Approvals: a.Approvals,
		DecisionRetention: a.Retention.Now(), Version: a.Version,
	}
}

// ViewAgentLimits shows an agent's own limits.
func ViewAgentLimits(a *domain.Agent, now time.Time) AgentLimitsView {
	return AgentLimitsView{AgentID: a.ID, PassportVersion: a.Version, Limits: a.Limits, Left: a.Left(now)}
}

// ViewAccountLimits shows the limits of an account.
func ViewAccountLimits(b *domain.SharedBudget, now time.Time) AccountLimitsView {
	return AccountLimitsView{Limits: b.Limits, Left: b.Left(now)}
}

// ViewPreview shows what a decision would have been, and what it stands on.
func ViewPreview(id domain.AgentID, d domain.DecisionMade, known domain.Situation) PreviewView {
	view := PreviewView{
		AgentID: id, WouldBe: d.Outcome, ReasonCode: d.ReasonCode, Reason: d.Reason, RiskLevel: d.Risk,
		PermissionID: d.PermissionID, ApprovalID: d.ApprovalID, Action: d.Request.Action, Vendor: d.Request.Vendor,
		Resource: d.Request.Resource, Amount: d.Request.Amount, Currency: d.Request.Currency,
		PassportVersion: d.PassportVersion, EvaluatedAt: known.Now, WindowEndsAt: d.WindowEndsAt,
		AgentLeft: known.Agent.Left(known.Now), Checks: d.Checks,
	}
	if p, ok := known.Agent.Permission(d.PermissionID); ok && p.Revoked.IsZero() {
		view.Left = known.Agent.LeftOf(p, known.Now)
	}
	if known.Agent.Shared {
		view.AccountLeft = known.Budget.Left(known.Now)
	}
	return view
}

// ViewReservation shows an allow of an agent that spent.
func ViewReservation(agent domain.AgentID, r domain.Reservation) ReservationView {
	amount, currency := moneyText(r.Amount)
	return ReservationView{
		RequestID: r.RequestID, AgentID: agent, PermissionID: r.PermissionID, Amount: amount, Currency: currency, DecidedAt: r.At,
	}
}

// ViewSettlement shows what was reported of an allow that spent.
func ViewSettlement(r domain.Reservation) SettlementView {
	e := r.Settled
	view := SettlementView{RequestID: e.RequestID, Outcome: e.Outcome, Amount: e.Amount, Currency: e.Currency}
	if e.Amount == "" {
		return view
	}
	if spent, err := domain.ParseMoney(string(e.Amount), e.Currency); err == nil && spent.Minor < r.Amount.Minor {
		view.Released, _ = moneyText(domain.Money{Minor: r.Amount.Minor - spent.Minor, Currency: e.Currency})
	}
	return view
}

// moneyText is an amount as clients see it, both parts empty where there is none.
func moneyText(m domain.Money) (domain.Decimal, domain.Currency) {
	if m.Currency == "" {
		return "", ""
	}
	return domain.Decimal(m.String()), m.Currency
}

// Encode writes a view as JSON.
func Encode(view any) ([]byte, error) { return json.Marshal(view, json.Deterministic(true)) }

// EncodePacket writes the packet of a recorded decision.
func EncodePacket(dst []byte, r domain.Recorded) ([]byte, error) {
	p, err := domain.PacketOf(r)
	if err != nil {
		return nil, err
	}
	return p.Append(dst), nil
}

// EncodeAnswer is EncodePacket for a decision that was just made, with its receipt
// where those are signed. It says too
// when it is worth asking again, in whole seconds, as the header Retry-After has
// it: that is empty unless a rate denied it that begins again.
func (d *Desk) EncodeAnswer(dst []byte, r domain.Recorded) (packet []byte, retryAfter string, err error) {
	p, err := domain.PacketOf(r)
	if err != nil {
		return nil, "", err
	}
	if p.Receipt, err = d.Receipts.Sign(r); err != nil {
		return nil, "", err
	}
	if p.ReasonCode == domain.RateExceeded && !p.WindowEndsAt.IsZero() {
		retryAfter = Fault{Retry: max(p.WindowEndsAt.Sub(d.Verifier.Now()), time.Second)}.RetryAfter()
	}
	return p.Append(dst), retryAfter, nil
}

// EncodeDetail writes the packet of a recorded decision with its checks.
func EncodeDetail(dst []byte, r domain.Recorded) ([]byte, error) {
	p, err := domain.PacketOf(r)
	if err != nil {
		return nil, err
	}
	p.Checks = r.Event.(domain.DecisionMade).Checks // PacketOf saw that it is one
	return p.Append(dst), nil
}

// VersionOf reads an If-Match header: a version in quotes or bare, or "*" or
// nothing for whatever there is.
func VersionOf(ifMatch string) (uint64, error) {
	s := strings.TrimSpace(ifMatch)
	if s == "" || s == "*" {
		return 0, nil
	}
	v, ok := parseVersion(strings.Trim(s, `"`))
	if !ok {
		return 0, domain.Reject(domain.Invalid, `the header If-Match is %q; send the version of the permission you read, such as "42"`, s)
	}
	return v, nil
}

func parseVersion(s string) (uint64, bool) {
	v, err := strconv.ParseUint(s, 10, 64)
	return v, err == nil && v > 0
}
