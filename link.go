package behalf

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Link lets whoever has its URL read one agent's passport, and preview on it.
type Link struct {
	LinkID  string `json:"linkId"`
	AgentID string `json:"agentId"`
	// Token, URL and Text, which hands the link to an agent, are there when it was
	// just made, and never again. The token is in the fragment of the URL.
	Token string `json:"token,omitempty"`
	URL   string `json:"url,omitempty"`
	Text  string `json:"text,omitempty"`
	Label string `json:"label,omitempty"`
	// Status is "active", "expired" or "revoked".
	Status    string    `json:"status"`
	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	// Views is how often the passport was read by the link, give or take the last
	// seconds, or nil where that can't be told.
	Views        *uint64   `json:"views,omitzero"`
	LastViewedAt time.Time `json:"lastViewedAt,omitzero"`
}

// NewLink is a link to make.
type NewLink struct {
	// Label says whom it is for. It is kept for ever.
	Label string `json:"label,omitempty"`
	// ExpiresIn is how long it lasts, 30 days if it is 0, at most 366.
	ExpiresIn Duration `json:"expiresIn,omitzero"`
}

// CreateLink makes a link to an agent's passport.
func (c *Client) CreateLink(ctx context.Context, agentID string, l NewLink) (Link, error) {
	r := post(l, "agents", agentID, "links")
	r.want = http.StatusCreated
	var link Link
	err := c.call(ctx, r, &link)
	return link, err
}

// Links lists the links to an agent's passport, the newest first.
func (c *Client) Links(ctx context.Context, agentID string) ([]Link, error) {
	var list struct {
		Links []Link `json:"links"`
	}
	err := c.call(ctx, get("agents", agentID, "links"), &list)
	return list.Links, err
}

// RevokeLink makes a link show nothing any more. Again it changes nothing.
func (c *Client) RevokeLink(ctx context.Context, agentID, linkID string) (Link, error) {
	var link Link
	err := c.call(ctx, post(struct{}{}, "agents", agentID, "links", linkID, "revoke"), &link)
	return link, err
}

// PassportText is a passport in words, for an agent that can't ask by itself.
type PassportText struct {
	AgentID         string `json:"agentId"`
	PassportVersion uint64 `json:"passportVersion"`
	Kind            string `json:"kind"`
	Text            string `json:"text"`
}

// PassportText is a text to hand to an agent: "memory", for what it keeps between
// tasks, or "task", to put before one. The text of a link comes with the link.
func (c *Client) PassportText(ctx context.Context, agentID, kind string) (PassportText, error) {
	r := get("agents", agentID, "text")
	r.query = url.Values{"kind": {kind}}
	var t PassportText
	err := c.call(ctx, r, &t)
	return t, err
}
