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
	id      domain.ApprovalID
	request string   // every field of it
	grounds []ground // the permission that it is opened by, and those that ask too
	gate    domain.Gate
	drivers []domain.MemberID // all who have driven the agent since it was opened

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

// textOf is every field of a request.
func textOf(r *domain.Recorded, req domain.Request) (string, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return "", broken(r, promiseReadable, "%v", err)
	}
	return string(b), nil
}

// usedFor is how long at least a yes that was used answers the same request.
const usedFor = time.Minute

// asks takes a decision that waits for a person.
func (a *Audit) asks(r *domain.Recorded, d *domain.DecisionMade, l *ledger) error {
	request, err := textOf(r, d.Request)
	if err != nil {
		return err
	}
	if !d.Opens() {
		p := l.awaited(d.ApprovalID)
		if p == nil || !p.is(domain.ApprovalPending, r.At) || p.request != request || !l.stands(p, d.PermissionID, r.At) {
			return broken(r, promiseAsked, "it waits for approval %q, which doesn't wait for an answer to this request", d.ApprovalID)
		}
		return l.passesBy(r, d, p.grounds, promiseAsked)
	}
	if earlier, twice := a.opened[d.ApprovalID]; twice || d.ApprovalID == "" {
		return broken(r, promiseAsked, "approval %q was opened at sequence %d too", d.ApprovalID, earlier)
	}
	a.opened[d.ApprovalID] = r.Position.Seq
	grounds, err := l.grounds(r, d)
	if err != nil {
		return err
	}
	if err := l.passesBy(r, d, grounds, promiseAsked); err != nil {
		return err
	}
	next := &awaited{
		id: d.ApprovalID, request: request, grounds: grounds, gate: *d.Gate, drivers: []domain.MemberID{l.driver},
		state: domain.ApprovalPending, opened: r.At, until: r.At.Add(time.Duration(d.Gate.PendingFor)),
	}
	if err := l.unanswered(r, next); err != nil {
		return err
	}
	// What answers nothing any more and is not open can't matter from here on.
	l.approvals = slices.DeleteFunc(l.approvals, func(p *awaited) bool { return !p.open() && !r.At.Before(p.until) })
	l.approvals = append(l.approvals, next)
	return nil
}

// unanswered is the promise that an approval is opened only where there is no
// answer yet, and not too many are open.
func (l *ledger) unanswered(r *domain.Recorded, next *awaited) error {
	pending := 0
	for _, p := range l.approvals {
		same := p.request == next.request && slices.Equal(p.grounds, next.grounds)
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

// use is the promise that an allow has the yes it needs.
func (l *ledger) use(r *domain.Recorded, d *domain.DecisionMade, terms *held) error {
	asks, why := terms.asksPerson(&d.Request)
	switch {
	case why != "":
		return broken(r, promiseUsed, "%s", why)
	case asks != d.Uses():
		return broken(r, promiseUsed, "it needs a person's yes: %t; it names one: %t", asks, d.Uses())
	case !asks:
		return l.passesBy(r, d, nil, promiseUsed)
	}
	request, err := textOf(r, d.Request)
	if err != nil {
		return err
	}
	p := l.awaited(d.ApprovalID)
	switch {
	case p == nil:
		return broken(r, promiseUsed, "agent %s has no approval %s that could be used", r.Agent, d.ApprovalID)
	case p.request != request || !l.stands(p, d.PermissionID, r.At):
		return broken(r, promiseUsed, "approval %s is of another request, or of other terms", p.id)
	case p.state != domain.ApprovalIsApproved:
		return broken(r, promiseUsed, "approval %s is %s", p.id, p.state)
	case !r.At.Before(p.until):
		return broken(r, promiseUsed, "approval %s has ended at %s", p.id, p.until)
	}
	p.state, p.until = domain.ApprovalIsUsed, domain.Later(p.until, r.At.Add(usedFor))
	return l.passesBy(r, d, p.grounds, promiseUsed)
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

// driven is the agent with another driver, whom the approvals that wait remember.
func (l *ledger) driven(by domain.MemberID) {
	l.driver = by
	for _, p := range l.approvals {
		if p.state == domain.ApprovalPending {
			p.drivers = append(p.drivers, by)
		}
	}
}

// mayApprove is the promise that nobody says yes to their own agent unless the
// account lets them.
func (p *awaited) mayApprove(r *domain.Recorded, id domain.MemberID, who *people) error {
	if slices.Contains(p.drivers, id) && !who.couldApproveOwn(r.LoggedAt) {
		return broken(r, promiseReviewed, "%s approves their own agent with %s, which the account does not allow", id, p.id)
	}
	return p.mayReview(r, id, who)
}

func (p *awaited) saysSelf(r *domain.Recorded, id domain.MemberID, says bool) error {
	if own := slices.Contains(p.drivers, id); own != says {
		return broken(r, promiseReviewed, "%s drives the agent, or did: %t; the yes says so: %t", id, own, says)
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
		p.mayApprove(r, e.MemberID, who),
		p.saysSelf(r, e.MemberID, e.Self),
	)
}

func (l *ledger) approved(r *domain.Recorded, e domain.ApprovalApproved, who *people) error {
	p, err := l.pending(r, e.ApprovalID)
	if err != nil {
		return err
	}
	if err := cmp.Or(p.reviews(r, e.MemberID, who), p.saysSelf(r, e.MemberID, e.Self)); err != nil {
		return err
	}
	var selves []domain.MemberID
	for i, id := range e.Voters {
		if slices.Contains(e.Voters[:i], id) || id != e.MemberID && !slices.Contains(p.voters, id) {
			return broken(r, promiseReviewed, "%s is counted twice or did not vote on approval %s", id, p.id)
		}
		if err := p.mayApprove(r, id, who); err != nil {
			return err
		}
		if slices.Contains(p.drivers, id) {
			selves = append(selves, id)
		}
	}
	if !slices.Equal(selves, e.SelfVoters) {
		return broken(r, promiseReviewed, "of those who said yes to approval %s, %v drive the agent, or did, and %v are named", p.id, selves, e.SelfVoters)
	}
	if len(e.Voters) < max(p.gate.Quorum, 1) || !slices.Contains(e.Voters, e.MemberID) {
		return broken(r, promiseReviewed, "%d people said yes to approval %s, and it needs %d", len(e.Voters), p.id, p.gate.Quorum)
	}
	if first := p.grounds[0]; !l.standsOn(first, r.At) {
		return broken(r, promiseInOrder, "approval %s stands on nothing: permission %s was replaced, or allows nothing", p.id, first.permission)
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
	// A count is the number of intervals since the opening. Some may be left out.
	due := 0
	if p.gate.RemindEvery > 0 {
		due = int(r.At.Sub(p.opened) / time.Duration(p.gate.RemindEvery))
	}
	if e.Count <= p.reminders || e.Count > due {
		return broken(r, promiseInOrder, "reminder %d of approval %s comes after %d, when %d are due", e.Count, p.id, p.reminders, due)
	}
	p.reminders = e.Count
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
		if !p.open() || !slices.ContainsFunc(p.grounds, func(g ground) bool { return g.permission == id }) {
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
