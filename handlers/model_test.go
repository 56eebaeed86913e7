package handlers_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// model says what Behalf should answer, the simple way: it keeps every fact for
// ever and counts anew whenever it is asked. It knows one account, one currency
// and two actions.
type model struct {
	agents  map[domain.AgentID]*modelAgent
	account modelLimits
	roles   map[domain.MemberID]domain.Role
}

type modelAgent struct {
	disabled    bool
	driver      domain.MemberID
	permissions []*modelPermission // in the order in which their terms were given
	revocations int
	limits      modelLimits
	approvals   []*modelApproval
	allows      map[domain.RequestID]*modelAllow
}

type modelPermission struct {
	id      domain.PermissionID
	terms   modelTerms
	given   int // how often terms were given
	revoked int // the how-manieth revocation of the agent, 0 if it stands
	expires time.Time
	limits  modelLimits
}

// modelTerms are terms as a step draws them. Amounts are in cents, -1 for none.
type modelTerms struct {
	action         domain.Action
	most           int64
	asks           bool
	above          int64
	minRole        domain.Role
	quorum         int
	budget, rate   int64
	budgetPer      domain.Period
	ratePer        domain.Period
	expiresInHours int
}

// modelLimits are at most one budget and one rate, with all that counts in them.
type modelLimits struct {
	budget, rate       int64 // -1 for none
	budgetPer, ratePer domain.Period
	spent, counted     []*modelSpend
}

type modelSpend struct {
	at     time.Time
	amount int64
	allow  domain.RequestID
}

type modelAllow struct {
	amount  int64
	settled string // the outcome that was reported, or empty
}

type modelApproval struct {
	id         domain.ApprovalID
	permission domain.PermissionID
	given      int
	action     domain.Action
	amount     int64
	minRole    domain.Role
	quorum     int
	drivers    []domain.MemberID
	state      domain.ApprovalState
	byAgent    bool // who cancelled it
	votes      []domain.MemberID
	expires    time.Time
	sticky     time.Time
}

// The account's settings in the model.
const (
	modelPendingFor  = 3 * time.Hour
	modelValidFor    = time.Hour
	modelDenialFor   = 2 * time.Hour
	modelMostPending = 3
)

func (l *modelLimits) set(budget int64, budgetPer domain.Period, rate int64, ratePer domain.Period) {
	if budget < 0 || l.budget < 0 || budgetPer != l.budgetPer {
		l.spent = nil
	}
	if rate < 0 || l.rate < 0 || ratePer != l.ratePer {
		l.counted = nil
	}
	l.budget, l.budgetPer, l.rate, l.ratePer = budget, budgetPer, rate, ratePer
}

func (l *modelLimits) any() bool { return l.budget >= 0 || l.rate >= 0 }

// sameWindow is by what the wall clock shows.
func sameWindow(per domain.Period, a, b time.Time) bool {
	layout := map[domain.Period]string{
		domain.PerMinute: "2006-01-02 15:04", domain.PerHour: "2006-01-02 15", domain.PerDay: "2006-01-02", domain.PerMonth: "2006-01",
	}[per]
	if per == domain.PerWeek {
		ay, aw := a.ISOWeek()
		by, bw := b.ISOWeek()
		return ay == by && aw == bw
	}
	return a.Format(layout) == b.Format(layout)
}

func (l *modelLimits) used(now time.Time) (spent, counted int64) {
	for _, s := range l.spent {
		if sameWindow(l.budgetPer, s.at, now) {
			spent += s.amount
		}
	}
	for _, s := range l.counted {
		if sameWindow(l.ratePer, s.at, now) {
			counted++
		}
	}
	return spent, counted
}

// rateFails and budgetFails are the code of what one more allow would exceed.
func (l *modelLimits) rateFails(now time.Time) domain.ReasonCode {
	if _, counted := l.used(now); l.rate >= 0 && counted >= l.rate {
		return domain.RateExceeded
	}
	return ""
}

func (l *modelLimits) budgetFails(amount int64, now time.Time) domain.ReasonCode {
	spent, _ := l.used(now)
	switch {
	case l.budget < 0:
	case amount < 0:
		return domain.AmountRequired
	case spent+amount > l.budget:
		return domain.BudgetExceeded
	}
	return ""
}

