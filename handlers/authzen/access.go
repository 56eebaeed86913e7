package authzen

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// Problem is an error of the Access Request API, of the profile's own kinds.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string { return p.Detail }

const problemPrefix = "urn:openid:authzen:access-request:error:"

func problem(status int, kind, title, detail string) error {
	return &Problem{Type: problemPrefix + kind, Title: title, Status: status, Detail: detail}
}

// Task is a person's answer, awaited or given.
type Task struct {
	ID             domain.ApprovalID `json:"id"`
	Status         string            `json:"status"` // pending, approved, denied, expired or cancelled
	StatusEndpoint string            `json:"status_endpoint"`
	Progress       *Progress         `json:"progress,omitempty"`
	ExpiresAt      time.Time         `json:"expires_at"`
}

// Progress says how many people have said yes, and whose word is awaited.
type Progress struct {
	CurrentStep int           `json:"current_step"`
	TotalSteps  int           `json:"total_steps"`
	StepName    string        `json:"step_name"`
	Awaiting    []domain.Role `json:"awaiting"` // the least role
}

// TaskAnswer is a task, and what to do with a yes: evaluate again, with the
// approval in the context as it is here.
type TaskAnswer struct {
	Task   Task    `json:"task"`
	Result *Result `json:"result,omitempty"`
}

// Result is there once people have said yes.
type Result struct {
	Mode     string   `json:"mode"`
	Approval Approval `json:"approval"`
}

// Approval is what is sent with the evaluation that uses it.
type Approval struct {
	ID            domain.ApprovalID `json:"id"`
	ApprovedAt    time.Time         `json:"approved_at"`
	ApprovedUntil time.Time         `json:"approved_until"`
}

// Request answers with the task that an evaluation opened. It opens none, and
// asks nobody again: it is the evaluation that did. Repeating it is harmless.
func (p PDP) Request(ctx context.Context, c handlers.Caller, body []byte) (TaskAnswer, error) {
	if _, err := c.AsAgent(); err != nil {
		return TaskAnswer{}, err
	}
	var in struct {
		evaluation `json:",inline"`
		Items      jsontext.Value `json:"items"`
		Denial     struct {
			EvaluationID domain.RequestID `json:"evaluation_id"`
		} `json:"denial"`
	}
	if err := handlers.DecodeOpen(body, &in); err != nil {
		return TaskAnswer{}, err
	}
	if !absent(in.Items) {
		return TaskAnswer{}, problem(400, "not_requestable", "Not requestable", "items are not taken; send one request for each")
	}
	a, err := in.evaluation.understand(whole)
	if err != nil {
		return TaskAnswer{}, err
	}
	if _, err := agentOf(c, a.subject); err != nil {
		return TaskAnswer{}, err
	}
	if in.Denial.EvaluationID == "" {
		return TaskAnswer{}, domain.RejectField(domain.Invalid, "/denial/evaluation_id", "is required")
	}
	if err := p.Desk.Still(ctx, c); err != nil {
		return TaskAnswer{}, err
	}
	approval, err := p.opened(ctx, c, in.Denial.EvaluationID)
	if err != nil {
		return TaskAnswer{}, err
	}
	switch same, err := p.covers(approval, a); {
	case err != nil:
		return TaskAnswer{}, err
	case !same:
		return TaskAnswer{}, unbound("subject, action, resource or context is not what was evaluated; send all four as they were")
	}
	if approval.StateAt(p.Desk.Verifier.Now()) == domain.ApprovalHasExpired {
		return TaskAnswer{}, problem(410, "expired_denial", "Expired denial", "the approval it asks for has expired; evaluate again")
	}
	return p.task(approval), nil
}

func unbound(detail string) error {
	return problem(400, "invalid_denial_binding", "Invalid denial binding", detail)
}

// opened is the approval that an evaluation of the agent's own asked for.
func (p PDP) opened(ctx context.Context, c handlers.Caller, id domain.RequestID) (*domain.Approval, error) {
	r, err := p.Desk.History.Find(ctx, c.Agent, id)
	if isNotFound(err) {
		return nil, unbound("no evaluation of this agent has the evaluation_id")
	}
	if err != nil {
		return nil, err
	}
	d, ok := r.Event.(domain.DecisionMade)
	if !ok || d.Outcome != domain.OutcomeRequiresApproval || d.ApprovalID == "" {
		return nil, problem(400, "not_requestable", "Not requestable", "that evaluation asked for no approval")
	}
	approval, err := p.Desk.Approvals.Find(ctx, c.Agent, d.ApprovalID)
	if isNotFound(err) {
		return nil, unbound("the approval that evaluation asked for is not there any more")
	}
	return approval, err
}

