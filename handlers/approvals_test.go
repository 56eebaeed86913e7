package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/handlers/httpapi"
)

// office is an account with people who are asked, and an agent that asks.
type office struct {
	*bed
	*web
	n   *node
	key string // agent_ollie's
	// permission is the agent's one.
	permission string
	// The people's ids and tokens, by name: ada and ben approve, vi only reads.
	ids, tokens map[string]string
}

// asks are the terms of a permission that a person has to be asked for.
const asks = `{"action":"purchase","vendors":"coachella.com","maxAmount":"500.00","currency":"USD","requiresApproval":true}`

// purchase is what the permission of an office allows once a person said yes.
const purchase = `{"action":"purchase","vendor":"coachella.com","amount":120}`

func (b *bed) office(t *testing.T, terms string) *office {
	t.Helper()
	n := b.node()
	o := &office{bed: b, web: n.web(t), n: n, ids: map[string]string{}, tokens: map[string]string{}}
	o.key = o.register(b.token, "agent_ollie")
	for name, role := range map[string]string{"ada": "APPROVER", "ben": "APPROVER", "vi": "VIEWER", "amy": "ADMIN"} {
		r := o.must(201, "POST", "/v1/members", b.token, `{"name":"`+name+`","role":"`+role+`"}`)
		o.ids[name], o.tokens[name] = r.body["memberId"].(string), r.body["token"].(string)
	}
	o.permission = o.grant(terms)
	return o
}

func (o *office) grant(terms string) string {
	o.web.t.Helper()
	return o.must(201, "POST", "/v1/agents/agent_ollie/permissions", o.token, terms).body["permissionId"].(string)
}

// asked verifies, and fails unless a person has to be asked; it returns the
// approval's path.
func (o *office) asked(body string) (path string) {
	o.web.t.Helper()
	r := o.verified(body, "APPROVAL_REQUIRED")
	id, _ := r.body["approvalId"].(string)
	if r.body["decision"] != "requires_approval" || r.body["allowed"] != false || r.body["approvalRequired"] != true || id == "" {
		o.web.t.Fatalf("got %s, want requires_approval with an approval", r.text)
	}
	return "/v1/approvals/" + id
}

// verified verifies, and fails unless the code is as wanted.
func (o *office) verified(body, code string) reply {
	o.web.t.Helper()
	r := o.must(200, "POST", "/v1/verify", o.key, body)
	if r.body["reasonCode"] != code || r.body["allowed"] != (code == "ALLOWED") {
		o.web.t.Fatalf("verify %s: got %s, want %s", body, r.text, code)
	}
	return r
}

// count is how many approvals a member sees in a state, any if it is empty.
func (o *office) count(state string) int {
	o.web.t.Helper()
	query := ""
	if state != "" {
		query = "&state=" + state
	}
	return len(o.must(200, "GET", "/v1/approvals?limit=500"+query, o.token, "").body["approvals"].([]any))
}

// wantState fails unless the approval is in a state, to the agent and to members.
func (o *office) wantState(path, state string) (toAgent, toMember reply) {
	o.web.t.Helper()
	toAgent, toMember = o.must(200, "GET", path, o.key, ""), o.must(200, "GET", path, o.tokens["vi"], "")
	for _, r := range []reply{toAgent, toMember} {
		if r.body["state"] != state {
			o.web.t.Errorf("%s: got %s, want %s", path, r.text, state)
		}
	}
	return toAgent, toMember
}

func TestApproval(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		o.must(200, "PATCH", "/v1/account", o.token, `{"approvals":{"validFor":"2m"}}`)
		time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 5, 0, time.UTC))) // what went before may have taken a moment
		first := o.verified(purchase, "APPROVAL_REQUIRED")
		path := o.asked(purchase)
		if again := o.verified(purchase, "APPROVAL_REQUIRED"); again.body["approvalId"] != first.body["approvalId"] || o.count("") != 1 {
			t.Errorf("asked again: got %s, want the same approval", again.text)
		}
		if p := o.must(200, "POST", "/v1/preview", o.key, purchase); p.body["wouldBe"] != "requires_approval" || p.body["approvalId"] != first.body["approvalId"] {
			t.Errorf("preview: got %s, want requires_approval and the approval", p.text)
		}
		pending, _ := o.wantState(path, "pending")
		for name, want := range map[string]any{
			"agentId": "agent_ollie", "agentName": "Ollie", "requestId": first.body["requestId"], "permissionId": o.permission,
			"action": "purchase", "vendor": "coachella.com", "amount": "120.00", "currency": "USD", "minRole": "APPROVER",
			"quorum": 1.0, "saidYes": 0.0, "riskLevel": "medium", "expiresAt": "2000-01-02T00:00:05Z",
			"wakeSubject": "behalf.wake.acct_home.agent_ollie." + strings.TrimPrefix(path, "/v1/approvals/"),
		} {
			if pending.body[name] != want {
				t.Errorf("got %s %v, want %v", name, pending.body[name], want)
			}
		}

		time.Sleep(time.Minute)
		o.must(200, "POST", path+"/approve", o.tokens["ada"], `{"comment":"enjoy"}`)
		again := o.must(200, "POST", path+"/approve", o.tokens["ada"], ``)
		if again.body["state"] != "approved" || len(again.body["votes"].([]any)) != 1 {
			t.Errorf("approved again: got %s, want it as it is", again.text)
		}
		toAgent, toMember := o.wantState(path, "approved")
		if toMember.body["comment"] != "enjoy" || toMember.body["resolvedBy"] != "member:"+o.ids["ada"] {
			t.Errorf("to a member: got %s, want who said what", toMember.text)
		}
		o.wantDiscreet(toAgent)

		used := o.verified(purchase, "ALLOWED")
		if used.body["approvalId"] != first.body["approvalId"] || used.body["reserved"] != true {
			t.Errorf("got %s, want an allow that used the approval", used.text)
		}
		o.verified(purchase, "APPROVAL_USED")
		toAgent, _ = o.wantState(path, "used")
		if toAgent.body["usedBy"] != used.body["requestId"] || o.count("") != 1 {
			t.Errorf("got %s, want it used by %v, and no other approval", toAgent.text, used.body["requestId"])
		}
		o.wantDiscreet(toAgent)
		if r := o.must(409, "POST", path+"/cancel", o.tokens["ada"], `{}`); !strings.Contains(r.text, "used") {
			t.Errorf("withdrawn after use: got %s, want a conflict that says why", r.text)
		}
		// Used or not, once the yes would have ended the same can be asked again.
		time.Sleep(2 * time.Minute)
		if next := o.asked(purchase); next == path {
			t.Errorf("got the approval that was used, want a new one")
		}
	})
}

