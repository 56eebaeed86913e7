package mcpproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

// Gate asks a server what may pass. Its zero value lets nothing pass.
type Gate struct {
	// Client asks with the agent's key; without one Fault says why there is none.
	Client *behalf.Client
	Fault  error
	// Agent is whose packets are taken; empty stands for whose key it is.
	Agent string
	Facts behalf.Facts
	// Timeout is how long one answer may take. Wait is how long a person's may, on
	// top of it; 0 doesn't wait.
	Timeout, Wait time.Duration

	owner before.Owner
}

// decision is what a refusal says for programs.
type decision struct {
	Decision   string `json:"decision"`
	ReasonCode string `json:"reasonCode"`
	RequestID  string `json:"requestId,omitempty"`
	ApprovalID string `json:"approvalId,omitempty"`
	RiskLevel  string `json:"riskLevel,omitempty"`
}

// unavailable is the server's own code for not having decided.
const unavailable = "UNAVAILABLE"

// allow returns nothing if every ask is allowed, by a recorded decision on
// exactly it. Done with people ends the waiting for a person.
func (g *Gate) allow(ctx context.Context, people <-chan struct{}, list []behalf.Ask) (f *fault) {
	defer func() {
		if broken := recover(); broken != nil {
			f = g.broken(fmt.Errorf("the proxy failed: %v", broken))
		}
	}()
	if len(list) == 0 {
		return g.broken(errors.New("the request touches nothing that could be asked about"))
	}
	for i := range list {
		if f := g.one(ctx, people, list[i]); f != nil {
			return f
		}
	}
	return nil
}

// one asks about one thing, and waits for a person if it was told to.
func (g *Gate) one(ctx context.Context, people <-chan struct{}, ask behalf.Ask) *fault {
	if g.Client == nil {
		return g.broken(g.Fault)
	}
	var err error
	if ask.AgentID, err = g.agent(ctx); err != nil {
		return g.broken(err)
	}
	ask.Context = g.Facts
	if err := fit(&ask); err != nil {
		return g.broken(err)
	}
	packet, err := g.verify(ctx, ask)
	if err != nil {
		return g.broken(err)
	}
	if packet.Decision != behalf.OutcomeRequiresApproval || packet.ApprovalID == "" || g.Wait <= 0 {
		return decided(packet)
	}
	a, err := g.await(ctx, people, packet.ApprovalID)
	switch {
	case err != nil:
		return g.broken(err)
	case a.State == behalf.ApprovalPending:
		return decided(packet)
	case a.State != behalf.ApprovalApproved && a.State != behalf.ApprovalUsed:
		return refused(packet, a) // not asked again: that could open another one
	}
	if packet, err = g.verify(ctx, ask); err != nil {
		return g.broken(err)
	}
	return decided(packet)
}

// agent is whose packets are taken.
func (g *Gate) agent(ctx context.Context) (string, error) {
	if g.Agent != "" {
		return g.Agent, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	return g.owner.Of(ctx, g.Client)
}

func (g *Gate) verify(ctx context.Context, ask behalf.Ask) (behalf.Packet, error) {
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	return g.Client.Verify(ctx, ask)
}

// await waits for a person. An approval that is pending still is no error: the
// time is over, or nobody is there any more to be answered.
func (g *Gate) await(ctx context.Context, people <-chan struct{}, id string) (behalf.Approval, error) {
	waiting, cancel := context.WithTimeout(ctx, g.Wait)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-people:
			cancel()
		case <-stop:
		}
	}()
	a, err := g.Client.WaitApproval(waiting, id)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return behalf.Approval{ApprovalID: id, State: behalf.ApprovalPending}, nil
	}
	return a, err
}

