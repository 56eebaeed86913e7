package sqlviews

import (
	"context"
	"fmt"
	"strconv"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

const selectApprovals = `SELECT partition, seq, account, agent, approval_id, request_id, used_by, permission_id, state, risk, action,
	digest, min_role, quorum, opened_at, expires_at, resolved_at, resolved_by, comment, shared, reminders, version, record FROM approvals_v0`

func scanApproval(scan scan) (a projections.ApprovalRow, err error) {
	err = scan(
		&a.Partition, &a.Seq, &a.Account, &a.Agent, &a.ApprovalID, &a.RequestID, &a.UsedBy, &a.PermissionID, &a.State, &a.Risk,
		&a.Action, &a.Digest, &a.MinRole, &a.Quorum, moment{&a.OpenedAt}, moment{&a.ExpiresAt}, moment{&a.ResolvedAt}, &a.ResolvedBy,
		&a.Comment, &a.Shared, &a.Reminders, &a.Version, &a.Record,
	)
	return a, err
}

// whereState adds that an approval is in a state by the clock.
func (w *where) whereState(f projections.ApprovalFilter) {
	switch f.State {
	case "":
	case domain.ApprovalHasExpired:
		w.add("(state = 'expired' OR state IN ('pending', 'approved') AND expires_at <= ?)", f.Now)
	case domain.ApprovalPending, domain.ApprovalIsApproved:
		w.is("state", string(f.State))
		w.add("expires_at > ?", f.Now)
	case domain.ApprovalIsUsed, domain.ApprovalIsDenied, domain.ApprovalIsCancelled:
		w.is("state", string(f.State))
	default:
		w.nothing = true
	}
}

func (s *Store) approvals(ctx context.Context, f projections.ApprovalFilter, limit int, after projections.Cursor) (rows []projections.ApprovalRow, next projections.Cursor, err error) {
	w := whereOf(f.Account)
	w.is("agent", string(f.Agent))
	w.is("permission_id", string(f.PermissionID))
	w.whereState(f)
	w.before(after)
	rows, err = s.readApprovals(ctx, w, limit+1)
	if len(rows) > limit {
		rows = rows[:limit]
		next = projections.Cursor{Partition: rows[limit-1].Partition, Seq: rows[limit-1].Seq}
	}
	return rows, next, err
}

func (s *Store) readApprovals(ctx context.Context, w *where, limit int) (rows []projections.ApprovalRow, err error) {
	err = s.query(ctx, projections.ProjectionApprovals, func(r reader, v projections.View) error {
		if rows = nil; w.nothing {
			return nil
		}
		err := r.read(ctx, func(scan scan) error {
			a, err := scanApproval(scan)
			rows = append(rows, a)
			return err
		}, of(v, selectApprovals)+w.String()+" ORDER BY seq DESC LIMIT "+strconv.Itoa(limit), w.args...)
		for i := range rows {
			if err == nil {
				err = readVotes(ctx, r, v, &rows[i])
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read approvals: %w", err)
	}
	return rows, nil
}

func readVotes(ctx context.Context, r reader, v projections.View, a *projections.ApprovalRow) error {
	return r.read(ctx, func(scan scan) error {
		vote := projections.VoteRow{Account: a.Account, ApprovalID: a.ApprovalID}
		err := scan(&vote.MemberID, &vote.Seq, moment{&vote.At}, &vote.Comment, &vote.Self)
		a.Votes = append(a.Votes, vote)
		return err
	}, of(v, "SELECT member_id, seq, at, comment, self FROM votes_v0 WHERE account = $1 AND approval_id = $2 ORDER BY seq"),
		string(a.Account), string(a.ApprovalID))
}

func (s *Store) approval(ctx context.Context, account domain.AccountID, agent domain.AgentID, id domain.ApprovalID) (projections.ApprovalRow, error) {
	w := whereOf(account)
	w.is("agent", string(agent))
	w.add("approval_id = ?", string(id))
	rows, err := s.readApprovals(ctx, w, 1)
	if err != nil {
		return projections.ApprovalRow{}, err
	}
	if len(rows) == 0 {
		return projections.ApprovalRow{}, domain.Reject(domain.NotFound, "no approval %s", id)
	}
	return rows[0], nil
}
