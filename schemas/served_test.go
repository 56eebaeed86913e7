package schemas_test

import (
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
	"github.com/behalf-platform/behalf/schemas/schematest"
)

// world is what the routes are tried on.
type world struct {
	ids      map[string]string // what fills the parameters of a path
	agentKey string
	viewer   string // a member's token
}

// settle brings every operation to its success once, and leaves an agent with
// permissions, a member and a decision.
func (s *server) settle() world {
	s.t.Helper()
	w := world{ids: map[string]string{"agent": "agent_ollie"}}
	member := func(want int, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: ownerToken, body: body})
	}
	ollie := member(201, "POST /v1/agents", "/v1/agents", `{"agentId":"agent_ollie","name":"Ollie","label":"shopping"}`)
	w.agentKey = ollie["apiKey"].(string)
	member(201, "POST /v1/agents", "/v1/agents", `{"name":"Travel desk","type":"connected","provider":"openai","externalId":"asst_1"}`)
	member(200, "GET /v1/agents", "/v1/agents?limit=1", "")
	member(200, "GET /v1/agents/{agent}", "/v1/agents/agent_ollie", "")
	member(200, "POST /v1/agents/{agent}/disable", "/v1/agents/agent_ollie/disable", `{"reason":"a test"}`)
	member(200, "POST /v1/agents/{agent}/enable", "/v1/agents/agent_ollie/enable", `{}`)
	w.agentKey = member(200, "POST /v1/agents/{agent}/rotate-key", "/v1/agents/agent_ollie/rotate-key", `{}`)["apiKey"].(string)

	const permissions = "/v1/agents/agent_ollie/permissions"
	full := member(201, "POST /v1/agents/{agent}/permissions", permissions, fullTerms)
	w.ids["permission"] = full["permissionId"].(string)
	one := permissions + "/" + w.ids["permission"]
	member(200, "GET /v1/agents/{agent}/permissions/{permission}", one, "")
	member(200, "PUT /v1/agents/{agent}/permissions/{permission}", one, fullTerms)
	gone := member(201, "POST /v1/agents/{agent}/permissions", permissions, `{"blockedActions":["payout"],"requiresApproval":false}`)
	revoked := permissions + "/" + gone["permissionId"].(string)
	member(200, "POST /v1/agents/{agent}/permissions/{permission}/revoke", revoked+"/revoke", `{"reason":"a test"}`)
	member(409, "PUT /v1/agents/{agent}/permissions/{permission}", revoked, fullTerms)
	s.do(412, ask{
		route: "PUT /v1/agents/{agent}/permissions/{permission}", target: one, token: ownerToken, body: fullTerms,
		header: [2]string{"If-Match", `"1"`},
	})
	s.do(412, ask{
		route: "POST /v1/agents/{agent}/permissions/{permission}/revoke", target: one + "/revoke", token: ownerToken, body: `{}`,
		header: [2]string{"If-Match", `"1"`},
	})
	member(200, "GET /v1/agents/{agent}/permissions", permissions, "")
	member(200, "GET /v1/agents/{agent}/passport", "/v1/agents/agent_ollie/passport", "")

	w.ids["member"] = member(201, "POST /v1/members", "/v1/members", `{"name":"Ada","role":"ADMIN"}`)["memberId"].(string)
	ada := "/v1/members/" + w.ids["member"]
	member(200, "PATCH /v1/members/{member}", ada, `{"role":"VIEWER"}`)
	member(200, "POST /v1/members/{member}/rotate-token", ada+"/rotate-token", `{}`)
	member(200, "GET /v1/members", "/v1/members", "")
	member(204, "DELETE /v1/members/{member}", ada, "")
	member(200, "GET /v1/account", "/v1/account", "")
	member(200, "PATCH /v1/account", "/v1/account", `{"name":"Behalf Zürich","defaultCurrency":"CHF"}`)
	member(200, "PATCH /v1/account", "/v1/account", `{"timeZone":"Europe/Zurich","approvals":{"validFor":"1h30m","shareComments":true}}`)
	member(200, "GET /v1/me", "/v1/me", "")
	s.ask(&w)
	w.viewer = member(201, "POST /v1/members", "/v1/members", `{"name":"Vi","role":"VIEWER"}`)["token"].(string)
	s.evaluate()
	s.consume(&w)
	s.approve(&w)
	s.limit(&w)
	s.replay(&w)
	s.shadow(&w)
	s.hook(&w)
	s.link(&w)
	return w
}

