package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

const (
	evaluationPath  = "/access/v1/evaluation"
	evaluationsPath = "/access/v1/evaluations"
	requestsPath    = "/access/v1/requests"
)

// authzen sends a request whose error may be a text. It fails if anything but a
// recorded allow says yes.
func (w *web) authzen(method, path, token, body string, header ...string) reply {
	w.t.Helper()
	r := httptest.NewRequest(method, "http://pdp.example.com"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	w.api.ServeHTTP(recorder, r)
	out := reply{status: recorder.Code, header: recorder.Header(), text: recorder.Body.String()}
	if err := json.Unmarshal([]byte(out.text), &out.body); err != nil && out.status < 300 {
		w.t.Fatalf("%s %s: the answer %q is no JSON: %v", method, path, out.text, err)
	}
	if out.status != http.StatusOK && strings.Contains(out.text, `"decision":true`) {
		w.t.Fatalf("%s %s: got %d %s, want no yes", method, path, out.status, out.text)
	}
	return out
}

// evaluate evaluates, and returns the decision and its context.
func (w *web) evaluate(token, body string) (bool, map[string]any) {
	w.t.Helper()
	r := w.authzen("POST", evaluationPath, token, body)
	decision, ok := r.body["decision"].(bool)
	if r.status != 200 || !ok {
		w.t.Fatalf("%s: got %d %s, want a decision", body, r.status, r.text)
	}
	context, _ := r.body["context"].(map[string]any)
	if decision && (context["requestId"] == nil || context["requestId"] == "") {
		w.t.Fatalf("%s: got %s, want an allow to name what was recorded", body, r.text)
	}
	return decision, context
}

func evaluation(agent, action, kind, id string) string {
	return fmt.Sprintf(`{"subject":{"type":"agent","id":%q},"action":{"name":%q},"resource":{"type":%q,"id":%q}}`, agent, action, kind, id)
}

// The todo application of the interoperability events.
func TestAuthzenTodoInterop(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		file, err := os.ReadFile("testdata/authzen_todo.tsv")
		if err != nil {
			t.Fatal(err)
		}
		w := b.node().web(t)
		keys := map[string]string{}
		yes, decisions := 0, 0
		for line := range strings.Lines(string(file)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			switch f[0] {
			case "user":
				keys[f[1]] = w.register(b.token, f[1])
				for _, terms := range todoTerms(f[2], strings.Split(f[3], ",")) {
					w.must(201, "POST", "/v1/agents/"+f[1]+"/permissions", b.token, terms)
				}
			case "decision":
				got, context := w.evaluate(keys[f[1]], evaluation(f[1], f[2], f[3], f[4]))
				if want := f[5] == "true"; got != want {
					t.Errorf("%s: got %v (%v), want %v", line, got, context, want)
				}
				decisions++
				if got {
					yes++
				}
			}
		}
		if decisions != 40 || yes != 26 {
			t.Errorf("got %d decisions, %d of them yes; want 40 and 26", decisions, yes)
		}
		const morty, todo = "CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs", "7240d0db-8ff0-41ec-98b2-34a096273b9f"
		many := w.authzen("POST", evaluationsPath, keys[morty], `{"subject":{"type":"agent","id":"`+morty+`"},"action":{"name":"can_update_todo"},"resource":{},"context":{},
			"evaluations":[{"resource":{"type":"todo","id":"rick@the-citadel.com/`+todo+`"}},{"resource":{"type":"todo","id":"morty@the-citadel.com/`+todo+`"}}]}`)
		if got := said(many); !slices.Equal(got, []bool{false, true}) {
			t.Errorf("got %s, want no and yes", many.text)
		}
	})
}

// todoTerms are what a user of the todo application may do, by their roles.
func todoTerms(email string, roles []string) []string {
	list := []string{`{"action":"can_read_user","resource":"user:*"}`, `{"action":"can_read_todos","resource":"todo:*"}`}
	own := fmt.Sprintf(`{"allowedActions":["can_update_todo","can_delete_todo"],"resource":"todo:%s/*"}`, email)
	for _, role := range roles {
		switch role {
		case "editor":
			list = append(list, `{"action":"can_create_todo","resource":"todo:*"}`, own)
		case "admin":
			list = append(list, `{"action":"can_create_todo","resource":"todo:*"}`, own, `{"action":"can_delete_todo","resource":"todo:*/**"}`)
		case "evil_genius":
			list = append(list, `{"action":"can_update_todo","resource":"todo:*/**"}`)
		}
	}
	return list
}

