package behalf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Cursors keeps how far a subscription has come: in a file (see [CursorFile]),
// or in your database, in one transaction with what the events change there,
// which makes them count once.
type Cursors interface {
	// Load returns what was saved last, "" for nothing yet.
	Load(ctx context.Context) (string, error)
	// Save keeps a text of at most 64 bytes.
	Save(ctx context.Context, cursor string) error
}

// CursorFile keeps how far a subscription has come in a file of this name.
type CursorFile string

// Load reads the file.
func (f CursorFile) Load(context.Context) (string, error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// Save replaces the file: whoever reads it sees what was there or what is.
func (f CursorFile) Save(_ context.Context, cursor string) error {
	t, err := os.CreateTemp(filepath.Dir(string(f)), filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	_, err = t.WriteString(cursor + "\n")
	if err == nil {
		err = t.Sync()
	}
	err = errors.Join(err, t.Close())
	if err == nil {
		err = os.Rename(t.Name(), string(f))
	}
	if err != nil {
		return errors.Join(err, os.Remove(t.Name()))
	}
	return nil
}

// From says where a subscription begins when its Cursors hold nothing yet: at
// Since, After a cursor, at the Beginning of what is kept, or, if nothing is
// said, now, by this machine's clock.
type From struct {
	// Cursors may be nil for a subscription that is forgotten when it ends.
	Cursors   Cursors
	Since     time.Time
	After     string
	Beginning bool
}

// EventFilter says which events are wanted, as in [EventQuery].
type EventFilter struct {
	Types  []string
	Agents []string
}

// saveEvery bounds how often a cursor is saved, and firstPause and longestPause
// how soon a stream that broke is asked for again.
const (
	saveEvery    = 100 * time.Millisecond
	firstPause   = 100 * time.Millisecond
	longestPause = 15 * time.Second
)

// Subscribe calls handle with each public event, one at a time and in order,
// until ctx is done or handle returns an error; it returns that error. It
// connects again by itself, and goes on after the newest event that was handled,
// also in a process that is started again with the same Cursors. Each event
// comes at least once: those that were handled last before a process was killed
// come again. What the server refuses, such as a cursor of events that are not
// kept any more, is an error.
func (c *Client) Subscribe(ctx context.Context, from From, filter EventFilter, handle func(context.Context, Event) error) error {
	s := &subscription{client: c, cursors: from.Cursors, handle: handle}
	if err := s.begin(ctx, from); err != nil {
		return err
	}
	s.query.Types, s.query.Agents, s.query.Follow = filter.Types, filter.Agents, true
	err := s.run(ctx)
	return errors.Join(err, s.save(context.WithoutCancel(ctx), true))
}

// subscription is one on its way.
type subscription struct {
	client  *Client
	cursors Cursors
	handle  func(context.Context, Event) error
	query   EventQuery // where to go on
	saved   string
	savedAt time.Time
}

// begin finds out where to go on. Where nothing was saved, the place to begin is
// saved, so that what comes before the first event was handled isn't missed.
func (s *subscription) begin(ctx context.Context, from From) error {
	if s.cursors != nil {
		cursor, err := s.cursors.Load(ctx)
		if err != nil {
			return fmt.Errorf("load the cursor: %w", err)
		}
		if cursor != "" {
			s.saved = cursor
			return s.resume(cursor)
		}
	}
	switch {
	case from.After != "":
		s.query.After = from.After
	case !from.Since.IsZero():
		s.query.Since = from.Since
	case from.Beginning:
		s.query.Since = time.Unix(0, 0)
	default:
		s.query.Since = time.Now()
	}
	return s.save(ctx, true)
}

// A cursor that begins with this is the time of the least event.
const sincePrefix = "since="

func (s *subscription) resume(cursor string) (err error) {
	text, isTime := strings.CutPrefix(cursor, sincePrefix)
	if !isTime {
		s.query.After = cursor
		return nil
	}
	if s.query.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return fmt.Errorf("the cursor %q that was saved: %w", cursor, err)
	}
	return nil
}

// save saves how far it has come, now and then.
func (s *subscription) save(ctx context.Context, now bool) error {
	cursor := s.query.After
	if cursor == "" {
		cursor = sincePrefix + s.query.Since.UTC().Format(time.RFC3339Nano)
	}
	if s.cursors == nil || cursor == s.saved || !now && time.Since(s.savedAt) < saveEvery {
		return nil
	}
	if err := s.cursors.Save(ctx, cursor); err != nil {
		return fmt.Errorf("save the cursor: %w", err)
	}
	s.saved, s.savedAt = cursor, time.Now()
	return nil
}

func (s *subscription) run(ctx context.Context) error {
	for pause := firstPause; ; {
		before := s.query.After
		mine, err := s.follow(ctx)
		switch {
		case mine:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, ErrUnavailable):
			return err
		}
		if s.query.After != before {
			pause = firstPause
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, longestPause)
	}
}

// follow handles events until the stream breaks, and reports whether it ended on
// this side, with an error of the handler's or of the cursor's.
func (s *subscription) follow(ctx context.Context) (mine bool, err error) {
	for e, err := range s.client.Events(ctx, s.query) {
		if err != nil {
			return false, err
		}
		if err := s.handle(ctx, e); err != nil {
			return true, err
		}
		s.query.After, s.query.Since = e.Cursor, time.Time{}
		if err := s.save(ctx, false); err != nil {
			return true, err
		}
	}
	return false, nil
}
