package handlers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Desk is what every surface serves: who may ask for what, and what is answered.
// Surfaces only translate; a rule that stood in one of them would be missing in
// the next.
type Desk struct {
	*Identifier
	*Verifier
	*Writer
	*History
	Queries *Queries
	// Events is nil on a node that has none.
	Events    EventSource
	Approvals *Approvals
	Shadows   *Shadows
	Webhooks  *Webhooks
	Links     *Links
	// Receipts is nil on a node that signs none.
	Receipts *Receipts
	Limits   Limits
	Faults   Faults

	waits waits
}

// Faults tells the operator what broke. A fault that every request meets would
// drown what else there is to read, so one a second is told.
type Faults struct {
	Logs *slog.Logger
	Now  func() time.Time

	mu sync.Mutex
	// told and since are guarded by mu: when one was told, and how many were not
	// since then.
	told  time.Time
	since int
}

// Tell tells of an error that made a surface answer that the permission layer
// is unavailable. A caller who has gone broke nothing.
func (f *Faults) Tell(ctx context.Context, surface string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	f.mu.Lock()
	now := f.Now()
	if now.Sub(f.told) < time.Second {
		f.since++
		f.mu.Unlock()
		return
	}
	more := f.since
	f.told, f.since = now, 0
	f.mu.Unlock()
	f.Logs.WarnContext(ctx, "unavailable", slog.String("surface", surface), slog.Int("more_before", more), slog.Any("error", err))
}

// Limits bound how often callers may come. Each is per node.
type Limits struct {
	Agents  *Limiter // by agent key
	Reads   *Limiter // by agent key, for what reads and decides nothing
	Members *Limiter // by member token
	// Addresses bounds everything from one address, Failures what it sends
	// with a credential that is not good.
	Addresses *Limiter
	Failures  *Limiter
}

// Admit finds the caller with a credential, within the limits. The address is
// where the message came from, or empty where that isn't known. What fails on
// an address never stands in the way of a good credential from there: keys of
// 256 bits need no shield from guessing, the node needs one from the noise.
func (d *Desk) Admit(ctx context.Context, address, authorization string) (Caller, error) {
	return d.admit(ctx, address, authorization, d.Limits.Agents)
}

// AdmitReader is Admit for what reads and decides nothing: an agent that waits
// for an answer must not use up what it may verify.
func (d *Desk) AdmitReader(ctx context.Context, address, authorization string) (Caller, error) {
	return d.admit(ctx, address, authorization, d.Limits.Reads)
}

func (d *Desk) admit(ctx context.Context, address, authorization string, agents *Limiter) (Caller, error) {
	if address != "" {
		if err := d.Limits.Addresses.Pass(address); err != nil {
			return Caller{}, err
		}
	}
	caller, err := d.identify(ctx, authorization)
	switch {
	case errors.Is(err, ErrCredential):
		return Caller{}, cmp.Or(d.Limits.Failures.Pass(address), err)
	case err != nil:
		return Caller{}, err
	case caller.IsAgent():
		return caller, agents.Pass(string(caller.Hash))
	}
	return caller, d.Limits.Members.Pass(string(caller.Hash))
}

func (d *Desk) identify(ctx context.Context, authorization string) (Caller, error) {
	hash, err := Bearer(authorization)
	if err != nil {
		return Caller{}, err
	}
	if err := d.mayDecide(); err != nil { // else a key not read from the log yet would seem unknown
		return Caller{}, err
	}
	return d.Identify(ctx, hash)
}

// IsAgent reports whether the caller is an agent.
func (c Caller) IsAgent() bool { return c.Agent.Agent != "" }

// AsAgent is the agent's stream, or a refusal if the caller is a member.
func (c Caller) AsAgent() (domain.Stream, error) {
	if !c.IsAgent() {
		return domain.Stream{}, domain.Reject(domain.Forbidden, "this is for agents; send an agent key (%s…), not a member token", domain.AgentKeyPrefix)
	}
	return c.Agent, nil
}

// AsMember is the member, or a refusal if the caller is an agent or has a lower
// role than is needed.
func (c Caller) AsMember(least domain.Role) (Member, error) {
	if c.IsAgent() {
		return Member{}, domain.Reject(domain.Forbidden, "this is for members; agents verify and read their own, they never manage")
	}
	if !c.Member.Role.AtLeast(least) {
		return Member{}, domain.Reject(domain.Forbidden, "this needs the role %s or higher; yours is %s", least, c.Member.Role)
	}
	return c.Member, nil
}

