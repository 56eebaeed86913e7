package mcpproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-platform/behalf"
)

// stage is a session whose server and client are buffers, and whose permission
// layer is a function.
type stage struct {
	*session
	server, client *said
}

// said collects what is written, from many goroutines.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func newStage(t *testing.T, layer http.HandlerFunc) *stage {
	t.Helper()
	listening := httptest.NewServer(layer)
	t.Cleanup(listening.Close)
	s := &stage{server: &said{}, client: &said{}}
	s.session = (&Proxy{Server: "files", Gate: Gate{
		Client: &behalf.Client{BaseURL: listening.URL, Token: "bhf_sk_test"}, Agent: "ollie", Timeout: 5 * time.Second,
	}}).open(t.Context(), s.server, s.client)
	return s
}

// send hands lines of the client's in and waits until all are decided.
func (s *stage) send(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := s.take([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	s.asking.Wait()
}

func (s *stage) want(t *testing.T, server, client string) {
	t.Helper()
	if got := s.server.String(); got != server {
		t.Errorf("to the server: got %q, want %q", got, server)
	}
	if got := s.client.String(); got != client {
		t.Errorf("to the client: got %q, want %q", got, client)
	}
}

// wantFault is one error with a code, and parts of what it says.
func (s *stage) wantFault(t *testing.T, id string, code int, parts ...string) {
	t.Helper()
	if got := s.server.String(); got != "" {
		t.Errorf("the server got %q, want nothing", got)
	}
	wantFault(t, s.client.String(), id, code, parts...)
}

func wantFault(t *testing.T, line, id string, code int, parts ...string) {
	t.Helper()
	var got struct {
		ID    json.RawMessage `json:"id"`
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("got %q, want one error: %v", line, err)
	}
	if string(got.ID) != id || got.Error.Code != code {
		t.Errorf("got %s, want the id %s and the code %d", line, id, code)
	}
	for _, part := range parts {
		if !strings.Contains(line, part) {
			t.Errorf("got %s, want it to say %q", line, part)
		}
	}
}

// packet is a decision on what was asked.
func packet(ask map[string]any, decision string, more ...string) string {
	p := map[string]any{
		"requestId": "req_1", "agentId": "ollie", "decision": decision, "allowed": decision == "allowed", "reasonCode": "CODE",
		"reason": "because", "riskLevel": "low", "action": ask["action"], "passportVersion": 7, "position": "AAAAAAAJ", "decidedAt": "2026-11-23T12:00:00Z",
		"approvalRequired": decision == "requires_approval",
	}
	if ask["resource"] != nil {
		p["resource"] = ask["resource"]
	}
	for i := 0; i < len(more); i += 2 {
		p[more[i]] = more[i+1]
	}
	b, _ := json.Marshal(p)
	return string(b)
}

// deciding is a permission layer that decides by the resource: what has "deny"
// in it is denied, what has "person" requires approval, all else is allowed.
func deciding(w http.ResponseWriter, r *http.Request) {
	ask := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	resource, _ := ask["resource"].(string)
	decision := "allowed"
	switch {
	case strings.Contains(resource, "deny"):
		decision = "denied"
	case strings.Contains(resource, "person"):
		decision = "requires_approval"
	}
	if r.URL.Path == "/v1/preview" {
		_, _ = io.WriteString(w, `{"agentId":"ollie","wouldBe":"`+decision+`","action":"mcp.call","resource":"`+resource+`","reasonCode":"CODE","checks":[]}`)
		return
	}
	if decision == "requires_approval" {
		_, _ = io.WriteString(w, packet(ask, decision, "approvalId", "apr_1"))
		return
	}
	_, _ = io.WriteString(w, packet(ask, decision))
}

const call = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}`

func TestNothingReachesTheServerUnlessItIsAllowed(t *testing.T) {
	t.Parallel()
	answering := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
	}
	good := packet(map[string]any{"action": "mcp.call", "resource": "mcp://files/write"}, "allowed")
	with := func(old, by string) http.HandlerFunc {
		if !strings.Contains(good, old) {
			t.Fatalf("the packet has no %s", old)
		}
		return answering(200, strings.Replace(good, old, by, 1))
	}
	for name, c := range map[string]struct {
		layer  http.HandlerFunc
		change func(g *Gate)
		says   string
	}{
		"down":      {layer: deciding, change: func(g *Gate) { g.Client.BaseURL = "http://127.0.0.1:1" }, says: "unavailable"},
		"slow":      {layer: func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, change: func(g *Gate) { g.Timeout = 20 * time.Millisecond }, says: "no whole answer within 20ms"},
		"500":       {layer: answering(500, `{"error":{"code":"INTERNAL","message":"no"}}`)},
		"503":       {layer: answering(503, `{"allowed":false,"reasonCode":"UNAVAILABLE","error":{"code":"UNAVAILABLE","message":"no"}}`)},
		"401":       {layer: answering(401, `{"error":{"code":"UNAUTHENTICATED","message":"no such key"}}`), says: "no such key"},
		"400":       {layer: answering(400, `{"error":{"code":"INVALID_REQUEST","message":"is wrong"}}`), says: "is wrong"},
		"429":       {layer: answering(429, `{"error":{"code":"RATE_LIMITED","message":"wait"}}`)},
		"201":       {layer: answering(201, good)},
		"redirect":  {layer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }},
		"malformed": {layer: answering(200, "<html>")},
		"empty":     {layer: answering(200, "")},
		"truncated": {layer: answering(200, good[:len(good)-20])},
		"broken off": {layer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = io.WriteString(w, good)
		}},
		"wrong agent":             {layer: with(`"ollie"`, `"max"`), says: "about the agent"},
		"wrong action":            {layer: with(`"mcp.call"`, `"mcp.read"`), says: "about the action"},
		"wrong resource":          {layer: with(`mcp://files/write`, `mcp://files/read`), says: "about the resource"},
		"dry":                     {layer: answering(200, `{"agentId":"ollie","wouldBe":"allowed","action":"mcp.call","resource":"mcp://files/write","reasonCode":"ALLOWED","checks":[]}`)},
		"dry and allowed":         {layer: with(`"decision":"allowed"`, `"wouldBe":"allowed"`)},
		"contradictory":           {layer: with(`"allowed":true`, `"allowed":false`)},
		"unknown":                 {layer: with(`"decision":"allowed"`, `"decision":"sure"`)},
		"not recorded":            {layer: with(`"AAAAAAAJ"`, `""`)},
		"recorded as unavailable": {layer: answering(200, strings.NewReplacer(`"decision":"allowed"`, `"decision":"denied"`, `"allowed":true`, `"allowed":false`, `"CODE"`, `"UNAVAILABLE"`).Replace(good)), says: "because"},
		"no configuration":        {layer: deciding, change: func(g *Gate) { g.Client, g.Fault = nil, errors.New("set BEHALF_TOKEN") }, says: "set BEHALF_TOKEN"},
		"nobody's key":            {layer: deciding, change: func(g *Gate) { g.Agent = "" }},
		"nothing at all":          {layer: deciding, change: func(g *Gate) { *g = Gate{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, line := range []string{
				call,
				`{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"uri":"file:///a"}}`,
				`{"jsonrpc":"2.0","id":7,"method":"resources/subscribe","params":{"uri":"file:///a"}}`,
				`{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"name":"write"}}`,
				`{"jsonrpc":"2.0","id":7,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"write"},"argument":{"name":"a","value":"b"}}}`,
				`{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["file:///a"]}}}`,
			} {
				s := newStage(t, c.layer)
				if c.change != nil {
					c.change(&s.Gate)
				}
				s.send(t, line)
				if line != call {
					s.wantFault(t, "7", CodeUnavailable, "permission layer is unavailable") // a packet on a call is wrong for these
					continue
				}
				s.wantFault(t, "7", CodeUnavailable, "permission layer is unavailable", "not a denial", `"decision":"unavailable"`, c.says)
			}
		})
	}
}

