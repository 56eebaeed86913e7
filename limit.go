package behalf

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Limits bound what is allowed over time: money by Budgets, the number of allows
// by Rates. All of them hold at once.
type Limits struct {
	Budgets []Budget `json:"budgets,omitzero"`
	Rates   []Rate   `json:"rates,omitzero"`
}

// Budget is the most that may be spent in each window of a calendar.
type Budget struct {
	// Amount is a decimal number.
	Amount string `json:"amount"`
	// Currency is that of the terms, or else the account's, if it is empty.
	Currency string `json:"currency,omitempty"`
	// Per is "hour", "day", "week", "month" or "total".
	Per string `json:"per"`
	// TimeZone is the IANA name of the zone whose calendar counts; the account's
	// if it is empty.
	TimeZone string `json:"timeZone,omitempty"`
}

// Rate is the most allows in each window of a calendar.
type Rate struct {
	Count int64 `json:"count"`
	// Per is "minute", "hour", "day" or "total".
	Per      string `json:"per"`
	TimeZone string `json:"timeZone,omitempty"`
}

// Left is what is left of one limit in its present window.
type Left struct {
	Per string `json:"per"`
	// Currency is empty for a rate, whose figures count allows.
	Currency string `json:"currency,omitempty"`
	Most     string `json:"most"`
	Used     string `json:"used"`
	Left     string `json:"left"`
	// WindowEndsAt is zero for a total.
	WindowEndsAt time.Time `json:"windowEndsAt,omitzero"`
}

// AgentLimits are the limits of an agent, over all its permissions together.
type AgentLimits struct {
	AgentID         string `json:"agentId"`
	PassportVersion uint64 `json:"passportVersion"`
	Limits
	Left []Left `json:"left"`
}

// AgentLimits reads an agent's own limits.
func (c *Client) AgentLimits(ctx context.Context, agentID string) (AgentLimits, error) {
	var l AgentLimits
	err := c.call(ctx, get("agents", agentID, "limits"), &l)
	return l, err
}

// SetAgentLimits gives an agent other limits in one step. The zero Limits end
// them.
func (c *Client) SetAgentLimits(ctx context.Context, agentID string, limits Limits) (AgentLimits, error) {
	var l AgentLimits
	err := c.call(ctx, request{
		method: http.MethodPut, path: []string{"agents", agentID, "limits"}, body: limits, want: http.StatusOK,
	}, &l)
	return l, err
}

// AccountLimits are the limits of an account, over all its agents together.
type AccountLimits struct {
	Limits
	Left []Left `json:"left"`
}

// AccountLimits reads the account's limits.
func (c *Client) AccountLimits(ctx context.Context) (AccountLimits, error) {
	var l AccountLimits
	err := c.call(ctx, get("account", "limits"), &l)
	return l, err
}

// SetAccountLimits gives the account other limits in one step. The zero Limits
// end them.
func (c *Client) SetAccountLimits(ctx context.Context, limits Limits) (AccountLimits, error) {
	var l AccountLimits
	err := c.call(ctx, request{
		method: http.MethodPut, path: []string{"account", "limits"}, body: limits, want: http.StatusOK,
	}, &l)
	return l, err
}

// Duration is a length of time, in JSON as "24h", "30m" or "90s". The server
// takes whole seconds.
type Duration time.Duration

func (d Duration) String() string {
	s := time.Duration(d).String()
	if cut, ok := strings.CutSuffix(s, "m0s"); ok {
		s = cut + "m"
	}
	if cut, ok := strings.CutSuffix(s, "h0m"); ok {
		s = cut + "h"
	}
	return s
}

// MarshalText writes what String says.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [time.ParseDuration] does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}
