package hook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// node is a value of a JSON text and where it stands there, so that one value
// can be changed and every other byte kept.
type node struct {
	kind       jsontext.Kind
	start, end int
	members    []member // of an object
	elements   []*node  // of an array
	text       string   // of a string
}

type member struct {
	name  string
	start int // of its name
	value *node
}

// child is the member of a name, or nil.
func (n *node) child(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// word is the text of a member that is a string, or empty.
func (n *node) word(name string) string {
	if c := n.child(name); c != nil {
		return c.text
	}
	return ""
}

// parse reads one JSON text. It is as strict as the decoder: no name twice, no
// comments, nothing behind it.
func parse(text []byte) (*node, error) {
	p := parser{text: text, dec: jsontext.NewDecoder(bytes.NewReader(text))}
	root, err := p.value()
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is more behind the value, from byte %d on", root.end)
	}
	return root, nil
}

type parser struct {
	text []byte
	dec  *jsontext.Decoder
}

// next is where the next token begins.
func (p *parser) next() int {
	i := int(p.dec.InputOffset())
	for i < len(p.text) && strings.IndexByte(" \t\r\n,:", p.text[i]) >= 0 {
		i++
	}
	return i
}

func (p *parser) value() (*node, error) {
	n := &node{start: p.next()}
	token, err := p.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	n.kind = token.Kind()
	switch n.kind {
	case '"':
		n.text = token.String()
	case '{':
		err = p.members(n)
	case '[':
		err = p.elements(n)
	}
	n.end = int(p.dec.InputOffset())
	return n, err
}

func (p *parser) members(n *node) error {
	for p.dec.PeekKind() != '}' {
		m := member{start: p.next()}
		name, err := p.dec.ReadToken()
		if err != nil {
			return err
		}
		m.name = name.String()
		if m.value, err = p.value(); err != nil {
			return err
		}
		n.members = append(n.members, m)
	}
	_, err := p.dec.ReadToken()
	return err
}

func (p *parser) elements(n *node) error {
	for p.dec.PeekKind() != ']' {
		e, err := p.value()
		if err != nil {
			return err
		}
		n.elements = append(n.elements, e)
	}
	_, err := p.dec.ReadToken()
	return err
}

// spans are where the members or elements stand.
func (n *node) spans() (spans [][2]int) {
	for _, m := range n.members {
		spans = append(spans, [2]int{m.start, m.value.end})
	}
	for _, e := range n.elements {
		spans = append(spans, [2]int{e.start, e.end})
	}
	return spans
}

// without is the text without a member or element of n, the i-th.
func (n *node) without(text []byte, i int) []byte {
	spans := n.spans()
	from, to := n.start+1, n.end-1
	switch {
	case i > 0:
		from, to = spans[i-1][1], spans[i][1]
	case len(spans) > 1:
		from, to = spans[0][0], spans[1][0]
	}
	return splice(text, from, to, nil)
}

// with is the text with one more member or element in n, behind the others. Each
// is on a line of its own, indented as the file does it.
func (n *node) with(text []byte, depth int, more []byte) []byte {
	indent := indentOf(text)
	line := []byte("\n" + strings.Repeat(indent, depth+1))
	more = bytes.ReplaceAll(more, []byte("\n"), line)
	if spans := n.spans(); len(spans) > 0 {
		at := spans[len(spans)-1][1]
		return splice(text, at, at, append(append([]byte(","), line...), more...))
	}
	more = append(append(line, more...), []byte("\n"+strings.Repeat(indent, depth))...)
	return splice(text, n.start+1, n.end-1, more)
}

func splice(text []byte, from, to int, by []byte) []byte {
	out := append([]byte{}, text[:from]...)
	out = append(out, by...)
	return append(out, text[to:]...)
}

// usualIndent is that of a file which has no line to go by.
const usualIndent = "  "

// indentOf is what a file indents its first line with.
func indentOf(text []byte) string {
	_, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok {
		return usualIndent
	}
	indent := rest[:len(rest)-len(bytes.TrimLeft(rest, " \t"))]
	if len(indent) == 0 || len(indent) > 8 {
		return usualIndent
	}
	return string(indent)
}
