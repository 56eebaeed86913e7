package projections

import (
	"math/big"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// ground is a permission that asks for a person, at the version its terms have.
type ground struct {
	permission domain.PermissionID
	version    uint64
}

// standsOn reports whether a permission holds as it did when it asked.
func (l *ledger) standsOn(g ground, at time.Time) bool {
	terms, why := l.standing(g.permission, at)
	return why == "" && terms.version == g.version
}

// stands reports whether an approval is of a permission, and of all that ask as
// they are now.
func (l *ledger) stands(p *awaited, id domain.PermissionID, at time.Time) bool {
	return p.grounds[0].permission == id &&
		!slices.ContainsFunc(p.grounds, func(g ground) bool { return !l.standsOn(g, at) })
}

// grounds are the permissions that a decision opens an approval for. Each has to
// ask for it, and the gate is no looser than any of them.
func (l *ledger) grounds(r *domain.Recorded, d *domain.DecisionMade) (list []ground, err error) {
	for _, id := range slices.Insert(slices.Clone(d.Gate.With), 0, d.PermissionID) {
		terms, why := l.standing(id, r.At)
		if why != "" {
			return nil, broken(r, promiseAsked, "%s", why)
		}
		if slices.ContainsFunc(list, func(g ground) bool { return g.permission == id }) {
			return nil, broken(r, promiseAsked, "permission %s is named twice", id)
		}
		if asks, why := terms.asksPerson(&d.Request); !asks || why != "" || !terms.names(d.Request.Action) {
			return nil, broken(r, promiseAsked, "permission %s asks for no approval of it %s", id, why)
		}
		if why := terms.loosened(d.Gate); why != "" {
			return nil, broken(r, promiseAsked, "permission %s: %s", id, why)
		}
		list = append(list, ground{id, terms.version})
	}
	return list, nil
}

// passesBy is the promise that nothing passes by a permission that asks. Whether
// one does needs the rules' own matching, but not if it looks at no more than the
// action and an amount: such a one has to be among those that ask.
func (l *ledger) passesBy(r *domain.Recorded, d *domain.DecisionMade, asking []ground, promise string) error {
	for _, p := range l.plain {
		if _, why := l.standing(p.id, r.At); why != "" || !p.names(d.Request.Action) || !p.within(&d.Request) {
			continue
		}
		if asks, why := p.asksPerson(&d.Request); asks && !slices.Contains(asking, ground{p.id, p.version}) {
			return broken(r, promise, "permission %s asks for a person too, and is passed by %s", p.id, why)
		}
	}
	return nil
}

// isPlain reports whether the terms may ask a person, and look at no more than
// the action and an amount.
func (p *held) isPlain() bool {
	t := &p.terms
	return t.RequiresApproval != domain.ApprovalRule{} &&
		t.Resource == nil && t.Vendors == nil && t.Context == nil && t.Paths == nil && t.DeniedPaths == nil &&
		t.DeniedCommands == nil && t.TimeWindows == nil && len(t.Budgets)+len(t.Rates) == 0
}

// names reports whether the terms allow an action.
func (p *held) names(a domain.Action) bool {
	if p.terms.AllowedActions == nil {
		return p.terms.Action == a
	}
	return slices.Contains(p.terms.AllowedActions, a)
}

// within reports whether a request keeps to the most that one may move.
func (p *held) within(req *domain.Request) bool {
	if p.terms.MaxAmount == "" {
		return true
	}
	amount, most, ok := p.compare(req, p.terms.MaxAmount)
	return ok && amount.Cmp(most) <= 0
}

// asksPerson reports whether the terms want a person to say yes to a request, or
// why it can't be allowed by them at all.
func (p *held) asksPerson(req *domain.Request) (asks bool, why string) {
	rule := p.terms.RequiresApproval
	if rule.Above == "" {
		return rule.Always, ""
	}
	amount, above, ok := p.compare(req, rule.Above)
	if !ok {
		return true, "its amount can't be compared with the one above which a person is asked"
	}
	return amount.Cmp(above) > 0, ""
}

// compare gives what a request moves and an amount of the terms, if both are of
// one currency.
func (p *held) compare(req *domain.Request, of domain.Decimal) (amount, other *big.Int, ok bool) {
	moved, err := parsePrice(req.Amount, req.Currency)
	other, fault := parseUnits(of)
	return moved.units, other, err == nil && fault == nil && moved.units != nil && moved.currency == p.terms.Currency
}

// loosened says in what a gate asks for less than the terms.
func (p *held) loosened(g *domain.Gate) string {
	terms := domain.ApprovalTerms{}
	if p.terms.Approval != nil {
		terms = *p.terms.Approval
	}
	longer := func(used, asked domain.Duration) bool { return asked > 0 && used > asked }
	switch {
	case g.Quorum < max(terms.Quorum, 1):
		return "it asks for fewer people than the permission does"
	case rank(g.MinRole) < max(rank(terms.MinRole), rank(domain.RoleApprover)):
		return "it asks for a lower role than the permission does"
	case longer(g.PendingFor, terms.PendingFor), longer(g.ValidFor, terms.ValidFor), longer(g.DenialFor, terms.DenialFor):
		return "it waits or holds longer than the permission lets it"
	}
	return ""
}