func isNotFound(err error) bool {
	rule, ok := errors.AsType[*domain.RuleError](err)
	return ok && rule.Code == domain.NotFound
}

// covers reports whether an approval was asked for by just this evaluation.
func (p PDP) covers(approval *domain.Approval, a asked) (bool, error) {
	account, err := p.Desk.Identifier.Passports.Account(approval.Account)
	if err != nil {
		return false, handlers.Unreadable(err)
	}
	req, err := a.ask.Request(account.Currency)
	if err != nil {
		return false, err
	}
	now, err := handlers.Encode(&req)
	if err != nil {
		return false, err
	}
	then, err := handlers.Encode(&approval.Request)
	return err == nil && bytes.Equal(now, then), err
}

// Task answers where a task of the caller's stands.
func (p PDP) Task(ctx context.Context, c handlers.Caller, id domain.ApprovalID) (TaskAnswer, error) {
	if err := p.Desk.Still(ctx, c); err != nil {
		return TaskAnswer{}, err
	}
	approval, err := p.Desk.Approvals.Find(ctx, c.Scope(), id)
	if isNotFound(err) {
		return TaskAnswer{}, problem(404, "unknown_task", "Unknown task", "there is no such task")
	}
	if err != nil {
		return TaskAnswer{}, err
	}
	return p.task(approval), nil
}

func (p PDP) task(a *domain.Approval) TaskAnswer {
	out := TaskAnswer{Task: Task{
		ID: a.ID, StatusEndpoint: p.Base + RequestsPath + "/" + string(a.ID), ExpiresAt: a.ExpiresAt,
	}}
	switch a.StateAt(p.Desk.Verifier.Now()) {
	case domain.ApprovalPending:
		out.Task.Status = "pending"
		out.Task.Progress = &Progress{
			CurrentStep: min(len(a.Votes)+1, a.Gate.Quorum), TotalSteps: a.Gate.Quorum, StepName: "approval", Awaiting: []domain.Role{a.Gate.MinRole},
		}
	case domain.ApprovalIsApproved, domain.ApprovalIsUsed: // what was used was approved, and answers as used
		out.Task.Status = "approved"
		out.Result = &Result{Mode: "reevaluate", Approval: Approval{ID: a.ID, ApprovedAt: approvedAt(a), ApprovedUntil: a.ExpiresAt}}
	case domain.ApprovalIsDenied:
		out.Task.Status = "denied"
	case domain.ApprovalHasExpired:
		out.Task.Status = "expired"
	case domain.ApprovalIsCancelled:
		out.Task.Status = "cancelled"
	}
	return out
}

// approvedAt is when the yes came: the last vote, as a use resolves it again.
func approvedAt(a *domain.Approval) time.Time {
	if n := len(a.Votes); n > 0 {
		return a.Votes[n-1].At
	}
	return a.Resolved
}

// retryAfter is how long to wait before asking again whether people have decided.
const retryAfter = 5

// checkApproval looks at the approval that was sent with an evaluation. It
// returns the denial if there is nothing in it to use; nil if the evaluation can
// go on, in which all that counts is judged again.
func (p PDP) checkApproval(ctx context.Context, c handlers.Caller, a asked) (*Decision, error) {
	no := func(reason, next string) *Decision {
		return &Decision{Context: &Context{Reason: reason, NextAction: next, ApprovalID: a.approval}}
	}
	if err := p.Desk.Still(ctx, c); err != nil {
		return nil, err
	}
	approval, err := p.Desk.Approvals.Find(ctx, c.Agent, a.approval)
	if isNotFound(err) {
		return no("approval_unverifiable", "request"), nil
	}
	if err != nil {
		return nil, err
	}
	switch same, err := p.covers(approval, a); {
	case err != nil:
		return nil, err
	case !same:
		return no("out_of_scope", "request"), nil
	}
	switch approval.StateAt(p.Desk.Verifier.Now()) {
	case domain.ApprovalIsApproved, domain.ApprovalIsUsed:
		return nil, nil
	case domain.ApprovalPending:
		d := no("grant_pending", "retry")
		d.Context.RetryAfter = retryAfter
		return d, nil
	case domain.ApprovalHasExpired:
		return no("approval_expired", "request"), nil
	case domain.ApprovalIsDenied, domain.ApprovalIsCancelled:
	}
	return no("policy_denied", "none"), nil
}
