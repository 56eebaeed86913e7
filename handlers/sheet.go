package handlers

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Sheet is a passport in words: what the page of a link and the texts for agents
// show, so that none of them says another thing than the next. It has no notes,
// and all in it is fit to be shown, see [domain.Shown].
type Sheet struct {
	AgentID domain.AgentID
	Name    string
	Version uint64
	// Updated is when the passport got this version, Written when this was made.
	Updated, Written time.Time
	State            SheetState
	Permissions      []SheetPermission
	// Limits are of all permissions together.
	Limits []SheetLimit
}

// SheetState is what a whole passport comes to.
type SheetState string

// In every state but the first all is denied.
const (
	SheetActive   SheetState = "active"
	SheetDisabled SheetState = "disabled"
	SheetExpired  SheetState = "expired" // all permissions have
	SheetEarly    SheetState = "not valid yet"
	SheetEmpty    SheetState = "empty"
)

// Sentence says what the state means.
func (s SheetState) Sentence() string {
	switch s {
	case SheetActive:
		return "Allowed is what is listed, within its limits. Everything else is denied."
	case SheetDisabled:
		return "This agent is disabled. Everything is denied."
	case SheetExpired:
		return "Every permission has expired. Everything is denied."
	case SheetEarly:
		return "No permission is valid yet. Everything is denied for now."
	case SheetEmpty:
	}
	return "There is no permission that allows anything. Everything is denied."
}

// SheetPermission is one permission.
type SheetPermission struct {
	ID      domain.PermissionID
	Status  domain.PermissionStatus
	Allows  []string // actions
	Blocks  []string // actions, whatever else allows them
	About   string   // its description
	Lines   []SheetLine
	Limits  []SheetLimit
	Approve string // when a person is asked, or empty
}

// Active reports whether the permission holds now.
func (p SheetPermission) Active() bool { return p.Status == domain.PermissionActive }

// Denies reports whether the permission blocks something, or will.
func (p SheetPermission) Denies() bool {
	return len(p.Blocks) > 0 && p.Status != domain.PermissionHasExpired
}

// Reach is what a block covers, and when: its other terms are of what is allowed.
func (p SheetPermission) Reach() []SheetLine {
	var reach []SheetLine
	for _, l := range p.Lines {
		if l.blocks {
			reach = append(reach, l)
		}
	}
	return reach
}

// Everywhere reports whether a block covers every resource and vendor.
func (p SheetPermission) Everywhere() bool {
	return !slices.ContainsFunc(p.Reach(), func(l SheetLine) bool { return l.Verbatim })
}

// SheetLimit is a budget or a rate, and what is left of it.
type SheetLimit struct {
	Whose  string // "agent", "account", or empty for the permission's own
	Kind   string // "Budget" or "Rate"
	Most   string // "500.00 USD per month"
	Left   string // "380.00 USD"
	Resets string // when it begins again, or empty
	// Percent is how much is left of it, 0 to 100.
	Percent int
}

// NewSheet puts a passport into words. Shared are the limits that AccountLeft is
// of.
func NewSheet(p PassportView, shared domain.Limits, updated, now time.Time) Sheet {
	s := Sheet{
		AgentID: p.AgentID, Name: oneLine(p.Name), Version: p.PassportVersion, Updated: updated.UTC(), Written: now.UTC(),
	}
	s.Limits = append(sheetLimits("agent", p.Left, zones(p.Limits)), sheetLimits("account", p.AccountLeft, zones(shared))...)
	for _, v := range p.Permissions {
		s.Permissions = append(s.Permissions, sheetPermission(v))
	}
	s.State = sheetState(p, s.Permissions)
	return s
}

func sheetState(p PassportView, list []SheetPermission) SheetState {
	state := SheetEmpty
	if p.Status != domain.AgentActive {
		return SheetDisabled
	}
	for _, v := range list {
		switch {
		case len(v.Allows) == 0: // it only blocks
		case v.Active():
			return SheetActive
		case v.Status == domain.PermissionNotYetValid:
			state = SheetEarly
		case state == SheetEmpty:
			state = SheetExpired
		}
	}
	return state
}

// zones are the time zones of limits, in the order in which what is left of them
// is listed: rates first.
func zones(l domain.Limits) (list []string) {
	for _, r := range l.Rates {
		list = append(list, r.TimeZone)
	}
	for _, b := range l.Budgets {
		list = append(list, b.TimeZone)
	}
	return list
}

func sheetLimits(whose string, left []domain.Left, zones []string) []SheetLimit {
	var list []SheetLimit
	for i, l := range left {
		kind, unit := "Rate", " times"
		if l.Currency != "" {
			kind, unit = "Budget", " "+string(l.Currency)
		}
		per := " per " + string(l.Per)
		if l.Per == domain.InTotal {
			per = " in total"
		}
		if i < len(zones) && zones[i] != "" && zones[i] != "UTC" {
			per += " (" + zones[i] + ")"
		}
		limit := SheetLimit{Whose: whose, Kind: kind, Most: string(l.Most) + unit + per, Left: string(l.Left) + unit, Percent: percent(l)}
		if !l.WindowEndsAt.IsZero() {
			limit.Resets = sheetTime(l.WindowEndsAt)
		}
		list = append(list, limit)
	}
	return list
}

// percent is for a bar, where a float is good enough. It is 0 only if nothing is
// left.
func percent(l domain.Left) int {
	left, err := strconv.ParseFloat(string(l.Left), 64)
	most, err2 := strconv.ParseFloat(string(l.Most), 64)
	if err != nil || err2 != nil || most <= 0 || left <= 0 {
		return 0
	}
	return max(1, min(100, int(100*left/most)))
}

func words(actions []domain.Action) []string {
	return each(actions, func(a domain.Action) string { return string(a) })
}

func each[T any](list []T, say func(T) string) []string {
	var said []string
	for _, v := range list {
		said = append(said, say(v))
	}
	return said
}

// oneLine is text that people wrote, on one line: in a text for agents a line of
// its own could pass for one of ours.
func oneLine(s string) string { return domain.Shown(strings.Join(strings.Fields(s), " ")) }

func sheetTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// VersionLine says which passport this is a copy of.
func (s Sheet) VersionLine() string {
	return "Version " + strconv.FormatUint(s.Version, 10) + " of " + sheetTime(s.Updated)
}

// WrittenLine says when this was written.
func (s Sheet) WrittenLine() string { return sheetTime(s.Written) }
