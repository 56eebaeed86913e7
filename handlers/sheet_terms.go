package handlers

import (
	"strconv"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// SheetLine is a limit with its values.
type SheetLine struct {
	Label  string
	Values []string
	// Verbatim says that the values are what requests are matched against, and not
	// words about it: they stay apart wherever they are written.
	Verbatim bool
	// blocks says that the line is of what is blocked, too.
	blocks bool
}

func sheetPermission(v PermissionView) SheetPermission {
	t := &v.Terms
	p := SheetPermission{ID: v.PermissionID, Status: v.Status, About: oneLine(t.Description), Blocks: words(t.BlockedActions)}
	if p.Allows = words(t.AllowedActions); len(p.Allows) == 0 && t.Action != "" {
		p.Allows = []string{string(t.Action)}
	}
	add := func(l SheetLine) {
		if len(l.Values) > 0 {
			p.Lines = append(p.Lines, l)
		}
	}
	places := func(label string, values []string) {
		add(SheetLine{label, each(values, domain.ShownTarget), true, false})
	}
	say := func(label, value string) { add(SheetLine{label, []string{value}, false, false}) }
	add(SheetLine{"Resources", each(t.Resource, domain.ShownTarget), true, true})
	add(SheetLine{"Vendors", each(t.Vendors, domain.ShownTarget), true, true})
	if t.MaxAmount != "" {
		say("At most each time", string(t.MaxAmount)+" "+string(t.Currency))
	}
	places("Paths", t.Paths)
	places("Never these paths", t.DeniedPaths)
	add(SheetLine{"Never these commands", each(t.DeniedCommands, domain.Shown), true, false})
	if c := t.Context; c != nil {
		places("Branches", c.Branch)
		places("Environments", c.Environment)
		places("Repositories", c.Repository)
	}
	add(SheetLine{"Only at", each(t.TimeWindows, windowWords), false, false})
	if !t.NotBefore.IsZero() {
		add(SheetLine{"Not before", []string{exactTime(t.NotBefore)}, false, true})
	}
	if !t.ExpiresAt.IsZero() {
		add(SheetLine{"Until", []string{exactTime(t.ExpiresAt)}, false, true})
	}
	p.Limits = sheetLimits("", v.Left, zones(t.Limits))
	p.Approve = approveWhen(t)
	return p
}

func windowWords(w domain.Window) string {
	return strings.Join(each(w.Days, dayName), ", ") + ", " + w.From + " to " + w.To + " (" + w.TimeZone + ")"
}

// dayName is "Mon" for mon.
func dayName(day string) string { return strings.ToUpper(day[:1]) + day[1:] }

// approveWhen is when a person is asked, and what the permission says of how. What
// it leaves to the account is left out: that changes without the passport.
func approveWhen(t *domain.Terms) string {
	var when string
	switch {
	case t.RequiresApproval.Above != "":
		when = "A person is asked above " + string(t.RequiresApproval.Above) + " " + string(t.Currency)
	case t.RequiresApproval.Always:
		when = "A person is asked each time"
	default:
		return ""
	}
	how := t.Approval
	if how == nil {
		return when
	}
	if how.Quorum > 1 {
		when += "; " + strconv.Itoa(how.Quorum) + " people have to say yes"
	}
	if how.MinRole != "" {
		when += "; only a role of " + string(how.MinRole) + " or higher can"
	}
	if how.PendingFor != 0 {
		when += "; the question waits " + how.PendingFor.String() + " for an answer"
	}
	if how.ValidFor != 0 {
		when += "; a yes is good for " + how.ValidFor.String()
	}
	if how.DenialFor != 0 {
		when += "; a no stands for " + how.DenialFor.String()
	}
	return when
}

// exactTime is a time from or up to which something holds. It leaves seconds out
// only where there are none: what is rounded is enforced otherwise.
func exactTime(t time.Time) string {
	switch t = t.UTC(); {
	case t.Nanosecond() != 0:
		return t.Format("2006-01-02 15:04:05.999999999 UTC")
	case t.Second() != 0:
		return t.Format("2006-01-02 15:04:05 UTC")
	}
	return sheetTime(t)
}