func (l *modelLimits) charge(id domain.RequestID, amount int64, now time.Time) {
	if l.budget >= 0 {
		l.spent = append(l.spent, &modelSpend{now, amount, id})
	}
	if l.rate >= 0 {
		l.counted = append(l.counted, &modelSpend{now, 0, id})
	}
}

func (l *modelLimits) release(id domain.RequestID, back int64) {
	for _, s := range l.spent {
		if s.allow == id {
			s.amount -= back
		}
	}
}

func (p *modelPermission) active(now time.Time) bool {
	return p.revoked == 0 && (p.expires.IsZero() || now.Before(p.expires))
}

// fails is the first rule of a permission that does not hold, and how many did.
func (p *modelPermission) fails(amount int64, now time.Time) (code domain.ReasonCode, passed int) {
	rules := []domain.ReasonCode{""} // the action
	if p.terms.most >= 0 {
		switch {
		case amount < 0:
			rules = append(rules, domain.AmountRequired)
		case amount > p.terms.most:
			rules = append(rules, domain.AmountExceedsLimit)
		default:
			rules = append(rules, "")
		}
	}
	if p.limits.rate >= 0 {
		rules = append(rules, p.limits.rateFails(now))
	}
	if p.limits.budget >= 0 {
		rules = append(rules, p.limits.budgetFails(amount, now))
	}
	if p.terms.asks && p.terms.above >= 0 && amount < 0 {
		rules = append(rules, domain.AmountRequired)
	}
	for _, code := range rules {
		if code != "" {
			return code, passed
		}
		passed++
	}
	return "", passed
}

// choose is the permission that decides, or the code of the denial.
func (a *modelAgent) choose(action domain.Action, amount int64, now time.Time) (*modelPermission, domain.ReasonCode) {
	if a.disabled {
		return nil, domain.AgentDisabledCode
	}
	var named []*modelPermission
	newest := 0 // revocation of this action
	for _, p := range a.permissions {
		if p.terms.action == action {
			newest = max(newest, p.revoked)
		}
	}
	anyActive := false
	for _, p := range a.permissions {
		if p.terms.action == action && (p.revoked == 0 || p.revoked == newest) {
			named = append(named, p)
			anyActive = anyActive || p.active(now)
		}
	}
	switch {
	case len(named) == 0:
		return nil, domain.NoPermission
	case !anyActive && named[len(named)-1].revoked > 0:
		return nil, domain.PermissionRevokedCode
	case !anyActive:
		return nil, domain.PermissionExpired
	}
	var winner *modelPermission
	var code domain.ReasonCode
	furthest := -1
	for _, p := range named {
		if !p.active(now) {
			continue
		}
		failed, passed := p.fails(amount, now)
		if failed != "" {
			if passed >= furthest {
				code, furthest = failed, passed
			}
			continue
		}
		if winner == nil || p.strictness(amount) >= winner.strictness(amount) {
			winner = p
		}
	}
	return winner, code
}

// strictness orders permissions by what they ask for.
func (p *modelPermission) strictness(amount int64) int {
	if !p.gates(amount) {
		return 0
	}
	rank := map[domain.Role]int{domain.RoleApprover: 1, domain.RoleAdmin: 2, domain.RoleOwner: 3}
	return 100*rank[p.terms.minRole] + p.terms.quorum
}

func (p *modelPermission) gates(amount int64) bool {
	return p.terms.asks && (p.terms.above < 0 || amount > p.terms.above)
}

func (p *modelApproval) at(now time.Time) domain.ApprovalState {
	if p.state.Open() && !now.Before(p.expires) {
		return domain.ApprovalHasExpired
	}
	return p.state
}

// verify is what a verify should be answered, and the approval it is about.
func (m *model) verify(a *modelAgent, action domain.Action, amount int64, now time.Time) (domain.ReasonCode, *modelPermission, *modelApproval) {
	p, code := a.choose(action, amount, now)
	if p == nil {
		return code, nil, nil
	}
	if code := cmp.Or(
		a.limits.rateFails(now), a.limits.budgetFails(amount, now), m.account.rateFails(now), m.account.budgetFails(amount, now),
	); code != "" {
		return code, p, nil
	}
	if !p.gates(amount) {
		return domain.Allowed, p, nil
	}
	pending := 0
	for _, q := range slices.Backward(a.approvals) {
		same := q.permission == p.id && q.given == p.given && q.action == action && q.amount == amount
		switch state := q.at(now); {
		case same && state == domain.ApprovalPending:
			return domain.ApprovalRequired, p, q
		case same && state == domain.ApprovalIsApproved:
			return domain.Allowed, p, q
		case same && state == domain.ApprovalIsUsed && now.Before(q.sticky):
			return domain.ApprovalUsed, p, q
		case same && state == domain.ApprovalIsDenied && now.Before(q.sticky):
			return domain.ApprovalDeniedCode, p, q
		case state == domain.ApprovalPending, q.byAgent && now.Before(q.sticky):
			pending++
		}
	}
	if pending >= modelMostPending {
		return domain.TooManyPending, p, nil
	}
	return domain.ApprovalRequired, p, nil
}

