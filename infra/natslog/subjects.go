package natslog

import (
	"fmt"
	"strings"

	"github.com/behalf-platform/behalf/domain"
)

// subjects names what a partition holds.
type subjects struct {
	number    uint16
	all       string // behalf.<p>.>
	accounts  string // behalf.<p>.account.
	agents    string // behalf.<p>.agent.
	decisions string // behalf.<p>.decision.
}

func newSubjects(number uint16) subjects {
	prefix := fmt.Sprintf("behalf.%d.", number)
	return subjects{
		number: number, all: prefix + ">",
		accounts: prefix + "account.", agents: prefix + "agent.", decisions: prefix + "decision.",
	}
}

// states are the filters for the events of all streams. They are used one at a
// time: with two, the server searches all subjects of a block for each message
// it delivers, which takes ten times as long.
func (s subjects) states() []string { return []string{s.accounts + ">", s.agents + ">"} }

// state is the subject of a stream's events. It refuses what is no id, so that
// nothing is ever published to, or guarded by, a wildcard.
func (s subjects) state(of domain.Stream) (string, error) {
	if !domain.ValidID(string(of.Account)) || of.Agent != "" && !domain.ValidID(string(of.Agent)) {
		return "", fmt.Errorf("%q is not a stream", of)
	}
	if of.Agent == "" {
		return s.accounts + string(of.Account), nil
	}
	return s.agents + string(of.Account) + "." + string(of.Agent), nil
}

// decision is the subject of an agent's decisions, or the filter for those of
// all agents of an account.
func (s subjects) decision(of domain.Stream) (string, error) {
	if _, err := s.state(of); err != nil {
		return "", err
	}
	if of.Agent == "" {
		return s.decisions + string(of.Account) + ".*", nil
	}
	return s.decisions + string(of.Account) + "." + string(of.Agent), nil
}

// parse is the inverse of state and decision.
func (s subjects) parse(subject string) (of domain.Stream, decision, ok bool) {
	if account, is := strings.CutPrefix(subject, s.accounts); is {
		return domain.Stream{Account: domain.AccountID(account)}, false, domain.ValidID(account)
	}
	ids, is := strings.CutPrefix(subject, s.agents)
	if !is {
		if ids, decision = strings.CutPrefix(subject, s.decisions); !decision {
			return domain.Stream{}, false, false
		}
	}
	account, agent, _ := strings.Cut(ids, ".")
	of = domain.Stream{Account: domain.AccountID(account), Agent: domain.AgentID(agent)}
	return of, decision, domain.ValidID(account) && domain.ValidID(agent)
}
