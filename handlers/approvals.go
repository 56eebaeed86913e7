package handlers

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// Approvals answers what people were asked, and what they said.
type Approvals struct {
	Passports  *projections.Passports
	Now        func() time.Time
	Partitions func() int
	// Current returns once everything the log holds now has been folded here.
	Current func(ctx context.Context, partition uint16) error
}

// Find returns an approval of an account, and of one agent if the stream names
// one. One that was opened on another node a moment ago is waited for.
func (a *Approvals) Find(ctx context.Context, s domain.Stream, id domain.ApprovalID) (*domain.Approval, error) {
	if !domain.ValidID(string(id)) {
		return nil, domain.Reject(domain.NotFound, "no such approval; an id is %s and 26 characters", domain.ApprovalPrefix)
	}
	found := a.Passports.Approval(id)
	if found == nil {
		if err := a.Current(ctx, domain.PartitionOf(s.Account, a.Partitions())); err != nil {
			return nil, unavailable(err, "this node is behind the log; try again")
		}
		found = a.Passports.Approval(id)
	}
	if found == nil || found.Account != s.Account || s.Agent != "" && found.Agent != s.Agent {
		return nil, domain.Reject(domain.NotFound, "no approval %s", id)
	}
	return found, nil
}

// Wait returns an approval when it is pending no more, or as it is after a while.
func (a *Approvals) Wait(ctx context.Context, s domain.Stream, id domain.ApprovalID, most time.Duration) (*domain.Approval, error) {
	found, err := a.Find(ctx, s, id)
	if err != nil || most <= 0 {
		return found, err
	}
	over := time.NewTimer(most)
	defer over.Stop()
	expires := time.NewTimer(max(found.ExpiresAt.Sub(a.Now()), 0))
	defer expires.Stop()
	for {
		changed := a.Passports.Changed(domain.Stream{Account: found.Account, Agent: found.Agent})
		if found = a.Passports.Approval(id); found.StateAt(a.Now()) != domain.ApprovalPending {
			return found, nil
		}
		select {
		case <-changed:
		case <-expires.C: // the clock that counts may be a little behind the timer
			expires.Reset(max(found.ExpiresAt.Sub(a.Now()), time.Millisecond))
		case <-over.C:
			return found, nil
		case <-ctx.Done():
			return found, nil
		}
	}
}

// ApprovalQuery says which approvals of an account are wanted. The zero value of
// a field is no limit.
type ApprovalQuery struct {
	Account      domain.AccountID
	Agent        domain.AgentID
	State        domain.ApprovalState
	PermissionID domain.PermissionID
	Limit        int
	// After is the last approval of the page before.
	After domain.ApprovalID
}

// List returns a page of approvals, the newest first, and the cursor of the next
// page, empty when there is none.
func (a *Approvals) List(q ApprovalQuery) (page []*domain.Approval, cursor domain.ApprovalID, err error) {
	skipping := q.After != ""
	after := a.Passports.Approval(q.After)
	if skipping && (after == nil || after.Account != q.Account || q.Agent != "" && after.Agent != q.Agent) {
		return nil, "", domain.RejectField(domain.Invalid, "/cursor", "is not a cursor of this list; send the nextCursor of the page before")
	}
	list := a.Passports.Approvals(q.Account)
	if q.State.Open() {
		list, skipping = a.open(q, after), false
	}
	now := a.Now()
	for p := range list {
		switch {
		case skipping:
			skipping = p.ID != q.After
		case q.Agent != "" && p.Agent != q.Agent,
			q.State != "" && p.StateAt(now) != q.State,
			q.PermissionID != "" && p.PermissionID != q.PermissionID:
		case q.Limit > 0 && len(page) == q.Limit:
			return page, page[len(page)-1].ID, nil
		default:
			page = append(page, p)
		}
	}
	return page, "", nil
}