// world runs the same steps on Behalf and on the model.
type world struct {
	*rapid.T
	model
	*lab
	steps int
	seen  map[domain.ReasonCode]int
}

func (w *world) agent() (domain.AgentID, *modelAgent) {
	id := domain.AgentID("agent_" + strconv.Itoa(rapid.IntRange(0, 1).Draw(w.T, "agent")))
	return id, w.agents[id]
}

func (w *world) node() *labNode { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(w.T, "node")] }

func (w *world) member() handlers.Member {
	return w.members[rapid.IntRange(0, len(w.members)-1).Draw(w.T, "member")]
}

var drawAmount = rapid.SampledFrom([]int64{-1, 0, 1, 50, 100, 150, 400})

func (w *world) drawTerms() modelTerms {
	limit := rapid.SampledFrom([]int64{-1, -1, -1, 120, 300, 1000})
	t := modelTerms{
		action: rapid.SampledFrom([]domain.Action{"buy", "read"}).Draw(w.T, "action"),
		most:   limit.Draw(w.T, "most"), above: -1, minRole: domain.RoleApprover, quorum: 1,
		asks:   rapid.IntRange(0, 2).Draw(w.T, "asks") > 0,
		budget: limit.Draw(w.T, "budget"), budgetPer: rapid.SampledFrom([]domain.Period{domain.PerHour, domain.PerDay, domain.PerWeek, domain.PerMonth, domain.InTotal}).Draw(w.T, "budget per"),
		rate: rapid.SampledFrom([]int64{-1, -1, 1, 3}).Draw(w.T, "rate"), ratePer: rapid.SampledFrom([]domain.Period{domain.PerMinute, domain.PerHour, domain.PerDay, domain.InTotal}).Draw(w.T, "rate per"),
		expiresInHours: rapid.SampledFrom([]int{0, 0, 0, 5}).Draw(w.T, "expires in"),
	}
	if t.asks {
		t.above = rapid.SampledFrom([]int64{-1, 60}).Draw(w.T, "above")
		t.minRole = rapid.SampledFrom([]domain.Role{domain.RoleApprover, domain.RoleAdmin}).Draw(w.T, "least role")
		t.quorum = rapid.IntRange(1, 2).Draw(w.T, "quorum")
	}
	return t
}

func cents(n int64) domain.Decimal {
	return domain.Decimal(domain.Money{Minor: n, Currency: "USD"}.String())
}

func limitsOf(budget int64, budgetPer domain.Period, rate int64, ratePer domain.Period) (l domain.Limits) {
	if budget >= 0 {
		l.Budgets = []domain.Budget{{Amount: cents(budget), Per: budgetPer}}
	}
	if rate >= 0 {
		l.Rates = []domain.Rate{{Count: rate, Per: ratePer}}
	}
	return l
}

func (t modelTerms) terms(now time.Time) domain.Terms {
	terms := domain.Terms{Action: t.action, Limits: limitsOf(t.budget, t.budgetPer, t.rate, t.ratePer)}
	if t.most >= 0 {
		terms.MaxAmount = cents(t.most)
	}
	if t.asks {
		terms.RequiresApproval = domain.ApprovalRule{Always: t.above < 0}
		if t.above >= 0 {
			terms.RequiresApproval.Above = cents(t.above)
		}
		terms.Approval = &domain.ApprovalTerms{MinRole: t.minRole, Quorum: t.quorum}
	}
	if t.expiresInHours > 0 {
		terms.ExpiresAt = now.Add(time.Duration(t.expiresInHours) * time.Hour)
	}
	return terms
}

