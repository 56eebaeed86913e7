package sqlviews

import (
	"context"

	"github.com/behalf-platform/behalf/projections"
)

func applyApprovals(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	err := each(ctx, w, v, b.Approvals, func(r *projections.ApprovalRow) uint64 { return r.Seq }, `
		INSERT INTO approvals_v0 (partition, seq, account, agent, approval_id, request_id, used_by, permission_id, state, risk, action,
			digest, min_role, quorum, opened_at, expires_at, resolved_at, resolved_by, comment, shared, reminders, version, record)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`,
		func(r *projections.ApprovalRow) []any {
			return []any{
				int(r.Partition), int64(r.Seq), string(r.Account), string(r.Agent), string(r.ApprovalID), string(r.RequestID),
				string(r.UsedBy), string(r.PermissionID), string(r.State), string(r.Risk), string(r.Action), r.Digest,
				string(r.MinRole), r.Quorum, r.OpenedAt, r.ExpiresAt, r.ResolvedAt, string(r.ResolvedBy), r.Comment, r.Shared,
				r.Reminders, int64(r.Version), r.Record,
			}
		})
	if err != nil {
		return err
	}
	err = each(ctx, w, v, b.ApprovalChanges, func(r *projections.ApprovalChange) uint64 { return r.Seq }, `
		UPDATE approvals_v0 SET version = $3, state = COALESCE($4, state), resolved_at = COALESCE($5, resolved_at),
			resolved_by = COALESCE($6, resolved_by), expires_at = COALESCE($7, expires_at), used_by = COALESCE($8, used_by),
			comment = COALESCE($9, comment), shared = COALESCE($10, shared), reminders = COALESCE($11, reminders)
		WHERE account = $1 AND approval_id = $2`,
		func(r *projections.ApprovalChange) []any {
			return []any{
				string(r.Account), string(r.ApprovalID), int64(r.Seq), orNil(r.State), orNil(r.ResolvedAt), orNil(r.ResolvedBy),
				orNil(r.ExpiresAt), orNil(r.UsedBy), orNil(r.Comment), orNil(r.Shared), orNil(r.Reminders),
			}
		})
	if err != nil {
		return err
	}
	return each(ctx, w, v, b.Votes, func(r *projections.VoteRow) uint64 { return r.Seq }, `
		INSERT INTO votes_v0 (account, approval_id, member_id, seq, at, comment, self) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (account, approval_id, member_id) DO NOTHING`,
		func(r *projections.VoteRow) []any {
			return []any{string(r.Account), string(r.ApprovalID), string(r.MemberID), int64(r.Seq), r.At, r.Comment, r.Self}
		})
}
