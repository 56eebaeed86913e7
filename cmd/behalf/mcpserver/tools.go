package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf"
)

// schema is the JSON Schema of a tool's arguments: the properties, and which of
// them are needed.
type schema struct {
	properties map[string]property
	required   []string
}

type property map[string]any

func (s schema) object() map[string]any {
	properties := map[string]any{}
	for name, p := range s.properties {
		properties[name] = p
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(s.required) > 0 {
		object["required"] = s.required
	}
	return object
}

func text(description string) property {
	return property{"type": "string", "description": description}
}

var verifySchema = schema{required: []string{"action"}, properties: map[string]property{
	"action":         text("What is done, by the name the passport has for it, such as purchase or repo:push."),
	"vendor":         text("Host or URL it deals with."),
	"resource":       text("What it is done to."),
	"amount":         {"type": []string{"string", "number"}, "description": `Money it moves, such as "120.00".`},
	"currency":       text("Currency of the amount, such as USD; without it the account's."),
	"path":           text("File or directory it touches."),
	"command":        text("Shell command it runs."),
	"cwd":            text("Directory that path and command are relative to."),
	"branch":         text("Branch it works on."),
	"environment":    text("Environment it works in."),
	"repository":     text("Repository it works in."),
	"arguments":      {"description": "All that the action is called with, as any JSON. It is recorded as a digest, and binds an approval."},
	"idempotencyKey": text("Makes repeating this safe: the repeat gets the first one's decision. Use a new one for each action, and after an approval."),
}}

// question is what verify_action is called with.
type question struct {
	Action         string         `json:"action"`
	Vendor         string         `json:"vendor"`
	Resource       string         `json:"resource"`
	Amount         jsontext.Value `json:"amount"`
	Currency       string         `json:"currency"`
	Path           string         `json:"path"`
	Command        string         `json:"command"`
	Cwd            string         `json:"cwd"`
	Branch         string         `json:"branch"`
	Environment    string         `json:"environment"`
	Repository     string         `json:"repository"`
	Arguments      jsontext.Value `json:"arguments"`
	IdempotencyKey string         `json:"idempotencyKey"`
}

func (q *question) ask() (behalf.Ask, error) {
	ask := behalf.Ask{
		Action: q.Action, Vendor: q.Vendor, Resource: q.Resource, Currency: q.Currency, Path: q.Path, Command: q.Command, Cwd: q.Cwd,
		Context:        behalf.Facts{Branch: q.Branch, Environment: q.Environment, Repository: q.Repository},
		IdempotencyKey: q.IdempotencyKey,
	}
	if len(q.Arguments) > 0 {
		ask.Arguments = q.Arguments
	}
	switch q.Amount.Kind() {
	case '0':
		ask.Amount = string(q.Amount) // as written: a float can't hold money
	case '"':
		if err := json.Unmarshal(q.Amount, &ask.Amount); err != nil {
			return ask, misread{fmt.Errorf("/amount: %w", err)}
		}
	case 'n', 0:
	default:
		return ask, misread{errors.New("/amount: is neither a string nor a number")}
	}
	if ask.Action == "" {
		return ask, misread{errors.New("/action: is required")}
	}
	return ask, nil
}

// unavailable is the server's own code for not having decided.
const unavailable = "UNAVAILABLE"

func (t *Tools) verify(ctx context.Context, in []byte) (answer, error) {
	var q question
	if err := decode(in, &q); err != nil {
		return answer{}, err
	}
	ask, err := q.ask()
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := t.once(ctx)
	defer cancel()
	if ask.AgentID, err = t.agent(ctx); err != nil {
		return answer{}, t.refused(err)
	}
	p, err := t.Client.Verify(ctx, ask)
	switch {
	case err != nil:
		return answer{}, t.refused(err)
	case p.ReasonCode == unavailable:
		return answer{}, fmt.Errorf("%s (request %s)", p.Reason, p.RequestID)
	}
	return answer{verdict(p), p}, nil
}

// verdict is a packet in words. The client has made sure that it is a whole
// decision on what was asked.
func verdict(p behalf.Packet) string {
	switch {
	case p.Allowed && p.Decision == behalf.OutcomeAllowed && p.Reserved:
		return fmt.Sprintf("ALLOWED: do exactly this, once. It was counted; what came of it is reported with: behalf outcome %s executed", p.RequestID)
	case p.Allowed && p.Decision == behalf.OutcomeAllowed:
		return "ALLOWED: do exactly this, once."
	case p.Decision == behalf.OutcomeRequiresApproval && p.ApprovalID != "":
		return fmt.Sprintf("REQUIRES APPROVAL: don't do it yet. A person has to approve it first: approval %s. Wait with wait_for_approval, then repeat verify_action exactly as before.", p.ApprovalID)
	case p.Decision == behalf.OutcomeRequiresApproval:
		return "REQUIRES APPROVAL: don't do it. The decision names no approval that could be given; ask the person you work for."
	}
	return fmt.Sprintf("DENIED (%s): don't do it, and not by another way either. %s", p.ReasonCode, p.Reason)
}

func (t *Tools) passport(ctx context.Context, in []byte) (answer, error) {
	if err := decode(in, &struct{}{}); err != nil {
		return answer{}, err
	}
	ctx, cancel := t.once(ctx)
	defer cancel()
	agent, err := t.agent(ctx)
	if err != nil {
		return answer{}, t.refused(err)
	}
	p, err := t.Client.Passport(ctx)
	switch {
	case err != nil:
		return answer{}, t.refused(err)
	case p.AgentID != agent:
		return answer{}, errOther
	case p.Status == "":
		return answer{}, fmt.Errorf("%w: the passport doesn't say how it stands", behalf.ErrUnavailable)
	}
	return answer{"The passport of " + p.AgentID + ", who is " + p.Status + ". It allows nothing by itself: ask verify_action before each action.", p}, nil
}

var approvalSchema = schema{required: []string{"approvalId"}, properties: map[string]property{
	"approvalId": text("Id of the approval, as verify_action answered it."),
}}

func (t *Tools) approval(ctx context.Context, in []byte) (answer, error) {
	var q struct {
		ApprovalID string `json:"approvalId"`
	}
	if err := decode(in, &q); err != nil {
		return answer{}, err
	}
	if q.ApprovalID == "" {
		return answer{}, misread{errors.New("/approvalId: is required")}
	}
	a, err := t.look(ctx, q.ApprovalID)
	if err != nil {
		return answer{}, err
	}
	return answer{standing(a), a}, nil
}

// look reads an approval of the agent's own.
func (t *Tools) look(ctx context.Context, id string) (behalf.Approval, error) {
	ctx, cancel := t.once(ctx)
	defer cancel()
	agent, err := t.agent(ctx)
	if err != nil {
		return behalf.Approval{}, t.refused(err)
	}
	a, err := t.Client.Approval(ctx, id)
	switch {
	case err != nil:
		return behalf.Approval{}, t.refused(err)
	case a.AgentID != agent:
		return behalf.Approval{}, errOther
	}
	return a, nil
}

// Bounds of a wait, in seconds. Clients give up on a call after a minute or so.
const (
	usualWait = 45
	mostWait  = 600
)

var waitSchema = schema{required: []string{"approvalId"}, properties: map[string]property{
	"approvalId": text("Id of the approval, as verify_action answered it."),
	"seconds":    {"type": "integer", "minimum": 1, "maximum": mostWait, "default": usualWait, "description": "How long to wait at most. When nobody has answered by then, call it again."},
}}

func (t *Tools) wait(ctx context.Context, in []byte) (answer, error) {
	q := struct {
		ApprovalID string `json:"approvalId"`
		Seconds    int    `json:"seconds"`
	}{Seconds: usualWait}
	if err := decode(in, &q); err != nil {
		return answer{}, err
	}
	switch {
	case q.ApprovalID == "":
		return answer{}, misread{errors.New("/approvalId: is required")}
	case q.Seconds < 1 || q.Seconds > mostWait:
		return answer{}, misread{fmt.Errorf("/seconds: is not a number from 1 to %d", mostWait)}
	}
	a, err := t.look(ctx, q.ApprovalID)
	if err != nil {
		return answer{}, err
	}
	agent := a.AgentID
	if a.State == behalf.ApprovalPending {
		waiting, cancel := context.WithTimeout(ctx, time.Duration(q.Seconds)*time.Second)
		defer cancel()
		answered, err := t.Client.WaitApproval(waiting, q.ApprovalID)
		switch {
		case err == nil && answered.AgentID != agent:
			return answer{}, errOther
		case err == nil:
			a = answered
		case waiting.Err() == nil || ctx.Err() != nil:
			return answer{}, t.refused(err)
		}
	}
	return answer{standing(a), a}, nil
}

// standing is an approval in words.
func standing(a behalf.Approval) string {
	switch a.State {
	case behalf.ApprovalPending:
		return "PENDING: nobody has answered yet, so don't do it. Call wait_for_approval again, or tell the person you work for."
	case behalf.ApprovalApproved:
		return "APPROVED, which allows nothing by itself: repeat verify_action exactly as before, with another idempotency key if there was one, and do it only if that is ALLOWED."
	case behalf.ApprovalUsed:
		return "USED: this approval has been used once, and can't be again. Don't do it again."
	case behalf.ApprovalDenied, behalf.ApprovalExpired, behalf.ApprovalCancelled:
	}
	return "NOT APPROVED: the approval is " + string(a.State) + ". Don't do it, and not by another way either."
}
