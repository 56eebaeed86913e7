package authzen

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// mostEvaluations bounds how many one request may hold: each is recorded.
const mostEvaluations = 100

// mostTime bounds all evaluations of one request together: those that come too
// late are a no, which can still be answered.
const mostTime = 20 * time.Second

// Evaluate answers one evaluation: an agent's is a verify, a member's a preview,
// which never says yes.
func (p PDP) Evaluate(ctx context.Context, c handlers.Caller, body []byte) (Decision, error) {
	var in evaluation
	if err := handlers.DecodeOpen(body, &in); err != nil {
		return Decision{}, err
	}
	return p.evaluate(ctx, c, in)
}

func (p PDP) evaluate(ctx context.Context, c handlers.Caller, in evaluation) (Decision, error) {
	a, err := in.understand(whole)
	if err != nil {
		return Decision{}, err
	}
	s, err := agentOf(c, a.subject)
	if err != nil {
		return Decision{}, err
	}
	if !c.IsAgent() {
		return p.preview(ctx, s, &a.ask)
	}
	if a.approval != "" {
		if d, err := p.checkApproval(ctx, c, a); d != nil || err != nil {
			return orDeny(d), err
		}
	}
	r, err := p.Desk.VerifyAsk(ctx, c, &a.ask)
	if err != nil {
		return Decision{}, err
	}
	return p.decision(r, s, a)
}

func orDeny(d *Decision) Decision {
	if d == nil {
		return Decision{}
	}
	return *d
}

// agentOf is the agent that a subject names: a key's own, or any of a member's
// account.
func agentOf(c handlers.Caller, subject entity) (domain.Stream, error) {
	s := c.Scope()
	switch {
	case subject.Type != subjectType && c.IsAgent(), c.IsAgent() && subject.ID != string(s.Agent):
		return s, domain.RejectField(domain.Forbidden, "/subject", `must be the agent whose key was sent: {"type": "agent", "id": its id}`)
	case subject.Type != subjectType || !domain.ValidID(subject.ID):
		return s, domain.RejectField(domain.NotFound, "/subject", `is not known; subjects are agents: {"type": "agent", "id": an agent's id}`)
	}
	s.Agent = domain.AgentID(subject.ID)
	return s, nil
}

var errOther = errors.New("the decision that was recorded is about something else")

// decision is the answer that a recorded decision gives: true only for an allow
// of just this agent and action.
func (p PDP) decision(r domain.Recorded, s domain.Stream, a asked) (Decision, error) {
	packet, err := domain.PacketOf(r)
	if err != nil {
		return Decision{}, err
	}
	if r.Stream() != s || packet.AgentID != s.Agent || packet.Action != a.ask.Action || r.Position.Seq == 0 {
		return Decision{}, errOther
	}
	receipt, err := p.Desk.Receipts.Sign(r)
	if err != nil {
		return Decision{}, err
	}
	d := Decision{Decision: packet.Allowed, Context: &Context{
		Receipt: receipt,
		Reason:  packet.Reason, ReasonCode: packet.ReasonCode, RequestID: packet.RequestID, Risk: packet.RiskLevel,
		PassportVersion: packet.PassportVersion, ApprovalID: packet.ApprovalID,
		EvaluationID: packet.RequestID, EvaluatedAt: packet.DecidedAt,
	}}
	switch {
	case packet.ApprovalRequired:
		p.requestable(&d, packet)
	case !packet.Allowed && a.approval != "":
		d.Context.Reason, d.Context.NextAction = "policy_denied", "none"
	}
	return d, nil
}

// requestable makes a denial one that a person can lift.
func (p PDP) requestable(d *Decision, packet domain.Packet) {
	approval := p.Desk.Identifier.Passports.Approval(packet.ApprovalID)
	if approval == nil {
		return // closed meanwhile, and forgotten; a denial all the same
	}
	d.Context.AccessRequest = &AccessRequest{
		Endpoint: p.Base + RequestsPath, ExpiresAt: approval.ExpiresAt,
		Display: Display{Title: "A person has to approve this", Description: d.Context.Reason},
	}
	d.Context.Reason = "approval_required"
}

