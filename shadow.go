package behalf

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Candidate is permissions to run in an agent's shadow. What it doesn't name is
// as the agent has it.
type Candidate struct {
	// Add are granted when the shadow begins, by the ids new_1, new_2 and so on.
	Add []Terms `json:"add,omitzero"`
	// Replace has terms by the id of the permission, whichever that has.
	Replace map[string]Terms `json:"replace,omitzero"`
	// Remove are permissions that the shadow has not.
	Remove []string `json:"remove,omitzero"`
	// Only says that what is added and replaced is all there is.
	Only bool `json:"only,omitzero"`
	// Limits are the agent's own; none at all are none.
	Limits *Limits `json:"limits,omitzero"`
}

// ShadowOptions say more about a shadow. The zero value is a week and no note.
type ShadowOptions struct {
	// For is how long it runs, in whole seconds, at most 90 days.
	For  time.Duration
	Note string
}

// Shadow is a candidate that runs beside an agent's real permissions, or did.
// Nothing is allowed by it.
type Shadow struct {
	ShadowID string `json:"shadowId"`
	AgentID  string `json:"agentId"`
	// State is "running" or "stopped".
	State           string    `json:"state"`
	Candidate       Candidate `json:"candidate"`
	CandidateDigest string    `json:"candidateDigest"`
	Note            string    `json:"note,omitempty"`
	StartedAt       time.Time `json:"startedAt"`
	StartedBy       string    `json:"startedBy"`
	Until           time.Time `json:"until"`
	// Supersedes is the shadow whose place it took.
	Supersedes string `json:"supersedes,omitempty"`
	// StoppedBecause is "member", "expired", "agent_disabled", "another_log" or
	// "candidate".
	StoppedBecause string       `json:"stoppedBecause,omitempty"`
	StopNote       string       `json:"stopNote,omitempty"`
	StoppedAt      time.Time    `json:"stoppedAt,omitzero"`
	StoppedBy      string       `json:"stoppedBy,omitempty"`
	Counts         ShadowCounts `json:"counts"`
	// Lag is of one that runs.
	Lag *ShadowLag `json:"lag,omitzero"`
}

// ShadowCounts is what a shadow has decided.
type ShadowCounts struct {
	Decided  uint64 `json:"decided"`
	Same     uint64 `json:"same"`
	Stricter uint64 `json:"stricter"`
	Looser   uint64 `json:"looser"`
	// OtherReason has the same outcome for another reason; Undecided couldn't be
	// decided under the candidate.
	OtherReason uint64         `json:"otherReason"`
	Undecided   uint64         `json:"undecided"`
	Changes     []ShadowChange `json:"changes,omitzero"`
	Money       []ShadowMoney  `json:"money,omitzero"`
}

// Came is how a decision came out.
type Came struct {
	Outcome    string `json:"outcome"`
	ReasonCode string `json:"reasonCode"`
}

// ShadowChange counts the decisions that change in one way.
type ShadowChange struct {
	From  Came   `json:"from"`
	To    Came   `json:"to"`
	Count uint64 `json:"count"`
}

// ShadowMoney is what was asked for in requests that would be allowed and were
// not, and the other way round, as decimal numbers.
type ShadowMoney struct {
	Currency string `json:"currency"`
	Allowed  string `json:"nowAllowed"`
	Stopped  string `json:"nowStopped"`
}

// ShadowLag is how far a shadow is behind the real decisions.
type ShadowLag struct {
	// Waiting is counted up to 1000.
	Waiting int       `json:"waiting"`
	Since   time.Time `json:"since,omitzero"`
	Seconds float64   `json:"seconds"`
}

// ShadowDifference is one request that comes out otherwise.
type ShadowDifference struct {
	EventID   string    `json:"eventId"`
	RequestID string    `json:"requestId"`
	DecidedAt time.Time `json:"decidedAt"`
	// Difference is "stricter", "looser", "other_reason" or "undecided".
	Difference string `json:"difference"`
	Real       Came   `json:"real"`
	// Shadow is zero where it couldn't be decided.
	Shadow       Came   `json:"shadow,omitzero"`
	PermissionID string `json:"permissionId,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Amount       string `json:"amount,omitempty"`
	Currency     string `json:"currency,omitempty"`
}

// ShadowDifferencePage is some differences, newest first.
type ShadowDifferencePage struct {
	ShadowID    string             `json:"shadowId"`
	Differences []ShadowDifference `json:"differences"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// StartShadow runs a candidate beside an agent's real permissions, in place of
// one that runs. After an error its fate is unknown; starting again is safe.
func (c *Client) StartShadow(ctx context.Context, agentID string, candidate Candidate, o ShadowOptions) (Shadow, error) {
	return c.startShadow(ctx, agentID, candidate, o)
}

// StartShadowJSON is to StartShadow what [Client.GrantJSON] is to Grant.
func (c *Client) StartShadowJSON(ctx context.Context, agentID string, candidate []byte, o ShadowOptions) (Shadow, error) {
	return c.startShadow(ctx, agentID, jsontext.Value(candidate), o)
}

func (c *Client) startShadow(ctx context.Context, agentID string, candidate any, o ShadowOptions) (Shadow, error) {
	in := struct {
		Candidate any    `json:"candidate"`
		For       string `json:"for,omitempty"`
		Note      string `json:"note,omitempty"`
	}{Candidate: candidate, Note: o.Note}
	if o.For != 0 {
		in.For = o.For.String()
	}
	r := post(in, "agents", agentID, "shadow")
	r.want = http.StatusCreated
	return c.shadow(ctx, r)
}

// Shadow reads an agent's shadow: the one that runs, or the last one that did.
func (c *Client) Shadow(ctx context.Context, agentID string) (Shadow, error) {
	return c.shadow(ctx, get("agents", agentID, "shadow"))
}

// StopShadow stops an agent's shadow. Again, it changes nothing.
func (c *Client) StopShadow(ctx context.Context, agentID, note string) (Shadow, error) {
	in := struct {
		Note string `json:"note,omitempty"`
	}{note}
	return c.shadow(ctx, post(in, "agents", agentID, "shadow", "stop"))
}

func (c *Client) shadow(ctx context.Context, r request) (Shadow, error) {
	var s Shadow
	err := c.call(ctx, r, &s)
	return s, err
}

// ShadowDifferences lists what comes out otherwise in an agent's shadow.
func (c *Client) ShadowDifferences(ctx context.Context, agentID string, p Page) (ShadowDifferencePage, error) {
	r := get("agents", agentID, "shadow", "differences")
	r.query = url.Values{}
	setPage(r.query, p.Limit, p.Cursor)
	var page ShadowDifferencePage
	err := c.call(ctx, r, &page)
	return page, err
}
