package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

func decision(c *call) error {
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	r, err := c.Find(c.r.Context(), c.caller.Scope(), domain.RequestID(c.r.PathValue("request")))
	if err != nil {
		return err
	}
	body, err := handlers.EncodeDetail(nil, r)
	if err != nil {
		return err
	}
	send(c.w, http.StatusOK, body)
	return nil
}

func decisions(c *call) error {
	values, err := c.query("agentId", "outcome", "action", "since", "until", "limit", "cursor", "follow")
	if err != nil {
		return err
	}
	q, err := c.decisionQuery(values)
	if err != nil {
		return err
	}
	if err := c.Still(c.r.Context(), c.caller); err != nil {
		return err
	}
	switch values.Get("follow") {
	case "true":
		return c.follow(q)
	case "", "false":
	default:
		return domain.RejectField(domain.Invalid, "/follow", "must be true or false")
	}
	page, cursor, err := c.List(c.r.Context(), q)
	if err != nil {
		return err
	}
	type view struct {
		Decisions  []jsontext.Value `json:"decisions"`
		NextCursor string           `json:"nextCursor,omitempty"`
	}
	v := view{Decisions: []jsontext.Value{}, NextCursor: cursor}
	for _, r := range page {
		packet, err := handlers.EncodePacket(nil, r)
		if err != nil {
			return err
		}
		v.Decisions = append(v.Decisions, packet)
	}
	return c.answer(http.StatusOK, v)
}

func (c *call) decisionQuery(values url.Values) (q handlers.DecisionQuery, err error) {
	s, err := c.caller.Reads(domain.AgentID(values.Get("agentId")))
	if err != nil {
		return q, err
	}
	q = handlers.DecisionQuery{
		Account: s.Account, Agent: s.Agent,
		Outcome: domain.Outcome(values.Get("outcome")), Action: domain.Action(values.Get("action")),
		Cursor: values.Get("cursor"),
	}
	switch q.Outcome {
	case "", domain.OutcomeAllowed, domain.OutcomeDenied, domain.OutcomeRequiresApproval:
	default:
		return q, domain.RejectField(domain.Invalid, "/outcome", "must be allowed, denied or requires_approval")
	}
	if q.Limit, err = limitOf(values); err != nil {
		return q, err
	}
	if q.Since, err = timeOf(values, "since"); err != nil {
		return q, err
	}
	q.Until, err = timeOf(values, "until")
	return q, err
}

func timeOf(values url.Values, name string) (time.Time, error) {
	text := values.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UTC().Year() < 1970 {
		return t, domain.RejectField(domain.Invalid, "/"+name, "%q is not a time after 1970; send RFC 3339, such as 2027-01-01T00:00:00Z", text)
	}
	return t, nil
}

// heartbeat is how often a quiet stream sends an empty line, so that both ends
// notice when the other has gone.
const heartbeat = 10 * time.Second

// mostStreams bounds the streams one credential can have open: each costs the
// log a reader.
const mostStreams = 8

// enter counts a stream in, and returns what counts it out.
func (a *API) enter(credential domain.TokenHash) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams[credential] >= mostStreams {
		return nil, domain.Reject(domain.RateLimited, "this credential follows %d streams already; end one first", mostStreams)
	}
	a.streams[credential]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.streams[credential]--; a.streams[credential] == 0 {
			delete(a.streams, credential)
		}
	}, nil
}

// follow streams decisions as they are recorded, one JSON object a line, for as
// long as the caller's credential is good.
func (c *call) follow(q handlers.DecisionQuery) error {
	leave, err := c.api.enter(c.caller.Hash)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	defer context.AfterFunc(c.api.stopping, cancel)()
	out := &lines{rc: http.NewResponseController(c.w), w: c.w, now: c.Writer.Now}
	c.w.Header().Set("Content-Type", "application/x-ndjson")
	c.w.Header().Set("Cache-Control", "no-store")
	if err := out.write(nil); err != nil { // sends the header
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer cancel()
		out.beat(ctx, func() error { return c.Still(ctx, c.caller) })
	})
	err = c.Tail(ctx, q, func(r domain.Recorded) error {
		packet, err := handlers.EncodePacket(nil, r)
		if err != nil {
			return err
		}
		return out.write(packet)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
		// The header is out, so the error can't be shown; breaking off can.
		panic(http.ErrAbortHandler)
	}
	return nil
}

var errGone = errors.New("the reader has gone")

// lines writes whole lines from two goroutines.
type lines struct {
	mu sync.Mutex // one line at a time
	rc *http.ResponseController
	w  http.ResponseWriter

	now func() time.Time
}

func (l *lines) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A reader that takes nothing for this long is gone.
	_ = l.rc.SetWriteDeadline(l.now().Add(3 * heartbeat))
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return errGone
	}
	if err := l.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}

// beat writes empty lines until the reader has gone or still says that it may
// not read any more.
func (l *lines) beat(ctx context.Context, still func() error) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if errors.Is(still(), handlers.ErrCredential) || l.write(nil) != nil {
				return
			}
		}
	}
}
