package projections

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/behalf-platform/behalf/domain"
)

// awaited is a person's answer that was asked for, by the audit's own reading.
type awaited struct {
	id         domain.ApprovalID
	request    string // every field of it
	permission domain.PermissionID
	version    uint64 // of the permission's terms
	gate       domain.Gate
	driver     domain.MemberID // when it was opened

	state domain.ApprovalState
	// until is when the state ends that waits or can be used, and when what came
	// of it stops to answer the same request.
	until     time.Time
	opened    time.Time
	byAgent   bool // cancelled by the agent itself
	voters    []domain.MemberID
	reminders int
}

func (p *awaited) is(state domain.ApprovalState, at time.Time) bool {
	return p.state == state && at.Before(p.until)
}

func (p *awaited) open() bool {
	return p.state == domain.ApprovalPending || p.state == domain.ApprovalIsApproved
}

// asksPerson reports whether the terms want a person to say yes to a request, or
// why it can't be allowed by them at all.
func (p *held) asksPerson(req *domain.Request) (asks bool, why string) {
	rule := p.terms.RequiresApproval
	if rule.Above == "" {
		return rule.Always, ""
	}
	amount, err := parsePrice(req.Amount, req.Currency)
	above, fault := parseUnits(rule.Above)
	if err != nil || fault != nil || amount.units == nil || amount.currency != p.terms.Currency {
		return true, "its amount can't be compared with the one above which a person is asked"
	}
	return amount.units.Cmp(above) > 0, ""
}

// textOf is every field of a request.
func textOf(r *domain.Recorded, req domain.Request) (string, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return "", broken(r, promiseReadable, "%v", err)
	}
	return string(b), nil
}

// same reports whether an approval is of a permission's present terms and of a
// request.
func (p *awaited) same(id domain.PermissionID, terms *held, request string) bool {
	return p.permission == id && p.version == terms.version && p.request == request
}

// asks takes a decision that waits for a person.
func (a *Audit) asks(r *domain.Recorded, d *domain.DecisionMade, l *ledger) error {
	terms, why := l.standing(d.PermissionID, r.At)
	if why != "" {
		return broken(r, promiseAsked, "%s", why)
	}
	request, err := textOf(r, d.Request)
	if err != nil {
		return err
	}
	if !d.Opens() {
		p := l.awaited(d.ApprovalID)
		if p == nil || !p.is(domain.ApprovalPending, r.At) || !p.same(d.PermissionID, terms, request) {
			return broken(r, promiseAsked, "it waits for approval %q, which doesn't wait for an answer to this request", d.ApprovalID)
		}
		return nil
	}
	if earlier, twice := a.opened[d.ApprovalID]; twice || d.ApprovalID == "" {
		return broken(r, promiseAsked, "approval %q was opened at sequence %d too", d.ApprovalID, earlier)
	}
	a.opened[d.ApprovalID] = r.Position.Seq
	if asks, why := terms.asksPerson(&d.Request); !asks || why != "" {
		return broken(r, promiseAsked, "permission %s asks for no approval of it %s", d.PermissionID, why)
	}
	if why := terms.loosened(d.Gate); why != "" {
		return broken(r, promiseAsked, "%s", why)
	}
	next := &awaited{
		id: d.ApprovalID, request: request, permission: d.PermissionID, version: terms.version, gate: *d.Gate, driver: l.driver,
		state: domain.ApprovalPending, opened: r.At, until: r.At.Add(time.Duration(d.Gate.PendingFor)),
	}
	if err := l.unanswered(r, next, terms); err != nil {
		return err
	}
	// What answers nothing any more and is not open can't matter from here on.
	l.approvals = slices.DeleteFunc(l.approvals, func(p *awaited) bool { return !p.open() && !r.At.Before(p.until) })
	l.approvals = append(l.approvals, next)
	return nil
}

