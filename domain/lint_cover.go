package domain

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What follows compares patterns and permissions by what they cover. Each
// function says yes only where it is certain: a no means not known.

// coversGlob reports whether everything that narrow matches, g matches too.
func (g glob) coversGlob(narrow glob) bool {
	switch {
	case g.text == narrow.text, g.text == "**":
		return true
	case narrow.segments == nil:
		return g.match(narrow.text)
	case g.segments == nil:
		return false
	}
	w, s := g.segments, narrow.segments
	for len(w) > 1 && len(s) > 1 && w[0] == s[0] && w[0] != "**" { // a scheme and its slashes
		w, s = w[1:], s[1:]
	}
	if slices.Contains(w, "") || slices.Contains(s, "") { // how ** takes those is not worth the proof
		return false
	}
	return coversSegments(w, s)
}

// coversSegments fills a table of whether the rest of one covers the rest of
// the other.
func coversSegments(wide, narrow []string) bool {
	table := make([][]bool, len(wide)+1)
	for i := range table {
		table[i] = make([]bool, len(narrow)+1)
	}
	table[len(wide)][len(narrow)] = true
	for i, w := range slices.Backward(wide) {
		for j, n := range slices.Backward(narrow) {
			switch {
			case w == "**":
				table[i][j] = table[i+1][j+1] || table[i][j+1]
			case n != "**":
				table[i][j] = table[i+1][j+1] && coversSegment([]rune(w), []rune(n))
			}
		}
	}
	return table[0][0]
}

// coversSegment is coversSegments within a segment: what * may be, only * covers.
func coversSegment(wide, narrow []rune) bool {
	next := make([]bool, len(narrow)+1) // for the rest of wide after this sign
	next[len(narrow)] = true
	for _, w := range slices.Backward(wide) {
		row := make([]bool, len(narrow)+1)
		row[len(narrow)] = w == '*' && next[len(narrow)]
		for j, n := range slices.Backward(narrow) {
			switch w {
			case '*':
				row[j] = next[j] || row[j+1]
			case '?':
				row[j] = n != '*' && next[j+1]
			default:
				row[j] = n == w && next[j+1] // neither * nor ?
			}
		}
		next = row
	}
	return next[0]
}

// coversHost reports whether every host that narrow matches, p matches too.
func (p hostPattern) coversHost(narrow hostPattern) bool {
	switch {
	case p == narrow:
		return true
	case !narrow.below:
		return p.match(narrow.host)
	}
	return p.below && p.host.port == narrow.host.port && strings.HasSuffix(narrow.host.name, p.host.name)
}

// coversPath reports whether every path that narrow covers, r covers too.
func (r pathRule) coversPath(narrow pathRule) bool {
	switch {
	case r.text == narrow.text:
		return true
	case narrow.self == nil:
		return r.covers(narrow.text)
	case r.self != nil:
		return false
	}
	var fixed []string // what comes before the first wildcard
	for _, s := range narrow.self {
		if strings.ContainsAny(s, "*?") {
			break
		}
		fixed = append(fixed, s)
	}
	return r.covers(cmp.Or(strings.Join(fixed, "/"), "/"))
}

// coversList reports whether each of narrow is covered by one of wide, where an
// absent list is no limit.
func coversList[T any](wide, narrow []T, covers func(wide, narrow T) bool) bool {
	if wide == nil {
		return true
	}
	return narrow != nil && !slices.ContainsFunc(narrow, func(n T) bool {
		return !slices.ContainsFunc(wide, func(w T) bool { return covers(w, n) })
	})
}

// allows are the actions that a permission may allow.
func (t *Terms) allows() []Action {
	switch {
	case t.AllowedActions != nil:
		return t.AllowedActions
	case t.Action != "":
		return []Action{t.Action}
	}
	return nil
}

// holdsWhile reports whether p is in force whenever q is, from now on.
func (p *Permission) holdsWhile(q *Permission, now time.Time) bool {
	from := Later(q.Terms.NotBefore, now)
	until, others := p.Terms.ExpiresAt, q.Terms.ExpiresAt
	return !p.Terms.NotBefore.After(from) &&
		(until.IsZero() || !others.IsZero() && !others.After(until))
}

// blocksAll reports whether p blocks an action for all that q is for.
func (p *Permission) blocksAll(a Action, q *Permission, now time.Time) bool {
	return listed(p.Terms.BlockedActions, a) && p.holdsWhile(q, now) &&
		coversList(p.rules.resource, q.rules.resource, glob.coversGlob) &&
		coversList(p.rules.vendors, q.rules.vendors, hostPattern.coversHost)
}

// passesAll reports whether p lets every request pass that q does, whenever q
// is in force. It says nothing of who is asked.
func (p *Permission) passesAll(q *Permission, now time.Time) bool {
	if p.rules.limits != nil || p.Terms.RequiresApproval.Above != "" || !p.holdsWhile(q, now) {
		return false
	}
	for _, a := range q.Terms.allows() {
		if !listed(p.Terms.allows(), a) {
			return false
		}
	}
	w, n := &p.rules, &q.rules
	return coversList(w.resource, n.resource, glob.coversGlob) &&
		coversList(w.vendors, n.vendors, hostPattern.coversHost) &&
		coversList(w.branch, n.branch, glob.coversGlob) &&
		coversList(w.environment, n.environment, glob.coversGlob) &&
		coversList(w.repository, n.repository, glob.coversGlob) &&
		coversList(p.Terms.TimeWindows, q.Terms.TimeWindows, sameWindow) &&
		p.passesAmounts(q) && p.passesPaths(q) && p.passesCommands(q)
}

func sameWindow(a, b Window) bool {
	return a.From == b.From && a.To == b.To && a.TimeZone == b.TimeZone &&
		!slices.ContainsFunc(b.Days, func(day string) bool { return !slices.Contains(a.Days, day) })
}

func (p *Permission) passesAmounts(q *Permission) bool {
	return p.Terms.MaxAmount == "" || q.Terms.MaxAmount != "" && !q.rules.limit.exceeds(p.rules.limit)
}

// passesPaths takes care that a rule about paths wants a path.
func (p *Permission) passesPaths(q *Permission) bool {
	w, n := &p.rules, &q.rules
	if w.paths == nil && w.deniedPaths == nil {
		return true
	}
	if n.paths == nil && n.deniedPaths == nil {
		return false
	}
	denies := len(w.deniedPaths) == 0 || coversList(n.deniedPaths, w.deniedPaths, pathRule.coversPath) && n.deniedPaths != nil
	return coversList(w.paths, n.paths, pathRule.coversPath) && denies
}

func (p *Permission) passesCommands(q *Permission) bool {
	return p.Terms.DeniedCommands == nil || q.Terms.DeniedCommands != nil &&
		!slices.ContainsFunc(p.Terms.DeniedCommands, func(c string) bool { return !slices.Contains(q.Terms.DeniedCommands, c) })
}