// said are the decisions of an answer to many evaluations.
func said(r reply) (list []bool) {
	items, _ := r.body["evaluations"].([]any)
	for _, item := range items {
		decision, _ := item.(map[string]any)["decision"].(bool)
		list = append(list, decision)
	}
	return list
}

const (
	buys  = `{"subject":{"type":"agent","id":"agent_ollie"},"action":{"name":"buy","properties":{"amount":"10","currency":"USD"}},"resource":{"type":"vendor","id":"x.com"}}`
	pushs = `{"subject":{"type":"agent","id":"agent_ollie"},"action":{"name":"push"},"resource":{"type":"repo","id":"a/b"},"context":{"branch":"dev"}}`
)

func authzenWorld(t *testing.T, b *bed) (*node, *web, string) {
	n := b.node()
	w := n.web(t)
	key := w.register(b.token, "agent_ollie")
	w.register(b.token, "agent_other")
	for _, terms := range []string{
		`{"action":"buy","vendors":["x.com","*.y.com","z.com"],"maxAmount":"50","currency":"USD"}`,
		`{"allowedActions":["push","pull"],"resource":["repo:a/b","repo:c/d","repo:e/**"],"context":{"branch":"dev"}}`,
		`{"blockedActions":["pull"],"resource":"repo:c/d"}`,
		`{"action":"run","deniedCommands":["rm -rf"]}`,
		`{"action":"write","paths":["/srv"]}`,
		`{"action":"pay","vendors":["x.com"],"requiresApproval":true}`,
	} {
		w.must(201, "POST", "/v1/agents/agent_ollie/permissions", b.token, terms)
	}
	return n, w, key
}

func TestAuthzenEvaluates(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		_, w, key := authzenWorld(t, b)
		for _, c := range []struct {
			name, body string
			want       bool
			code       string
		}{
			{"a vendor", buys, true, "ALLOWED"},
			{"a host", strings.Replace(buys, `"vendor"`, `"host"`, 1), true, "ALLOWED"},
			{"another vendor", strings.Replace(buys, "x.com", "evil.com", 1), false, "VENDOR_NOT_ALLOWED"},
			{"too much", strings.Replace(buys, `"10"`, `51`, 1), false, "AMOUNT_EXCEEDS_LIMIT"},
			{"a resource of a type", pushs, true, "ALLOWED"},
			{"the same by its name", strings.Replace(pushs, `"repo","id":"a/b"`, `"resource","id":"repo:a/b"`, 1), true, "ALLOWED"},
			{"another type of the same name", strings.Replace(pushs, `"repo"`, `"wiki"`, 1), false, "RESOURCE_NOT_ALLOWED"},
			{"a type that would hide in a name", strings.Replace(pushs, `"repo","id":"a/b"`, `"repo:a","id":"b"`, 1), false, "RESOURCE_NOT_ALLOWED"},
			{"another branch", strings.Replace(pushs, "dev", "main", 1), false, "CONTEXT_NOT_ALLOWED"},
			{"no branch", strings.Replace(pushs, "branch", "other", 1), false, "CONTEXT_NOT_ALLOWED"},
			{"a branch in another place", strings.Replace(pushs, `"action":{"name":"push"}`, `"action":{"name":"push","properties":{"branch":"dev"}}`, 1), true, "ALLOWED"},
			{"a command", evaluation("agent_ollie", "run", "command", "ls"), true, "ALLOWED"},
			{"a bad command", evaluation("agent_ollie", "run", "command", "/bin/rm -r -f /"), false, "COMMAND_NOT_ALLOWED"},
			{"a file", evaluation("agent_ollie", "write", "file", "/srv/a"), true, "ALLOWED"},
			{"a file outside", evaluation("agent_ollie", "write", "path", "/srvx/a"), false, "PATH_NOT_ALLOWED"},
			{"members that nobody knows", strings.Replace(buys, `{"subject"`, `{"more":[1],"subject"`, 1), true, "ALLOWED"},
			{"what isn't there", strings.Replace(buys, `{"subject"`, `{"context":null,"subject"`, 1), true, "ALLOWED"},
			{"an action nobody granted", evaluation("agent_ollie", "fly", "vendor", "x.com"), false, "NO_PERMISSION"},
		} {
			got, context := w.evaluate(key, c.body)
			if got != c.want || context["reasonCode"] != c.code || context["risk"] == "" || context["passportVersion"] == nil {
				t.Errorf("%s: got %v %v, want %v %s", c.name, got, context, c.want, c.code)
			}
			recorded := w.must(200, "GET", "/v1/decisions/"+context["requestId"].(string), key, "")
			if recorded.body["allowed"] != got || recorded.body["agentId"] != "agent_ollie" {
				t.Errorf("%s: got %s recorded, want what was answered", c.name, recorded.text)
			}
		}
		preview, context := w.evaluate(b.token, buys)
		if preview || context["preview"] != true || context["wouldBe"] != "allowed" || context["requestId"] != nil {
			t.Errorf("a member: got %v %v, want a preview, and no yes", preview, context)
		}
	})
}

