package hook

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Change is what is to become of a settings file.
type Change struct {
	Path          string
	Before, After []byte
	mode          fs.FileMode
}

// Any reports whether there is anything to change.
func (c Change) Any() bool { return !bytes.Equal(c.Before, c.After) }

// Install is what writes the hook into a settings file. Nothing is written yet.
// The rest of the file stays as it is, byte for byte; one that is not JSON, or
// has something else where hooks belong, is an error.
func Install(path, program string, o Options) (Change, error) {
	c, root, err := open(path)
	if err != nil {
		return c, err
	}
	if o.Config != "" { // the editor starts the hook in another directory
		if o.Config, err = filepath.Abs(o.Config); err != nil {
			return c, fmt.Errorf("find %s: %w", o.Config, err)
		}
	}
	want, err := entry(program, o)
	if err != nil {
		return c, fmt.Errorf("write the entry: %w", err)
	}
	if found := find(root, o.Editor); len(found) == 1 && found[0].alone && sameJSON(c.After[found[0].group.start:found[0].group.end], want) {
		return c, nil
	}
	if err := c.removeAll(o.Editor); err != nil {
		return c, err
	}
	keys := listOf[o.Editor]
	steps := []struct {
		keys  []string
		name  string
		value string
	}{
		{nil, "version", "1"}, // Cursor's alone
		{nil, keys[0], "{}"},
		{keys[:1], keys[1], "[]"},
		{keys[:], "", string(want)},
	}
	if o.Editor != Cursor {
		steps = steps[1:]
	}
	for _, step := range steps {
		if err := c.put(step.keys, step.name, []byte(step.value)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Uninstall is what takes the hook out of a settings file again.
func Uninstall(path string, e Editor) (Change, error) {
	c, root, err := open(path)
	if err != nil {
		return c, err
	}
	if len(find(root, e)) == 0 {
		c.After = c.Before
		return c, nil
	}
	return c, c.removeAll(e)
}

// open reads a settings file. One that isn't there is an empty object.
func open(path string) (Change, *node, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the file behind a link is changed, not the link
	}
	c := Change{Path: path, mode: 0o644} // it holds no secret
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.After = []byte("{}\n")
	case err != nil:
		return c, nil, fmt.Errorf("read the settings: %w", err)
	default:
		info, err := os.Stat(path)
		if err != nil {
			return c, nil, fmt.Errorf("read the settings: %w", err)
		}
		c.Before, c.After, c.mode = text, text, info.Mode().Perm()
	}
	if len(bytes.TrimSpace(c.After)) == 0 {
		c.After = []byte("{}\n")
	}
	root, err := parse(c.After)
	switch {
	case err != nil:
		return c, nil, fmt.Errorf("%s is not JSON, and is left alone; mend it first: %w", path, err)
	case root.kind != '{':
		return c, nil, fmt.Errorf("%s is not one JSON object, and is left alone", path)
	}
	return c, root, nil
}

// put adds a member to the object that keys lead to, unless it has one of that
// name, or without a name an element to the array there.
func (c *Change) put(keys []string, name string, value []byte) error {
	root, err := parse(c.After)
	if err != nil {
		return fmt.Errorf("read what was written: %w", err)
	}
	at := root
	for _, key := range keys {
		at = at.child(key)
	}
	kind, what := jsontext.Kind('{'), "an object"
	if name == "" {
		kind, what = '[', "an array"
	}
	if at.kind != kind {
		return fmt.Errorf("%s has something under %q that is not %s, and is left alone", c.Path, strings.Join(keys, "."), what)
	}
	if name != "" && at.child(name) != nil {
		return nil
	}
	pretty := jsontext.Value(bytes.Clone(value))
	if err := pretty.Indent(jsontext.WithIndent(indentOf(c.After))); err != nil {
		return fmt.Errorf("write the entry: %w", err)
	}
	if name != "" {
		pretty = append([]byte(`"`+name+`": `), pretty...)
	}
	c.After = at.with(c.After, len(keys), pretty)
	return nil
}

// place is where a handler of ours stands: itself and what holds it, up to the
// root.
type place struct {
	group *node // the element of the list
	index int   // its place in the list
	inner int   // the handler's place in its group, or -1 if it is the group
	alone bool  // the group holds nothing else
}

// find is where our handlers are.
func find(root *node, e Editor) (found []place) {
	at := root
	for _, key := range listOf[e] {
		if at = at.child(key); at == nil {
			return nil
		}
	}
	for i, group := range at.elements {
		if group.ours(e) {
			found = append(found, place{group, i, -1, true})
			continue
		}
		handlers := group.child("hooks")
		if handlers == nil {
			continue
		}
		for j, handler := range handlers.elements {
			if handler.ours(e) {
				found = append(found, place{group, i, j, len(handlers.elements) == 1})
			}
		}
	}
	return found
}

// removeAll takes our handlers out, and what is empty then.
func (c *Change) removeAll(e Editor) error {
	for {
		root, err := parse(c.After)
		if err != nil {
			return fmt.Errorf("read what was written: %w", err)
		}
		found := find(root, e)
		if len(found) == 0 {
			return nil
		}
		p, keys := found[0], listOf[e]
		hooks := root.child(keys[0])
		list := hooks.child(keys[1])
		switch {
		case !p.alone:
			c.After = p.group.child("hooks").without(c.After, p.inner)
		case len(list.elements) > 1:
			c.After = list.without(c.After, p.index)
		case len(hooks.members) > 1:
			c.After = hooks.without(c.After, hooks.position(keys[1]))
		default:
			c.After = root.without(c.After, root.position(keys[0]))
		}
	}
}

func (n *node) position(name string) int {
	for i, m := range n.members {
		if m.name == name {
			return i
		}
	}
	return -1
}

func sameJSON(a, b jsontext.Value) bool {
	a, b = a.Clone(), b.Clone()
	return a.Canonicalize() == nil && b.Canonicalize() == nil && bytes.Equal(a, b)
}

// Make writes the file as a whole and with the mode it had, so that an editor
// never reads half of it.
func (c Change) Make() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", c.Path, err)
		}
	}()
	if now, err := os.ReadFile(c.Path); !bytes.Equal(now, c.Before) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("it was changed meanwhile; try again"), err)
	}
	dir := filepath.Dir(c.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".behalf-*")
	if err != nil {
		return err
	}
	_, err = file.Write(c.After)
	if err = errors.Join(err, file.Chmod(c.mode), file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), c.Path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // it is of no use to anybody
	}
	return err
}

// around is how many lines of a file are shown around a change.
const around = 3

// Diff is the change as lines. It is one stretch: from the first line that
// differs to the last.
func (c Change) Diff() string {
	before, after := lines(c.Before), lines(c.After)
	same := 0
	for same < len(before) && same < len(after) && before[same] == after[same] {
		same++
	}
	tail := 0
	for tail < len(before)-same && tail < len(after)-same && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	var b strings.Builder
	from, to := max(0, same-around), min(len(before), len(before)-tail+around)
	fmt.Fprintf(&b, "--- %s\n+++ %s\n@@ -%d,%d +%d,%d @@\n", c.Path, c.Path, from+1, to-from, from+1, len(after)-len(before)+to-from)
	show := func(lead string, lines []string) {
		for _, line := range lines {
			b.WriteString(lead + line + "\n")
		}
	}
	show(" ", before[from:same])
	show("-", before[same:len(before)-tail])
	show("+", after[same:len(after)-tail])
	show(" ", before[len(before)-tail:to])
	return b.String()
}

func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