func (w *world) grant() {
	id, a := w.agent()
	terms := w.drawTerms()
	_, p, err := w.node().Grant(w.Context(), w.owner, id, terms.terms(w.now))
	if err != nil {
		w.Fatalf("grant %+v: %v", terms, err)
	}
	a.give(&modelPermission{id: p, limits: modelLimits{budget: -1, rate: -1}}, terms, w.now)
}

func (a *modelAgent) give(p *modelPermission, terms modelTerms, now time.Time) {
	p.terms, p.expires = terms, time.Time{}
	if terms.expiresInHours > 0 {
		p.expires = now.Add(time.Duration(terms.expiresInHours) * time.Hour)
	}
	p.given++
	p.limits.set(terms.budget, terms.budgetPer, terms.rate, terms.ratePer)
	a.permissions = append(slices.DeleteFunc(a.permissions, func(q *modelPermission) bool { return q == p }), p)
	for _, q := range a.approvals {
		if q.permission == p.id && q.state.Open() {
			q.state, q.sticky = domain.ApprovalIsCancelled, now
		}
	}
}

// permission draws one of an agent's, nil if it has none.
func (w *world) permission(a *modelAgent) *modelPermission {
	if len(a.permissions) == 0 {
		return nil
	}
	return a.permissions[rapid.IntRange(0, len(a.permissions)-1).Draw(w.T, "permission")]
}

func (w *world) replace() {
	id, a := w.agent()
	p := w.permission(a)
	if p == nil {
		return
	}
	terms := w.drawTerms()
	_, err := w.node().Replace(w.Context(), w.owner, id, p.id, terms.terms(w.now), 0)
	if p.revoked > 0 {
		w.wantCode(err, domain.Conflict)
		return
	}
	w.wantCode(err)
	a.give(p, terms, w.now)
}

func (w *world) revoke() {
	id, a := w.agent()
	p := w.permission(a)
	if p == nil {
		return
	}
	_, err := w.node().Revoke(w.Context(), w.owner, id, domain.RevokePermission{PermissionID: p.id})
	w.wantCode(err)
	if p.revoked > 0 {
		return
	}
	a.revocations++
	p.revoked = a.revocations
	for _, q := range a.approvals {
		if q.permission == p.id && q.state.Open() {
			q.state, q.sticky = domain.ApprovalIsCancelled, w.now
		}
	}
}

func (w *world) disable() {
	id, a := w.agent()
	var err error
	if a.disabled = !a.disabled && rapid.IntRange(0, 3).Draw(w.T, "disabled") == 3; a.disabled {
		_, err = w.node().DisableAgent(w.Context(), w.owner, id, "")
	} else {
		_, err = w.node().EnableAgent(w.Context(), w.owner, id)
	}
	w.wantCode(err)
}

func (w *world) drive() {
	id, a := w.agent()
	a.driver = w.member().ID
	for _, q := range a.approvals {
		if q.state == domain.ApprovalPending {
			q.drivers = append(q.drivers, a.driver)
		}
	}
	_, err := w.node().Drive(w.Context(), w.owner, id, a.driver)
	w.wantCode(err)
}

func (w *world) limit() {
	terms := w.drawTerms()
	limits := limitsOf(terms.budget, terms.budgetPer, terms.rate, terms.ratePer)
	if rapid.Bool().Draw(w.T, "of the account") {
		_, err := w.node().SetAccountLimits(w.Context(), w.owner, limits)
		w.wantCode(err)
		w.account.set(terms.budget, terms.budgetPer, terms.rate, terms.ratePer)
		return
	}
	id, a := w.agent()
	_, err := w.node().SetLimits(w.Context(), w.owner, id, limits)
	w.wantCode(err)
	a.limits.set(terms.budget, terms.budgetPer, terms.rate, terms.ratePer)
}

func (w *world) verify() {
	id, a := w.agent()
	w.ask(id, a, rapid.SampledFrom([]domain.Action{"buy", "read"}).Draw(w.T, "action"), drawAmount.Draw(w.T, "amount"))
}

// again asks for the same as one of the newest approvals is for.
func (w *world) again() {
	id, a := w.agent()
	if q := w.approval(a); q != nil {
		w.ask(id, a, q.action, q.amount)
	}
}

