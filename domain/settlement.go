package domain

import (
	"iter"
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
// settled. What is older stays spent: a passport must not grow without end. An
// agent that has had so many takes about 1.5 MB.
const MostReservations = 10_000

// reservations is a list of them that never changes: what others hold stays as
// it is. The newest are in a chain, so that to add one copies nothing; older ones
// are in blocks, so that to settle one copies only its block.
type reservations struct {
	newest *reserved
	length int // of the chain
	// blocks are the oldest first, and so is what each holds.
	blocks [][]Reservation
}

type reserved struct {
	Reservation
	older *reserved
}

// blockSize is how many a block holds; mostBlocks how many blocks there are
// beside the chain.
const (
	blockSize  = 125
	mostBlocks = MostReservations / blockSize
)

func (l reservations) add(r Reservation) reservations {
	l.newest, l.length = &reserved{r, l.newest}, l.length+1
	if l.length < blockSize {
		return l
	}
	block := make([]Reservation, blockSize)
	i := blockSize
	for n := l.newest; n != nil; n = n.older {
		i--
		block[i] = n.Reservation
	}
	kept := l.blocks[max(0, len(l.blocks)+1-mostBlocks):]
	return reservations{blocks: append(slices.Clip(kept), block)}
}

// all yields them, the newest first.
func (l reservations) all(yield func(*Reservation) bool) {
	for n := l.newest; n != nil; n = n.older {
		if !yield(&n.Reservation) {
			return
		}
	}
	for _, block := range slices.Backward(l.blocks) {
		for i := range block {
			if !yield(&block[len(block)-1-i]) {
				return
			}
		}
	}
}

func (l reservations) find(id RequestID) (Reservation, bool) {
	for r := range l.all {
		if r.RequestID == id {
			return *r, true
		}
	}
	return Reservation{}, false
}

// settle is the list with one settled.
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
	for b, block := range l.blocks {
		i := slices.IndexFunc(block, func(r Reservation) bool { return r.RequestID == e.RequestID })
		if i < 0 {
			continue
		}
		block = slices.Clone(block)
		block[i].Settled = &e
		l.blocks = slices.Clone(l.blocks)
		l.blocks[b] = block
		return l
	}
	return l
}

// Unsettled yields the agent's allows that spent and that nothing was reported
// of, the newest first.
func (a Agent) Unsettled() iter.Seq[Reservation] {
	return func(yield func(Reservation) bool) {
		for r := range a.reserved.all {
			if r.Settled == nil && !yield(*r) {
				return
			}
		}
	}
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