// Whatever is wrong, the answer is no yes.
func TestAuthzenRefuses(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, w, key := authzenWorld(t, b)
		deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
		slow := handlers.NewLimiter(1, time.Now)
		for _, c := range []struct {
			name   string
			token  string
			body   string
			kind   string
			break_ func()
			want   int
		}{
			{name: "no subject", body: `{"action":{"name":"buy"},"resource":{"type":"vendor","id":"x.com"}}`, want: 400},
			{name: "no type of subject", body: strings.Replace(buys, `"type":"agent",`, "", 1), want: 400},
			{name: "no id of subject", body: strings.Replace(buys, `,"id":"agent_ollie"`, "", 1), want: 400},
			{name: "no action", body: strings.Replace(buys, `"action"`, `"Action"`, 1), want: 400},
			{name: "no name of action", body: strings.Replace(buys, `"name":"buy",`, "", 1), want: 400},
			{name: "no resource", body: strings.Replace(buys, `"resource"`, `"resources"`, 1), want: 400},
			{name: "no id of resource", body: strings.Replace(buys, `,"id":"x.com"`, "", 1), want: 400},
			{name: "a subject that is a text", body: strings.Replace(buys, `{"type":"agent","id":"agent_ollie"}`, `"agent_ollie"`, 1), want: 400},
			{name: "a context that is a list", body: strings.Replace(pushs, `{"branch":"dev"}`, `["dev"]`, 1), want: 400},
			{name: "a name twice", body: strings.Replace(buys, `"name":"buy",`, `"name":"fly","name":"buy",`, 1), want: 400},
			{name: "bad UTF-8", body: strings.Replace(buys, "x.com", "x\xff.com", 1), want: 400},
			{name: "an amount that is none", body: strings.Replace(buys, `"10"`, `"1e1"`, 1), want: 400},
			{name: "two amounts", body: strings.Replace(buys, `{"subject"`, `{"context":{"amount":1},"subject"`, 1), want: 400},
			{name: "two commands", body: strings.Replace(evaluation("agent_ollie", "run", "command", "ls"), `{"subject"`, `{"context":{"command":"rm -rf /"},"subject"`, 1), want: 400},
			{name: "an action that is none", body: strings.Replace(buys, `"buy"`, `"buy it"`, 1), want: 400},
			{name: "too deep", body: strings.Replace(buys, `{"subject"`, `{"context":`+deep+`,"subject"`, 1), want: 400},
			{name: "nothing", body: ``, want: 400},
			{name: "half", body: buys[:len(buys)-2], want: 400},
			{name: "two", body: buys + buys, want: 400},
			{name: "too large", body: strings.Replace(buys, `{"subject"`, `{"more":"`+strings.Repeat("a", handlers.MaxBody)+`","subject"`, 1), want: 413},
			{name: "no JSON", body: buys, kind: "text/plain", want: 400},
			{name: "a bad key", body: buys, token: "bhf_sk_" + strings.Repeat("a", 43), want: 401},
			{name: "another agent", body: strings.Replace(buys, "ollie", "other", 1), want: 403},
			{name: "a user", body: strings.Replace(buys, `"agent"`, `"user"`, 1), want: 403},
			{name: "a member, and no such agent", body: strings.Replace(buys, "ollie", "nobody", 1), token: b.token, want: 404},
			{name: "the log doesn't answer", body: buys, break_: func() { n.log.BeforeAppend(func(domain.Record) error { return errBroken }) }, want: 503},
			{name: "the log answers too late", body: buys, break_: func() {
				n.log.BeforeAppend(nil)
				n.log.AfterAppend(func(domain.Record) error { return errBroken })
			}, want: 503},
			{name: "the node is not ready", body: buys, break_: func() { n.log.AfterAppend(nil); n.gate.Drain(); n.sick.Store(true); time.Sleep(time.Second) }, want: 503},
			{name: "too often", body: buys, break_: func() {
				n.sick.Store(false)
				n.Limits.Addresses = slow
				for slow.Pass("192.0.2.1") == nil {
				}
			}, want: 429},
		} {
			if c.break_ != nil {
				c.break_()
			}
			token := key
			if c.token != "" {
				token = c.token
			}
			kind := c.kind
			if kind == "" {
				kind = "application/json"
			}
			got := w.authzen("POST", evaluationPath, token, c.body, "Content-Type", kind, "X-Request-ID", "id of "+c.name)
			if got.status != c.want || got.text == "" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") || got.header.Get("X-Request-ID") != "id of "+c.name {
				t.Errorf("%s: got %d %v %q, want %d, a text and the request's id", c.name, got.status, got.header, got.text, c.want)
			}
			many := w.authzen("POST", evaluationsPath, token, `{"evaluations":[`+c.body+`]}`, "Content-Type", kind)
			if said := said(many); many.status == 200 && (len(said) != 1 || said[0]) {
				t.Errorf("%s, one of many: got %s, want no yes", c.name, many.text)
			}
		}
	})
}

