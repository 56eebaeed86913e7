package behalf

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// DecisionQuery says which decisions are wanted. The zero value of a field is
// no limit, and all that are given must hold.
type DecisionQuery struct {
	AgentID      string
	Outcome      Outcome
	ReasonCode   string
	Action       string
	Vendor       string
	Resource     string
	PermissionID string
	ApprovalID   string
	RiskLevel    string // low, medium or high
	// AmountMin and AmountMax, both included, need a Currency.
	AmountMin, AmountMax string
	Currency             string
	PassportVersion      uint64
	// Since is included, Until is not.
	Since, Until time.Time
	// Text is part of the reason.
	Text string
	// AtLeast is the Position of a packet that the answer must know of.
	AtLeast string
	// Limit is the most on a page; 0 leaves it to the server.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

func (q DecisionQuery) values() url.Values {
	v := url.Values{}
	set(v, "agentId", q.AgentID)
	set(v, "outcome", string(q.Outcome))
	set(v, "reasonCode", q.ReasonCode)
	set(v, "action", q.Action)
	set(v, "vendor", q.Vendor)
	set(v, "resource", q.Resource)
	set(v, "permissionId", q.PermissionID)
	set(v, "approvalId", q.ApprovalID)
	set(v, "riskLevel", q.RiskLevel)
	set(v, "amountMin", q.AmountMin)
	set(v, "amountMax", q.AmountMax)
	set(v, "currency", q.Currency)
	set(v, "text", q.Text)
	set(v, "atLeast", q.AtLeast)
	if q.PassportVersion != 0 {
		v.Set("passportVersion", strconv.FormatUint(q.PassportVersion, 10))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		v.Set("until", q.Until.UTC().Format(time.RFC3339Nano))
	}
	setPage(v, q.Limit, q.Cursor)
	return v
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func setPage(v url.Values, limit int, cursor string) {
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	set(v, "cursor", cursor)
}

// DecisionPage is some decisions, newest first. A page can be short, or empty,
// before the last one: that is the one without NextCursor.
type DecisionPage struct {
	Decisions  []Packet `json:"decisions"`
	NextCursor string   `json:"nextCursor,omitempty"`
}

// Decisions lists decisions: an agent its own, a member the account's.
func (c *Client) Decisions(ctx context.Context, q DecisionQuery) (DecisionPage, error) {
	r := get("decisions")
	r.query = q.values()
	var page DecisionPage
	err := c.call(ctx, r, &page)
	return page, err
}

// Decision reads one decision again, with every check that was made.
func (c *Client) Decision(ctx context.Context, requestID string) (Packet, error) {
	var p Packet
	err := c.call(ctx, get("decisions", requestID), &p)
	return p, err
}

// Total is how many decisions had an outcome, and what they asked for in one
// currency.
type Total struct {
	Decision Outcome `json:"decision"`
	Count    int64   `json:"count"`
	Amount   string  `json:"amount,omitempty"`
	Currency string  `json:"currency,omitempty"`
}

// Totals is how many decisions there are, and of which outcomes.
type Totals struct {
	Count  int64   `json:"count"`
	Totals []Total `json:"totals"`
}

// Totals counts the decisions a query matches. Its Limit and Cursor have no effect.
func (c *Client) Totals(ctx context.Context, q DecisionQuery) (Totals, error) {
	r := get("decisions", "totals")
	q.Limit, q.Cursor = 0, ""
	r.query = q.values()
	var t Totals
	err := c.call(ctx, r, &t)
	return t, err
}

// Export writes every decision a query matches to w, newest first, as "csv" or
// "ndjson". After an error what was written is not all. Its Limit and Cursor
// have no effect, and only a ctx of the caller's bounds it.
func (c *Client) Export(ctx context.Context, q DecisionQuery, format string, w io.Writer) error {
	r := get("decisions")
	q.Limit, q.Cursor = 0, ""
	r.query = q.values()
	r.query.Set("format", format)
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	at := r.method + " " + resp.Request.URL.Redacted()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, mostAnswer)) // what can't be read is an unknown refusal
		return fmt.Errorf("%s: %w", at, refusal(resp, body))
	}
	from := &watched{Reader: resp.Body}
	if _, err := io.Copy(w, from); err != nil {
		if from.err == nil { // w's own
			return err
		}
		return fmt.Errorf("%s: %w: the export broke off and is not whole: %w", at, ErrUnavailable, ended(ctx, err))
	}
	return nil
}

// watched remembers whether it was the reading that failed.
type watched struct {
	io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// Explanation says how a decision came about.
type Explanation struct {
	// Passport is the agent's as it was then.
	Passport Passport `json:"passport"`
	// Permissions are those that were looked at, and Checks those of the agent
	// as a whole.
	Permissions []Judged `json:"permissions"`
	Checks      []Check  `json:"checks,omitempty"`
	// Approval is the one that was opened, awaited or used, as it stands now.
	Approval *Approval `json:"approval,omitempty"`
	// ToAllow says what would have had to be otherwise for an allow.
	ToAllow []string `json:"toAllow"`
}

// Judged is a permission as it was, and how it was judged.
type Judged struct {
	PermissionID string `json:"permissionId"`
	Status       string `json:"status"`
	Summary      string `json:"summary"`
	// Decided says that the outcome is by this one.
	Decided bool    `json:"decided"`
	Checks  []Check `json:"checks"`
}

// Explained is a decision with how it came about.
type Explained struct {
	Packet
	Explanation Explanation `json:"explanation"`
}

// Explain reads one decision again and how it came about.
func (c *Client) Explain(ctx context.Context, requestID string) (Explained, error) {
	r := get("decisions", requestID)
	r.query = url.Values{"explain": {"true"}}
	var e Explained
	err := c.call(ctx, r, &e)
	return e, err
}

// Follow yields each decision as it is recorded, oldest first, from now on or
// from q.Since if it is set. It goes on until ctx is done or the stream breaks,
// and yields the reason last. Only a ctx of the caller's bounds it.
func (c *Client) Follow(ctx context.Context, q DecisionQuery) iter.Seq2[Packet, error] {
	return func(yield func(Packet, error) bool) {
		r := get("decisions")
		r.query = q.values()
		r.query.Set("follow", "true")
		resp, err := c.send(ctx, r)
		if err != nil {
			yield(Packet{}, err)
			return
		}
		defer resp.Body.Close()
		at := r.method + " " + resp.Request.URL.Redacted()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, mostAnswer)) // what can't be read is an unknown refusal
			yield(Packet{}, fmt.Errorf("%s: %w", at, refusal(resp, body)))
			return
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, mostAnswer)
		for lines.Scan() {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue // a heartbeat
			}
			var p Packet
			if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
				yield(Packet{}, fmt.Errorf("%s: %w: a line can't be read: %w", at, ErrUnavailable, err))
				return
			}
			if !yield(p, nil) {
				return
			}
		}
		yield(Packet{}, fmt.Errorf("%s: %w: the stream ended: %w", at, ErrUnavailable, ended(ctx, lines.Err())))
	}
}

// ended is why a stream ended.
func ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	return io.ErrUnexpectedEOF
}
