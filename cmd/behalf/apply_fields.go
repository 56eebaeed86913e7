package main

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fieldChange is a field that gets another value; one is empty if it had none.
type fieldChange struct {
	Field string `json:"field"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
}

// fieldsOf are the fields in which two values differ, as JSON has them.
func fieldsOf(from, to any) ([]fieldChange, error) {
	old, err := flat(from)
	if err != nil {
		return nil, err
	}
	now, err := flat(to)
	if err != nil {
		return nil, err
	}
	var changed []fieldChange
	for _, f := range now {
		if was := value(old, f.Field); was != f.To {
			changed = append(changed, fieldChange{f.Field, was, f.To})
		}
	}
	for _, f := range old {
		if value(now, f.Field) == "" {
			changed = append(changed, fieldChange{f.Field, f.To, ""})
		}
	}
	return changed, nil
}

func value(fields []fieldChange, name string) string {
	for _, f := range fields {
		if f.Field == name {
			return f.To
		}
	}
	return ""
}

// flat are the members of a value, those of objects in it by a path.
func flat(v any) ([]fieldChange, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	root, err := readJSONTree("", text)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	return root.flat("", nil), nil
}

func (n *written) flat(path string, fields []fieldChange) []fieldChange {
	if n.kind != '{' {
		return append(fields, fieldChange{Field: path, To: n.plainly()})
	}
	for i, item := range n.items {
		fields = item.flat(strings.TrimPrefix(path+"/"+n.names[i], "/"), fields)
	}
	return fields
}

// plainly is a value for people: text as it is, where that is one line, and
// else as JSON.
func (n *written) plainly() string {
	if n.kind == '"' {
		if text := n.string(); text != "" && visible(text) == text {
			return text
		}
	}
	return string(n.json(jsontext.Value{}))
}