// open yields the approvals that agents hold still, the newest first, from behind
// one on if there is one. They are few; those there ever were are not.
func (a *Approvals) open(q ApprovalQuery, after *domain.Approval) iter.Seq[*domain.Approval] {
	agents := []*domain.Agent{a.Passports.Agent(domain.Stream{Account: q.Account, Agent: q.Agent})}
	if q.Agent == "" {
		agents = a.Passports.Agents(q.Account)
	}
	newestFirst := func(a, b *domain.Approval) int {
		return cmp.Or(b.Opened.Compare(a.Opened), cmp.Compare(b.ID, a.ID))
	}
	var list []*domain.Approval
	for _, agent := range agents {
		for _, p := range agent.Approvals() {
			if after == nil || newestFirst(after, p) < 0 {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, newestFirst)
	return slices.Values(list)
}

// reviewing is an act of a member's on what an agent asks.
func (m Member) reviewing(agent domain.AgentID) act {
	a := m.on(agent)
	a.least = domain.RoleApprover
	return a
}

// acts is an act of an agent's own, with the key it identified itself by.
func (c Caller) acts() act {
	return act{by: domain.ByAgent(c.Agent.Agent), key: c.Hash, stream: c.Agent}
}

// Approve says a member's yes to what an agent asks.
func (w *Writer) Approve(ctx context.Context, by Member, a *domain.Approval, comment string) (*domain.Approval, error) {
	return w.review(ctx, by, a, comment, domain.Agent.Approve)
}

// Deny says a member's no.
func (w *Writer) Deny(ctx context.Context, by Member, a *domain.Approval, comment string) (*domain.Approval, error) {
	return w.review(ctx, by, a, comment, domain.Agent.Deny)
}

// Withdraw takes an approval back, open or given. Once it returns, no verify
// that starts anywhere can use it.
func (w *Writer) Withdraw(ctx context.Context, by Member, a *domain.Approval, comment string) (*domain.Approval, error) {
	return w.review(ctx, by, a, comment, domain.Agent.Withdraw)
}

func (w *Writer) review(
	ctx context.Context, by Member, a *domain.Approval, comment string,
	decide func(domain.Agent, domain.Review) ([]domain.Event, error),
) (*domain.Approval, error) {
	act := by.reviewing(a.Agent)
	act.cause = string(a.RequestID)
	_, err := w.agentAt(ctx, act, func(agent domain.Agent, account domain.Account, now time.Time) ([]domain.Event, error) {
		return decide(agent, domain.Review{ApprovalID: a.ID, By: by.ID, Comment: comment, Account: account, Now: now})
	})
	return w.approval(a, err)
}

// CancelOwn takes back what an agent asked for itself.
func (w *Writer) CancelOwn(ctx context.Context, c Caller, a *domain.Approval) (*domain.Approval, error) {
	act := c.acts()
	act.cause = string(a.RequestID)
	_, err := w.agentAt(ctx, act, func(agent domain.Agent, _ domain.Account, now time.Time) ([]domain.Event, error) {
		return agent.Cancel(a.ID, now)
	})
	return w.approval(a, err)
}

// approval is an approval after an act on it. A passport forgets those that
// decide nothing any more; what became of them is told all the same.
func (w *Writer) approval(a *domain.Approval, err error) (*domain.Approval, error) {
	now := w.Passports.Approval(a.ID)
	if rule, ok := errors.AsType[*domain.RuleError](err); ok && rule.Code == domain.NotFound && now != nil {
		return nil, now.Closed(w.Now())
	}
	return now, err
}

// Settle reports what came of an allow of an agent's that spent, and gives back
// what it spent less than was reserved.
func (w *Writer) Settle(ctx context.Context, c Caller, cmd domain.SettleDecision) (domain.Reservation, error) {
	shared := domain.Stream{Account: c.Agent.Account, Budget: true}
	act := c.acts()
	act.cause = string(cmd.RequestID)
	var settled domain.Reservation // as of the last attempt: many newer ones push it out of the passport
	_, err := w.agentAt(ctx, act, func(agent domain.Agent, _ domain.Account, _ time.Time) ([]domain.Event, error) {
		events, back, err := agent.Settle(cmd)
		if err != nil {
			return nil, err
		}
		settled, _ = agent.Reservation(cmd.RequestID)
		if len(events) > 0 {
			e := events[0].(domain.DecisionSettled)
			settled.Settled = &e
		}
		if back == nil {
			return events, nil
		}
		if err := catchUp(ctx, w.Log, w.Passports, shared); err != nil {
			return nil, err
		}
		return append(events, *back), nil
	})
	return settled, err
}
