// Package behalf asks a Behalf server what an AI agent may do, and manages
// agents and the permissions in their passports.
//
// It fails closed. [Client.Verify] returns a packet only if the server answered
// with a whole decision on what was asked; everything else is an error, and an
// error allows nothing. [Client.Guard] runs what an agent wants to do after an
// allow and never otherwise; [Middleware] and [Transport] are that for net/http.
// The package never remembers an answer and never follows a redirect; only Guard
// asks again by itself, with the same idempotency key.
package behalf

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

// Client speaks to one server with one credential. It may be used by many
// goroutines at once while its fields stay as they are.
type Client struct {
	// BaseURL is where the server is, such as "http://127.0.0.1:8080".
	BaseURL string
	// Token is an agent's key (bhf_sk_…) or a member's token (bhf_dev_…).
	Token string
	// AgentID, if it is set, is the one agent whose packets [Client.Verify] takes,
	// also for an ask that names none, such as those of [AskOf].
	AgentID string
	// HTTPClient sends the requests; nil stands for a usual one. Redirects are
	// refused whatever it says: the token would go along.
	HTTPClient *http.Client
	// NATS carries the requests instead, if it is set; see [ConnectNATS]. What
	// the service there doesn't offer ends with [*NotOverNATS].
	NATS *nats.Conn
}

const (
	// usualTimeout bounds a call whose ctx has no deadline: an agent that waits
	// for ever is safe, and of no use.
	usualTimeout = 10 * time.Second
	// mostAnswer bounds what is read of an answer, in bytes.
	mostAnswer = 1 << 20
)

// request is one exchange with the server.
type request struct {
	method string
	// path is what follows /v1, or the server's address if it is outside, one
	// element for each segment.
	path    []string
	outside bool
	query   url.Values
	ifMatch string
	// body is sent as JSON; nil sends none.
	body any
	// want is the one status that is a success.
	want int
	// operation is the name over NATS, "" if it has none, and asked what is sent
	// there as JSON; nil sends nothing.
	operation string
	asked     any
}

func get(path ...string) request {
	return request{method: http.MethodGet, path: path, want: http.StatusOK}
}

func post(body any, path ...string) request {
	return request{method: http.MethodPost, path: path, body: body, want: http.StatusOK}
}

// over says how to ask the same over NATS.
func (r request) over(operation string, asked any) request {
	r.operation, r.asked = operation, asked
	return r
}

// check refuses ids that would not name the thing but what lies above or beside
// it.
func (r request) check() error {
	for _, segment := range r.path {
		if segment == "" || segment == "." || segment == ".." {
			return &Error{Code: invalid, Message: strconv.Quote(segment) + " is not an id"}
		}
	}
	return nil
}

// name is what to call a request in an error.
func (r request) name() string { return r.method + " /v1/" + strings.Join(r.path, "/") }

// call sends a request and reads the answer into out.
func (c *Client) call(ctx context.Context, r request, out any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, usualTimeout)
		defer cancel()
	}
	exchange := c.exchange
	if c.NATS != nil {
		exchange = c.exchangeNATS
	}
	at, body, err := exchange(ctx, r)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: %w: the answer can't be read: %w", at, ErrUnavailable, err)
	}
	return nil
}

// exchange sends a request over HTTP, and returns the body of a success and from
// where it is.
func (c *Client) exchange(ctx context.Context, r request) (at string, body []byte, err error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	at = r.method + " " + resp.Request.URL.Redacted()
	body, err = io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case err != nil:
		return at, nil, fmt.Errorf("%s: %w: the answer broke off: %w", at, ErrUnavailable, err)
	case len(body) > mostAnswer:
		return at, nil, fmt.Errorf("%s: %w: the answer is over %d bytes", at, ErrUnavailable, mostAnswer)
	case resp.StatusCode != r.want:
		return at, nil, fmt.Errorf("%s: %w", at, refusal(resp, body))
	}
	return at, body, nil
}

// asking is, in a context, what a client asks the permission layer itself: no
// request but this one.
type asking struct {
	client  *Client
	address string
}

// askingKey is where a context has an asking.
type askingKey struct{}

// asks reports whether a request is one of the client's own to the permission
// layer.
func (c *Client) asks(r *http.Request) bool {
	a, ok := r.Context().Value(askingKey{}).(asking)
	return ok && a.client == c && a.address == r.URL.String()
}

// send sends a request over HTTP. The answer's body is the caller's to close.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	if c.NATS != nil {
		return nil, &NotOverNATS{Operation: r.name()}
	}
	req, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return resp, nil
}

func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	address, err := c.address(r)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return nil, &Error{Code: invalid, Message: "the request can't be written as JSON: " + err.Error()}
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%w: the server's address: %w", ErrUnavailable, &certain{err})
	}
	req = req.WithContext(context.WithValue(ctx, askingKey{}, asking{c, req.URL.String()}))
	req.Header.Set("User-Agent", "behalf-go")
	req.Header.Set("Accept", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	return req, nil
}

func (c *Client) address(r request) (string, error) {
	if c.BaseURL == "" {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, &certain{errors.New("the client has no BaseURL")})
	}
	if err := r.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(c.BaseURL, "/"))
	if !r.outside {
		b.WriteString("/v1")
	}
	for _, segment := range r.path {
		b.WriteString("/" + url.PathEscape(segment))
	}
	if len(r.query) > 0 {
		b.WriteString("?" + r.query.Encode())
	}
	return b.String(), nil
}

func (c *Client) http() *http.Client {
	client := *cmp.Or(c.HTTPClient, http.DefaultClient)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}
