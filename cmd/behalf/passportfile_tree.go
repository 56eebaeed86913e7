package main

import (
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// written is a JSON value that knows at which line of a file it was written, be
// that in JSON or in YAML. Whatever YAML can say and JSON can't is refused, so
// that a file means what the API would make of the same JSON.
type written struct {
	line int
	// kind is that of JSON: '{', '[', '"', '0', 't', 'f' or 'n'.
	kind jsontext.Kind
	// scalar is the JSON of what is neither an object nor a list.
	scalar jsontext.Value
	// names and lines are of an object's members, items the values of them or of
	// a list.
	names []string
	lines []int
	items []*written
}

// deepest bounds how values are nested. Terms need eight levels.
const deepest = 32

// readTree reads a file as JSON if it is JSON, or should be, and else as YAML.
func readTree(name string, text []byte) (*written, error) {
	if filepath.Ext(name) == ".json" || jsontext.Value(text).IsValid() {
		return readJSONTree(name, text)
	}
	return readYAMLTree(name, text)
}

// json appends the value.
func (n *written) json(b []byte) jsontext.Value {
	switch n.kind {
	case '{':
		b = append(b, '{')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b, _ = jsontext.AppendQuote(b, n.names[i]) // it was read from valid text
			b = item.json(append(b, ':'))
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.json(b)
		}
		return append(b, ']')
	}
	return append(b, n.scalar...)
}

// string is the text of a value that is text.
func (n *written) string() string {
	b, err := jsontext.AppendUnquote(nil, n.scalar)
	if err != nil {
		return ""
	}
	return string(b)
}

// member is a member of an object, or nil.
func (n *written) member(name string) *written {
	if i := slices.Index(n.names, name); i >= 0 {
		return n.items[i]
	}
	return nil
}

// without is the object without some of its members.
func (n *written) without(names ...string) *written {
	rest := &written{line: n.line, kind: n.kind, scalar: n.scalar}
	for i, item := range n.items {
		if i < len(n.names) {
			if slices.Contains(names, n.names[i]) {
				continue
			}
			rest.names, rest.lines = append(rest.names, n.names[i]), append(rest.lines, n.lines[i])
		}
		rest.items = append(rest.items, item)
	}
	return rest
}

// find is the line of what a JSON pointer leads to, or of the nearest thing
// around it that is there.
func (n *written) find(pointer string) int {
	line := n.line
	for token := range jsontext.Pointer(pointer).Tokens() {
		i := slices.Index(n.names, token)
		if n.kind == '[' {
			var err error
			if i, err = strconv.Atoi(token); err != nil || i >= len(n.items) {
				i = -1
			}
		}
		switch {
		case i < 0:
			return line
		case n.kind == '{':
			line = n.lines[i]
		default:
			line = n.items[i].line
		}
		n = n.items[i]
	}
	return line
}
