package handlers

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/behalf-platform/behalf/domain"
)

// Deliveries is what whoever sends to endpoints knows of it. None of it decides
// anything. A node that sends to none of an account's endpoints answers all the
// same, from where the attempts are kept. An error is ours, and is not shown.
type Deliveries interface {
	// Status is how sending to an endpoint goes now.
	Status(ctx context.Context, account domain.AccountID, e *domain.Endpoint) (DeliveryStatus, error)
	// Attempts is a page of what was tried, the newest first.
	Attempts(ctx context.Context, account domain.AccountID, id domain.EndpointID, q AttemptQuery) (AttemptPage, error)
	// DeadLetters is a page of what was given up and not delivered since, the
	// newest first.
	DeadLetters(ctx context.Context, account domain.AccountID, id domain.EndpointID, q PageQuery) (DeadLetterPage, error)
	// Progress is how far replays got. One that nothing is known of is left out.
	Progress(ctx context.Context, account domain.AccountID, id domain.EndpointID, replays []domain.ReplayID) (map[domain.ReplayID]ReplayProgress, error)
}

// DeliveryState is what whoever sends to an endpoint does just now.
type DeliveryState string

// What may be going on.
const (
	DeliveryIdle       DeliveryState = "idle"       // there is nothing to send
	DeliveryDelivering DeliveryState = "delivering" // it sends
	DeliveryHolding    DeliveryState = "holding"    // the endpoint fails; it is tried now and then
	DeliveryThrottled  DeliveryState = "throttled"  // the endpoint asked to wait
	DeliveryStopped    DeliveryState = "stopped"    // paused, disabled, or not verified
)

// DeliveryStatus is how sending to an endpoint goes. A time that is zero never came.
type DeliveryStatus struct {
	State DeliveryState `json:"state"`
	// OldestUndeliveredAt is when the oldest event happened that it still has to
	// get, and LagSeconds how long ago that is.
	OldestUndeliveredAt time.Time `json:"oldestUndeliveredAt,omitzero"`
	LagSeconds          int64     `json:"lagSeconds"`
	// Parked counts events that failed by themselves and are tried again later.
	Parked int `json:"parked"`
	// DeadLetters counts what was given up and not delivered since.
	DeadLetters    int       `json:"deadLetters"`
	LastAttemptAt  time.Time `json:"lastAttemptAt,omitzero"`
	LastDeliveryAt time.Time `json:"lastDeliveryAt,omitzero"`
	// FailingSince is when the failures began that have not ended.
	FailingSince time.Time `json:"failingSince,omitzero"`
	NextTryAt    time.Time `json:"nextTryAt,omitzero"`
	// LastError is a category, such as "timeout" or "http_503".
	LastError string `json:"lastError,omitempty"`
	// Expiring is that decisions it has not got are about to leave the log, by the
	// account's decisionRetention, or do so already.
	Expiring bool `json:"expiring,omitzero"`
}

// AttemptOutcome is what came of an attempt.
type AttemptOutcome string

// What can come of an attempt.
const (
	AttemptDelivered AttemptOutcome = "delivered"
	AttemptFailed    AttemptOutcome = "failed"   // it is tried again
	AttemptGivenUp   AttemptOutcome = "given_up" // the last of the event; it is a dead letter
)

// PageQuery says which page is wanted.
type PageQuery struct {
	Limit  int    // at least 1
	Cursor string // of the page before; an unknown one is a *domain.RuleError
}

// AttemptQuery says which attempts are wanted. What is empty doesn't matter.
type AttemptQuery struct {
	PageQuery
	Outcome AttemptOutcome
	Event   domain.EventID
	Replay  domain.ReplayID
}

// Attempt is one message that was sent, or could not be.
type Attempt struct {
	EventID domain.EventID `json:"eventId"`
	Type    string         `json:"type"`
	// Number counts the attempts of the event, from 1 on, those of a replay apart.
	Number   int             `json:"number"`
	ReplayID domain.ReplayID `json:"replayId,omitempty"`
	At       time.Time       `json:"at"`
	Outcome  AttemptOutcome  `json:"outcome"`
	// Status is HTTP's, 0 if there was no answer.
	Status int `json:"status,omitzero"`
	// Error is a category, such as "timeout" or "http_503".
	Error     string `json:"error,omitempty"`
	LatencyMS int64  `json:"latencyMs"`
	// Answer is the first 1 KiB of what was answered.
	Answer string `json:"answer,omitempty"`
	// NextTryAt is when the event is tried again.
	NextTryAt time.Time `json:"nextTryAt,omitzero"`
}

