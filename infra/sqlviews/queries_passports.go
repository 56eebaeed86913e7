package sqlviews

import (
	"context"
	"fmt"
	"strconv"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// list is a query for rows.
func list[R any](ctx context.Context, s *Store, p projections.Projection, w *where, sql, rest string, row func(scan) (R, error)) (rows []R, err error) {
	err = s.query(ctx, p, func(r reader, v projections.View) error {
		if rows = nil; w.nothing {
			return nil
		}
		return r.read(ctx, func(scan scan) error {
			one, err := row(scan)
			rows = append(rows, one)
			return err
		}, of(v, sql)+w.String()+rest, w.args...)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	return rows, nil
}

func (s *Store) changes(ctx context.Context, account domain.AccountID, agent domain.AgentID, limit int, after projections.Cursor) (rows []projections.ChangeRow, next projections.Cursor, err error) {
	w := whereOf(account)
	w.is("agent", string(agent))
	w.before(after)
	rows, err = list(ctx, s, projections.ProjectionPassports, w,
		"SELECT partition, seq, account, agent, event_id, kind, at, actor, cause, record FROM changes_v0",
		" ORDER BY seq DESC LIMIT "+strconv.Itoa(limit+1),
		func(scan scan) (c projections.ChangeRow, err error) {
			err = scan(&c.Partition, &c.Seq, &c.Account, &c.Agent, &c.EventID, &c.Kind, moment{&c.At}, &c.Actor, &c.Cause, &c.Record)
			return c, err
		})
	if len(rows) > limit {
		rows = rows[:limit]
		next = projections.Cursor{Partition: rows[limit-1].Partition, Seq: rows[limit-1].Seq}
	}
	return rows, next, err
}

const selectAgents = `SELECT account, agent, name, type, provider, label, external_id, status, driver, has_key, shared, limits,
	version, registered_at, updated_at FROM agents_v0`

func scanAgent(scan scan) (a projections.AgentRow, err error) {
	err = scan(
		&a.Account, &a.Agent, &a.Name, &a.Type, &a.Provider, &a.Label, &a.ExternalID, &a.Status, &a.Driver, &a.HasKey, &a.Shared,
		&a.Limits, &a.Version, moment{&a.RegisteredAt}, moment{&a.UpdatedAt},
	)
	return a, err
}

func (s *Store) agents(ctx context.Context, account domain.AccountID, limit int, after domain.AgentID) ([]projections.AgentRow, error) {
	w := whereOf(account)
	if after != "" {
		w.add("agent > ?", string(after))
	}
	return list(ctx, s, projections.ProjectionPassports, w, selectAgents, " ORDER BY agent LIMIT "+strconv.Itoa(limit), scanAgent)
}

func (s *Store) agent(ctx context.Context, account domain.AccountID, id domain.AgentID) (projections.AgentRow, error) {
	w := whereOf(account)
	w.add("agent = ?", string(id))
	return one(ctx, s, projections.ProjectionPassports, w, "agent", string(id),
		func(v projections.View) string { return of(v, selectAgents) + w.String() }, scanAgent)
}

func (s *Store) permissions(ctx context.Context, account domain.AccountID, agent domain.AgentID) ([]projections.PermissionRow, error) {
	w := whereOf(account)
	w.add("agent = ?", string(agent))
	return list(ctx, s, projections.ProjectionPassports, w,
		"SELECT account, agent, permission_id, version, since, terms, ended_by, ended_at, revoked FROM permissions_v0",
		" ORDER BY version",
		func(scan scan) (p projections.PermissionRow, err error) {
			err = scan(&p.Account, &p.Agent, &p.PermissionID, &p.Version, moment{&p.Since}, &p.Terms, &p.EndedBy, moment{&p.EndedAt}, &p.Revoked)
			return p, err
		})
}

func (s *Store) members(ctx context.Context, account domain.AccountID) ([]projections.MemberRow, error) {
	return list(ctx, s, projections.ProjectionPassports, whereOf(account),
		"SELECT account, member_id, name, role, removed, added_at, version FROM members_v0", " ORDER BY member_id",
		func(scan scan) (m projections.MemberRow, err error) {
			err = scan(&m.Account, &m.MemberID, &m.Name, &m.Role, &m.Removed, moment{&m.AddedAt}, &m.Version)
			return m, err
		})
}
