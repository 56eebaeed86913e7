package handlers_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// model says what Behalf should answer, the simple way: it keeps every fact for
// ever and counts anew whenever it is asked. It knows one account, two currencies
// and two actions.
type model struct {
	agents        map[domain.AgentID]*modelAgent
	account       modelLimits
	roles         map[domain.MemberID]domain.Role
	selfApproval  bool
	shareComments bool
}

type modelAgent struct {
	disabled    bool
	driver      domain.MemberID
	permissions []*modelPermission // in the order in which their terms were given
	revocations int
	limits      modelLimits
	approvals   []*modelApproval
	allows      []*modelAllow // those that can be settled
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
	currency       domain.Currency // of most and above
	most           int64
	asks           bool
	above          int64
	minRole        domain.Role
	quorum         int
	validFor       time.Duration // less than the account's, or 0
	limits         modelLimits
	expiresInHours int
}

// modelMoney is an amount in cents, -1 for none.
type modelMoney struct {
	cents    int64
	currency domain.Currency
}

// modelLimits are rates, and budgets after them.
type modelLimits []*modelLimit

// modelLimit is a rate, or a budget if it has a currency, with all that counts
// in it.
type modelLimit struct {
	modelKey
	most   int64
	spends []*modelSpend
}

// modelKey tells limits apart. The zone is empty for a total.
type modelKey struct {
	currency domain.Currency
	per      domain.Period
	zone     string
}

// modelSpend is one allow, and what it takes: cents, or 1.
type modelSpend struct {
	at    time.Time
	takes int64
	allow domain.RequestID
}

type modelAllow struct {
	id      domain.RequestID
	amount  modelMoney
	settled string // the outcome that was reported, or empty
}

// modelApproval is good for what the same permissions ask of the same request.
type modelApproval struct {
	id        domain.ApprovalID
	asking    []modelAsking // the strictest last
	action    domain.Action
	amount    modelMoney
	minRole   domain.Role
	quorum    int
	validFor  time.Duration
	drivers   []domain.MemberID
	state     domain.ApprovalState
	byAgent   bool // who cancelled it
	votes     []modelVote
	comment   string // of whoever denied it
	shared    bool
	opened    time.Time
	reminders int
	expires   time.Time
	sticky    time.Time
}

// modelAsking is a permission that asks, and its terms.
type modelAsking struct {
	permission *modelPermission
	given      int
}

type modelVote struct {
	by   domain.MemberID
	self bool
}

// The account's settings in the model.
const (
	modelPendingFor  = 3 * time.Hour
	modelValidFor    = time.Hour
	modelDenialFor   = 2 * time.Hour
	modelUsedFor     = time.Minute // at least
	modelRemindEvery = 20 * time.Minute
	modelMostPending = 3
)

// set gives the limits others' place. Those that count the same go on.
func (l *modelLimits) set(next modelLimits) {
	old := *l
	*l = nil
	for _, n := range next {
		n = &modelLimit{modelKey: n.modelKey, most: n.most}
		if i := slices.IndexFunc(old, func(o *modelLimit) bool { return o.modelKey == n.modelKey }); i >= 0 {
			n.spends = old[i].spends
		}
		*l = append(*l, n)
	}
}

// modelZones are where the days of limits begin.
var modelZones = map[string]*time.Location{"": time.UTC, "UTC": time.UTC, "Europe/Berlin": mustZone("Europe/Berlin")}

