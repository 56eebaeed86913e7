package handlers_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/httpapi"
)

// web is a node's HTTP API, called without a socket.
type web struct {
	t   *testing.T
	api http.Handler
}

func (n *node) web(t *testing.T) *web {
	return &web{t: t, api: httpapi.New(t.Context(), n.Desk, slog.New(slog.DiscardHandler)).Handler()}
}

// reply is an answer, its body decoded.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// code is the error's code, or "".
func (r reply) code() string {
	e, _ := r.body["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func (r reply) field() string {
	e, _ := r.body["error"].(map[string]any)
	field, _ := e["field"].(string)
	return field
}

func (w *web) do(method, path, token, body string, header ...string) reply {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if method == "POST" || method == "PUT" || method == "PATCH" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	w.api.ServeHTTP(recorder, r)
	out := reply{status: recorder.Code, header: recorder.Header(), text: recorder.Body.String()}
	if out.text != "" {
		if err := json.Unmarshal([]byte(out.text), &out.body); err != nil {
			w.t.Fatalf("%s %s: the answer %q is not JSON: %v", method, path, out.text, err)
		}
	}
	return out
}

// must is do, and fails unless the status is as wanted.
func (w *web) must(status int, method, path, token, body string, header ...string) reply {
	w.t.Helper()
	r := w.do(method, path, token, body, header...)
	if r.status != status {
		w.t.Fatalf("%s %s: got %d %s, want %d", method, path, r.status, r.text, status)
	}
	return r
}

// register registers an agent and returns its key.
func (w *web) register(token, id string) string {
	w.t.Helper()
	key, _ := w.must(201, "POST", "/v1/agents", token, `{"agentId":"`+id+`","name":"Ollie"}`).body["apiKey"].(string)
	return key
}

const example = `{"action":"purchase","vendors":["*.ticketmaster.com","coachella.com"],"maxAmount":"500.00","currency":"USD","expiresAt":"2027-01-01T00:00:00Z"}`

// The example of the design, byte for byte where it is said.
func TestExample(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) { // a bubble's time begins in the year 2000
		w := b.node().web(t)
		key := w.register(b.token, "agent_ollie")
		if !strings.HasPrefix(key, "bhf_sk_") {
			t.Fatalf("got the key %q, want bhf_sk_…", key)
		}
		granted := w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, example)
		permission, _ := granted.body["permissionId"].(string)
		if granted.body["maxAmount"] != "500.00" || granted.body["status"] != "active" || granted.header.Get("ETag") == "" {
			t.Errorf("got %s, want the permission as stored, with an ETag", granted.text)
		}
		for _, path := range []string{"/v1/verify", "/api/verify"} {
			p := w.must(200, "POST", path, key, `{"agentId":"agent_ollie","action":"purchase","vendor":"coachella.com","amount":742}`)
			for name, want := range map[string]any{
				"decision": "denied", "allowed": false, "reasonCode": "AMOUNT_EXCEEDS_LIMIT", "riskLevel": "medium",
				"permissionId": permission, "amount": "742.00", "currency": "USD", "approvalRequired": false, "risk": "medium",
			} {
				if p.body[name] != want {
					t.Errorf("%s: got %s %v, want %v", path, name, p.body[name], want)
				}
			}
		}
		allowed := w.must(200, "POST", "/v1/verify", key, `{"action":"purchase","vendor":"www.ticketmaster.com","amount":"499.99"}`)
		if allowed.body["allowed"] != true || allowed.body["decision"] != "allowed" {
			t.Errorf("got %s, want allowed", allowed.text)
		}
		detail := w.must(200, "GET", "/v1/decisions/"+allowed.body["requestId"].(string), key, "")
		if detail.body["checks"] == nil || detail.body["position"] != allowed.body["position"] {
			t.Errorf("got %s, want the packet and its checks", detail.text)
		}
		path := "/v1/agents/agent_ollie/permissions/" + permission
		first := w.must(200, "POST", path+"/revoke", b.token, `{}`)
		if again := w.must(200, "POST", path+"/revoke", b.token, `{}`); again.text != first.text {
			t.Errorf("revoked again: got %s, want %s", again.text, first.text)
		}
		denied := w.must(200, "POST", "/v1/verify", key, `{"action":"purchase","vendor":"coachella.com","amount":1}`)
		if denied.body["reasonCode"] != "PERMISSION_REVOKED" {
			t.Errorf("got %s, want PERMISSION_REVOKED", denied.text)
		}
	})
}