// preview says what a verify would be answered. It is not recorded, and so not a
// yes: a preview that is taken for a decision must not let anything through.
func (p PDP) preview(ctx context.Context, s domain.Stream, ask *domain.Ask) (Decision, error) {
	d, known, err := p.Desk.Preview(ctx, s, ask)
	if err != nil {
		return Decision{}, err
	}
	return Decision{Context: &Context{
		Preview: true, WouldBe: d.Outcome, Reason: d.Reason, ReasonCode: d.ReasonCode, Risk: d.Risk,
		PassportVersion: d.PassportVersion, ApprovalID: d.ApprovalID, EvaluatedAt: known.Now,
	}}, nil
}

// evaluations is a request for many.
type evaluations struct {
	evaluation  `json:",inline"`
	Evaluations []jsontext.Value `json:"evaluations"`
	Options     struct {
		Semantic string `json:"evaluations_semantic"`
	} `json:"options"`
}

// Decisions are the answers to many evaluations, in their order. Of those that
// were not made any more there are none.
type Decisions struct {
	Evaluations []Decision `json:"evaluations"`
}

// stops says after which decision no more evaluations are made.
func stops(semantic string) (func(bool) bool, error) {
	switch semantic {
	case "", "execute_all":
		return func(bool) bool { return false }, nil
	case "deny_on_first_deny":
		return func(yes bool) bool { return !yes }, nil
	case "permit_on_first_permit":
		return func(yes bool) bool { return yes }, nil
	}
	return nil, domain.RejectField(domain.Invalid, "/options/evaluations_semantic", "must be execute_all, deny_on_first_deny or permit_on_first_permit")
}

// EvaluateAll makes evaluations one after another, each as if it were alone: it
// is recorded, and counts against limits. Where none are listed, it answers the
// one that the request itself is, with a [Decision]; else with [Decisions].
func (p PDP) EvaluateAll(ctx context.Context, c handlers.Caller, body []byte) (any, error) {
	var in evaluations
	if err := handlers.DecodeOpen(body, &in); err != nil {
		return nil, err
	}
	if len(in.Evaluations) > mostEvaluations {
		return nil, domain.RejectField(domain.Invalid, "/evaluations", "has %d; at most %d are taken", len(in.Evaluations), mostEvaluations)
	}
	stop, err := stops(in.Options.Semantic)
	switch {
	case err != nil:
		return nil, err
	case len(in.Evaluations) == 0:
		return p.evaluate(ctx, c, in.evaluation)
	}
	ctx, cancel := context.WithTimeout(ctx, mostTime)
	defer cancel()
	out := Decisions{Evaluations: make([]Decision, 0, len(in.Evaluations))}
	for i, item := range in.Evaluations {
		d := p.item(ctx, c, in.evaluation, item, i > 0)
		out.Evaluations = append(out.Evaluations, d)
		if stop(d.Decision) {
			break
		}
	}
	return out, nil
}

// item makes one evaluation of many. What goes wrong with it is its own, and a no.
func (p PDP) item(ctx context.Context, c handlers.Caller, defaults evaluation, body jsontext.Value, limited bool) Decision {
	if limited { // the first was counted with the request
		limits := p.Desk.Limits.Members
		if c.IsAgent() {
			limits = p.Desk.Limits.Agents
		}
		if err := limits.Pass(string(c.Hash)); err != nil {
			return failed(err)
		}
	}
	var in evaluation
	if body.Kind() != '{' {
		return failed(domain.Reject(domain.Invalid, "the evaluation must be an object"))
	}
	if err := handlers.DecodePart("", body, &in); err != nil {
		return failed(err)
	}
	in, err := in.orElse(defaults)
	if err != nil {
		return failed(err)
	}
	d, err := p.evaluate(ctx, c, in)
	if err != nil {
		if handlers.FaultOf(err).Status >= 500 {
			p.Desk.Faults.Tell(ctx, "authzen", err)
		}
		return failed(err)
	}
	return d
}
