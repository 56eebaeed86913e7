package behalf_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/behalf-platform/behalf"
)

// said is what a server that can't be trusted answers to every request.
type said struct {
	status int
	body   string
	// retryAfter is a header, and silent says nothing until the caller gives up.
	retryAfter string
	silent     bool
	// short promises more than the body over HTTP.
	short bool
}

// faked is a client of such a server, and how often it was asked. heard is closed
// once it was.
type faked struct {
	client *behalf.Client
	asked  *atomic.Int32
	heard  <-chan struct{}
}

// untilHeard is a context whose deadline is over as soon as the server was asked,
// if it is one that says nothing.
func (f faked) untilHeard(ctx context.Context, s said) context.Context {
	if !s.silent {
		return ctx
	}
	return overdue{ctx, f.heard}
}

// overdue is a context whose deadline is over when a channel is closed.
type overdue struct {
	context.Context
	over <-chan struct{}
}

func (o overdue) Done() <-chan struct{} { return o.over }

func (o overdue) Err() error {
	select {
	case <-o.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// fakes are the ways to such a server.
var fakes = map[string]func(*testing.T, said) faked{"HTTP": fakeHTTP, "NATS": fakeNATS}

func fakeHTTP(t *testing.T, s said) faked {
	t.Helper()
	var asked atomic.Int32
	heard := make(chan struct{})
	client := handledBy(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(heard)
		}
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
		if s.silent {
			<-r.Context().Done()
			return
		}
		if s.retryAfter != "" {
			w.Header().Set("Retry-After", s.retryAfter)
		}
		if s.short {
			w.Header().Set("Content-Length", strconv.Itoa(len(s.body)+100))
		}
		w.WriteHeader(s.status)
		_, _ = io.WriteString(w, s.body)
	})
	return faked{client, &asked, heard}
}

func fakeNATS(t *testing.T, s said) faked {
	t.Helper()
	var asked atomic.Int32
	srv := mustNATS(t)
	conn := mustConnectNATS(t, srv)
	heard := make(chan struct{})
	_, err := conn.Subscribe("behalf.v1.>", func(m *nats.Msg) {
		if asked.Add(1) == 1 {
			close(heard)
		}
		if s.silent {
			return
		}
		answer := nats.NewMsg(m.Reply)
		if s.status != http.StatusOK {
			answer.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(s.status))
			answer.Header.Set(micro.ErrorHeader, "SOME_CODE")
		}
		if s.retryAfter != "" {
			answer.Header.Set("Retry-After", s.retryAfter)
		}
		answer.Data = []byte(s.body)
		_ = m.RespondMsg(answer)
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	client, err := behalf.ConnectNATS(nats.DefaultURL, "ollie", "bhf_sk_x", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.NATS.Close)
	return faked{client, &asked, heard}
}

func mustNATS(t *testing.T) *server.Server {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	return srv
}

func mustConnectNATS(t *testing.T, srv *server.Server) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// surfaces are what stands before an action. Each is tried with the ask of this
// package's tests, and returns why the action was blocked, and whether it was
// run in spite of that.
var surfaces = map[string]func(context.Context, *testing.T, *behalf.Client) (ran bool, err error){
	"Guard": func(ctx context.Context, _ *testing.T, c *behalf.Client) (ran bool, err error) {
		err = c.Guard(ctx, ask, func(context.Context, behalf.Packet) error { ran = true; return nil })
		return ran, err
	},
	"Transport": func(ctx context.Context, t *testing.T, c *behalf.Client) (bool, error) {
		var reached atomic.Bool
		target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
		defer target.Close()
		body := &closing{Reader: strings.NewReader("order")}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.URL, body)
		if err != nil {
			return false, err
		}
		web := http.Client{Transport: &behalf.Transport{Client: c, Ask: func(*http.Request) (behalf.Ask, error) { return ask, nil }}}
		resp, err := web.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		if !body.closed.Load() {
			t.Error("the body was not closed")
		}
		return reached.Load(), err
	},
	"Middleware": func(ctx context.Context, t *testing.T, c *behalf.Client) (ran bool, err error) {
		guarded := behalf.Middleware(c, func(*http.Request) behalf.Ask { return ask },
			behalf.OnBlocked(func(_ context.Context, blocked error) { err = blocked }))
		w := httptest.NewRecorder()
		guarded(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })).
			ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/orders", nil))
		want := http.StatusServiceUnavailable
		if isA[*behalf.Denied](err) || isA[*behalf.ApprovalRequired](err) {
			want = http.StatusForbidden
		}
		if !ran && (w.Code != want || !strings.Contains(w.Body.String(), `"allowed":false`)) {
			t.Errorf("got %d %s, want %d", w.Code, w.Body, want)
		}
		return ran, err
	},
}

// closing is a body that remembers whether it was closed.
type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error {
	c.closed.Store(true)
	return nil
}
