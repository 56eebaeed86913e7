// Package behalf asks a Behalf server what an AI agent may do, and manages
// agents and the permissions in their passports.
//
// It fails closed. [Client.Verify] returns a packet only if the server answered
// with a whole decision on what was asked; everything else is an error, and an
// error allows nothing. The package never remembers an answer, never follows a
// redirect and never asks a second time by itself.
package behalf

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Client speaks to one server with one credential. It may be used by many
// goroutines at once while its fields stay as they are.
type Client struct {
	// BaseURL is where the server is, such as "http://127.0.0.1:8080".
	BaseURL string
	// Token is an agent's key (bhf_sk_…) or a member's token (bhf_dev_…).
	Token string
	// HTTPClient sends the requests; nil stands for a usual one. Redirects are
	// refused whatever it says: the token would go along.
	HTTPClient *http.Client
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
}

func get(path ...string) request {
	return request{method: http.MethodGet, path: path, want: http.StatusOK}
}

func post(body any, path ...string) request {
	return request{method: http.MethodPost, path: path, body: body, want: http.StatusOK}
}

// call sends a request and reads the answer into out.
func (c *Client) call(ctx context.Context, r request, out any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, usualTimeout)
		defer cancel()
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	at := r.method + " " + resp.Request.URL.Redacted()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w: the answer broke off: %w", at, ErrUnavailable, err)
	case len(body) > mostAnswer:
		return fmt.Errorf("%s: %w: the answer is over %d bytes", at, ErrUnavailable, mostAnswer)
	case resp.StatusCode != r.want:
		return fmt.Errorf("%s: %w", at, refusal(resp, body))
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: %w: the answer can't be read: %w", at, ErrUnavailable, err)
	}
	return nil
}

// send sends a request. The answer's body is the caller's to close.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
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
		return nil, fmt.Errorf("%w: the server's address: %w", ErrUnavailable, err)
	}
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
		return "", fmt.Errorf("%w: the client has no BaseURL", ErrUnavailable)
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(c.BaseURL, "/"))
	if !r.outside {
		b.WriteString("/v1")
	}
	for _, segment := range r.path {
		// These would not name the thing but what lies above or beside it.
		if segment == "" || segment == "." || segment == ".." {
			return "", &Error{Code: invalid, Message: strconv.Quote(segment) + " is not an id"}
		}
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