// unanswered is the promise that an approval is opened only where there is no
// answer yet, and not too many are open.
func (l *ledger) unanswered(r *domain.Recorded, next *awaited, terms *held) error {
	pending := 0
	for _, p := range l.approvals {
		same := p.same(next.permission, terms, next.request)
		if same != (p.gate.Digest == next.gate.Digest) {
			return broken(r, promiseAsked, "approvals %s and %s: one request %t, one digest %t", p.id, next.id, same, !same)
		}
		answers := p.open() || p.state == domain.ApprovalIsDenied || p.state == domain.ApprovalIsUsed
		if same && answers && r.At.Before(p.until) {
			return broken(r, promiseAsked, "approval %s, which is %s, answers the same request until %s", p.id, p.state, p.until)
		}
		if p.is(domain.ApprovalPending, r.At) || p.byAgent && r.At.Before(p.until) {
			pending++
		}
	}
	if pending >= next.gate.MostPending {
		return broken(r, promiseAsked, "%d approvals are open before it, and at most %d may be", pending, next.gate.MostPending)
	}
	return nil
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

// use is the promise that an allow has the yes it needs.
func (l *ledger) use(r *domain.Recorded, d *domain.DecisionMade, terms *held) error {
	asks, why := terms.asksPerson(&d.Request)
	switch {
	case why != "":
		return broken(r, promiseUsed, "%s", why)
	case asks != d.Uses():
		return broken(r, promiseUsed, "it needs a person's yes: %t; it names one: %t", asks, d.Uses())
	case !asks:
		return nil
	}
	request, err := textOf(r, d.Request)
	if err != nil {
		return err
	}
	for _, p := range l.approvals {
		if p.is(domain.ApprovalIsDenied, r.At) && p.same(d.PermissionID, terms, request) {
			return broken(r, promiseUsed, "approval %s was denied, which answers this request until %s", p.id, p.until)
		}
	}
	p := l.awaited(d.ApprovalID)
	switch {
	case p == nil:
		return broken(r, promiseUsed, "agent %s has no approval %s that could be used", r.Agent, d.ApprovalID)
	case !p.same(d.PermissionID, terms, request):
		return broken(r, promiseUsed, "approval %s is of another request, or of other terms", p.id)
	case p.state != domain.ApprovalIsApproved:
		return broken(r, promiseUsed, "approval %s is %s", p.id, p.state)
	case !r.At.Before(p.until):
		return broken(r, promiseUsed, "approval %s has ended at %s", p.id, p.until)
	}
	p.state = domain.ApprovalIsUsed
	return nil
}

func (l *ledger) awaited(id domain.ApprovalID) *awaited {
	for _, p := range l.approvals {
		if p.id == id {
			return p
		}
	}
	return nil
}

// pending is an approval that people can answer now.
func (l *ledger) pending(r *domain.Recorded, id domain.ApprovalID) (*awaited, error) {
	p := l.awaited(id)
	switch {
	case p == nil:
		return nil, broken(r, promiseInOrder, "agent %s has no approval %s that could change", r.Agent, id)
	case !p.is(domain.ApprovalPending, r.At):
		return nil, broken(r, promiseInOrder, "approval %s is %s, until %s", id, p.state, p.until)
	}
	return p, nil
}

// reviews is the promise that whoever answers an approval is a member who may,
// and does it in person.
func (p *awaited) reviews(r *domain.Recorded, id domain.MemberID, who *people) error {
	if r.Actor != domain.ByMember(id) {
		return broken(r, promiseReviewed, "%s answers approval %s as member %s", r.Actor, p.id, id)
	}
	return p.mayReview(r, id, who)
}

func (p *awaited) mayReview(r *domain.Recorded, id domain.MemberID, who *people) error {
	if !who.couldReview(id, p.gate.MinRole, r.LoggedAt) {
		return broken(r, promiseReviewed, "%s is no member with the role %s that approval %s needs", id, p.gate.MinRole, p.id)
	}
	return nil
}

// mayApprove is the promise that nobody says yes to their own agent unless the
// account lets them.
func (p *awaited) mayApprove(r *domain.Recorded, id, driver domain.MemberID, who *people) error {
	if (id == p.driver || id == driver) && !who.couldApproveOwn(r.LoggedAt) {
		return broken(r, promiseReviewed, "%s approves their own agent with %s, which the account does not allow", id, p.id)
	}
	return p.mayReview(r, id, who)
}

func (p *awaited) saysSelf(r *domain.Recorded, id, driver domain.MemberID, says bool) error {
	if own := id == p.driver || id == driver; own != says {
		return broken(r, promiseReviewed, "%s drives the agent: %t; the yes says so: %t", id, own, says)
	}
	return nil
}

func (l *ledger) voted(r *domain.Recorded, e domain.ApprovalVoted, who *people) error {
	p, err := l.pending(r, e.ApprovalID)
	if err != nil {
		return err
	}
	if slices.Contains(p.voters, e.MemberID) {
		return broken(r, promiseReviewed, "%s voted on approval %s before", e.MemberID, p.id)
	}
	p.voters = append(p.voters, e.MemberID)
	return cmp.Or(
		p.reviews(r, e.MemberID, who),
		p.mayApprove(r, e.MemberID, l.driver, who),
		p.saysSelf(r, e.MemberID, l.driver, e.Self),
	)
}

func (l *ledger) approved(r *domain.Recorded, e domain.ApprovalApproved, who *people) error {
	p, err := l.pending(r, e.ApprovalID)
	if err != nil {
		return err
	}
	if err := cmp.Or(p.reviews(r, e.MemberID, who), p.saysSelf(r, e.MemberID, l.driver, e.Self)); err != nil {
		return err
	}
	for i, id := range e.Voters {
		if slices.Contains(e.Voters[:i], id) || id != e.MemberID && !slices.Contains(p.voters, id) {
			return broken(r, promiseReviewed, "%s is counted twice or did not vote on approval %s", id, p.id)
		}
		if err := p.mayApprove(r, id, l.driver, who); err != nil {
			return err
		}
	}
	if len(e.Voters) < max(p.gate.Quorum, 1) || !slices.Contains(e.Voters, e.MemberID) {
		return broken(r, promiseReviewed, "%d people said yes to approval %s, and it needs %d", len(e.Voters), p.id, p.gate.Quorum)
	}
	if terms, why := l.standing(p.permission, r.At); why != "" || terms.version != p.version {
		return broken(r, promiseInOrder, "approval %s stands on nothing: its permission was replaced, or %s", p.id, why)
	}
	p.state = domain.ApprovalIsApproved
	return p.lasts(r, e.ExpiresAt, p.gate.ValidFor)
}

func (l *ledger) denied(r *domain.Recorded, e domain.ApprovalDenied, who *people) error {
	p, err := l.pending(r, e.ApprovalID)
	if err != nil {
		return err
	}
	p.state = domain.ApprovalIsDenied
	return cmp.Or(p.reviews(r, e.MemberID, who), p.lasts(r, e.StickyUntil, p.gate.DenialFor))
}

// lasts gives an answer the time its gate has for it.
func (p *awaited) lasts(r *domain.Recorded, until time.Time, most domain.Duration) error {
	if want := r.At.Add(time.Duration(most)); !until.Equal(want) {
		return broken(r, promiseInOrder, "approval %s is %s until %s, and its gate says %s", p.id, p.state, until, want)
	}
	p.until = until
	return nil
}

func (l *ledger) withdrawn(r *domain.Recorded, e domain.ApprovalCancelled, who *people) error {
	p := l.awaited(e.ApprovalID)
	if p == nil || !p.open() || !r.At.Before(p.until) {
		return broken(r, promiseInOrder, "approval %s is not one of agent %s that is open", e.ApprovalID, r.Agent)
	}
	p.state = domain.ApprovalIsCancelled
	if e.MemberID != "" {
		p.until = r.At
		return p.reviews(r, e.MemberID, who)
	}
	p.byAgent = true // it counts as open for as long as it could have been
	if r.Actor != domain.ByAgent(r.Agent) {
		return broken(r, promiseReviewed, "%s cancels approval %s as agent %s", r.Actor, p.id, r.Agent)
	}
	return nil
}

func (l *ledger) reminded(r *domain.Recorded, e domain.ApprovalReminded) error {
	p, err := l.pending(r, e.ApprovalID)
	if err != nil {
		return err
	}
	p.reminders++
	if due := p.opened.Add(time.Duration(p.gate.RemindEvery) * time.Duration(p.reminders)); e.Count != p.reminders || r.At.Before(due) {
		return broken(r, promiseInOrder, "reminder %d of approval %s comes as the one of count %d, which is due at %s", p.reminders, p.id, e.Count, due)
	}
	return nil
}

func (l *ledger) expired(r *domain.Recorded, e domain.ApprovalExpired) error {
	p := l.awaited(e.ApprovalID)
	if p == nil || !p.open() || r.At.Before(p.until) {
		return broken(r, promiseInOrder, "approval %s is not one of agent %s that is open and whose time is over", e.ApprovalID, r.Agent)
	}
	p.state, p.until = domain.ApprovalHasExpired, r.At
	return nil
}

// cancels is the promise that no approval outlives the terms it was asked under.
func (l *ledger) cancels(r *domain.Recorded, id domain.PermissionID, named []domain.ApprovalID) error {
	left := slices.Clone(named)
	for _, p := range l.approvals {
		if p.permission != id || !p.open() {
			continue
		}
		i := slices.Index(left, p.id)
		if i < 0 {
			return broken(r, promiseCancelled, "approval %s is %s and stands on permission %s, and is not named", p.id, p.state, id)
		}
		left = slices.Delete(left, i, i+1)
		p.state, p.until = domain.ApprovalIsCancelled, r.At
	}
	if len(left) > 0 {
		return broken(r, promiseCancelled, "it names %v, and none of these stands on permission %s and is open", left, id)
	}
	return nil
}