func mustZone(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// sameWindow is by what the wall clock shows. An hour that comes twice is two.
func (k modelKey) sameWindow(a, b time.Time) bool {
	a, b = a.In(modelZones[k.zone]), b.In(modelZones[k.zone])
	layout := map[domain.Period]string{
		domain.PerMinute: "2006-01-02 15:04 -0700", domain.PerHour: "2006-01-02 15 -0700", domain.PerDay: "2006-01-02", domain.PerMonth: "2006-01",
	}[k.per]
	if k.per == domain.PerWeek {
		ay, aw := a.ISOWeek()
		by, bw := b.ISOWeek()
		return ay == by && aw == bw
	}
	return a.Format(layout) == b.Format(layout)
}

func (l *modelLimit) used(now time.Time) (used int64) {
	for _, s := range l.spends {
		if l.sameWindow(s.at, now) {
			used += s.takes
		}
	}
	return used
}

func (l modelLimits) rates() (rates modelLimits) {
	return slices.DeleteFunc(slices.Clone(l), func(l *modelLimit) bool { return l.currency != "" })
}

func (l modelLimits) budgets() (budgets modelLimits) {
	return slices.DeleteFunc(slices.Clone(l), func(l *modelLimit) bool { return l.currency == "" })
}

// rateFails and budgetFails are the code of what one more allow would exceed.
func (l modelLimits) rateFails(now time.Time) domain.ReasonCode {
	for _, r := range l.rates() {
		if r.used(now) >= r.most {
			return domain.RateExceeded
		}
	}
	return ""
}

func (l modelLimits) budgetFails(amount modelMoney, now time.Time) domain.ReasonCode {
	budgets := l.budgets()
	if len(budgets) == 0 {
		return ""
	}
	if amount.cents < 0 {
		return domain.AmountRequired
	}
	code := domain.CurrencyMismatch
	for _, b := range budgets {
		if b.currency != amount.currency {
			continue
		}
		code = ""
		if b.used(now)+amount.cents > b.most { // more than all may be used, where it was lowered
			return domain.BudgetExceeded
		}
	}
	return code
}

func (l modelLimits) charge(id domain.RequestID, amount modelMoney, now time.Time) {
	for _, l := range l {
		switch l.currency {
		case "":
			l.spends = append(l.spends, &modelSpend{now, 1, id})
		case amount.currency:
			l.spends = append(l.spends, &modelSpend{now, amount.cents, id})
		}
	}
}

func (l modelLimits) release(id domain.RequestID, back int64) {
	for _, b := range l.budgets() {
		for _, s := range b.spends {
			if s.allow == id {
				s.takes -= back
			}
		}
	}
}

func (p *modelPermission) active(now time.Time) bool {
	return p.revoked == 0 && (p.expires.IsZero() || now.Before(p.expires))
}

// fails is the first rule of a permission that does not hold, and how many did.
// Unpriced says that all hold, but whether it asks can't be told.
func (p *modelPermission) fails(amount modelMoney, now time.Time) (code domain.ReasonCode, passed int, unpriced bool) {
	comparable := func() domain.ReasonCode {
		switch {
		case amount.cents < 0:
			return domain.AmountRequired
		case amount.currency != p.terms.currency:
			return domain.CurrencyMismatch
		}
		return ""
	}
	rules := []domain.ReasonCode{""} // the action
	if p.terms.most >= 0 {
		code := comparable()
		if code == "" && amount.cents > p.terms.most {
			code = domain.AmountExceedsLimit
		}
		rules = append(rules, code)
	}
	if len(p.limits.rates()) > 0 {
		rules = append(rules, p.limits.rateFails(now))
	}
	if len(p.limits.budgets()) > 0 {
		rules = append(rules, p.limits.budgetFails(amount, now))
	}
	for _, code := range rules {
		if code != "" {
			return code, passed, false
		}
		passed++
	}
	if p.terms.asks && p.terms.above >= 0 {
		code = comparable()
	}
	return code, passed, code != ""
}

// choose is the permission that decides and those that ask, the strictest last,
// or the code of the denial.
func (a *modelAgent) choose(action domain.Action, amount modelMoney, now time.Time) (*modelPermission, []modelAsking, domain.ReasonCode) {
	if a.disabled {
		return nil, nil, domain.AgentDisabledCode
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
		return nil, nil, domain.NoPermission
	case !anyActive && named[len(named)-1].revoked > 0:
		return nil, nil, domain.PermissionRevokedCode
	case !anyActive:
		return nil, nil, domain.PermissionExpired
	}
	var winner *modelPermission
	var asking []modelAsking
	var code, cantTell domain.ReasonCode
	furthest := -1
	for _, p := range named {
		if !p.active(now) {
			continue
		}
		failed, passed, unpriced := p.fails(amount, now)
		switch {
		case unpriced:
			cantTell = failed
		case failed != "" && passed >= furthest:
			code, furthest = failed, passed
		case failed != "":
		case p.gates(amount):
			asking = append(asking, modelAsking{p, p.given})
		default:
			winner = p
		}
	}
	if cantTell != "" {
		return nil, nil, cantTell
	}
	if len(asking) > 0 {
		slices.SortStableFunc(asking, func(a, b modelAsking) int {
			return a.permission.terms.strictness() - b.permission.terms.strictness()
		})
		winner = asking[len(asking)-1].permission
	}
	return winner, asking, code
}

// strictness orders terms by what they ask for.
func (t modelTerms) strictness() int {
	rank := map[domain.Role]int{domain.RoleApprover: 1, domain.RoleAdmin: 2, domain.RoleOwner: 3}
	return 100*rank[t.minRole] + t.quorum
}

func (p *modelPermission) gates(amount modelMoney) bool {
	return p.terms.asks && (p.terms.above < 0 || amount.cents > p.terms.above)
}

func (p *modelApproval) at(now time.Time) domain.ApprovalState {
	if p.state.Open() && !now.Before(p.expires) {
		return domain.ApprovalHasExpired
	}
	return p.state
}

// standsOn reports whether a permission is one of those that ask.
func (p *modelApproval) standsOn(q *modelPermission) bool {
	return slices.ContainsFunc(p.asking, func(a modelAsking) bool { return a.permission == q })
}

// verify is what a verify should be answered, and the approval it is about.
func (m *model) verify(a *modelAgent, action domain.Action, amount modelMoney, now time.Time) (modelVerdict, *modelApproval) {
	p, asking, code := a.choose(action, amount, now)
	v := modelVerdict{by: p, asking: asking, code: code}
	if p == nil {
		return v, nil
	}
	v.code = cmp.Or(
		a.limits.rateFails(now), a.limits.budgetFails(amount, now), m.account.rateFails(now), m.account.budgetFails(amount, now),
	)
	if v.code != "" {
		return v, nil
	}
	if v.code = domain.Allowed; len(asking) == 0 {
		return v, nil
	}
	pending := 0
	for _, q := range slices.Backward(a.approvals) {
		same := slices.Equal(q.asking, asking) && q.action == action && q.amount == amount
		v.code = ""
		switch state := q.at(now); {
		case same && state == domain.ApprovalPending:
			v.code = domain.ApprovalRequired
		case same && state == domain.ApprovalIsApproved:
			v.code = domain.Allowed
		case same && state == domain.ApprovalIsUsed && now.Before(q.sticky):
			v.code = domain.ApprovalUsed
		case same && state == domain.ApprovalIsDenied && now.Before(q.sticky):
			v.code = domain.ApprovalDeniedCode
		case state == domain.ApprovalPending, q.byAgent && now.Before(q.sticky):
			pending++
		}
		if v.code != "" {
			return v, q
		}
	}
	if v.code = domain.ApprovalRequired; pending >= modelMostPending {
		v.code = domain.TooManyPending
	}
	return v, nil
}

// modelVerdict is a decision, the permission it is by, and those that ask.
type modelVerdict struct {
	code   domain.ReasonCode
	by     *modelPermission
	asking []modelAsking
}

// world runs the same steps on Behalf and on the model.
type world struct {
	*rapid.T
	model
	*lab
	// steps are those that recorded something or were refused. Head is the newest
	// record, and refused says that a step was refused, since the last check.
	steps   int
	head    uint64
	refused bool
	seen    map[string]int
}

func (w *world) agent() (domain.AgentID, *modelAgent) {
	id := domain.AgentID("agent_" + strconv.Itoa(rapid.IntRange(0, 1).Draw(w.T, "agent")))
	return id, w.agents[id]
}

func (w *world) node() *labNode { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(w.T, "node")] }

