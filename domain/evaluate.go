package domain

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Situation is what a request is decided on besides itself.
type Situation struct {
	Agent *Agent
	// Budget is what the account's agents spend together. Only an agent that
	// shares it looks at it.
	Budget *SharedBudget
	// Settings are the account's, for an approval that is opened.
	Settings ApprovalSettings
	// Now is not before Agent.Updated, nor, for an agent that shares it, before
	// Budget.Updated.
	Now time.Time
}

// Fault is why nothing can be decided, or nil.
func (s *Situation) Fault() error {
	if s.Agent.Shared {
		return cmp.Or(s.Agent.Fault(), s.Budget.Fault())
	}
	return s.Agent.Fault()
}

// Moment is the time to decide at, given a clock: time runs only forwards on a
// passport, however far nodes' clocks are apart, so that a window that was left
// is never counted in again.
func (s *Situation) Moment(clock time.Time) time.Time {
	now := Later(clock, s.Agent.Updated)
	if s.Agent.Shared {
		now = Later(now, s.Budget.Updated)
	}
	return now
}

// Evaluate decides on a request. It is a pure function of its arguments;
// whoever has the same ones gets the same decision.
//
// The order is fixed and the first failure gives the code: the agent itself,
// the permissions that name the action, blocks, each active permission by
// itself, what limits all permissions together, and last, where one that passed
// asks for it, a person. Every check is kept, those after the first failure
// too, because the record is for an auditor.
func Evaluate(s Situation, req Request) DecisionMade {
	e := evaluation{Situation: s, req: req}
	e.run()
	e.made.Request = req
	e.made.PassportVersion = e.Agent.Version
	if e.Agent.Shared {
		e.made.BudgetVersion = s.Budget.Version
	}
	e.made.Risk = riskOf(&e.req, e.widest)
	return e.made
}

type evaluation struct {
	Situation
	made DecisionMade
	req  Request
	// widest is the scope of the permissions that were asked, for the risk.
	widest scope

	// The request's targets, made ready once for all permissions.
	host      host
	hostErr   error
	hostReady bool
	path      string
	pathErr   error
	pathReady bool
	command   commandLine
	cmdErr    error
	cmdReady  bool
}

func (e *evaluation) run() {
	if e.Agent.Status != AgentActive {
		e.check("", RuleAgent, "the agent is disabled")
		e.deny(AgentDisabledCode, "", "the agent is disabled")
		return
	}
	named := e.Agent.byAction[e.req.Action]
	if len(named) == 0 {
		e.check("", RuleActive, "no permission names this action")
		e.deny(NoPermission, "", "no permission of the agent names the action "+string(e.req.Action))
		return
	}
	e.made.Checks = make([]Check, 0, 4*len(named))
	active := e.active(named)
	if len(active) == 0 || e.blocked(active) {
		return
	}
	e.choose(active)
}

