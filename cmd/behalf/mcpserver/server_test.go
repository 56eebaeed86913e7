package mcpserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/behalf-platform/behalf"
)

const allowed = `{"requestId":"req_1","agentId":"ollie","decision":"allowed","allowed":true,"reasonCode":"ALLOWED","reason":"because","riskLevel":"low",` +
	`"action":"purchase","amount":"120.00","currency":"USD","passportVersion":7,"position":"AAAAAAAJ","decidedAt":"2026-11-23T12:00:00Z","approvalRequired":false}`

func approval(state string) string {
	return `{"approvalId":"apr_1","state":"` + state + `","agentId":"ollie","requestId":"req_1","action":"purchase","openedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-24T12:00:00Z"}`
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
}

// tools are those of an agent whose permission layer is a function.
func tools(t *testing.T, layer http.HandlerFunc) *Tools {
	t.Helper()
	server := httptest.NewServer(layer)
	t.Cleanup(server.Close)
	return &Tools{Client: &behalf.Client{BaseURL: server.URL, Token: "bhf_sk_test"}, Agent: "ollie", Timeout: 5 * time.Second, Version: "test"}
}

// use connects a client of the SDK.
func use(t *testing.T, tools *Tools) *mcp.ClientSession {
	t.Helper()
	here, there := mcp.NewInMemoryTransports()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = tools.Server().Run(ctx, there) }()
	t.Cleanup(func() { stop(); <-ended })
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), here, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustCall(t *testing.T, s *mcp.ClientSession, tool string, arguments any) (text string, isError bool) {
	t.Helper()
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatal(err)
	}
	return r.Content[0].(*mcp.TextContent).Text, r.IsError
}

type object = map[string]any

var purchase = object{"action": "purchase", "amount": 120}

func TestWhateverBreaksIsAToolError(t *testing.T) {
	t.Parallel()
	with := func(pairs ...string) http.HandlerFunc {
		changed := strings.NewReplacer(pairs...).Replace(allowed)
		if changed == allowed {
			t.Fatalf("the packet has none of %q", pairs)
		}
		return answering(200, changed)
	}
	for name, c := range map[string]struct {
		layer  http.HandlerFunc
		change func(*Tools)
		says   string // by verify_action
	}{
		"down":      {answering(200, allowed), func(t *Tools) { t.Client.BaseURL = "http://127.0.0.1:1" }, "connection refused"},
		"slow":      {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, func(t *Tools) { t.Timeout = 20 * time.Millisecond }, "no whole answer within 20ms"},
		"500":       {answering(500, `{"error":{"code":"INTERNAL","message":"it broke"}}`), nil, "it broke"},
		"503":       {answering(503, `{"allowed":false,"error":{"code":"UNAVAILABLE","message":"the log is away"}}`), nil, "the log is away"},
		"401":       {answering(401, `{"error":{"code":"UNAUTHENTICATED","message":"no such key"}}`), nil, "doesn't take the agent key"},
		"403":       {answering(403, `{"error":{"code":"FORBIDDEN","message":"not for members"}}`), nil, "doesn't take the agent key"},
		"429":       {answering(429, `{"error":{"code":"RATE_LIMITED","message":"too many requests"}}`), nil, "too many requests"},
		"malformed": {answering(200, "<html>"), nil, "can't be read"},
		"empty":     {answering(200, ""), nil, "can't be read"},
		"truncated": {answering(200, allowed[:len(allowed)-9]), nil, "can't be read"},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = io.WriteString(w, allowed)
		}, nil, "broke off"},
		"wrong agent":        {with(`"ollie"`, `"max"`), nil, `about the agent "max"`},
		"no agent":           {with(`"ollie"`, `""`), nil, "about the agent"},
		"wrong action":       {with(`"purchase"`, `"refund"`), nil, "about the action"},
		"dry":                {answering(200, `{"agentId":"ollie","wouldBe":"allowed","action":"purchase"}`), nil, "what would be"},
		"dry and allowed":    {with(`"decision":"allowed"`, `"wouldBe":"allowed"`), nil, "what would be"},
		"not recorded":       {with(`"AAAAAAAJ"`, `""`), nil, "where it is recorded"},
		"contradictory":      {with(`"allowed":true`, `"allowed":false`), nil, "contradicts itself"},
		"no configuration":   {answering(200, allowed), func(t *Tools) { t.Client, t.Fault = nil, errors.New("set BEHALF_TOKEN") }, "set BEHALF_TOKEN"},
		"nothing at all":     {answering(200, allowed), func(t *Tools) { *t = Tools{} }, "no server to ask"},
		"nobody's key":       {answering(200, allowed), func(t *Tools) { t.Agent = "" }, "not an agent's key"},
		"recorded as broken": {with(`"decision":"allowed","allowed":true,"reasonCode":"ALLOWED"`, `"decision":"denied","allowed":false,"reasonCode":"UNAVAILABLE"`), nil, "because"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := tools(t, c.layer)
			if c.change != nil {
				c.change(served)
			}
			s := use(t, served)
			for tool, arguments := range map[string]object{
				"verify_action": purchase, "get_passport": {}, "get_approval": {"approvalId": "apr_1"}, "wait_for_approval": {"approvalId": "apr_1"},
			} {
				text, isError := mustCall(t, s, tool, arguments)
				if !isError || !strings.Contains(text, "permission layer was unavailable") || !strings.Contains(text, "not a denial") || !strings.Contains(text, "action must not be done") ||
					tool == "verify_action" && !strings.Contains(text, c.says) {
					t.Errorf("%s: got %q, error %t, want an error that says so, and %q", tool, text, isError, c.says)
				}
			}
		})
	}
}

