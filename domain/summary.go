package domain

import (
	"strconv"
	"strings"
	"time"
)

// Summary says the terms in a sentence, for people. Nothing is decided by it.
func (t *Terms) Summary() string {
	var parts []string
	say := func(lead string, list []string) {
		if len(list) > 0 {
			parts = append(parts, lead+" "+strings.Join(list, ", "))
		}
	}
	may := actionNames(t.AllowedActions)
	if len(may) == 0 && t.Action != "" {
		may = []string{string(t.Action)}
	}
	say("may", may)
	say("must not", actionNames(t.BlockedActions))
	say("on", t.Resource)
	say("with", t.Vendors)
	if t.MaxAmount != "" {
		parts = append(parts, "up to "+string(t.MaxAmount)+" "+string(t.Currency)+" each time")
	}
	for _, b := range t.Budgets {
		parts = append(parts, string(b.Amount)+" "+string(b.Currency)+" "+b.Per.words()+zoned(b.TimeZone))
	}
	for _, r := range t.Rates {
		parts = append(parts, times(r.Count)+" "+r.Per.words()+zoned(r.TimeZone))
	}
	if above := t.RequiresApproval.Above; above != "" {
		parts = append(parts, "with approval above "+string(above)+" "+string(t.Currency))
	} else if t.RequiresApproval.Always {
		parts = append(parts, "with approval")
	}
	if c := t.Context; c != nil {
		say("on branch", c.Branch)
		say("in environment", c.Environment)
		say("in repository", c.Repository)
	}
	say("under", t.Paths)
	say("not under", t.DeniedPaths)
	say("never running", t.DeniedCommands)
	for _, w := range t.TimeWindows {
		parts = append(parts, strings.Join(w.Days, " ")+" "+w.From+"–"+w.To+" "+w.TimeZone)
	}
	if !t.NotBefore.IsZero() {
		parts = append(parts, "from "+t.NotBefore.Format(time.RFC3339))
	}
	if !t.ExpiresAt.IsZero() {
		parts = append(parts, "until "+t.ExpiresAt.Format(time.RFC3339))
	}
	return strings.Join(parts, "; ")
}

func (p Period) words() string {
	if p == InTotal {
		return "in total"
	}
	return "per " + string(p)
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return strconv.FormatInt(n, 10) + " times"
}

func zoned(zone string) string {
	if zone == "" || zone == "UTC" {
		return ""
	}
	return " (" + zone + ")"
}

func actionNames(list []Action) []string {
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = string(a)
	}
	return names
}
