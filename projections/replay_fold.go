package projections

import (
	"errors"

	"github.com/behalf-platform/behalf/domain"
)

// passportFold is the passports, and what accounts spend, as they stand after
// the records taken so far. What it hands out never changes.
type passportFold struct {
	agents  map[domain.Stream]*domain.Agent
	budgets map[domain.AccountID]*budgetVersions
}

func newPassportFold() passportFold {
	return passportFold{agents: map[domain.Stream]*domain.Agent{}, budgets: map[domain.AccountID]*budgetVersions{}}
}

// fold takes the next record. One that doesn't move its stream changes nothing.
func (f *passportFold) fold(r *domain.Recorded) {
	if !r.Moves() {
		return
	}
	switch s := r.Stream(); {
	case s.Budget:
		f.budget(s.Account).fold(r)
	case s.Agent != "":
		next := f.agent(s).Evolve(*r)
		f.agents[s] = &next
	}
}

// stop takes the error that came in place of a record: its stream can't be
// read from here on. Any other error ends the reading.
func (f *passportFold) stop(err error) error {
	unreadable, ok := errors.AsType[*domain.Unreadable](err)
	if !ok {
		return err
	}
	switch s := unreadable.Stream; {
	case s.Budget:
		f.budget(s.Account).put(f.budget(s.Account).newest.Stop(err))
	case s.Agent != "":
		next := f.agent(s).Stop(err)
		f.agents[s] = &next
	default:
		return err
	}
	return nil
}

// agent is a passport as it stands, the zero one if it is not known.
func (f *passportFold) agent(s domain.Stream) *domain.Agent {
	if a := f.agents[s]; a != nil {
		return a
	}
	return &domain.Agent{}
}

func (f *passportFold) budget(id domain.AccountID) *budgetVersions {
	b := f.budgets[id]
	if b == nil {
		b = &budgetVersions{newest: &domain.SharedBudget{}}
		f.budgets[id] = b
	}
	return b
}

// budgetOf is what an account spent as a decision saw it, nil if that is not
// known any more.
func (f *passportFold) budgetOf(r *domain.Recorded, agent *domain.Agent) *domain.SharedBudget {
	d, ok := r.Event.(domain.DecisionMade)
	if !ok || !agent.Shared && d.BudgetVersion == 0 {
		return noBudget
	}
	return f.budget(r.Account).at(d.BudgetVersion)
}

// budgetVersions are the newest versions of what an account spends. A denial
// may stand on one that is not the newest, because only what charges it is
// fenced; a node that lags by more than are kept doesn't decide.
type budgetVersions struct {
	newest *domain.SharedBudget
	kept   map[uint64]*domain.SharedBudget
	order  []uint64 // of those kept, a ring
	next   int
}

// mostBudgetVersions bounds those that are kept.
const mostBudgetVersions = 1 << 14

func (b *budgetVersions) fold(r *domain.Recorded) { b.put(b.newest.Evolve(*r)) }

func (b *budgetVersions) put(next domain.SharedBudget) {
	b.newest = &next
	if b.kept == nil {
		b.kept = map[uint64]*domain.SharedBudget{}
	}
	if len(b.order) < mostBudgetVersions {
		b.order = append(b.order, next.Version)
	} else {
		delete(b.kept, b.order[b.next])
		b.order[b.next] = next.Version
		b.next = (b.next + 1) % mostBudgetVersions
	}
	b.kept[next.Version] = &next
}

func (b *budgetVersions) at(version uint64) *domain.SharedBudget {
	if version == b.newest.Version {
		return b.newest
	}
	return b.kept[version]
}