// Whose key it is is asked once, and what is about anybody else is no answer.
func TestOnlyAnswersAboutTheKeysOwnAgentCount(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	about := make(chan string, 1) // whom the answers are about
	s := use(t, func() *Tools {
		served := tools(t, func(w http.ResponseWriter, r *http.Request) {
			body := strings.NewReplacer("/v1/me", `{"kind":"agent","id":"ollie","accountId":"acct_1"}`, "/v1/verify", allowed,
				"/v1/passport", `{"agentId":"ollie","status":"active"}`, "/v1/approvals/apr_1", approval("approved")).Replace(r.URL.Path)
			if r.URL.Path == "/v1/me" {
				asked.Add(1)
			} else {
				body = strings.Replace(body, "ollie", <-about, 1)
			}
			_, _ = io.WriteString(w, body)
		})
		served.Agent = ""
		return served
	}())
	for tool, arguments := range map[string]object{
		"verify_action": purchase, "get_passport": {}, "get_approval": {"approvalId": "apr_1"}, "wait_for_approval": {"approvalId": "apr_1"},
	} {
		for agent, want := range map[string]bool{"ollie": false, "max": true} {
			about <- agent
			if text, isError := mustCall(t, s, tool, arguments); isError != want || want && !strings.Contains(text, "permission layer was unavailable") {
				t.Errorf("%s about %s: got %q, error %t, want %t", tool, agent, text, isError, want)
			}
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times whose key it is, want once", n)
	}
}

func TestVerifyAction(t *testing.T) {
	t.Parallel()
	decided := func(decision string, more ...string) string {
		return strings.NewReplacer(append(more, `"decision":"allowed","allowed":true`, `"decision":"`+decision+`","allowed":false`)...).Replace(allowed)
	}
	for name, c := range map[string]struct{ body, want string }{
		"allowed":           {allowed, "ALLOWED: do exactly this, once."},
		"denied":            {decided("denied", `"ALLOWED"`, `"NO_PERMISSION"`), "DENIED (NO_PERMISSION): don't do it"},
		"requires approval": {decided("requires_approval", `"riskLevel"`, `"approvalId":"apr_1","riskLevel"`), "REQUIRES APPROVAL: don't do it yet. A person has to approve it first: approval apr_1"},
		"without approval":  {decided("requires_approval"), "REQUIRES APPROVAL: don't do it. The decision names no approval"},
	} {
		text, isError := mustCall(t, use(t, tools(t, answering(200, c.body))), "verify_action", purchase)
		if isError || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: got %q, error %t, want %q", name, text, isError, c.want)
		}
	}
}

