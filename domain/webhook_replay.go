package domain

import (
	"slices"
	"time"
)

// ReplaySelection says which events are sent once more: those with the ids, or
// all the endpoint wants from Since on and before Until, or of the latter only
// those that were given up. An absent Until is all up to the request.
type ReplaySelection struct {
	EventIDs []EventID `json:"eventIds,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	// DeadLetters takes only what was given up, of all time unless it is bounded.
	DeadLetters bool `json:"deadLetters,omitzero"`
}

// ReplayState is how far a replay got.
type ReplayState string

// What a replay can be. Each ends once.
const (
	ReplayIsRunning   ReplayState = "running"
	ReplayIsFinished  ReplayState = "finished"
	ReplayIsCancelled ReplayState = "cancelled"
)

// Replay is events that are sent to an endpoint once more.
type Replay struct {
	ID ReplayID
	ReplaySelection
	// RatePerSecond is the most events a second, apart from all else that is sent.
	RatePerSecond int
	State         ReplayState
	By            Actor
	// Through is where the request is in the log: nothing after it is sent again.
	Through     Position
	RequestedAt time.Time
	EndedAt     time.Time // zero while it runs
	// Delivered and Failed count what was sent, once it finished, and Reason is why
	// it ended before all was, if it did.
	Delivered, Failed int
	Reason            string
}

const (
	mostReplayed      = 100 // ids in one selection
	mostRunning       = 5   // replays of one endpoint at a time
	rememberedReplays = 20  // of one endpoint, those that run included
	usualReplayRate   = 10
	mostRate          = 1000
)

// RequestReplay asks for events to be sent once more.
type RequestReplay struct {
	EndpointID EndpointID
	ReplayID   ReplayID
	ReplaySelection
	// RatePerSecond is 0 for the default.
	RatePerSecond int
	Now           time.Time
}

// RequestReplay decides on a RequestReplay.
func (a Account) RequestReplay(cmd RequestReplay) ([]Event, error) {
	e, err := a.sending(cmd.EndpointID, "be sent anything again")
	if err != nil {
		return nil, err
	}
	selection, err := cmd.accept(cmd.Now)
	if err != nil {
		return nil, err
	}
	rate := cmd.RatePerSecond
	switch {
	case rate < 0 || rate > mostRate:
		return nil, RejectField(Invalid, "/ratePerSecond", "is %d; send 1 to %d events a second", rate, mostRate)
	case rate == 0:
		rate = usualReplayRate
	}
	running := 0
	for _, r := range e.Replays {
		if r.State == ReplayIsRunning {
			running++
		}
	}
	if running >= mostRunning {
		return nil, Reject(Conflict, "%d replays of webhook %s are running; wait for one, or cancel it", running, e.ID)
	}
	return []Event{WebhookReplayRequested{EndpointID: e.ID, ReplayID: cmd.ReplayID, ReplaySelection: selection, RatePerSecond: rate}}, nil
}

// accept checks a selection, and returns it as it is stored.
func (s ReplaySelection) accept(now time.Time) (ReplaySelection, error) {
	s.Since, s.Until = s.Since.UTC(), s.Until.UTC()
	bounded := !s.Since.IsZero() || !s.Until.IsZero()
	switch {
	case s.EventIDs != nil && (bounded || s.DeadLetters):
		return s, RejectField(Invalid, "/eventIds", "can't be combined; send eventIds, or since, until and deadLetters")
	case s.EventIDs != nil:
		return s, s.checkIDs()
	case s.Since.IsZero() && !s.DeadLetters:
		return s, RejectField(Invalid, "/since", "is required, unless eventIds or deadLetters say what to send again")
	case s.Since.After(now):
		return s, RejectField(Invalid, "/since", "is in the future; only what happened can be sent again")
	case s.Until.After(now):
		return s, RejectField(Invalid, "/until", "is in the future; leave it out for all up to now")
	case !s.Until.IsZero() && !s.Since.Before(s.Until):
		return s, RejectField(Invalid, "/until", "must be after since")
	}
	return s, nil
}

func (s ReplaySelection) checkIDs() error {
	switch n := len(s.EventIDs); {
	case n == 0:
		return RejectField(Invalid, "/eventIds", "is empty; leave it out, or name at least one event")
	case n > mostReplayed:
		return RejectField(Invalid, "/eventIds", "has %d ids; at most %d are taken, or use since and until", n, mostReplayed)
	}
	for i, id := range s.EventIDs {
		if !validPublicID(string(id)) {
			return RejectField(Invalid, pointer("eventIds", i), "%s is not the id of an event (%s…)", quote(string(id)), EventPrefix)
		}
		if slices.Contains(s.EventIDs[:i], id) {
			return RejectField(Invalid, pointer("eventIds", i), "%s is there twice", id)
		}
	}
	return nil
}

// EndReplay ends a replay that runs.
type EndReplay struct {
	EndpointID EndpointID
	ReplayID   ReplayID
	// Delivered and Failed count what was sent; a cancelled one is not counted.
	Delivered, Failed int
	// Reason is why it ended before all was sent, such as gone, if it did.
	Reason string
}

// CancelReplay decides on an EndReplay by whoever wants no more of it.
func (a Account) CancelReplay(cmd EndReplay) ([]Event, error) {
	r, err := a.replayOf(cmd)
	if err != nil || r.State == ReplayIsCancelled {
		return nil, err
	}
	if r.State != ReplayIsRunning {
		return nil, Reject(Conflict, "replay %s is over; nothing is left to cancel", r.ID)
	}
	return []Event{WebhookReplayCancelled{EndpointID: cmd.EndpointID, ReplayID: r.ID}}, nil
}

// FinishReplay decides on an EndReplay by whoever sent all of it. One that was
// cancelled meanwhile stays so.
func (a Account) FinishReplay(cmd EndReplay) ([]Event, error) {
	r, err := a.replayOf(cmd)
	if err != nil || r.State != ReplayIsRunning {
		return nil, err
	}
	if err := checkText("/reason", cmd.Reason, 0, 512); err != nil {
		return nil, err
	}
	return []Event{WebhookReplayFinished(cmd)}, nil
}

func (a Account) replayOf(cmd EndReplay) (Replay, error) {
	e, err := a.endpoint(cmd.EndpointID)
	if err != nil {
		return Replay{}, err
	}
	r, ok := e.Replay(cmd.ReplayID)
	if !ok {
		return Replay{}, Reject(NotFound, "no replay %s", cmd.ReplayID)
	}
	return r, nil
}