// shadow brings what is about shadows to its success.
func (s *server) shadow(w *world) {
	s.t.Helper()
	const path = "/{agent}/shadow"
	send := func(want int, method, rest, query, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{
			route: method + " /v1/agents" + path + rest, target: "/v1/agents/agent_ollie/shadow" + rest + query, token: ownerToken, body: body,
		})
	}
	body := `{"for":"24h","note":"stricter","candidate":{"only":true,"add":[{"action":"shadow.only"},` + askingTerms + `,` + fullTerms + `],"limits":` + allLimits + `}}`
	first := send(201, "POST", "", "", body)
	if again := send(201, "POST", "", "", body); again["supersedes"] != first["shadowId"] || again["candidateDigest"] != first["candidateDigest"] {
		s.t.Errorf("got %v, want it to take the place of %v", again, first)
	}
	for range 2 {
		s.do(200, ask{route: "POST /v1/verify", target: "/v1/verify", token: w.agentKey, body: `{"action":"shadow.only"}`})
	}
	for view := map[string]any{}; view["counts"] == nil || view["counts"].(map[string]any)["decided"] != 2.0; {
		if view = send(200, "GET", "", "", ""); s.t.Context().Err() != nil || s.t.Failed() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	page := send(200, "GET", "/differences", "?limit=1", "")
	if list := page["differences"].([]any); len(list) != 1 || page["nextCursor"] == nil {
		s.t.Errorf("got %v, want one difference and a cursor", page)
	}
	send(400, "GET", "/differences", "?cursor=x", "")
	if v := send(200, "POST", "/stop", "", `{"note":"enough"}`); v["stoppedBecause"] != "member" {
		s.t.Errorf("got %v, want it stopped by a member", v)
	}
	s.do(201, ask{route: "POST /v1/agents", target: "/v1/agents", token: ownerToken, body: `{"agentId":"agent_off","name":"Off"}`})
	s.do(200, ask{route: "POST /v1/agents/{agent}/disable", target: "/v1/agents/agent_off/disable", token: ownerToken, body: `{}`})
	s.do(409, ask{route: "POST /v1/agents" + path, target: "/v1/agents/agent_off/shadow", token: ownerToken, body: body})
}

// link brings what is about links to its success.
func (s *server) link(w *world) {
	s.t.Helper()
	const path = "/v1/agents/agent_ollie/links"
	made := s.do(201, ask{route: "POST /v1/agents/{agent}/links", target: path, token: ownerToken, body: `{"label":"travel assistant","expiresIn":"36h"}`})
	w.ids["link"] = made["linkId"].(string)
	s.do(404, ask{route: "POST /v1/agents/{agent}/links", target: "/v1/agents/agent_nobody/links", token: ownerToken, body: `{}`})
	token := made["token"].(string)
	s.do(200, ask{route: "GET /v1/passport", target: "/v1/passport", token: token})
	s.do(400, ask{route: "GET /v1/passport", target: "/v1/passport?at=1", token: token})
	s.do(200, ask{route: "POST /v1/preview", target: "/v1/preview", token: token, body: `{"action":"mail.read"}`})
	s.do(401, ask{route: "POST /v1/verify", target: "/v1/verify", token: token, body: `{"action":"mail.read"}`})
	s.do(200, ask{route: "GET /v1/agents/{agent}/links", target: path, token: w.viewer})
	for range 2 {
		s.do(200, ask{route: "POST /v1/agents/{agent}/links/{link}/revoke", target: path + "/" + w.ids["link"] + "/revoke", token: ownerToken, body: `{}`})
	}
	s.do(200, ask{route: "GET /v1/agents/{agent}/links", target: path, token: w.viewer})
	s.do(401, ask{route: "GET /v1/passport", target: "/v1/passport", token: token})
	for range 20 {
		s.do(201, ask{route: "POST /v1/agents/{agent}/links", target: path, token: ownerToken})
	}
	s.do(409, ask{route: "POST /v1/agents/{agent}/links", target: path, token: ownerToken})
	for _, kind := range []string{"memory", "task"} {
		s.do(200, ask{route: "GET /v1/agents/{agent}/text", target: "/v1/agents/agent_ollie/text?kind=" + kind, token: w.viewer})
	}
	s.do(400, ask{route: "GET /v1/agents/{agent}/text", target: "/v1/agents/agent_ollie/text?kind=link", token: w.viewer})
}