// wantDiscreet fails if an answer to an agent says who said what.
func (o *office) wantDiscreet(r reply) {
	o.web.t.Helper()
	if strings.Contains(r.text, "mem_") || strings.Contains(r.text, "enjoy") || strings.Contains(r.text, "votes") {
		o.web.t.Errorf("to the agent: got %s, want nothing of who said what", r.text)
	}
}

func TestApprovalIsOfOneRequest(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		o.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`)
		for _, other := range []string{
			`{"action":"purchase","vendor":"coachella.com","amount":"120.01"}`,
			`{"action":"purchase","vendor":"coachella.com","amount":120,"currency":"USD"}`,
			`{"action":"purchase","vendor":"coachella.com","amount":120,"arguments":{}}`,
			`{"action":"purchase","vendor":"coachella.com","amount":120,"resource":"ticket"}`,
		} {
			if o.asked(other) == path {
				t.Errorf("%s: got the approval of another request", other)
			}
		}
		// What a yes cannot lift: the limit is judged again when it is used.
		o.must(200, "PUT", "/v1/agents/agent_ollie/permissions/"+o.permission, o.token, strings.Replace(asks, "500", "100", 1))
		o.verified(purchase, "AMOUNT_EXCEEDS_LIMIT")
		o.wantState(path, "cancelled")
	})
}

func TestDenial(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		o.must(200, "PATCH", "/v1/account", o.token, `{"approvals":{"denialFor":"1m"}}`)
		for _, shared := range []bool{false, true} {
			o.must(200, "PATCH", "/v1/account", o.token, fmt.Sprintf(`{"approvals":{"shareComments":%v}}`, shared))
			before := o.count("")
			path := o.asked(purchase)
			o.must(200, "POST", path+"/deny", o.tokens["ada"], `{"comment":"too dear"}`)
			o.must(200, "POST", path+"/deny", o.tokens["ada"], `{}`)
			o.must(409, "POST", path+"/deny", o.tokens["ben"], `{}`)
			o.must(409, "POST", path+"/approve", o.tokens["ben"], `{}`)
			toAgent, toMember := o.wantState(path, "denied")
			if toMember.body["comment"] != "too dear" || toMember.body["resolvedBy"] != "member:"+o.ids["ada"] {
				t.Errorf("to a member: got %s, want who said what", toMember.text)
			}
			denied := o.verified(purchase, "APPROVAL_DENIED")
			o.verified(purchase, "APPROVAL_DENIED")
			for _, r := range []reply{toAgent, denied} {
				if strings.Contains(r.text, "too dear") != shared || strings.Contains(r.text, o.ids["ada"]) {
					t.Errorf("shared %v: got %s", shared, r.text)
				}
			}
			if got := o.count("") - before; got != 1 {
				t.Errorf("got %d approvals more, want 1", got)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestQuorum(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, strings.Replace(asks, `"requiresApproval":true`, `"requiresApproval":"100.00","approval":{"quorum":2,"pendingFor":"1h"}`, 1))
		if r := o.verified(strings.Replace(purchase, "120", "100", 1), "ALLOWED"); r.body["approvalId"] != nil || r.body["reserved"] != nil {
			t.Errorf("at the threshold: got %s, want an allow that nobody was asked for", r.text)
		}
		path := o.asked(purchase)
		for range 2 {
			r := o.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`)
			if r.body["state"] != "pending" || r.body["saidYes"] != 1.0 {
				t.Errorf("one of two: got %s, want pending", r.text)
			}
		}
		o.verified(purchase, "APPROVAL_REQUIRED")
		// Who may not approve any more doesn't count any more.
		o.must(200, "PATCH", "/v1/members/"+o.ids["ada"], o.token, `{"role":"VIEWER"}`)
		if r := o.must(200, "POST", path+"/approve", o.tokens["ben"], `{}`); r.body["state"] != "pending" {
			t.Errorf("with one who may not any more: got %s, want pending", r.text)
		}
		if r := o.must(200, "POST", path+"/approve", o.tokens["amy"], `{}`); r.body["state"] != "approved" {
			t.Errorf("two of two: got %s, want approved", r.text)
		}
		o.verified(purchase, "ALLOWED")
		// One no is enough.
		other := o.asked(strings.Replace(purchase, "120", "121", 1))
		o.must(200, "POST", other+"/approve", o.tokens["ben"], `{}`)
		o.must(200, "POST", other+"/deny", o.tokens["amy"], `{}`)
		o.wantState(other, "denied")
	})
}

