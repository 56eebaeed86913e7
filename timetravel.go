package behalf

import (
	"context"
	"net/url"
	"time"
)

// PassportAt is a passport as it was.
type PassportAt struct {
	Passport
	// AsOf is the time it is of, Position the place in the log if it was asked
	// for by one.
	AsOf     time.Time `json:"asOf"`
	Position string    `json:"position,omitempty"`
}

// PassportAt reads an agent's passport as it was: at a time as RFC 3339 has it,
// at a position that a packet carried, or at a passport version. A member reads
// any agent's, an agent its own.
func (c *Client) PassportAt(ctx context.Context, agentID, at string) (PassportAt, error) {
	var p PassportAt
	r := get("agents", agentID, "passport")
	r.query = url.Values{"at": {at}}
	err := c.call(ctx, r, &p)
	return p, err
}

// PreviewAt asks what [Client.Verify] would have answered at a moment of the
// past, written as for [Client.PassportAt].
func (c *Client) PreviewAt(ctx context.Context, ask Ask, at string) (Preview, error) {
	var p Preview
	r := post(ask, "preview")
	r.query = url.Values{"at": {at}}
	err := c.call(ctx, r, &p)
	return p, err
}
