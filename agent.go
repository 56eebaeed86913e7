package behalf

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Agent is an agent as members see it.
type Agent struct {
	AgentID string `json:"agentId"`
	// APIKey is there when it was just made, and never again.
	APIKey string `json:"apiKey,omitempty"`
	Name   string `json:"name"`
	// Type is "native" or "connected".
	Type       string `json:"type"`
	Provider   string `json:"provider,omitempty"`
	Label      string `json:"label,omitempty"`
	ExternalID string `json:"externalId,omitempty"`
	// Driver is the member it acts for, if that was recorded.
	Driver string `json:"driver,omitempty"`
	// SharesAccountLimits says that what it spends counts to the account's limits.
	SharesAccountLimits bool `json:"sharesAccountLimits,omitzero"`
	// Status is "active" or "disabled".
	Status          string    `json:"status"`
	HasKey          bool      `json:"hasKey"`
	PassportVersion uint64    `json:"passportVersion"`
	RegisteredAt    time.Time `json:"registeredAt"`
}

// NewAgent is an agent to register. Only Name is required.
type NewAgent struct {
	// AgentID is made by the server when it is left out.
	AgentID string `json:"agentId,omitempty"`
	Name    string `json:"name"`
	// Type is "native", the default, for an agent that asks by itself, or
	// "connected" for one that lives at a Provider.
	Type       string `json:"type,omitempty"`
	Provider   string `json:"provider,omitempty"`
	Label      string `json:"label,omitempty"`
	ExternalID string `json:"externalId,omitempty"`
	// Driver is the member it acts for, who then may not approve what it asks.
	Driver string `json:"driver,omitempty"`
	// WithKey gives a connected agent a key too. A native one always gets one.
	WithKey *bool `json:"withKey,omitzero"`
}

// RegisterAgent registers an agent. Its APIKey is shown this once.
func (c *Client) RegisterAgent(ctx context.Context, a NewAgent) (Agent, error) {
	r := post(a, "agents")
	r.want = http.StatusCreated
	return c.agent(ctx, r)
}

// Page says which part of a list is wanted.
type Page struct {
	// Limit is the most on it; 0 leaves it to the server.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

// AgentPage is some agents, by id.
type AgentPage struct {
	Agents []Agent `json:"agents"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Agents lists the account's agents.
func (c *Client) Agents(ctx context.Context, p Page) (AgentPage, error) {
	r := get("agents")
	r.query = url.Values{}
	setPage(r.query, p.Limit, p.Cursor)
	var page AgentPage
	err := c.call(ctx, r, &page)
	return page, err
}

// Agent reads one agent.
func (c *Client) Agent(ctx context.Context, id string) (Agent, error) {
	return c.agent(ctx, get("agents", id))
}

// DisableAgent denies an agent everything until it is enabled. Once it returns
// without an error, no verify that begins can be allowed.
func (c *Client) DisableAgent(ctx context.Context, id, reason string) (Agent, error) {
	return c.agent(ctx, post(reasoned{reason}, "agents", id, "disable"))
}

// EnableAgent ends a DisableAgent.
func (c *Client) EnableAgent(ctx context.Context, id string) (Agent, error) {
	return c.agent(ctx, post(struct{}{}, "agents", id, "enable"))
}

// RotateKey gives an agent a new key, shown this once. The old one is dead.
func (c *Client) RotateKey(ctx context.Context, id string) (Agent, error) {
	return c.agent(ctx, post(struct{}{}, "agents", id, "rotate-key"))
}

func (c *Client) agent(ctx context.Context, r request) (Agent, error) {
	var a Agent
	err := c.call(ctx, r, &a)
	return a, err
}

// reasoned is an act that may say why.
type reasoned struct {
	Reason string `json:"reason,omitempty"`
}

// Passport is what an agent may do, as the agent reads it.
type Passport struct {
	AgentID         string       `json:"agentId"`
	Name            string       `json:"name"`
	Type            string       `json:"type"`
	Status          string       `json:"status"`
	PassportVersion uint64       `json:"passportVersion"`
	Permissions     []Permission `json:"permissions"`
	// Limits are the agent's own, over all permissions, and Left is what is left
	// of them. AccountLeft is what is left of the account's, where it shares them.
	Limits
	Left        []Left `json:"left,omitzero"`
	AccountLeft []Left `json:"accountLeft,omitzero"`
}

// Passport reads the passport of the agent whose key the client holds.
func (c *Client) Passport(ctx context.Context) (Passport, error) {
	var p Passport
	err := c.call(ctx, get("passport").over("passport", nil), &p)
	return p, err
}

// AgentPassport reads an agent's passport for a member.
func (c *Client) AgentPassport(ctx context.Context, agentID string) (Passport, error) {
	var p Passport
	err := c.call(ctx, get("agents", agentID, "passport"), &p)
	return p, err
}