func TestSelfApproval(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		drive := func(want int, token, driver string) reply {
			return o.must(want, "PUT", "/v1/agents/agent_ollie/driver", token, `{"driver":"`+driver+`"}`)
		}
		drive(403, o.tokens["ben"], o.ids["ada"])
		drive(400, o.token, "mem_nobody")
		o.must(400, "PUT", "/v1/agents/agent_ollie/driver", o.token, `{}`)
		if r := drive(200, o.token, o.ids["ada"]); r.body["driver"] != o.ids["ada"] {
			t.Errorf("got %s, want the driver", r.text)
		}
		path := o.asked(purchase)
		o.must(403, "POST", path+"/approve", o.tokens["ada"], `{}`)
		drive(200, o.token, "") // she drove it when it asked
		o.must(403, "POST", path+"/approve", o.tokens["ada"], `{}`)

		const allow = `{"approvals":{"selfApproval":true}}`
		if r := o.must(403, "PATCH", "/v1/account", o.tokens["amy"], allow); r.field() != "/approvals/selfApproval" {
			t.Errorf("an admin allows it: got %s", r.text)
		}
		o.must(200, "PATCH", "/v1/account", o.token, allow)
		o.must(200, "PATCH", "/v1/account", o.tokens["amy"], `{"approvals":{"selfApproval":true,"validFor":"10m"}}`)
		r := o.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`)
		if vote := r.body["votes"].([]any)[0].(map[string]any); vote["selfApproval"] != true || vote["memberId"] != o.ids["ada"] {
			t.Errorf("got %s, want it recorded as a self-approval", r.text)
		}
		o.verified(purchase, "ALLOWED")
	})
}

func TestWithdrawAndCancel(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		other := o.register(o.token, "agent_other")
		path := o.asked(purchase)
		o.must(200, "POST", path+"/approve", o.tokens["ada"], `{"comment":"yes"}`)
		if r := o.must(200, "POST", path+"/cancel", o.tokens["ben"], `{"comment":"no after all"}`); r.body["state"] != "cancelled" || r.body["comment"] != "no after all" {
			t.Errorf("withdrawn: got %s, want cancelled", r.text)
		}
		o.must(200, "POST", path+"/cancel", o.tokens["ben"], ``)
		next := o.asked(purchase)
		if next == path {
			t.Errorf("got the approval that was withdrawn, want a new one")
		}
		o.must(404, "POST", next+"/cancel", other, `{}`)
		o.must(404, "GET", next, other, "")
		if r := o.must(400, "POST", next+"/cancel", o.key, `{"comment":"x"}`); r.field() != "/comment" {
			t.Errorf("got %s, want it to point at the comment", r.text)
		}
		o.wantState(next, "pending")
		if r := o.must(200, "POST", next+"/cancel", o.key, `{}`); r.body["state"] != "cancelled" {
			t.Errorf("cancelled: got %s, want cancelled", r.text)
		}
		o.must(200, "POST", next+"/cancel", o.key, ``)
		o.must(409, "POST", next+"/approve", o.tokens["ada"], `{}`)

		// Asking and cancelling is no way to ask without end.
		o.must(200, "PATCH", "/v1/account", o.token, `{"approvals":{"mostPending":2}}`)
		o.must(200, "POST", o.asked(purchase)+"/cancel", o.key, ``)
		if r := o.verified(purchase, "TOO_MANY_PENDING"); r.body["approvalId"] != nil {
			t.Errorf("got %s, want no approval", r.text)
		}
	})
}

func TestWhoMayApprove(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, strings.Replace(asks, `"requiresApproval":true`, `"requiresApproval":true,"approval":{"minRole":"ADMIN"}`, 1))
		other, foreign := o.register(o.token, "agent_other"), b.foreign(o.n)
		path := o.asked(purchase)
		for _, tt := range []struct {
			name, token, method, path, body string
			status                          int
		}{
			{"nobody reads", "", "GET", path, "", 401},
			{"another agent reads", other, "GET", path, "", 404},
			{"another account reads", foreign, "GET", path, "", 404},
			{"another account approves", foreign, "POST", path + "/approve", "{}", 404},
			{"another account withdraws", foreign, "POST", path + "/cancel", "{}", 404},
			{"the agent approves", o.key, "POST", path + "/approve", "{}", 403},
			{"the agent denies", o.key, "POST", path + "/deny", "{}", 403},
			{"another agent approves", other, "POST", path + "/approve", "{}", 403},
			{"a viewer approves", o.tokens["vi"], "POST", path + "/approve", "{}", 403},
			{"a viewer denies", o.tokens["vi"], "POST", path + "/deny", "{}", 403},
			{"a viewer withdraws", o.tokens["vi"], "POST", path + "/cancel", "{}", 403},
			{"an approver where an admin is asked", o.tokens["ada"], "POST", path + "/approve", "{}", 403},
			{"an approver denies where an admin is asked", o.tokens["ada"], "POST", path + "/deny", "{}", 403},
			{"an approver withdraws where an admin is asked", o.tokens["ada"], "POST", path + "/cancel", "{}", 403},
			{"a viewer reads", o.tokens["vi"], "GET", path, "", 200},
			{"a viewer lists", o.tokens["vi"], "GET", "/v1/approvals", "", 200},
			{"a viewer lists reservations", o.tokens["vi"], "GET", "/v1/reservations", "", 200},
			{"an agent lists another's", o.key, "GET", "/v1/approvals?agentId=agent_other", "", 404},
			{"an agent lists another's reservations", o.key, "GET", "/v1/reservations?agentId=agent_other", "", 404},
			{"a member reports an outcome", o.token, "POST", "/v1/decisions/req_1/outcome", `{"outcome":"failed"}`, 403},
			{"an agent limits itself", o.key, "PUT", "/v1/agents/agent_ollie/limits", "{}", 403},
			{"an agent limits the account", o.key, "PUT", "/v1/account/limits", "{}", 403},
			{"an agent reads the account's limits", o.key, "GET", "/v1/account/limits", "", 403},
			{"an agent drives itself", o.key, "PUT", "/v1/agents/agent_ollie/driver", `{"driver":""}`, 403},
			{"an approver limits an agent", o.tokens["ada"], "PUT", "/v1/agents/agent_ollie/limits", "{}", 403},
			{"an approver limits the account", o.tokens["ada"], "PUT", "/v1/account/limits", "{}", 403},
			{"another account limits an agent", foreign, "PUT", "/v1/agents/agent_ollie/limits", "{}", 404},
			{"another account drives an agent", foreign, "PUT", "/v1/agents/agent_ollie/driver", `{"driver":""}`, 404},
			{"no such method", o.token, "POST", "/v1/account/limits", "{}", 405},
			{"an admin approves", o.tokens["amy"], "POST", path + "/approve", "{}", 200},
		} {
			if r := o.do(tt.method, tt.path, tt.token, tt.body); r.status != tt.status || r.status >= 400 && r.code() == "" {
				t.Errorf("%s: got %d %s, want %d", tt.name, r.status, r.text, tt.status)
			}
		}
		if r := o.must(200, "GET", "/v1/approvals", foreign, ""); len(r.body["approvals"].([]any)) != 0 {
			t.Errorf("another account lists: got %s, want none", r.text)
		}
		if r := o.must(200, "GET", "/v1/approvals", other, ""); len(r.body["approvals"].([]any)) != 0 {
			t.Errorf("another agent lists: got %s, want none", r.text)
		}
	})
}

// A yes is not given to what could not be used, and says why.
func TestApprovingWhatIsGone(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, strings.Replace(asks, `"requiresApproval":true`, `"requiresApproval":true,"expiresAt":"2000-01-01T00:01:00Z"`, 1))
		o.must(200, "PATCH", "/v1/account", o.token, `{"approvals":{"pendingFor":"3m","remindEvery":"0s"}}`)
		path := o.asked(purchase)
		o.must(200, "POST", "/v1/agents/agent_ollie/disable", o.token, `{}`)
		if r := o.must(409, "POST", path+"/approve", o.tokens["ada"], `{}`); !strings.Contains(r.text, "disabled") {
			t.Errorf("got %s, want that the agent is disabled", r.text)
		}
		o.must(200, "POST", "/v1/agents/agent_ollie/enable", o.token, `{}`)
		time.Sleep(time.Minute)
		if r := o.must(409, "POST", path+"/approve", o.tokens["ada"], `{}`); !strings.Contains(r.text, "expired") {
			t.Errorf("got %s, want that the permission has expired", r.text)
		}
		o.must(200, "POST", "/v1/agents/agent_ollie/permissions/"+o.permission+"/revoke", o.token, `{}`)
		o.wantState(path, "cancelled")
		if r := o.must(409, "POST", path+"/approve", o.tokens["ada"], `{}`); !strings.Contains(r.text, "cancelled") {
			t.Errorf("got %s, want that it was cancelled", r.text)
		}
		// One that the passport has forgotten is told of all the same.
		time.Sleep(3 * time.Minute)
		o.grant(asks)
		o.asked(purchase)
		if r := o.must(409, "POST", path+"/approve", o.tokens["ada"], `{}`); !strings.Contains(r.text, "cancelled") {
			t.Errorf("got %s, want that it was cancelled", r.text)
		}
	})
}

// later asks in a goroutine, and returns what gives the answer and how long it took.
func (w *web) later(method, path, token string) func() (reply, time.Duration) {
	began := time.Now()
	type answer struct {
		reply
		took time.Duration
	}
	answered := make(chan answer, 1)
	go func() {
		r := w.do(method, path, token, "")
		answered <- answer{r, time.Since(began)}
	}()
	synctest.Wait()
	return func() (reply, time.Duration) {
		a := <-answered
		return a.reply, a.took
	}
}

func TestWait(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, strings.Replace(asks, `"requiresApproval":true`, `"requiresApproval":true,"approval":{"quorum":2,"pendingFor":"2m"}`, 1))
		far := b.node() // people answer on another node
		people := far.web(t)
		amount := 0
		open := func() string {
			amount++
			return o.asked(fmt.Sprintf(`{"action":"purchase","vendor":"coachella.com","amount":%d}`, amount))
		}
		settled := func(answer func() (reply, time.Duration), state string, took time.Duration) {
			t.Helper()
			r, after := answer()
			if r.status != 200 || r.body["state"] != state || after.Round(time.Second) != took {
				t.Errorf("got %d %s after %s, want %s after %s", r.status, r.text, after, state, took)
			}
		}

		path := open()
		agent, member := o.later("GET", path+"?wait=60s", o.key), o.later("GET", path+"?wait=1m", o.tokens["vi"])
		time.Sleep(5 * time.Second)
		people.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`) // a vote is not the answer
		time.Sleep(5 * time.Second)
		people.must(200, "POST", path+"/approve", o.tokens["ben"], `{}`)
		settled(agent, "approved", 10*time.Second)
		settled(member, "approved", 10*time.Second)
		settled(o.later("GET", path+"?wait=60s", o.key), "approved", 0)

		path = open()
		agent = o.later("GET", path+"?wait=60s", o.key)
		time.Sleep(time.Second)
		people.must(200, "POST", path+"/deny", o.tokens["ada"], `{}`)
		settled(agent, "denied", time.Second)

		path = open()
		agent = o.later("GET", path+"?wait=60s", o.key)
		time.Sleep(time.Second)
		o.must(200, "POST", path+"/cancel", o.key, `{}`)
		settled(agent, "cancelled", time.Second)

		path = open()
		settled(o.later("GET", path+"?wait=60s", o.key), "pending", time.Minute)
		time.Sleep(30 * time.Second)
		events := b.events()
		settled(o.later("GET", path+"?wait=60s", o.key), "expired", 30*time.Second) // by the clock alone
		if got := b.events(); got != events {
			t.Errorf("got %d events more, want none", got-events)
		}

		// A credential that was good when the wait began may be worth nothing when
		// it ends.
		path = open()
		agent = o.later("GET", path+"?wait=60s", o.key)
		key := people.must(200, "POST", "/v1/agents/agent_ollie/rotate-key", o.token, `{}`).body["apiKey"].(string)
		if r, _ := agent(); r.status != 401 {
			t.Errorf("a key that was rotated: got %d %s, want 401", r.status, r.text)
		}
		o.key = key
		vi := o.later("GET", path+"?wait=20s", o.tokens["vi"])
		people.must(204, "DELETE", "/v1/members/"+o.ids["vi"], o.token, "")
		if r, _ := vi(); r.status != 401 {
			t.Errorf("a member who was removed: got %d %s, want 401", r.status, r.text)
		}
	})
}

