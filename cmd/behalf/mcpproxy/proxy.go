// Package mcpproxy stands between an MCP client and an MCP server that speak over
// standard input and output, and asks a Behalf server about each request that
// does something.
//
// It fails closed: such a request reaches the server only after a recorded allow
// of exactly it. A refusal is a JSON-RPC error that says whether it was a
// decision or the permission layer not answering. What it doesn't know it
// refuses, from the client; everything from the server it passes on as it came.
package mcpproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf"
	"github.com/behalf-platform/behalf/cmd/behalf/before"
)

// Proxy stands before one server.
type Proxy struct {
	// Server is the name that its tools are verified under.
	Server string
	Gate   Gate
	// FilterTools hides the tools that the passport denies from lists of them.
	FilterTools bool
	// Notes is told of each refusal, for a person; nothing of what was asked but
	// its name.
	Notes io.Writer
}

const (
	// mostMessage bounds a message of either side, in bytes.
	mostMessage = 32 << 20
	// mostWaiting bounds the requests that wait for their decision.
	mostWaiting = 128
)

// session is one connection through a proxy.
type session struct {
	*Proxy
	toServer, toClient *lines

	// ctx ends with the server, people with the client: nobody would hear of what
	// a person says later.
	ctx    context.Context
	people chan struct{}
	leave  func() // closes people

	// asking are the decisions on the client's messages, listing those on the
	// server's lists.
	asking, listing sync.WaitGroup

	mu sync.Mutex
	// over, waiting and lists are guarded by mu.
	over    bool                // whether no more decisions are begun
	waiting map[string]*waiting // by the id of the request
	lists   map[string]struct{} // ids of requests for lists of tools
}

// waiting is a request that is not passed on yet.
type waiting struct {
	stop      context.CancelFunc
	cancelled bool // by the client, who wants no answer any more
}

func (p *Proxy) open(ctx context.Context, toServer, toClient io.Writer) *session {
	people := make(chan struct{})
	return &session{
		Proxy: p, ctx: ctx, people: people, leave: sync.OnceFunc(func() { close(people) }), toServer: &lines{to: toServer}, toClient: &lines{to: toClient},
		waiting: map[string]*waiting{}, lists: map[string]struct{}{},
	}
}

// lines writes whole lines.
type lines struct {
	mu sync.Mutex
	to io.Writer // guarded by mu
}

func (l *lines) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.locked(line)
}

func (l *lines) locked(line []byte) error {
	_, err := l.to.Write(append(bytes.Clone(line), '\n')) // in one write, for a reader that takes one for a message
	return err
}

// read passes on what the client sends, until it ends or can't be passed on.
func (s *session) read(in io.Reader) error {
	from := bufio.NewReader(in)
	for {
		line, err := readLine(from)
		var f *fault
		switch {
		case errors.As(err, &f):
			s.answer(f.answer(nil))
			continue
		case len(bytes.TrimSpace(line)) > 0:
			if err := s.take(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from the client: %w", err)
		}
	}
}

// readLine reads a line without its end. One that is too long is skipped, and a
// fault.
func readLine(from *bufio.Reader) (line []byte, err error) {
	for long := false; ; {
		part, err := from.ReadSlice('\n')
		if long = long || len(line)+len(part) > mostMessage; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long && (err == nil || errors.Is(err, io.EOF)):
			return nil, faultf(codeInvalid, "The message is over %d bytes. Nothing was passed on.", mostMessage)
		default:
			return bytes.TrimSuffix(line, []byte("\n")), err
		}
	}
}

// take decides what becomes of a line of the client's. An error is a server that
// takes nothing any more.
func (s *session) take(line []byte) error {
	messages, batch, f := parse(line)
	switch {
	case f != nil && len(messages) == 1:
		s.answer(f.answer(messages[0].id))
		return nil
	case f != nil:
		s.answer(f.answer(nil))
		return nil
	}
	var held []*held
	for i := range messages {
		h, gone := s.weigh(&messages[i])
		if gone {
			continue
		}
		held = append(held, h)
	}
	if len(held) == len(messages) && !anyHeld(held) {
		return s.toServer.write(line) // as it came
	}
	return s.decide(held, batch)
}

// held is a message on its way, with what has to be allowed for it to go on.
type held struct {
	*message
	asks  []behalf.Ask
	place *waiting // where it waits, if it has to
	ctx   context.Context
	fault *fault
}

func anyHeld(list []*held) bool {
	for _, h := range list {
		if h.place != nil || h.fault != nil {
			return true
		}
	}
	return false
}