// replay brings what is about the past to its success.
func (s *server) replay(w *world) {
	s.t.Helper()
	now := s.do(200, ask{route: "GET /v1/passport", target: "/v1/passport", token: w.agentKey})
	position := s.do(200, ask{route: "POST /v1/verify", target: "/v1/verify", token: w.agentKey, body: `{"action":"mail.read"}`})["position"].(string)
	version := strconv.FormatFloat(now["passportVersion"].(float64), 'f', 0, 64)
	const passport, preview = "/v1/agents/agent_ollie/passport", "/v1/preview"
	for _, at := range []string{time.Now().UTC().Format(time.RFC3339Nano), version, position} {
		for _, token := range []string{w.agentKey, ownerToken} {
			then := s.do(200, ask{route: "GET /v1/agents/{agent}/passport", target: passport + "?at=" + at, token: token})
			if then["asOf"] == nil || then["passportVersion"] != now["passportVersion"] {
				s.t.Errorf("at %s: got %v, want version %s as of a time", at, then, version)
			}
			s.do(200, ask{route: "POST " + preview, target: preview + "?at=" + at, token: token, body: `{"action":"mail.read","agentId":"agent_ollie"}`})
		}
	}
	past := "?at=2000-01-01T00:00:00Z"
	s.do(404, ask{route: "GET /v1/agents/{agent}/passport", target: passport + past, token: ownerToken})
	s.do(404, ask{route: "GET /v1/agents/{agent}/passport", target: "/v1/agents/agent_other/passport?at=" + version, token: w.agentKey})
	s.do(400, ask{route: "GET /v1/agents/{agent}/passport", target: passport + "?at=soon", token: ownerToken})
	s.do(404, ask{route: "POST " + preview, target: preview + past, token: w.agentKey, body: `{"action":"mail.read"}`})
	s.do(400, ask{route: "POST " + preview, target: preview + "?at=soon", token: w.agentKey, body: `{"action":"mail.read"}`})

	for _, r := range []struct{ body, state, has string }{
		{`{}`, "done", "checked"},
		{`{"since":"2020-01-01T00:00:00Z","until":"2999-01-01T00:00:00+01:00","agentId":"agent_ollie","whatIf":` + candidate + `}`, "done", "report"},
		{`{"mode":"recorded-state","whatIf":` + candidate + `}`, "done", "report"},
		{`{"whatIf":{"agents":{"agent_nobody":{"limits":{}}}}}`, "failed", "error"},
	} {
		if got := s.replayed(w, r.body); got["state"] != r.state || got[r.has] == nil {
			s.t.Errorf("replay %s: got %v, want it %s with %s", r.body, got, r.state, r.has)
		} else if report, ok := got["report"].(map[string]any); ok && len(report["changes"].([]any))*len(report["money"].([]any)) == 0 {
			s.t.Errorf("replay %s: got %v, want some changes", r.body, report)
		}
	}
}

