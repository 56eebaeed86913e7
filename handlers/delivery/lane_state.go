package delivery

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// State is what is kept of a lane, written in one piece, so that what is parked
// and how far the lane is are never at odds.
type State struct {
	// Epoch is the owner's. Whoever takes over writes a state with its own before
	// it sends anything, after which the one before it can't write any more.
	Epoch uint64 `json:"epoch"`
	// Cursor is the place up to which all is settled or parked.
	Cursor Place `json:"cursor"`
	// Ahead are places after it that are settled or parked too.
	Ahead  []Place  `json:"ahead,omitempty"`
	Parked []Parked `json:"parked,omitempty"`
	// Since is when the endpoint began to fail, Warned how often that was
	// reported, and Pauses how often the pause was doubled when it is held.
	Since       time.Time `json:"since,omitzero"`
	Warned      int       `json:"warned,omitzero"`
	Pauses      int       `json:"pauses,omitzero"`
	PausedUntil time.Time `json:"pausedUntil,omitzero"`
	// Stopped is that the endpoint is to be disabled. Why and Status are those of
	// the last attempt.
	Stopped bool     `json:"stopped,omitzero"`
	Why     Category `json:"why,omitzero"`
	Status  int      `json:"status,omitzero"`
	Totals  Totals   `json:"totals,omitzero"`
	// Oldest is when the oldest message happened that was not settled then.
	Oldest time.Time `json:"oldest,omitzero"`
	// Revision is that of the endpoint, and At when the state was written.
	Revision uint64    `json:"revision,omitzero"`
	At       time.Time `json:"at,omitzero"`
	// Faded are records that the lane has passed, of which some had gone from the
	// log, and which is not reported yet.
	Faded span `json:"faded,omitzero"`
	// Told is up to which record such were reported.
	Told uint64 `json:"told,omitzero"`
	// Ended is that a replay has nothing left to do.
	Ended bool `json:"ended,omitzero"`
}

// Parked is a message that was put aside.
type Parked struct {
	Place
	ID       string         `json:"id,omitzero"`
	Type     string         `json:"type,omitzero"`
	Agent    domain.AgentID `json:"agent,omitzero"`
	At       time.Time      `json:"at,omitzero"`
	Tries    int            `json:"tries,omitzero"`
	Refusals int            `json:"refusals,omitzero"`
	Due      time.Time      `json:"due,omitzero"`
}

func (s State) encode() ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the state of a lane: %w", err)
	}
	return raw, nil
}

func decodeState(raw []byte) (s State, err error) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("decode the state of a lane: %w", err)
	}
	return s, nil
}

// state is what is to be kept of the lane.
func (l *lane) state() State {
	s := State{
		Cursor: l.cursor(), Since: l.since, Warned: l.warned, Totals: l.totals, Oldest: l.oldest(), Stopped: l.stopped,
		Why: l.last.Category, Status: l.last.Status,
	}
	if l.held {
		s.Pauses = l.pauses
	}
	s.PausedUntil = l.pausedUntil
	for _, it := range l.queue {
		if it.passed {
			s.Ahead = append(s.Ahead, it.place)
		}
	}
	for p := range l.known {
		s.Ahead = append(s.Ahead, p)
	}
	slices.SortFunc(s.Ahead, Place.Compare)
	for _, it := range l.parked {
		s.Parked = append(s.Parked, Parked{
			Place: it.place, ID: it.id, Type: it.kind, Agent: it.agent, At: it.at, Tries: it.tries, Refusals: it.refusals, Due: it.due,
		})
	}
	return s
}

// restore goes on with what was kept. A lane whose endpoint has changed since
// then forgets that it was held: somebody may have mended it.
func (l *lane) restore(s State, changed bool, now time.Time) {
	l.seen, l.totals = s.Cursor, s.Totals
	for _, p := range s.Ahead {
		l.known[p] = true
	}
	for _, p := range s.Parked {
		it := &item{
			place: p.Place, id: p.ID, kind: p.Type, agent: p.Agent, at: p.At, tries: p.Tries, refusals: p.Refusals, due: p.Due,
			parked: true, passed: true,
		}
		if p.Compare(l.seen) > 0 {
			l.known[p.Place] = true
		}
		l.parked = append(l.parked, it)
		l.lineUp(it)
	}
	if changed {
		return
	}
	l.since, l.warned, l.pausedUntil = s.Since, s.Warned, s.PausedUntil
	l.last = Result{Category: s.Why, Status: s.Status}
	if s.Stopped { // whether that was reported isn't known
		l.stop(l.last, now)
	}
	if s.Pauses > 0 {
		l.held, l.pauses, l.probeAt = true, s.Pauses, now
	}
}