// Whose key it is is asked once, and a packet about anybody else is no answer.
func TestOnlyPacketsOfTheKeysOwnAgentCount(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string]string{
		`{"kind":"agent","id":"ollie"}`: "",
		`{"kind":"agent","id":"max"}`:   "about the agent",
		`{"kind":"agent"}`:              "not an agent's key",
		`{"kind":"member","id":"mem"}`:  "not an agent's key",
		`<html>`:                        "can't be read",
	} {
		var asked atomic.Int32
		s := newStage(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/me" {
				deciding(w, r)
				return
			}
			asked.Add(1)
			_, _ = io.WriteString(w, owner)
		})
		s.Gate.Agent = ""
		s.send(t, call)
		if want != "" {
			s.wantFault(t, "7", CodeUnavailable, want)
			continue
		}
		s.send(t, call)
		s.want(t, call+"\n"+call+"\n", "")
		if n := asked.Load(); n != 1 {
			t.Errorf("it was asked %d times whose key it is, want once", n)
		}
	}
}

func TestADecisionIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string][]string{
		"deny":   {"Denied by the agent's passport", `"decision":"denied"`, `"reasonCode":"CODE"`, `"requestId":"req_1"`},
		"person": {"Needs approval", `"decision":"requires_approval"`, `"approvalId":"apr_1"`, "behalf approvals approve apr_1"},
	} {
		s := newStage(t, deciding)
		s.send(t, strings.Replace(call, "write", name, 1))
		s.wantFault(t, "7", CodeDenied, parts...)
	}
}