// replayed runs a replay to its end.
func (s *server) replayed(w *world, body string) (view map[string]any) {
	s.t.Helper()
	view = s.do(202, ask{route: "POST /v1/replays", target: "/v1/replays", token: ownerToken, body: body, door: s.running})
	w.ids["replay"], _ = view["replayId"].(string)
	for {
		view = s.do(200, ask{route: "GET /v1/replays/{replay}", target: "/v1/replays/" + w.ids["replay"], token: ownerToken, door: s.running})
		if view["state"] != "running" || s.t.Context().Err() != nil || s.t.Failed() {
			return view
		}
		time.Sleep(time.Millisecond)
	}
}

// approve brings the operations on approvals to their success. It leaves one
// that is pending.
func (s *server) approve(w *world) {
	s.t.Helper()
	send := func(want int, token, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: token, body: body})
	}
	send(201, ownerToken, "POST /v1/agents/{agent}/permissions", "/v1/agents/agent_ollie/permissions", askingTerms)
	amount := 100
	open := func() string {
		s.t.Helper()
		amount++
		body := strings.Replace(fullAsk, `"amount":"12.5"`, `"amount":`+strconv.Itoa(amount), 1)
		body = strings.Replace(strings.Replace(body, `"repo:push"`, `"repo:merge"`, 1), `,"idempotencyKey":"one"`, "", 1)
		id, _ := send(200, w.agentKey, "POST /v1/verify", "/v1/verify", body)["approvalId"].(string)
		if again := send(200, w.agentKey, "POST /v1/preview", "/v1/preview", body); again["approvalId"] != id || id == "" {
			s.t.Errorf("got %v, want the approval %q", again, id)
		}
		return "/v1/approvals/" + id
	}
	const one = "GET /v1/approvals/{approval}"
	for _, review := range []struct{ token, verb, body string }{
		{ownerToken, "approve", `{"comment":"yes"}`},
		{ownerToken, "deny", `{"comment":"no"}`},
		{ownerToken, "cancel", `{}`},
		{w.agentKey, "cancel", `{}`},
	} {
		path, route := open(), "POST /v1/approvals/{approval}/"+review.verb
		send(200, ownerToken, one, path, "")
		send(403, w.viewer, route, path+"/"+review.verb, `{}`)
		send(200, review.token, route, path+"/"+review.verb, review.body)
		send(200, ownerToken, one, path, "")
		send(200, w.agentKey, one, path+"?wait=30s", "")
		if review.verb == "approve" {
			send(409, ownerToken, "POST /v1/approvals/{approval}/deny", path+"/deny", `{}`)
		} else {
			send(409, ownerToken, "POST /v1/approvals/{approval}/approve", path+"/approve", `{}`)
		}
		if review.verb == "deny" {
			send(409, ownerToken, "POST /v1/approvals/{approval}/cancel", path+"/cancel", `{}`)
		}
	}
	w.ids["approval"] = strings.TrimPrefix(open(), "/v1/approvals/")
	send(200, w.agentKey, one, "/v1/approvals/"+w.ids["approval"], "")
	for _, token := range []string{w.agentKey, ownerToken} {
		send(200, token, "GET /v1/approvals", "/v1/approvals?limit=2", "")
	}
	send(404, w.agentKey, "GET /v1/approvals", "/v1/approvals?agentId=agent_nobody", "")
}