func (w *world) ask(id domain.AgentID, a *modelAgent, action domain.Action, amount int64) {
	ask := &domain.Ask{Action: action}
	if amount >= 0 {
		ask.Amount = cents(amount)
	}
	code, p, approval := w.model.verify(a, action, amount, w.now)
	node := w.node()
	if w.account.any() {
		node.catchUp() // behind, it may deny by what another agent has given back since
	}
	r, err := node.Verify(w.Context(), w.keys[id], ask)
	if err != nil {
		w.Fatalf("verify: got %v, want %s", err, code)
	}
	d := r.Event.(domain.DecisionMade)
	if d.ReasonCode != code {
		w.Fatalf("%s asks for %s of %d at %s: got %s (%s), want %s", id, action, amount, w.now, d.ReasonCode, d.Reason, code)
	}
	if approval != nil && d.ApprovalID != approval.id {
		w.Fatalf("got approval %s, want %s", d.ApprovalID, approval.id)
	}
	w.seen[code]++
	switch code {
	case domain.Allowed:
		if d.PermissionID != p.id {
			w.Fatalf("allowed by %s, want %s", d.PermissionID, p.id)
		}
		w.allowed(a, p, approval, d.RequestID, amount)
	case domain.ApprovalRequired:
		if approval == nil {
			a.approvals = append(a.approvals, &modelApproval{
				id: d.ApprovalID, permission: p.id, given: p.given, action: action, amount: amount,
				minRole: p.terms.minRole, quorum: p.terms.quorum, drivers: []domain.MemberID{a.driver},
				state: domain.ApprovalPending, expires: w.now.Add(modelPendingFor),
			})
		}
	}
}

func (w *world) allowed(a *modelAgent, p *modelPermission, approval *modelApproval, id domain.RequestID, amount int64) {
	if approval != nil {
		approval.state, approval.sticky = domain.ApprovalIsUsed, approval.expires
	}
	if approval != nil || p.limits.any() || a.limits.any() || w.account.any() {
		a.allows[id] = &modelAllow{amount: amount}
	}
	p.limits.charge(id, amount, w.now)
	a.limits.charge(id, amount, w.now)
	w.account.charge(id, amount, w.now)
}

// approval draws one of an agent's, nil if it has none.
func (w *world) approval(a *modelAgent) *modelApproval {
	if len(a.approvals) == 0 {
		return nil
	}
	i := rapid.IntRange(0, min(len(a.approvals), 5)-1).Draw(w.T, "approval") // from the newest on
	return a.approvals[len(a.approvals)-1-i]
}

func (w *world) approve() {
	_, a := w.agent()
	q, by, node := w.approval(a), w.member(), w.node()
	if q == nil {
		return
	}
	_, err := node.Approve(w.Context(), by, w.found(node, q.id), "")
	p := a.permissions[slices.IndexFunc(a.permissions, func(p *modelPermission) bool { return p.id == q.permission })]
	eligible := func(m domain.MemberID) bool {
		return w.roles[m].AtLeast(q.minRole) && !slices.Contains(q.drivers, m)
	}
	switch state := q.at(w.now); {
	case !w.roles[by.ID].AtLeast(domain.RoleApprover):
		w.wantCode(err, domain.Forbidden)
	case state == domain.ApprovalIsApproved && slices.Contains(q.votes, by.ID):
		w.wantCode(err)
	case state != domain.ApprovalPending, a.disabled, !p.active(w.now), p.given != q.given:
		w.wantCode(err, domain.Conflict)
	case !eligible(by.ID):
		w.wantCode(err, domain.Forbidden)
	default:
		w.wantCode(err)
		yes := 1
		for _, m := range q.votes {
			if m != by.ID && eligible(m) {
				yes++
			}
		}
		if !slices.Contains(q.votes, by.ID) {
			q.votes = append(q.votes, by.ID)
		}
		if yes >= q.quorum {
			q.state, q.expires = domain.ApprovalIsApproved, w.now.Add(modelValidFor)
		}
	}
}

func (w *world) deny() {
	_, a := w.agent()
	q, by, node := w.approval(a), w.member(), w.node()
	if q == nil {
		return
	}
	_, err := node.Deny(w.Context(), by, w.found(node, q.id), "no")
	switch state := q.at(w.now); {
	case !w.roles[by.ID].AtLeast(domain.RoleApprover):
		w.wantCode(err, domain.Forbidden)
	case state == domain.ApprovalIsDenied: // once more by the same member changes nothing, while it is remembered
		w.wantCode(err, "", domain.Conflict)
	case state != domain.ApprovalPending:
		w.wantCode(err, domain.Conflict)
	case !w.roles[by.ID].AtLeast(q.minRole):
		w.wantCode(err, domain.Forbidden)
	default:
		w.wantCode(err)
		q.state, q.sticky = domain.ApprovalIsDenied, w.now.Add(modelDenialFor)
	}
}