func (w *world) member() handlers.Member {
	return w.members[rapid.IntRange(0, len(w.members)-1).Draw(w.T, "member")]
}

var drawCurrency = rapid.SampledFrom([]domain.Currency{"USD", "USD", "EUR"})

func (w *world) drawAmount() modelMoney {
	cents := rapid.SampledFrom([]int64{-1, 0, 1, 50, 100, 150, 400}).Draw(w.T, "amount")
	if cents < 0 {
		return modelMoney{cents: -1}
	}
	return modelMoney{cents, drawCurrency.Draw(w.T, "currency")}
}

func (w *world) drawLimits() (limits modelLimits) {
	add := func(l *modelLimit, zone string) {
		if l.per != domain.InTotal {
			l.zone = zone
		}
		if !slices.ContainsFunc(limits, func(o *modelLimit) bool { return o.modelKey == l.modelKey }) {
			limits = append(limits, l)
		}
	}
	count := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2})
	zone := rapid.SampledFrom([]string{"UTC", "Europe/Berlin"})
	for range count.Draw(w.T, "rates") {
		per := rapid.SampledFrom([]domain.Period{domain.PerMinute, domain.PerHour, domain.PerDay, domain.InTotal}).Draw(w.T, "rate per")
		most := rapid.SampledFrom([]int64{1, 3, 5}).Draw(w.T, "rate")
		add(&modelLimit{modelKey: modelKey{per: per}, most: most}, zone.Draw(w.T, "zone"))
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2, 2}).Draw(w.T, "budgets") {
		per := rapid.SampledFrom([]domain.Period{domain.PerHour, domain.PerDay, domain.PerWeek, domain.PerMonth, domain.InTotal}).Draw(w.T, "budget per")
		most := rapid.SampledFrom([]int64{120, 300, 1000}).Draw(w.T, "budget")
		key := modelKey{per: per, currency: drawCurrency.Draw(w.T, "currency")}
		add(&modelLimit{modelKey: key, most: most}, zone.Draw(w.T, "zone"))
	}
	return limits
}

