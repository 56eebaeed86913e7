package projections

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

func TestWhichQueriesOfEventsAreTaken(t *testing.T) {
	many := make([]domain.AgentID, 40)
	for i := range many {
		many[i] = domain.AgentID(fmt.Sprint("agent_", i))
	}
	for _, c := range []struct {
		name  string
		query EventQuery
		field string // that is refused, or empty
	}{
		{"everything", EventQuery{}, ""},
		{"a type", EventQuery{Types: []string{"budget.exhausted"}}, ""},
		{"a noun", EventQuery{Types: []string{"member.*", "budget.set"}}, ""},
		{"an unknown type", EventQuery{Types: []string{"budget.spent"}}, "/type"},
		{"an unknown noun", EventQuery{Types: []string{"money.*"}}, "/type"},
		{"all types", EventQuery{Types: []string{"*.*"}}, "/type"},
		{"part of a word", EventQuery{Types: []string{"budget.e*"}}, "/type"},
		{"part of a noun", EventQuery{Types: []string{"bud*"}}, "/type"},
		{"whatever follows", EventQuery{Types: []string{"budget.>"}}, "/type"},
		{"nothing", EventQuery{Types: []string{""}}, "/type"},
		{"a type twice", EventQuery{Types: []string{"budget.set", "budget.set"}}, "/type"},
		{"a type and its noun", EventQuery{Types: []string{"budget.set", "budget.*"}}, "/type"},
		{"a noun and its type", EventQuery{Types: []string{"budget.*", "budget.set"}}, "/type"},
		{"a wildcard for an agent", EventQuery{Agents: []domain.AgentID{"*"}}, "/agent"},
		{"two tokens for an agent", EventQuery{Agents: []domain.AgentID{"a.b"}}, "/agent"},
		{"an agent twice", EventQuery{Agents: []domain.AgentID{"a", "a"}}, "/agent"},
		{"many agents", EventQuery{Agents: many}, ""},
		{"too many combinations", EventQuery{Agents: many, Types: []string{"agent.*", "member.*"}}, "/agent"},
		{"a time and a cursor", EventQuery{Since: time.Unix(1, 0), After: PublicCursor{Index: 1}}, "/since"},
	} {
		err := c.query.Check()
		var refused *domain.RuleError
		if errors.As(err, &refused) != (c.field != "") || c.field != "" && refused.Field != c.field {
			t.Errorf("%s: got %v, want %q refused", c.name, err, c.field)
		}
	}
	q := EventQuery{Account: "acct_1", Types: []string{"agent.*", "budget.set"}, Agents: []domain.AgentID{"a", "b"}}
	want := []string{
		"behalf.events.acct_1.agent.*.a", "behalf.events.acct_1.agent.*.b",
		"behalf.events.acct_1.budget.set.a", "behalf.events.acct_1.budget.set.b",
	}
	if got := q.Subjects(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	all := EventQuery{Account: "acct_1"}
	if got := all.Subjects(); !slices.Equal(got, []string{"behalf.events.acct_1.*.*.*"}) {
		t.Errorf("got %q, want all of the account", got)
	}
}
