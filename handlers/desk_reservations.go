package handlers

import (
	"cmp"
	"context"
	"slices"

	"github.com/behalf-platform/behalf/domain"
)

// SettleFor reports what came of an allow of the caller's, who must be an agent.
func (d *Desk) SettleFor(ctx context.Context, c Caller, cmd domain.SettleDecision) (SettlementView, error) {
	if _, err := c.AsAgent(); err != nil {
		return SettlementView{}, err
	}
	if !domain.ValidID(string(cmd.RequestID)) {
		return SettlementView{}, domain.Reject(domain.NotFound, "no such decision; a request id is %s and 26 characters", domain.RequestPrefix)
	}
	r, err := d.Settle(ctx, c, cmd)
	if err != nil {
		return SettlementView{}, err
	}
	return ViewSettlement(r), nil
}

// ReservationQuery says which allows without an outcome are wanted.
type ReservationQuery struct {
	Agent domain.AgentID // any if empty
	Limit int
	// After is the last request of the page before.
	After domain.RequestID
}

// ReservationPage is a page of allows without an outcome.
type ReservationPage struct {
	Reservations []ReservationView `json:"reservations"`
	NextCursor   domain.RequestID  `json:"nextCursor,omitempty"`
}

// ReservationsFor is a page of the allows that spent, and whose outcome was not
// reported, that the caller may read, the newest first.
func (d *Desk) ReservationsFor(ctx context.Context, c Caller, q ReservationQuery) (ReservationPage, error) {
	page := ReservationPage{Reservations: []ReservationView{}}
	s, err := c.Reads(q.Agent)
	if err != nil {
		return page, err
	}
	if q.After != "" && !domain.ValidID(string(q.After)) {
		return page, domain.RejectField(domain.Invalid, "/cursor", "is not a cursor of this list; send the nextCursor of the page before")
	}
	if err := d.Still(ctx, c); err != nil {
		return page, err
	}
	agents := []*domain.Agent{d.Identifier.Passports.Agent(s)}
	if s.Agent == "" {
		agents = d.Identifier.Passports.Agents(s.Account)
	}
	for _, a := range agents {
		for r := range a.Unsettled() {
			if q.After == "" || r.RequestID < q.After {
				page.Reservations = append(page.Reservations, ViewReservation(a.ID, r))
			}
		}
		page.cut(q.Limit) // agent by agent, since all together can be many
	}
	return page, nil
}

// cut keeps the newest, and says where to go on if there are more.
func (p *ReservationPage) cut(limit int) {
	slices.SortFunc(p.Reservations, func(a, b ReservationView) int { return cmp.Compare(b.RequestID, a.RequestID) })
	if limit > 0 && len(p.Reservations) > limit {
		p.Reservations = p.Reservations[:limit]
		p.NextCursor = p.Reservations[limit-1].RequestID
	}
	if p.NextCursor != "" {
		p.NextCursor = p.Reservations[len(p.Reservations)-1].RequestID
	}
}