func (w *world) drawTerms() modelTerms {
	t := modelTerms{
		action:   rapid.SampledFrom([]domain.Action{"buy", "read"}).Draw(w.T, "action"),
		currency: drawCurrency.Draw(w.T, "currency"),
		most:     rapid.SampledFrom([]int64{-1, -1, -1, 120, 300, 1000}).Draw(w.T, "most"), above: -1,
		asks: rapid.IntRange(0, 2).Draw(w.T, "asks") > 0, minRole: domain.RoleApprover, quorum: 1,
		limits:         w.drawLimits(),
		expiresInHours: rapid.SampledFrom([]int{0, 0, 0, 5}).Draw(w.T, "expires in"),
	}
	if t.asks {
		t.above = rapid.SampledFrom([]int64{-1, 60}).Draw(w.T, "above")
		t.minRole = rapid.SampledFrom([]domain.Role{domain.RoleApprover, domain.RoleAdmin}).Draw(w.T, "least role")
		t.quorum = rapid.IntRange(1, 2).Draw(w.T, "quorum")
		t.validFor = rapid.SampledFrom([]time.Duration{0, 0, modelUsedFor / 2}).Draw(w.T, "valid for")
	}
	return t
}

func cents(n int64) domain.Decimal {
	return domain.Decimal(domain.Money{Minor: n, Currency: "USD"}.String())
}

// limits leaves to the account what is the account's anyway.
func (l modelLimits) limits() (limits domain.Limits) {
	for _, l := range l {
		zone := l.zone
		if zone == "UTC" {
			zone = ""
		}
		if l.currency == "" {
			limits.Rates = append(limits.Rates, domain.Rate{Count: l.most, Per: l.per, TimeZone: zone})
			continue
		}
		limits.Budgets = append(limits.Budgets, domain.Budget{Amount: cents(l.most), Currency: l.currency, Per: l.per, TimeZone: zone})
	}
	return limits
}

