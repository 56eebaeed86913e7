package domain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Draft is a permission as it is written, before anybody granted it.
type Draft struct {
	// Key is what to call it; each of a passport has its own.
	Key   PermissionID
	Terms Terms
}

// Finding is something about a draft that its writer can't have meant, or
// should think about.
type Finding struct {
	Code LintCode
	// Error says that it is wrong whatever was meant; else it is a warning.
	Error bool
	// Draft is the index of the draft it is about, and Field a JSON pointer into
	// its terms, empty for all of them.
	Draft int
	Field string
	// Message says what is so, and Todo what to do.
	Message string
	Todo    string
}

// LintCode names a kind of finding. Codes are stable.
type LintCode string

// The errors: terms that can't be granted, never allow, or undo each other.
const (
	LintRefused         LintCode = "refused"          // the server would not take the terms
	LintContradiction   LintCode = "contradiction"    // both allows and blocks an action
	LintExpired         LintCode = "expired"          // ended before now
	LintNeverValid      LintCode = "never-valid"      // ends before it begins
	LintEmptyWindow     LintCode = "empty-window"     // its hours never come
	LintActionUnlisted  LintCode = "action-unlisted"  // action is missing in allowedActions
	LintPathsDenied     LintCode = "paths-denied"     // every path is denied as well
	LintBlocked         LintCode = "blocked"          // a block covers all that it allows
	LintApprovalEscaped LintCode = "approval-escaped" // what its limits refuse is allowed elsewhere, unasked
)

// The warnings: terms that have no effect, or too much of it.
const (
	LintPartlyBlocked LintCode = "partly-blocked" // a block covers one of its actions
	LintShadowed      LintCode = "shadowed"       // another one allows all of it anyway
	LintAlwaysAsked   LintCode = "always-asked"   // another one has a person asked for all of it
	LintWidePattern   LintCode = "wide-pattern"   // matches everything
	LintWideVendor    LintCode = "wide-vendor"    // covers the hosts of everybody
	LintNoMoneyLimit  LintCode = "no-money-limit" // moves money without a bound
	LintNoTarget      LintCode = "no-target"      // can't be undone, and may hit anything
	LintNoExpiry      LintCode = "no-expiry"      // never ends
)

// LintCodes lists every code, the errors first.
func LintCodes() []LintCode {
	return []LintCode{
		LintRefused, LintContradiction, LintExpired, LintNeverValid, LintEmptyWindow, LintActionUnlisted,
		LintPathsDenied, LintBlocked, LintApprovalEscaped,
		LintPartlyBlocked, LintShadowed, LintAlwaysAsked, LintWidePattern, LintWideVendor, LintNoMoneyLimit,
		LintNoTarget, LintNoExpiry,
	}
}

// Lint looks over the drafts of one agent's passport, in the order in which
// they would be granted, with the limits of the agent itself. The account gives
// the defaults. It says only what is certain; silence is no praise.
func Lint(drafts []Draft, limits Limits, account Account, now time.Time) []Finding {
	l := linter{now: now, limits: limits}
	for i, d := range drafts {
		l.draft = i
		before := l.errors
		l.contradictions(&d.Terms)
		if l.errors > before {
			continue // the server's refusal would only repeat it
		}
		if p, ok := l.accept(d, account); ok {
			l.unreachable(p)
			l.wide(p)
			l.held = append(l.held, held{p, i, l.errors == before})
		}
	}
	for _, h := range l.held {
		l.draft = h.draft
		if !l.blocked(h) && h.reachable {
			l.shadowed(h)
		}
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return cmp.Compare(a.Draft, b.Draft) })
	return l.findings
}

type linter struct {
	now      time.Time
	limits   Limits
	held     []held
	findings []Finding
	draft    int // the one that is looked at
	errors   int
}

// held is a draft that could be granted.
type held struct {
	*Permission
	draft     int
	reachable bool
}

func (l *linter) error(code LintCode, field, message, todo string) {
	l.errors++
	l.findings = append(l.findings, Finding{code, true, l.draft, field, message, todo})
}

func (l *linter) warn(code LintCode, field, message, todo string) {
	l.findings = append(l.findings, Finding{code, false, l.draft, field, message, todo})
}