// would reports whether a call of a tool could be allowed, with a person's yes
// at most.
func (g *Gate) would(ctx context.Context, resource string) (bool, error) {
	if g.Client == nil {
		return false, g.Fault
	}
	agent, err := g.agent(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	ask := behalf.Ask{AgentID: agent, Action: ActionCall, Resource: resource, Context: g.Facts}
	p, err := g.Client.Preview(ctx, ask)
	switch {
	case err != nil:
		return false, err
	case p.Action != ask.Action || p.Resource != ask.Resource || p.AgentID != agent:
		return false, fmt.Errorf("%w: the answer is about something else", behalf.ErrUnavailable)
	case p.ReasonCode == unavailable:
		return false, fmt.Errorf("%w: %s", behalf.ErrUnavailable, p.Reason)
	}
	switch p.WouldBe {
	case behalf.OutcomeAllowed, behalf.OutcomeRequiresApproval:
		return true, nil
	case behalf.OutcomeDenied:
		return false, nil
	}
	return false, fmt.Errorf("%w: the answer, %q, is unknown", behalf.ErrUnavailable, p.WouldBe)
}

// decided is what a packet says; nothing for an allow. The client has made sure
// that it is a whole decision on what was asked.
func decided(p behalf.Packet) *fault {
	data := decision{string(p.Decision), p.ReasonCode, p.RequestID, p.ApprovalID, p.RiskLevel}
	reason := before.Sentence(p.Reason)
	switch {
	case p.Allowed && p.Decision == behalf.OutcomeAllowed:
		return nil
	case p.ReasonCode == unavailable:
		f := (*Gate)(nil).broken(fmt.Errorf("%s (request %s)", reason, p.RequestID))
		f.Data = decision{unavailableDecision, unavailable, p.RequestID, "", ""}
		return f
	case p.Decision == behalf.OutcomeRequiresApproval && p.ApprovalID == "":
		return &fault{CodeDenied, before.Plain(fmt.Sprintf("Needs approval: %s. Request %s, which names no approval that could be given. Ask the person you work for.", reason, p.RequestID)), data}
	case p.Decision == behalf.OutcomeRequiresApproval:
		return &fault{CodeDenied, before.Plain(fmt.Sprintf("Needs approval: a person has to approve this request first: %s. Approval %s, request %s. "+
			"A reviewer answers with: behalf approvals approve %s. Once it is approved, repeat exactly the same request; another one needs another approval.",
			reason, p.ApprovalID, p.RequestID, p.ApprovalID)), data}
	}
	return &fault{CodeDenied, before.Plain(fmt.Sprintf("Denied by the agent's passport: %s (%s). Request %s. Don't try to reach the same by another way; ask the person you work for.",
		reason, p.ReasonCode, p.RequestID)), data}
}

// refused is an approval that was not given.
func refused(p behalf.Packet, a behalf.Approval) *fault {
	text := fmt.Sprintf("Denied: approval %s is %s", a.ApprovalID, a.State)
	if a.Comment != "" {
		text += ": " + before.Sentence(a.Comment)
	}
	text += ". Request " + p.RequestID + ". Don't try to reach the same by another way; ask the person you work for."
	return &fault{CodeDenied, before.Plain(text), decision{string(behalf.OutcomeDenied), "APPROVAL_" + strings.ToUpper(string(a.State)), p.RequestID, a.ApprovalID, p.RiskLevel}}
}

// unavailableDecision is said in place of a decision that there is none of.
const unavailableDecision = "unavailable"

// broken is a request that was not decided.
func (g *Gate) broken(err error) *fault {
	switch {
	case err == nil:
		err = errors.New("the proxy has no server to ask")
	case errors.Is(err, context.Canceled):
		err = errors.New("the proxy was stopped before there was an answer")
	case errors.Is(err, context.DeadlineExceeded) && g != nil:
		err = fmt.Errorf("there was no whole answer within %s", g.Timeout)
	}
	text := fmt.Sprintf("The permission layer is unavailable, so nothing is allowed; this is not a denial: %s. Nothing was passed on. Tell the person you work for.", before.Sentence(err.Error()))
	return &fault{CodeUnavailable, before.Plain(text), decision{Decision: unavailableDecision, ReasonCode: unavailable}}
}

// fit makes an ask small enough to be sent: its arguments, which are digested
// anyway, become their digest.
func fit(ask *behalf.Ask) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return fmt.Errorf("the request can't be written as JSON: %w", err)
	}
	if len(body) <= before.MostBody {
		return nil
	}
	arguments, err := json.Marshal(ask.Arguments)
	if err != nil {
		return fmt.Errorf("the arguments can't be written as JSON: %w", err)
	}
	digest, err := before.DigestOf(arguments)
	if err != nil {
		return fmt.Errorf("the arguments %w", err)
	}
	ask.Arguments = digest
	return nil
}
