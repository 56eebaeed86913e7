package behalf

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// ActionOutcome is what came of an action that was allowed.
type ActionOutcome string

// The outcomes an action can have.
const (
	Executed ActionOutcome = "executed"
	Failed   ActionOutcome = "failed"
)

// Report says what came of an allow that spent.
type Report struct {
	Outcome ActionOutcome `json:"outcome"`
	// Amount is what an executed action spent in fact, as a decimal number: at
	// most what was allowed, and all of it if it is empty.
	Amount string `json:"amount,omitempty"`
}

// Settlement is a report as it was recorded.
type Settlement struct {
	RequestID string        `json:"requestId"`
	Outcome   ActionOutcome `json:"outcome"`
	Amount    string        `json:"amount,omitempty"`
	Currency  string        `json:"currency,omitempty"`
	// Released is what went back to the budgets.
	Released string `json:"released,omitempty"`
}

// Outcome reports, with the agent's key, what came of an allow whose packet says
// Reserved. It is reported once; the same again gets the same answer. What is
// never reported stays spent.
func (c *Client) Outcome(ctx context.Context, requestID string, report Report) (Settlement, error) {
	var s Settlement
	r := post(report, "decisions", requestID, "outcome").over("outcome", struct {
		RequestID string `json:"requestId"`
		Report
	}{requestID, report})
	if err := c.call(ctx, r, &s); err != nil {
		return Settlement{}, err
	}
	if s.RequestID != requestID || s.Outcome != report.Outcome {
		return Settlement{}, fmt.Errorf("%w: the answer is that %q was %q, not that %q was %q", ErrUnavailable, s.RequestID, s.Outcome, requestID, report.Outcome)
	}
	return s, nil
}

// Reservation is an allow that spent and whose outcome was not reported.
type Reservation struct {
	RequestID    string    `json:"requestId"`
	AgentID      string    `json:"agentId"`
	PermissionID string    `json:"permissionId"`
	Amount       string    `json:"amount,omitempty"`
	Currency     string    `json:"currency,omitempty"`
	DecidedAt    time.Time `json:"decidedAt"`
}

// ReservationQuery says which reservations are wanted. The zero value of a field
// is no limit.
type ReservationQuery struct {
	AgentID string
	// Limit is the most on a page; 0 leaves it to the server.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

// ReservationPage is some reservations, newest first.
type ReservationPage struct {
	Reservations []Reservation `json:"reservations"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Reservations lists allows whose outcome nobody reported: an agent its own, a
// member the account's.
func (c *Client) Reservations(ctx context.Context, q ReservationQuery) (ReservationPage, error) {
	r := get("reservations")
	r.query = url.Values{}
	set(r.query, "agentId", q.AgentID)
	setPage(r.query, q.Limit, q.Cursor)
	var page ReservationPage
	err := c.call(ctx, r, &page)
	return page, err
}
