package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Permission is one entry of a passport: terms, and when they hold.
type Permission struct {
	ID      PermissionID
	Terms   Terms
	Granted time.Time
	// Revoked is zero while the permission stands.
	Revoked time.Time
	// Version is the sequence of the event that last changed the permission.
	Version uint64

	rules rules
}

// PermissionStatus is where a permission stands at a moment.
type PermissionStatus string

const (
	PermissionActive      PermissionStatus = "active"
	PermissionNotYetValid PermissionStatus = "not_yet_valid"
	PermissionHasExpired  PermissionStatus = "expired"
	PermissionIsRevoked   PermissionStatus = "revoked"
)

// StatusAt is where the permission stands at a moment. It is valid from
// notBefore on, and up to but not including expiresAt.
func (p *Permission) StatusAt(now time.Time) PermissionStatus {
	switch {
	case !p.Revoked.IsZero():
		return PermissionIsRevoked
	case !p.Terms.ExpiresAt.IsZero() && !now.Before(p.Terms.ExpiresAt):
		return PermissionHasExpired
	case now.Before(p.Terms.NotBefore):
		return PermissionNotYetValid
	}
	return PermissionActive
}

// Terms are what a member writes to grant a permission, and what is stored. An
// absent list is no limit of its kind; an empty one is refused as ambiguous.
type Terms struct {
	Action         Action   `json:"action,omitempty"`
	AllowedActions []Action `json:"allowedActions,omitzero"`
	// BlockedActions deny, for whatever Resource and Vendors cover, what any
	// other permission allows.
	BlockedActions []Action `json:"blockedActions,omitzero"`

	Resource Patterns `json:"resource,omitzero"`
	Vendors  Patterns `json:"vendors,omitzero"`
	// MaxAmount is the most one request may move, in Currency.
	MaxAmount Decimal    `json:"maxAmount,omitempty"`
	Currency  Currency   `json:"currency,omitempty"`
	Context   *Condition `json:"context,omitempty"`

	// Paths are what the path of a request must be under; DeniedPaths what it
	// must not be under.
	Paths       []string `json:"paths,omitzero"`
	DeniedPaths []string `json:"deniedPaths,omitzero"`
	// DeniedCommands are what no simple command of a request's shell command
	// may be, such as "rm -rf" or "git push --force".
	DeniedCommands []string `json:"deniedCommands,omitzero"`

	NotBefore   time.Time `json:"notBefore,omitzero"`
	ExpiresAt   time.Time `json:"expiresAt,omitzero"`
	TimeWindows []Window  `json:"timeWindows,omitzero"`

	Description string `json:"description,omitempty"`
	// Notes are for members; the agent never sees them.
	Notes string `json:"notes,omitempty"`

	// RequiresApproval asks a person before it allows; Approval says whom, and
	// for how long.
	RequiresApproval ApprovalRule   `json:"requiresApproval,omitzero"`
	Approval         *ApprovalTerms `json:"approval,omitzero"`
	Limits           `json:",inline"`
}

// Condition limits where an agent is working, by the facts a request asserts.
// All that are given must hold.
type Condition struct {
	Branch      Patterns `json:"branch,omitzero"`
	Environment Patterns `json:"environment,omitzero"`
	Repository  Patterns `json:"repository,omitzero"`
}

// Patterns is one pattern, or a list of which any may match. JSON takes and
// gives a single one as a string.
type Patterns []string

// UnmarshalJSONFrom takes a string or an array of strings.
func (p *Patterns) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case '"':
		t, err := dec.ReadToken()
		if err != nil {
			return err
		}
		*p = Patterns{t.String()}
		return nil
	case '[':
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		list := Patterns{}
		for dec.PeekKind() != ']' {
			if k := dec.PeekKind(); k != '"' && k != 0 {
				return fmt.Errorf("want a string, got %s", k)
			}
			t, err := dec.ReadToken()
			if err != nil {
				return err
			}
			list = append(list, t.String())
		}
		*p = list
		_, err := dec.ReadToken()
		return err
	}
	return fmt.Errorf("want a string or a list of strings, got %s", dec.PeekKind())
}

// MarshalJSONTo gives a single pattern as a string.
func (p Patterns) MarshalJSONTo(enc *jsontext.Encoder) error {
	if len(p) == 1 {
		return enc.WriteToken(jsontext.String(p[0]))
	}
	if err := enc.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, s := range p {
		if err := enc.WriteToken(jsontext.String(s)); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndArray)
}

// Decimal is the text of a decimal number. JSON takes a string or a number, as
// text, since a float can't hold money; it gives a string.
type Decimal string

