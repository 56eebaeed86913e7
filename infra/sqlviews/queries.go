package sqlviews

import (
	"context"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// All queries are answered from the view that serves, each from one view only,
// and of one account. They return [projections.ErrNoView] before there is one,
// and a [projections.Stopped] when it met an event that it could not apply.

// Decisions is a page of decisions, newest first, and the cursor of the next
// one, zero when there is none. Pages stay as they are while rows are added.
func (s *Store) Decisions(ctx context.Context, f projections.DecisionFilter, limit int, after projections.Cursor) (rows []projections.DecisionRow, next projections.Cursor, err error) {
	return s.listDecisions(ctx, f, limit, after)
}

// EachDecision calls yield with every decision that matches, newest first, as
// they were when it began, and returns the first error yield does. It needs the
// memory of one row, however many there are.
func (s *Store) EachDecision(ctx context.Context, f projections.DecisionFilter, yield func(projections.DecisionRow) error) error {
	return s.eachDecision(ctx, f, yield)
}

// Totals counts the decisions that match, by outcome and currency, in the order
// of these.
func (s *Store) Totals(ctx context.Context, f projections.DecisionFilter) ([]projections.Total, error) {
	return s.totals(ctx, f)
}

// Decision is one decision of an account, and of an agent if one is given. It
// returns a [domain.RuleError] with [domain.NotFound] when there is none.
func (s *Store) Decision(ctx context.Context, account domain.AccountID, agent domain.AgentID, id domain.RequestID) (projections.DecisionRow, error) {
	return s.decision(ctx, account, agent, id)
}

// Usage is a page of what was decided per agent, day, outcome and currency, the
// newest day first, then by these, and the cursor of the next one, zero when
// there is none.
func (s *Store) Usage(ctx context.Context, f projections.UsageFilter, limit int, after projections.UsageCursor) (list []projections.Usage, next projections.UsageCursor, err error) {
	return s.usage(ctx, f, limit, after)
}

// Changes is a page of what changed an account and its agents, newest first: of
// one agent if one is given. The next cursor is zero when there is no more.
func (s *Store) Changes(ctx context.Context, account domain.AccountID, agent domain.AgentID, limit int, after projections.Cursor) (rows []projections.ChangeRow, next projections.Cursor, err error) {
	return s.changes(ctx, account, agent, limit, after)
}

// Agents is a page of an account's agents by id, those after the id given.
func (s *Store) Agents(ctx context.Context, account domain.AccountID, limit int, after domain.AgentID) ([]projections.AgentRow, error) {
	return s.agents(ctx, account, limit, after)
}

// Agent is one agent of an account, or a [domain.RuleError] with
// [domain.NotFound].
func (s *Store) Agent(ctx context.Context, account domain.AccountID, id domain.AgentID) (projections.AgentRow, error) {
	return s.agent(ctx, account, id)
}

// Permissions is every wording of every permission an agent ever had, oldest
// first.
func (s *Store) Permissions(ctx context.Context, account domain.AccountID, agent domain.AgentID) ([]projections.PermissionRow, error) {
	return s.permissions(ctx, account, agent)
}

// Members is every member an account ever had, by id.
func (s *Store) Members(ctx context.Context, account domain.AccountID) ([]projections.MemberRow, error) {
	return s.members(ctx, account)
}

// Approvals is a page of approvals with their votes, the newest opened first,
// and the cursor of the next one, zero when there is none.
func (s *Store) Approvals(ctx context.Context, f projections.ApprovalFilter, limit int, after projections.Cursor) (rows []projections.ApprovalRow, next projections.Cursor, err error) {
	return s.approvals(ctx, f, limit, after)
}

// Approval is one approval of an account with its votes, and of an agent if one
// is given, or a [domain.RuleError] with [domain.NotFound].
func (s *Store) Approval(ctx context.Context, account domain.AccountID, agent domain.AgentID, id domain.ApprovalID) (projections.ApprovalRow, error) {
	return s.approval(ctx, account, agent, id)
}