// limit brings the operations about limits, and about what is spent, to their
// success.
func (s *server) limit(w *world) {
	s.t.Helper()
	send := func(want int, token, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: token, body: body})
	}
	const limits = "/v1/agents/agent_ollie/limits"
	driver := send(200, ownerToken, "GET /v1/me", "/v1/me", "")["id"].(string)
	send(200, ownerToken, "PUT /v1/agents/{agent}/driver", "/v1/agents/agent_ollie/driver", `{"driver":"`+driver+`"}`)
	send(200, ownerToken, "PUT /v1/agents/{agent}/limits", limits, allLimits)
	send(200, ownerToken, "PUT /v1/account/limits", "/v1/account/limits", allLimits)
	send(200, w.viewer, "GET /v1/agents/{agent}/limits", limits, "")
	send(200, w.viewer, "GET /v1/account/limits", "/v1/account/limits", "")
	send(200, ownerToken, "GET /v1/agents/{agent}", "/v1/agents/agent_ollie", "")
	send(200, w.agentKey, "GET /v1/passport", "/v1/passport", "")

	const outcome = "POST /v1/decisions/{request}/outcome"
	verify := func(amount string) map[string]any {
		s.t.Helper()
		return send(200, w.agentKey, "POST /v1/verify", "/v1/verify", `{"action":"mail.send","currency":"BHD","amount":`+amount+`}`)
	}
	send(201, ownerToken, "POST /v1/agents/{agent}/permissions", "/v1/agents/agent_ollie/permissions", `{"action":"mail.send",`+allLimits[1:])
	send(200, w.agentKey, "GET /v1/passport", "/v1/passport", "")
	for _, report := range []string{`{"outcome":"executed","amount":"1.5"}`, `{"outcome":"executed"}`, `{"outcome":"failed"}`} {
		spent := verify("2")["requestId"].(string)
		for _, token := range []string{w.agentKey, ownerToken} {
			send(200, token, "GET /v1/reservations", "/v1/reservations?limit=1", "")
		}
		send(200, w.agentKey, outcome, "/v1/decisions/"+spent+"/outcome", report)
		w.ids["request"] = spent // its last is a failure
	}
	send(409, w.agentKey, outcome, "/v1/decisions/"+w.ids["request"]+"/outcome", `{"outcome":"executed"}`)
	send(404, w.agentKey, "GET /v1/reservations", "/v1/reservations?agentId=agent_nobody", "")
	if over := verify("99"); over["reasonCode"] != "BUDGET_EXCEEDED" {
		s.t.Errorf("got %v, want BUDGET_EXCEEDED", over)
	}
	verify("0")
	verify("0")
	if over := verify("0"); over["reasonCode"] != "RATE_EXCEEDED" {
		s.t.Errorf("got %v, want RATE_EXCEEDED", over)
	}
}

// first is where the log begins, whatever its epoch.
var first = domain.Position{Seq: 1}

// ask brings the operations of an agent to their success.
func (s *server) ask(w *world) {
	s.t.Helper()
	agent := func(want int, route, target, body string) map[string]any {
		s.t.Helper()
		return s.do(want, ask{route: route, target: target, token: w.agentKey, body: body})
	}
	allowed := agent(200, "POST /v1/verify", "/v1/verify", fullAsk)
	if allowed["allowed"] != true {
		s.t.Errorf("got %v, want an allow", allowed)
	}
	w.ids["request"] = allowed["requestId"].(string)
	agent(409, "POST /v1/verify", "/v1/verify", `{"action":"mail.read","idempotencyKey":"one"}`)
	w.ids["denied"], _ = agent(200, "POST /api/verify", "/api/verify", `{"action":"mail.read","amount":7,"idempotencyKey":"two"}`)["requestId"].(string)
	agent(409, "POST /api/verify", "/api/verify", `{"action":"mail.read","idempotencyKey":"two"}`)
	agent(200, "POST /v1/preview", "/v1/preview", fullAsk)
	agent(200, "GET /v1/passport", "/v1/passport", "")
	agent(200, "GET /v1/me", "/v1/me", "")
	agent(200, "GET /v1/decisions", "/v1/decisions?limit=1", "")
	agent(200, "GET /v1/decisions", "/v1/decisions?follow=true", "")
	s.do(200, ask{route: "GET /v1/events", target: "/v1/events", token: ownerToken, door: s.running})
	s.do(409, ask{route: "GET /v1/events", target: "/v1/events?after=" + first.String(), token: ownerToken})
	agent(404, "GET /v1/decisions", "/v1/decisions?agentId=agent_nobody", "")
	agent(200, "GET /v1/decisions/{request}", "/v1/decisions/"+w.ids["request"], "")
	s.query(w, agent(200, "POST /v1/verify", "/v1/verify", `{"action":"mail.read"}`)["position"].(string))
}