func (w *world) cancel() {
	id, a := w.agent()
	q, node := w.approval(a), w.node()
	if q == nil {
		return
	}
	var err error
	byAgent := rapid.Bool().Draw(w.T, "by the agent")
	by := w.member()
	if byAgent {
		_, err = node.CancelOwn(w.Context(), w.caller(id), w.found(node, q.id))
	} else {
		_, err = node.Withdraw(w.Context(), by, w.found(node, q.id), "")
	}
	state := q.at(w.now)
	switch {
	case state == domain.ApprovalIsCancelled || !state.Open():
		w.wantCode(err, "", domain.Conflict, domain.Forbidden) // by how long ago it was
	case !byAgent && !w.roles[by.ID].AtLeast(q.minRole):
		w.wantCode(err, domain.Forbidden)
	default:
		w.wantCode(err)
		if q.state, q.sticky, q.byAgent = domain.ApprovalIsCancelled, w.now, byAgent; byAgent {
			q.sticky = q.expires
		}
	}
}

func (w *world) settle() {
	id, a := w.agent()
	var allows []domain.RequestID
	for request := range a.allows {
		allows = append(allows, request)
	}
	slices.Sort(allows)
	if len(allows) == 0 {
		return
	}
	request := allows[len(allows)-1-rapid.IntRange(0, min(len(allows), 5)-1).Draw(w.T, "allow")]
	allow := a.allows[request]
	cmd := domain.SettleDecision{RequestID: request, Outcome: domain.Executed}
	spent := allow.amount
	switch {
	case rapid.Bool().Draw(w.T, "failed"):
		cmd.Outcome, spent = domain.ActionFailed, 0
	case allow.amount >= 0:
		spent = rapid.SampledFrom([]int64{0, allow.amount / 2, allow.amount, allow.amount + 1}).Draw(w.T, "spent")
		cmd.Amount = cents(spent)
	}
	_, err := w.node().Settle(w.Context(), w.caller(id), cmd)
	outcome := fmt.Sprint(cmd.Outcome, max(spent, 0))
	switch {
	case allow.amount >= 0 && spent > allow.amount:
		w.wantCode(err, domain.Invalid)
	case allow.settled != "" && allow.settled != outcome:
		w.wantCode(err, domain.Conflict)
	default:
		w.wantCode(err)
		if allow.settled == "" && allow.amount > spent {
			for _, l := range w.limitsCharged(a) {
				l.release(request, allow.amount-max(spent, 0))
			}
		}
		allow.settled = outcome
	}
}

func (w *world) limitsCharged(a *modelAgent) []*modelLimits {
	all := []*modelLimits{&a.limits, &w.account}
	for _, p := range a.permissions {
		all = append(all, &p.limits)
	}
	return all
}

func (w *world) changeRole() {
	m := w.member()
	if m.ID == w.owner.ID {
		return
	}
	role := rapid.SampledFrom([]domain.Role{domain.RoleViewer, domain.RoleApprover, domain.RoleAdmin}).Draw(w.T, "role")
	_, err := w.node().ChangeRole(w.Context(), w.owner, m.ID, role)
	w.wantCode(err)
	w.roles[m.ID] = role
}

func (w *world) wait() {
	w.now = w.now.Add(rapid.SampledFrom([]time.Duration{
		time.Second, time.Second, time.Minute, time.Minute, 20 * time.Minute, time.Hour, 5 * time.Hour, 26 * time.Hour, 20 * 24 * time.Hour,
	}).Draw(w.T, "wait"))
}

// ring rings the alarm of an approval, whether or not it is time.
func (w *world) ring() {
	id, a := w.agent()
	q := w.approval(a)
	if q == nil {
		return
	}
	if err := w.node().minder.Ring(w.Context(), domain.Alarm{Account: home, Agent: id, ApprovalID: q.id}); err != nil {
		w.Fatalf("ring: %v", err)
	}
	if q.state.Open() && q.at(w.now) == domain.ApprovalHasExpired {
		q.state, q.sticky = domain.ApprovalHasExpired, w.now
	}
}

