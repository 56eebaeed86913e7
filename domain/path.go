package domain

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanPath is the absolute form of a path, which is relative to cwd if it is
// relative at all. It looks at the text only: whoever opens the file must open
// the path that was asked about, and not follow links out of it.
func cleanPath(p, cwd string) (string, error) {
	if fault := pathFault(p); fault != "" {
		return "", fmt.Errorf("the path %s %s", quote(p), fault)
	}
	if p[0] == '/' {
		if climbs(p) {
			return "", fmt.Errorf("the path %s goes above the root", quote(p))
		}
		return path.Clean(p), nil
	}
	switch {
	case p[0] == '~':
		return "", fmt.Errorf("the path %s begins with ~; send it absolute", quote(p))
	case len(p) > 1 && p[1] == ':' && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z'):
		// Elsewhere it is absolute, and would not be under cwd at all.
		return "", fmt.Errorf("the path %s begins with a drive letter; send it absolute, from /", quote(p))
	case cwd == "":
		return "", fmt.Errorf("the path %s is relative; send it absolute, or send cwd with it", quote(p))
	}
	if fault := pathFault(cwd); fault != "" {
		return "", fmt.Errorf("the cwd %s %s", quote(cwd), fault)
	}
	switch {
	case cwd[0] != '/':
		return "", fmt.Errorf("the cwd %s is not absolute", quote(cwd))
	case climbs(cwd):
		return "", fmt.Errorf("the cwd %s goes above the root", quote(cwd))
	case climbs(p):
		return "", fmt.Errorf("the path %s leaves the cwd %s", quote(p), quote(cwd))
	}
	joined := path.Clean(cwd + "/" + p)
	if len(joined) > mostPath {
		return "", fmt.Errorf("the path is %d bytes long with its cwd; at most %d are taken", len(joined), mostPath)
	}
	return joined, nil
}

func pathFault(p string) string {
	switch {
	case p == "":
		return "is empty"
	case len(p) > mostPath:
		return fmt.Sprintf("is %d bytes long; at most %d are taken", len(p), mostPath)
	}
	return textFault(p)
}

// climbs reports whether .. leads out of where p begins, be it only on the way.
func climbs(p string) bool {
	depth := 0
	for rest, more := p, true; more; {
		var seg string
		switch seg, rest, more = strings.Cut(rest, "/"); seg {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// pathRule covers a path and everything below it. The zero rule covers nothing.
type pathRule struct {
	text string
	// self and below are the segments of a rule with wildcards, below with a
	// final **. Both are nil without.
	self, below []string
}

// compilePathRule takes an absolute, clean path, which may have the wildcards
// of a glob.
func compilePathRule(s string) (pathRule, error) {
	if len(s) > mostPattern {
		return pathRule{}, fmt.Errorf("is %d bytes long; at most %d are taken", len(s), mostPattern)
	}
	if fault := pathFault(s); fault != "" {
		return pathRule{}, fmt.Errorf("%s %s", quote(s), fault)
	}
	last, _ := utf8.DecodeLastRuneInString(s)
	switch clean := path.Clean(s); {
	case s[0] != '/':
		return pathRule{}, fmt.Errorf("%s is not absolute; begin it with /", quote(s))
	case climbs(s):
		return pathRule{}, fmt.Errorf("%s goes above the root", quote(s))
	case clean != s:
		return pathRule{}, fmt.Errorf("%s is not clean; write %s, which covers all below it too", quote(s), quote(clean))
	case unicode.IsSpace(last):
		return pathRule{}, fmt.Errorf("%s ends with a space", quote(s))
	}
	segments, err := splitPattern(s)
	if err != nil {
		return pathRule{}, err
	}
	r := pathRule{text: s, self: segments}
	if segments != nil {
		r.below = append(segments[:len(segments):len(segments)], "**")
	}
	return r, nil
}

// covers takes only what cleanPath gave. It goes by whole segments: /data does
// not cover /database.
func (r pathRule) covers(clean string) bool {
	switch {
	case r.text == "" || clean == "":
		return false
	case r.self != nil:
		// Not glob.match: a path may be longer than its bound, and a rule that
		// denies must not fall silent at a long path.
		return matchSegments(r.self, clean) || matchSegments(r.below, clean)
	case r.text == "/":
		return true
	}
	return strings.HasPrefix(clean, r.text) && (len(clean) == len(r.text) || clean[len(r.text)] == '/')
}