// VerifyFor verifies for a caller, who must be an agent.
func (d *Desk) VerifyFor(ctx context.Context, c Caller, body []byte) (domain.Recorded, error) {
	r, err := d.verifyFor(ctx, c, body)
	d.Metrics.Answered(r, err)
	return r, err
}

func (d *Desk) verifyFor(ctx context.Context, c Caller, body []byte) (domain.Recorded, error) {
	if _, err := c.AsAgent(); err != nil {
		return domain.Recorded{}, err
	}
	var ask domain.Ask
	if err := Decode(body, &ask); err != nil {
		return domain.Recorded{}, err
	}
	return d.Verify(ctx, c.Hash, &ask)
}

// PreviewFor previews for a caller: an agent its own, a member any of the
// account. It goes by what is known here and reads nothing.
func (d *Desk) PreviewFor(ctx context.Context, c Caller, body []byte) (PreviewView, error) {
	var ask domain.Ask
	if err := Decode(body, &ask); err != nil {
		return PreviewView{}, err
	}
	s := c.Agent
	switch {
	case c.IsAgent() && ask.AgentID != "" && ask.AgentID != s.Agent:
		return PreviewView{}, ErrCredential
	case c.IsAgent():
	case ask.AgentID == "":
		return PreviewView{}, domain.RejectField(domain.Invalid, "/agentId", "is required with a member token")
	default:
		s = domain.Stream{Account: c.Member.Account, Agent: ask.AgentID}
	}
	decision, known, err := d.Preview(ctx, s, &ask)
	if err != nil {
		return PreviewView{}, err
	}
	return ViewPreview(s.Agent, decision, known), nil
}

// PassportFor is the caller's own passport.
func (d *Desk) PassportFor(ctx context.Context, c Caller) (PassportView, error) {
	s, err := c.AsAgent()
	if err != nil {
		return PassportView{}, err
	}
	if err := d.Still(ctx, c); err != nil {
		return PassportView{}, err
	}
	return d.passport(d.Identifier.Passports.Agent(s))
}

// PassportOf is the passport of an agent of the account, as its agent reads it.
func (d *Desk) PassportOf(a *domain.Agent) (PassportView, error) { return d.passport(a) }

func (d *Desk) passport(a *domain.Agent) (PassportView, error) {
	view, _, err := d.passportAnd(a)
	return view, err
}

// passportAnd is a passport, and the account's budget as it shows it.
func (d *Desk) passportAnd(a *domain.Agent) (PassportView, *domain.SharedBudget, error) {
	budget := &domain.SharedBudget{}
	if a.Shared {
		var err error
		if budget, err = d.budget(a.Account); err != nil {
			return PassportView{}, nil, err
		}
	}
	return ViewPassport(a, budget, d.Verifier.Now()), budget, nil
}

func (d *Desk) budget(account domain.AccountID) (*domain.SharedBudget, error) {
	budget := d.Identifier.Passports.Budget(account)
	if err := budget.Fault(); err != nil {
		return nil, Unreadable(err)
	}
	return budget, nil
}

// AccountLimitsFor is what limits all agents of the caller's account together.
func (d *Desk) AccountLimitsFor(c Caller) (AccountLimitsView, error) {
	m, err := c.AsMember(domain.RoleViewer)
	if err != nil {
		return AccountLimitsView{}, err
	}
	budget, err := d.budget(m.Account)
	if err != nil {
		return AccountLimitsView{}, err
	}
	return ViewAccountLimits(budget, d.Verifier.Now()), nil
}

// Scope is all the caller may read: an agent its own, a member the account's.
func (c Caller) Scope() domain.Stream {
	if c.IsAgent() {
		return c.Agent
	}
	return domain.Stream{Account: c.Member.Account}
}

// Reads is Scope, narrowed to one agent if one is named.
func (c Caller) Reads(agent domain.AgentID) (domain.Stream, error) {
	s := c.Scope()
	if agent == "" || agent == s.Agent {
		return s, nil
	}
	if c.IsAgent() || !domain.ValidID(string(agent)) {
		return s, domain.RejectField(domain.NotFound, "/agentId", "no such agent")
	}
	s.Agent = agent
	return s, nil
}
