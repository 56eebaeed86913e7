package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"
)

func readYAMLTree(name string, text []byte) (*written, error) {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		return nil, yamlFault(name, err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, &fileFault{name, 0, "holds nothing"}
	}
	var t yamlReader
	root := t.read(doc.Content[0], 0)
	for _, f := range t.faults {
		f.file = name
	}
	if len(t.faults) > 0 {
		return nil, joined(t.faults)
	}
	return root, nil
}

// yamlFault is the library's complaint with the place where ours have it.
func yamlFault(name string, err error) error {
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		text := e.Message
		if strings.Contains(text, "multiple") {
			text = "holds more than one document; write one file for each"
		}
		if strings.Contains(text, "no documents") {
			text = "holds nothing"
		}
		return &fileFault{name, e.Mark.Line, text}
	}
	return &fileFault{name, 0, err.Error()}
}

// yamlReader makes JSON of YAML, and collects what has no JSON.
type yamlReader struct{ faults []*fileFault }

func (t *yamlReader) fault(y *yaml.Node, format string, args ...any) {
	t.faults = append(t.faults, &fileFault{line: y.Line, text: fmt.Sprintf(format, args...)})
}

// read never follows an alias, so that a small file stays small.
func (t *yamlReader) read(y *yaml.Node, depth int) *written {
	n := &written{line: y.Line, kind: 'n', scalar: jsontext.Value("null")}
	switch {
	case depth > deepest:
		t.fault(y, "is nested more than %d levels deep", deepest)
	case y.Kind == yaml.AliasNode || y.Anchor != "":
		t.fault(y, "has an anchor or an alias (& or *); write the value itself, in quotes if that is its text")
	case y.Style&yaml.TaggedStyle != 0:
		t.fault(y, "has the tag %s; leave it out", y.Tag)
	case y.Kind == yaml.MappingNode:
		t.object(n, y, depth)
	case y.Kind == yaml.SequenceNode:
		n.kind, n.scalar = '[', nil
		for _, item := range y.Content {
			n.items = append(n.items, t.read(item, depth+1))
		}
	default:
		t.scalar(n, y)
	}
	return n
}

func (t *yamlReader) object(n *written, y *yaml.Node, depth int) {
	n.kind, n.scalar = '{', nil
	for i := 0; i+1 < len(y.Content); i += 2 {
		name, value := y.Content[i], y.Content[i+1]
		switch first := slices.Index(n.names, name.Value); {
		case name.Kind != yaml.ScalarNode || name.Anchor != "" || name.Style&yaml.TaggedStyle != 0 || name.ShortTag() != "!!str":
			t.fault(name, "a field is named by plain text, not by %q", name.Value)
			continue
		case first >= 0:
			t.fault(name, "%q is here twice; the first is at line %d", name.Value, n.lines[first])
			continue
		}
		n.names, n.lines = append(n.names, name.Value), append(n.lines, name.Line)
		n.items = append(n.items, t.read(value, depth+1))
	}
}

func (t *yamlReader) scalar(n *written, y *yaml.Node) {
	text := jsontext.Value(y.Value)
	switch y.ShortTag() {
	case "!!str", "!!timestamp":
		quoted, err := jsontext.AppendQuote(nil, y.Value)
		if err != nil {
			t.fault(y, "is not UTF-8")
			return
		}
		n.kind, n.scalar = '"', quoted
	case "!!null":
	case "!!bool":
		n.scalar = jsontext.Value(strings.ToLower(y.Value))
		n.kind = n.scalar.Kind()
	case "!!int", "!!float":
		if text.Kind() != '0' || !text.IsValid() {
			t.fault(y, "%s is not a number as JSON has them; write plain digits, or put text in quotes", y.Value)
			return
		}
		n.kind, n.scalar = '0', text
	default:
		t.fault(y, "is of the type %s, which is not taken", y.ShortTag())
	}
}

// yaml is the value for the library to write.
func (n *written) yaml() *yaml.Node {
	switch n.kind {
	case '{':
		y := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i, item := range n.items {
			y.Content = append(y.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.names[i]}, item.yaml())
		}
		return y
	case '[':
		y := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range n.items {
			y.Content = append(y.Content, item.yaml())
			if item.kind == '{' || item.kind == '[' {
				continue
			}
			y.Style = yaml.FlowStyle // short lists stay on their line
		}
		return y
	case '"':
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.string()}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: string(n.scalar)}
}

func joined(faults []*fileFault) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}