func TestAuthzenManyEvaluations(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		n, w, key := authzenWorld(t, b)
		yes, no, bad := `{}`, `{"resource":{"type":"vendor","id":"evil.com"}}`, `{"action":{}}`
		for _, c := range []struct {
			semantic, items string
			want            []bool
		}{
			{"", yes + "," + no + "," + bad + "," + yes, []bool{true, false, false, true}},
			{"execute_all", no + "," + yes, []bool{false, true}},
			{"deny_on_first_deny", yes + "," + no + "," + yes, []bool{true, false}},
			{"deny_on_first_deny", yes + "," + bad + "," + yes, []bool{true, false}},
			{"deny_on_first_deny", yes + "," + yes, []bool{true, true}},
			{"permit_on_first_permit", no + "," + bad + "," + yes + "," + yes, []bool{false, false, true}},
			{"permit_on_first_permit", no + "," + no, []bool{false, false}},
		} {
			body := strings.TrimSuffix(buys, "}") + `,"options":{"evaluations_semantic":"` + c.semantic + `"},"evaluations":[` + c.items + `]}`
			got := w.authzen("POST", evaluationsPath, key, strings.Replace(body, `"evaluations_semantic":""`, "", 1))
			if !slices.Equal(said(got), c.want) {
				t.Errorf("%s of %s: got %s, want %v", c.semantic, c.items, got.text, c.want)
			}
		}
		one := w.authzen("POST", evaluationsPath, key, strings.TrimSuffix(buys, "}")+`,"evaluations":[]}`)
		if one.body["decision"] != true || one.body["evaluations"] != nil {
			t.Errorf("none listed: got %s, want one decision", one.text)
		}
		for _, body := range []string{
			strings.TrimSuffix(buys, "}") + `,"options":{"evaluations_semantic":"any"},"evaluations":[{}]}`,
			strings.TrimSuffix(buys, "}") + `,"evaluations":[` + strings.Repeat("{},", 100) + `{}]}`,
			strings.TrimSuffix(buys, "}") + `,"evaluations":{}}`,
		} {
			if got := w.authzen("POST", evaluationsPath, key, body); got.status != 400 {
				t.Errorf("%.200s: got %d %s, want 400", body, got.status, got.text)
			}
		}
		failed := w.authzen("POST", evaluationsPath, key, strings.TrimSuffix(buys, "}")+`,"evaluations":[{"subject":{"type":"agent","id":"agent_other"}}]}`)
		item, _ := failed.body["evaluations"].([]any)[0].(map[string]any)
		context, _ := item["context"].(map[string]any)
		if e, _ := context["error"].(map[string]any); item["decision"] != false || e["status"] != 403.0 || e["message"] == "" {
			t.Errorf("got %s, want a no that says 403", failed.text)
		}
		n.Limits.Agents = handlers.NewLimiter(1, n.Verifier.Now)
		limited := w.authzen("POST", evaluationsPath, key, strings.TrimSuffix(buys, "}")+`,"evaluations":[{},{},{},{},{}]}`)
		if got := said(limited); len(got) != 5 || !got[0] || got[4] {
			t.Errorf("got %s, want each to count against the limit", limited.text)
		}
	})
}

