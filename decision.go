package behalf

import (
	"bufio"
	"bytes"
	"context"
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
// no limit.
type DecisionQuery struct {
	AgentID string
	Outcome Outcome
	Action  string
	// Since is included, Until is not.
	Since, Until time.Time
	// Limit is the most on a page; 0 leaves it to the server.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

func (q DecisionQuery) values() url.Values {
	v := url.Values{}
	set(v, "agentId", q.AgentID)
	set(v, "outcome", string(q.Outcome))
	set(v, "action", q.Action)
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