// query brings the queries to their success, on what is known at a position.
func (s *server) query(w *world, position string) {
	s.t.Helper()
	for token, may := range map[string]int{w.agentKey: 404, ownerToken: 200} {
		get := func(want int, route, target string) map[string]any {
			s.t.Helper()
			return s.do(want, ask{route: "GET " + route, target: target, token: token})
		}
		list := get(200, "/v1/decisions", "/v1/decisions?limit=2&atLeast="+position)
		if len(list["decisions"].([]any)) != 2 || list["nextCursor"] == nil {
			s.t.Errorf("got %v, want two decisions and a cursor", list)
		}
		for _, more := range []string{"format=csv", "format=ndjson", "totals=true", "currency=BHD&amountMin=12.5&amountMax=12.500"} {
			s.do(200, ask{route: "GET /v1/decisions", target: "/v1/decisions?" + more, token: token, door: s.running})
		}
		counts := get(200, "/v1/decisions/totals", "/v1/decisions/totals?outcome=allowed")
		if len(counts["totals"].([]any)) == 0 {
			s.t.Errorf("got %v, want some counts", counts)
		}
		used := get(200, "/v1/usage", "/v1/usage?atLeast="+position)
		if len(used["usage"].([]any)) == 0 {
			s.t.Errorf("got %v, want some usage", used)
		}
		get(may, "/v1/decisions/totals", "/v1/decisions/totals?agentId=agent_nobody")
		get(may, "/v1/usage", "/v1/usage?agentId=agent_nobody")
		if e := get(200, "/v1/decisions/{request}", "/v1/decisions/"+w.ids["request"]+"?explain=true"); e["explanation"] == nil {
			s.t.Errorf("got %v, want an explanation", e)
		}
		get(200, "/v1/decisions/{request}", "/v1/decisions/"+w.ids["denied"]+"?explain=true")
	}
	for route, target := range map[string]string{
		"GET /v1/agents/{agent}/history": "/v1/agents/agent_ollie/history?limit=3&atLeast=" + position, "GET /v1/projections": "/v1/projections",
	} {
		s.do(200, ask{route: route, target: target, token: ownerToken})
	}
	const rebuild = "POST /v1/projections/{projection}/rebuild"
	s.do(202, ask{route: rebuild, target: "/v1/projections/usage/rebuild", token: ownerToken, body: `{}`})
	s.do(404, ask{route: rebuild, target: "/v1/projections/everything/rebuild", token: ownerToken, body: `{}`})
	w.ids["projection"] = "usage"
}

