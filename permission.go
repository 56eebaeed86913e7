package behalf

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Terms are what a permission says. A list that is nil is no limit of its kind;
// the server refuses an empty one, which could mean all or nothing.
type Terms struct {
	Action         string   `json:"action,omitempty"`
	AllowedActions []string `json:"allowedActions,omitzero"`
	// BlockedActions deny, for whatever Resource and Vendors cover, what any
	// other permission allows.
	BlockedActions []string `json:"blockedActions,omitzero"`
	// Resource are patterns: * within a segment, ** across, ? one character.
	Resource Patterns `json:"resource,omitzero"`
	// Vendors are hosts; "*.example.com" is what lies below, not the apex.
	Vendors Patterns `json:"vendors,omitzero"`
	// MaxAmount is the most one request may move, as a decimal number.
	MaxAmount string     `json:"maxAmount,omitempty"`
	Currency  string     `json:"currency,omitempty"`
	Context   *Condition `json:"context,omitzero"`

	Paths       []string `json:"paths,omitzero"`
	DeniedPaths []string `json:"deniedPaths,omitzero"`
	// DeniedCommands are what no part of a shell command may be ("rm -rf").
	DeniedCommands []string `json:"deniedCommands,omitzero"`

	NotBefore   time.Time    `json:"notBefore,omitzero"`
	ExpiresAt   time.Time    `json:"expiresAt,omitzero"`
	TimeWindows []TimeWindow `json:"timeWindows,omitzero"`

	Description string `json:"description,omitempty"`
	// Notes are for members; the agent never sees them.
	Notes string `json:"notes,omitempty"`

	// RequiresApproval asks a person before it allows; Approval says whom, and
	// for how long.
	RequiresApproval ApprovalRule   `json:"requiresApproval,omitzero"`
	Approval         *ApprovalTerms `json:"approval,omitzero"`
	Limits
}

// Condition limits where an agent is working. All that are given must hold.
type Condition struct {
	Branch      Patterns `json:"branch,omitzero"`
	Environment Patterns `json:"environment,omitzero"`
	Repository  Patterns `json:"repository,omitzero"`
}

// TimeWindow is hours of the week in a time zone.
type TimeWindow struct {
	Days     []string `json:"days"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	TimeZone string   `json:"timeZone"`
}

// Patterns is a list of which any may match. In JSON, one alone is a string.
type Patterns []string

// UnmarshalJSON takes a string or a list of strings.
func (p *Patterns) UnmarshalJSON(b []byte) error {
	if jsontext.Value(b).Kind() != '"' {
		return json.Unmarshal(b, (*[]string)(p))
	}
	*p = make(Patterns, 1)
	return json.Unmarshal(b, &(*p)[0])
}

// Permission is one entry of a passport.
type Permission struct {
	PermissionID string `json:"permissionId"`
	// Status is "active", "not_yet_valid", "expired" or "revoked".
	Status          string `json:"status"`
	PassportVersion uint64 `json:"passportVersion"`
	// Version is what [Client.Replace] takes as the version looked at.
	Version uint64 `json:"version"`
	Terms
	// Left is what is left of its limits, if it has any.
	Left []Left `json:"left,omitzero"`
	// Summary says the terms in a sentence.
	Summary   string    `json:"summary"`
	GrantedAt time.Time `json:"grantedAt"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
}

// PermissionList is all permissions of an agent, oldest first.
type PermissionList struct {
	PassportVersion uint64       `json:"passportVersion"`
	Permissions     []Permission `json:"permissions"`
}

// Permissions lists an agent's permissions, the revoked ones too.
func (c *Client) Permissions(ctx context.Context, agentID string) (PermissionList, error) {
	var list PermissionList
	err := c.call(ctx, get("agents", agentID, "permissions"), &list)
	return list, err
}

// Permission reads one permission.
func (c *Client) Permission(ctx context.Context, agentID, permissionID string) (Permission, error) {
	return c.permission(ctx, get("agents", agentID, "permissions", permissionID))
}

// Grant adds a permission to an agent's passport.
func (c *Client) Grant(ctx context.Context, agentID string, terms Terms) (Permission, error) {
	return c.grant(ctx, agentID, terms)
}

// GrantJSON is Grant with terms that are JSON already, such as a file's. The
// server reads each field of them or refuses, including those that this
// version of the package doesn't know.
func (c *Client) GrantJSON(ctx context.Context, agentID string, terms []byte) (Permission, error) {
	return c.grant(ctx, agentID, jsontext.Value(terms))
}

func (c *Client) grant(ctx context.Context, agentID string, terms any) (Permission, error) {
	r := post(terms, "agents", agentID, "permissions")
	r.want = http.StatusCreated
	return c.permission(ctx, r)
}

// Replace gives a permission other terms in one step: no moment has both, or
// neither. With a version other than 0 it is refused if the permission has
// changed since that version.
func (c *Client) Replace(ctx context.Context, agentID, permissionID string, terms Terms, version uint64) (Permission, error) {
	return c.replace(ctx, agentID, permissionID, terms, version)
}

// ReplaceJSON is to Replace what [Client.GrantJSON] is to Grant.
func (c *Client) ReplaceJSON(ctx context.Context, agentID, permissionID string, terms []byte, version uint64) (Permission, error) {
	return c.replace(ctx, agentID, permissionID, jsontext.Value(terms), version)
}

func (c *Client) replace(ctx context.Context, agentID, permissionID string, terms any, version uint64) (Permission, error) {
	r := request{
		method: http.MethodPut, path: []string{"agents", agentID, "permissions", permissionID},
		body: terms, want: http.StatusOK,
	}
	if version != 0 {
		r.ifMatch = `"` + strconv.FormatUint(version, 10) + `"`
	}
	return c.permission(ctx, r)
}

// Revocation is the end of a permission.
type Revocation struct {
	PermissionID    string `json:"permissionId"`
	Status          string `json:"status"`
	PassportVersion uint64 `json:"passportVersion"`
}

// Revoke ends a permission. Once it returns without an error, no verify that
// begins can be allowed by it. After an error its fate is unknown; revoking
// again is safe.
func (c *Client) Revoke(ctx context.Context, agentID, permissionID, reason string) (Revocation, error) {
	var out Revocation
	err := c.call(ctx, post(reasoned{reason}, "agents", agentID, "permissions", permissionID, "revoke"), &out)
	return out, err
}

func (c *Client) permission(ctx context.Context, r request) (Permission, error) {
	var p Permission
	err := c.call(ctx, r, &p)
	return p, err
}
