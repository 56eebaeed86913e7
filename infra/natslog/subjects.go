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
	states    string // behalf.<p>.state.
	decisions string // behalf.<p>.decision.
}

func newSubjects(number uint16) subjects {
	prefix := fmt.Sprintf("behalf.%d.", number)
	return subjects{number: number, all: prefix + ">", states: prefix + "state.", decisions: prefix + "decision."}
}

// everyState is the filter for the events of all streams.
func (s subjects) everyState() string { return s.states + ">" }

// state is the subject of a stream's events. It refuses what is no id, so that
// nothing is ever published to, or guarded by, a wildcard.
func (s subjects) state(of domain.Stream) (string, error) {
	if !domain.ValidID(string(of.Account)) || of.Agent != "" && !domain.ValidID(string(of.Agent)) {
		return "", fmt.Errorf("%q is not a stream", of)
	}
	if of.Agent == "" {
		return s.states + string(of.Account), nil
	}
	return s.states + string(of.Account) + "." + string(of.Agent), nil
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
	ids, isState := strings.CutPrefix(subject, s.states)
	if !isState {
		if ids, decision = strings.CutPrefix(subject, s.decisions); !decision {
			return domain.Stream{}, false, false
		}
	}
	account, agent, hasAgent := strings.Cut(ids, ".")
	of = domain.Stream{Account: domain.AccountID(account), Agent: domain.AgentID(agent)}
	ok = domain.ValidID(account) && (!hasAgent && !decision || domain.ValidID(agent))
	return of, decision, ok
}