const (
	candidate = `{"agents":{"agent_ollie":{"add":[{"action":"mail.read"}],"limits":{"budgets":[{"amount":"5","currency":"BHD","per":"total"}]}}}}`
	allLimits = `{"budgets":[{"amount":"10","currency":"BHD","per":"total"},{"amount":9,"per":"week","currency":"BHD","timeZone":"Asia/Tokyo"}],
		"rates":[{"count":5,"per":"day"},{"count":1000,"per":"total"}]}`
	askingTerms = `{"action":"repo:merge","maxAmount":500,"currency":"BHD","requiresApproval":"100",
		"approval":{"minRole":"ADMIN","quorum":1,"pendingFor":"1h","validFor":"90s","denialFor":"1h0m1s"},"rates":[{"count":1000,"per":"total"}]}`
	fullTerms = `{"action":"repo:push","allowedActions":["repo:push","repo:read"],"blockedActions":["repo:delete"],
		"resource":["github.com/behalf/**","git@example.com:behalf/?"],"vendors":"github.com","maxAmount":500,"currency":"BHD",
		"context":{"branch":["main","release/*"],"environment":"staging","repository":"behalf/*"},
		"paths":["/srv/behalf"],"deniedPaths":["/srv/behalf/secrets"],"deniedCommands":["rm -rf"],
		"notBefore":"2020-01-01T02:00:00+02:00","expiresAt":"2999-01-01T00:00:00Z",
		"timeWindows":[{"days":["mon","tue","wed","thu","fri","sat","sun"],"from":"00:00","to":"24:00","timeZone":"UTC"}],
		"description":"all of it","notes":"for members"}`
	fullAsk = `{"agentId":"agent_ollie","action":"repo:push","vendor":"github.com","resource":"github.com/behalf/behalf",
		"amount":"12.5","currency":"BHD","path":"src/main.go","command":"git push origin main","cwd":"/srv/behalf",
		"context":{"branch":"main","environment":"staging","repository":"behalf/behalf"},"arguments":{"n":1},"idempotencyKey":"one"}`
)

// bodies are what the operations take, where an empty object won't do.
var bodies = map[string]string{
	"verify": `{"action":"mail.read"}`, "verifyAlias": `{"action":"mail.read"}`, "preview": `{"action":"mail.read","agentId":"agent_nobody"}`,
	"registerAgent": `{"agentId":"agent_ollie","name":"Ollie"}`, "grantPermission": fullTerms, "replacePermission": fullTerms,
	"addMember": `{"name":"Ada","role":"VIEWER"}`, "changeRole": `{"role":"VIEWER"}`,
	"startShadow":   `{"candidate":{"only":true}}`,
	"createWebhook": `{"url":"https://example.com/behalf"}`, "changeWebhook": `{"url":"https://example.com/behalf"}`,
	"requestWebhookReplay": `{"deadLetters":true}`,
	"reportOutcome":        `{"outcome":"failed"}`, "setDriver": `{"driver":""}`,
	"evaluate": nobodys, "evaluateAll": nobodys, "searchSubjects": nobodys, "searchResources": nobodys, "searchActions": nobodys, "requestAccess": nobodys,
}

const nobodys = `{"subject":{"type":"agent","id":"agent_nobody"},"action":{"name":"mail.read"},"resource":{"type":"host","id":"example.com"}}`

// TestEveryAnswerIsAsDescribed drives every operation to every status that
// openapi.yaml says it can have.
func TestEveryAnswerIsAsDescribed(t *testing.T) {
	s := mustServe(t)
	w := s.settle()
	s.fillPassport(w)
	c := mustContract(t, "openapi.yaml")
	for route, operation := range operations(c) {
		if isOpen(operation) {
			continue // nothing is refused, or it is served by the program that wires the API
		}
		for _, status := range names(operation["responses"]) {
			s.provoke(w, route, operation, status)
			if !s.seen[route+" "+status] {
				t.Errorf("%s never answered %s, which openapi.yaml says it can", route, status)
			}
		}
	}
}

// fillPassport grants all an agent can have, so that the next grant stands
// against it.
func (s *server) fillPassport(w world) {
	s.t.Helper()
	route := "POST /v1/agents/{agent}/permissions"
	held := 0
	list := s.do(200, ask{route: "GET /v1/agents/{agent}/permissions", target: w.fill("/v1/agents/{agent}/permissions"), token: ownerToken})
	for _, p := range list["permissions"].([]any) {
		if p.(map[string]any)["status"] != "revoked" {
			held++
		}
	}
	for range domain.MostPermissions - held {
		s.do(201, ask{route: route, target: w.fill("/v1/agents/{agent}/permissions"), token: ownerToken, body: `{"action":"mail.read"}`})
	}
	s.do(409, ask{route: route, target: w.fill("/v1/agents/{agent}/permissions"), token: ownerToken, body: `{"action":"mail.read"}`})
}