// weigh looks at one message. Gone is one that ends here and has no answer.
func (s *session) weigh(m *message) (h *held, gone bool) {
	list, f := asks(s.Server, m)
	h = &held{message: m, asks: list, fault: f}
	switch {
	case f != nil:
		s.note(m, f)
		return h, m.id == nil
	case m.method == "notifications/cancelled":
		return h, s.cancel(m)
	case m.method == "tools/list" && s.FilterTools:
		h.fault = s.list(m.id)
	case len(list) > 0:
		h.place, h.ctx, h.fault = s.queue(m.id)
	}
	return h, false
}

// list remembers a request whose answer is to be filtered.
func (s *session) list(id jsontext.Value) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, asked := s.lists[key(id)]; asked { // the second answer would pass as it comes
		return faultf(codeInvalid, "The message is refused: a request with its id waits for its answer.")
	}
	if len(s.lists) >= mostWaiting {
		return s.Gate.broken(fmt.Errorf("%d lists of tools are asked for already", mostWaiting))
	}
	s.lists[key(id)] = struct{}{}
	return nil
}

// queue makes a place for a request to wait for its decision.
func (s *session) queue(id jsontext.Value) (*waiting, context.Context, *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.waiting[key(id)] != nil:
		return nil, nil, faultf(codeInvalid, "The message is refused: a request with its id waits for its decision.")
	case len(s.waiting) >= mostWaiting:
		return nil, nil, s.Gate.broken(fmt.Errorf("%d requests wait for their decision already", mostWaiting))
	}
	ctx, stop := context.WithCancel(s.ctx)
	w := &waiting{stop: stop}
	s.waiting[key(id)] = w
	return w, ctx, nil
}

// cancel reports whether what the client cancels has not been passed on. Then it
// never is, and the server need not hear of either.
func (s *session) cancel(m *message) bool {
	params, err := objectOf(m.params)
	if err != nil || !isID(params["requestId"]) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[key(params["requestId"])]
	if w == nil {
		delete(s.lists, key(params["requestId"])) // which has no answer any more
		return false
	}
	w.cancelled = true
	w.stop()
	return true
}

// decide passes on those messages of a line that may pass, once all are decided,
// and answers the others. It doesn't wait for that.
func (s *session) decide(list []*held, batch bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	s.asking.Go(func() {
		var each sync.WaitGroup
		for _, h := range list {
			if h.place != nil {
				each.Go(func() { h.fault = s.Gate.allow(h.ctx, s.people, h.asks) })
			}
		}
		each.Wait()
		s.settle(list, batch)
	})
	return nil
}

// settle ends the waiting of messages.
func (s *session) settle(list []*held, batch bool) {
	// Held from before a place is free until its request is written: a cancellation
	// that finds no place comes after it.
	s.toServer.mu.Lock()
	var allowed, answers [][]byte
	for _, h := range list {
		switch {
		case s.free(h): // cancelled
		case h.fault == nil:
			allowed = append(allowed, h.text)
		case h.id != nil:
			answers = append(answers, h.fault.answer(h.id))
			if h.place != nil {
				s.note(h.message, h.fault)
			}
		}
	}
	if len(allowed) > 0 {
		_ = s.toServer.locked(together(allowed, batch)) // a server that takes nothing has ended, which ends the session
	}
	s.toServer.mu.Unlock()
	if len(answers) > 0 {
		s.answer(together(answers, batch))
	}
}

// free gives up a message's place and reports whether it was cancelled.
func (s *session) free(h *held) bool {
	if h.place == nil {
		return false
	}
	h.place.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, key(h.id))
	return h.place.cancelled
}

func together(messages [][]byte, batch bool) []byte {
	if !batch {
		return messages[0]
	}
	return append(append([]byte("["), bytes.Join(messages, []byte(","))...), ']')
}

// answer tells the client. One that doesn't listen any more has ended, and the
// end of what it sends ends the session.
func (s *session) answer(line []byte) { _ = s.toClient.write(line) }

// note tells a person of a refusal.
func (s *session) note(m *message, f *fault) {
	if s.Notes == nil {
		return
	}
	what := before.Plain(m.method)
	if list, err := asks(s.Server, m); err == nil && len(list) > 0 {
		what += " " + before.Plain(list[0].Resource)
	}
	if d, ok := f.Data.(decision); ok {
		what += ": " + d.Decision + " " + d.ReasonCode + " " + d.RequestID
	} else {
		what += ": " + f.Message
	}
	_, _ = fmt.Fprintln(s.Notes, "behalf: not passed on:", what) // it is not worth failing for
}

// end begins no more decisions, waits for people no more, and returns
// when all are made.
func (s *session) end() {
	s.leave()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.asking.Wait()
}
