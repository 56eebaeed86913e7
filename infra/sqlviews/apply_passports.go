package sqlviews

import (
	"context"

	"github.com/behalf-platform/behalf/projections"
)

func applyPassports(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	for _, part := range []func(context.Context, writer, projections.View, *projections.Batch) error{
		applyAgents, applyPermissions, applyMembers, applyChanges,
	} {
		if err := part(ctx, w, v, b); err != nil {
			return err
		}
	}
	return nil
}

func applyChanges(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	return each(ctx, w, v, b.Changes, func(r *projections.ChangeRow) uint64 { return r.Seq }, `
		INSERT INTO changes_v0 (partition, seq, account, agent, event_id, kind, at, actor, cause, record)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		func(r *projections.ChangeRow) []any {
			return []any{
				int(r.Partition), int64(r.Seq), string(r.Account), string(r.Agent), string(r.EventID), string(r.Kind), r.At,
				string(r.Actor), r.Cause, r.Record,
			}
		})
}

func applyAgents(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	err := each(ctx, w, v, b.Agents, func(r *projections.AgentRow) uint64 { return r.Version }, `
		INSERT INTO agents_v0 (account, agent, name, type, provider, label, external_id, status, driver, has_key, shared, limits,
			version, registered_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		func(r *projections.AgentRow) []any {
			return []any{
				string(r.Account), string(r.Agent), r.Name, string(r.Type), r.Provider, r.Label, r.ExternalID, string(r.Status),
				string(r.Driver), r.HasKey, r.Shared, r.Limits, int64(r.Version), r.RegisteredAt, r.UpdatedAt,
			}
		})
	if err != nil {
		return err
	}
	return each(ctx, w, v, b.AgentChanges, func(r *projections.AgentChange) uint64 { return r.Seq }, `
		UPDATE agents_v0 SET status = COALESCE($3, status), driver = COALESCE($4, driver), has_key = COALESCE($5, has_key),
			shared = COALESCE($6, shared), limits = COALESCE($7, limits), version = $8,
			updated_at = CASE WHEN updated_at < $9 THEN $9 ELSE updated_at END
		WHERE account = $1 AND agent = $2`,
		func(r *projections.AgentChange) []any {
			return []any{
				string(r.Account), string(r.Agent), orNil(r.Status), orNil(r.Driver), orNil(r.HasKey), orNil(r.Shared), orNil(r.Limits),
				int64(r.Seq), r.UpdatedAt,
			}
		})
}

func applyPermissions(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	// First the ends: they are of wordings from before the batch.
	err := each(ctx, w, v, b.PermissionEnds, func(r *projections.PermissionEnd) uint64 { return r.Seq }, `
		UPDATE permissions_v0 SET ended_by = $4, ended_at = $5, revoked = $6
		WHERE account = $1 AND agent = $2 AND permission_id = $3 AND ended_by = 0`,
		func(r *projections.PermissionEnd) []any {
			return []any{string(r.Account), string(r.Agent), string(r.PermissionID), int64(r.Seq), r.At, r.Revoked}
		})
	if err != nil {
		return err
	}
	return each(ctx, w, v, b.Permissions, func(r *projections.PermissionRow) uint64 { return r.Version }, `
		INSERT INTO permissions_v0 (account, agent, permission_id, version, since, terms, ended_by, ended_at, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		func(r *projections.PermissionRow) []any {
			return []any{
				string(r.Account), string(r.Agent), string(r.PermissionID), int64(r.Version), r.Since, r.Terms,
				int64(r.EndedBy), r.EndedAt, r.Revoked,
			}
		})
}

func applyMembers(ctx context.Context, w writer, v projections.View, b *projections.Batch) error {
	err := each(ctx, w, v, b.Members, func(r *projections.MemberRow) uint64 { return r.Version }, `
		INSERT INTO members_v0 (account, member_id, name, role, removed, added_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		func(r *projections.MemberRow) []any {
			return []any{string(r.Account), string(r.MemberID), r.Name, string(r.Role), r.Removed, r.AddedAt, int64(r.Version)}
		})
	if err != nil {
		return err
	}
	return each(ctx, w, v, b.MemberChanges, func(r *projections.MemberChange) uint64 { return r.Seq }, `
		UPDATE members_v0 SET role = COALESCE($3, role), removed = COALESCE($4, removed), version = $5 WHERE account = $1 AND member_id = $2`,
		func(r *projections.MemberChange) []any {
			return []any{string(r.Account), string(r.MemberID), orNil(r.Role), orNil(r.Removed), int64(r.Seq)}
		})
}

// orNil is what a pointer points at, as an argument, or nil.
func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