// fill puts ids into a path.
func (w world) fill(path string) string {
	for name, id := range w.ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return path
}

// unknown is a world with the same credentials in which nothing is there.
func (w world) unknown() world {
	w.ids = map[string]string{
		"agent": "agent_nobody", "permission": "perm_01K8M4QF3G7H9J1K3M5N7P9Q1R",
		"member": "mem_01K8M4A7H2B4D6F8G0J2K4M6N8", "request": "req_01K8M5C0W2X4Y6Z8A0B2C4D6E8",
		"approval": "apr_01K8M5C0W2X4Y6Z8A0B2C4D6E8", "projection": "everything",
		"replay": "rpl_01K8M5G4A6B8C0D2E4F6G8H0J2", "webhook": "whe_01KASF3E5M2B4D6F8H0J2K4N6P",
		"webhookReplay": "whr_01KASF9Q7R3C5E7G9J1M3P5R7T",
	}
	return w
}

// provoke sends a request that is to be refused with a status.
func (s *server) provoke(w world, route string, operation map[string]any, status string) {
	s.t.Helper()
	_, path, _ := strings.Cut(route, " ")
	id := operation["operationId"].(string)
	a := ask{route: route, target: w.fill(path), token: ownerToken}
	if _, ok := operation["requestBody"]; ok {
		if a.body = bodies[id]; a.body == "" {
			a.body = `{}`
		}
	}
	forAgents := slices.Contains([]string{"verify", "verifyAlias", "passport", "reportOutcome", "requestAccess"}, id)
	if forAgents {
		a.token = w.agentKey
	}
	switch status {
	case "400":
		if a.body == "" {
			a.target += "?unknownParameter=1"
		} else {
			a.body = `{"unknownMember":1}`
		}
	case "401":
		a.token = ""
	case "403":
		a.token = w.agentKey
		switch {
		case forAgents:
			a.token = ownerToken
		case id == "cancelApproval":
			return // a viewer's, and seen
		}
	case "404":
		if slices.Contains([]string{"listDecisions", "countDecisions", "usage", "listApprovals", "listReservations"}, id) {
			return // an agent's, and seen
		}
		a.target = w.unknown().fill(path)
		if id == "rotateReceiptKey" {
			a.door = s.unsigned
		}
		if slices.Contains(names(operation["tags"]), "authzen") {
			a.body = strings.Replace(a.body, `"agent"`, `"user"`, 1)
		}
	case "409":
		switch id {
		case "registerAgent":
		case "changeRole", "removeMember":
			a.target = strings.ReplaceAll(path, "{member}", "mem_01K8M3Z5V0J6N8P1S3T5V7X9ZA") // the last owner
		default:
			return // seen
		}
	case "413":
		a.body = `{"action":"` + strings.Repeat("a", handlers.MaxBody) + `"}`
	case "415":
		a.header = [2]string{"Content-Type", "text/plain"}
	case "429":
		a.door = s.limited
	case "503":
		a.door = s.closed
	default:
		return // a success, or seen
	}
	want, err := strconv.Atoi(status)
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(want, a)
}

func TestAPathOrMethodThatIsNotThereHasTheBodyOfAnError(t *testing.T) {
	s := mustServe(t)
	for _, c := range []struct {
		method, target string
		want           int
		allow          string
	}{
		{"GET", "/v1/nothing", 404, ""},
		{"DELETE", "/v1/agents", 405, "GET POST"},
	} {
		w := httptest.NewRecorder()
		s.open.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.target, nil))
		if got := strings.Join(w.Header().Values("Allow"), " "); w.Code != c.want || got != c.allow {
			t.Errorf("%s %s: got %d with Allow %q, want %d with %q", c.method, c.target, w.Code, got, c.want, c.allow)
		}
		schematest.Component(t, "Error", w.Body.Bytes())
	}
}