// Nothing of what can be sent is allowed by mistake, and nothing breaks on it.
func TestHostileVerifies(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		key := w.register(b.token, "agent_ollie")
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"buy","vendors":["*.example.com"],"maxAmount":"500"}`)
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"read","paths":["/data"]}`)
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"run","deniedCommands":["rm -rf"]}`)
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"open","resource":"repo/*"}`)
		if r := w.must(200, "POST", "/v1/verify", key, `{"action":"buy","vendor":"www.example.com","amount":5}`); r.body["allowed"] != true {
			t.Fatalf("got %s, want allowed, or this test can't fail", r.text)
		}
		for _, body := range []string{
			``, ` `, `null`, `[]`, `"x"`, `{`, `{}`, `{"action":"buy"`,
			`{"action":"buy","vendor":"www.example.com","amount":5}{}`,
			`{"action":"buy","vendor":"www.example.com","amount":5} x`,
			`{"action":"none","action":"buy","vendor":"www.example.com","amount":5}`,
			`{"Action":"buy","vendor":"www.example.com","amount":5}`,
			`{"action":"buy","VENDOR":"www.example.com","amount":5}`,
			`{"action":"buy","vendor":"www.example.com","amount":5,"allowed":true}`,
			`{"action":"buy","vendor":"www.example.com","amount":5,"shadow":true}`,
			"{\"action\":\"buy\",\"vendor\":\"www.example.com\xff\",\"amount\":5}",
			`{"action":"buy","vendor":"www.example.com\ud800","amount":5}`,
			`{"action":"buy","vendor":"www.example.com","amount":NaN}`,
			`{"action":"buy","vendor":"www.example.com","amount":"NaN"}`,
			`{"action":"buy","vendor":"www.example.com","amount":1e2}`,
			`{"action":"buy","vendor":"www.example.com","amount":-0}`,
			`{"action":"buy","vendor":"www.example.com","amount":-5}`,
			`{"action":"buy","vendor":"www.example.com","amount":"0x5"}`,
			`{"action":"buy","vendor":"www.example.com","amount":"５"}`,
			`{"action":"buy","vendor":"www.example.com","amount":5.001}`,
			`{"action":"buy","vendor":"www.example.com","amount":` + strings.Repeat("9", 400) + `}`,
			`{"action":"buy","vendor":"www.example.com","amount":true}`,
			`{"action":"buy","vendor":"www.example.com","amount":[5]}`,
			`{"action":"buy","vendor":"www.example.com","amount":""}`,
			`{"action":["buy"],"vendor":"www.example.com","amount":5}`,
			`{"action":"buy*","vendor":"www.example.com","amount":5}`,
			`{"action":"buy\u0000","vendor":"www.example.com","amount":5}`,
			`{"agentId":"agent_*","action":"buy","vendor":"www.example.com","amount":5}`,
			`{"agentId":"agent_ollie.x","action":"buy","vendor":"www.example.com","amount":5}`,
			`{"agentId":">","action":"buy","vendor":"www.example.com","amount":5}`,
			`{"action":"buy","vendor":"example.com","amount":5}`,
			`{"action":"buy","vendor":"evil-example.com","amount":5}`,
			`{"action":"buy","vendor":"www.example.com.evil.io","amount":5}`,
			`{"action":"buy","vendor":"www.example.com@evil.io","amount":5}`,
			`{"action":"buy","vendor":"https://evil.io/.www.example.com","amount":5}`,
			`{"action":"buy","vendor":"evil.io?www.example.com","amount":5}`,
			`{"action":"buy","vendor":"evil.io#www.example.com","amount":5}`,
			`{"action":"buy","vendor":"www.ex\u0430mple.com","amount":5}`,
			`{"action":"buy","vendor":"xn--www-.example.com","amount":5}`,
			`{"action":"buy","vendor":"ｗｗｗ．ｅｘａｍｐｌｅ．ｃｏｍ","amount":5}`,
			`{"action":"buy","vendor":"www。example。com","amount":5}`,
			`{"action":"buy","vendor":"*.example.com","amount":5}`,
			`{"action":"buy","vendor":".example.com","amount":5}`,
			`{"action":"buy","vendor":"www.example.com\u0000","amount":5}`,
			`{"action":"buy","vendor":"www.example.com:8443","amount":5}`,
			`{"action":"buy","vendor":"www.example.com","amount":5,"currency":"EUR"}`,
			`{"action":"buy","vendor":"www.example.com","amount":5,"currency":"usd"}`,
			`{"action":"buy","vendor":"www.example.com","amount":5,"atLeast":"x"}`,
			`{"action":"read","path":"/data/../etc/passwd"}`,
			`{"action":"read","path":"../data","cwd":"/data"}`,
			`{"action":"read","path":"/data/%2e%2e/etc"}`,
			`{"action":"read","path":"/data/%2E%2E/etc"}`,
			`{"action":"read","path":"/data\u0000/../etc"}`,
			`{"action":"read","path":"/database"}`,
			`{"action":"read","path":"\\data"}`,
			`{"action":"read","path":"data"}`,
			`{"action":"read","path":"~/data"}`,
			`{"action":"run","command":"rm  -rf /"}`,
			`{"action":"run","command":"/bin/rm -r -f /"}`,
			`{"action":"run","command":"$(echo rm) -rf /"}`,
			`{"action":"run","command":"echo ok; r\\m -fr /"}`,
			`{"action":"run","command":"sh -c 'rm -rf /'"}`,
			`{"action":"run","command":"curl x | sh"}`,
			`{"action":"run","command":"if"}`,
			`{"action":"open","resource":"repo/../secret"}`,
			`{"action":"open","resource":"repo/a/b"}`,
			`{"action":"open","resource":"repo/%2e%2e"}`,
			`{"action":"open","resource":"Repo/a"}`,
		} {
			r := w.do("POST", "/v1/verify", key, body)
			if r.body["allowed"] == true {
				t.Errorf("%s: got allowed", body)
			}
			if r.status != 200 && r.status != 400 && r.status != 401 {
				t.Errorf("%s: got %d %s, want a denial or 400", body, r.status, r.text)
			}
			if r.status == 400 && r.code() != "INVALID_REQUEST" {
				t.Errorf("%s: got %s, want INVALID_REQUEST", body, r.text)
			}
		}
	})
}

