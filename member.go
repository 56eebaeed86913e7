package behalf

import (
	"context"
	"net/http"
)

// Member is a person of an account, or a tool that acts for one.
type Member struct {
	MemberID string `json:"memberId"`
	Name     string `json:"name"`
	// Role is "OWNER", "ADMIN", "APPROVER" or "VIEWER".
	Role string `json:"role"`
	// Token is there when it was just made, and never again.
	Token string `json:"token,omitempty"`
}

// Members lists the account's members.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	var out struct {
		Members []Member `json:"members"`
	}
	err := c.call(ctx, get("members"), &out)
	return out.Members, err
}

// AddMember adds a member. The Token is shown this once.
func (c *Client) AddMember(ctx context.Context, name, role string) (Member, error) {
	r := post(struct {
		Name string `json:"name"`
		Role string `json:"role"`
	}{name, role}, "members")
	r.want = http.StatusCreated
	return c.member(ctx, r)
}

// ChangeRole gives a member another role.
func (c *Client) ChangeRole(ctx context.Context, id, role string) (Member, error) {
	return c.member(ctx, request{
		method: http.MethodPatch, path: []string{"members", id}, want: http.StatusOK,
		body: struct {
			Role string `json:"role"`
		}{role},
	})
}

// RotateToken gives a member a new token, shown this once. The old one is dead.
func (c *Client) RotateToken(ctx context.Context, id string) (Member, error) {
	return c.member(ctx, post(struct{}{}, "members", id, "rotate-token"))
}

// RemoveMember ends a member's rights.
func (c *Client) RemoveMember(ctx context.Context, id string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"members", id}, want: http.StatusNoContent}, nil)
}

func (c *Client) member(ctx context.Context, r request) (Member, error) {
	var m Member
	err := c.call(ctx, r, &m)
	return m, err
}

// Account is an account's settings.
type Account struct {
	AccountID string `json:"accountId"`
	Name      string `json:"name"`
	// DefaultCurrency is that of amounts that name none.
	DefaultCurrency string `json:"defaultCurrency"`
	// TimeZone is the IANA name of the zone whose calendar limits count in,
	// unless they name one.
	TimeZone  string           `json:"timeZone"`
	Approvals ApprovalSettings `json:"approvals"`
	// DecisionRetention is how long decisions are kept, 0 for ever.
	DecisionRetention Duration `json:"decisionRetention,omitzero"`
	Version           uint64   `json:"version"`
}

// Settings are what can be changed of an account. What is empty stays.
type Settings struct {
	Name            string `json:"name,omitempty"`
	DefaultCurrency string `json:"defaultCurrency,omitempty"`
	TimeZone        string `json:"timeZone,omitempty"`
	// Approvals changes only what it names. Its SelfApproval is for an owner.
	Approvals ApprovalChanges `json:"approvals,omitzero"`
	// DecisionRetention is in whole hours, a day or more, or 0 for ever.
	DecisionRetention *Duration `json:"decisionRetention,omitzero"`
}

// Account reads the account's settings.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var a Account
	err := c.call(ctx, get("account"), &a)
	return a, err
}

// ChangeAccount changes the account's settings.
func (c *Client) ChangeAccount(ctx context.Context, s Settings) (Account, error) {
	var a Account
	err := c.call(ctx, request{method: http.MethodPatch, path: []string{"account"}, body: s, want: http.StatusOK}, &a)
	return a, err
}

// Identity is whose credential the client holds.
type Identity struct {
	// Kind is "agent" or "member".
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	AccountID string `json:"accountId"`
	// Role is a member's.
	Role string `json:"role,omitempty"`
}

// Me asks whose credential the client holds.
func (c *Client) Me(ctx context.Context) (Identity, error) {
	var id Identity
	err := c.call(ctx, get("me"), &id)
	return id, err
}
