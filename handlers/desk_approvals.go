package handlers

import (
	"context"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// MostWait bounds how long a caller may wait for a person.
const MostWait = time.Minute

// ApprovalFor is an approval the caller may read. With a wait it answers when
// people have decided, when the wait is over, or when stopping is done.
func (d *Desk) ApprovalFor(ctx, stopping context.Context, c Caller, id domain.ApprovalID, wait time.Duration) (ApprovalView, error) {
	if wait < 0 || wait > MostWait {
		return ApprovalView{}, domain.RejectField(domain.Invalid, "/wait", "is %s; use at most %s", domain.Duration(wait), domain.Duration(MostWait))
	}
	if err := d.Still(ctx, c); err != nil {
		return ApprovalView{}, err
	}
	if wait > 0 {
		if err := d.await(ctx, stopping, c, id, wait); err != nil {
			return ApprovalView{}, err
		}
	}
	a, err := d.Approvals.Find(ctx, c.Scope(), id)
	if err != nil {
		return ApprovalView{}, err
	}
	return d.viewApproval(c, a)
}

// await waits for an approval. What was true of the caller before may not be
// true any more.
func (d *Desk) await(ctx, stopping context.Context, c Caller, id domain.ApprovalID, wait time.Duration) error {
	leave, err := d.waits.enter(c.Hash)
	if err != nil {
		return err
	}
	defer leave()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stopping, cancel)()
	if _, err := d.Approvals.Wait(waiting, c.Scope(), id, wait); err != nil {
		return err
	}
	return d.Still(ctx, c)
}

// viewApproval shows an approval as the caller may see it.
func (d *Desk) viewApproval(c Caller, a *domain.Approval) (ApprovalView, error) {
	agent := d.Identifier.Passports.Agent(domain.Stream{Account: a.Account, Agent: a.Agent})
	if err := agent.Fault(); err != nil {
		return ApprovalView{}, Unreadable(err)
	}
	if c.IsAgent() {
		return ViewApproval(a, agent.Name, d.Verifier.Now()), nil
	}
	return ViewApprovalInFull(a, agent.Name, d.Verifier.Now()), nil
}

// ApprovalsFor is a page of the approvals the caller may read, the newest first.
// The query's agent narrows it; its account is the caller's.
func (d *Desk) ApprovalsFor(ctx context.Context, c Caller, q ApprovalQuery) (ApprovalPage, error) {
	page := ApprovalPage{Approvals: []ApprovalView{}}
	s, err := c.Reads(q.Agent)
	if err != nil {
		return page, err
	}
	switch q.State {
	case "", domain.ApprovalPending, domain.ApprovalIsApproved, domain.ApprovalIsUsed, domain.ApprovalIsDenied,
		domain.ApprovalHasExpired, domain.ApprovalIsCancelled:
	default:
		return page, domain.RejectField(domain.Invalid, "/state", "must be pending, approved, used, denied, expired or cancelled")
	}
	if err := d.Still(ctx, c); err != nil {
		return page, err
	}
	q.Account, q.Agent = s.Account, s.Agent
	list, cursor, err := d.Approvals.List(q)
	if err != nil {
		return page, err
	}
	for _, a := range list {
		view, err := d.viewApproval(c, a)
		if err != nil {
			return page, err
		}
		page.Approvals = append(page.Approvals, view)
	}
	page.NextCursor = cursor
	return page, nil
}

// Verdict is one of [Writer.Approve], [Writer.Deny] and [Writer.Withdraw].
type Verdict func(w *Writer, ctx context.Context, by Member, a *domain.Approval, comment string) (*domain.Approval, error)

// ReviewFor says what a member says to an approval. No agent does.
func (d *Desk) ReviewFor(ctx context.Context, c Caller, id domain.ApprovalID, say Verdict, comment string) (ApprovalView, error) {
	by, err := c.AsMember(domain.RoleApprover)
	if err != nil {
		return ApprovalView{}, err
	}
	a, err := d.Approvals.Find(ctx, domain.Stream{Account: by.Account}, id)
	if err != nil {
		return ApprovalView{}, err
	}
	if a, err = say(d.Writer, ctx, by, a, comment); err != nil {
		return ApprovalView{}, err
	}
	return d.viewApproval(c, a)
}

// CancelFor takes an approval back: an agent what it asked for itself, without a
// word, a member what any agent of the account has asked.
func (d *Desk) CancelFor(ctx context.Context, c Caller, id domain.ApprovalID, comment string) (ApprovalView, error) {
	switch {
	case !c.IsAgent():
		return d.ReviewFor(ctx, c, id, (*Writer).Withdraw, comment)
	case comment != "":
		return ApprovalView{}, domain.RejectField(domain.Invalid, "/comment", "is for members; an agent only takes back what it asked")
	}
	a, err := d.Approvals.Find(ctx, c.Agent, id)
	if err != nil {
		return ApprovalView{}, err
	}
	if a, err = d.CancelOwn(ctx, c, a); err != nil {
		return ApprovalView{}, err
	}
	return d.viewApproval(c, a)
}
