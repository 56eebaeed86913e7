package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-platform/behalf/infra/webhooksig"
)

// Delivery is one event on its way to one URL.
type Delivery struct {
	URL string
	// Signer signs, with ID, At and Body. At is when this attempt is made.
	Signer *webhooksig.Signer
	ID     string
	At     time.Time
	// Body is JSON. It must not change any more, even after Send has returned: a
	// connection may still be writing it.
	Body []byte
	// Header is what the customer wants sent along; see [CheckHeader].
	Header http.Header
	// Replay, if set, is the id of the replay this delivery is part of. It is
	// sent as webhook-replay, and not signed.
	Replay string
}

// errTimeout ends an attempt that took too long.
var errTimeout = errors.New("the attempt took too long")

// Send makes one attempt, and does not return before it is over. A connection
// that was kept from before, and turns out to be closed, is replaced by a new
// one in the same attempt; a receiver tells such a repetition by the event's id.
func (c *Client) Send(ctx context.Context, d Delivery) (r Result) {
	start := time.Now()
	defer func() { r.Latency = time.Since(start) }()
	target, err := c.guard.parse(d.URL)
	if err != nil {
		return Result{Category: Invalid, Err: err}
	}
	if err := c.guard.checkHost(target); err != nil {
		return Result{Category: Blocked, Err: err}
	}
	header, err := c.header(d)
	if err != nil {
		return Result{Category: Invalid, Err: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deadline := time.AfterFunc(c.timeout, func() { cancel(errTimeout) })
	defer deadline.Stop()

	// The transport alone: a client around it would follow redirects.
	answer, err := c.transport.RoundTrip(request(ctx, target, header, d.Body))
	if err != nil {
		return ofError(ctx, err)
	}
	defer answer.Body.Close()
	if left := c.timeout - time.Since(start); left > c.linger {
		deadline.Reset(c.linger)
	}
	return c.read(answer)
}

// ofError looks at why ctx ended first: what a transport makes of it varies.
func ofError(ctx context.Context, err error) Result {
	switch cause := context.Cause(ctx); {
	case cause == errTimeout:
		return Result{Category: Timeout, Err: fmt.Errorf("%w: %w", errTimeout, err)}
	case errors.Is(cause, context.DeadlineExceeded):
		return Result{Category: Timeout, Err: err}
	case cause != nil:
		return Result{Category: Cancelled, Err: err}
	}
	return Result{Category: ofExchange(err), Err: err}
}

func request(ctx context.Context, target *url.URL, header http.Header, body []byte) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}
	if len(body) == 0 {
		r.Body, r.GetBody = http.NoBody, nil
	}
	return r.WithContext(ctx)
}

// header is everything that is sent before the body. Names that receivers are
// told of are spelt as they are documented, not as Go would.
func (c *Client) header(d Delivery) (http.Header, error) {
	if d.Signer == nil {
		return nil, errors.New("send a webhook: there is no signer")
	}
	if err := CheckHeader(d.Header); err != nil {
		return nil, err
	}
	var space [12]webhooksig.Field
	fields := append(space[:0],
		webhooksig.Field{Name: "User-Agent", Value: c.userAgent},
		webhooksig.Field{Name: "Content-Type", Value: "application/json"},
		webhooksig.Field{Name: "Accept-Encoding", Value: "identity"})
	fields, err := d.Signer.Sign(fields, webhooksig.Message{ID: d.ID, At: d.At, Body: d.Body})
	if err != nil {
		return nil, err
	}
	if d.Replay != "" {
		if !webhooksig.ValidID(d.Replay) {
			return nil, fmt.Errorf("send a webhook: %+q is not the id of a replay", d.Replay[:min(len(d.Replay), 64)])
		}
		fields = append(fields, webhooksig.Field{Name: "webhook-replay", Value: d.Replay})
	}
	header := make(http.Header, len(fields)+1+len(d.Header))
	values := make([]string, len(fields))
	for i, field := range fields {
		values[i] = field.Value
		header[field.Name] = values[i : i+1 : i+1]
	}
	for name, given := range d.Header {
		header[name] = given
	}
	// Tells the transport, and nobody else, that repeating it is safe.
	header["Idempotency-Key"] = nil
	return header, nil
}
