package natslog

import (
	"fmt"
	"strings"

	"github.com/behalf-platform/behalf/domain"
)

// subjects names what a partition holds.
type subjects struct {
	number    uint16
	prefix    string // behalf.<p>.
	all       string // behalf.<p>.>
	accounts  string // behalf.<p>.account.
	budgets   string // behalf.<p>.budget.
	agents    string // behalf.<p>.agent.
	decisions string // behalf.<p>.decision.
}

func newSubjects(number uint16) subjects {
	prefix := fmt.Sprintf("behalf.%d.", number)
	return subjects{
		number: number, prefix: prefix, all: prefix + ">",
		accounts: prefix + "account.", budgets: prefix + "budget.",
		agents: prefix + "agent.", decisions: prefix + "decision.",
	}
}

// states are the filters for the events of all streams. They are used one at a
// time: with two, the server searches all subjects of a block for each message
// it delivers, which takes ten times as long. The first one is for the accounts
// and their budgets, the only subjects of so few tokens.
func (s subjects) states() []string { return []string{s.prefix + "*.*", s.agents + ">"} }

// state is the subject of a stream's events. It refuses what is no id, so that
// nothing is ever published to, or guarded by, a wildcard.
func (s subjects) state(of domain.Stream) (string, error) {
	if !domain.ValidID(string(of.Account)) || of.Agent != "" && (of.Budget || !domain.ValidID(string(of.Agent))) {
		return "", fmt.Errorf("%q is not a stream", of)
	}
	switch {
	case of.Budget:
		return s.budgets + string(of.Account), nil
	case of.Agent == "":
		return s.accounts + string(of.Account), nil
	}
	return s.agents + string(of.Account) + "." + string(of.Agent), nil
}

// decision is the subject of an agent's decisions that change nothing.
func (s subjects) decision(of domain.Stream) (string, error) {
	if _, err := s.state(of); err != nil {
		return "", err
	}
	if of.Agent == "" {
		return "", fmt.Errorf("%s is no agent", of)
	}
	return s.decisions + string(of.Account) + "." + string(of.Agent), nil
}

// decided is the filter for all decisions of an agent, or of all agents of an
// account, and for the agents' other events with them: one that names both
// subjects in full would be two.
func (s subjects) decided(of domain.Stream) (string, error) {
	if _, err := s.state(of); err != nil {
		return "", err
	}
	if of.Agent == "" {
		return s.prefix + "*." + string(of.Account) + ".*", nil
	}
	return s.prefix + "*." + string(of.Account) + "." + string(of.Agent), nil
}

// parse is the inverse of state and decision. What lies on a stream's own
// subject moves it.
func (s subjects) parse(subject string) (of domain.Stream, moves, ok bool) {
	if account, is := strings.CutPrefix(subject, s.accounts); is {
		return domain.Stream{Account: domain.AccountID(account)}, true, domain.ValidID(account)
	}
	if account, is := strings.CutPrefix(subject, s.budgets); is {
		return domain.Stream{Account: domain.AccountID(account), Budget: true}, true, domain.ValidID(account)
	}
	ids, moves := strings.CutPrefix(subject, s.agents)
	if !moves {
		var is bool
		if ids, is = strings.CutPrefix(subject, s.decisions); !is {
			return domain.Stream{}, false, false
		}
	}
	account, agent, _ := strings.Cut(ids, ".")
	of = domain.Stream{Account: domain.AccountID(account), Agent: domain.AgentID(agent)}
	return of, moves, domain.ValidID(account) && domain.ValidID(agent)
}
