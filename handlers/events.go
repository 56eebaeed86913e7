package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/projections"
)

// EventSource is the stream of public events.
type EventSource interface {
	// Read calls see with the events that are wanted, as CloudEvents in structured
	// JSON, those of an account in order, and returns when it has seen the last
	// there was when it began, or, with Follow, when ctx ends. An error of see
	// ends it and is returned. A query that can't be answered is a rejection.
	Read(ctx context.Context, q projections.EventQuery, see func(event []byte) error) error
}

// errNoEvents is for a node that was told to have none.
var errNoEvents = &Unavailable{Public: "public events are turned off on this node (--events off)"}

// EventsFor reads public events of the caller's account. Only members do: an
// agent has no right to what concerns others.
func (d *Desk) EventsFor(ctx context.Context, c Caller, q projections.EventQuery, see func(event []byte) error) error {
	m, err := c.AsMember(domain.RoleViewer)
	if err != nil {
		return err
	}
	if d.Events == nil {
		return errNoEvents
	}
	q.Account = m.Account
	if err := q.Check(); err != nil {
		return err
	}
	err = d.Events.Read(ctx, q, see)
	var refused *domain.RuleError
	var shown *Unavailable
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &refused), errors.As(err, &shown), errors.Is(err, ErrEnoughEvents):
		return err
	}
	return unavailable(err, "the public events could not be read; try again")
}

// ErrEnoughEvents ends a reading of events that has what it wants.
var ErrEnoughEvents = errors.New("enough events")

const (
	// mostEventsRead and mostEventBytes bound a page of events.
	mostEventsRead = 256
	mostEventBytes = 512 << 10
	longestEvents  = 30 * time.Second
)

// EventsAsk is a page of events that is asked for.
type EventsAsk struct {
	Types  []string         `json:"types"`
	Agents []domain.AgentID `json:"agents"`
	// After is the cursor of an event, or a packet's position. Since is a time.
	After string    `json:"after"`
	Since time.Time `json:"since"`
	// Limit is how many events are wanted at the most, 256 if 0.
	Limit int `json:"limit"`
	// Wait is how long to wait for the first one, if there is none yet.
	Wait domain.Duration `json:"wait"`
}

// EventPageFor reads a page of public events, and waits for the first one.
func (d *Desk) EventPageFor(ctx context.Context, c Caller, in EventsAsk) ([][]byte, error) {
	q := projections.EventQuery{Types: in.Types, Agents: in.Agents, Since: in.Since}
	if in.Limit == 0 {
		in.Limit = mostEventsRead
	}
	wait := time.Duration(in.Wait)
	switch {
	case in.Limit < 0 || in.Limit > mostEventsRead:
		return nil, domain.RejectField(domain.Invalid, "/limit", "is %d; use 1 to %d", in.Limit, mostEventsRead)
	case wait < 0 || wait > longestEvents:
		return nil, domain.RejectField(domain.Invalid, "/wait", "is %s; use 0s to %s", wait, longestEvents)
	}
	var err error
	if in.After != "" {
		if q.After, err = projections.ParsePublicCursor(in.After); err != nil {
			return nil, domain.RejectField(domain.Invalid, "/after", "is not a cursor; send one that an event or a packet carried")
		}
	}
	page, size := [][]byte{}, 0
	take := func(event []byte) error {
		if len(page) == in.Limit || len(page) > 0 && size+len(event) > mostEventBytes {
			return ErrEnoughEvents
		}
		page, size = append(page, event), size+len(event)
		if q.Follow {
			return ErrEnoughEvents
		}
		return nil
	}
	err = d.EventsFor(ctx, c, q, take)
	if err == nil && len(page) == 0 && wait > 0 {
		waiting, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		q.Follow = true
		if err = d.EventsFor(waiting, c, q, take); waiting.Err() != nil && ctx.Err() == nil {
			err = nil
		}
	}
	if errors.Is(err, ErrEnoughEvents) {
		err = nil
	}
	return page, err
}
