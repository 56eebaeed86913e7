package handlers

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// ApprovalView is what a person is asked, and what they said. The texts of the
// request are fit to be shown to somebody who decides on it, and all of them are
// bound by the digest.
type ApprovalView struct {
	ApprovalID   domain.ApprovalID    `json:"approvalId"`
	State        domain.ApprovalState `json:"state"`
	AgentID      domain.AgentID       `json:"agentId"`
	AgentName    string               `json:"agentName"`
	RequestID    domain.RequestID     `json:"requestId"` // that opened it
	UsedBy       domain.RequestID     `json:"usedBy,omitempty"`
	PermissionID domain.PermissionID  `json:"permissionId"`
	RiskLevel    domain.Risk          `json:"riskLevel"`

	Action          string          `json:"action"`
	Vendor          string          `json:"vendor,omitempty"`
	Resource        string          `json:"resource,omitempty"`
	Amount          domain.Decimal  `json:"amount,omitempty"`
	Currency        domain.Currency `json:"currency,omitempty"`
	Path            string          `json:"path,omitempty"`
	Command         string          `json:"command,omitempty"`
	Cwd             string          `json:"cwd,omitempty"`
	Context         domain.Facts    `json:"context,omitzero"`
	ArgumentsDigest string          `json:"argumentsDigest,omitempty"`
	Digest          string          `json:"digest"`

	MinRole domain.Role `json:"minRole"`
	Quorum  int         `json:"quorum"`
	// SaidYes is how many have. Whoever may not any more is among them, and does
	// not count towards the quorum when the next one says yes.
	SaidYes int `json:"saidYes"`
	// Votes and ResolvedBy are for members.
	Votes      []domain.Vote `json:"votes,omitempty"`
	OpenedAt   time.Time     `json:"openedAt"`
	ExpiresAt  time.Time     `json:"expiresAt"`
	ResolvedAt time.Time     `json:"resolvedAt,omitzero"`
	ResolvedBy domain.Actor  `json:"resolvedBy,omitempty"`
	// Comment is of the member who approved, denied or withdrew last, or says what
	// took the approval away. The agent reads that of a denial, if it is shared.
	Comment string `json:"comment,omitempty"`
	// WakeSubject is where NATS tells that it has changed.
	WakeSubject string `json:"wakeSubject"`
}

// ApprovalPage is a page of approvals.
type ApprovalPage struct {
	Approvals  []ApprovalView    `json:"approvals"`
	NextCursor domain.ApprovalID `json:"nextCursor,omitempty"`
}

// ViewApproval shows an approval to its agent, without who said what.
func ViewApproval(a *domain.Approval, agentName string, now time.Time) ApprovalView {
	r := &a.Request
	view := ApprovalView{
		ApprovalID: a.ID, State: a.StateAt(now), AgentID: a.Agent, AgentName: domain.Shown(agentName),
		RequestID: a.RequestID, UsedBy: a.UsedBy, PermissionID: a.PermissionID, RiskLevel: a.Risk,
		Action: domain.Shown(string(r.Action)), Vendor: domain.ShownTarget(r.Vendor), Resource: domain.ShownTarget(r.Resource),
		Amount: r.Amount, Currency: r.Currency,
		Path: domain.ShownTarget(r.Path), Command: domain.Shown(r.Command), Cwd: domain.ShownTarget(r.Cwd),
		Context: domain.Facts{
			Branch: domain.Shown(r.Context.Branch), Environment: domain.Shown(r.Context.Environment),
			Repository: domain.Shown(r.Context.Repository),
		},
		ArgumentsDigest: r.ArgumentsDigest, Digest: a.Gate.Digest,
		MinRole: a.Gate.MinRole, Quorum: a.Gate.Quorum, SaidYes: len(a.Votes),
		OpenedAt: a.Opened, ExpiresAt: a.ExpiresAt, ResolvedAt: a.Resolved,
		WakeSubject: WakeSubject(domain.Stream{Account: a.Account, Agent: a.Agent}) + "." + string(a.ID),
	}
	if view.State == domain.ApprovalHasExpired { // when the event follows, or whether, is no matter
		view.ResolvedAt = a.ExpiresAt
	}
	if a.Shared {
		view.Comment = a.Comment
	}
	return view
}

// ViewApprovalInFull shows an approval to members.
func ViewApprovalInFull(a *domain.Approval, agentName string, now time.Time) ApprovalView {
	view := ViewApproval(a, agentName, now)
	view.Votes, view.Comment = a.Votes, a.Comment
	if view.State != domain.ApprovalHasExpired {
		view.ResolvedBy = a.By
	}
	return view
}

// WakeSubject is where those are woken over NATS who wait for a person's answer
// to an agent, or to any agent of an account; an approval's id follows.
func WakeSubject(s domain.Stream) string {
	subject := "behalf.wake." + string(s.Account)
	if s.Agent != "" {
		subject += "." + string(s.Agent)
	}
	return subject
}