func TestAuthzenApproval(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		_, w, key := authzenWorld(t, b)
		other := w.must(200, "POST", "/v1/agents/agent_other/rotate-key", b.token, `{}`).body["apiKey"].(string)
		const pays = `{"subject":{"type":"agent","id":"agent_ollie"},"action":{"name":"pay"},"resource":{"type":"vendor","id":"x.com","properties":{"invoice":7}},"context":{"why":"due"}}`
		decision, context := w.evaluate(key, pays)
		access, _ := context["access_request"].(map[string]any)
		if decision || context["reason"] != "approval_required" || context["evaluation_id"] != context["requestId"] || context["evaluated_at"] == nil ||
			access["endpoint"] != "http://pdp.example.com"+requestsPath || access["expires_at"] == nil {
			t.Fatalf("got %v %v, want a denial that can be asked about", decision, context)
		}
		submit := func(token, body, id string) reply {
			return w.authzen("POST", requestsPath, token, strings.TrimSuffix(body, "}")+`,"denial":{"evaluation_id":"`+id+`"},"requested_access":{"emergency":true}}`)
		}
		id := context["evaluation_id"].(string)
		task := submit(key, pays, id)
		about, _ := task.body["task"].(map[string]any)
		if task.status != 201 || about["status"] != "pending" || about["id"] != context["approvalId"] || task.body["result"] != nil ||
			task.header.Get("Location") != about["status_endpoint"] {
			t.Fatalf("got %d %s, want the pending task", task.status, task.text)
		}
		if again := submit(key, pays, id); again.text != task.text {
			t.Errorf("again: got %s, want %s", again.text, task.text)
		}
		allowed, plain := w.evaluate(key, buys)
		for name, c := range map[string]struct {
			reply reply
			want  int
			kind  string
		}{
			"another resource":        {submit(key, strings.Replace(pays, "x.com", "z.com", 1), id), 400, "invalid_denial_binding"},
			"another property":        {submit(key, strings.Replace(pays, "7", "8", 1), id), 400, "invalid_denial_binding"},
			"another context":         {submit(key, strings.Replace(pays, "due", "new", 1), id), 400, "invalid_denial_binding"},
			"an unknown evaluation":   {submit(key, pays, "req_01K8M5C0W2X4Y6Z8A0B2C4D6E8"), 400, "invalid_denial_binding"},
			"one of another agent":    {submit(other, strings.Replace(pays, "ollie", "other", 1), id), 400, "invalid_denial_binding"},
			"an allow":                {submit(key, buys, plain["requestId"].(string)), 400, "not_requestable"},
			"another agent's task":    {w.authzen("GET", requestsPath+"/"+about["id"].(string), other, ""), 404, "unknown_task"},
			"items":                   {submit(key, strings.TrimSuffix(pays, "}")+`,"items":[]}`, id), 400, "not_requestable"},
			"no task":                 {w.authzen("GET", requestsPath+"/apr_01K8M5C0W2X4Y6Z8A0B2C4D6E8", key, ""), 404, "unknown_task"},
			"a member":                {submit(b.token, pays, id), 403, ""},
			"another agent's subject": {submit(other, pays, id), 403, ""},
		} {
			kind, _ := c.reply.body["type"].(string)
			if c.reply.status != c.want || c.kind != "" && (kind != "urn:openid:authzen:access-request:error:"+c.kind || c.reply.header.Get("Content-Type") != "application/problem+json") {
				t.Errorf("%s: got %d %s, want %d %s", name, c.reply.status, c.reply.text, c.want, c.kind)
			}
		}
		if !allowed {
			t.Error("got no, want an allow that is not about approvals")
		}
		with := func(body, approval string) string {
			return strings.Replace(body, `"context":{`, `"context":{"approval":`+approval+`,`, 1)
		}
		early := `{"id":"` + about["id"].(string) + `"}`
		expect := func(body string, want bool, reason, next string) {
			t.Helper()
			got, context := w.evaluate(key, body)
			if got != want || reason != "" && context["reason"] != reason || next != "" && context["next_action"] != next {
				t.Errorf("%s: got %v %v, want %v, %s and %s", body, got, context, want, reason, next)
			}
		}
		expect(with(pays, early), false, "grant_pending", "retry")
		w.must(200, "POST", "/v1/approvals/"+about["id"].(string)+"/approve", b.token, `{}`)
		done := w.authzen("GET", requestsPath+"/"+about["id"].(string), key, "")
		result, _ := done.body["result"].(map[string]any)
		approval, err := json.Marshal(result["approval"])
		if got, _ := done.body["task"].(map[string]any); err != nil || got["status"] != "approved" || result["mode"] != "reevaluate" {
			t.Fatalf("got %s, want it approved", done.text)
		}
		expect(with(pays, `{"id":"apr_01K8M5C0W2X4Y6Z8A0B2C4D6E8"}`), false, "approval_unverifiable", "request")
		expect(with(strings.Replace(pays, "7", "8", 1), string(approval)), false, "out_of_scope", "request")
		expect(with(pays, string(approval)), true, "", "")
		expect(with(pays, string(approval)), false, "policy_denied", "none")
	})
}