// events counts what the log holds.
func (b *bed) events() (n int) {
	b.t.Helper()
	if err := b.log.Join().Scan(context.Background(), domain.Scan{}, func(domain.Recorded, error) error { n++; return nil }); err != nil {
		b.t.Fatalf("scan: %v", err)
	}
	return n
}

func TestWaitEndsWithTheServer(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		stopping, stop := context.WithCancel(t.Context())
		o.api = httpapi.New(stopping, o.n.Desk, slog.New(slog.DiscardHandler)).Handler()
		answer := o.later("GET", path+"?wait=60s", o.key)
		time.Sleep(time.Second)
		stop()
		if r, took := answer(); r.status != 200 || r.body["state"] != "pending" || took != time.Second {
			t.Errorf("got %d %s after %s, want pending at once", r.status, r.text, took)
		}
	})
}

func TestWaitingCostsNoVerify(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		o.n.Limits = handlers.Limits{Agents: handlers.NewLimiter(5, time.Now), Reads: handlers.NewLimiter(50, time.Now)}
		for range 100 {
			o.must(200, "GET", path, o.key, "")
		}
		if r := o.must(429, "GET", path, o.key, ""); r.header.Get("Retry-After") != "1" {
			t.Errorf("got Retry-After %q, want 1", r.header.Get("Retry-After"))
		}
		for range 10 {
			o.verified(purchase, "APPROVAL_REQUIRED")
		}
		o.must(429, "POST", "/v1/verify", o.key, purchase)
		time.Sleep(time.Second)
		o.must(200, "GET", "/v1/approvals", o.key, "")
		o.must(200, "GET", "/v1/reservations", o.key, "")

		// How many waits a credential has open is bounded.
		o.n.Limits = handlers.Limits{}
		var answers []func() (reply, time.Duration)
		for range 40 {
			answers = append(answers, o.later("GET", path+"?wait=60s", o.key))
		}
		member := o.later("GET", path+"?wait=60s", o.tokens["vi"])
		o.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`)
		statuses := map[int]int{}
		for _, answer := range answers {
			r, _ := answer()
			statuses[r.status]++
			if r.status == 429 && r.header.Get("Retry-After") == "" {
				t.Errorf("got %s without Retry-After", r.text)
			}
		}
		if statuses[200] != 32 || statuses[429] != 8 {
			t.Errorf("got %v, want 32 answered and 8 refused", statuses)
		}
		if r, _ := member(); r.status != 200 {
			t.Errorf("another credential: got %d, want 200", r.status)
		}
		o.must(200, "GET", path+"?wait=60s", o.key, "") // each has counted itself out
	})
}

func TestListApprovals(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		o.must(200, "PATCH", "/v1/account", o.token, `{"approvals":{"pendingFor":"2m"}}`)
		second := o.grant(strings.Replace(asks, "purchase", "sell", 1))
		other := o.register(o.token, "agent_other")
		o.must(201, "POST", "/v1/agents/agent_other/permissions", o.token, asks)
		theirs := o.must(200, "POST", "/v1/verify", other, purchase).body["approvalId"].(string)
		var ids []string
		for i := range 9 {
			action := []string{"purchase", "purchase", "sell"}[i%3]
			path := o.asked(fmt.Sprintf(`{"action":"%s","vendor":"coachella.com","amount":%d}`, action, i+1))
			ids = append(ids, strings.TrimPrefix(path, "/v1/approvals/"))
			time.Sleep(time.Millisecond)
			if i%2 == 0 {
				o.must(200, "POST", path+"/deny", o.tokens["ada"], `{}`)
			}
		}
		list := func(token, query string) (got []string) {
			cursor := ""
			for {
				r := o.must(200, "GET", "/v1/approvals?limit=2"+query+cursor, token, "")
				for _, a := range r.body["approvals"].([]any) {
					got = append(got, a.(map[string]any)["approvalId"].(string))
				}
				next, ok := r.body["nextCursor"].(string)
				if !ok {
					return got
				}
				cursor = "&cursor=" + next
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
		all := func(int) bool { return true }
		for _, tt := range []struct {
			name, token, query string
			want               []string
		}{
			{"an agent's own", o.key, "", pick(all)},
			{"of one agent", o.token, "&agentId=agent_ollie", pick(all)},
			{"of the account", o.token, "", append(pick(all), theirs)},
			{"pending", o.key, "&state=pending", pick(func(i int) bool { return i%2 == 1 })},
			{"pending in the account", o.token, "&state=pending", append(pick(func(i int) bool { return i%2 == 1 }), theirs)},
			{"pending, of one permission", o.token, "&state=pending&permissionId=" + second, pick(func(i int) bool { return i == 5 })},
			{"approved", o.token, "&state=approved", nil},
			{"denied", o.key, "&state=denied", pick(func(i int) bool { return i%2 == 0 })},
			{"expired", o.key, "&state=expired", nil},
			{"of one permission", o.token, "&permissionId=" + second, pick(func(i int) bool { return i%3 == 2 })},
			{"of nobody", o.token, "&agentId=agent_nobody", nil},
		} {
			if got := list(tt.token, tt.query); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
			}
		}
		// The last one of a page may be over when the next one is read.
		third := ids[3]
		r := o.must(200, "GET", "/v1/approvals?limit=3&state=pending", o.token, "")
		if r.body["nextCursor"] != third {
			t.Errorf("got %s, want the cursor %s", r.text, third)
		}
		o.must(200, "POST", "/v1/approvals/"+third+"/approve", o.tokens["ada"], `{}`)
		if got := list(o.token, "&state=pending&cursor="+third); !slices.Equal(got, []string{ids[1], theirs}) {
			t.Errorf("behind one that is over: got %v, want %v", got, []string{ids[1], theirs})
		}
		if got := list(o.token, "&state=approved"); !slices.Equal(got, []string{third}) {
			t.Errorf("approved: got %v, want %s", got, third)
		}
		// Another agent's approval is no cursor, and not told from one that isn't there.
		a, c := o.must(400, "GET", "/v1/approvals?cursor="+theirs, o.key, ""), o.must(400, "GET", "/v1/approvals?cursor=apr_x", o.key, "")
		if a.text != c.text || a.field() != "/cursor" {
			t.Errorf("got %s and %s, want the same", a.text, c.text)
		}
		time.Sleep(2 * time.Minute)
		if got := list(o.key, "&state=expired"); len(got) != 3 {
			t.Errorf("when their time is over: got %d expired, want 3", len(got))
		}
	})
}

// Nothing of what can be sent breaks anything, and what is refused is pointed at.
func TestHostileReviews(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		reserved := "/v1/decisions/req_00000000000000000000000000/outcome"
		for _, tt := range []struct {
			method, path, body string
			status             int
			field              string
		}{
			{"POST", path + "/approve", `{"coment":"x"}`, 400, "/coment"},
			{"POST", path + "/approve", `{"comment":7}`, 400, "/comment"},
			{"POST", path + "/approve", `{"comment":null}`, 400, "/comment"},
			{"POST", path + "/approve", `{"comment":"a","comment":"b"}`, 400, "/comment"},
			{"POST", path + "/approve", `{"comment":"` + strings.Repeat("x", 1025) + `"}`, 400, "/comment"},
			{"POST", path + "/approve", `{"comment":"` + strings.Repeat("x", 70000) + `"}`, 413, ""},
			{"POST", path + "/approve", `{"comment":"pay \u202e000,1"}`, 400, "/comment"},
			{"POST", path + "/approve", `{"comment":"a\u200bb"}`, 400, "/comment"},
			{"POST", path + "/deny", `{"comment":"a\u0000"}`, 400, "/comment"},
			{"POST", path + "/deny", "{\"comment\":\"\xff\"}", 400, "/comment"},
			{"POST", path + "/cancel", `{"comment":"\ud800"}`, 400, "/comment"},
			{"POST", path + "/deny", `[]`, 400, ""},
			{"POST", path + "/deny", `{} {}`, 400, ""},
			{"POST", path + "/deny", `null`, 400, ""},
			{"POST", "/v1/approvals/apr_x/approve", `{}`, 404, ""},
			{"POST", "/v1/approvals/%3E/approve", `{}`, 404, ""},
			{"POST", "/v1/approvals/*/deny", `{}`, 404, ""},
			{"POST", "/v1/approvals/a.b/cancel", `{}`, 404, ""},
			{"POST", "/v1/approvals/" + strings.Repeat("a", 65) + "/cancel", `{}`, 404, ""},
			{"GET", "/v1/approvals/%00", ``, 404, ""},
			{"GET", "/v1/approvals/apr_00000000000000000000000000", ``, 404, ""},
			{"GET", path + "?wait=61s", ``, 400, "/wait"},
			{"GET", path + "?wait=99999999h", ``, 400, "/wait"},
			{"GET", path + "?wait=-1s", ``, 400, "/wait"},
			{"GET", path + "?wait=1", ``, 400, "/wait"},
			{"GET", path + "?wait=0.5s", ``, 400, "/wait"},
			{"GET", path + "?wait=1s&wait=2s", ``, 400, "/wait"},
			{"GET", path + "?wiat=1s", ``, 400, "/wiat"},
			{"GET", "/v1/approvals?state=maybe", ``, 400, "/state"},
			{"GET", "/v1/approvals?limit=0", ``, 400, "/limit"},
			{"GET", "/v1/approvals?cursor=x", ``, 400, "/cursor"},
			{"GET", "/v1/approvals?agentId=a.b", ``, 404, "/agentId"},
			{"GET", "/v1/approvals?agent=a", ``, 400, "/agent"},
			{"GET", "/v1/reservations?cursor=%3E", ``, 400, "/cursor"},
			{"GET", "/v1/reservations?limit=501", ``, 400, "/limit"},
			{"POST", reserved, `{"outcome":"done"}`, 404, ""},
			{"POST", "/v1/decisions/*/outcome", `{"outcome":"failed"}`, 404, ""},
			{"PUT", "/v1/agents/agent_ollie/limits", `{"budgets":[]}`, 400, "/budgets"},
			{"PUT", "/v1/agents/agent_ollie/limits", `{"budgets":null}`, 400, "/budgets"},
			{"PUT", "/v1/agents/agent_ollie/limits", `{"budget":{}}`, 400, "/budget"},
			{"PUT", "/v1/agents/agent_ollie/limits", `{"budgets":[{"amount":"1","per":"day","currency":"XXX"}]}`, 400, "/budgets/0"},
			{"PUT", "/v1/account/limits", `{"rates":[{"count":"3","per":"day"}]}`, 400, "/rates/0/count"},
			{"PUT", "/v1/account/limits", `{"rates":[{"count":3,"per":"day"},{"count":4,"per":"day"}]}`, 400, "/rates/1"},
			{"PUT", "/v1/account/limits", ``, 400, ""},
			{"PUT", "/v1/agents/agent_ollie/driver", `{"driver":null}`, 400, "/driver"},
			{"PUT", "/v1/agents/agent_ollie/driver", `{"driver":["x"]}`, 400, "/driver"},
			{"PATCH", "/v1/account", `{"timeZone":"Mars/Olympus"}`, 400, "/timeZone"},
			{"PATCH", "/v1/account", `{"timeZone":"../../etc/passwd"}`, 400, "/timeZone"},
			{"PATCH", "/v1/account", `{"approvals":{"validFor":"0s"}}`, 400, "/approvals/validFor"},
			{"PATCH", "/v1/account", `{"approvals":{"validFor":30}}`, 400, "/approvals/validFor"},
			{"PATCH", "/v1/account", `{"approvals":{"mostPending":0}}`, 400, "/approvals/mostPending"},
			{"PATCH", "/v1/account", `{"approvals":{"selfApproval":"yes"}}`, 400, "/approvals/selfApproval"},
			{"PATCH", "/v1/account", `{"approvals":{"quorum":2}}`, 400, "/approvals/quorum"},
			{"POST", "/v1/agents", `{"name":"x","driver":"mem_nobody"}`, 400, "/driver"},
		} {
			token := o.token
			if strings.HasSuffix(tt.path, "/outcome") {
				token = o.key
			}
			if r := o.do(tt.method, tt.path, token, tt.body); r.status != tt.status || r.field() != tt.field || r.code() == "" {
				t.Errorf("%s %s %.80s: got %d %s, want %d at %q", tt.method, tt.path, tt.body, r.status, r.text, tt.status, tt.field)
			}
		}
		o.wantState(path, "pending")
	})
}

// What a reviewer reads is what is there, visibly, and no secret.
func TestReviewersSeeWhatIsThere(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, `{"action":"run","requiresApproval":true}`)
		body, err := json.Marshal(map[string]any{
			"action": "run", "command": "curl -H 'Authorization: Bearer ghp_0123456789abcdefghijABCDEFGHIJ012345' x\n\trm -rf /",
			"context": map[string]string{"branch": "main\u2800", "repository": "behalf"},
		})
		if err != nil {
			t.Fatal(err)
		}
		path := o.asked(string(body))
		_, r := o.wantState(path, "pending")
		command, _ := r.body["command"].(string)
		if strings.Contains(command, "ghp_") || strings.Contains(command, "\n") || !strings.Contains(command, "rm -rf /") || !strings.Contains(command, "redacted") {
			t.Errorf("got the command %q, want the secret redacted, the lines visible, and the rest as it is", command)
		}
		facts, _ := r.body["context"].(map[string]any)
		if facts["branch"] != `main\u{2800}` || facts["repository"] != "behalf" {
			t.Errorf("got the context %v, want what is invisible escaped", facts)
		}
		// The digest covers what was redacted.
		if o.asked(strings.Replace(string(body), "ghp_0", "ghp_1", 1)) == path {
			t.Error("got the approval of another secret")
		}
	})
}

func TestTwoHundredUseOneApproval(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		other := b.node()
		path := o.asked(purchase)
		o.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`)
		synctest.Wait()
		var (
			group sync.WaitGroup
			mu    sync.Mutex
			codes = map[domain.ReasonCode]int{}
		)
		key := domain.HashToken(o.key)
		for i := range 200 {
			group.Go(func() {
				n := []*node{o.n, other}[i%2]
				r, err := n.Verify(context.Background(), key, &domain.Ask{Action: "purchase", Vendor: "coachella.com", Amount: "120"})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					codes[domain.ReasonCode(handlers.FaultOf(err).Code)]++
					return
				}
				codes[r.Event.(domain.DecisionMade).ReasonCode]++
			})
		}
		group.Wait()
		if codes[domain.Allowed] != 1 || codes[domain.ApprovalUsed] != 199 {
			t.Errorf("got %v, want one allow and 199 told that it was used", codes)
		}
		if got := o.count(""); got != 1 {
			t.Errorf("got %d approvals, want 1", got)
		}
	})
}