// UnmarshalJSONFrom takes a JSON number or a string as it is written.
func (d *Decimal) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch k := dec.PeekKind(); k {
	case '0':
		v, err := dec.ReadValue()
		*d = Decimal(v)
		return err
	case '"':
		t, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if *d = Decimal(t.String()); *d == "" {
			return fmt.Errorf("want a decimal number, got an empty string")
		}
		return nil
	default:
		return fmt.Errorf("want a decimal number or a string holding one, got %s", k)
	}
}

// named is every action the terms name, whether to allow or to block it.
func (t *Terms) named() []Action {
	names := make([]Action, 0, 1+len(t.AllowedActions)+len(t.BlockedActions))
	if t.Action != "" {
		names = append(names, t.Action)
	}
	names = append(append(names, t.AllowedActions...), t.BlockedActions...)
	slices.Sort(names)
	return slices.Compact(names)
}

// Accept checks terms as a grant has to be: understood in full, or refused. It
// returns them in canonical form, the account's defaults filled in.
func (t Terms) Accept(now time.Time, currency Currency, zone string) (Terms, error) {
	if err := cmp.Or(t.checkActions(), t.checkTimes(now)); err != nil {
		return Terms{}, err
	}
	priced := t.MaxAmount != "" || t.RequiresApproval.Above != ""
	switch {
	case priced && t.Currency == "":
		t.Currency = currency
	case !priced && t.Currency != "":
		return Terms{}, RejectField(Invalid, "/currency", "is the currency of maxAmount or requiresApproval, and neither is an amount here")
	}
	var err error
	if t.Limits, err = t.Limits.Accept(cmp.Or(t.Currency, currency), zone); err != nil {
		return Terms{}, err
	}
	if err := cmp.Or(
		checkWords("/description", t.Description, 0, 1024),
		checkWords("/notes", t.Notes, 0, 4096),
	); err != nil {
		return Terms{}, err
	}
	r, err := t.compile()
	if err != nil {
		return Terms{}, err
	}
	if t.MaxAmount != "" {
		t.MaxAmount = Decimal(r.limit.String())
	}
	if t.RequiresApproval.Above != "" {
		t.RequiresApproval.Above = Decimal(r.threshold.String())
	}
	t.NotBefore, t.ExpiresAt = utc(t.NotBefore), utc(t.ExpiresAt)
	return t, nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

func (t *Terms) checkActions() error {
	if t.Action == "" && len(t.AllowedActions) == 0 && len(t.BlockedActions) == 0 {
		return RejectField(Invalid, "/action", "is required, unless allowedActions or blockedActions name some")
	}
	if t.Action != "" && !t.Action.Valid() {
		return RejectField(Invalid, "/action", "%q is not an action; %s", t.Action, actionHelp)
	}
	for _, list := range []struct {
		name    string
		actions []Action
	}{{"allowedActions", t.AllowedActions}, {"blockedActions", t.BlockedActions}} {
		for i, a := range list.actions {
			field := pointer(list.name, i)
			if !a.Valid() {
				return RejectField(Invalid, field, "%q is not an action; %s", a, actionHelp)
			}
			if slices.Contains(list.actions[:i], a) {
				return RejectField(Invalid, field, "%q is listed twice", a)
			}
		}
	}
	for i, a := range t.BlockedActions {
		if a == t.Action || slices.Contains(t.AllowedActions, a) {
			return RejectField(Invalid, pointer("blockedActions", i), "%q is both allowed and blocked", a)
		}
	}
	return nil
}

const actionHelp = "use letters, digits and . _ : / -, at most 128, a letter or digit first"

// mostListed bounds each list of a permission.
const mostListed = 256

func (t *Terms) checkLists() error {
	var c Condition
	if t.Context != nil {
		c = *t.Context
		if c.Branch == nil && c.Environment == nil && c.Repository == nil {
			return RejectField(Invalid, "/context", "is empty; name branch, environment or repository, or leave it out")
		}
	}
	for _, list := range []struct {
		field string
		given bool
		n     int
	}{
		{"/allowedActions", t.AllowedActions != nil, len(t.AllowedActions)},
		{"/blockedActions", t.BlockedActions != nil, len(t.BlockedActions)},
		{"/resource", t.Resource != nil, len(t.Resource)},
		{"/vendors", t.Vendors != nil, len(t.Vendors)},
		{"/paths", t.Paths != nil, len(t.Paths)},
		{"/deniedPaths", t.DeniedPaths != nil, len(t.DeniedPaths)},
		{"/deniedCommands", t.DeniedCommands != nil, len(t.DeniedCommands)},
		{"/timeWindows", t.TimeWindows != nil, len(t.TimeWindows)},
		{"/context/branch", c.Branch != nil, len(c.Branch)},
		{"/context/environment", c.Environment != nil, len(c.Environment)},
		{"/context/repository", c.Repository != nil, len(c.Repository)},
	} {
		if list.given && list.n == 0 {
			return RejectField(Invalid, list.field, "is an empty list, which could mean all or nothing; leave it out for no limit")
		}
		if list.n > mostListed {
			return RejectField(Invalid, list.field, "has %d entries; at most %d are taken", list.n, mostListed)
		}
	}
	for i, p := range t.DeniedPaths {
		if slices.Contains(t.Paths, p) {
			return RejectField(Invalid, pointer("deniedPaths", i), "%q is both allowed and denied", p)
		}
	}
	return nil
}

func (t *Terms) checkTimes(now time.Time) error {
	switch {
	case !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now):
		return RejectField(Invalid, "/expiresAt", "%s is past", t.ExpiresAt.Format(time.RFC3339))
	case !t.ExpiresAt.IsZero() && !t.NotBefore.Before(t.ExpiresAt):
		return RejectField(Invalid, "/notBefore", "is not before expiresAt, so the permission would never hold")
	case t.ExpiresAt.Year() > 9999 || t.NotBefore.Year() > 9999:
		return RejectField(Invalid, "/expiresAt", "is after the year 9999")
	}
	return nil
}