func TestWhatIsAsked(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	s := use(t, tools(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked <- string(b)
	}))
	_, _ = mustCall(t, s, "verify_action", object{"action": "deploy", "amount": "1.50", "branch": "main", "arguments": object{"a": []int{1}}, "idempotencyKey": "k"})
	if got, want := <-asked, `{"agentId":"ollie","action":"deploy","amount":"1.50","context":{"branch":"main"},"arguments":{"a":[1]},"idempotencyKey":"k"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatIsNotUnderstoodIsNotAllowed(t *testing.T) {
	t.Parallel()
	s := use(t, tools(t, answering(200, allowed)))
	for want, c := range map[string]struct {
		tool      string
		arguments object
	}{
		"/action":     {"verify_action", object{}},
		"/amount":     {"verify_action", object{"action": "purchase", "amount": true}},
		"/vendors":    {"verify_action", object{"action": "purchase", "vendors": "x"}},
		"/Action":     {"verify_action", object{"Action": "purchase"}},
		"/agentId":    {"get_passport", object{"agentId": "max"}},
		"/approvalId": {"get_approval", object{}},
		"/seconds":    {"wait_for_approval", object{"approvalId": "apr_1", "seconds": 9999}},
	} {
		text, isError := mustCall(t, s, c.tool, c.arguments)
		if !isError || !strings.HasPrefix(text, "NOT ALLOWED: ") || !strings.Contains(text, want) {
			t.Errorf("%s %v: got %q, error %t, want an error about %s", c.tool, c.arguments, text, isError, want)
		}
	}
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		"pending": "PENDING: nobody has answered yet", "approved": "APPROVED, which allows nothing by itself", "used": "USED",
		"denied": "NOT APPROVED: the approval is denied", "expired": "NOT APPROVED", "cancelled": "NOT APPROVED",
	} {
		s := use(t, tools(t, answering(200, approval(state))))
		for tool, arguments := range map[string]object{"get_approval": {"approvalId": "apr_1"}, "wait_for_approval": {"approvalId": "apr_1", "seconds": 1}} {
			if text, isError := mustCall(t, s, tool, arguments); isError || !strings.HasPrefix(text, want) {
				t.Errorf("%s of one that is %s: got %q, error %t", tool, state, text, isError)
			}
		}
	}
}

func TestTheToolsSayThatTheyAdvise(t *testing.T) {
	t.Parallel()
	s := use(t, tools(t, answering(200, allowed)))
	if text := s.InitializeResult().Instructions; !strings.Contains(text, "they stop nothing by themselves") {
		t.Errorf("the instructions are %q", text)
	}
	list, err := s.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) != 4 {
		t.Fatalf("got %+v, %v, want four tools", list, err)
	}
	for _, tool := range list.Tools {
		if reads := tool.Name != "verify_action"; tool.Annotations.ReadOnlyHint != reads {
			t.Errorf("%s: got the hint %t, want %t", tool.Name, tool.Annotations.ReadOnlyHint, reads)
		}
	}
}

// A client that sends all it has and closes reads the answers, too.
func TestWhatCameBeforeTheEndIsAnswered(t *testing.T) {
	t.Parallel()
	const begin = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}` + "\n" +
		`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"verify_action","arguments":{"action":"purchase","amount":120}}}` + "\n"
	ended := make(chan struct{}) // that all was read
	served := tools(t, func(w http.ResponseWriter, _ *http.Request) { <-ended; _, _ = io.WriteString(w, allowed) })
	var out bytes.Buffer
	if err := served.Serve(t.Context(), io.MultiReader(strings.NewReader(begin+call), tells(sync.OnceFunc(func() { close(ended) }))), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "ALLOWED: do exactly this") || strings.Contains(got, "NOT ALLOWED") {
		t.Errorf("got %s, want the answer to the call", got)
	}
	slow := tools(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	slow.Timeout = 20 * time.Millisecond
	out.Reset()
	if err := slow.Serve(t.Context(), strings.NewReader(begin+call), &out); err != nil || strings.Contains(out.String(), "\"text\":\"ALLOWED") {
		t.Errorf("got %v and %s, want it to end without a yes", err, out.String())
	}
	if err := served.Serve(t.Context(), strings.NewReader("hello\n"), io.Discard); err == nil || !strings.Contains(err.Error(), "read what the client sends") {
		t.Errorf("got %v, want what is no JSON to be an error", err)
	}
}

// tells calls itself when it is read, which is at the end of what is before it.
type tells func()

func (t tells) Read([]byte) (int, error) {
	t()
	return 0, io.EOF
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	keys := make(chan string, 8)
	served := tools(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/me" { // a key that was brought along
			_, _ = io.WriteString(w, `{"kind":"agent","id":"ollie","accountId":"acct_1"}`)
			return
		}
		keys <- r.Header.Get("Authorization")
		_, _ = io.WriteString(w, allowed)
	})
	ask := func(shared bool, header ...string) (int, string) {
		t.Helper()
		h := httptest.NewServer(served.HTTP(served.Client.BaseURL, shared))
		defer h.Close()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL, strings.NewReader(
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"verify_action","arguments":{"action":"purchase","amount":120}}}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
			if header[i] == "Host" {
				r.Host = header[i+1]
			}
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	for name, c := range map[string]struct {
		shared bool
		header []string
		status int
		key    string
	}{
		"the server's own key":         {true, nil, 200, "Bearer bhf_sk_test"},
		"a key of its own":             {true, []string{"Authorization", "Bearer bhf_sk_other"}, 200, "Bearer bhf_sk_other"},
		"a key of its own, from afar":  {false, []string{"Authorization", "bearer bhf_sk_other"}, 200, "Bearer bhf_sk_other"},
		"no key, from afar":            {false, nil, 401, ""},
		"an empty key":                 {true, []string{"Authorization", "Bearer "}, 401, ""},
		"another scheme":               {true, []string{"Authorization", "Basic eDp5"}, 401, ""},
		"another site's page":          {true, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		"another name of this machine": {true, []string{"Host", "evil.example"}, 403, ""},
	} {
		status, body := ask(c.shared, c.header...)
		if status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, status, body, c.status)
		}
		if c.key == "" {
			continue
		}
		if got := <-keys; got != c.key || !strings.Contains(body, "ALLOWED: do exactly this") {
			t.Errorf("%s: asked with %q and got %s, want %q", name, got, body, c.key)
		}
	}
	if len(keys) != 0 {
		t.Error("what was refused was asked about")
	}
}
