package domain

import "strings"

// scope is how wide a permission reaches, narrow to wide.
type scope int

const (
	narrow scope = iota // named targets only
	wide                // a wildcard that spans everything below something
	open                // no limit on targets at all
)

func scopeOf(p *Permission) scope {
	t := &p.Terms
	if t.Resource == nil && t.Vendors == nil && t.Paths == nil {
		return open
	}
	for _, pattern := range t.Resource {
		if strings.Contains(pattern, "**") {
			return wide
		}
	}
	return narrow
}

// Money that makes an action risky, in minor units of whatever currency: a
// level is a hint for people, so a rough scale is enough.
const (
	muchMoney = 1_000_00
	someMoney = 100_00
)

// Words of an action's name that say it can't be taken back, or reaches others.
var (
	irreversible = words("delete drop destroy purge wipe terminate erase truncate transfer wire payout refund withdraw")
	farReaching  = words("deploy publish release send mail email post pay purchase buy order write update push merge exec execute run grant invite")
)

func words(list string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		set[w] = true
	}
	return set
}

// riskOf is the risk of the action: money moved, what can't be undone, and how
// wide the permissions that were asked reach. The outcome has no part in it.
func riskOf(r *Request, reach scope) Risk {
	level := 0
	named := r.Action.words()
	for w := range named {
		switch {
		case irreversible[w]:
			level = max(level, 2)
		case farReaching[w]:
			level = max(level, 1)
		}
	}
	switch {
	case r.Amount == "":
	case r.money.Minor >= muchMoney:
		level = max(level, 2)
	case r.money.Minor >= someMoney:
		level = max(level, 1)
	case level == 1:
		level = 0 // far-reaching words, but only a little money
	}
	if r.Command != "" {
		level = max(level, 1)
	}
	if level == 1 && reach == open && r.Amount == "" {
		level = 2
	}
	return [...]Risk{RiskLow, RiskMedium, RiskHigh}[level]
}

// words yields the lower-case words of an action's name.
func (a Action) words() func(yield func(string) bool) {
	return strings.FieldsFuncSeq(strings.ToLower(string(a)), func(c rune) bool {
		return strings.ContainsRune("._:/-", c)
	})
}