func TestRefusalsPointToTheField(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		w.register(b.token, "agent_ollie")
		for body, field := range map[string]string{
			`{"action":"buy","maxAmmount":"5"}`:                                           "/maxAmmount",
			`{"action":"buy","MaxAmount":"5"}`:                                            "/MaxAmount",
			`{"action":"buy","resource":7}`:                                               "/resource",
			`{"action":"buy","resource":["a",7]}`:                                         "/resource",
			`{"action":"buy","resource":""}`:                                              "/resource/0",
			`{"action":"buy","vendors":[]}`:                                               "/vendors",
			`{"action":"buy","expiresAt":null}`:                                           "/expiresAt",
			`{"action":"buy","expiresAt":"tomorrow"}`:                                     "/expiresAt",
			`{"action":"buy","expiresAt":"1999-01-01T00:00:00Z"}`:                         "/expiresAt",
			`{"action":"buy","expiresAt":"0001-01-01T00:00:00Z"}`:                         "/expiresAt",
			`{"action":"buy","expiresAt":"9999-12-31T23:59:59-23:00"}`:                    "/expiresAt",
			`{"action":"buy","maxAmount":1e3}`:                                            "/maxAmount",
			`{"action":"buy","context":{"branche":"main"}}`:                               "/context/branche",
			`{"action":"buy","requiresApproval":"some"}`:                                  "/requiresApproval",
			`{"action":"buy","requiresApproval":[true]}`:                                  "/requiresApproval",
			`{"action":"buy","approval":{"quorum":2}}`:                                    "/approval",
			`{"action":"buy","requiresApproval":true,"approval":{"minRole":"VIEWER"}}`:    "/approval/minRole",
			`{"action":"buy","requiresApproval":true,"approval":{"quorum":99}}`:           "/approval/quorum",
			`{"action":"buy","requiresApproval":true,"approval":{"validFor":"1 day"}}`:    "/approval/validFor",
			`{"action":"buy","requiresApproval":true,"approval":{"validFor":"9999999h"}}`: "/approval/validFor",
			`{"action":"buy","requiresApproval":true,"approval":{"validfor":"1h"}}`:       "/approval/validfor",
			`{"action":"buy","budgets":[{"amount":"5"}]}`:                                 "/budgets/0",
			`{"action":"buy","budgets":[]}`:                                               "/budgets",
			`{"action":"buy","budgets":[{"amount":"-5","per":"day"}]}`:                    "/budgets/0",
			`{"action":"buy","budgets":[{"amount":"5","per":"day","timeZone":"Mars"}]}`:   "/budgets/0",
			`{"action":"buy","rates":[{"count":0,"per":"hour"}]}`:                         "/rates/0",
			`{"action":"buy","rates":[{"count":1.5,"per":"hour"}]}`:                       "/rates/0/count",
			`{"action":"buy","rates":[{"count":1,"per":"week"}]}`:                         "/rates/0",
			`{"action":"buy","action":"sell"}`:                                            "/action",
			`{"action":"buy","timeWindows":[{"days":["monday"]}]}`:                        "/timeWindows/0",
			`{"action":"buy","status":"active"}`:                                          "/status",
			`{"action":"buy","deniedCommands":["$X"]}`:                                    "/deniedCommands/0",
		} {
			r := w.do("POST", "/v1/agents/agent_ollie/permissions", b.token, body)
			if r.status != 400 || r.field() != field {
				t.Errorf("%s: got %d %s, want 400 at %s", body, r.status, r.text, field)
			}
		}
		if r := w.must(200, "GET", "/v1/agents/agent_ollie/permissions", b.token, ""); len(r.body["permissions"].([]any)) != 0 {
			t.Errorf("got %s, want nothing stored", r.text)
		}
	})
}