// Whatever breaks while an approval is used, it is used if and only if its allow
// is recorded, and it is used once.
func TestUseOfAnApprovalThroughFaults(t *testing.T) {
	t.Parallel()
	broken := func() func(domain.Record) error {
		var once sync.Once
		return func(domain.Record) (err error) {
			once.Do(func() { err = errBroken })
			return err
		}
	}
	for _, tt := range []struct {
		name   string
		breaks func(*node) (mend func())
	}{
		{"nothing", func(*node) func() { return func() {} }},
		{"before it is written", func(n *node) func() {
			n.log.BeforeAppend(broken())
			return func() { n.log.BeforeAppend(nil) }
		}},
		{"after it was written", func(n *node) func() {
			n.log.AfterAppend(broken())
			return func() { n.log.AfterAppend(nil) }
		}},
		{"held before it is written", func(n *node) func() { return n.log.HoldBefore() }},
		{"held after it was written", func(n *node) func() { return n.log.HoldAfter() }},
		{"the passport moved once", func(n *node) func() { n.log.Moved(1); return func() {} }},
		{"the passport keeps moving", func(n *node) func() { n.log.Moved(1000); return func() { n.log.Moved(0) } }},
		{"reads miss the newest", func(n *node) func() {
			n.log.Moved(2)
			n.log.LoadMisses(1)
			return func() { n.log.LoadMisses(0) }
		}},
		{"reads fail", func(n *node) func() {
			n.log.Moved(1)
			n.log.FailLoad(errBroken)
			return func() { n.log.FailLoad(nil) }
		}},
		{"nothing is followed", func(n *node) func() { return n.log.HoldFollow() }},
	} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, shared limits %v", tt.name, shared), func(t *testing.T) {
				lie(t, func(t *testing.T, b *bed) {
					o := b.office(t, asks)
					if shared {
						o.must(200, "PUT", "/v1/account/limits", o.token, `{"budgets":[{"amount":"1000","currency":"USD","per":"day"}]}`)
					}
					path := o.asked(purchase)
					o.must(200, "POST", path+"/approve", o.tokens["ada"], `{}`)
					mend := tt.breaks(o.n)
					keyed := strings.Replace(purchase, "{", `{"idempotencyKey":"one",`, 1)
					first := o.do("POST", "/v1/verify", o.key, keyed)
					mend()
					synctest.Wait()
					b.wantUses(first.status == 200 && first.body["allowed"] == true)
					// The repeat is answered as the first was, or would have been.
					if r := o.must(200, "POST", "/v1/verify", o.key, keyed); r.body["allowed"] != true || r.body["reserved"] != true {
						t.Errorf("repeated: got %s, want the one allow", r.text)
					}
					o.verified(purchase, "APPROVAL_USED")
					b.wantUses(true)
					o.wantState(path, "used")
					if got := o.count(""); got != 1 {
						t.Errorf("got %d approvals, want 1", got)
					}
				})
			})
		}
	}
}

