package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// events streams public events, oldest first, one CloudEvent a line: all that
// there are, and with follow those that come.
func events(c *call) error {
	values, err := c.query("type", "agent", "since", "after", "follow")
	if err != nil {
		return err
	}
	q := projections.EventQuery{Types: listed(values.Get("type"))}
	for _, id := range listed(values.Get("agent")) {
		q.Agents = append(q.Agents, domain.AgentID(id))
	}
	if q.Since, err = timeOf(values, "since"); err != nil {
		return err
	}
	if after := values.Get("after"); after != "" {
		if q.After, err = projections.ParsePublicCursor(after); err != nil {
			return domain.RejectField(domain.Invalid, "/after", "is not a cursor; send one that an event or a packet carried")
		}
	}
	switch values.Get("follow") {
	case "", "false":
	case "true":
		q.Follow = true
		// Who says no more than that wants what comes.
		q.New = values.Get("since") == "" && values.Get("after") == ""
	default:
		return domain.RejectField(domain.Invalid, "/follow", "must be true or false")
	}
	leave, err := c.api.enter(c.caller.Hash)
	if err != nil {
		return err
	}
	defer leave()
	return c.stream(q)
}

// listed is a list that is given with commas.
func listed(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// stream sends events until there are no more, the reader has gone, or may not
// read them any more.
func (c *call) stream(q projections.EventQuery) error {
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	defer context.AfterFunc(c.api.stopping, cancel)()
	out := &lines{rc: http.NewResponseController(c.w), w: c.w, now: c.Writer.Now}
	check := q // what is wrong with it is said before anything is sent
	check.Follow, check.New = false, true
	if err := c.EventsFor(ctx, c.caller, check, func([]byte) error { return nil }); err != nil {
		return err
	}
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
	err := c.EventsFor(ctx, c.caller, q, out.write)
	if err != nil && !errors.Is(err, errGone) && (ctx.Err() == nil || !q.Follow) {
		// The header is out, so the error can't be shown; breaking off can. What
		// has an end must not seem to have come to it.
		panic(http.ErrAbortHandler)
	}
	return nil
}
