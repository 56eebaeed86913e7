package projections

import (
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Why an approval was cancelled.
const (
	BecauseWithdrawn = "withdrawn" // by a member or the agent
	BecauseReplaced  = "permission_replaced"
	BecauseRevoked   = "permission_revoked"
)

// aboutData is what the data of every public event but a verification's says.
type aboutData struct {
	AgentID domain.AgentID `json:"agentId,omitempty"`
	Actor   domain.Actor   `json:"actor"`
	// PassportVersion is that of the agent's passport once this has happened.
	PassportVersion uint64 `json:"passportVersion,omitzero"`
	Position        string `json:"position"`
}

func (p *publisher) about() aboutData {
	a := aboutData{AgentID: p.r.Agent, Actor: p.r.Actor, Position: p.r.Position.String()}
	if p.r.Agent != "" {
		a.PassportVersion = p.r.Position.Seq
	}
	return a
}

// aboutOf is about for an event of the account that names an agent. It moves no
// passport, and so says nothing of its version.
func (p *publisher) aboutOf(agent domain.AgentID) aboutData {
	a := p.about()
	a.AgentID = agent
	return a
}

// approvalData is what the data of every event of an approval says.
type approvalData struct {
	aboutData
	ApprovalID domain.ApprovalID `json:"approvalId"`
	RequestID  domain.RequestID  `json:"requestId"` // that opened it
}

func (p *publisher) approval(id domain.ApprovalID) approvalData {
	ulid := strings.TrimPrefix(string(id), domain.ApprovalPrefix) // they share it, see [domain.DecisionMade.Name]
	return approvalData{p.about(), id, domain.RequestID(domain.RequestPrefix + ulid)}
}

type (
	settledData struct {
		aboutData
		RequestID domain.RequestID     `json:"requestId"`
		Outcome   domain.ActionOutcome `json:"outcome"`
		Amount    domain.Decimal       `json:"amount,omitempty"`
		Currency  domain.Currency      `json:"currency,omitempty"`
	}
	// requestedData is what a person is asked. Path and command are left out, as
	// in the packet: whoever may see the approval reads them where it is shown.
	requestedData struct {
		approvalData
		PermissionID domain.PermissionID   `json:"permissionId"`
		With         []domain.PermissionID `json:"with,omitzero"`
		Reason       string                `json:"reason"`
		RiskLevel    domain.Risk           `json:"riskLevel"`
		Action       domain.Action         `json:"action"`
		Vendor       string                `json:"vendor,omitempty"`
		Resource     string                `json:"resource,omitempty"`
		Amount       domain.Decimal        `json:"amount,omitempty"`
		Currency     domain.Currency       `json:"currency,omitempty"`
		Digest       string                `json:"digest"`
		MinRole      domain.Role           `json:"minRole"`
		Quorum       int                   `json:"quorum"`
		ExpiresAt    time.Time             `json:"expiresAt"`
	}
	votedData struct {
		approvalData
		MemberID domain.MemberID `json:"memberId"`
		Comment  string          `json:"comment,omitempty"`
		Self     bool            `json:"self,omitzero"`
	}
	approvedData struct {
		approvalData
		MemberID   domain.MemberID   `json:"memberId"`
		Comment    string            `json:"comment,omitempty"`
		Self       bool              `json:"self,omitzero"`
		Voters     []domain.MemberID `json:"voters"`
		SelfVoters []domain.MemberID `json:"selfVoters,omitzero"`
		ExpiresAt  time.Time         `json:"expiresAt"`
	}
	deniedData struct {
		approvalData
		MemberID    domain.MemberID `json:"memberId"`
		Comment     string          `json:"comment,omitempty"`
		StickyUntil time.Time       `json:"stickyUntil"`
	}
	cancelledData struct {
		approvalData
		Because      string              `json:"because"`
		MemberID     domain.MemberID     `json:"memberId,omitempty"`
		Comment      string              `json:"comment,omitempty"`
		PermissionID domain.PermissionID `json:"permissionId,omitempty"`
	}
	remindedData struct {
		approvalData
		Count int `json:"count"`
	}
	usedData struct {
		approvalData
		UsedBy domain.RequestID `json:"usedBy"`
	}
	permissionData struct {
		aboutData
		PermissionID domain.PermissionID `json:"permissionId"`
		Terms        domain.Terms        `json:"terms"`
		Cancels      []domain.ApprovalID `json:"cancels,omitzero"`
	}
	revokedData struct {
		aboutData
		PermissionID domain.PermissionID `json:"permissionId"`
		Reason       string              `json:"reason,omitempty"`
		Cancels      []domain.ApprovalID `json:"cancels,omitzero"`
	}
	registeredData struct {
		aboutData
		Name       string           `json:"name"`
		Type       domain.AgentType `json:"type"`
		Provider   string           `json:"provider,omitempty"`
		Label      string           `json:"label,omitempty"`
		ExternalID string           `json:"externalId,omitempty"`
		Driver     domain.MemberID  `json:"driver,omitempty"`
		HasKey     bool             `json:"hasKey"`
	}
	reasonData struct {
		aboutData
		Reason string `json:"reason,omitempty"`
	}
	driverData struct {
		aboutData
		Driver domain.MemberID `json:"driver,omitempty"`
	}
	limitsData struct {
		aboutData
		domain.Limits
	}
	sharedData struct {
		aboutData
		Shared bool `json:"shared"`
	}
	exhaustedData struct {
		aboutData
		RequestID domain.RequestID `json:"requestId"`
		// Scope is permission, agent or account.
		Scope        string              `json:"scope"`
		PermissionID domain.PermissionID `json:"permissionId,omitempty"`
		Reason       string              `json:"reason"`
		Action       domain.Action       `json:"action"`
		Amount       domain.Decimal      `json:"amount"`
		Currency     domain.Currency     `json:"currency"`
		WindowEndsAt time.Time           `json:"windowEndsAt,omitzero"`
	}
	openedData struct {
		aboutData
		Name     string          `json:"name"`
		Currency domain.Currency `json:"currency"`
		Owner    domain.MemberID `json:"owner"`
	}
	settingsData struct {
		aboutData
		Name      string                   `json:"name"`
		Currency  domain.Currency          `json:"currency"`
		TimeZone  string                   `json:"timeZone,omitempty"`
		Approvals *domain.ApprovalSettings `json:"approvals,omitzero"`
		// DecisionRetention is how long decisions are kept; absent is for ever.
		DecisionRetention domain.Duration `json:"decisionRetention,omitzero"`
	}
	memberData struct {
		aboutData
		MemberID domain.MemberID `json:"memberId"`
		Name     string          `json:"name,omitempty"`
		Role     domain.Role     `json:"role,omitempty"`
	}
	linkData struct {
		aboutData
		LinkID    domain.LinkID `json:"linkId"`
		Label     string        `json:"label,omitempty"`
		ExpiresAt time.Time     `json:"expiresAt,omitzero"`
	}
	consumedData struct {
		aboutData
		RequestID domain.RequestID `json:"requestId"`
	}
	receiptKeyData struct {
		aboutData
		Version int `json:"keyVersion"`
		// OverlapUntil is until when those before it are good too; absent ends them.
		OverlapUntil time.Time `json:"overlapUntil,omitzero"`
	}
)

// publicTerms are terms without what only members are to read where they manage.
func publicTerms(t domain.Terms) domain.Terms {
	t.Notes = ""
	return t
}