// Agents verify and read their own. They never manage, and never see another's.
func TestWhoMayWhat(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		ollie, other := w.register(b.token, "agent_ollie"), w.register(b.token, "agent_other")
		viewer := w.must(201, "POST", "/v1/members", b.token, `{"name":"Vi","role":"VIEWER"}`).body["token"].(string)
		foreign := b.foreign(n)
		theirs := w.must(200, "POST", "/v1/verify", other, `{"action":"buy"}`).body["requestId"].(string)

		for _, tt := range []struct {
			name, token, method, path, body string
			status                          int
		}{
			{"no credential", "", "GET", "/v1/passport", "", 401},
			{"a wrong credential", "bhf_sk_wrong", "GET", "/v1/passport", "", 401},
			{"an agent reads its passport", ollie, "GET", "/v1/passport", "", 200},
			{"a member has no passport", b.token, "GET", "/v1/passport", "", 403},
			{"a member can't verify", b.token, "POST", "/v1/verify", `{"action":"buy"}`, 403},
			{"an agent grants", ollie, "POST", "/v1/agents/agent_ollie/permissions", example, 403},
			{"an agent registers", ollie, "POST", "/v1/agents", `{"name":"x"}`, 403},
			{"an agent enables", ollie, "POST", "/v1/agents/agent_ollie/enable", `{}`, 403},
			{"an agent rotates its key", ollie, "POST", "/v1/agents/agent_ollie/rotate-key", `{}`, 403},
			{"an agent lists agents", ollie, "GET", "/v1/agents", "", 403},
			{"an agent lists members", ollie, "GET", "/v1/members", "", 403},
			{"an agent changes the account", ollie, "PATCH", "/v1/account", `{"name":"x"}`, 403},
			{"an agent reads another's decision", ollie, "GET", "/v1/decisions/" + theirs, "", 404},
			{"an agent reads its own decision", other, "GET", "/v1/decisions/" + theirs, "", 200},
			{"an agent lists another's decisions", ollie, "GET", "/v1/decisions?agentId=agent_other", "", 404},
			{"an agent previews for another", ollie, "POST", "/v1/preview", `{"agentId":"agent_other","action":"buy"}`, 401},
			{"a viewer reads", viewer, "GET", "/v1/agents/agent_ollie", "", 200},
			{"a viewer previews", viewer, "POST", "/v1/preview", `{"agentId":"agent_ollie","action":"buy"}`, 200},
			{"a viewer grants", viewer, "POST", "/v1/agents/agent_ollie/permissions", example, 403},
			{"a viewer disables", viewer, "POST", "/v1/agents/agent_ollie/disable", `{}`, 403},
			{"a viewer adds a member", viewer, "POST", "/v1/members", `{"name":"x","role":"VIEWER"}`, 403},
			{"another account reads the agent", foreign, "GET", "/v1/agents/agent_ollie", "", 404},
			{"another account disables the agent", foreign, "POST", "/v1/agents/agent_ollie/disable", `{}`, 404},
			{"another account grants", foreign, "POST", "/v1/agents/agent_ollie/permissions", example, 404},
			{"another account reads the decision", foreign, "GET", "/v1/decisions/" + theirs, "", 404},
			{"an id with a dot", b.token, "GET", "/v1/agents/a.b", "", 404},
			{"an id with a wildcard", b.token, "POST", "/v1/agents/*/disable", `{}`, 404},
			{"an id that ends subjects", b.token, "POST", "/v1/agents/%3E/disable", `{}`, 404},
			{"no such path", b.token, "GET", "/v1/nothing", "", 404},
			{"no such method", b.token, "DELETE", "/v1/agents", "", 405},
		} {
			if r := w.do(tt.method, tt.path, tt.token, tt.body); r.status != tt.status || r.status >= 400 && r.code() == "" {
				t.Errorf("%s: got %d %s, want %d", tt.name, r.status, r.text, tt.status)
			}
		}
		unknown := w.do("GET", "/v1/agents/agent_ollie", foreign, "").text
		if got := w.do("GET", "/v1/agents/agent_olli2", foreign, "").text; strings.ReplaceAll(got, "olli2", "ollie") != unknown {
			t.Errorf("an agent of another account and one that is not there are told apart: %s and %s", unknown, got)
		}
	})
}