// AttemptPage is a page of attempts.
type AttemptPage struct {
	Attempts   []Attempt `json:"attempts"`
	NextCursor string    `json:"nextCursor,omitempty"`
}

// DeadLetter is an event that was given up.
type DeadLetter struct {
	EventID   domain.EventID `json:"eventId"`
	Type      string         `json:"type"`
	At        time.Time      `json:"at"` // when it was given up
	Attempts  int            `json:"attempts"`
	LastError string         `json:"lastError"`
}

// DeadLetterPage is a page of dead letters.
type DeadLetterPage struct {
	DeadLetters []DeadLetter `json:"deadLetters"`
	NextCursor  string       `json:"nextCursor,omitempty"`
}

// ReplayProgress is how far a replay got.
type ReplayProgress struct {
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"` // given up
	// Left is how many are still to come, if that is known.
	Left *int `json:"left,omitempty"`
}

// mostShown bounds what is shown of an answer, in bytes.
const mostShown = 1 << 10

const unreadDeliveries = "what was sent to the webhook can't be read now; try again"

// Status is how sending to an endpoint goes.
func (h *Webhooks) Status(ctx context.Context, by Member, id domain.EndpointID) (DeliveryStatus, error) {
	e, err := h.sent(by, id)
	if err != nil {
		return DeliveryStatus{}, err
	}
	s, err := h.Deliveries.Status(ctx, by.Account, e)
	if err != nil {
		return DeliveryStatus{}, unavailable(err, unreadDeliveries)
	}
	if !e.Sends() {
		s.State = DeliveryStopped
	}
	return s, nil
}

// Attempts is a page of what was sent to an endpoint. What was answered is shown
// only while the address is verified: else it may be anybody's.
func (h *Webhooks) Attempts(ctx context.Context, by Member, id domain.EndpointID, q AttemptQuery) (AttemptPage, error) {
	e, err := h.sent(by, id)
	if err != nil {
		return AttemptPage{}, err
	}
	switch q.Outcome {
	case "", AttemptDelivered, AttemptFailed, AttemptGivenUp:
	default:
		return AttemptPage{}, domain.RejectField(domain.Invalid, "/outcome", "is not known; use delivered, failed or given_up")
	}
	page, err := h.Deliveries.Attempts(ctx, by.Account, id, q)
	if err != nil {
		return AttemptPage{}, unlessRule(err)
	}
	shown := AttemptPage{Attempts: []Attempt{}, NextCursor: page.NextCursor}
	for _, a := range page.Attempts {
		a.Answer = strings.ToValidUTF8(a.Answer[:min(len(a.Answer), mostShown)], "\uFFFD")
		if !e.Verified {
			a.Answer = ""
		}
		shown.Attempts = append(shown.Attempts, a)
	}
	return shown, nil
}

// DeadLetters is a page of what was given up.
func (h *Webhooks) DeadLetters(ctx context.Context, by Member, id domain.EndpointID, q PageQuery) (DeadLetterPage, error) {
	if _, err := h.sent(by, id); err != nil {
		return DeadLetterPage{}, err
	}
	page, err := h.Deliveries.DeadLetters(ctx, by.Account, id, q)
	if err != nil {
		return DeadLetterPage{}, unlessRule(err)
	}
	if page.DeadLetters == nil {
		page.DeadLetters = []DeadLetter{}
	}
	return page, nil
}

// sent is an endpoint of which it can be told what was sent to it.
func (h *Webhooks) sent(by Member, id domain.EndpointID) (*domain.Endpoint, error) {
	if h.Deliveries == nil {
		return nil, errOff
	}
	return h.find(by, id)
}

// unlessRule passes a rule's refusal on, such as that of a cursor, and hides all
// else.
func unlessRule(err error) error {
	if _, ok := errors.AsType[*domain.RuleError](err); ok {
		return err
	}
	return unavailable(err, unreadDeliveries)
}
