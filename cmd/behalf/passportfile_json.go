package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

func readJSONTree(name string, text []byte) (*written, error) {
	t := jsonReader{name: name, text: text, line: 1, dec: jsontext.NewDecoder(strings.NewReader(string(text)))}
	root, err := t.read(0)
	if err == nil {
		if _, end := t.dec.ReadToken(); end == nil {
			err = &fileFault{name, t.place(), "holds more than one value"}
		}
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		line := 1 + strings.Count(string(text[:min(e.ByteOffset, int64(len(text)))]), "\n")
		what := "is not JSON"
		if errors.Is(err, jsontext.ErrDuplicateName) {
			what = fmt.Sprintf("%q is here twice", e.JSONPointer.LastToken())
		} else if e.Err != nil {
			what += ": " + strings.TrimPrefix(e.Err.Error(), "jsontext: ")
		}
		return nil, &fileFault{name, line, what}
	}
	if err != nil {
		if _, ok := errors.AsType[*fileFault](err); !ok {
			err = &fileFault{name, t.place(), "is not whole"}
		}
		return nil, err
	}
	return root, nil
}

// jsonReader counts lines while it reads.
type jsonReader struct {
	name string
	text []byte
	dec  *jsontext.Decoder
	line int
	seen int64 // bytes whose lines are counted
}

// place is the line of what was read last.
func (t *jsonReader) place() int {
	at := t.dec.InputOffset()
	t.line += strings.Count(string(t.text[t.seen:at]), "\n")
	t.seen = at
	return t.line
}

func (t *jsonReader) read(depth int) (*written, error) {
	if depth > deepest {
		return nil, &fileFault{t.name, t.place(), fmt.Sprintf("is nested more than %d levels deep", deepest)}
	}
	token, err := t.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	n := &written{line: t.place(), kind: token.Kind()}
	switch n.kind {
	case '{':
		for t.dec.PeekKind() != '}' {
			name, err := t.dec.ReadToken()
			if err != nil {
				return nil, err
			}
			n.names, n.lines = append(n.names, name.String()), append(n.lines, t.place())
			if err := t.item(n, depth); err != nil {
				return nil, err
			}
		}
	case '[':
		for t.dec.PeekKind() != ']' {
			if err := t.item(n, depth); err != nil {
				return nil, err
			}
		}
	case '"':
		n.scalar, err = jsontext.AppendQuote(nil, token.String())
		return n, err
	default:
		n.scalar = jsontext.Value(token.String())
		return n, nil
	}
	_, err = t.dec.ReadToken() // the end of the object or list
	return n, err
}

func (t *jsonReader) item(n *written, depth int) error {
	item, err := t.read(depth + 1)
	n.items = append(n.items, item)
	return err
}