// wantUses fails if an approval was used more than once, or not at all where an
// allow was answered. Use and allow are one record, so none can be without the
// other.
func (b *bed) wantUses(answered bool) {
	b.t.Helper()
	uses := map[domain.ApprovalID]int{}
	charged := map[domain.RequestID]int{}
	err := b.log.Join().Scan(context.Background(), domain.Scan{}, func(r domain.Recorded, err error) error {
		switch e := r.Event.(type) {
		case domain.DecisionMade:
			if e.Uses() {
				uses[e.ApprovalID]++
			}
			if e.Outcome == domain.OutcomeAllowed && e.BudgetVersion > 0 {
				charged[e.RequestID]++
			}
		case domain.BudgetCharged:
			charged[e.RequestID]--
		}
		return err
	})
	if err != nil {
		b.t.Fatalf("scan: %v", err)
	}
	for id, n := range uses {
		if n != 1 {
			b.t.Errorf("%s: got %d uses, want 1", id, n)
		}
	}
	if answered && len(uses) != 1 {
		b.t.Errorf("got %d approvals used, want the one that was answered with an allow", len(uses))
	}
	for id, n := range charged {
		if n != 0 {
			b.t.Errorf("%s: an allow and its charge are not in the log together", id)
		}
	}
}

// A review whose append failed one way or the other happened once.
func TestReviewingThroughFaults(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		amount := 0
		for _, failed := range []struct {
			when string
			set  func(func(domain.Record) error)
		}{
			{"before", o.n.log.BeforeAppend},
			{"after", o.n.log.AfterAppend},
		} {
			for _, review := range []struct{ verb, state string }{{"approve", "approved"}, {"deny", "denied"}, {"cancel", "cancelled"}} {
				amount++
				path := o.asked(fmt.Sprintf(`{"action":"purchase","vendor":"coachella.com","amount":%d}`, amount))
				var once sync.Once
				failed.set(func(domain.Record) (err error) {
					once.Do(func() { err = errBroken })
					return err
				})
				o.must(200, "POST", path+"/"+review.verb, o.tokens["ada"], `{}`)
				failed.set(nil)
				if _, r := o.wantState(path, review.state); review.verb == "approve" && len(r.body["votes"].([]any)) != 1 {
					t.Errorf("failed %s it wrote: got %s, want one vote", failed.when, r.text)
				}
			}
		}
	})
}