// contradictions are what terms say against themselves.
func (l *linter) contradictions(t *Terms) {
	for i, a := range t.BlockedActions {
		if a == t.Action || listed(t.AllowedActions, a) {
			l.error(LintContradiction, pointer("blockedActions", i), fmt.Sprintf("%s is both allowed and blocked", a), "keep one of the two")
		}
	}
	if until := t.ExpiresAt; !until.IsZero() {
		switch {
		case !t.NotBefore.Before(until):
			l.error(LintNeverValid, "/notBefore", "it would begin when it has ended", "set notBefore before expiresAt")
		case !until.After(l.now):
			l.error(LintExpired, "/expiresAt", "it ended "+until.Format(time.RFC3339), "set a later expiresAt, or remove the permission")
		}
	}
	if t.TimeWindows != nil && len(t.TimeWindows) == 0 {
		l.error(LintEmptyWindow, "/timeWindows", "the list has no hours", "list some, or leave timeWindows out for any time")
	}
	for i, w := range t.TimeWindows {
		if w.From == w.To && w.From != "" {
			l.error(LintEmptyWindow, pointer("timeWindows", i), "begins and ends at "+w.From, "for whole days write 00:00 to 24:00")
		}
	}
	for i, v := range t.Vendors {
		if tld, ok := strings.CutPrefix(v, "*."); ok && tld != "" && !strings.ContainsAny(tld, ".:/[") {
			l.error(LintWideVendor, pointer("vendors", i), v+" covers a whole top-level domain", "name the hosts that are meant")
		}
	}
}

// accept judges the terms as a grant does, except for the time.
func (l *linter) accept(d Draft, account Account) (*Permission, bool) {
	terms, err := d.Terms.Accept(time.Time{}, account.Currency, account.Zone())
	p := &Permission{ID: d.Key, Terms: terms}
	if err == nil {
		p.rules, err = terms.compile()
	}
	if refused, ok := errors.AsType[*RuleError](err); ok {
		l.error(LintRefused, refused.Field, refused.Message, "write what the API takes")
		return nil, false
	}
	return p, err == nil
}

// unreachable is what a permission can never allow.
func (l *linter) unreachable(p *Permission) {
	t, r := &p.Terms, &p.rules
	if t.Action != "" && t.AllowedActions != nil && !listed(t.AllowedActions, t.Action) {
		l.error(LintActionUnlisted, "/action", fmt.Sprintf("allowedActions doesn't list %s, so it is never allowed", t.Action), "add it to allowedActions, or leave action out")
	}
	if r.paths != nil && r.deniedPaths != nil && coversList(r.deniedPaths, r.paths, pathRule.coversPath) {
		l.error(LintPathsDenied, "/deniedPaths", "every one of paths is under deniedPaths", "deny less, or name other paths")
	}
	if r.windows != nil && !l.comes(p) {
		l.error(LintEmptyWindow, "/timeWindows", "none of the hours comes before it expires", "widen the hours, or set a later expiresAt")
	}
}

// comes reports whether an hour of p's windows comes while p is in force. A
// span of more than a week is not searched.
func (l *linter) comes(p *Permission) bool {
	from, until := Later(p.Terms.NotBefore, l.now), p.Terms.ExpiresAt
	if until.IsZero() || until.Sub(from) > 8*24*time.Hour {
		return true
	}
	for at := from; at.Before(until); at = at.Truncate(time.Minute).Add(time.Minute) {
		if slices.ContainsFunc(p.rules.windows, func(w window) bool { return w.contains(at) }) {
			return true
		}
	}
	return false
}

// wide is what reaches further than its writer may see.
func (l *linter) wide(p *Permission) {
	t := &p.Terms
	if t.allows() == nil {
		return // it only blocks, and may do so as widely as it likes
	}
	var c Condition
	if t.Context != nil {
		c = *t.Context
	}
	for _, list := range []struct {
		name     string
		patterns []string
	}{
		{"resource", t.Resource},
		{"context/branch", c.Branch},
		{"context/environment", c.Environment},
		{"context/repository", c.Repository},
		{"paths", t.Paths},
	} {
		for i, pattern := range list.patterns {
			if strings.Trim(pattern, "*/") == "" {
				l.warn(LintWidePattern, pointer(list.name, i), fmt.Sprintf("%s matches everything", quote(pattern)), "name what is meant, or leave the list out so that everybody sees there is no limit")
			}
		}
	}
	for i, v := range p.rules.vendors {
		name := strings.TrimPrefix(v.host.name, ".")
		if suffix, _ := publicsuffix.PublicSuffix(name); v.below && suffix == name {
			l.warn(LintWideVendor, pointer("vendors", i), fmt.Sprintf("anybody can have a host below %s", name), "name the hosts that are meant")
		}
	}
	if a, ok := worded(t, movesMoney); ok && t.MaxAmount == "" && !t.RequiresApproval.Always && !hasBudget(t.Limits) && !hasBudget(l.limits) {
		l.warn(LintNoMoneyLimit, l.fieldOf(t, a), fmt.Sprintf("%s moves money, and nothing says how much", a), "set maxAmount, a budget, or requiresApproval: true")
	}
	if a, ok := worded(t, irreversible); ok && scopeOf(p) == open && t.Context == nil && t.MaxAmount == "" && !t.RequiresApproval.Always {
		l.warn(LintNoTarget, l.fieldOf(t, a), fmt.Sprintf("%s can't be taken back, and may be done to anything", a), "name a resource, vendors or paths, or set requiresApproval: true")
	}
	if t.ExpiresAt.IsZero() {
		l.warn(LintNoExpiry, "", "it never expires", "set expiresAt")
	}
}