func TestWhatDoesNothingPassesAsItCame(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}}}}`,
		`{ "method" : "ping",  "jsonrpc":"2.0", "id":"a\u0062" }`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99,"reason":"<>&"}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}`,
		`{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"cursor":"x"}}`,
		`{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`,
		`{"jsonrpc":"2.0","id":3,"result":{"role":"assistant","content":{"type":"text","text":"hi"},"model":"m"}}`,
		`{"jsonrpc":"2.0","id":3,"error":{"code":-1,"message":"declined"}}`,
		`[{"jsonrpc":"2.0","id":1,"method":"ping"},  {"jsonrpc":"2.0","id":2,"method":"tools/list"}]`,
		call, // which is allowed here
	} {
		s := newStage(t, deciding)
		s.send(t, line)
		s.want(t, line+"\n", "")
	}
}

func TestWhatOthersCouldReadOtherwiseIsRefused(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		id   string
		code int
	}{
		`{`:               {"null", codeParse},
		`null`:            {"null", codeInvalid},
		`"x"`:             {"null", codeInvalid},
		`[]`:              {"null", codeInvalid},
		`{}{}`:            {"null", codeParse},
		"\ufeff" + call:   {"null", codeParse},
		call + " " + call: {"null", codeParse},
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\r" + call + "\r}}":                                           {"null", codeParse},
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\xff\"}}":                                                   {"null", codeParse},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}`:                                                  {"null", codeParse},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}`:                                             {"null", codeParse},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":{"y":1,"y":2}}}}`:                             {"null", codeParse},
		`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`:                                                                   {"null", codeParse},
		`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}`:                                                                   {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{},"params":{}}`:                                                                 {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}`:                                                  {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"ARGUMENTS":{"x":1}}}`:                          {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["a",{}]}`:                                                                 {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`:                                                                                   {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}`:                                                              {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}`:                                                               {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[1]}}`:                                             {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///data/../etc/passwd"}}`:                                 {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///data/%2E%2e%2fetc"}}`:                                  {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///data/..\\etc"}}`:                                       {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"name":"a","uri":"b"}}}`:                                  {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"result":{},"Method":"tools/call","params":{"name":"a"}}`:                                                 {"null", codeInvalid},
		`{"jsonrpc":"2.0","ID":1,"method":"notifications/initialized"}`:                                                                    {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":"ping","Params":{}}`:                                                                             {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Arguments":{"x":1}}}`:                                         {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"name":"a","URI":"b"}}}`:                                  {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"uri":"file:///a/../b"}}}`:                                {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///data/.\t./etc/passwd"}}`:                               {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///data/.%2\ne/etc/passwd"}}`:                             {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":" file:///data"}}`:                                              {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd%00.txt"}}`:                                  {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["file:///a/.\r."]}}}`: {"1", codeParams},
		`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"other":["x"]}}}`:                              {"1", codeParams},
		`{"jsonrpc":"2.0","id":"x","method":"tools/execute","params":{}}`:                                                                  {`"x"`, codeUnknownMethod},
		`{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"a"}}`:                                                             {"1", codeUnknownMethod},
		`{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`:                                                                    {"1", codeUnknownMethod},
		`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`:                                                                                       {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":1e2,"method":"ping"}`:                                                                                       {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":null,"method":"ping"}`:                                                                                      {"null", codeInvalid},
		`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`:                                                                                   {"null", codeInvalid},
		`{"jsonrpc":"1.0","id":1,"method":"ping"}`:                                                                                         {"1", codeInvalid},
		`{"id":1,"method":"ping"}`: {"1", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{},"params":{"name":"a"}}`:                                         {"1", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`:                                                                          {"1", codeInvalid},
		`{"jsonrpc":"2.0","id":1}`:                                                                                                 {"1", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":""}`:                                                                                     {"1", codeInvalid},
		`{"jsonrpc":"2.0","id":1,"method":["tools/call"]}`:                                                                         {"1", codeInvalid},
		`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}]`:                {"null", codeInvalid},
		`[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]`:                                                                             {"null", codeInvalid},
		`[` + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"ping"},`, mostBatch) + `{"jsonrpc":"2.0","id":1,"method":"ping"}]`: {"null", codeInvalid},
	} {
		s := newStage(t, deciding)
		s.send(t, line)
		s.wantFault(t, want.id, want.code)
		if t.Failed() {
			t.Fatalf("of %s", line)
		}
	}
}

func TestANotificationThatActsGoesNowhere(t *testing.T) {
	t.Parallel()
	s := newStage(t, deciding)
	s.send(
		t, `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"write"}}`, `{"jsonrpc":"2.0","method":"ping"}`,
		`{"jsonrpc":"2.0","method":"notifications/other"}`, `[{"jsonrpc":"2.0","method":"tools/call","params":{"name":"write"}}]`,
	)
	s.want(t, "", "")
}

func TestWhatIsAsked(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`"tools/call","params":{"name":"write","arguments":{"n":1.10,"b":"<"},"_meta":{"progressToken":4}}`:    `{"agentId":"ollie","action":"mcp.call","resource":"mcp://files/write","context":{"branch":"main"},"arguments":{"n":1.10,"b":"<"}}`,
		`"tools/call","params":{"name":"write"}`:                                                               `{"agentId":"ollie","action":"mcp.call","resource":"mcp://files/write","context":{"branch":"main"},"arguments":{}}`,
		`"tools/call","params":{"name":"a/b c","arguments":null}`:                                              `{"agentId":"ollie","action":"mcp.call","resource":"mcp://files/a%2Fb%20c","context":{"branch":"main"},"arguments":{}}`,
		`"tools/call","params":{"name":"write","requestState":"s","arguments":{"a":1}}`:                        `{"agentId":"ollie","action":"mcp.call","resource":"mcp://files/write","context":{"branch":"main"},"arguments":{"arguments":{"a":1},"requestState":"s"}}`,
		`"prompts/get","params":{"name":"greet","arguments":{"a":"b"}}`:                                        `{"agentId":"ollie","action":"mcp.prompt","resource":"mcp://files/greet","context":{"branch":"main"},"arguments":{"a":"b"}}`,
		`"resources/read","params":{"uri":"file:///a?b=../c"}`:                                                 `{"agentId":"ollie","action":"mcp.read","resource":"mcp://files/file:%2F%2F%2Fa%3Fb=..%2Fc","context":{"branch":"main"},"arguments":{"uri":"file:///a?b=../c"}}`,
		`"resources/subscribe","params":{"uri":"x:y"}`:                                                         `{"agentId":"ollie","action":"mcp.read","resource":"mcp://files/x:y","context":{"branch":"main"},"arguments":{"uri":"x:y"}}`,
		`"completion/complete","params":{"ref":{"type":"ref/resource","uri":"x:{y}"},"argument":{"name":"y"}}`: `{"agentId":"ollie","action":"mcp.complete","resource":"mcp://files/x:%7By%7D","context":{"branch":"main"},"arguments":{"argument":{"name":"y"},"ref":{"type":"ref/resource","uri":"x:{y}"}}}`,
	} {
		var got said
		s := newStage(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(&got, r.Body) })
		s.Gate.Facts.Branch = "main"
		s.send(t, `{"jsonrpc":"2.0","id":7,"method":`+line+`}`)
		var a, b any
		if err := errors.Join(json.Unmarshal([]byte(got.String()), &a), json.Unmarshal([]byte(want), &b)); err != nil {
			t.Fatal(err)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			t.Errorf("%s asks\n%s, want\n%s", line, x, y)
		}
	}
}

func TestNoTwoRequestsAreBoundTheSame(t *testing.T) {
	t.Parallel()
	large := `"arguments":{"path":"` + strings.Repeat("a", 100_000) + `"}`
	bound := func(params string) string {
		var got said
		s := newStage(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(&got, r.Body) })
		s.send(t, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"write",`+params+`}}`)
		var ask struct{ Arguments any }
		if err := json.Unmarshal([]byte(got.String()), &ask); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(ask.Arguments) // in one order
		return string(b)
	}
	seen := map[string]string{}
	for _, params := range []string{
		`"arguments":{"a":1}`,
		`"arguments":{"a":1},"task":{}`,
		`"arguments":{"arguments":{"a":1},"task":{}}`,
		`"arguments":{"arguments":{"arguments":{"a":1},"task":{}}}`,
		`"arguments":{"arguments":{"a":1}},"task":{}`,
		large,
		`"arguments":` + bound(large),
		`"arguments":{"arguments":` + bound(large) + `}`,
	} {
		b := bound(params)
		if other, ok := seen[b]; ok {
			t.Errorf("%.200s is bound like %.200s: %.200s", params, other, b)
		}
		seen[b] = params
	}
}

