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
		AgentID         domain.AgentID     `json:"agentId"`
		APIKey          string             `json:"apiKey,omitempty"` // only when it was just made
		Name            string             `json:"name"`
		Type            domain.AgentType   `json:"type"`
		Provider        string             `json:"provider,omitempty"`
		Label           string             `json:"label,omitempty"`
		ExternalID      string             `json:"externalId,omitempty"`
		Status          domain.AgentStatus `json:"status"`
		HasKey          bool               `json:"hasKey"`
		PassportVersion uint64             `json:"passportVersion"`
		RegisteredAt    time.Time          `json:"registeredAt"`
	}
	// PermissionView is a permission as stored.
	PermissionView struct {
		PermissionID    domain.PermissionID     `json:"permissionId"`
		Status          domain.PermissionStatus `json:"status"`
		PassportVersion uint64                  `json:"passportVersion"`
		Version         uint64                  `json:"version"` // for If-Match
		domain.Terms    `json:",inline"`
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
		Version         uint64           `json:"version"`
	}
	// PreviewView is what a verify would have been answered. It has no member
	// "allowed", so that it can't be taken for one.
	PreviewView struct {
		AgentID         domain.AgentID      `json:"agentId"`
		WouldBe         domain.Outcome      `json:"wouldBe"`
		ReasonCode      domain.ReasonCode   `json:"reasonCode"`
		Reason          string              `json:"reason"`
		RiskLevel       domain.Risk         `json:"riskLevel"`
		PermissionID    domain.PermissionID `json:"permissionId,omitempty"`
		Action          domain.Action       `json:"action"`
		Vendor          string              `json:"vendor,omitempty"`
		Resource        string              `json:"resource,omitempty"`
		Amount          domain.Decimal      `json:"amount,omitempty"`
		Currency        domain.Currency     `json:"currency,omitempty"`
		PassportVersion uint64              `json:"passportVersion"`
		EvaluatedAt     time.Time           `json:"evaluatedAt"`
		Checks          []domain.Check      `json:"checks"`
	}
)

// ViewAgent shows an agent, with its key if it was just made.
func ViewAgent(a *domain.Agent, key string) AgentView {
	return AgentView{
		AgentID: a.ID, APIKey: key, Name: a.Name, Type: a.Type, Provider: a.Provider, Label: a.Label,
		ExternalID: a.ExternalID, Status: a.Status, HasKey: a.Key != "",
		PassportVersion: a.Version, RegisteredAt: a.Registered,
	}
}

// ViewPermission shows a permission to members.
func ViewPermission(a *domain.Agent, p *domain.Permission, now time.Time) PermissionView {
	return PermissionView{
		PermissionID: p.ID, Status: p.StatusAt(now), PassportVersion: a.Version, Version: p.Version,
		Terms: p.Terms, Summary: p.Terms.Summary(), GrantedAt: p.Granted, RevokedAt: p.Revoked,
	}
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
// what was revoked.
func ViewPassport(a *domain.Agent, now time.Time) PassportView {
	views := []PermissionView{}
	for _, p := range a.Permissions {
		if !p.Revoked.IsZero() {
			continue
		}
		view := ViewPermission(a, p, now)
		view.Notes = ""
		views = append(views, view)
	}
	return PassportView{
		AgentID: a.ID, Name: a.Name, Type: a.Type, Status: a.Status,
		PassportVersion: a.Version, Permissions: views,
	}
}

// ViewMember shows a member, with the token if it was just made.
func ViewMember(m domain.Member, token string) MemberView {
	return MemberView{MemberID: m.ID, Name: m.Name, Role: m.Role, Token: token}
}

// ViewAccount shows an account.
func ViewAccount(a *domain.Account) AccountView {
	return AccountView{AccountID: a.ID, Name: a.Name, DefaultCurrency: a.Currency, Version: a.Version}
}

// ViewPreview shows what a decision would have been.
func ViewPreview(id domain.AgentID, d domain.DecisionMade, at time.Time) PreviewView {
	return PreviewView{
		AgentID: id, WouldBe: d.Outcome, ReasonCode: d.ReasonCode, Reason: d.Reason, RiskLevel: d.Risk,
		PermissionID: d.PermissionID, Action: d.Request.Action, Vendor: d.Request.Vendor,
		Resource: d.Request.Resource, Amount: d.Request.Amount, Currency: d.Request.Currency,
		PassportVersion: d.PassportVersion, EvaluatedAt: at, Checks: d.Checks,
	}
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