// movesMoney are the words of an action's name that say so.
var movesMoney = words("purchase buy order pay payment payout transfer wire refund withdraw checkout charge")

// worded is the first action allowed whose name has one of the words.
func worded(t *Terms, of map[string]bool) (Action, bool) {
	for _, a := range t.allows() {
		for w := range a.words() {
			if of[w] {
				return a, true
			}
		}
	}
	return "", false
}

func hasBudget(l Limits) bool { return len(l.Budgets) > 0 }

func (l *linter) fieldOf(t *Terms, a Action) string {
	if i := slices.Index(t.AllowedActions, a); i >= 0 {
		return pointer("allowedActions", i)
	}
	return "/action"
}

// blocked looks for blocks that cover what a permission allows, and reports
// whether nothing is left of it.
func (l *linter) blocked(h held) bool {
	type block struct {
		action Action
		by     PermissionID
	}
	var blocks []block
	actions := h.Terms.allows()
	for _, a := range actions {
		for _, b := range l.held {
			if b.Permission != h.Permission && b.blocksAll(a, h.Permission, l.now) {
				blocks = append(blocks, block{a, b.ID})
				break
			}
		}
	}
	switch {
	case len(blocks) == 0:
		return false
	case len(blocks) == len(actions):
		l.error(LintBlocked, l.fieldOf(&h.Terms, blocks[0].action), fmt.Sprintf("%s blocks all that it allows", blocks[0].by), "narrow the block, or remove this permission")
		return true
	}
	for _, b := range blocks {
		l.warn(LintPartlyBlocked, l.fieldOf(&h.Terms, b.action), fmt.Sprintf("%s blocks %s everywhere it is allowed here", b.by, b.action), "narrow the block, or take the action out")
	}
	return false
}

// shadowed looks for permissions that make this one idle, or let past what it
// holds back. Of those that let a request pass the strictest decides, and else
// the newest.
func (l *linter) shadowed(h held) {
	if h.Terms.allows() == nil {
		return
	}
	for _, other := range l.held {
		if other.draft == h.draft || !other.reachable || !other.passesAll(h.Permission, l.now) {
			continue
		}
		mine, theirs := h.Terms.RequiresApproval, other.Terms.RequiresApproval
		asks := mine.Always || mine.Above != ""
		switch {
		case asks && theirs == (ApprovalRule{}):
			if field, what := h.escapes(other.Permission); field != "" {
				l.error(LintApprovalEscaped, field, fmt.Sprintf("what goes beyond %s is allowed by %s, and nobody is asked", what, other.ID), fmt.Sprintf("give %s requiresApproval too, or the same limits", other.ID))
				return
			}
		case h.Terms.BlockedActions != nil: // it has an effect of its own
		case !asks && theirs == (ApprovalRule{}) && !l.twins(h, other):
			l.warn(LintShadowed, "", fmt.Sprintf("%s allows all of it anyway, and what limits this one limits nothing", other.ID), "remove it, or narrow the other one")
			return
		case !asks && theirs.Always:
			l.warn(LintAlwaysAsked, "", fmt.Sprintf("%s has a person asked for all that it allows, and the strictest decides", other.ID), "remove it, or narrow the other one")
			return
		case mine.Always && theirs.Always && (other.stricter(h.Permission) || !h.stricter(other.Permission) && other.draft > h.draft):
			l.warn(LintShadowed, "", fmt.Sprintf("%s asks for all of it, and decides before this one", other.ID), "remove it, or narrow the other one")
			return
		}
	}
}

// twins reports whether each covers the other and h comes first: then only the
// second is told of.
func (l *linter) twins(h, other held) bool {
	return h.draft < other.draft && h.passesAll(other.Permission, l.now)
}

// escapes is a limit of p, not a scope, that wide doesn't have: a request that p
// refuses for it alone is let pass by wide.
func (p *Permission) escapes(wide *Permission) (field, what string) {
	switch {
	case p.Terms.MaxAmount != "" && (wide.Terms.MaxAmount == "" || wide.rules.limit.exceeds(p.rules.limit)):
		return "/maxAmount", "maxAmount"
	case p.Terms.Budgets != nil:
		return "/budgets", "its budget"
	case p.Terms.Rates != nil:
		return "/rates", "its rate"
	case p.Terms.TimeWindows != nil && wide.Terms.TimeWindows == nil:
		return "/timeWindows", "its hours"
	case p.Terms.DeniedCommands != nil && wide.Terms.DeniedCommands == nil:
		return "/deniedCommands", "deniedCommands"
	case p.Terms.DeniedPaths != nil && wide.Terms.DeniedPaths == nil && wide.Terms.Paths == nil:
		return "/deniedPaths", "deniedPaths"
	}
	return "", ""
}