// An approval that ended, or was refused, opens nothing.
func TestAuthzenApprovalThatHelpsNoMore(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		_, w, key := authzenWorld(t, b)
		open := func(invoice string) (body, evaluation, approval string) {
			body = `{"subject":{"type":"agent","id":"agent_ollie"},"action":{"name":"pay"},"resource":{"type":"vendor","id":"x.com"},"context":{"invoice":"` + invoice + `"}}`
			_, context := w.evaluate(key, body)
			return body, context["evaluation_id"].(string), context["approvalId"].(string)
		}
		sent := func(body, approval string) map[string]any {
			_, context := w.evaluate(key, strings.Replace(body, `"context":{`, `"context":{"approval":{"id":"`+approval+`"},`, 1))
			return context
		}
		denied, _, id := open("1")
		w.must(200, "POST", "/v1/approvals/"+id+"/deny", b.token, `{}`)
		if got := sent(denied, id); got["reason"] != "policy_denied" || got["next_action"] != "none" {
			t.Errorf("denied: got %v", got)
		}
		body, evaluation, id := open("2")
		w.must(200, "POST", "/v1/approvals/"+id+"/approve", b.token, `{}`)
		time.Sleep(time.Hour)
		if got := sent(body, id); got["reason"] != "approval_expired" || got["next_action"] != "request" {
			t.Errorf("expired: got %v", got)
		}
		late := w.authzen("POST", requestsPath, key, strings.TrimSuffix(body, "}")+`,"denial":{"evaluation_id":"`+evaluation+`"}}`)
		if late.status != 410 || !strings.Contains(late.text, "expired_denial") {
			t.Errorf("got %d %s, want expired_denial", late.status, late.text)
		}
	})
}