func (t modelTerms) terms(now time.Time) domain.Terms {
	terms := domain.Terms{Action: t.action, Limits: t.limits.limits()}
	if t.most >= 0 {
		terms.MaxAmount = cents(t.most)
	}
	if t.asks {
		terms.RequiresApproval = domain.ApprovalRule{Always: t.above < 0}
		if t.above >= 0 {
			terms.RequiresApproval.Above = cents(t.above)
		}
		terms.Approval = &domain.ApprovalTerms{MinRole: t.minRole, Quorum: t.quorum, ValidFor: domain.Duration(t.validFor)}
	}
	if t.most >= 0 || t.above >= 0 {
		terms.Currency = t.currency
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
	a.give(&modelPermission{id: p}, terms, w.now)
}

func (a *modelAgent) give(p *modelPermission, terms modelTerms, now time.Time) {
	p.terms, p.expires = terms, time.Time{}
	if terms.expiresInHours > 0 {
		p.expires = now.Add(time.Duration(terms.expiresInHours) * time.Hour)
	}
	p.given++
	p.limits.set(terms.limits)
	a.permissions = append(slices.DeleteFunc(a.permissions, func(q *modelPermission) bool { return q == p }), p)
	a.cancel(p, now)
}

// cancel ends what is asked for by a permission, among others.
func (a *modelAgent) cancel(p *modelPermission, now time.Time) {
	for _, q := range a.approvals {
		if q.standsOn(p) && q.state.Open() {
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
	a.cancel(p, w.now)
}

func (w *world) disable() {
	id, a := w.agent()
	var err error
	if a.disabled = !a.disabled && rapid.IntRange(0, 9).Draw(w.T, "disabled") == 9; a.disabled {
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
	limits := w.drawLimits()
	if rapid.Bool().Draw(w.T, "of the account") {
		_, err := w.node().SetAccountLimits(w.Context(), w.owner, limits.limits())
		w.wantCode(err)
		w.account.set(limits)
		return
	}
	id, a := w.agent()
	_, err := w.node().SetLimits(w.Context(), w.owner, id, limits.limits())
	w.wantCode(err)
	a.limits.set(limits)
}

// configure has a member change what only an owner may, or what an admin may too.
func (w *world) configure() {
	by := w.owner
	if rapid.IntRange(0, 3).Draw(w.T, "anyone") == 3 {
		by = w.member()
	}
	on := rapid.Bool().Draw(w.T, "on")
	if rapid.Bool().Draw(w.T, "share comments") {
		_, err := w.node().ChangeSettings(w.Context(), by, domain.ChangeSettings{Approvals: domain.ChangeApprovals{ShareComments: &on}})
		if !w.roles[by.ID].AtLeast(domain.RoleAdmin) {
			w.wantCode(err, domain.Forbidden)
			return
		}
		w.wantCode(err)
		w.shareComments = on
		return
	}
	_, err := w.node().ChangeSettings(w.Context(), by, domain.ChangeSettings{Approvals: domain.ChangeApprovals{SelfApproval: &on}})
	if !w.roles[by.ID].AtLeast(domain.RoleAdmin) || w.roles[by.ID] != domain.RoleOwner && on != w.selfApproval {
		w.wantCode(err, domain.Forbidden)
		return
	}
	w.wantCode(err)
	w.selfApproval = on
}

func (w *world) verify() {
	id, a := w.agent()
	w.ask(id, a, rapid.SampledFrom([]domain.Action{"buy", "read"}).Draw(w.T, "action"), w.drawAmount())
}

// again asks for the same as one of the newest approvals is for.
func (w *world) again() {
	id, a := w.agent()
	if q := w.approval(a); q != nil {
		w.ask(id, a, q.action, q.amount)
	}
}

func (w *world) ask(id domain.AgentID, a *modelAgent, action domain.Action, amount modelMoney) {
	ask := &domain.Ask{Action: action}
	if amount.cents >= 0 {
		ask.Amount, ask.Currency = cents(amount.cents), amount.currency
	}
	want, approval := w.model.verify(a, action, amount, w.now)
	node := w.node()
	if len(w.account) > 0 {
		node.catchUp() // behind, it may deny by what another agent has given back since
	}
	r, err := node.Verify(w.Context(), w.keys[id], ask)
	if err != nil {
		w.Fatalf("verify: got %v, want %s", err, want.code)
	}
	d := r.Event.(domain.DecisionMade)
	if d.ReasonCode != want.code {
		w.Fatalf("%s asks for %s of %v at %s: got %s (%s), want %s", id, action, amount, w.now, d.ReasonCode, d.Reason, want.code)
	}
	if approval != nil && d.ApprovalID != approval.id {
		w.Fatalf("got approval %s, want %s", d.ApprovalID, approval.id)
	}
	w.seen[string(want.code)]++
	switch want.code {
	case domain.Allowed:
		if d.PermissionID != want.by.id {
			w.Fatalf("allowed by %s, want %s", d.PermissionID, want.by.id)
		}
		w.allowed(a, want.by, approval, d.RequestID, amount)
	case domain.ApprovalRequired:
		if approval == nil {
			a.approvals = append(a.approvals, w.opened(a, want, d.ApprovalID, action, amount))
		}
	case domain.ApprovalUsed:
		if !w.now.Before(approval.expires) {
			w.seen["a use told of after the yes had ended"]++
		}
	case domain.ApprovalDeniedCode:
		if shown := strings.Contains(d.Reason, approval.comment); shown != approval.shared {
			w.Fatalf("denied because %q: got the comment %q shown %t, want %t", d.Reason, approval.comment, shown, approval.shared)
		} else if shown {
			w.seen["a comment shared"]++
		}
	}
}

// opened is an approval, by what the strictest of those that ask want.
func (w *world) opened(a *modelAgent, v modelVerdict, id domain.ApprovalID, action domain.Action, amount modelMoney) *modelApproval {
	q := &modelApproval{
		id: id, asking: v.asking, action: action, amount: amount, drivers: []domain.MemberID{a.driver},
		minRole: v.by.terms.minRole, validFor: modelValidFor, state: domain.ApprovalPending, opened: w.now, expires: w.now.Add(modelPendingFor),
	}
	for _, p := range v.asking {
		q.quorum = max(q.quorum, p.permission.terms.quorum)
		if valid := p.permission.terms.validFor; valid > 0 {
			q.validFor = valid
		}
	}
	if q.quorum > v.by.terms.quorum {
		w.seen["a gate of two"]++
	}
	return q
}

func (w *world) allowed(a *modelAgent, p *modelPermission, approval *modelApproval, id domain.RequestID, amount modelMoney) {
	if approval != nil {
		approval.state, approval.sticky = domain.ApprovalIsUsed, approval.expires
		if least := w.now.Add(modelUsedFor); least.After(approval.sticky) {
			approval.sticky = least
		}
	}
	if approval != nil || len(p.limits)+len(a.limits)+len(w.account) > 0 {
		a.allows = append(a.allows, &modelAllow{id: id, amount: amount})
	}
	p.limits.charge(id, amount, w.now)
	a.limits.charge(id, amount, w.now)
	w.account.charge(id, amount, w.now)
	w.seen["allowed of "+string(amount.currency)]++
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
	voted := slices.ContainsFunc(q.votes, func(v modelVote) bool { return v.by == by.ID })
	self := slices.Contains(q.drivers, by.ID)
	switch state := q.at(w.now); {
	case !w.roles[by.ID].AtLeast(domain.RoleApprover):
		w.wantCode(err, domain.Forbidden)
	case state == domain.ApprovalIsApproved && voted:
		w.wantCode(err)
	case state != domain.ApprovalPending, a.disabled, !q.stands(w.now):
		w.wantCode(err, domain.Conflict)
	case !w.mayApprove(q, by.ID):
		w.wantCode(err, domain.Forbidden)
	default:
		w.wantCode(err)
		yes := 1
		for _, v := range q.votes {
			if v.by != by.ID && w.mayApprove(q, v.by) {
				yes++
			}
		}
		if !voted {
			q.votes = append(q.votes, modelVote{by.ID, self})
		}
		if yes >= q.quorum {
			q.state, q.expires = domain.ApprovalIsApproved, w.now.Add(q.validFor)
		}
		if self {
			w.seen["an own yes"]++
		}
	}
}

// stands reports whether what asked could still be used.
func (p *modelApproval) stands(now time.Time) bool {
	return !slices.ContainsFunc(p.asking, func(a modelAsking) bool { return !a.permission.active(now) || a.permission.given != a.given })
}

func (w *world) mayApprove(q *modelApproval, m domain.MemberID) bool {
	return w.roles[m].AtLeast(q.minRole) && (w.selfApproval || !slices.Contains(q.drivers, m))
}

func (w *world) deny() {
	_, a := w.agent()
	q, by, node := w.approval(a), w.member(), w.node()
	if q == nil {
		return
	}
	comment := fmt.Sprintf("no, said %d.", w.head)
	_, err := node.Deny(w.Context(), by, w.found(node, q.id), comment)
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
		q.comment, q.shared = comment, w.shareComments
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
	if len(a.allows) == 0 {
		return
	}
	allow := a.allows[len(a.allows)-1-rapid.IntRange(0, min(len(a.allows), 5)-1).Draw(w.T, "allow")]
	cmd := domain.SettleDecision{RequestID: allow.id, Outcome: domain.Executed}
	reserved := allow.amount.cents
	spent := reserved
	switch {
	case rapid.Bool().Draw(w.T, "failed"):
		cmd.Outcome, spent = domain.ActionFailed, 0
	case reserved >= 0:
		spent = rapid.SampledFrom([]int64{0, reserved / 2, reserved, reserved + 1}).Draw(w.T, "spent")
		cmd.Amount = cents(spent)
	}
	_, err := w.node().Settle(w.Context(), w.caller(id), cmd)
	outcome := fmt.Sprint(cmd.Outcome, max(spent, 0))
	switch {
	case reserved >= 0 && spent > reserved:
		w.wantCode(err, domain.Invalid)
	case allow.settled != "" && allow.settled != outcome:
		w.wantCode(err, domain.Conflict)
	default:
		w.wantCode(err)
		if allow.settled == "" && reserved > spent {
			for _, l := range w.limitsCharged(a) {
				l.release(allow.id, reserved-spent)
			}
		}
		allow.settled = outcome
	}
}

func (w *world) limitsCharged(a *modelAgent) []modelLimits {
	all := []modelLimits{a.limits, w.account}
	for _, p := range a.permissions {
		all = append(all, p.limits)
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
		time.Second, 40 * time.Second, 40 * time.Second, time.Minute, 20 * time.Minute, 20 * time.Minute, 45 * time.Minute, time.Hour,
		5 * time.Hour, 26 * time.Hour, 20 * 24 * time.Hour,
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
	switch state := q.at(w.now); {
	case q.state.Open() && state == domain.ApprovalHasExpired:
		q.state, q.sticky = domain.ApprovalHasExpired, w.now
	case state == domain.ApprovalPending:
		q.reminders = int(w.now.Sub(q.opened) / modelRemindEvery) // those that were missed are not made up for
		w.seen["reminders"] += min(q.reminders, 1)
	}
}

// check compares what both say is left, and where approvals stand.
func (w *world) check() {
	node := w.nodes[0]
	node.catchUp()
	if node.seen > w.head || w.refused {
		w.steps++
	}
	w.head, w.refused = node.seen, false
	for _, id := range slices.Sorted(maps.Keys(w.agents)) { // in the same order each time, or it can't be made smaller
		a := w.agents[id]
		agent := node.passports.Agent(domain.Stream{Account: home, Agent: id})
		for _, p := range a.permissions {
			if p.revoked > 0 {
				continue
			}
			held, _ := agent.Permission(p.id)
			w.wantLeft(fmt.Sprintf("%s of %s", p.id, id), agent.LeftOf(held, w.now), p.limits)
		}
		w.wantLeft(string(id), agent.Left(w.now), a.limits)
		for _, q := range a.approvals {
			w.wantApproval(node.passports.Approval(q.id), q)
		}
	}
	w.wantLeft("the account", node.passports.Budget(home).Left(w.now), w.account)
}

func (w *world) wantApproval(got *domain.Approval, want *modelApproval) {
	votes := make([]modelVote, 0, len(got.Votes))
	for _, v := range got.Votes {
		votes = append(votes, modelVote{v.MemberID, v.Self})
	}
	if got.StateAt(w.now) != want.at(w.now) || got.Reminders != want.reminders || !slices.Equal(votes, want.votes) ||
		got.Gate.MinRole != want.minRole || got.Gate.Quorum != want.quorum || got.Shared != want.shared {
		w.Fatalf("approval %s: got %s, %d reminders, votes %v of %d by %s, shared %t, want %s, %d, %v of %d by %s, %t", want.id,
			got.StateAt(w.now), got.Reminders, votes, got.Gate.Quorum, got.Gate.MinRole, got.Shared,
			want.at(w.now), want.reminders, want.votes, want.quorum, want.minRole, want.shared)
	}
}

func (w *world) wantLeft(whose string, got []domain.Left, want modelLimits) {
	if len(got) != len(want) {
		w.Fatalf("%s: got %d limits, want %d", whose, len(got), len(want))
	}
	for i, l := range want {
		used := cents(l.used(w.now))
		if l.currency == "" {
			used = domain.Decimal(strconv.FormatInt(l.used(w.now), 10))
		}
		if g := got[i]; g.Per != l.per || g.Currency != l.currency || g.Used != used {
			w.Fatalf("%s at %s: got %s %s used per %s, want %s of %+v", whose, w.now, g.Used, g.Currency, g.Per, used, l.modelKey)
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
	w.refused = got != ""
}

func TestMain(m *testing.M) {
	// What fails is printed, with its seed, and leaves no file.
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Random acts by several people on several nodes, one of which is always behind,
// end as the simple model says, and what they leave in the log is sound.
func TestModel(t *testing.T) {
	t.Parallel()
	const enough = 10_000
	total, seen := 0, map[string]int{}
	for (total < enough || len(unmet(seen)) > 0 && total < 5*enough) && !t.Failed() {
		rapid.Check(t, func(rt *rapid.T) {
			w := newWorld(rt)
			w.seen = seen
			for range 6 {
				w.grant()
			}
			acts := map[string]func(*rapid.T){
				"":             func(*rapid.T) { w.check() },
				"grant":        w.step(w.grant),
				"replace":      w.step(w.replace),
				"revoke":       w.step(w.revoke),
				"disable":      w.step(w.disable),
				"drive":        w.step(w.drive),
				"limit":        w.step(w.limit),
				"change role":  w.step(w.changeRole),
				"configure":    w.step(w.configure),
				"verify":       w.step(w.verify),
				"verify more":  w.step(w.verify),
				"verify most":  w.step(w.verify),
				"again":        w.step(w.again),
				"again too":    w.step(w.again),
				"approve":      w.step(w.approve),
				"approve too":  w.step(w.approve),
				"deny":         w.step(w.deny),
				"cancel":       w.step(w.cancel),
				"settle":       w.step(w.settle),
				"wait":         w.step(w.wait),
				"ring":         w.step(w.ring),
				"ring too":     w.step(w.ring),
				"wait too":     w.step(w.wait),
				"grant too":    w.step(w.grant),
				"again more":   w.step(w.again),
				"again most":   w.step(w.again),
				"approve more": w.step(w.approve),
				"approve most": w.step(w.approve),
				"restart":      w.step(w.restart),
				"follow":       w.step(func() { w.node().catchUp() }),
			}
			for range 3 { // one is too short for what takes several people
				rt.Repeat(acts)
			}
			w.lab.audit(rt)
			total += w.steps
		})
	}
	t.Logf("%d steps: %v", total, seen)
	if missing := unmet(seen); len(missing) > 0 {
		t.Errorf("no step led to %q, so nothing was found out about them", missing)
	}
}

// unmet are the things of interest that no step has led to.
func unmet(seen map[string]int) []string {
	return slices.DeleteFunc([]string{
		string(domain.Allowed), string(domain.RateExceeded), string(domain.BudgetExceeded), string(domain.ApprovalRequired),
		string(domain.ApprovalDeniedCode), string(domain.ApprovalUsed), string(domain.TooManyPending), string(domain.AmountRequired),
		string(domain.AmountExceedsLimit), string(domain.CurrencyMismatch), "allowed of EUR", "reminders", "an own yes",
		"a comment shared", "a gate of two", "a use told of after the yes had ended",
	}, func(what string) bool { return seen[what] > 0 })
}

func (w *world) step(act func()) func(*rapid.T) {
	return func(rt *rapid.T) { w.T = rt; act() }
}
