package behalf

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ApprovalState is where an approval stands. Only [ApprovalApproved] is a yes
// that can be used, by verifying the same again.
type ApprovalState string

// The states there are. An answer about one approval with another state is an
// error.
const (
	ApprovalPending   ApprovalState = "pending"
	ApprovalApproved  ApprovalState = "approved"
	ApprovalUsed      ApprovalState = "used"
	ApprovalDenied    ApprovalState = "denied"
	ApprovalExpired   ApprovalState = "expired"
	ApprovalCancelled ApprovalState = "cancelled"
)

func (s ApprovalState) known() bool {
	switch s {
	case ApprovalPending, ApprovalApproved, ApprovalUsed, ApprovalDenied, ApprovalExpired, ApprovalCancelled:
		return true
	}
	return false
}

// Approval is a person's answer, awaited or given, to one request. What was
// asked is shown with what can't be seen escaped and with secrets left out; the
// Digest covers all of it as it was.
type Approval struct {
	ApprovalID string        `json:"approvalId"`
	State      ApprovalState `json:"state"`
	AgentID    string        `json:"agentId"`
	AgentName  string        `json:"agentName"`
	// RequestID is the decision that asked; UsedBy the allow that used the yes.
	RequestID    string `json:"requestId"`
	UsedBy       string `json:"usedBy,omitempty"`
	PermissionID string `json:"permissionId"`
	RiskLevel    string `json:"riskLevel"`

	Action   string `json:"action"`
	Vendor   string `json:"vendor,omitempty"`
	Resource string `json:"resource,omitempty"`
	Amount   string `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	Path     string `json:"path,omitempty"`
	Command  string `json:"command,omitempty"`
	Cwd      string `json:"cwd,omitempty"`
	Context  Facts  `json:"context,omitzero"`
	// ArgumentsDigest is the SHA-256, in hex, of the arguments as canonical JSON.
	ArgumentsDigest string `json:"argumentsDigest,omitempty"`
	// Digest binds the approval to the whole request and to the permission.
	Digest string `json:"digest"`

	// MinRole is the least role of a reviewer. Quorum is how many have to say yes,
	// and SaidYes how many have; among them are those who may not any more, who
	// don't count towards the quorum.
	MinRole string `json:"minRole"`
	Quorum  int    `json:"quorum"`
	SaidYes int    `json:"saidYes"`
	// Votes and ResolvedBy are for members.
	Votes    []Vote    `json:"votes,omitempty"`
	OpenedAt time.Time `json:"openedAt"`
	// ExpiresAt is when it stops waiting or, once approved, when the yes ends.
	ExpiresAt  time.Time `json:"expiresAt"`
	ResolvedAt time.Time `json:"resolvedAt,omitzero"`
	ResolvedBy string    `json:"resolvedBy,omitempty"`
	// Comment is the reviewer's. An agent reads it if the account shares it.
	Comment string `json:"comment,omitempty"`
	// WakeSubject is where NATS hints that it has changed.
	WakeSubject string `json:"wakeSubject,omitempty"`
}

// Vote is one person's yes.
type Vote struct {
	MemberID string    `json:"memberId"`
	At       time.Time `json:"at"`
	Comment  string    `json:"comment,omitempty"`
	// SelfApproval says that the member drives the agent.
	SelfApproval bool `json:"selfApproval,omitzero"`
}

// ApprovalQuery says which approvals are wanted. The zero value of a field is no
// limit.
type ApprovalQuery struct {
	State        ApprovalState
	AgentID      string
	PermissionID string
	// Limit is the most on a page; 0 leaves it to the server.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

// ApprovalPage is some approvals, newest first.
type ApprovalPage struct {
	Approvals []Approval `json:"approvals"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Approvals lists approvals: an agent its own, a member the account's.
func (c *Client) Approvals(ctx context.Context, q ApprovalQuery) (ApprovalPage, error) {
	r := get("approvals")
	r.query = url.Values{}
	set(r.query, "state", string(q.State))
	set(r.query, "agentId", q.AgentID)
	set(r.query, "permissionId", q.PermissionID)
	setPage(r.query, q.Limit, q.Cursor)
	if q.AgentID == "" && q.PermissionID == "" {
		r = r.over("approvals.list", struct {
			State  ApprovalState `json:"state,omitempty"`
			Limit  int           `json:"limit,omitzero"`
			Cursor string        `json:"cursor,omitempty"`
		}{q.State, q.Limit, q.Cursor})
	}
	var page ApprovalPage
	err := c.call(ctx, r, &page)
	return page, err
}

// Approval reads one approval.
func (c *Client) Approval(ctx context.Context, id string) (Approval, error) {
	return c.approval(ctx, id, get("approvals", id).over("approvals.get", approvalAsked{ApprovalID: id}))
}

// approvalAsked says over NATS which approval is meant.
type approvalAsked struct {
	ApprovalID string   `json:"approvalId"`
	Wait       Duration `json:"wait,omitzero"`
}

const (
	// longestPoll is how long a server is asked to wait for a person at a time.
	longestPoll = 30 * time.Second
	// pollPace is the least time between two questions, for servers that don't
	// wait.
	pollPace = time.Second
)

// WaitApproval waits until a person has answered, or nobody can any more, and
// returns the approval as it is then. Only a ctx of the caller's bounds the
// wait: when it is done first, the approval is returned as it was last seen,
// beside an error that is ctx's.
//
// Nothing is allowed yet when it is approved: [Client.Verify] the same again, and
// act on that packet. An ask with an idempotency key needs another one for it,
// or it gets the packet of the first.
func (c *Client) WaitApproval(ctx context.Context, id string) (Approval, error) {
	a, err := c.pollApproval(ctx, id, 0)
	for err == nil && a.State == ApprovalPending {
		pace := time.NewTimer(pollPace)
		var next Approval
		if next, err = c.pollApproval(ctx, id, c.longestPoll()); err == nil {
			a = next
		}
		if err == nil && a.State == ApprovalPending {
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
		}
		pace.Stop()
		if ctx.Err() != nil && a.State == ApprovalPending {
			return a, fmt.Errorf("approval %s is still pending: %w", id, ctx.Err())
		}
	}
	if err != nil {
		return Approval{}, err
	}
	return a, nil
}

// longestPoll is how long to wait at a time, less than what the client gives an
// exchange.
func (c *Client) longestPoll() time.Duration {
	if c.HTTPClient != nil && c.HTTPClient.Timeout > 0 {
		return min(longestPoll, c.HTTPClient.Timeout/2)
	}
	return longestPoll
}

// pollApproval reads an approval when it is pending no more, or after a while.
func (c *Client) pollApproval(ctx context.Context, id string, wait time.Duration) (Approval, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+usualTimeout)
	defer cancel()
	wait = wait.Truncate(time.Second)
	r := get("approvals", id).over("approvals.get", approvalAsked{id, Duration(wait)})
	if wait > 0 {
		r.query = url.Values{"wait": {Duration(wait).String()}}
	}
	return c.approval(ctx, id, r)
}

