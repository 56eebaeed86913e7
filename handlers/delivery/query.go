package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Status is how an endpoint's lane is.
type Status struct {
	// State is "flowing", "paused" as it asked, "held" while it is down,
	// "stopped" when it is to be disabled, or "new".
	State string
	// Cursor is the place up to which everything is settled or parked, and Behind
	// how many records the log has after it.
	Cursor Place
	Behind uint64
	Parked []Parked
	Totals Totals
	// Oldest is when the oldest message happened that is not settled, or zero.
	Oldest time.Time
	// Since is when the endpoint began to fail, Why and Status how it did last.
	Since       time.Time
	Why         Category
	Status      int
	PausedUntil time.Time
	// At is of when this is: of now on the node that delivers, else of when the
	// state was last written.
	At time.Time
}

// Status reads how an endpoint's lane is.
func (e *Engine) Status(ctx context.Context, account domain.AccountID, endpoint EndpointID) (Status, error) {
	partition := e.partitionOf(account)
	key := laneKey(partition, Endpoint{Account: account, ID: endpoint}, "")
	s, err := e.stateOf(ctx, key)
	if errors.Is(err, domain.ErrNotRecorded) {
		return Status{State: "new"}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("read the state of %s: %w", endpoint, err)
	}
	status := Status{
		State: "flowing", Cursor: s.Cursor, Parked: s.Parked, Totals: s.Totals, Oldest: s.Oldest, Since: s.Since,
		Why: s.Why, Status: s.Status, PausedUntil: s.PausedUntil, At: s.At,
	}
	switch {
	case s.Stopped:
		status.State = "stopped"
	case s.Pauses > 0:
		status.State = "held"
	case e.Now().Before(s.PausedUntil):
		status.State = "paused"
	}
	_, newest, err := e.Source.Bounds(ctx, partition)
	if err != nil {
		return Status{}, fmt.Errorf("read the bounds of the log: %w", err)
	}
	status.Behind = newest - min(newest, s.Cursor.Seq)
	return status, nil
}

// stateOf asks the lane itself, if it is here, or reads what is kept.
func (e *Engine) stateOf(ctx context.Context, key string) (State, error) {
	var here *runner
	e.each(func(r *runner) {
		if r.key == key {
			here = r
		}
	})
	if here != nil {
		ask := make(chan State, 1)
		select {
		case here.asks <- ask:
			return <-ask, nil
		case <-here.done:
		case <-ctx.Done():
			return State{}, ctx.Err()
		}
	}
	raw, _, err := e.Store.Value(ctx, key)
	if err != nil {
		return State{}, err
	}
	return decodeState(raw)
}

// Logged is an attempt with its place in the log of attempts.
type Logged struct {
	Attempt
	Outcome string
	// Cursor, as Before of another question, goes on with those before this one.
	Cursor uint64
}

// Question says which attempts to read.
type Question struct {
	Account  domain.AccountID
	Endpoint EndpointID
	// Outcomes narrows it; empty is all.
	Outcomes []string
	// Replay narrows it to those of a replay, Message to those of a message.
	Replay, Message string
	// Before is the Cursor of the last one that was read, or 0.
	Before uint64
	// Most is how many to return.
	Most int
}

// mostLooked bounds how many attempts are looked at to find those of a message or
// a replay: all that are kept, or a page could be empty before the last one. Few
// pages of them are read, of mostPage.
const (
	mostLooked = 3 * 10_000
	mostPage   = 2_000
)

// Attempts reads the attempts of an endpoint, the newest first.
func (e *Engine) Attempts(ctx context.Context, q Question) (found []Logged, err error) {
	outcomes := q.Outcomes
	if len(outcomes) == 0 {
		outcomes = []string{OutcomeOK, OutcomeFailed, OutcomeDead}
	}
	before, page := q.Before, max(q.Most, 100)
	if q.Replay != "" || q.Message != "" {
		page = mostPage
	}
	for looked := 0; len(found) < q.Most && looked < mostLooked; {
		n := 0
		err := e.Store.Attempts(ctx, q.Account, string(q.Endpoint), outcomes, before, page,
			func(seq uint64, outcome string, raw []byte) error {
				n++
				before = seq
				a := Logged{Outcome: outcome, Cursor: seq}
				if err := json.Unmarshal(raw, &a.Attempt); err != nil {
					return fmt.Errorf("decode attempt %d: %w", seq, err)
				}
				wanted := (q.Replay == "" || a.Replay == q.Replay) && (q.Message == "" || a.Message == q.Message)
				if wanted && len(found) < q.Most {
					found = append(found, a)
				}
				return nil
			})
		if err != nil {
			return nil, fmt.Errorf("read the attempts of %s: %w", q.Endpoint, err)
		}
		if looked += n; n == 0 {
			break
		}
	}
	return found, nil
}

// DeadLetters are the messages that were given up and not delivered since, the
// newest first, each with its last attempt: of those before a cursor (0: all), at
// most so many. It is known of attempts that are still kept.
func (e *Engine) DeadLetters(ctx context.Context, account domain.AccountID, endpoint EndpointID, before uint64, most int) (found []Logged, err error) {
	some, err := e.Attempts(ctx, Question{Account: account, Endpoint: endpoint, Outcomes: []string{OutcomeDead}, Before: before, Most: 1})
	if err != nil || len(some) == 0 { // which it mostly is, and the rest takes a while
		return nil, err
	}
	ended := map[string]bool{} // messages of which a later attempt says what became of them
	for at, more := uint64(0), true; more && len(found) < most; {
		more = false
		err := e.Store.Attempts(ctx, account, string(endpoint), []string{OutcomeOK, OutcomeDead}, at, mostPage,
			func(seq uint64, outcome string, raw []byte) error {
				at, more = seq, true
				a := Logged{Outcome: outcome, Cursor: seq}
				if err := json.Unmarshal(raw, &a.Attempt); err != nil {
					return fmt.Errorf("decode attempt %d: %w", seq, err)
				}
				if outcome == OutcomeDead && !ended[a.Message] && (before == 0 || seq < before) && len(found) < most {
					found = append(found, a)
				}
				ended[a.Message] = true
				return nil
			})
		if err != nil {
			return nil, fmt.Errorf("read the dead letters of %s: %w", endpoint, err)
		}
	}
	return found, nil
}

// DeadPlaces are the places of what was given up since a time, and before another
// one unless that is zero, to be replayed.
func (e *Engine) DeadPlaces(ctx context.Context, account domain.AccountID, endpoint EndpointID, since, until time.Time) ([]Place, error) {
	dead, err := e.DeadLetters(ctx, account, endpoint, 0, mostPlaces)
	if err != nil {
		return nil, err
	}
	var places []Place
	for _, a := range dead {
		if !a.At.Before(since) && (until.IsZero() || a.At.Before(until)) {
			places = append(places, Place{a.Seq, a.Index})
		}
	}
	return places, nil
}
