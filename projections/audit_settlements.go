package projections

import (
	"math/big"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// allows are those of an agent that reserved something, or used an approval. As
// many are kept as can be settled, and not many more.
type allows struct {
	byRequest map[domain.RequestID]*allowed
	order     []domain.RequestID // the oldest first
}

// allowed is one allow.
type allowed struct {
	permission domain.PermissionID
	price      price
	at         time.Time
	seq        uint64
	shared     bool   // it was charged to the account's limits,
	budget     uint64 // on this version of them
	settled    uint64 // sequence of the settlement, 0 if there is none
}

func (l *allows) add(id domain.RequestID, a *allowed) {
	if l.byRequest == nil {
		l.byRequest = map[domain.RequestID]*allowed{}
	}
	l.byRequest[id] = a
	l.order = append(l.order, id)
	if len(l.order) < 2*domain.MostReservations {
		return
	}
	for _, old := range l.order[:domain.MostReservations] {
		delete(l.byRequest, old)
	}
	l.order = append([]domain.RequestID(nil), l.order[domain.MostReservations:]...)
}

func (a *Audit) settled(r *domain.Recorded, e domain.DecisionSettled, l *ledger) error {
	of := l.allows.byRequest[e.RequestID]
	switch {
	case of == nil:
		return broken(r, promiseSettled, "agent %s has no allow %s that reserved anything", r.Agent, e.RequestID)
	case of.settled != 0:
		return broken(r, promiseSettled, "%s was settled at sequence %d", e.RequestID, of.settled)
	case r.Actor != domain.ByAgent(r.Agent):
		return broken(r, promiseSettled, "%s settles what agent %s was allowed", r.Actor, r.Agent)
	case e.Outcome != domain.Executed && e.Outcome != domain.ActionFailed:
		return broken(r, promiseSettled, "%q is not an outcome", e.Outcome)
	}
	spent, err := parsePrice(e.Amount, e.Currency)
	switch {
	case err != nil:
		return broken(r, promiseSettled, "%v", err)
	case (spent.units == nil) != (of.price.units == nil) || e.Currency != of.price.currency:
		return broken(r, promiseSettled, "it is settled for %q %s, and reserved was %q", e.Amount, e.Currency, of.price.currency)
	}
	of.settled = r.Position.Seq
	if spent.units == nil {
		return nil
	}
	back := new(big.Int).Sub(of.price.units, spent.units)
	switch {
	case back.Sign() < 0:
		return broken(r, promiseSettled, "%s %s are more than the %s that were reserved", e.Amount, e.Currency, showUnits(of.price.units, e.Currency))
	case e.Outcome == domain.ActionFailed && spent.units.Sign() != 0:
		return broken(r, promiseSettled, "it failed, and spent %s %s", e.Amount, e.Currency)
	case back.Sign() == 0:
		return nil
	}
	if p := l.held[of.permission]; p != nil {
		p.limits.giveBack(back, e.Currency, of.at, of.seq)
	}
	l.limits.giveBack(back, e.Currency, of.at, of.seq)
	if of.shared {
		a.due = due{request: e.RequestID, price: price{back, e.Currency}, currency: e.Currency, budget: of.budget, settled: of.at}.from(r)
	}
	return nil
}
