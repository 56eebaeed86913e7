package domain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// glob is a pattern of segments between slashes: * is any text within one, ? is
// one character, and ** as a whole segment is everything below, one segment or
// more. All else is literal. The zero glob matches nothing.
//
// The matcher is our own. The libraries give [ ], { } and \ meanings that a
// resource name must not have, let a/** match a, and backtrack in ways that a
// hostile pattern can make slow.
type glob struct {
	text string
	// segments is nil if the text has no wildcard.
	segments []string
}

// mostPattern bounds a pattern, in bytes. With mostTarget it bounds the work of
// a match to their product.
const mostPattern = 512

// compileGlob refuses a pattern that could match nothing, or not what it reads
// as.
func compileGlob(s string) (glob, error) {
	if len(s) > mostPattern {
		return glob{}, fmt.Errorf("is %d bytes long; at most %d are taken", len(s), mostPattern)
	}
	if fault := targetFault(s); fault != "" {
		return glob{}, fmt.Errorf("%s %s", quote(s), fault)
	}
	segments, err := splitPattern(s)
	if err != nil {
		return glob{}, err
	}
	return glob{text: s, segments: segments}, nil
}

// splitPattern is nil for a pattern without wildcards.
func splitPattern(s string) ([]string, error) {
	if !strings.ContainsAny(s, "*?") {
		return nil, nil
	}
	segments := strings.Split(s, "/")
	for _, seg := range segments {
		if seg != "**" && strings.Contains(seg, "**") {
			return nil, fmt.Errorf("%s has ** beside other text; write it as a whole segment, as in a/**", quote(s))
		}
	}
	return segments, nil
}

// match never says yes to what is not a plainTarget, not even for ** or a
// pattern of the same text.
func (g glob) match(s string) bool {
	switch {
	case g.text == "":
		return false
	case g.segments == nil:
		return g.text == s // and so as plain as the pattern
	}
	// Few targets match, so the check that reads all of the text comes last.
	return len(s) <= mostTarget && matchSegments(g.segments, s) && plainTarget(s)
}

// plainTarget reports whether s means to every program what it reads as. Only
// then does a pattern's silence mean that s is outside of it.
func plainTarget(s string) bool {
	return len(s) <= mostTarget && targetFault(s) == "" && plainAuthority(s)
}

// plainAuthority reports whether the host of a URL, if s is one, ends where its
// first segment does: "https://evil.com?.example.com/x" is at evil.com.
func plainAuthority(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme+":") {
		return true
	}
	authority, _, _ := strings.Cut(rest, "/")
	return !strings.ContainsAny(authority, "?#@")
}

// targetFault says what hides in a target or pattern, or "".
func targetFault(s string) string {
	if s == "" {
		return "is blank"
	}
	if fault := textFault(s); fault != "" {
		return fault
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if unicode.IsSpace(first) || unicode.IsSpace(last) {
		return "begins or ends with a space"
	}
	for rest, i, more := s, 0, true; more; i++ {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		switch {
		case seg == "." || seg == "..":
			return "has a . or .. segment"
		case seg == "" && i > 0 && more && (i != 1 || !isScheme(s[:strings.IndexByte(s, '/')])):
			return "has an empty segment; write one slash"
		}
	}
	return ""
}

// isScheme reports whether s is a URL scheme with its colon.
func isScheme(s string) bool {
	name, ok := strings.CutSuffix(s, ":")
	if !ok || name == "" {
		return false
	}
	for i := range len(name) {
		c := name[i] | 0x20
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.Contains("0123456789+-.", name[i:i+1])) {
			return false
		}
	}
	return true
}

// textFault says what about a text could make one program read it as another
// text, or a person not see it. Targets and paths share it.
func textFault(s string) string {
	for i, c := range s {
		switch {
		case c == '\\':
			return "has a backslash; write /"
		case c == '%' && escapesPath(s[i:]):
			return "has an escaped dot, slash, backslash or NUL; write the character itself"
		case unseen(c):
			return fmt.Sprintf("has the control, invisible or broken character %U", c)
		}
	}
	return ""
}

// escapesPath reports whether s begins with %2e, %2f, %5c or %00.
func escapesPath(s string) bool {
	if len(s) < 3 {
		return false
	}
	switch s[1:3] {
	case "2e", "2E", "2f", "2F", "5c", "5C", "00":
		return true
	}
	return false
}

// unseen reports whether c is a control character, takes no room of its own, or
// stands for bytes that are not UTF-8.
func unseen(c rune) bool {
	if c < 0x80 {
		return c < 0x20 || c == 0x7f
	}
	return c == utf8.RuneError || unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// matchSegments goes back to the newest ** only: what an older one could take
// more of, the newest can. So the work is bounded by the product of the lengths.
func matchSegments(pattern []string, s string) bool {
	var (
		p    int     // next pattern segment
		rest = s     // text not yet matched
		done = false // no text segment is left
		star = -1    // segment after the newest **
		back string  // text that the newest ** may take next
		dry  = false // the newest ** has taken all there is
	)
	for {
		switch {
		case p == len(pattern) && done:
			return true
		case p < len(pattern) && !done && pattern[p] == "**":
			seg, after, more := strings.Cut(rest, "/")
			if seg == "" { // an empty segment alone is not below anything
				if !more {
					break
				}
				_, after, more = strings.Cut(after, "/")
			}
			p++
			star, back, dry = p, after, !more
			rest, done = after, !more
			continue
		case p < len(pattern) && !done:
			seg, after, more := strings.Cut(rest, "/")
			if matchSegment(pattern[p], seg) {
				p++
				rest, done = after, !more
				continue
			}
		}
		if star < 0 || dry {
			return false
		}
		_, after, more := strings.Cut(back, "/")
		back, dry = after, !more
		p, rest, done = star, after, !more
	}
}

// matchSegment matches within one segment. Nothing but an empty pattern matches
// an empty segment, so a/* is not a/.
func matchSegment(pattern, s string) bool {
	if s == "" || pattern == "" {
		return s == pattern
	}
	star, back := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			p++
			star, back = p, i
			continue
		case p < len(pattern) && pattern[p] == '?':
			_, n := utf8.DecodeRuneInString(s[i:])
			p, i = p+1, i+n
			continue
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
			continue
		}
		if star < 0 {
			return false
		}
		// By whole characters, or ? would match the half of one.
		_, n := utf8.DecodeRuneInString(s[back:])
		back += n
		p, i = star, back
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
