package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fromServer takes what the server writes and passes it on line by line, as it
// came. Only lists of tools are looked at, if they are to be filtered.
type fromServer struct {
	*session
	line   []byte     // what has come of a line
	broken chan error // told, if there is room, why no more is passed on
}

// errTooLong ends a server whose message is too long to be held.
var errTooLong = fmt.Errorf("the server sent a message of over %d bytes", mostMessage)

func (w *fromServer) Write(p []byte) (n int, err error) {
	defer func() {
		if err != nil {
			w.line = nil // a part of it is no message
			select {
			case w.broken <- err:
			default:
			}
		}
	}()
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(w.line)+len(part) > mostMessage {
			return 0, errTooLong
		}
		w.line = append(w.line, part...)
		if whole {
			if err := w.pass(w.line); err != nil {
				return 0, fmt.Errorf("write to the client: %w", err)
			}
			w.line = nil
		}
		rest = after
	}
	return len(p), nil
}

// flush passes on a last line that has no end.
func (w *fromServer) flush() {
	if len(w.line) > 0 {
		_ = w.pass(w.line) // a client that is gone misses nothing
	}
	w.line = nil
}

func (w *fromServer) pass(line []byte) error {
	if !w.FilterTools || !w.hasList(line) {
		return w.toClient.write(line)
	}
	line = bytes.Clone(line)
	w.listing.Go(func() { w.answer(w.filtered(line)) })
	return nil
}

// hasList reports whether a line answers a request for a list of tools, alone or
// in a batch.
func (s *session) hasList(line []byte) bool {
	s.mu.Lock()
	none := len(s.lists) == 0
	s.mu.Unlock()
	if none {
		return false
	}
	line = bytes.TrimSpace(line)
	if !bytes.HasPrefix(line, []byte("[")) {
		return s.isList(line)
	}
	elements, err := elementsOf(line)
	for _, element := range elements {
		if err == nil && s.isList(element) {
			return true
		}
	}
	return false
}

func (s *session) isList(line []byte) bool {
	fields, ok := response(line)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok = s.lists[key(fields["id"])]
	return ok
}

// response are the members of a response of the server's.
func response(line []byte) (map[string]jsontext.Value, bool) {
	if !jsontext.Value(line).IsValid() {
		return nil, false
	}
	fields, err := objectOf(line)
	return fields, err == nil && fields["method"] == nil && fields["id"] != nil
}

// filtered is a line with the lists of tools in it as the passport has them. One
// that can't be filtered is an error in its place.
func (s *session) filtered(line []byte) []byte {
	line = bytes.TrimSpace(line)
	if !bytes.HasPrefix(line, []byte("[")) {
		return s.filteredOne(line)
	}
	elements, err := elementsOf(line)
	if err != nil {
		return s.Gate.broken(err).answer(nil)
	}
	var each [][]byte
	for _, element := range elements {
		if s.isList(element) {
			element = s.filteredOne(element)
		}
		each = append(each, element)
	}
	return together(each, true)
}

func (s *session) filteredOne(line jsontext.Value) []byte {
	fields, _ := response(line)
	id := fields["id"]
	s.mu.Lock()
	delete(s.lists, key(id))
	s.mu.Unlock()
	out, err := s.withoutDenied(line)
	if err != nil {
		return s.Gate.broken(err).answer(id)
	}
	return out
}

// withoutDenied is a response without the tools that the passport denies. All
// else of it stays as it was written.
func (s *session) withoutDenied(line jsontext.Value) ([]byte, error) {
	return replace(line, "result", func(result jsontext.Value) ([]byte, error) {
		return replace(result, "tools", func(tools jsontext.Value) ([]byte, error) {
			if tools.Kind() != '[' {
				return nil, errors.New("the server's list of tools is not a list")
			}
			each, err := elementsOf(tools)
			if err != nil {
				return nil, err
			}
			kept, err := s.allowedTools(each)
			return together(kept, true), err
		})
	})
}

// mostTools bounds the tools that are asked about for one list, and asksAtOnce
// how many of them at the same time.
const (
	mostTools  = 1000
	asksAtOnce = 8
	listTime   = 30 * time.Second
)

func (s *session) allowedTools(tools []jsontext.Value) ([][]byte, error) {
	if len(tools) > mostTools {
		return nil, fmt.Errorf("the server lists %d tools; at most %d are asked about", len(tools), mostTools)
	}
	ctx, cancel := context.WithTimeout(s.ctx, max(listTime, s.Gate.Timeout))
	defer cancel()
	var each sync.WaitGroup
	slots := make(chan struct{}, asksAtOnce)
	would, faults := make([]bool, len(tools)), make([]error, len(tools))
	for i, tool := range tools {
		slots <- struct{}{}
		each.Go(func() {
			defer func() { <-slots }()
			would[i], faults[i] = s.wouldTool(ctx, tool)
		})
	}
	each.Wait()
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("the tools can't be filtered: %w", err)
	}
	var kept [][]byte
	for i, tool := range tools {
		if would[i] {
			kept = append(kept, tool)
		}
	}
	return kept, nil
}

func (s *session) wouldTool(ctx context.Context, tool jsontext.Value) (bool, error) {
	fields, err := objectOf(tool)
	if err != nil {
		return false, err
	}
	name, err := text(fields, "name")
	if err != nil {
		return false, fmt.Errorf("a tool's %w", err)
	}
	return s.Gate.would(ctx, Resource(s.Server, name))
}

// replace is an object with one member changed, if it has it. The others stay in
// their order and as they were written.
func replace(object jsontext.Value, name string, change func(jsontext.Value) ([]byte, error)) ([]byte, error) {
	if object.Kind() != '{' {
		return nil, errors.New("the server's answer is not an object")
	}
	members, err := membersOf(object)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		if m.name == name {
			if m.value, err = change(m.value); err != nil {
				return nil, err
			}
		}
		quoted, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, quoted...), ':'), m.value...)
	}
	return append(append([]byte("{"), out...), '}'), nil
}