func TestAURIIsReadInOneWay(t *testing.T) {
	t.Parallel()
	for uri, taken := range map[string]bool{
		"file:///data/a%20b%25/c%C3%A9": true,
		"demo://r/1?q=%2F#x":            true,
		"x:y":                           true,
		"file:///data/{name}":           true,
		"file:///data/%73ecret":         false,
		"file:///data/%5fa":             false,
		"file:///%7E/a":                 false,
		"File:///data":                  false,
		"file:///data/..":               false,
		"file:///data/%2e%2E/a":         false,
		"file:///data\\a":               false,
		"file:///data%5Ca":              false,
		"file:///da\nta":                false,
		"file:///data ":                 false,
		"file:///data%00":               false,
	} {
		if err := checkURI(uri); (err == nil) != taken {
			t.Errorf("%q: got %v, want it taken: %t", uri, err, taken)
		}
	}
	for c := range byte(0x80) { // what RFC 3986 says needs no encoding, and no more
		plain := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) >= 0
		if got := encodedPlain.MatchString(fmt.Sprintf("%%%02x", c)) && encodedPlain.MatchString(fmt.Sprintf("%%%02X", c)); got != plain {
			t.Errorf("%%%02x: got %t, want %t", c, got, plain)
		}
	}
}

func TestLargeArgumentsAreAskedAboutByTheirDigest(t *testing.T) {
	t.Parallel()
	var got said
	s := newStage(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(&got, r.Body) })
	s.send(t, strings.Replace(call, "/a", strings.Repeat("a", 100_000), 1))
	if text := got.String(); !strings.Contains(text, `"arguments":{"sha256":"`) || !strings.Contains(text, `"bytes":100011}`) {
		t.Errorf("got %.300s, want a digest", text)
	}
}

