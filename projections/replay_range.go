package projections

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Range says which decisions of a log are decided again. What lies before it is
// folded, because the decisions stand on it. The zero Range has all.
type Range struct {
	// Account and Agent narrow it to what is theirs, if they are not empty.
	Account domain.AccountID
	Agent   domain.AgentID
	// From and Through bound the sequences, both inclusive; 0 is no bound.
	From, Through uint64
	// Since and Until bound the times of the records, Until not inclusive.
	Since, Until time.Time
}

// concerns reports whether a record may matter to what is in the range.
func (g *Range) concerns(r *domain.Recorded) bool {
	return (g.Account == "" || r.Account == g.Account) && (g.Agent == "" || r.Agent == g.Agent || r.Agent == "" || isBudgets(r.Event))
}

// begun reports whether a record is not before the range.
func (g *Range) begun(r *domain.Recorded) bool {
	return r.Position.Seq >= g.From && (g.Since.IsZero() || !r.At.Before(g.Since))
}

// has reports whether a record that concerns the range is in it.
func (g *Range) has(r *domain.Recorded) bool {
	return g.begun(r) && (g.Through == 0 || r.Position.Seq <= g.Through) && (g.Until.IsZero() || r.At.Before(g.Until)) &&
		(g.Agent == "" || r.Agent == g.Agent)
}

// isBudgets reports whether an event is one of an account's limits, which name
// the agent they were charged by.
func isBudgets(e domain.Event) bool {
	switch e.Kind() {
	case domain.KindBudgetSet, domain.KindBudgetCharged, domain.KindBudgetReleased:
		return true
	}
	return false
}
