package projections

import (
	"slices"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// EventQuery says which public events of an account are wanted.
type EventQuery struct {
	Account domain.AccountID
	// Types are types, or a noun and ".*" for all of it; Agents are agents. An
	// empty list is no limit.
	Types  []string
	Agents []domain.AgentID
	// After is the place they come after, Since the least time of what happened.
	// With neither, all that is kept is wanted, or, with New, what comes.
	After PublicCursor
	Since time.Time
	New   bool
	// Follow goes on with what comes.
	Follow bool
}

// Subjects are the subjects the events lie on.
func (q *EventQuery) Subjects() []string {
	types, agents := q.Types, q.Agents
	if len(types) == 0 {
		types = []string{"*.*"}
	}
	if len(agents) == 0 {
		agents = []domain.AgentID{"*"}
	}
	var list []string
	for _, t := range types {
		for _, a := range agents {
			list = append(list, PublicSubjects+"."+string(q.Account)+"."+t+"."+string(a))
		}
	}
	return list
}

// mostFilters bounds the subjects of a query: each is looked for by itself.
const mostFilters = 64

// Check refuses what would match nothing, or cost too much.
func (q *EventQuery) Check() error {
	for i, t := range q.Types {
		if !isTypeFilter(t) {
			return domain.RejectField(domain.Invalid, "/type", "%q is no type of event; use one like verification.denied, or approval.* for all of a noun", t)
		}
		for _, other := range q.Types[:i] {
			if noun, all := strings.CutSuffix(other, ".*"); other == t || all && strings.HasPrefix(t, noun+".") {
				return domain.RejectField(domain.Invalid, "/type", "%q is in %q already", t, other)
			}
			if noun, all := strings.CutSuffix(t, ".*"); all && strings.HasPrefix(other, noun+".") {
				return domain.RejectField(domain.Invalid, "/type", "%q is in %q already", other, t)
			}
		}
	}
	for i, a := range q.Agents {
		if !domain.ValidID(string(a)) || slices.Contains(q.Agents[:i], a) {
			return domain.RejectField(domain.Invalid, "/agent", "%q is not an agent's id, or is named twice", a)
		}
	}
	if n := max(1, len(q.Types)) * max(1, len(q.Agents)); n > mostFilters {
		return domain.RejectField(domain.Invalid, "/agent", "types and agents make %d combinations; at most %d are taken", n, mostFilters)
	}
	if q.After != (PublicCursor{}) && !q.Since.IsZero() {
		return domain.RejectField(domain.Invalid, "/since", "is given beside after; send one of them")
	}
	return nil
}

func isTypeFilter(t string) bool {
	noun, all := strings.CutSuffix(t, "*")
	return slices.ContainsFunc(PublicTypes(), func(p PublicType) bool {
		return string(p) == t || all && strings.HasSuffix(noun, ".") && strings.HasPrefix(string(p), noun)
	})
}