func TestAuthzenSearches(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		_, w, key := authzenWorld(t, b)
		for _, id := range []string{"agent_a", "agent_b", "agent_c"} {
			w.register(b.token, id)
			w.must(201, "POST", "/v1/agents/"+id+"/permissions", b.token, `{"action":"buy","vendors":["x.com"]}`)
		}
		search := func(kind, token, body string) []string {
			t.Helper()
			r := w.authzen("POST", "/access/v1/search/"+kind, token, body)
			list := []string{}
			results, ok := r.body["results"].([]any)
			if r.status != 200 || !ok {
				t.Fatalf("%s: got %d %s", body, r.status, r.text)
			}
			for _, item := range results {
				m := item.(map[string]any)
				list = append(list, strings.Trim(fmt.Sprint(m["type"], " ", m["id"], " ", m["name"]), " "))
			}
			return list
		}
		const subject, ten = `"subject":{"type":"agent","id":"agent_ollie"}`, `"context":{"amount":"10","branch":"dev"}`
		for _, c := range []struct {
			kind, token, body, want string
		}{
			{"subject", b.token, `{"subject":{"type":"agent"},"action":{"name":"buy"},"resource":{"type":"vendor","id":"x.com"},` + ten + `}`, "agent agent_a,agent agent_b,agent agent_c,agent agent_ollie"},
			{"subject", b.token, `{"subject":{"type":"agent"},"action":{"name":"buy"},"resource":{"type":"vendor","id":"z.com"},` + ten + `}`, "agent agent_ollie"},
			{"subject", b.token, `{"subject":{"type":"user"},"action":{"name":"buy"},"resource":{"type":"vendor","id":"x.com"}}`, ""},
			{"subject", key, `{"subject":{"type":"agent","id":"agent_a"},"action":{"name":"buy"},"resource":{"type":"vendor","id":"x.com"},` + ten + `}`, "agent agent_ollie"},
			{"resource", key, `{` + subject + `,"action":{"name":"buy"},"resource":{"type":"vendor"},` + ten + `}`, "vendor x.com,vendor z.com"},
			{"resource", b.token, `{` + subject + `,"action":{"name":"push"},"resource":{"type":"repo"},` + ten + `}`, "repo a/b,repo c/d"},
			{"resource", key, `{` + subject + `,"action":{"name":"pull"},"resource":{"type":"repo"},` + ten + `}`, "repo a/b"},
			{"resource", key, `{` + subject + `,"action":{"name":"push"},"resource":{"type":"resource"},` + ten + `}`, "resource repo:a/b,resource repo:c/d"},
			{"resource", key, `{` + subject + `,"action":{"name":"push"},"resource":{"type":"repo"}}`, ""},
			{"resource", key, `{` + subject + `,"action":{"name":"write"},"resource":{"type":"path"}}`, "path /srv"},
			{"action", key, `{` + subject + `,"resource":{"type":"repo","id":"c/d"},` + ten + `}`, "push"},
			{"action", b.token, `{"subject":{"type":"agent","id":"agent_a"},"resource":{"type":"vendor","id":"x.com"}}`, "buy"},
			{"action", b.token, `{"subject":{"type":"agent","id":"agent_nobody"},"resource":{"type":"vendor","id":"x.com"}}`, ""},
		} {
			got := search(c.kind, c.token, c.body)
			for i, text := range got {
				got[i] = strings.TrimSuffix(strings.TrimPrefix(text, "<nil> <nil> "), " <nil>")
			}
			if text := strings.Join(got, ","); text != c.want {
				t.Errorf("%s %s: got %s, want %s", c.kind, c.body, text, c.want)
			}
		}
		const all = `{"subject":{"type":"agent"},"action":{"name":"buy"},"resource":{"type":"vendor","id":"x.com"},` + ten
		var pages []string
		token := ""
		for range 3 {
			r := w.authzen("POST", "/access/v1/search/subject", b.token, all+`,"page":{"limit":2,"token":"`+token+`"}}`)
			page := r.body["page"].(map[string]any)
			pages = append(pages, fmt.Sprint(len(r.body["results"].([]any)), page["count"]))
			if token = page["next_token"].(string); token == "" {
				break
			}
		}
		if got := strings.Join(pages, ","); got != "2 2,2 2,0 0" {
			t.Errorf("got the pages %s, want two of two, and one of those who may not", got)
		}
		for _, body := range []string{
			all + `,"page":{"limit":0}}`, all + `,"page":{"limit":501}}`, all + `,"page":{"token":"AAAA"}}`,
			`{"subject":{"type":"agent"},"action":{"name":"buy"}}`,
		} {
			if r := w.authzen("POST", "/access/v1/search/subject", b.token, body); r.status != 400 {
				t.Errorf("%s: got %d %s, want 400", body, r.status, r.text)
			}
		}
		first := w.authzen("POST", "/access/v1/search/subject", b.token, all+`,"page":{"limit":1}}`)
		next := first.body["page"].(map[string]any)["next_token"].(string)
		if r := w.authzen("POST", "/access/v1/search/subject", b.token, strings.Replace(all, "x.com", "z.com", 1)+`,"page":{"token":"`+next+`"}}`); r.status != 400 {
			t.Errorf("a token of another search: got %d %s, want 400", r.status, r.text)
		}
		if r := w.authzen("POST", "/access/v1/search/resource", key, `{"subject":{"type":"agent","id":"agent_a"},"action":{"name":"buy"},"resource":{"type":"vendor"}}`); r.status != 403 {
			t.Errorf("another agent's passport: got %d %s, want 403", r.status, r.text)
		}
	})
}