// foreign opens another account and returns its owner's token.
func (b *bed) foreign(n *node) string {
	token := domain.MemberTokenPrefix + "owner-of-another-account-0123456789"
	_, err := n.OpenAccount(b.t.Context(), "acct_other", domain.OpenAccount{
		Name: "Other", Currency: "EUR", Owner: "mem_other", Token: domain.HashToken(token),
	})
	if err != nil {
		b.t.Fatalf("open another account: %v", err)
	}
	return token
}

func TestMembers(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		one, two := b.node(), b.node()
		w := one.web(t)
		added := w.must(201, "POST", "/v1/members", b.token, `{"name":"Ada","role":"ADMIN"}`)
		id, token := added.body["memberId"].(string), added.body["token"].(string)
		synctest.Wait()
		other := two.web(t)
		other.register(token, "agent_a")

		// Rights taken away on one node are gone on one that lags.
		release := two.log.HoldFollow()
		w.must(200, "PATCH", "/v1/members/"+id, b.token, `{"role":"VIEWER"}`)
		other.must(403, "POST", "/v1/agents", token, `{"name":"x"}`)
		rotated := w.must(200, "POST", "/v1/members/"+id+"/rotate-token", b.token, `{}`).body["token"].(string)
		other.must(401, "GET", "/v1/me", token, "")
		release()
		synctest.Wait()
		other.must(200, "GET", "/v1/me", rotated, "")
		// Rights are judged when the act is recorded, not only when it arrived.
		admin := handlers.Member{Account: home, Member: domain.Member{ID: domain.MemberID(id), Role: domain.RoleAdmin}}
		_, _, err := two.Grant(t.Context(), admin, "agent_a", domain.Terms{Action: "read"})
		wantCode(t, err, "FORBIDDEN")
		_, err = two.ChangeSettings(t.Context(), admin, domain.ChangeSettings{Name: &rotated})
		wantCode(t, err, "FORBIDDEN")
		w.must(204, "DELETE", "/v1/members/"+id, b.token, "")
		other.must(401, "GET", "/v1/me", rotated, "")
		w.must(409, "DELETE", "/v1/members/mem_owner", b.token, "")
		if r := w.must(200, "GET", "/v1/members", b.token, ""); len(r.body["members"].([]any)) != 1 {
			t.Errorf("got %s, want the owner", r.text)
		}
		w.must(200, "PATCH", "/v1/account", b.token, `{"defaultCurrency":"EUR"}`)
		if r := w.must(200, "GET", "/v1/account", b.token, ""); r.body["defaultCurrency"] != "EUR" {
			t.Errorf("got %s, want EUR", r.text)
		}
	})
}