// blocking is a permission layer that decides on what has "slow" in it only when
// it is released.
func blocking() (layer http.HandlerFunc, asked <-chan struct{}, release func()) {
	entered, gate := make(chan struct{}, 8), make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("slow")) {
			entered <- struct{}{}
			select {
			case <-gate:
			case <-r.Context().Done():
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		deciding(w, r)
	}, entered, sync.OnceFunc(func() { close(gate) })
}

func mustTake(t *testing.T, s *stage, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := s.take([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOthersPassWhileOneWaits(t *testing.T) {
	t.Parallel()
	layer, asked, release := blocking()
	s := newStage(t, layer)
	slow := strings.Replace(call, "write", "slow", 1)
	mustTake(t, s, slow)
	<-asked
	ping := `{"jsonrpc":"2.0","id":8,"method":"ping"}`
	cancelled := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}`
	mustTake(t, s, ping, cancelled)
	s.want(t, ping+"\n"+cancelled+"\n", "")
	mustTake(t, s, slow) // with an id that waits
	release()
	s.asking.Wait()
	if got := s.server.String(); got != ping+"\n"+cancelled+"\n"+slow+"\n" {
		t.Errorf("the server got %q, want the slow one once, last", got)
	}
	wantFault(t, s.client.String(), "7", codeInvalid, "waits for its decision")
}

func TestWhatIsCancelledWhileItWaitsIsNeverPassedOn(t *testing.T) {
	t.Parallel()
	layer, asked, release := blocking()
	defer release()
	s := newStage(t, layer)
	mustTake(t, s, strings.Replace(strings.Replace(call, "write", "slow", 1), `"id":7`, `"id":"a\u0062"`, 1))
	<-asked
	s.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"ab"}}`)
	s.want(t, "", "")
	if len(s.waiting) != 0 {
		t.Errorf("%d requests still wait", len(s.waiting))
	}
}

func TestABatchIsPassedOnWithoutWhatIsNotAllowed(t *testing.T) {
	t.Parallel()
	s := newStage(t, deciding)
	a, b, ping := strings.Replace(call, `"id":7`, `"id":1`, 1), strings.Replace(call, "write", "deny", 1), `{"jsonrpc":"2.0","id":3,"method":"ping"}`
	s.send(t, "["+a+" , "+b+","+ping+`,{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}]`)
	if got, want := s.server.String(), "["+a+","+ping+"]\n"; got != want {
		t.Errorf("the server got %s, want %s", got, want)
	}
	line := strings.TrimSpace(s.client.String())
	wantFault(t, strings.TrimSuffix(strings.TrimPrefix(line, "["), "]"), "7", CodeDenied)
	if !strings.HasPrefix(line, "[") {
		t.Errorf("got %s, want a batch", line)
	}
}

func TestAPersonIsWaitedFor(t *testing.T) {
	t.Parallel()
	approval := func(state string) string {
		return `{"approvalId":"apr_1","state":"` + state + `","agentId":"ollie","requestId":"req_1","action":"mcp.call","openedAt":"2026-11-23T12:00:00Z","expiresAt":"2026-11-24T12:00:00Z"}`
	}
	for state, want := range map[string]int{"approved": 0, "denied": CodeDenied, "expired": CodeDenied, "cancelled": CodeDenied, "pending": CodeDenied, "broken": CodeUnavailable} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			asks := 0
			s := newStage(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					_, _ = io.WriteString(w, approval(state))
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if asks++; asks > 1 { // it has been approved
					_, _ = io.WriteString(w, packet(map[string]any{"action": "mcp.call", "resource": "mcp://files/person"}, "allowed"))
					return
				}
				deciding(w, r)
			})
			s.Gate.Wait = 50 * time.Millisecond
			if state != "pending" {
				s.Gate.Wait = 20 * time.Second
			}
			line := strings.Replace(call, "write", "person", 1)
			s.send(t, line)
			if want == 0 {
				s.want(t, line+"\n", "")
				return
			}
			s.wantFault(t, "7", want)
			if asks != 1 {
				t.Errorf("it was asked %d times, want once", asks)
			}
		})
	}
}