func TestAuthzenConfiguration(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		got := w.authzen("GET", "/.well-known/authzen-configuration", "", "", "X-Forwarded-Proto", "https", "X-Request-ID", "7")
		if got.status != 200 || got.body["policy_decision_point"] != "https://pdp.example.com" ||
			got.body["access_evaluation_endpoint"] != "https://pdp.example.com"+evaluationPath || got.header.Get("X-Request-ID") != "7" {
			t.Errorf("got %d %s", got.status, got.text)
		}
	})
}

// The search application of the interoperability events.
func TestAuthzenSearchInterop(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		file, err := os.ReadFile("testdata/authzen_search.tsv")
		if err != nil {
			t.Fatal(err)
		}
		w := b.node().web(t)
		var users, records, asked [][]string
		for line := range strings.Lines(string(file)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			switch f[0] {
			case "user":
				users = append(users, f)
			case "record":
				records = append(records, f)
			case "subject", "resource":
				asked = append(asked, f)
			}
		}
		keys := map[string]string{}
		for _, u := range users {
			keys[u[1]] = w.register(b.token, u[1])
			for action, may := range searchPolicies(u, records) {
				terms, err := json.Marshal(map[string]any{"action": action, "resource": may})
				if err != nil {
					t.Fatal(err)
				}
				if len(may) > 0 {
					w.must(201, "POST", "/v1/agents/"+u[1]+"/permissions", b.token, string(terms))
				}
			}
		}
		results := 0
		for _, f := range asked {
			body := fmt.Sprintf(`{"subject":{"type":"agent"},"action":{"name":%q},"resource":{"type":"record","id":%q}}`, f[1], f[2])
			token := b.token
			if f[0] == "resource" {
				body = fmt.Sprintf(`{"subject":{"type":"agent","id":%q},"action":{"name":%q},"resource":{"type":"record"}}`, f[2], f[1])
				token = keys[f[2]]
			}
			r := w.authzen("POST", "/access/v1/search/"+f[0], token, body)
			var got []string
			for _, item := range r.body["results"].([]any) {
				got = append(got, item.(map[string]any)["id"].(string))
			}
			if strings.Join(got, ",") != f[3] {
				t.Errorf("%v: got %v", f, got)
			}
			results += len(got)
		}
		if len(asked) != 78 || results != 232 {
			t.Errorf("got %d searches with %d results, want 78 and 232", len(asked), results)
		}
		for _, nobody := range []string{`"type":"agent","id":"zoe"`, `"type":"user","id":"alice"`} {
			r := w.authzen("POST", "/access/v1/search/resource", b.token, `{"subject":{`+nobody+`},"action":{"name":"view"},"resource":{"type":"record"}}`)
			if list, ok := r.body["results"].([]any); !ok || len(list) != 0 {
				t.Errorf("%s: got %d %s, want nothing", nobody, r.status, r.text)
			}
		}
		actions := w.authzen("POST", "/access/v1/search/action", keys["dan"], `{"subject":{"type":"agent","id":"dan"},"resource":{"type":"record","id":"115"}}`)
		if !strings.Contains(actions.text, `"results":[{"name":"edit"},{"name":"view"}]`) {
			t.Errorf("got %s, want what a manager may do with a record of the department", actions.text)
		}
	})
}

// searchPolicies are the records that a user of the search application may do
// each action on.
func searchPolicies(user []string, records [][]string) map[string][]string {
	may := map[string][]string{}
	for _, r := range records {
		name, department, owner := "record:"+r[1], r[2] == user[3], r[3] == user[1]
		manager := user[2] == "manager"
		if owner || department || manager {
			may["view"] = append(may["view"], name)
		}
		if owner || manager && department {
			may["edit"] = append(may["edit"], name)
		}
		if owner {
			may["delete"] = append(may["delete"], name)
		}
	}
	return may
}