// Approve says a member's yes. The approval stays pending until as many have
// said it as its Quorum asks for.
func (c *Client) Approve(ctx context.Context, id, comment string) (Approval, error) {
	return c.review(ctx, id, "approve", comment)
}

// Deny says a member's no. One is enough.
func (c *Client) Deny(ctx context.Context, id, comment string) (Approval, error) {
	return c.review(ctx, id, "deny", comment)
}

// Cancel takes an approval back, awaited or given, as long as it is not used. An
// agent takes back its own, without a comment.
func (c *Client) Cancel(ctx context.Context, id, comment string) (Approval, error) {
	r := post(commented{comment}, "approvals", id, "cancel")
	if comment == "" {
		r = r.over("approvals.cancel", approvalAsked{ApprovalID: id})
	}
	return c.approval(ctx, id, r)
}

func (c *Client) review(ctx context.Context, id, verb, comment string) (Approval, error) {
	return c.approval(ctx, id, post(commented{comment}, "approvals", id, verb))
}

// commented is an answer to an approval.
type commented struct {
	Comment string `json:"comment,omitempty"`
}

func (c *Client) approval(ctx context.Context, id string, r request) (Approval, error) {
	var a Approval
	if err := c.call(ctx, r, &a); err != nil {
		return Approval{}, err
	}
	switch {
	case a.ApprovalID != id:
		return Approval{}, fmt.Errorf("%w: the answer is about the approval %q, not %q", ErrUnavailable, a.ApprovalID, id)
	case !a.State.known():
		return Approval{}, fmt.Errorf("%w: the state of approval %s, %q, is unknown", ErrUnavailable, id, a.State)
	}
	return a, nil
}