// rules are terms made ready to match.
type rules struct {
	resource       []glob
	vendors        []hostPattern
	limit          Money
	threshold      Money // above which a person is asked, if there is one
	limits         []limit
	branch         []glob
	environment    []glob
	repository     []glob
	paths          []pathRule
	deniedPaths    []pathRule
	deniedCommands []commandRule
	windows        []window
}

// compile makes terms ready to match, and refuses what can't be. It is the one
// way into a passport, for a grant as for a fold: terms that a newer program
// stored, and this one would understand only in part, must not pass as less
// than they are.
func (t *Terms) compile() (r rules, err error) {
	if err := t.checkLists(); err != nil {
		return rules{}, err
	}
	var c Condition
	if t.Context != nil {
		c = *t.Context
	}
	if err := t.compileMoney(&r); err != nil {
		return rules{}, err
	}
	if t.Approval != nil {
		if t.RequiresApproval == (ApprovalRule{}) {
			return rules{}, RejectField(Invalid, "/approval", "says how to approve, and requiresApproval asks for none")
		}
		if err := t.Approval.check(); err != nil {
			return rules{}, err
		}
	}
	if r.limits, err = t.Limits.compile(); err != nil {
		return rules{}, err
	}
	err = cmp.Or(
		compileAll(&r.resource, "resource", t.Resource, compileGlob),
		compileAll(&r.vendors, "vendors", t.Vendors, compileHostPattern),
		compileAll(&r.branch, "context/branch", c.Branch, compileGlob),
		compileAll(&r.environment, "context/environment", c.Environment, compileGlob),
		compileAll(&r.repository, "context/repository", c.Repository, compileGlob),
		compileAll(&r.paths, "paths", t.Paths, compilePathRule),
		compileAll(&r.deniedPaths, "deniedPaths", t.DeniedPaths, compilePathRule),
		compileAll(&r.deniedCommands, "deniedCommands", t.DeniedCommands, compileCommandRule),
		compileAll(&r.windows, "timeWindows", t.TimeWindows, compileWindow),
	)
	return r, err
}

func (t *Terms) compileMoney(r *rules) (err error) {
	above := t.RequiresApproval.Above
	if t.MaxAmount == "" && above == "" {
		return nil
	}
	if _, err := ParseCurrency(string(t.Currency)); err != nil {
		return RejectField(Invalid, "/currency", "%v", err)
	}
	if t.MaxAmount != "" {
		if r.limit, err = ParseMoney(string(t.MaxAmount), t.Currency); err != nil {
			return RejectField(Invalid, "/maxAmount", "%v", err)
		}
	}
	if above == "" {
		return nil
	}
	if r.threshold, err = ParseMoney(string(above), t.Currency); err != nil {
		return RejectField(Invalid, "/requiresApproval", "%v", err)
	}
	if t.MaxAmount != "" && r.threshold.Minor >= r.limit.Minor {
		return RejectField(Invalid, "/requiresApproval", "is not below maxAmount, so nobody would ever be asked")
	}
	return nil
}

func compileAll[S, R any](into *[]R, name string, list []S, compile func(S) (R, error)) error {
	for i, s := range list {
		r, err := compile(s)
		if err != nil {
			return RejectField(Invalid, pointer(name, i), "%v", err)
		}
		*into = append(*into, r)
	}
	return nil
}

func pointer(name string, i int) string {
	return "/" + name + "/" + strconv.Itoa(i)
}