// A node that has not folded an approval yet says what the log holds, or that it
// can't say.
func TestApprovalOnANodeThatLags(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		behind := b.node()
		synctest.Wait()
		release := behind.log.HoldFollow()
		far := behind.web(t)
		path := o.asked(purchase)
		if r := far.must(200, "GET", path, o.key, ""); r.body["state"] != "pending" { // its own, read from the log
			t.Errorf("got %s, want pending", r.text)
		}
		path = o.asked(strings.Replace(purchase, "120", "121", 1))
		far.must(503, "GET", path, o.tokens["ada"], "")
		far.must(503, "POST", path+"/approve", o.tokens["ada"], "{}")
		time.AfterFunc(100*time.Millisecond, release)
		far.must(200, "POST", path+"/approve", o.tokens["ada"], "{}")
		o.must(200, "POST", path+"/cancel", o.tokens["ada"], "{}")
		o.must(404, "GET", "/v1/approvals/apr_00000000000000000000000000", o.tokens["ada"], "")
	})
}

// What a fold can't be based on is not shown.
func TestApprovalThatCantBeRead(t *testing.T) {
	lie(t, func(t *testing.T, b *bed) {
		o := b.office(t, asks)
		path := o.asked(purchase)
		b.log.Inject(domain.Stream{Account: home, Agent: "agent_ollie"}, []byte(`not JSON`))
		synctest.Wait()
		o.must(503, "GET", path, o.token, "")
		o.must(503, "GET", path, o.key, "")
		o.must(503, "POST", path+"/approve", o.tokens["ada"], `{}`)
	})
}
