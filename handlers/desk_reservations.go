package handlers

import (
	"cmp"
	"context"
	"slices"
	"time"

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
	Limit int            // at least 1
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
	list, err := unsettled(agents, q.After, q.Limit+1) // one more tells whether there are more
	if err != nil {
		return page, err
	}
	for _, r := range list[:min(len(list), q.Limit)] {
		page.Reservations = append(page.Reservations, ViewReservation(r.agent, r.Reservation))
	}
	if len(list) > q.Limit {
		page.NextCursor = list[q.Limit-1].RequestID
	}
	return page, nil
}

// spent is an allow that spent, and whose it is.
type spent struct {
	agent domain.AgentID
	domain.Reservation
}

// unsettled are the newest of the agents' allows without an outcome that come
// after a cursor. It keeps no more than it returns, and looks no further back
// than it has to: no agent has one that is newer than its newest event.
func unsettled(agents []*domain.Agent, after domain.RequestID, most int) ([]spent, error) {
	for _, a := range agents {
		if err := a.Fault(); err != nil {
			return nil, Unreadable(err)
		}
	}
	slices.SortFunc(agents, func(a, b *domain.Agent) int { return b.Updated.Compare(a.Updated) })
	var list []spent
	// An id begins with the millisecond it was made in, and is random from there.
	tooOld := func(at time.Time) bool {
		return len(list) == most && at.UnixMilli() < list[most-1].At.UnixMilli()
	}
	for _, a := range agents {
		if tooOld(a.Updated) {
			break
		}
		for r := range a.Unsettled() {
			if tooOld(r.At) {
				break
			}
			if after != "" && r.RequestID >= after {
				continue
			}
			i, _ := slices.BinarySearchFunc(list, r.RequestID, func(s spent, id domain.RequestID) int { return cmp.Compare(id, s.RequestID) })
			if i < most {
				list = slices.Insert(list[:min(len(list), most-1)], i, spent{a.ID, r})
			}
		}
	}
	return list, nil
}