// ApprovalRule says when a permission asks a person: never if it is zero,
// always, or above an amount.
type ApprovalRule struct {
	Always bool
	// Above is a decimal number in the Currency of the terms.
	Above string
}

// MarshalJSON writes a boolean, or the amount.
func (a ApprovalRule) MarshalJSON() ([]byte, error) {
	if a.Above != "" {
		return json.Marshal(a.Above)
	}
	return json.Marshal(a.Always)
}

// UnmarshalJSON takes a boolean, or an amount as a string or a number. Anything
// else is an error: it must not pass for never.
func (a *ApprovalRule) UnmarshalJSON(b []byte) error {
	*a = ApprovalRule{}
	switch v := jsontext.Value(b); v.Kind() {
	case 't', 'f':
		return json.Unmarshal(b, &a.Always)
	case '0':
		a.Above = string(b)
		return nil
	case '"':
		if err := json.Unmarshal(b, &a.Above); err != nil {
			return err
		}
		if a.Above != "" {
			return nil
		}
	}
	return fmt.Errorf("requiresApproval is %s, neither true, nor false, nor an amount", b)
}

// ApprovalTerms narrow, for one permission, what the account's settings say of
// approvals. What is zero is left to those.
type ApprovalTerms struct {
	// MinRole is "APPROVER", "ADMIN" or "OWNER".
	MinRole string `json:"minRole,omitempty"`
	// Quorum is how many people have to say yes.
	Quorum     int      `json:"quorum,omitzero"`
	PendingFor Duration `json:"pendingFor,omitzero"`
	ValidFor   Duration `json:"validFor,omitzero"`
	DenialFor  Duration `json:"denialFor,omitzero"`
}

// ApprovalSettings are what an account says of approvals.
type ApprovalSettings struct {
	// PendingFor is how long an approval waits for people, ValidFor how long
	// their yes can be used, and DenialFor how long a no answers the same ask.
	PendingFor Duration `json:"pendingFor"`
	ValidFor   Duration `json:"validFor"`
	DenialFor  Duration `json:"denialFor"`
	// RemindEvery is how often reviewers are told again, never if 0.
	RemindEvery Duration `json:"remindEvery"`
	// MostPending bounds the open approvals of one agent.
	MostPending int `json:"mostPending"`
	// SelfApproval lets members approve what the agents they drive ask.
	SelfApproval bool `json:"selfApproval"`
	// ShareComments lets agents read the comments of those who deny them.
	ShareComments bool `json:"shareComments"`
}

// ApprovalChanges are what can be changed of the approval settings. What is nil
// stays.
type ApprovalChanges struct {
	PendingFor    *Duration `json:"pendingFor,omitzero"`
	ValidFor      *Duration `json:"validFor,omitzero"`
	DenialFor     *Duration `json:"denialFor,omitzero"`
	RemindEvery   *Duration `json:"remindEvery,omitzero"`
	MostPending   *int      `json:"mostPending,omitzero"`
	SelfApproval  *bool     `json:"selfApproval,omitzero"`
	ShareComments *bool     `json:"shareComments,omitzero"`
}

// setDriver is the body of a [Client.SetDriver].
type setDriver struct {
	Driver string `json:"driver"`
}

// SetDriver records which member an agent acts for, who may then not approve
// what it asks. Empty, it is nobody.
func (c *Client) SetDriver(ctx context.Context, agentID, memberID string) (Agent, error) {
	return c.agent(ctx, request{
		method: http.MethodPut, path: []string{"agents", agentID, "driver"}, body: setDriver{memberID}, want: http.StatusOK,
	})
}
