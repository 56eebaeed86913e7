package behalf

import (
	"context"
	"net/http"
	"time"
)

// DeliveryStatus is how sending to a webhook goes. A time that is zero never came.
type DeliveryStatus struct {
	// State is "idle", "delivering", "holding", "throttled" or "stopped".
	State string `json:"state"`
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
	FailingSince   time.Time `json:"failingSince,omitzero"`
	// Expiring is that decisions it has not got are about to leave the log, by the
	// account's decision retention, or do so already.
	Expiring  bool      `json:"expiring,omitzero"`
	NextTryAt time.Time `json:"nextTryAt,omitzero"`
	// LastError is a category, such as "timeout" or "http_503".
	LastError string `json:"lastError,omitempty"`
}

// WebhookStatus asks how sending to a webhook goes.
func (c *Client) WebhookStatus(ctx context.Context, id string) (DeliveryStatus, error) {
	var s DeliveryStatus
	err := c.call(ctx, get("webhooks", id, "status"), &s)
	return s, err
}

// AttemptQuery says which attempts are wanted. The zero value of a field is no
// limit.
type AttemptQuery struct {
	// Outcome is "delivered", "failed" or "given_up".
	Outcome  string
	EventID  string
	ReplayID string
	Page
}

// Attempt is one message that was sent, or could not be.
type Attempt struct {
	EventID string `json:"eventId"`
	Type    string `json:"type"`
	// Number counts the attempts of the event, those of a replay apart.
	Number   int       `json:"number"`
	ReplayID string    `json:"replayId,omitempty"`
	At       time.Time `json:"at"`
	// Outcome is "delivered", "failed", if it is tried again, or "given_up".
	Outcome string `json:"outcome"`
	// Status is HTTP's, 0 if there was no answer.
	Status int `json:"status,omitzero"`
	// Error is a category, such as "timeout" or "http_503".
	Error     string `json:"error,omitempty"`
	LatencyMS int64  `json:"latencyMs"`
	// Answer is the first 1 KiB of what was answered.
	Answer    string    `json:"answer,omitempty"`
	NextTryAt time.Time `json:"nextTryAt,omitzero"`
}

// AttemptPage is some attempts, newest first.
type AttemptPage struct {
	Attempts []Attempt `json:"attempts"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// WebhookAttempts lists what was sent to a webhook.
func (c *Client) WebhookAttempts(ctx context.Context, id string, q AttemptQuery) (AttemptPage, error) {
	r := get("webhooks", id, "attempts")
	r.query = q.values()
	set(r.query, "outcome", q.Outcome)
	set(r.query, "eventId", q.EventID)
	set(r.query, "replayId", q.ReplayID)
	var page AttemptPage
	err := c.call(ctx, r, &page)
	return page, err
}

// DeadLetter is an event that was given up.
type DeadLetter struct {
	EventID string `json:"eventId"`
	Type    string `json:"type"`
	// At is when it was given up.
	At        time.Time `json:"at"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"lastError"`
}

// DeadLetterPage is some dead letters, newest first.
type DeadLetterPage struct {
	DeadLetters []DeadLetter `json:"deadLetters"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// DeadLetters lists what was given up and not delivered since.
func (c *Client) DeadLetters(ctx context.Context, id string, p Page) (DeadLetterPage, error) {
	r := get("webhooks", id, "dead-letters")
	r.query = p.values()
	var page DeadLetterPage
	err := c.call(ctx, r, &page)
	return page, err
}

// ReplaySelection says which events are sent once more: those with the ids, or
// all from Since on and before Until, or of these only what was given up.
type ReplaySelection struct {
	EventIDs []string  `json:"eventIds,omitzero"`
	Since    time.Time `json:"since,omitzero"`
	// Until is the time of the request if it is zero.
	Until       time.Time `json:"until,omitzero"`
	DeadLetters bool      `json:"deadLetters,omitzero"`
}

// WebhookReplay is events that are sent once more.
type WebhookReplay struct {
	ReplayID string `json:"replayId"`
	// State is "running", "finished" or "cancelled".
	State string `json:"state"`
	ReplaySelection
	RatePerSecond int       `json:"ratePerSecond"`
	RequestedBy   string    `json:"requestedBy"`
	RequestedAt   time.Time `json:"requestedAt"`
	EndedAt       time.Time `json:"endedAt,omitzero"`
	// Reason is why it ended before all was sent, such as "gone", if it did.
	Reason string `json:"reason,omitempty"`
	// Progress is nil if it isn't known.
	Progress *ReplayProgress `json:"progress,omitempty"`
}

// ReplayProgress is how far a replay got.
type ReplayProgress struct {
	Delivered int `json:"delivered"`
	// Failed counts what was given up.
	Failed int `json:"failed"`
	// Left is nil if it isn't known.
	Left *int `json:"left,omitempty"`
}

// RequestWebhookReplay sends events to a webhook once more, beside what is sent
// to it anyway. With ratePerSecond 0 the rate is the server's.
func (c *Client) RequestWebhookReplay(ctx context.Context, id string, s ReplaySelection, ratePerSecond int) (WebhookReplay, error) {
	r := post(struct {
		ReplaySelection
		RatePerSecond int `json:"ratePerSecond,omitzero"`
	}{s, ratePerSecond}, "webhooks", id, "replays")
	r.want = http.StatusAccepted
	return c.webhookReplay(ctx, r)
}

// WebhookReplays lists the newest replays, newest first.
func (c *Client) WebhookReplays(ctx context.Context, id string) ([]WebhookReplay, error) {
	var out struct {
		Replays []WebhookReplay `json:"replays"`
	}
	err := c.call(ctx, get("webhooks", id, "replays"), &out)
	return out.Replays, err
}

// WebhookReplay asks how far a replay got.
func (c *Client) WebhookReplay(ctx context.Context, id, replayID string) (WebhookReplay, error) {
	return c.webhookReplay(ctx, get("webhooks", id, "replays", replayID))
}

// CancelWebhookReplay sends no more of a replay.
func (c *Client) CancelWebhookReplay(ctx context.Context, id, replayID string) (WebhookReplay, error) {
	return c.webhookReplay(ctx, request{method: http.MethodDelete, path: []string{"webhooks", id, "replays", replayID}, want: http.StatusOK})
}

func (c *Client) webhookReplay(ctx context.Context, r request) (WebhookReplay, error) {
	var w WebhookReplay
	err := c.call(ctx, r, &w)
	return w, err
}