func TestReplaceWithIfMatch(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		w.register(b.token, "agent_ollie")
		granted := w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"buy","maxAmount":"5"}`)
		path, tag := "/v1/agents/agent_ollie/permissions/"+granted.body["permissionId"].(string), granted.header.Get("ETag")
		replaced := w.must(200, "PUT", path, b.token, `{"action":"buy","maxAmount":"6"}`, "If-Match", tag)
		w.must(412, "PUT", path, b.token, `{"action":"buy","maxAmount":"7"}`, "If-Match", tag)
		w.must(400, "PUT", path, b.token, `{"action":"buy"}`, "If-Match", "yesterday")
		w.must(200, "PUT", path, b.token, `{"action":"buy","maxAmount":"8"}`, "If-Match", replaced.header.Get("ETag"))
		w.must(404, "PUT", "/v1/agents/agent_ollie/permissions/perm_x", b.token, `{"action":"buy"}`)
		if r := w.must(200, "GET", path, b.token, ""); r.body["maxAmount"] != "8.00" {
			t.Errorf("got %s, want 8.00", r.text)
		}
	})
}

func TestBodies(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		key := w.register(b.token, "agent_ollie")
		w.must(415, "POST", "/v1/verify", key, `{"action":"buy"}`, "Content-Type", "text/plain")
		w.must(415, "POST", "/v1/verify", key, `{"action":"buy"}`, "Content-Type", "application/x-www-form-urlencoded")
		w.must(200, "POST", "/v1/verify", key, `{"action":"buy"}`, "Content-Type", "application/json; charset=utf-8")
		padded := `{"action":"buy","arguments":"` + strings.Repeat("x", handlers.MaxBody-31) + `"}`
		w.must(200, "POST", "/v1/verify", key, padded)
		w.must(413, "POST", "/v1/verify", key, padded+" ")
		if r := w.must(413, "POST", "/v1/verify", key, strings.Repeat(" ", 1<<20)); r.code() != "TOO_LARGE" {
			t.Errorf("got %s, want TOO_LARGE", r.text)
		}
	})
}

func TestNotesAreForMembers(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		key := w.register(b.token, "agent_ollie")
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"buy","description":"shown","notes":"kept"}`)
		if r := w.must(200, "GET", "/v1/passport", key, ""); strings.Contains(r.text, "kept") || !strings.Contains(r.text, "shown") {
			t.Errorf("got %s, want the description and not the notes", r.text)
		}
		if r := w.must(200, "GET", "/v1/agents/agent_ollie/permissions", b.token, ""); !strings.Contains(r.text, "kept") {
			t.Errorf("got %s, want the notes", r.text)
		}
	})
}