func TestListsOfToolsAreFiltered(t *testing.T) {
	t.Parallel()
	list := `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`
	tools := `{"jsonrpc":"2.0", "id":3,"result":{"tools":[{"name":"read","x":1.0},{"name":"deny_it"}, {"name":"person"}],"nextCursor":"c"}}`
	for name, c := range map[string]struct{ line, want string }{
		"a list":               {tools, `{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"read","x":1.0},{"name":"person"}],"nextCursor":"c"}}`},
		"all are denied":       {`{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"deny"}]}}`, `{"jsonrpc":"2.0","id":3,"result":{"tools":[]}}`},
		"an error":             {`{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"m"}}`, `{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"m"}}`},
		"in a batch":           {`[` + tools + `,{"jsonrpc":"2.0","id":4,"result":{}}]`, `[{"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"read","x":1.0},{"name":"person"}],"nextCursor":"c"}},{"jsonrpc":"2.0","id":4,"result":{}}]`},
		"of another request":   {strings.Replace(tools, `"id":3`, `"id":4`, 1), strings.Replace(tools, `"id":3`, `"id":4`, 1)},
		"what is not JSON":     {`hello`, `hello`},
		"a request of its own": {`{"jsonrpc":"2.0","id":3,"method":"sampling/createMessage"}`, `{"jsonrpc":"2.0","id":3,"method":"sampling/createMessage"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, deciding)
			s.FilterTools = true
			s.send(t, list)
			w := &fromServer{session: s.session}
			for part := range slices.Chunk([]byte(c.line+"\n"), 7) {
				if _, err := w.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			s.listing.Wait()
			s.want(t, list+"\n", c.want+"\n")
		})
	}
	t.Run("each once", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, deciding)
		s.FilterTools = true
		s.send(t, list, list)
		if got := s.server.String(); got != list+"\n" {
			t.Errorf("the server got %q, want the first", got)
		}
		wantFault(t, s.client.String(), "3", codeInvalid, "waits for its answer")
		s.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
		if len(s.lists) != 0 {
			t.Errorf("%d lists are still waited for, want none once it is cancelled", len(s.lists))
		}
	})
	t.Run("none if it can't be asked", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		s.FilterTools = true
		s.send(t, list)
		if _, err := (&fromServer{session: s.session}).Write([]byte(tools + "\n")); err != nil {
			t.Fatal(err)
		}
		s.listing.Wait()
		wantFault(t, s.client.String(), "3", CodeUnavailable)
	})
}

func TestAMessageIsBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t, deciding)
	ping := `{"jsonrpc":"2.0","id":8,"method":"ping"}`
	long := strings.Replace(ping, "ping", strings.Repeat("x", mostMessage), 1)
	if err := s.read(strings.NewReader(ping + "\n" + long + "\n\n" + ping)); err != nil {
		t.Fatal(err)
	}
	s.asking.Wait()
	if got := s.server.String(); got != ping+"\n"+ping+"\n" {
		t.Errorf("the server got %.200q, want the other two", got)
	}
	wantFault(t, s.client.String(), "null", codeInvalid, "is over")
	if _, err := (&fromServer{session: s.session}).Write([]byte(long)); !errors.Is(err, errTooLong) {
		t.Errorf("got %v, want the server's to be refused", err)
	}
}

func TestTooManyRequestsAreRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, deciding)
	for i := range mostWaiting {
		if _, _, f := s.queue([]byte(strconv.Itoa(100 + i))); f != nil {
			t.Fatal(f)
		}
	}
	s.send(t, call)
	s.wantFault(t, "7", CodeUnavailable, "128 requests wait")
}

func FuzzFraming(f *testing.F) {
	for _, line := range []string{
		call, "[" + call + "]", "\r" + call, call + "\r" + call, `{"jsonrpc":"2.0","id":1,"method":"ping","params":` + call + `}`,
		`{"jsonrpc":"2.0","id":1,"Method":"tools/call","method":"ping"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":1,"result":{},"Method":"tools/call","params":{"name":"a"}}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &stage{server: &said{}, client: &said{}}
		s.session = (&Proxy{Server: "files"}).open(t.Context(), s.server, s.client) // allows nothing
		if err := s.read(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		s.asking.Wait()
		// A server that is as lax as any: it ends a line at a carriage return too, and
		// takes names in every case.
		for _, line := range strings.FieldsFunc(s.server.String(), func(r rune) bool { return r == '\n' || r == '\r' }) {
			var many []json.RawMessage
			if json.Unmarshal([]byte(line), &many) != nil {
				many = []json.RawMessage{json.RawMessage(line)}
			}
			for _, one := range many {
				var m struct{ Method string }
				if json.Unmarshal(one, &m) == nil && guards[m.Method] != nil && m.Method != "subscriptions/listen" {
					t.Errorf("%q was passed on of %q", line, text)
				}
			}
		}
	})
}