// active keeps the permissions that hold now. If there are none, it denies with
// the state of the newest.
func (e *evaluation) active(named []*Permission) []*Permission {
	active := make([]*Permission, 0, len(named))
	for _, p := range named {
		switch p.StatusAt(e.Now) {
		case PermissionActive:
			active = append(active, p)
		case PermissionIsRevoked:
			e.check(p.ID, RuleActive, "revoked")
		case PermissionHasExpired:
			e.check(p.ID, RuleActive, "expired "+p.Terms.ExpiresAt.Format(time.RFC3339))
		case PermissionNotYetValid:
			e.check(p.ID, RuleActive, "valid from "+p.Terms.NotBefore.Format(time.RFC3339))
		}
	}
	if len(active) > 0 {
		return active
	}
	switch p := named[len(named)-1]; p.StatusAt(e.Now) {
	case PermissionIsRevoked:
		e.deny(PermissionRevokedCode, p.ID, "the permission for this action was revoked")
	case PermissionHasExpired:
		e.deny(PermissionExpired, p.ID, "the permission for this action expired "+p.Terms.ExpiresAt.Format(time.RFC3339))
	case PermissionNotYetValid, PermissionActive: // active ones were returned above
		e.deny(PermissionNotYet, p.ID, "the permission for this action is valid from "+p.Terms.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// blocked denies when an active permission blocks the action for a scope that
// covers the request. A scope is a resource and a vendor; a request that
// doesn't say which one it is about is covered. What a caller merely asserts
// about itself, its context, and the hours of the week don't lift a block.
func (e *evaluation) blocked(active []*Permission) bool {
	found := false
	for _, p := range active {
		if !listed(p.Terms.BlockedActions, e.req.Action) {
			continue
		}
		if e.outside(p) {
			e.check(p.ID, RuleBlocked, "")
			continue
		}
		e.check(p.ID, RuleBlocked, "blocks "+string(e.req.Action)+" here")
		if !found {
			e.deny(ActionBlocked, p.ID, "the action "+string(e.req.Action)+" is blocked by the passport")
		}
		found = true
	}
	return found
}

// outside reports whether the request is certainly not in p's scope. A resource
// it doesn't name could be any; a vendor in its place would let whoever wants to
// be outside name one.
func (e *evaluation) outside(p *Permission) bool {
	if r := e.req.Resource; p.rules.resource != nil && canonical(r) && !anyMatch(p.rules.resource, r) {
		return true
	}
	if p.rules.vendors == nil || e.req.Vendor == "" {
		return false
	}
	h, err := e.vendorHost()
	return err == nil && !matchHost(p.rules.vendors, h)
}

// canonical reports whether a resource has no other spelling that means the same
// to whoever acts on it. Only then is not matching a block proof of being
// outside of it.
func canonical(resource string) bool {
	if resource == "" || !plainTarget(resource) || strings.HasPrefix(resource, "/") || strings.HasSuffix(resource, "/") {
		return false
	}
	for _, c := range []byte(resource) {
		if c >= 0x80 || c == '%' || c == '+' {
			return false
		}
	}
	scheme, rest, isURL := strings.Cut(resource, "://")
	if !isURL {
		return true
	}
	authority, _, _ := strings.Cut(rest, "/")
	return scheme == strings.ToLower(scheme) && authority == strings.ToLower(authority) &&
		!strings.ContainsAny(authority, ":@?#") && !strings.HasSuffix(authority, ".")
}

// choose judges each active permission by all its rules. Of those that pass the
// strictest wins: one that asks for a person before one that doesn't, and
// otherwise the newest. Where several ask, all that they ask for has to be met.
// If none passes, the code is that of the one that got furthest.
func (e *evaluation) choose(active []*Permission) {
	var (
		winner    *Permission
		asking    []*Permission // those that pass and ask for a person
		unpriced  failure       // of one that can't tell whether to ask
		unpricedP *Permission
		best      failure
		furthest  *Permission
	)
	for _, p := range active {
		if p.Terms.Action != e.req.Action && !listed(p.Terms.AllowedActions, e.req.Action) {
			continue // it only blocks the action elsewhere
		}
		e.widest = max(e.widest, scopeOf(p))
		f := e.judge(p)
		switch {
		case f.code == "" && e.asks(p):
			asking = append(asking, p)
		case f.code == "":
			winner = p
		case furthest == nil || f.passed >= best.passed:
			best, furthest = f, p
		}
		if f.code != "" && f.rule == RuleApproval {
			unpriced, unpricedP = f, p
		}
	}
	switch {
	case unpricedP != nil:
		// All its other rules hold. Whether it asks for a person can't be known,
		// and that must not be a way to one that doesn't.
		e.deny(unpriced.code, unpricedP.ID, unpriced.detail)
	case asking != nil:
		e.settle(asking[strictest(asking)], asking)
	case winner != nil:
		e.settle(winner, nil)
	case furthest != nil:
		e.deny(best.code, furthest.ID, best.detail)
		e.made.WindowEndsAt = best.until
	default:
		e.check("", RuleActive, "no permission allows this action")
		e.deny(NoPermission, "", "no permission of the agent allows the action "+string(e.req.Action))
	}
}

// settle decides on a request that a permission lets pass: by what limits all
// permissions together, and then, if it is to be asked for, by a person.
func (e *evaluation) settle(p *Permission, asking []*Permission) {
	if len(e.Agent.limits) > 0 {
		used := e.Agent.tally("")
		e.together(RuleRate, RuleRate, used, e.Agent.limits, "the agent")
		e.together(RuleBudget, RuleBudget, used, e.Agent.limits, "the agent")
	}
	if e.Agent.Shared {
		e.together(RuleRate, RuleAccountRate, e.Budget.used, e.Budget.limits, "the account")
		e.together(RuleBudget, RuleAccountBudget, e.Budget.used, e.Budget.limits, "the account")
	}
	switch {
	case e.made.Outcome != "":
	case asking != nil:
		e.gate(p, asking)
	default:
		e.allow(p, "allowed by permission "+string(p.ID))
	}
}

func (e *evaluation) allow(p *Permission, reason string) {
	e.made.Outcome, e.made.ReasonCode, e.made.PermissionID, e.made.Reason = OutcomeAllowed, Allowed, p.ID, reason
	e.made.Spends = len(p.rules.limits) > 0 || len(e.Agent.limits) > 0 || e.Agent.Shared
}

// together checks limits of one kind that are not one permission's. The first
// that would be exceeded denies.
func (e *evaluation) together(kind, rule Rule, used tally, limits []limit, whose string) {
	s, checked := used.short(kind, limits, whose, &e.req, e.Now)
	if !checked {
		return
	}
	e.check("", rule, s.detail)
	if s.code != "" && e.made.Outcome == "" {
		e.deny(s.code, "", s.detail)
		e.made.WindowEndsAt = s.until
	}
}

// asks reports whether a permission that lets the request pass wants a person
// to be asked.
func (e *evaluation) asks(p *Permission) bool {
	rule := p.Terms.RequiresApproval
	return rule.Always || rule.Above != "" && e.req.money.exceeds(p.rules.threshold)
}

// gate asks a person, or goes by what one has answered.
func (e *evaluation) gate(p *Permission, asking []*Permission) {
	digest := approvalDigest(p, asking, &e.req)
	answer := e.Agent.answering(digest, e.Now)
	if answer == nil {
		e.open(p, asking, digest)
		return
	}
	e.made.ApprovalID = answer.ID
	switch answer.StateAt(e.Now) {
	case ApprovalIsApproved:
		e.check(p.ID, RuleApproval, "")
		e.allow(p, "allowed by permission "+string(p.ID)+" with approval "+string(answer.ID))
	case ApprovalPending:
		e.check(p.ID, RuleApproval, "approval "+string(answer.ID)+" is pending")
		e.require(p, "approval "+string(answer.ID)+" is awaited until "+answer.ExpiresAt.Format(time.RFC3339))
	case ApprovalIsUsed:
		e.check(p.ID, RuleApproval, "approval "+string(answer.ID)+" was used")
		e.deny(ApprovalUsed, p.ID, "approval "+string(answer.ID)+" was used by "+string(answer.UsedBy)+"; the same can be asked again after "+answer.StickyUntil.Format(time.RFC3339))
	case ApprovalIsDenied:
		e.check(p.ID, RuleApproval, "approval "+string(answer.ID)+" was denied")
		e.deny(ApprovalDeniedCode, p.ID, answer.refusal())
	case ApprovalHasExpired, ApprovalIsCancelled: // these answer nothing
	}
}

// open asks for a new approval, unless too many are open.
func (e *evaluation) open(p *Permission, asking []*Permission, digest string) {
	e.made.Gate = gateOf(p, asking, e.Settings, digest)
	if n := e.Agent.pending(e.Now); n >= e.made.Gate.MostPending {
		e.check(p.ID, RuleApproval, fmt.Sprintf("%d approvals are open", n))
		e.deny(TooManyPending, p.ID, fmt.Sprintf("%d approvals of the agent are open, and there can't be more; wait until people have answered some", n))
		return
	}
	e.check(p.ID, RuleApproval, "a person has to approve")
	e.require(p, "permission "+string(p.ID)+" asks for a person's approval")
}

func (e *evaluation) require(p *Permission, reason string) {
	e.made.Outcome, e.made.ReasonCode, e.made.PermissionID, e.made.Reason = OutcomeRequiresApproval, ApprovalRequired, p.ID, reason
}

// failure is the first rule of a permission that did not hold, and how many
// held before it. The zero failure is none.
type failure struct {
	code   ReasonCode
	rule   Rule
	detail string
	passed int
	until  time.Time // when the window of a limit ends
}

// verdict is what a rule says: nothing, or a code and a detail.
type verdict struct {
	code   ReasonCode
	detail string
}

var holds verdict

// judge applies every rule a permission has, in order.
func (e *evaluation) judge(p *Permission) failure {
	var f failure
	apply := func(rule Rule, v verdict) {
		e.check(p.ID, rule, v.detail)
		switch {
		case f.code != "":
		case v.code != "":
			f.code, f.rule, f.detail = v.code, rule, v.detail
		default:
			f.passed++
		}
	}
	r := &p.rules
	apply(RuleAction, e.action(p))
	if r.resource != nil {
		apply(RuleResource, e.resource(p))
	}
	if r.vendors != nil {
		apply(RuleVendor, e.vendor(p))
	}
	if p.Terms.MaxAmount != "" {
		apply(RuleAmount, e.amount(p))
	}
	if p.Terms.Context != nil {
		apply(RuleContext, e.context(p))
	}
	if r.paths != nil || r.deniedPaths != nil {
		apply(RulePath, e.paths(p))
	}
	if r.deniedCommands != nil {
		apply(RuleCommand, e.commands(p))
	}
	if r.windows != nil {
		apply(RuleTime, e.window(p))
	}
	if r.limits != nil {
		used := e.Agent.tally(p.ID)
		for _, rule := range [...]Rule{RuleRate, RuleBudget} {
			if s, checked := used.short(rule, r.limits, "the permission", &e.req, e.Now); checked {
				if f.code == "" {
					f.until = s.until
				}
				apply(rule, verdict{s.code, s.detail})
			}
		}
	}
	if p.Terms.RequiresApproval.Above != "" {
		if v := e.comparable(r.threshold.Currency); v != holds {
			apply(RuleApproval, v)
		}
	}
	return f
}

func (e *evaluation) action(p *Permission) verdict {
	if p.Terms.AllowedActions != nil && !listed(p.Terms.AllowedActions, e.req.Action) {
		return verdict{ActionNotAllowed, "allowedActions does not list " + string(e.req.Action)}
	}
	return holds
}

// target is the resource, or the vendor for clients that know one target only.
func (e *evaluation) target() string {
	if e.req.Resource != "" {
		return e.req.Resource
	}
	return e.req.Vendor
}

func (e *evaluation) resource(p *Permission) verdict {
	switch target := e.target(); {
	case target == "":
		return verdict{ResourceNotAllowed, "the request names no resource, and this permission is for certain ones"}
	case !anyMatch(p.rules.resource, target):
		return verdict{ResourceNotAllowed, "the permission does not cover the resource " + quote(target)}
	}
	return holds
}

func (e *evaluation) vendor(p *Permission) verdict {
	if e.req.Vendor == "" {
		return verdict{VendorNotAllowed, "the request names no vendor, and this permission is for certain ones"}
	}
	h, err := e.vendorHost()
	if err != nil {
		return verdict{VendorNotAllowed, err.Error()}
	}
	if !matchHost(p.rules.vendors, h) {
		return verdict{VendorNotAllowed, "the permission does not cover the vendor " + quote(e.req.Vendor)}
	}
	return holds
}

func (e *evaluation) amount(p *Permission) verdict {
	limit := p.rules.limit
	switch {
	case e.req.Amount == "":
		return verdict{AmountRequired, "the request names no amount, and this permission has a limit"}
	case e.req.money.Currency != limit.Currency:
		return verdict{CurrencyMismatch, fmt.Sprintf("the amount is in %s, the limit in %s", e.req.money.Currency, limit.Currency)}
	case e.req.money.exceeds(limit):
		return verdict{AmountExceedsLimit, e.req.money.String() + " " + string(limit.Currency) +
			" exceeds the limit of " + limit.String() + " " + string(limit.Currency)}
	}
	return holds
}

// comparable is the rule that an amount can be held against the one above which
// a person is asked.
func (e *evaluation) comparable(c Currency) verdict {
	switch {
	case e.req.Amount == "":
		return verdict{AmountRequired, "the request names no amount, and this permission asks for approval above one"}
	case e.req.money.Currency != c:
		return verdict{CurrencyMismatch, fmt.Sprintf("the amount is in %s, the one above which approval is asked for in %s", e.req.money.Currency, c)}
	}
	return holds
}

func (e *evaluation) context(p *Permission) verdict {
	for _, c := range [...]struct {
		name  string
		rules []glob
		fact  string
	}{
		{"branch", p.rules.branch, e.req.Context.Branch},
		{"environment", p.rules.environment, e.req.Context.Environment},
		{"repository", p.rules.repository, e.req.Context.Repository},
	} {
		switch {
		case c.rules == nil:
		case c.fact == "":
			return verdict{ContextNotAllowed, "the request does not say its " + c.name}
		case !anyMatch(c.rules, c.fact):
			return verdict{ContextNotAllowed, "the permission does not cover the " + c.name + " " + quote(c.fact)}
		}
	}
	return holds
}

func (e *evaluation) paths(p *Permission) verdict {
	if e.req.Path == "" {
		return verdict{PathNotAllowed, "the request names no path, and this permission limits paths"}
	}
	if !e.pathReady {
		e.path, e.pathErr = cleanPath(e.req.Path, e.req.Cwd)
		e.pathReady = true
	}
	if e.pathErr != nil {
		return verdict{PathNotAllowed, e.pathErr.Error()}
	}
	for _, r := range p.rules.deniedPaths {
		if r.covers(e.path) {
			return verdict{PathNotAllowed, "the permission denies the path " + quote(e.path)}
		}
	}
	if p.rules.paths == nil {
		return holds
	}
	for _, r := range p.rules.paths {
		if r.covers(e.path) {
			return holds
		}
	}
	return verdict{PathNotAllowed, "the permission does not cover the path " + quote(e.path)}
}

func (e *evaluation) commands(p *Permission) verdict {
	if e.req.Command == "" {
		return verdict{CommandNotAllowed, "the request names no command, and this permission denies certain ones"}
	}
	if !e.cmdReady {
		e.command, e.cmdErr = parseCommand(e.req.Command)
		e.cmdReady = true
	}
	if e.cmdErr != nil {
		return verdict{CommandNotAllowed, e.cmdErr.Error()}
	}
	if e.command.unknown != "" {
		return verdict{CommandNotAllowed, "what the command runs can't be known: " + e.command.unknown}
	}
	for i, r := range p.rules.deniedCommands {
		if r.denies(e.command) {
			return verdict{CommandNotAllowed, "the command falls under the denied command " + quote(p.Terms.DeniedCommands[i])}
		}
	}
	return holds
}

func (e *evaluation) window(p *Permission) verdict {
	for _, w := range p.rules.windows {
		if w.contains(e.Now) {
			return holds
		}
	}
	return verdict{OutsideTimeWindow, "the permission does not hold at this hour of the week"}
}

// vendorHost parses the vendor once.
func (e *evaluation) vendorHost() (host, error) {
	if !e.hostReady {
		e.host, e.hostErr = parseHost(e.req.Vendor)
		e.hostReady = true
	}
	return e.host, e.hostErr
}

// check records a rule's outcome; a detail means that it did not hold.
func (e *evaluation) check(id PermissionID, rule Rule, detail string) {
	e.made.Checks = append(e.made.Checks, Check{PermissionID: id, Rule: rule, Passed: detail == "", Detail: detail})
}

func (e *evaluation) deny(code ReasonCode, id PermissionID, reason string) {
	e.made.Outcome, e.made.ReasonCode, e.made.PermissionID, e.made.Reason = OutcomeDenied, code, id, reason
}

func listed(list []Action, a Action) bool {
	for _, b := range list {
		if a == b {
			return true
		}
	}
	return false
}

func anyMatch(globs []glob, s string) bool {
	for _, g := range globs {
		if g.match(s) {
			return true
		}
	}
	return false
}

func matchHost(patterns []hostPattern, h host) bool {
	for _, p := range patterns {
		if p.match(h) {
			return true
		}
	}
	return false
}

// quote shows what a caller sent, shortened, with nothing in it that could pass
// for other text.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%+q", s)
}

// Derive makes a recorded decision again from the passport it was made on, and
// the account's limits. What it returns equals what was recorded, or the record
// is not to be trusted.
func Derive(agent *Agent, budget *SharedBudget, r Recorded) (DecisionMade, error) {
	recorded, ok := r.Event.(DecisionMade)
	if !ok {
		return DecisionMade{}, fmt.Errorf("%s is not a decision", r.Event.Kind())
	}
	req := recorded.Request
	if err := req.restore(); err != nil {
		return DecisionMade{}, fmt.Errorf("restore the request: %w", err)
	}
	s := Situation{Agent: agent, Budget: budget, Now: r.At}
	if recorded.Gate != nil {
		s.Settings = recorded.Gate.settings()
	}
	d := Evaluate(s, req)
	d.Name(strings.TrimPrefix(string(recorded.RequestID), RequestPrefix))
	d.RequestDigest = recorded.RequestDigest
	return d, nil
}