func TestRateLimits(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key, other := w.register(b.token, "agent_ollie"), w.register(b.token, "agent_other")
		n.Limits = handlers.Limits{Agents: handlers.NewLimiter(5, time.Now), Failures: handlers.NewLimiter(3, time.Now)}
		spend := func(token string) (passed int, last reply) {
			for range 20 {
				if last = w.do("POST", "/v1/verify", token, `{"action":"buy"}`); last.status != 429 {
					passed++
				}
			}
			return passed, last
		}
		passed, last := spend(key)
		if passed != 10 || last.header.Get("Retry-After") != "1" || last.code() != "RATE_LIMITED" {
			t.Errorf("got %d passed, then %d %s with Retry-After %q, want 10, then RATE_LIMITED with 1", passed, last.status, last.text, last.header.Get("Retry-After"))
		}
		if passed, _ := spend(other); passed != 10 {
			t.Errorf("another key: got %d passed, want 10", passed)
		}
		if passed, last := spend("bhf_sk_wrong"); passed != 6 || last.status != 429 {
			t.Errorf("wrong keys: got %d passed, want 6", passed)
		}
		time.Sleep(time.Second)
		if r := w.do("POST", "/v1/verify", key, `{"action":"buy"}`); r.status != 200 {
			t.Errorf("a second later: got %d %s, want 200", r.status, r.text)
		}
		n.Limits = handlers.Limits{Addresses: handlers.NewLimiter(2, time.Now)}
		if passed, last := spend(key); passed != 4 || last.status != 429 {
			t.Errorf("one address: got %d passed, want 4", passed)
		}
	})
}

