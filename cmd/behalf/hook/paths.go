package hook

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/behalf-platform/behalf"
)

// touch asks about a path and, where links lead elsewhere, about that place too:
// the server judges a path by its text alone.
func touch(action, name, cwd string) []behalf.Ask {
	asks := []behalf.Ask{{Action: action, Path: name, Cwd: cwd}}
	if real := behind(name, cwd); real != "" {
		asks = append(asks, behalf.Ask{Action: action, Path: real, Cwd: cwd})
	}
	return asks
}

// behind is where links lead from a path, or empty if that is where it says. Of
// a file that isn't there yet, its directory is looked at.
func behind(name, cwd string) string {
	if !filepath.IsAbs(name) {
		if !filepath.IsAbs(cwd) {
			return "" // the server denies it wherever a path matters
		}
		name = filepath.Join(cwd, name)
	}
	name = filepath.Clean(name)
	for dir, rest := name, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			if real = filepath.Join(real, rest); real != name {
				return real
			}
			return ""
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
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
	case climbs(fixed): // judged where it leads
		if !path.IsAbs(dir) {
			dir = path.Join(c.Cwd, dir)
		}
		dir = path.Join(dir, fixed)
	}
	if dir == "" {
		return nil, errors.New("the call names no directory, and the editor told no cwd")
	}
	return touch(FileSearch, dir, c.Cwd), nil
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
