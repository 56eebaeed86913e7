package behalf

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ConnectNATS makes a client that asks over NATS. The id is the agent's, or the
// member's, that the token belongs to, and the client's AgentID: it may read no
// inbox but its own. The token is also the password of the connection, unless
// options say otherwise, which come last. Close the client's NATS after use; a
// connection that breaks is made again by itself, and whatever is asked
// meanwhile fails at once.
//
// Verify, Preview, Passport, Outcome and the reading, waiting for and cancelling
// of approvals are offered there; see [NotOverNATS] for the rest.
func ConnectNATS(url, id, token string, options ...nats.Option) (*Client, error) {
	if url == "" || id == "" || token == "" {
		return nil, fmt.Errorf("%w: to connect to NATS takes a URL, the id of an agent or member, and its token", ErrUnavailable)
	}
	usual := []nats.Option{
		nats.Name("behalf-go"), nats.UserInfo(id, token), nats.CustomInboxPrefix("_INBOX_" + id),
		nats.Timeout(usualTimeout), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), // an agent that is disabled may be enabled again
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // what is asked says so
		nats.ReconnectBufSize(-1), // or it would be asked later, when nobody waits for it any more
	}
	conn, err := nats.Connect(url, append(usual, options...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to NATS: %w", ErrUnavailable, err)
	}
	return &Client{NATS: conn, Token: token, AgentID: id}, nil
}

// NotOverNATS is a request that the service on NATS doesn't offer. It Is
// [errors.ErrUnsupported].
type NotOverNATS struct {
	// Operation is what it is over HTTP, such as "GET /v1/decisions".
	Operation string
}

func (e *NotOverNATS) Error() string {
	return e.Operation + " is not offered over NATS as it was asked for; use a client with a BaseURL instead"
}

// Is reports whether target is [errors.ErrUnsupported].
func (e *NotOverNATS) Is(target error) bool { return target == errors.ErrUnsupported }

// exchangeNATS sends a request over NATS, and returns the body of a success and
// from where it is.
func (c *Client) exchangeNATS(ctx context.Context, r request) (at string, body []byte, err error) {
	if err := r.check(); err != nil {
		return "", nil, err
	}
	if r.operation == "" {
		return "", nil, &NotOverNATS{Operation: r.name()}
	}
	at = "behalf.v1." + r.operation
	m := nats.NewMsg(at)
	if c.Token != "" {
		m.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if r.asked != nil {
		if m.Data, err = json.Marshal(r.asked); err != nil {
			return at, nil, &Error{Code: invalid, Message: "the request can't be written as JSON: " + err.Error()}
		}
	}
	if !c.NATS.IsConnected() { // it might keep the request until it is
		return at, nil, fmt.Errorf("%s: %w: %w", at, ErrUnavailable, &certain{errors.New("there is no connection to NATS now")})
	}
	answer, err := c.NATS.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return at, nil, fmt.Errorf("%s: %w: no node answers there: %w", at, ErrUnavailable, &certain{err})
	case err != nil:
		return at, nil, fmt.Errorf("%s: %w: %w", at, ErrUnavailable, err)
	case len(answer.Data) > mostAnswer:
		return at, nil, fmt.Errorf("%s: %w: the answer is over %d bytes", at, ErrUnavailable, mostAnswer)
	}
	if err := natsRefusal(answer); err != nil {
		return at, nil, fmt.Errorf("%s: %w", at, err)
	}
	return at, answer.Data, nil
}

// natsRefusal reads an answer that is not a success, by any of the headers that
// say so. It returns nil for a success.
func natsRefusal(m *nats.Msg) error {
	code, text, control := m.Header.Get(micro.ErrorCodeHeader), m.Header.Get(micro.ErrorHeader), m.Header.Get("Status")
	if code == "" && text == "" && control == "" {
		return nil
	}
	e := &Error{}
	var err error
	if e.Status, err = strconv.Atoi(code); err != nil || e.Status < 400 {
		e.Status = http.StatusInternalServerError
	}
	e.setRetry(m.Header.Get("Retry-After"))
	if !e.read(m.Data) {
		e.Message = fmt.Sprintf("the answer, %q %q, is not one of a Behalf server's", code+control, text)
	}
	return e
}
