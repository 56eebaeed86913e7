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
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Event is a public event: a CloudEvent 1.0 about something that was recorded.
type Event struct {
	// ID is the same each time the event is given: skip what you have seen.
	ID string `json:"id"`
	// Source is "/accounts/" and the account's id.
	Source string `json:"source"`
	// Type is such as "verification.denied".
	Type string `json:"type"`
	// AgentID is empty for what concerns the account itself.
	AgentID string    `json:"subject,omitempty"`
	Time    time.Time `json:"time"`
	// DataSchema is the URI of the JSON Schema of Data.
	DataSchema string `json:"dataschema"`
	// Sequence orders the events of a source as text.
	Sequence string `json:"sequence"`
	// Cursor is from where to go on after the event.
	Cursor string         `json:"cursor"`
	Data   jsontext.Value `json:"data"`
}

// Packet is the decision of a verification that was allowed, denied or requires
// approval, and an error for events of other types.
func (e *Event) Packet() (Packet, error) {
	var p Packet
	switch e.Type {
	case "verification.allowed", "verification.denied", "verification.requires_approval":
		err := json.Unmarshal(e.Data, &p)
		return p, err
	}
	return p, fmt.Errorf("%s is no decision", e.Type)
}

// EventQuery says which events are wanted. An empty list is no limit.
type EventQuery struct {
	// Types are such as "verification.denied", or "approval.*" for all of a noun.
	Types  []string
	Agents []string
	// Since is the least time of what happened; After is the Cursor of an event, or
	// the Position of a packet, that they come after. One of them can be given.
	Since time.Time
	After string
	// Follow goes on with what comes, and without Since and After begins there.
	Follow bool
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	set(v, "type", strings.Join(q.Types, ","))
	set(v, "agent", strings.Join(q.Agents, ","))
	set(v, "after", q.After)
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return v
}

// Events yields the account's public events, oldest first. When it ends without
// an error, those were all there are. With q.Follow it goes on until ctx is done
// or the stream breaks, and yields the reason last. Only a ctx of the caller's
// bounds it. It is for members.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		r := get("events")
		r.query = q.values()
		resp, err := c.send(ctx, r)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer resp.Body.Close()
		at := r.method + " " + resp.Request.URL.Redacted()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, mostAnswer)) // what can't be read is an unknown refusal
			yield(Event{}, fmt.Errorf("%s: %w", at, refusal(resp, body)))
			return
		}
		lines := bufio.NewScanner(beating(resp.Body))
		lines.Buffer(nil, mostAnswer)
		for lines.Scan() {
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue // a heartbeat
			}
			var e Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				yield(Event{}, fmt.Errorf("%s: %w: a line can't be read: %w", at, ErrUnavailable, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if q.Follow || lines.Err() != nil {
			yield(Event{}, fmt.Errorf("%s: %w: the stream ended: %w", at, ErrUnavailable, ended(ctx, lines.Err())))
		}
	}
}

// mostSilence is several of the server's heartbeats.
const mostSilence = time.Minute

// beating reads a body that says something now and then, and closes it when it
// doesn't: a server that is gone without a word would be waited for for ever.
func beating(body io.ReadCloser) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		silent := time.AfterFunc(mostSilence, func() { _ = body.Close() })
		defer silent.Stop()
		return body.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
