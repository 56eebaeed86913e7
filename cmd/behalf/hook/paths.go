package hook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/behalf-platform/behalf"
)

// touch asks about a path and, where links lead elsewhere, about that place too:
// the server judges a path by its text alone.
func touch(action, name, cwd string) ([]behalf.Ask, error) {
	asks := []behalf.Ask{{Action: action, Path: name, Cwd: cwd}}
	whole := name
	switch {
	case filepath.IsAbs(name):
	case filepath.IsAbs(cwd):
		whole = cwd + string(filepath.Separator) + name
	default:
		return asks, nil // the server denies it wherever a path matters
	}
	// A tool may clean the path first, or leave .. to the system, to which it is
	// what lies above the place a link leads to.
	clean := filepath.Clean(whole)
	for _, reading := range []string{clean, whole} {
		real, err := follow(reading)
		if err != nil {
			return nil, err
		}
		same := func(ask behalf.Ask) bool { return ask.Path == real }
		if real != clean && !slices.ContainsFunc(asks, same) {
			asks = append(asks, behalf.Ask{Action: action, Path: real, Cwd: cwd})
		}
	}
	return asks, nil
}

// mostLinks is how many links are followed; systems follow fewer.
const mostLinks = 255

// follow is where the system gets to by an absolute path. A link is followed to
// where nothing is, too: writing makes it there. What isn't a link, or isn't
// there, is taken as it is written.
func follow(name string) (string, error) {
	at, rest := root(name)
	for links := 0; len(rest) > 0; {
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		here := filepath.Join(at, next)
		target, err := os.Readlink(here)
		if err != nil {
			at = here
			continue
		}
		if links++; links > mostLinks {
			return "", errors.New("the path leads through too many links")
		}
		more := segments(target)
		if filepath.IsAbs(target) {
			at, more = root(target)
		}
		rest = append(more, rest...)
	}
	return at, nil
}

// root is where an absolute path begins, and its segments from there.
func root(name string) (at string, rest []string) {
	volume := filepath.VolumeName(name)
	return volume + string(filepath.Separator), segments(name[len(volume):])
}

func segments(name string) []string {
	return strings.Split(filepath.ToSlash(name), "/")
}

// search is a tool that looks through a directory. A glob may lead out of it.
func search(c *call, in input) ([]behalf.Ask, error) {
	dir := c.Cwd
	if given, err := only(in.Path, in.TargetDir); err == nil {
		dir = given
	} else if in.Path != "" || in.TargetDir != "" {
		return nil, fmt.Errorf("the tool %s %w", c.Tool, err)
	}
	glob := in.Glob
	if c.Tool == "Glob" && glob == "" {
		glob = in.Pattern
	}
	fixed := literal(glob)
	switch {
	case climbs(glob[len(fixed):]):
		return nil, fmt.Errorf("the tool %s has a pattern that climbs behind a wildcard", c.Tool)
	case strings.HasPrefix(fixed, "/") || strings.HasPrefix(fixed, "~"):
		dir = fixed
	case dir == "":
		return nil, errors.New("the call names no directory, and the editor told no cwd")
	case climbs(fixed): // judged where it leads
		if !filepath.IsAbs(dir) && c.Cwd != "" {
			dir = c.Cwd + "/" + dir
		}
		dir += "/" + fixed
	}
	return touch(FileSearch, dir, c.Cwd)
}

// literal is what a glob says before its first wildcard, in whole segments.
func literal(glob string) string {
	if i := strings.IndexAny(glob, "*?[{(!@+\\"); i >= 0 {
		return glob[:strings.LastIndex(glob[:i], "/")+1]
	}
	return glob
}

// climbs reports whether a pattern may hold a segment .., put together by braces
// even.
func climbs(glob string) bool {
	glob = strings.ReplaceAll(glob, "\\", "/")
	if !strings.ContainsAny(glob, "{(") {
		return strings.Contains("/"+glob+"/", "/../")
	}
	// What two dots of different alternatives become, one that may come first and
	// a later one that may come last, is not worked out. Repeated, they are one.
	const joints = "{},(|)"
	repeated := strings.Contains(glob, "(")
	first := false
	for i, padded := 1, "/"+glob+"/"; i < len(padded)-1; i++ {
		if padded[i] != '.' {
			continue
		}
		before, after := padded[i-1], padded[i+1]
		opens := strings.IndexByte(joints+"/", before) >= 0 && strings.IndexByte(joints, after) >= 0
		ends := strings.IndexByte(joints, before) >= 0 && strings.IndexByte(joints+"/", after) >= 0
		if ends && (first || opens && repeated) {
			return true
		}
		first = first || opens
	}
	return strings.Contains(glob, "..")
}