func TestDecisionsNewestFirst(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		ollie, other := w.register(b.token, "agent_ollie"), w.register(b.token, "agent_other")
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"buy"}`)
		var ids []string
		var middle time.Time
		for i := range 25 {
			if i == 12 {
				time.Sleep(time.Minute)
				middle = time.Now()
			}
			ids = append(ids, w.must(200, "POST", "/v1/verify", ollie, `{"action":"`+[]string{"buy", "sell"}[i%2]+`"}`).body["requestId"].(string))
			w.must(200, "POST", "/v1/verify", other, `{"action":"buy"}`)
			time.Sleep(time.Millisecond)
		}
		n.project()
		list := func(token, query string) (got []string) {
			cursor := ""
			for {
				path := "/v1/decisions?limit=7" + query
				if cursor != "" {
					path += "&cursor=" + cursor
				}
				r := w.must(200, "GET", path, token, "")
				for _, d := range r.body["decisions"].([]any) {
					got = append(got, d.(map[string]any)["requestId"].(string))
				}
				next, ok := r.body["nextCursor"].(string)
				if !ok {
					return got
				}
				cursor = next
			}
		}
		pick := func(keep func(i int) bool) (want []string) {
			for i := len(ids) - 1; i >= 0; i-- {
				if keep(i) {
					want = append(want, ids[i])
				}
			}
			return want
		}
		for _, tt := range []struct {
			name, token, query string
			want               []string
		}{
			{"an agent's own", ollie, "", pick(func(int) bool { return true })},
			{"of one agent", b.token, "&agentId=agent_ollie", pick(func(int) bool { return true })},
			{"of one outcome", ollie, "&outcome=allowed", pick(func(i int) bool { return i%2 == 0 })},
			{"of one action", ollie, "&action=sell", pick(func(i int) bool { return i%2 == 1 })},
			{"since a time", ollie, "&since=" + middle.UTC().Format(time.RFC3339Nano), pick(func(i int) bool { return i >= 12 })},
			{"until a time", ollie, "&until=" + middle.UTC().Format(time.RFC3339Nano), pick(func(i int) bool { return i < 12 })},
			{"of nobody", b.token, "&agentId=agent_nobody", nil},
		} {
			if got := list(tt.token, tt.query); strings.Join(got, " ") != strings.Join(tt.want, " ") {
				t.Errorf("%s: got %d %v, want %d %v", tt.name, len(got), got, len(tt.want), tt.want)
			}
		}
		if got := list(b.token, ""); len(got) != 50 {
			t.Errorf("of the account: got %d, want 50", len(got))
		}
		for _, query := range []string{"limit=0", "limit=x", "outcome=maybe", "since=yesterday", "cursor=x", "agent=agent_ollie", "limit=1&limit=2", "follow=maybe"} {
			if r := w.do("GET", "/v1/decisions?"+query, b.token, ""); r.status != 400 {
				t.Errorf("%s: got %d, want 400", query, r.status)
			}
		}
		for _, id := range []string{"req_x", "req_00000000000000000000000000", "x", ids[0][:len(ids[0])-1] + "!"} {
			if r := w.do("GET", "/v1/decisions/"+id, b.token, ""); r.status != 404 {
				t.Errorf("%s: got %d, want 404", id, r.status)
			}
		}
		w.must(200, "GET", "/v1/decisions/"+ids[3], b.token, "")
	})
}

func TestUnavailableIsAPacketThatDenies(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		key := w.register(b.token, "agent_ollie")
		n.log.BeforeAppend(func(domain.Record) error { return errBroken })
		r := w.must(503, "POST", "/v1/verify", key, `{"action":"buy"}`)
		if r.body["allowed"] != false || r.body["reasonCode"] != "UNAVAILABLE" || r.body["decision"] != "denied" || r.code() != "UNAVAILABLE" {
			t.Errorf("got %s, want a packet that denies", r.text)
		}
		if strings.Contains(r.text, errBroken.Error()) {
			t.Errorf("got %s, want nothing of what broke", r.text)
		}
		n.log.BeforeAppend(nil)
	})
}

// A management act whose append failed one way or the other happened once or
// not at all, and says so.
func TestManagingThroughFaults(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n := b.node()
		w := n.web(t)
		w.register(b.token, "agent_ollie")
		fail := true
		once := func(domain.Record) error {
			if fail {
				fail = false
				return errBroken
			}
			return nil
		}
		for name, set := range map[string]func(func(domain.Record) error){"before": n.log.BeforeAppend, "after": n.log.AfterAppend} {
			before := len(w.must(200, "GET", "/v1/agents/agent_ollie/permissions", b.token, "").body["permissions"].([]any))
			fail = true
			set(once)
			w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, `{"action":"buy"}`)
			set(nil)
			if got := len(w.must(200, "GET", "/v1/agents/agent_ollie/permissions", b.token, "").body["permissions"].([]any)); got != before+1 {
				t.Errorf("failed %s it wrote: got %d permissions more, want 1", name, got-before)
			}
		}
		// Written, but not known to last: the one who wrote it is not told that it
		// is done, and neither is one who asks for the same again.
		n.log.FailSettle(errBroken)
		fail = true
		n.log.AfterAppend(once)
		w.must(503, "POST", "/v1/agents/agent_ollie/disable", b.token, `{}`)
		n.log.AfterAppend(nil)
		w.must(503, "POST", "/v1/agents/agent_ollie/disable", b.token, `{}`)
		n.log.FailSettle(nil)
		w.must(200, "POST", "/v1/agents/agent_ollie/disable", b.token, `{}`)
		release := n.log.HoldAfter()
		w.must(503, "POST", "/v1/agents/agent_ollie/enable", b.token, `{}`)
		release()
	})
}
