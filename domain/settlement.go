package domain

import (
	"slices"
	"time"
)

// ActionOutcome is what came of an action that was allowed.
type ActionOutcome string

const (
	Executed     ActionOutcome = "executed"
	ActionFailed ActionOutcome = "failed"
)

// Reservation is an allow that spent, and what was reported of it.
type Reservation struct {
	RequestID    RequestID
	PermissionID PermissionID
	// Amount is what was reserved; its currency is empty for an allow that only
	// counts.
	Amount Money
	At     time.Time
	Seq    uint64
	// BudgetVersion is the version of the account's limits it was charged on, 0
	// if it wasn't.
	BudgetVersion uint64
	// Settled is nil until an outcome is reported.
	Settled *DecisionSettled
}

// MostReservations is how many of an agent's newest allows that spent can be
// settled. What is older stays spent: a passport must not grow without end.
const MostReservations = 10_000

// reservations is a list of them, the newest first, which never changes: to add
// one costs the same however many there are, and what others hold stays as it is.
type reservations struct {
	newest *reserved
	length int
}

type reserved struct {
	Reservation
	older *reserved
}

func (l reservations) add(r Reservation) reservations {
	l = reservations{newest: &reserved{r, l.newest}, length: l.length + 1}
	if l.length < 2*MostReservations {
		return l
	}
	var kept []Reservation
	for n := l.newest; n != nil && len(kept) < MostReservations; n = n.older {
		kept = append(kept, n.Reservation)
	}
	l = reservations{length: len(kept)}
	for _, r := range slices.Backward(kept) {
		l.newest = &reserved{r, l.newest}
	}
	return l
}

func (l reservations) find(id RequestID) (Reservation, bool) {
	i := 0
	for n := l.newest; n != nil && i < MostReservations; n, i = n.older, i+1 {
		if n.RequestID == id {
			return n.Reservation, true
		}
	}
	return Reservation{}, false
}

// settle is the list with one settled. Those newer are made anew, the older
// are shared.
func (l reservations) settle(e DecisionSettled) reservations {
	var newer []Reservation
	for n := l.newest; n != nil; n = n.older {
		if n.RequestID != e.RequestID {
			newer = append(newer, n.Reservation)
			continue
		}
		settled := n.Reservation
		settled.Settled = &e
		l.newest = &reserved{settled, n.older}
		for _, r := range slices.Backward(newer) {
			l.newest = &reserved{r, l.newest}
		}
		return l
	}
	return l
}

// Unsettled are the agent's allows that spent and that nothing was reported of,
// the newest first.
func (a Agent) Unsettled() (list []Reservation) {
	i := 0
	for n := a.reserved.newest; n != nil && i < MostReservations; n, i = n.older, i+1 {
		if n.Settled == nil {
			list = append(list, n.Reservation)
		}
	}
	return list
}

// Reservation returns one of the agent's newest allows that spent.
func (a Agent) Reservation(id RequestID) (Reservation, bool) { return a.reserved.find(id) }

// SettleDecision reports what came of an allow.
type SettleDecision struct {
	RequestID RequestID
	Outcome   ActionOutcome
	// Amount is what was spent in fact, by Executed; all that was reserved if
	// it is empty.
	Amount Decimal
}

// Settle decides on a SettleDecision. Beside the event for the agent it returns
// what it gives back to the account's limits, nil if nothing.
func (a Agent) Settle(cmd SettleDecision) ([]Event, *BudgetReleased, error) {
	r, ok := a.Reservation(cmd.RequestID)
	if !ok {
		return nil, nil, Reject(NotFound, "request %s has no outcome to report: it is not an allow of yours that spent or used an approval, or %d newer ones have been since",
			cmd.RequestID, MostReservations)
	}
	e, err := r.settlement(cmd)
	if err != nil {
		return nil, nil, err
	}
	if r.Settled != nil {
		if *r.Settled == e {
			return nil, nil, nil
		}
		return nil, nil, Reject(Conflict, "request %s was reported %s before; an outcome is reported once", cmd.RequestID, r.Settled.Outcome)
	}
	back := r.back(e)
	if back.Minor == 0 || r.BudgetVersion == 0 {
		return []Event{e}, nil, nil
	}
	return []Event{e}, &BudgetReleased{
		RequestID: r.RequestID, Amount: Decimal(back.String()), Currency: back.Currency,
		ChargedAt: r.At, ChargedOn: r.BudgetVersion,
	}, nil
}

// settlement is the event that a command makes of a reservation.
func (r Reservation) settlement(cmd SettleDecision) (DecisionSettled, error) {
	e := DecisionSettled{RequestID: cmd.RequestID, Outcome: cmd.Outcome, Currency: r.Amount.Currency}
	switch cmd.Outcome {
	case ActionFailed:
		if cmd.Amount != "" {
			return e, RejectField(Invalid, "/amount", "is for an action that was executed; one that failed spent nothing")
		}
		if r.Amount.Currency != "" {
			e.Amount = Decimal(Money{0, r.Amount.Currency}.String())
		}
		return e, nil
	case Executed:
	default:
		return e, RejectField(Invalid, "/outcome", `%q is not an outcome; use "executed" or "failed"`, cmd.Outcome)
	}
	if r.Amount.Currency == "" {
		if cmd.Amount != "" {
			return e, RejectField(Invalid, "/amount", "request %s had no amount", cmd.RequestID)
		}
		return e, nil
	}
	if cmd.Amount == "" {
		e.Amount = Decimal(r.Amount.String())
		return e, nil
	}
	spent, err := ParseMoney(string(cmd.Amount), r.Amount.Currency)
	if err != nil {
		return e, RejectField(Invalid, "/amount", "%v", err)
	}
	if spent.exceeds(r.Amount) {
		return e, RejectField(Invalid, "/amount", "is more than the %s %s that were allowed; verify what goes beyond", r.Amount, r.Amount.Currency)
	}
	e.Amount = Decimal(spent.String())
	return e, nil
}

// back is what a settlement gives back.
func (r Reservation) back(e DecisionSettled) Money {
	if e.Amount == "" {
		return Money{}
	}
	spent, err := ParseMoney(string(e.Amount), r.Amount.Currency)
	if err != nil {
		return Money{} // what can't be read gives nothing back
	}
	return Money{max(r.Amount.Minor-spent.Minor, 0), r.Amount.Currency}
}