// check compares what both say is left, and where approvals stand.
func (w *world) check() {
	w.steps++
	node := w.nodes[0]
	node.catchUp()
	for id, a := range w.agents {
		agent := node.passports.Agent(domain.Stream{Account: home, Agent: id})
		for _, p := range a.permissions {
			if p.revoked > 0 {
				continue
			}
			held, _ := agent.Permission(p.id)
			w.wantLeft(fmt.Sprintf("%s of %s", p.id, id), agent.LeftOf(held, w.now), &p.limits)
		}
		w.wantLeft(string(id), agent.Left(w.now), &a.limits)
		for _, q := range a.approvals {
			if got := node.passports.Approval(q.id).StateAt(w.now); got != q.at(w.now) {
				w.Fatalf("approval %s: got %s, want %s", q.id, got, q.at(w.now))
			}
		}
	}
	w.wantLeft("the account", node.passports.Budget(home).Left(w.now), &w.account)
}

func (w *world) wantLeft(whose string, got []domain.Left, l *modelLimits) {
	spent, counted := l.used(w.now)
	for _, left := range got {
		want := cents(spent)
		if left.Currency == "" {
			want = domain.Decimal(strconv.FormatInt(counted, 10))
		}
		if left.Used != want {
			w.Fatalf("%s at %s: got %s used per %s, want %s", whose, w.now, left.Used, left.Per, want)
		}
	}
}

// wantCode fails unless err carries one of the codes; none at all, or an empty
// one, means no error.
func (w *world) wantCode(err error, codes ...domain.Code) {
	var got domain.Code
	if rule, ok := errors.AsType[*domain.RuleError](err); ok {
		got = rule.Code
	} else if err != nil {
		w.Fatalf("got %v, want a rule or nothing", err)
	}
	if len(codes) == 0 {
		codes = []domain.Code{""}
	}
	if !slices.Contains(codes, got) {
		w.Fatalf("got %q (%v), want one of %q", got, err, codes)
	}
}

// Random acts by several people on several nodes, one of which is always behind,
// end as the simple model says, and what they leave in the log is sound.
func TestModel(t *testing.T) {
	t.Parallel()
	const enough = 10_000
	// Longer runs, and no files: what fails is printed, and its seed.
	for name, value := range map[string]string{"rapid.steps": "80", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	total, seen := 0, map[domain.ReasonCode]int{}
	for total < enough && !t.Failed() {
		rapid.Check(t, func(rt *rapid.T) {
			w := newWorld(rt)
			w.seen = seen
			for range 4 {
				w.grant()
			}
			rt.Repeat(map[string]func(*rapid.T){
				"":            func(*rapid.T) { w.check() },
				"grant":       w.step(w.grant),
				"replace":     w.step(w.replace),
				"revoke":      w.step(w.revoke),
				"disable":     w.step(w.disable),
				"drive":       w.step(w.drive),
				"limit":       w.step(w.limit),
				"change role": w.step(w.changeRole),
				"verify":      w.step(w.verify),
				"verify more": w.step(w.verify),
				"verify most": w.step(w.verify),
				"again":       w.step(w.again),
				"again too":   w.step(w.again),
				"approve":     w.step(w.approve),
				"approve too": w.step(w.approve),
				"deny":        w.step(w.deny),
				"cancel":      w.step(w.cancel),
				"settle":      w.step(w.settle),
				"wait":        w.step(w.wait),
				"ring":        w.step(w.ring),
				"restart":     w.step(w.restart),
				"follow":      w.step(func() { w.node().catchUp() }),
			})
			w.lab.audit(rt)
			total += w.steps
		})
	}
	t.Logf("%d steps: %v", total, seen)
	for _, code := range []domain.ReasonCode{
		domain.Allowed, domain.RateExceeded, domain.BudgetExceeded, domain.ApprovalRequired, domain.ApprovalDeniedCode,
		domain.ApprovalUsed, domain.TooManyPending, domain.AmountRequired, domain.AmountExceedsLimit,
	} {
		if seen[code] == 0 {
			t.Errorf("no step led to %s, so nothing was found out about it", code)
		}
	}
}

func (w *world) step(act func()) func(*rapid.T) {
	return func(rt *rapid.T) { w.T = rt; act() }
}
