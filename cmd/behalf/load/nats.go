package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// natsConnections is how many connections the workers share. One writer and one
// reader goroutine each are more than enough for a few; more only split the
// batches that make NATS fast.
const natsConnections = 2

// natsCallers connects, and makes callers that share the connections.
func (o *Options) natsCallers(ctx context.Context, p *plan) (opener, func(), error) {
	var conns []*nats.Conn
	closeAll := func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for _, url := range o.NATSURLs {
		options, err := o.natsOptions(ctx, url)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		for range natsConnections {
			c, err := nats.Connect(url, options...)
			if err != nil {
				closeAll()
				return nil, nil, fmt.Errorf("connect to NATS: %w; check --nats-url, and that the server was started with --nats-listen", err)
			}
			conns = append(conns, c)
		}
	}
	subject := "behalf.v1.verify"
	if o.Preview {
		subject = "behalf.v1.preview"
	}
	headers := make(map[*agent]nats.Header, len(p.agents))
	for _, a := range p.agents {
		headers[a] = nats.Header{"Authorization": {"Bearer " + a.key}}
	}
	return func(_ context.Context, worker int) (caller, error) {
		return newNATSCaller(conns[worker%len(conns)], subject, headers, o.Timeout)
	}, closeAll, nil
}

// natsOptions are how to connect to a NATS server.
func (o *Options) natsOptions(ctx context.Context, url string) ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name("behalf load"), nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectBufSize(-1), nats.Timeout(o.Timeout),
	}
	switch {
	case o.NATSCreds != "":
		return append(options, nats.UserCredentials(o.NATSCreds)), nil
	case strings.Contains(url, "@"):
		return options, nil
	}
	me, err := o.node(0, http.DefaultTransport).Me(ctx)
	if err != nil {
		return nil, err
	}
	return append(options, nats.UserInfo(me.Kind, o.Token), nats.CustomInboxPrefix("_INBOX_"+me.ID)), nil
}

// natsCaller asks over a shared connection. It has one subscription for all its
// answers, since it has one ask in flight; answers to asks it gave up on are
// told by their subject.
type natsCaller struct {
	conn    *nats.Conn
	subject string
	headers map[*agent]nats.Header
	timeout time.Duration

	answers chan *nats.Msg
	sub     *nats.Subscription
	inbox   string
	asked   uint64
	late    *time.Timer
}

func newNATSCaller(conn *nats.Conn, subject string, headers map[*agent]nats.Header, timeout time.Duration) (*natsCaller, error) {
	c := &natsCaller{
		conn: conn, subject: subject, headers: headers, timeout: timeout,
		answers: make(chan *nats.Msg, 16), inbox: conn.NewInbox() + ".", late: time.NewTimer(timeout),
	}
	sub, err := conn.ChanSubscribe(c.inbox+"*", c.answers)
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	c.sub = sub
	return c, conn.FlushTimeout(timeout)
}

func (c *natsCaller) close() {
	_ = c.sub.Unsubscribe() // the connection is closed next
	c.late.Stop()
}

var errNoAnswer = errors.New("no answer in time")

func (c *natsCaller) call(a *agent, body []byte) (status int, answer []byte, err error) {
	c.asked++
	reply := c.inbox + strconv.FormatUint(c.asked, 10)
	if err := c.conn.PublishMsg(&nats.Msg{Subject: c.subject, Reply: reply, Header: c.headers[a], Data: body}); err != nil {
		return 0, nil, err
	}
	c.late.Reset(c.timeout)
	for {
		select {
		case m := <-c.answers:
			if m.Subject != reply {
				continue
			}
			return natsStatus(m), m.Data, nil
		case <-c.late.C:
			return 0, nil, errNoAnswer
		}
	}
}

// natsStatus is the status of an answer in HTTP's terms.
func natsStatus(m *nats.Msg) int {
	code := m.Header.Get(micro.ErrorCodeHeader)
	if code == "" {
		code = m.Header.Get("Status") // NATS itself: 503 is that nobody listens
	}
	if code == "" {
		return http.StatusOK
	}
	status, err := strconv.Atoi(code)
	if err != nil || status == http.StatusOK {
		return http.StatusInternalServerError
	}
	return status
}
