package behalf

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// UsageQuery says which usage is wanted. The zero value of a field is no limit,
// but for the days: by default they are the 30 up to today.
type UsageQuery struct {
	AgentID  string
	Outcome  Outcome
	Currency string
	// Since and Until are days (UTC), such as "2027-01-31". Since is included,
	// Until is not.
	Since, Until string
	// AtLeast is the Position of a packet that the answer must know of.
	AtLeast string
	// Limit is the most on a page; 0 leaves it to the server.
	Limit  int
	Cursor string
}

// Usage is what was decided for one agent on one day.
type Usage struct {
	Day     string `json:"day"`
	AgentID string `json:"agentId"`
	Total
}

// UsageList is some usage, the newest day first.
type UsageList struct {
	Since string  `json:"since"`
	Until string  `json:"until"`
	Usage []Usage `json:"usage"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Usage counts decisions per day, agent and outcome: an agent its own, a member
// the account's.
func (c *Client) Usage(ctx context.Context, q UsageQuery) (UsageList, error) {
	r := get("usage")
	r.query = url.Values{}
	set(r.query, "agentId", q.AgentID)
	set(r.query, "outcome", string(q.Outcome))
	set(r.query, "currency", q.Currency)
	set(r.query, "since", q.Since)
	set(r.query, "until", q.Until)
	set(r.query, "atLeast", q.AtLeast)
	setPage(r.query, q.Limit, q.Cursor)
	var list UsageList
	err := c.call(ctx, r, &list)
	return list, err
}

// Change is an event that changed a passport.
type Change struct {
	// PassportVersion is the one it gave the passport.
	PassportVersion uint64 `json:"passportVersion"`
	EventID         string `json:"eventId"`
	// Kind is such as "permission.granted.v1".
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
	// Actor is who did it, such as "member:mem_…". Cause is the request or event
	// that led to it, if one did.
	Actor    string `json:"actor"`
	Cause    string `json:"cause,omitempty"`
	Position string `json:"position"`
	// Change is what the event says, by the name of its members.
	Change map[string]jsontext.Value `json:"change"`
}

// ChangePage is some changes, newest first.
type ChangePage struct {
	Changes []Change `json:"changes"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// History lists everything that ever changed an agent's passport.
func (c *Client) History(ctx context.Context, agentID string, p Page) (ChangePage, error) {
	r := get("agents", agentID, "history")
	r.query = url.Values{}
	setPage(r.query, p.Limit, p.Cursor)
	var page ChangePage
	err := c.call(ctx, r, &page)
	return page, err
}

// Projection is one version of a read model that queries are answered from.
type Projection struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	// State is "serving", "making" beside the one that serves, "stopped" at an
	// event it can't apply, or "replaced".
	State string `json:"state"`
	// Events is how many of the log's it has taken in, and Behind how many not.
	Events     uint64               `json:"events"`
	Of         uint64               `json:"of"`
	Behind     uint64               `json:"behind"`
	MovedAt    time.Time            `json:"movedAt,omitzero"`
	Partitions []ProjectedPartition `json:"partitions"`
}

// ProjectedPartition is how far a read model is in one partition of the log.
type ProjectedPartition struct {
	Partition uint16 `json:"partition"`
	Seq       uint64 `json:"seq"`
	Head      uint64 `json:"head"`
	// StoppedAt is the event that can't be applied, and Reason why.
	StoppedAt uint64 `json:"stoppedAt,omitzero"`
	Reason    string `json:"reason,omitempty"`
}

// Projections lists every version of every read model. It needs an admin.
func (c *Client) Projections(ctx context.Context) ([]Projection, error) {
	var list struct {
		Projections []Projection `json:"projections"`
	}
	err := c.call(ctx, get("projections"), &list)
	return list.Projections, err
}

// Rebuild has a read model made again from the log, beside the one that serves
// until then. It needs an admin.
func (c *Client) Rebuild(ctx context.Context, name string) (Projection, error) {
	r := post(struct{}{}, "projections", name, "rebuild")
	r.want = http.StatusAccepted
	var p Projection
	err := c.call(ctx, r, &p)
	return p, err
}
